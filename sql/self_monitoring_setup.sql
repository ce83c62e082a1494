-- self_monitoring_setup.sql: turns self-monitoring on in one database, with advice on thresholds applied by itself.
--
--   psql -d DATABASE -f sql/self_monitoring_setup.sql          as a superuser; trickle-consumer should be running
--
-- May be run again at any time.  To undo it:
--
--   SELECT pgtrickle.teardown_self_monitoring();
--   ALTER DATABASE … RESET pg_trickle.self_monitoring_auto_apply;
\set ON_ERROR_STOP on
\pset footer off

\echo == The five stream tables over the refresh history
SELECT pgtrickle.setup_self_monitoring();

\echo == Advice of HIGH confidence is followed from now on (full does more, off nothing: docs/self-monitoring.md)
-- The consumer reads the setting in a session of its own, so SET in this one would do nothing.  It notices this within a second.
SELECT pg_catalog.format('ALTER DATABASE %I SET pg_trickle.self_monitoring_auto_apply = threshold_only', pg_catalog.current_database()) \gexec
-- ALTER SYSTEM would do the same for all databases:
--   ALTER SYSTEM SET pg_trickle.self_monitoring_auto_apply = 'threshold_only';
--   SELECT pg_reload_conf();

\echo == Alerts come on channel pg_trickle_alert, as JSON: event self_monitor_anomaly, begin and end
LISTEN pg_trickle_alert;

-- The consumer fills the tables, as far as there is one: at most half a minute.
DO $$
BEGIN
    FOR i IN 1..300 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM pgtrickle.self_monitoring_status() WHERE status = 'INITIALIZING')
               OR NOT EXISTS (SELECT FROM pgtrickle.slot_health() WHERE active);
        PERFORM pg_catalog.pg_sleep(0.1);
    END LOOP;
END
$$;

\echo == Status: five rows, ACTIVE
SELECT df_name, status, row_count, coalesce(note, '') AS note FROM pgtrickle.self_monitoring_status();

\echo == First advice.  LOW confidence means: too few refreshes within the hour; HIGH needs 20, with 5 of them incremental
SELECT pgt_schema, pgt_name, pg_catalog.round(current_threshold::numeric, 3) AS threshold, pg_catalog.round(recommended_threshold::numeric, 3) AS recommended,
       confidence, reason
  FROM pgtrickle.df_threshold_advice ORDER BY confidence, pgt_schema, pgt_name;

\echo == Done.  Later: SELECT * FROM pgtrickle.df_anomaly_signals; SELECT * FROM pgtrickle.self_monitoring_changes(); SELECT * FROM pgtrickle.scheduler_overhead();
