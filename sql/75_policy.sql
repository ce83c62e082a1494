-- since 0.20.0 {
-- Self-monitoring's policy: what trickle-consumer calls to learn what the df_* tables say, and to act on it (consumer/selfmon.c decides,
-- consumer/advice.c says how).  Nothing else depends on any of this; without df_* tables these functions find nothing and do nothing.
--
-- The df_* tables are named in strings only: they come and go with setup_self_monitoring() and teardown_self_monitoring().

-- What the policy did that stands until its cause has gone.  The audit trail is the refresh history (initiated_by = 'SELF_MONITOR').
CREATE TABLE pgtrickle.pgt_policy_actions (
    pgt_id    bigint NOT NULL REFERENCES pgtrickle.pgt_definitions ON DELETE CASCADE,
    setting   text NOT NULL CHECK (setting IN ('refresh_tier', 'sequence')),
    partner   bigint REFERENCES pgtrickle.pgt_definitions ON DELETE CASCADE,    -- sequence: the other one of the pair
    old_value text NOT NULL,                                                    -- what to put back
    new_value text NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX idx_policy_actions ON pgtrickle.pgt_policy_actions (pgt_id, setting, (coalesce(partner, 0)));
COMMENT ON TABLE pgtrickle.pgt_policy_actions IS
'What self_monitoring_auto_apply = full has changed and will put back: tiers it lowered, pairs it refreshes one after the other.';

-- Anomalies that were announced and have not ended.
CREATE TABLE pgtrickle.pgt_anomalies (
    pgt_id     bigint NOT NULL,
    anomaly    text NOT NULL CHECK (anomaly IN ('DURATION_SPIKE', 'ERROR_BURST')),
    pgt_schema text NOT NULL,                                                   -- the ST may be gone when the anomaly ends
    pgt_name   text NOT NULL,
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pgt_id, anomaly)
);
COMMENT ON TABLE pgtrickle.pgt_anomalies IS
'Anomalies of df_anomaly_signals whose begin was announced on pg_trickle_alert and whose end was not yet.';

GRANT SELECT ON pgtrickle.pgt_policy_actions, pgtrickle.pgt_anomalies TO PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._policy_overlap() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    IF to_regclass('pgtrickle.df_scheduling_interference') IS NOT NULL THEN
        EXECUTE 'SELECT overlap_count FROM pgtrickle.df_scheduling_interference
                  WHERE collected_at > now() - interval ''1 hour'' ORDER BY collected_at DESC LIMIT 1' INTO n;
    END IF;
    RETURN n;
END
$$;
COMMENT ON FUNCTION pgtrickle._policy_overlap() IS
'The newest overlap_count of df_scheduling_interference; NULL when there is none of the last hour, or no such table.';

CREATE FUNCTION pgtrickle._is_own(schema_name text, name text) RETURNS bool
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT schema_name = 'pgtrickle' AND name LIKE 'df\_%';
END;
COMMENT ON FUNCTION pgtrickle._is_own(text, text) IS 'Is this stream table one of self-monitoring''s own?';

CREATE FUNCTION pgtrickle._policy_last_change(pgt_id bigint) RETURNS float8
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT extract(epoch FROM clock_timestamp() - max(h.start_time))::float8
      FROM pgtrickle.pgt_refresh_history h
     WHERE h.pgt_id = _policy_last_change.pgt_id AND h.initiated_by = 'SELF_MONITOR' AND h.start_time > clock_timestamp() - interval '10 minutes';
END;
COMMENT ON FUNCTION pgtrickle._policy_last_change(bigint) IS
'Seconds since the policy last changed this stream table; NULL when that was more than ten minutes ago. From the history, so a restart does not reset it.';

CREATE FUNCTION pgtrickle._policy_advice()
RETURNS TABLE (pgt_id bigint, st_name text, own bool, status text, fuse_state text, threshold float8, tier text, since_change float8,
               confidence text, advised_from float8, recommended float8, avg_diff_ms float8, deadline_ms float8, reason text,
               lowered_from text, lowered_to text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- LEFT JOIN to the catalog: an ST that has gone since is reported by the attempt to change it.
    RETURN QUERY EXECUTE format($q$
        WITH a AS (%s)
        SELECT k.pgt_id, coalesce(quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), a.pgt_schema || '.' || a.pgt_name),
               pgtrickle._is_own(coalesce(d.pgt_schema, a.pgt_schema), coalesce(d.pgt_name, a.pgt_name)), s.status, s.fuse_state,
               CASE WHEN d.pgt_id IS NOT NULL THEN coalesce(d.auto_threshold, current_setting('pg_trickle.differential_max_change_ratio', true)::float8, 0.15) END,
               d.refresh_tier, pgtrickle._policy_last_change(k.pgt_id), a.confidence, a.current_threshold, a.recommended_threshold, a.avg_diff_ms,
               a.freshness_deadline_ms, a.reason, p.old_value, p.new_value
          FROM (SELECT a.pgt_id FROM a UNION SELECT x.pgt_id FROM pgtrickle.pgt_policy_actions x WHERE x.setting = 'refresh_tier') k
          LEFT JOIN a ON a.pgt_id = k.pgt_id
          LEFT JOIN pgtrickle.pgt_definitions d ON d.pgt_id = k.pgt_id
          LEFT JOIN pgtrickle.pgt_state s ON s.pgt_id = k.pgt_id
          LEFT JOIN pgtrickle.pgt_policy_actions p ON p.pgt_id = k.pgt_id AND p.setting = 'refresh_tier'
         ORDER BY k.pgt_id $q$,
        CASE WHEN to_regclass('pgtrickle.df_threshold_advice') IS NOT NULL
        THEN 'SELECT pgt_id::bigint, pgt_schema::text, pgt_name::text, confidence::text, current_threshold::float8, recommended_threshold::float8,
                     avg_diff_ms::float8, freshness_deadline_ms::float8, reason::text FROM pgtrickle.df_threshold_advice'
        ELSE 'SELECT NULL::bigint AS pgt_id, NULL::text AS pgt_schema, NULL::text AS pgt_name, NULL::text AS confidence, NULL::float8 AS current_threshold,
                     NULL::float8 AS recommended_threshold, NULL::float8 AS avg_diff_ms, NULL::float8 AS freshness_deadline_ms, NULL::text AS reason WHERE false'
        END);
END
$$;
COMMENT ON FUNCTION pgtrickle._policy_advice() IS
'What df_threshold_advice says beside what is in force now; also the stream tables whose tier the policy has lowered. status NULL: the stream table has gone since. since_change: see _policy_last_change.';

CREATE FUNCTION pgtrickle._policy_pairs()
RETURNS TABLE (pgt_id bigint, partner bigint, st_name text, partner_name text, standing bool, steady bool, since_change float8, slowdown float8)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        WITH i AS (%s)
        SELECT k.pgt_id, k.partner, quote_ident(a.pgt_schema) || '.' || quote_ident(a.pgt_name), quote_ident(b.pgt_schema) || '.' || quote_ident(b.pgt_name),
               p.pgt_id IS NOT NULL,
               sa.status = 'ACTIVE' AND sb.status = 'ACTIVE' AND sa.fuse_state <> 'blown' AND sb.fuse_state <> 'blown'
                   AND NOT pgtrickle._is_own(a.pgt_schema, a.pgt_name) AND NOT pgtrickle._is_own(b.pgt_schema, b.pgt_name),
               least(pgtrickle._policy_last_change(k.pgt_id), pgtrickle._policy_last_change(k.partner)), i.slowdown
          FROM (SELECT i.pgt_id_a, i.pgt_id_b FROM i
                 UNION SELECT x.pgt_id, x.partner FROM pgtrickle.pgt_policy_actions x WHERE x.setting = 'sequence') k(pgt_id, partner)
          JOIN pgtrickle.pgt_definitions a ON a.pgt_id = k.pgt_id
          JOIN pgtrickle.pgt_definitions b ON b.pgt_id = k.partner
          JOIN pgtrickle.pgt_state sa ON sa.pgt_id = k.pgt_id
          JOIN pgtrickle.pgt_state sb ON sb.pgt_id = k.partner
          LEFT JOIN i ON (i.pgt_id_a, i.pgt_id_b) = (k.pgt_id, k.partner)
          LEFT JOIN pgtrickle.pgt_policy_actions p ON (p.pgt_id, p.partner, p.setting) = (k.pgt_id, k.partner, 'sequence')
         ORDER BY 1, 2 $q$,
        CASE WHEN to_regclass('pgtrickle.df_scheduling_interference') IS NOT NULL
        THEN 'SELECT least(pgt_id_a, pgt_id_b)::bigint AS pgt_id_a, greatest(pgt_id_a, pgt_id_b)::bigint AS pgt_id_b, max(slowdown)::float8 AS slowdown
                FROM pgtrickle.df_scheduling_interference GROUP BY 1, 2'
        ELSE 'SELECT NULL::bigint AS pgt_id_a, NULL::bigint AS pgt_id_b, NULL::float8 AS slowdown WHERE false' END);
END
$$;
COMMENT ON FUNCTION pgtrickle._policy_pairs() IS
'Pairs of df_scheduling_interference, and those that the policy refreshes one after the other (standing). slowdown NULL: they did not meet within the window. steady: both may be touched.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- Acting
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._policy_audit(pgt_id bigint, setting text, old_value text, new_value text, why text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, reason)
    SELECT _policy_audit.pgt_id, t.at, t.at, t.at, 'SKIP', 'SKIPPED', 'SELF_MONITOR', setting || ': ' || old_value || ' -> ' || new_value || coalesce(' (' || why || ')', '')
      FROM (SELECT clock_timestamp() AS at) t;
END;
COMMENT ON FUNCTION pgtrickle._policy_audit(bigint, text, text, text, text) IS
'One audit row of the policy in the refresh history: action SKIP, status SKIPPED, initiated_by SELF_MONITOR, reason "setting: old -> new (why)". It is not a refresh.';

CREATE FUNCTION pgtrickle._policy_apply(pgt_id bigint, setting text, partner bigint, old_value text, new_value text, why text, undo bool)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
#variable_conflict use_variable
DECLARE
    st record;
    label text;
BEGIN
    -- The definition's row, not the ST's lock: a long refresh does not keep us waiting, nor we the next one.
    SELECT d.pgt_schema, d.pgt_name, d.refresh_tier, s.status, s.fuse_state,
           coalesce(d.auto_threshold, current_setting('pg_trickle.differential_max_change_ratio', true)::float8, 0.15) AS threshold INTO st
      FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s ON s.pgt_id = d.pgt_id WHERE d.pgt_id = pgt_id FOR NO KEY UPDATE OF d;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stream table % does not exist any more', pgt_id USING ERRCODE = 'undefined_table';
    END IF;
    IF NOT undo THEN
        IF st.status <> 'ACTIVE' THEN
            RETURN 'its status is ' || st.status;
        ELSIF st.fuse_state = 'blown' THEN
            RETURN 'its fuse has blown';
        ELSIF pgtrickle._policy_last_change(pgt_id) IS NOT NULL THEN
            RETURN 'it was changed less than ten minutes ago';
        END IF;
    END IF;

    CASE setting
    WHEN 'auto_threshold' THEN
        IF NOT new_value::float8 BETWEEN 0.01 AND 0.80 THEN
            RAISE EXCEPTION 'auto_threshold % is not between 0.01 and 0.80', new_value USING ERRCODE = 'invalid_parameter_value';
        ELSIF abs(st.threshold - old_value::float8) > 1e-9 THEN
            RETURN 'somebody has changed it';
        END IF;
        UPDATE pgtrickle.pgt_definitions d SET auto_threshold = new_value::float8, updated_at = now() WHERE d.pgt_id = pgt_id;
    WHEN 'refresh_tier' THEN
        IF undo THEN
            DELETE FROM pgtrickle.pgt_policy_actions p WHERE p.pgt_id = pgt_id AND p.setting = 'refresh_tier';
        END IF;
        IF st.refresh_tier <> old_value THEN
            RETURN 'somebody has changed it';
        END IF;
        UPDATE pgtrickle.pgt_definitions d SET refresh_tier = new_value, updated_at = now() WHERE d.pgt_id = pgt_id;
        IF NOT undo THEN                                    -- lowered a second time: what to put back remains the first
            UPDATE pgtrickle.pgt_policy_actions p SET new_value = _policy_apply.new_value WHERE p.pgt_id = pgt_id AND p.setting = 'refresh_tier';
            IF NOT FOUND THEN
                INSERT INTO pgtrickle.pgt_policy_actions (pgt_id, setting, old_value, new_value) VALUES (pgt_id, setting, old_value, new_value);
            END IF;
        END IF;
    WHEN 'sequence' THEN
        label := (SELECT quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name) FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = partner);
        IF undo THEN
            DELETE FROM pgtrickle.pgt_policy_actions p WHERE (p.pgt_id, p.setting, p.partner) = (pgt_id, 'sequence', partner);
        ELSE
            INSERT INTO pgtrickle.pgt_policy_actions (pgt_id, setting, partner, old_value, new_value)
            VALUES (pgt_id, setting, partner, old_value, new_value) ON CONFLICT DO NOTHING;
        END IF;
        PERFORM pgtrickle._policy_audit(partner, setting, old_value, new_value,
                                        format('with %I.%I: %s', st.pgt_schema, st.pgt_name, why));
        why := 'with ' || label || ': ' || why;
    END CASE;
    PERFORM pgtrickle._policy_audit(pgt_id, setting, old_value, new_value, why);
    PERFORM pg_notify('pgtrickle_catalog', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgtrickle._policy_apply(bigint, text, bigint, text, text, text, bool) IS
'Change auto_threshold or refresh_tier of a stream table, or whether it and partner are refreshed one after the other, and write the audit row. NULL when it was done, else why not: suspended, fuse blown, changed by somebody, or by the policy within ten minutes. undo: put back what the policy did. Errors: 42P01 the stream table has gone; 55P03 locked for ten seconds; 22023 threshold outside [0.01, 0.80].';

CREATE FUNCTION pgtrickle._policy_announce(event json) RETURNS bool
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('pg_trickle_alert', event::text);
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'an anomaly could not be announced: %', SQLERRM;
    RETURN false;
END
$$;

CREATE FUNCTION pgtrickle._policy_anomalies() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    n int := 0;
BEGIN
    IF to_regclass('pgtrickle.df_anomaly_signals') IS NULL THEN
        RETURN 0;
    END IF;
    -- What is there and was not announced begins; what was announced and is not there ends.
    FOR e IN EXECUTE $q$
        SELECT coalesce(s.pgt_id, k.pgt_id) AS pgt_id, coalesce(s.anomaly, k.anomaly) AS anomaly, coalesce(s.pgt_schema, k.pgt_schema) AS schema,
               coalesce(s.pgt_name, k.pgt_name) AS name, s.pgt_id IS NOT NULL AS begins, s.last_duration_ms, s.baseline_ms, s.recent_failures
          FROM (SELECT g.pgt_id, g.pgt_schema, g.pgt_name, x.anomaly, g.last_duration_ms, g.baseline_ms, g.recent_failures
                  FROM pgtrickle.df_anomaly_signals g
                 CROSS JOIN LATERAL (VALUES ('DURATION_SPIKE', g.duration_anomaly IS NOT NULL), ('ERROR_BURST', g.recent_failures >= 2)) x(anomaly, there)
                 WHERE x.there AND NOT pgtrickle._is_own(g.pgt_schema, g.pgt_name)) s
          FULL JOIN pgtrickle.pgt_anomalies k ON k.pgt_id = s.pgt_id AND k.anomaly = s.anomaly
         WHERE s.pgt_id IS NULL OR k.pgt_id IS NULL
         ORDER BY 1, 2 $q$
    LOOP
        IF e.begins THEN
            INSERT INTO pgtrickle.pgt_anomalies (pgt_id, anomaly, pgt_schema, pgt_name) VALUES (e.pgt_id, e.anomaly, e.schema, e.name) ON CONFLICT DO NOTHING;
        ELSE
            DELETE FROM pgtrickle.pgt_anomalies k WHERE (k.pgt_id, k.anomaly) = (e.pgt_id, e.anomaly);
        END IF;
        IF pgtrickle._policy_announce(json_build_object('event', 'self_monitor_anomaly', 'schema', e.schema, 'name', e.name, 'anomaly', e.anomaly,
                'state', CASE WHEN e.begins THEN 'begin' ELSE 'end' END, 'last_ms', e.last_duration_ms, 'baseline_ms', e.baseline_ms,
                'recommendation', CASE WHEN NOT e.begins THEN 'It is over; nothing to do.'
                    WHEN e.anomaly = 'DURATION_SPIKE' THEN format('The last refresh took %s times as long as usual. If it stays so, look at get_refresh_history(%L), explain_st(%2$L) and recommend_refresh_mode(%2$L).',
                        round((e.last_duration_ms / nullif(e.baseline_ms, 0))::numeric, 1), quote_ident(e.schema) || '.' || quote_ident(e.name))
                    ELSE format('%s refreshes failed within ten minutes. Look at diagnose_errors(%L).', e.recent_failures, quote_ident(e.schema) || '.' || quote_ident(e.name)) END)) THEN
            n := n + 1;
        END IF;
    END LOOP;
    RETURN n;
END
$$;
COMMENT ON FUNCTION pgtrickle._policy_anomalies() IS
'Announce on pg_trickle_alert which anomalies of df_anomaly_signals have begun and which have ended since the last call; returns the number of events. Writes nothing when there is none.';

CREATE FUNCTION pgtrickle._policy_sample(relids oid[], rows bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    -- Not beside teardown_self_monitoring(), which leaves none (the key is _lock_self_monitoring's), and not after it.
    PERFORM pg_advisory_xact_lock_shared('pgtrickle.pgt_definitions'::regclass::oid::int, 70);
    IF to_regclass('pgtrickle.pgt_buffer_samples') IS NULL
       OR NOT EXISTS (SELECT FROM pgtrickle.pgt_definitions WHERE pgt_schema = 'pgtrickle' AND pgt_name = 'df_cdc_buffer_trends') THEN
        RETURN 0;
    END IF;
    EXECUTE $q$
        WITH current AS (
            SELECT r.relid, coalesce(l.captured_rows, 0) + coalesce(c.rows, 0) AS captured, coalesce(l.consumed_rows, 0) AS consumed_before,
                   coalesce(b.pending_rows, 0) AS pending, coalesce(b.buffer_bytes, 0) AS bytes, coalesce(c.rows, 0) AS fresh, l.pending_rows AS pending_before,
                   l.sample_id IS NULL AS first
              FROM pgtrickle.pgt_sources r
              JOIN pg_class k ON k.oid = r.relid AND k.relnamespace <> 'pgtrickle'::regnamespace
              LEFT JOIN pgtrickle.cdc_buffer_row_counts() b ON b.source_relid = r.relid
              LEFT JOIN (SELECT u.relid, sum(u.rows)::bigint AS rows FROM unnest($1, $2) AS u(relid, rows) GROUP BY 1) c ON c.relid = r.relid
              LEFT JOIN LATERAL (SELECT * FROM pgtrickle.pgt_buffer_samples s WHERE s.source_relid = r.relid ORDER BY s.sample_id DESC LIMIT 1) l ON true
        )
        INSERT INTO pgtrickle.pgt_buffer_samples (source_relid, sampled_at, captured_rows, consumed_rows, pending_rows, buffer_bytes)
        SELECT relid, clock_timestamp(), captured, greatest(consumed_before, captured - pending), pending, bytes
          FROM current WHERE first OR fresh > 0 OR pending <> pending_before $q$
        USING relids, rows;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 THEN
        DELETE FROM pgtrickle.pgt_buffer_samples s WHERE s.sampled_at < now() - interval '2 hours'
           AND EXISTS (SELECT FROM pgtrickle.pgt_buffer_samples later WHERE later.source_relid = s.source_relid AND later.sample_id > s.sample_id);
    END IF;
    RETURN n;
END
$$;
COMMENT ON FUNCTION pgtrickle._policy_sample(oid[], bigint[]) IS
'One sample per source for df_cdc_buffer_trends, where something has changed since its last sample; rows: what was captured since. Samples of more than two hours ago go. Returns the samples written. The extension''s own tables are left out: watching must not give reason to watch.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- For people
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.self_monitoring_changes(max_rows int DEFAULT 20)
RETURNS TABLE (changed_at timestamptz, stream_table text, setting text, old_value text, new_value text, why text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT h.start_time, coalesce(quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), pg_catalog.format('(dropped: %s)', h.pgt_id)),
           m[1], m[2], m[3], m[4]
      FROM pgtrickle.pgt_refresh_history h
      LEFT JOIN pgtrickle.pgt_definitions d USING (pgt_id)
     CROSS JOIN LATERAL pg_catalog.regexp_match(h.reason, '^(\w+): (\S+) -> (\S+)(?: \((.*)\))?$') AS m
     WHERE h.initiated_by = 'SELF_MONITOR'
     ORDER BY h.start_time DESC, h.refresh_id DESC
     LIMIT pgtrickle._row_limit(max_rows);
END;
COMMENT ON FUNCTION pgtrickle.self_monitoring_changes(int) IS
'What self_monitoring_auto_apply has changed, newest first, at most max_rows: setting is auto_threshold, refresh_tier or sequence. From the refresh history, so as old as history is kept. 22023 for a bad max_rows.';

CREATE FUNCTION pgtrickle.scheduler_overhead()
RETURNS TABLE (scheduler_busy_ratio float8, queue_depth bigint, avg_dispatch_latency_ms float8, df_refresh_fraction float8,
               total_refreshes bigint, df_refreshes bigint, busy_ms float8, df_busy_ms float8, window_seconds float8)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH st AS MATERIALIZED (
        SELECT d.pgt_id, pgtrickle._is_own(d.pgt_schema, d.pgt_name) AS own,
               make_interval(secs => coalesce(pgtrickle._schedule_seconds(d.schedule), 0)) AS schedule
          FROM pgtrickle.pgt_definitions d
    ), hour AS (
        SELECT h.start_time, h.end_time, h.status, h.initiated_by, coalesce(st.own, false) AS own,
               extract(epoch FROM h.end_time - h.start_time)::float8 * 1000 AS ms, h.freshness_deadline - st.schedule AS due
          FROM pgtrickle.pgt_refresh_history h
          LEFT JOIN st USING (pgt_id)
         WHERE h.start_time > now() - interval '1 hour' AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND h.status IN ('COMPLETED', 'FAILED') AND h.end_time >= h.start_time
    ), span AS (
        -- younger than an hour: since its first refresh
        SELECT least(extract(epoch FROM now() - (SELECT min(x.start_time) FROM pgtrickle.pgt_refresh_history x)), 3600)::float8 AS seconds
    ), wall AS (
        SELECT sum(extract(epoch FROM upper(r) - lower(r)))::float8 * 1000 AS ms
          FROM unnest((SELECT range_agg(tstzrange(h.start_time, h.end_time)) FROM hour h)) AS r
    )
    SELECT least(coalesce(wall.ms, 0) / nullif(span.seconds * 1000, 0), 1),
           (SELECT count(*) FROM pgtrickle._freshness() f JOIN pgtrickle.pgt_state s USING (pgt_id)
             WHERE (f.stale OR (f.waiting AND NOT s.is_populated)) AND s.status IN ('ACTIVE', 'INITIALIZING') AND s.fuse_state <> 'blown'),
           g.latency, g.own_ms / nullif(g.ms, 0), g.n, g.own_n, coalesce(g.ms, 0), coalesce(g.own_ms, 0), coalesce(span.seconds, 0)
      FROM (SELECT count(*) AS n, count(*) FILTER (WHERE hour.own) AS own_n, sum(hour.ms) AS ms, coalesce(sum(hour.ms) FILTER (WHERE hour.own), 0) AS own_ms,
                   avg(greatest(extract(epoch FROM hour.start_time - hour.due), 0)::float8 * 1000)
                       FILTER (WHERE hour.initiated_by = 'SCHEDULER' AND hour.status = 'COMPLETED') AS latency
              FROM hour) g
     CROSS JOIN span
      LEFT JOIN wall ON true;
END;
COMMENT ON FUNCTION pgtrickle.scheduler_overhead() IS
'What refreshing costs, over the last hour of history (window_seconds, less when the history is younger). scheduler_busy_ratio: share of the time in which at least one refresh ran. queue_depth: stream tables that are past their schedule now with something to do. avg_dispatch_latency_ms: from the moment a refresh was due, with changes waiting, to its start, the barrier included. df_refresh_fraction: share of the df_* tables in the time spent refreshing (busy_ms); NULL without refreshes. Refreshes that found nothing to do are not in the history.';
-- }
