-- Diagnostics over a catalog written by hand, so that every figure below can be checked against the rows inserted here.
-- One transaction, rolled back: now() stands still, and nothing of it reaches the other tests.
SET TimeZone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
BEGIN;
-- the catalog below describes tables that were never registered
ALTER EVENT TRIGGER pgtrickle_ddl_end DISABLE;
DELETE FROM pgtrickle.pgt_definitions;
DELETE FROM pgtrickle.pgt_refresh_history;
DELETE FROM pgtrickle.pgt_slot;
DELETE FROM pgtrickle.pgt_sources;
DELETE FROM pgtrickle.pgt_segments;
DELETE FROM pgtrickle_changes.segment_stats;
DELETE FROM pgtrickle_changes.progress;

-- Without stream tables
SELECT * FROM pgtrickle.quick_health;
SELECT * FROM pgtrickle.health_summary();
SELECT check_name, severity FROM pgtrickle.health_check();
SELECT count(*) FROM pgtrickle.pgt_status();
SELECT count(*) FROM pgtrickle.dependency_tree();
SELECT count(*) FROM pgtrickle.slot_health();

-- orders, customers -> by_customer -> "Top";  orders -> hourly;  orders -> broken
CREATE SCHEMA diag;
CREATE TABLE diag.orders (id int PRIMARY KEY, customer_id int, gone int, amount numeric, note text);
ALTER TABLE diag.orders DROP COLUMN gone;
CREATE TABLE diag.customers (id int PRIMARY KEY, name text);
CREATE TABLE diag.by_customer (name text, total numeric, __pgt_count bigint);
COMMENT ON COLUMN diag.by_customer.__pgt_count IS 'rows in the group';
CREATE TABLE diag."Top" (name text, total numeric);
CREATE TABLE diag.hourly (id int);
CREATE TABLE diag.broken (x int);

INSERT INTO pgtrickle.pgt_definitions (pgt_id, pgt_relid, pgt_name, pgt_schema, pgt_owner, defining_query, original_query, schedule, refresh_mode, full_reason, refresh_tier, auto_threshold)
VALUES (9001, 'diag.by_customer'::regclass, 'by_customer', 'diag', current_user, 'SELECT 1', 'select 1', '1m', 'AUTO', NULL, 'hot', 0.25),
       (9002, 'diag."Top"'::regclass, 'Top', 'diag', current_user, 'SELECT 2', 'select 2', NULL, 'AUTO', 'ORDER BY with LIMIT', 'hot', NULL),
       (9003, 'diag.hourly'::regclass, 'hourly', 'diag', current_user, 'SELECT 3', 'select 3', '1 hour', 'FULL', NULL, 'hot', NULL),
       (9004, 'diag.broken'::regclass, 'broken', 'diag', current_user, 'SELECT 4', 'select 4', '*/5 * * * *', 'DIFFERENTIAL', NULL, 'hot', NULL);
INSERT INTO pgtrickle.pgt_state (pgt_id, status, is_populated, needs_reinit, reinit_reason, refresh_no, data_timestamp, last_refresh_at, consecutive_errors,
                                 last_error_message, last_error_state, effective_refresh_mode)
VALUES (9001, 'ACTIVE', true, false, NULL, 7, now() - interval '90 s', now() - interval '80 s', 0, NULL, NULL, 'DIFFERENTIAL'),
       (9002, 'ACTIVE', true, false, NULL, 3, now() - interval '10 min', now() - interval '10 min', 0, NULL, NULL, 'FULL'),
       (9003, 'INITIALIZING', false, false, NULL, 0, NULL, NULL, 0, NULL, NULL, NULL),
       (9004, 'SUSPENDED', true, true, 'column type changed', 2, now() - interval '1 h', now() - interval '1 h', 3, 'division by zero', '22012', 'DIFFERENTIAL');
INSERT INTO pgtrickle.pgt_dependencies (pgt_id, source_relid, source_type, source_schema, source_name, columns_used, attnums_used)
VALUES (9001, 'diag.orders'::regclass, 'TABLE', 'diag', 'orders', '{customer_id,amount}', '{2,4}'),
       (9001, 'diag.customers'::regclass, 'TABLE', 'diag', 'customers', '{id,name}', '{1,2}'),
       (9002, 'diag.by_customer'::regclass, 'STREAM_TABLE', 'diag', 'by_customer', '{name,total}', '{1,2}'),
       (9003, 'diag.orders'::regclass, 'TABLE', 'diag', 'orders', '{id}', '{1}'),
       (9004, 4000000000, 'TABLE', 'diag', 'Lost One', '{a,"B b"}', '{1,2}');
INSERT INTO pgtrickle.pgt_sources (relid, gen, attnums, kinds, layout, natts, mask)
VALUES ('diag.orders'::regclass, 1, '{1,2,4}', 'nnn', 1, 5, true), ('diag.customers'::regclass, 1, '{1,2}', 'nn', 1, 2, true);
-- orders: segment 1 (xids 100-140) is consumed by 9001, segment 2 (150-190) has 180 pending; customers: all consumed
INSERT INTO pgtrickle.pgt_segments VALUES ('diag.orders'::regclass, 1, 1, 'no_such_segment_1'), ('diag.orders'::regclass, 2, 1, 'no_such_segment_2'),
                                          ('diag.customers'::regclass, 1, 1, 'no_such_segment_3');
INSERT INTO pgtrickle_changes.segment_stats VALUES ('diag.orders'::regclass, 1, '100', '140', 1000), ('diag.orders'::regclass, 2, '150', '190', 30),
                                                   ('diag.customers'::regclass, 1, '101', '102', 5);
INSERT INTO pgtrickle.pgt_frontiers (pgt_id, source_relid, snapshot, upstream_refresh)
VALUES (9001, 'diag.orders'::regclass, '145:190:180', NULL), (9001, 'diag.customers'::regclass, '145:190:180', NULL), (9002, 'diag.by_customer'::regclass, NULL, 7);
INSERT INTO pgtrickle.pgt_refresh_history (refresh_id, pgt_id, data_timestamp, start_time, end_time, action, rows_inserted, rows_deleted, delta_row_count,
                                           source_row_count, merge_strategy_used, reason, error_message, error_state, status, initiated_by)
VALUES (91, 9001, '2026-01-01 00:00', '2026-01-01 00:00', '2026-01-01 00:00:00.100', 'FULL', 50, 0, 0, 1000, 'load', 'first load', NULL, NULL, 'COMPLETED', 'INITIAL'),
       (92, 9001, '2026-01-01 01:00', '2026-01-01 01:00', '2026-01-01 01:00:00.010', 'DIFFERENTIAL', 3, 2, 10, 1000, 'weights', NULL, NULL, NULL, 'COMPLETED', 'SCHEDULER'),
       (93, 9001, '2026-01-01 02:00', '2026-01-01 02:00', '2026-01-01 02:00:00.030', 'DIFFERENTIAL', 4, 4, 30, 1000, 'weights', NULL, NULL, NULL, 'COMPLETED', 'MANUAL'),
       (94, 9002, '2026-01-01 02:00', '2026-01-01 02:00:01', '2026-01-01 02:00:01.5', 'FULL', 1, 0, 0, NULL, 'diff', 'not incremental', NULL, NULL, 'COMPLETED', 'SCHEDULER'),
       (95, 9004, '2026-01-01 03:00', '2026-01-01 03:00', '2026-01-01 03:00:01', 'DIFFERENTIAL', 0, 0, 0, NULL, NULL, NULL, 'division by zero', '22012', 'FAILED', 'SCHEDULER'),
       (96, 9004, '2026-01-01 04:00', '2026-01-01 04:00', '2026-01-01 04:00:01', 'DIFFERENTIAL', 0, 0, 0, NULL, NULL, NULL, 'permission denied for table t', '42501', 'FAILED', 'SCHEDULER'),
       (97, 9004, '2026-01-01 05:00', '2026-01-01 05:00', '2026-01-01 05:00:01', 'DIFFERENTIAL', 0, 0, 0, NULL, NULL, NULL, 'canceling statement due to lock timeout', '55P03', 'FAILED', 'SCHEDULER'),
       (98, 9004, '2026-01-01 06:00', '2026-01-01 06:00', '2026-01-01 06:00:01', 'DIFFERENTIAL', 0, 0, 0, NULL, NULL, NULL, 'could not extend file', '53100', 'FAILED', 'SCHEDULER'),
       (99, 4711, '2026-01-01 00:30', '2026-01-01 00:30', '2026-01-01 00:30:00.001', 'DIFFERENTIAL', 1, 1, 2, 10, 'bag', NULL, NULL, NULL, 'COMPLETED', 'SCHEDULER');

-- Status.  No consumer runs, so staleness is the age of the data whether or not changes wait.
SELECT name, status, refresh_mode, is_populated, consecutive_errors AS errors, schedule, now() - data_timestamp = staleness AS by_age, staleness, scc_id FROM pgtrickle.pgt_status();
SELECT * FROM pgtrickle.health_summary();
SELECT * FROM pgtrickle.quick_health;
SELECT check_name, severity, detail FROM pgtrickle.health_check() WHERE check_name NOT IN ('wal_level', 'output_plugin', 'scheduler');
SELECT pgtrickle.get_staleness('diag.by_customer'), pgtrickle.get_staleness('diag."Top"'), pgtrickle.get_staleness('diag.hourly');
SELECT pgtrickle.st_auto_threshold('diag.by_customer'), pgtrickle.st_auto_threshold('diag.hourly') = current_setting('pg_trickle.differential_max_change_ratio')::float8 AS default_threshold;

-- What is waiting: 9001 has xid 190 (not below the snapshot's xmax) of orders; 9002 has consumed refresh 7 of 7; 9003 was never loaded
SELECT pgt_id, waiting, stale FROM pgtrickle._freshness() ORDER BY pgt_id;
UPDATE pgtrickle.pgt_state SET refresh_no = 8 WHERE pgt_id = 9001;
SELECT waiting FROM pgtrickle._freshness() WHERE pgt_id = 9002;
UPDATE pgtrickle.pgt_frontiers SET snapshot = '191:191:' WHERE pgt_id = 9001;
SELECT waiting FROM pgtrickle._freshness() WHERE pgt_id = 9001;
INSERT INTO pgtrickle.pgt_source_events (source_relid, xid, kind) VALUES ('diag.customers'::regclass, '195', 'rewrite');
SELECT waiting FROM pgtrickle._freshness() WHERE pgt_id = 9001;
DELETE FROM pgtrickle.pgt_source_events WHERE source_relid = 'diag.customers'::regclass;
UPDATE pgtrickle.pgt_frontiers SET snapshot = '145:190:180' WHERE pgt_id = 9001;

-- Stale: only duration schedules, only past them, stretched by the tier
SELECT t AS schedule, pgtrickle._schedule_seconds(t) FROM unnest('{500ms,1h30m,1 day 02:00:00,0.5s,continuous,@hourly,0 3 1 1 1,*/5 * * * *}'::text[]) t;
DO $$
DECLARE v record; answer text := '';
BEGIN
    FOR v IN SELECT * FROM (VALUES ('hot', 60), ('hot', 61), ('warm', 61), ('warm', 121), ('cold', 121), ('cold', 601), ('frozen', 601)) x(tier, age) LOOP
        UPDATE pgtrickle.pgt_definitions SET refresh_tier = v.tier WHERE pgt_id = 9001;
        UPDATE pgtrickle.pgt_state SET last_refresh_at = now() - make_interval(secs => v.age) WHERE pgt_id = 9001;
        answer := answer || format('%s after %s s: %s' || chr(10), v.tier, v.age, (SELECT stale FROM pgtrickle.stream_tables_info WHERE pgt_id = 9001));
    END LOOP;
    UPDATE pgtrickle.pgt_definitions SET refresh_tier = 'hot' WHERE pgt_id = 9001;
    CREATE TEMP TABLE answers AS SELECT answer;
END $$;
\pset format unaligned
\pset tuples_only on
SELECT rtrim(answer, chr(10)) FROM answers;
\pset tuples_only off
\pset format aligned

-- History
SELECT refresh_id, start_time, action, status, rows_inserted, rows_deleted, duration_ms, error_message FROM pgtrickle.get_refresh_history('diag.by_customer');
SELECT refresh_id FROM pgtrickle.get_refresh_history('diag.by_customer', 1);
SELECT start_time, stream_table, action, status, duration_ms FROM pgtrickle.refresh_timeline(8);
SELECT count(*) FROM pgtrickle.refresh_timeline();
SELECT pgt_name, total_refreshes AS total, successful_refreshes AS good, failed_refreshes AS failed, total_rows_inserted AS ins, total_rows_deleted AS del,
       avg_duration_ms AS avg_ms, last_refresh_action, last_refresh_status FROM pgtrickle.st_refresh_stats();
SELECT pgt_name, total_refreshes AS total, diff_count, full_count, avg_diff_ms, avg_full_ms, avg_change_ratio AS ratio, diff_speedup FROM pgtrickle.refresh_efficiency();
SELECT event_time, error_type, error_message FROM pgtrickle.diagnose_errors('diag.broken');
SELECT count(*) FROM pgtrickle.diagnose_errors('diag.hourly');

-- Sources
SELECT source_table, source_type, cdc_mode, columns_used FROM pgtrickle.list_sources('diag.by_customer');
SELECT source_table, source_oid, source_type, columns_used FROM pgtrickle.list_sources('diag.broken');
ALTER TABLE diag.orders RENAME COLUMN amount TO "Amount due";
SELECT columns_used FROM pgtrickle.list_sources('diag.by_customer') WHERE source_table = 'diag.orders';
SELECT * FROM pgtrickle.dependency_tree();

-- Capture
SELECT stream_table, source_table, cdc_mode, pending_rows, buffer_bytes FROM pgtrickle.change_buffer_sizes();
SELECT source_table, consumer_count, consumers, columns_tracked, safe_frontier_lsn, buffer_rows, is_partitioned FROM pgtrickle.shared_buffer_stats();
SELECT source_table, cdc_mode, slot_name, lag_bytes, alert, selective_capture FROM pgtrickle.check_cdc_health();
INSERT INTO pgtrickle.pgt_slot (slot_name, system_identifier, timeline, acked_lsn) VALUES ('diag_no_such_slot', 1, 1, '0/AB');
SELECT * FROM pgtrickle.slot_health();
SELECT source_table, slot_name, alert FROM pgtrickle.check_cdc_health();
SELECT check_name, severity, detail FROM pgtrickle.health_check() WHERE check_name IN ('slot', 'consumer');
SELECT scheduler_status FROM pgtrickle.health_summary();
SELECT pgt_name, source_schema, source_name, cdc_mode, slot_name, decoder_confirmed_lsn FROM pgtrickle.pgt_cdc_status ORDER BY 1, 3;
SELECT pgt_name, stale, total_refreshes, cdc_modes, last_error_message FROM pgtrickle.pg_stat_stream_tables ORDER BY pgt_id;
SELECT pgt_name, staleness, is_topk FROM pgtrickle.stream_tables_info ORDER BY pgt_id;

-- Explain
SELECT n, m.* FROM unnest('{by_customer,"\"Top\"",hourly,broken}'::text[]) n, pgtrickle.explain_refresh_mode('diag.' || n) m ORDER BY n;
SET LOCAL pg_trickle.refresh_strategy = full;
SELECT * FROM pgtrickle.explain_refresh_mode('diag.by_customer');
RESET pg_trickle.refresh_strategy;
INSERT INTO pgtrickle.pgt_refresh_history (refresh_id, pgt_id, data_timestamp, start_time, action, status, initiated_by) VALUES (100, 9001, now(), now(), 'FULL', 'COMPLETED', 'INITIAL');
UPDATE pgtrickle.pgt_state SET effective_refresh_mode = 'FULL' WHERE pgt_id = 9001;
SELECT * FROM pgtrickle.explain_refresh_mode('diag.by_customer');
DELETE FROM pgtrickle.pgt_refresh_history WHERE refresh_id = 100;
UPDATE pgtrickle.pgt_state SET effective_refresh_mode = 'DIFFERENTIAL' WHERE pgt_id = 9001;
SELECT * FROM pgtrickle.list_auxiliary_columns('diag.by_customer');
SELECT count(*) FROM pgtrickle.list_auxiliary_columns('diag.hourly');
SELECT property, value FROM pgtrickle.explain_st('diag.by_customer')
 WHERE property NOT IN ('owner', 'data_timestamp', 'last_refresh_at', 'storage_bytes', 'index_bytes');
SELECT count(*) AS properties, count(value) FILTER (WHERE property = 'full_reason') AS with_reason FROM pgtrickle.explain_st('diag."Top"');

-- Names: by search_path, quoted; unknown and null ones; bad limits
SET LOCAL search_path = diag;
SELECT pgtrickle.get_staleness('by_customer') = 90 AS found, pgtrickle.get_staleness('"Top"') = 600 AS found_quoted;
RESET search_path;
CREATE FUNCTION pg_temp.try(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE h text;
BEGIN
    EXECUTE sql;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE WHEN h <> '' THEN ' with hint' ELSE '' END;
END $$;
SELECT f, pg_temp.try(format('SELECT * FROM pgtrickle.%s(%L)', f, 'diag.nope')) AS unknown, pg_temp.try(format('SELECT * FROM pgtrickle.%s(NULL::text)', f)) AS null_name
  FROM unnest('{get_staleness,st_auto_threshold,get_refresh_history,diagnose_errors,list_sources,explain_refresh_mode,list_auxiliary_columns,explain_st,explain_delta}'::text[]) f;
SELECT pg_temp.try($$SELECT * FROM pgtrickle.explain_delta('diag.by_customer', 'xml')$$) AS bad_format;
DELETE FROM pgtrickle.pgt_definitions;
SELECT pg_temp.try($$SELECT * FROM pgtrickle.get_refresh_history('diag.by_customer')$$) AS empty_catalog;
SELECT pg_temp.try($$SELECT * FROM pgtrickle.refresh_timeline(-1)$$) AS negative, pg_temp.try($$SELECT * FROM pgtrickle.refresh_timeline(NULL)$$) AS no_limit;

-- An ordinary role sees the diagnostics and no buffer
CREATE ROLE regress_pgt_reader;
SET LOCAL ROLE regress_pgt_reader;
SELECT f, pg_temp.try(format('SELECT * FROM pgtrickle.%s', f)) AS result
  FROM unnest('{pgt_status(),health_check(),health_summary(),refresh_timeline(),st_refresh_stats(),refresh_efficiency(),dependency_tree(),change_buffer_sizes(),shared_buffer_stats(),slot_health(),check_cdc_health(),quick_health,stream_tables_info,pg_stat_stream_tables,pgt_cdc_status,pgt_stream_tables}'::text[]) f;
SELECT pg_temp.try('SELECT * FROM pgtrickle_changes.segment_stats') AS stats, pg_temp.try('SELECT * FROM pgtrickle_changes.progress') AS progress,
       pg_temp.try('UPDATE pgtrickle.pgt_state SET status = status') AS state, pg_temp.try('DELETE FROM pgtrickle.pgt_refresh_history') AS history;
RESET ROLE;
ROLLBACK;
