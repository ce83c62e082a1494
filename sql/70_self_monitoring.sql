-- since 0.20.0 {
-- Self-monitoring: stream tables over the refresh history, and what reads them (docs/self-monitoring.md).
--
-- The five df_* tables are ordinary stream tables in schema pgtrickle.  setup_self_monitoring() makes them from the texts below; a text
-- that differs from the stored one is an older version, and is replaced.  What reads them asks first whether they exist.

CREATE FUNCTION pgtrickle._spill_bytes() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(pg_catalog.current_setting('pg_trickle.spill_threshold_blocks', true)::bigint, 131072) * 8192;
END;
COMMENT ON FUNCTION pgtrickle._spill_bytes() IS 'pg_trickle.spill_threshold_blocks in bytes; 0 = no threshold.';

-- What the consumer counted, one row per source and cycle, while somebody reads it.  The newest row of a source stays.
CREATE TABLE pgtrickle.pgt_buffer_samples (
    sample_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_relid  oid NOT NULL,
    sampled_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    captured_rows bigint NOT NULL,                              -- cumulative
    consumed_rows bigint NOT NULL,                              -- cumulative
    pending_rows  bigint NOT NULL,
    buffer_bytes  bigint NOT NULL,
    spill_bytes   bigint NOT NULL DEFAULT pgtrickle._spill_bytes()
);
CREATE INDEX idx_samples_source ON pgtrickle.pgt_buffer_samples (source_relid, sample_id);
CREATE INDEX idx_samples_at ON pgtrickle.pgt_buffer_samples (sampled_at);
GRANT SELECT ON pgtrickle.pgt_buffer_samples TO PUBLIC;

CREATE FUNCTION pgtrickle.recommended_threshold(avg_diff_ms float8, avg_full_ms float8, current float8) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_self_recommended_threshold';
COMMENT ON FUNCTION pgtrickle.recommended_threshold(float8, float8, float8) IS
'The change threshold that these average costs speak for, always in [0.01, 0.80]: differential at most 0.30 of full raises the current one by 1.2, at least 0.80 lowers it by 0.7. NULL current: 0.15. Costs that are NULL, NaN, infinite or negative, or a full cost of 0, keep it.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- The five tables
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._self_monitoring_tables()
RETURNS TABLE (ord int, df_name text, schedule text, refresh_mode text, diamond_consistency text, query text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $tables$
VALUES
-- DF-1: what refreshes of the last hour cost.  Sums are exact (numeric), so the order of rows does not show.
(1, 'df_efficiency_rolling', '48s', 'DIFFERENTIAL', 'atomic',
$q$SELECT h.pgt_id, d.pgt_schema, d.pgt_name, count(*) AS total_refreshes,
       count(*) FILTER (WHERE h.action = 'DIFFERENTIAL') AS diff_count,
       count(*) FILTER (WHERE h.action IN ('FULL', 'REINITIALIZE')) AS full_count,
       (avg(h.duration_us) FILTER (WHERE h.action = 'DIFFERENTIAL') / 1000)::float8 AS avg_diff_ms,
       (avg(h.duration_us) FILTER (WHERE h.action IN ('FULL', 'REINITIALIZE')) / 1000)::float8 AS avg_full_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY h.duration_us::float8 / 1000) FILTER (WHERE h.action = 'DIFFERENTIAL') AS p95_diff_ms,
       (avg(CASE WHEN h.source_row_count > 0 THEN (least(1, h.delta_row_count::float8 / h.source_row_count) * 1e9)::bigint END)
           FILTER (WHERE h.action = 'DIFFERENTIAL') / 1000000000)::float8 AS avg_change_ratio,
       max(h.end_time) AS last_refresh_at
  FROM pgtrickle.pgt_refresh_history h
  JOIN pgtrickle.pgt_definitions d ON d.pgt_id = h.pgt_id
 WHERE h.status = 'COMPLETED' AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND h.start_time > now() - interval '1 hour'
 GROUP BY h.pgt_id, d.pgt_schema, d.pgt_name$q$),
-- DF-2: is the newest refresh out of the ordinary?  The baseline is DF-1's average for the same action without the newest refresh, if
-- DF-1 contains it already; it is an average of floats, so 3 times is compared with a grain of salt.
(2, 'df_anomaly_signals', '48s', 'DIFFERENTIAL', 'atomic',
$q$SELECT r.pgt_id, d.pgt_schema, d.pgt_name,
       CASE WHEN r.durations[1] >= 2.999999999 * b.baseline_ms THEN 'DURATION_SPIKE' END AS duration_anomaly,
       r.durations[1] AS last_duration_ms, b.baseline_ms,
       r.recent_failures, r.recent_failures >= 2 AS error_burst, r.distinct_modes_recent,
       coalesce((r.modes[1] <> r.modes[2])::int, 0) + coalesce((r.modes[2] <> r.modes[3])::int, 0)
           + coalesce((r.modes[3] <> r.modes[4])::int, 0) + coalesce((r.modes[4] <> r.modes[5])::int, 0)
           + coalesce((r.modes[5] <> r.modes[6])::int, 0) >= 4 AS mode_oscillation,
       d.auto_threshold, r.modes[1] AS effective_refresh_mode
  FROM (SELECT h.pgt_id,
               count(*) FILTER (WHERE h.status = 'FAILED') AS recent_failures,
               count(DISTINCT CASE WHEN h.action = 'DIFFERENTIAL' THEN 'DIFFERENTIAL' ELSE 'FULL' END)
                   FILTER (WHERE h.status = 'COMPLETED' AND h.start_time > now() - interval '5 minutes') AS distinct_modes_recent,
               array_agg(CASE WHEN h.action = 'DIFFERENTIAL' THEN 'DIFFERENTIAL' ELSE 'FULL' END ORDER BY h.end_time DESC, h.refresh_id DESC)
                   FILTER (WHERE h.status = 'COMPLETED') AS modes,
               array_agg(h.duration_us::float8 / 1000 ORDER BY h.end_time DESC, h.refresh_id DESC)
                   FILTER (WHERE h.status = 'COMPLETED') AS durations,
               max(h.end_time) FILTER (WHERE h.status = 'COMPLETED') AS newest
          FROM pgtrickle.pgt_refresh_history h
         WHERE h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND h.start_time > now() - interval '10 minutes'
         GROUP BY h.pgt_id) r
  JOIN pgtrickle.pgt_definitions d ON d.pgt_id = r.pgt_id
  LEFT JOIN pgtrickle.df_efficiency_rolling e ON e.pgt_id = r.pgt_id
 CROSS JOIN LATERAL (SELECT CASE WHEN r.newest <= e.last_refresh_at THEN 1 ELSE 0 END AS n) i
 CROSS JOIN LATERAL (SELECT CASE WHEN r.modes[1] = 'DIFFERENTIAL'
                                 THEN (e.avg_diff_ms * e.diff_count - i.n * r.durations[1]) / nullif(e.diff_count - i.n, 0)
                                 ELSE (e.avg_full_ms * e.full_count - i.n * r.durations[1]) / nullif(e.full_count - i.n, 0) END AS baseline_ms) b$q$),
-- DF-3: which threshold do the costs speak for?  Without a full refresh in the hour, the last one counts, scaled by today's rows.
(3, 'df_threshold_advice', '96s', 'DIFFERENTIAL', 'none',
$q$SELECT e.pgt_id, e.pgt_schema, e.pgt_name, coalesce(d.auto_threshold, 0.15) AS current_threshold,
       pgtrickle.recommended_threshold(e.avg_diff_ms, c.full_ms, d.auto_threshold) AS recommended_threshold,
       q.confidence,
       CASE WHEN e.avg_diff_ms IS NULL THEN 'no differential refresh in the last hour'
            WHEN c.ratio IS NULL THEN 'what a full refresh costs is not known'
            ELSE 'a differential refresh takes ' || round(e.avg_diff_ms::numeric, 1) || ' ms, a full one ' || round(c.full_ms::numeric, 1) || ' ms'
                 || CASE WHEN e.avg_full_ms IS NULL THEN ' (estimated: the last one took ' || round(k.full_ms::numeric, 1) || ' ms)' ELSE '' END
                 || CASE WHEN c.ratio <= 0.30 THEN ': raise the threshold'
                         WHEN c.ratio >= 0.80 THEN ': lower the threshold' ELSE ': keep the threshold' END END
           || CASE WHEN q.confidence = 'LOW' THEN '; only ' || e.total_refreshes || ' refreshes in the last hour' ELSE '' END AS reason,
       e.avg_diff_ms, c.full_ms AS avg_full_ms, e.diff_count, e.full_count, e.avg_change_ratio,
       s.deadline_ms AS freshness_deadline_ms, s.deadline_ms - e.avg_diff_ms AS sla_headroom_ms,
       coalesce(s.deadline_ms < e.avg_diff_ms, false) AS sla_breach_risk,
       CASE WHEN q.confidence = 'LOW' OR c.ratio IS NULL THEN 'AUTO'
            WHEN c.ratio < 0.80 THEN 'DIFFERENTIAL' WHEN c.ratio >= 1 THEN 'FULL' ELSE 'AUTO' END AS recommended_mode
  FROM pgtrickle.df_efficiency_rolling e
  JOIN pgtrickle.pgt_definitions d ON d.pgt_id = e.pgt_id
  LEFT JOIN pgtrickle.pgt_costs k ON k.pgt_id = e.pgt_id
 CROSS JOIN LATERAL (SELECT coalesce(e.avg_full_ms, k.full_ms * coalesce(nullif(k.rows, 0)::float8 / nullif(k.full_rows, 0), 1)) AS full_ms) f
 CROSS JOIN LATERAL (SELECT f.full_ms, e.avg_diff_ms / nullif(f.full_ms, 0) AS ratio) c
 CROSS JOIN LATERAL (SELECT pgtrickle._schedule_seconds(d.schedule) * 1000 AS deadline_ms) s
 CROSS JOIN LATERAL (SELECT CASE WHEN e.total_refreshes >= 20 AND e.diff_count >= 5 AND c.full_ms > 0 THEN 'HIGH'
                                 WHEN e.total_refreshes >= 10 THEN 'MEDIUM' ELSE 'LOW' END AS confidence) q$q$),
-- DF-4: what waits in the buffers of people's tables, and how fast it grows.
(4, 'df_cdc_buffer_trends', '48s', 'DIFFERENTIAL', 'none',
$q$SELECT s.source_relid, s.source_table, b.pending_rows, b.buffer_bytes,
       CASE WHEN b.captured[1] >= b.captured[2] THEN b.captured[1] - b.captured[2] END AS rows_captured_last_cycle,
       g.growth_rows_per_s,
       CASE WHEN b.consumed[1] >= b.consumed[2] THEN b.consumed[1] - b.consumed[2] END AS rows_consumed_last_cycle,
       CASE WHEN g.growth_rows_per_s > 0 AND b.pending_rows > 0 AND b.spill_bytes > 0
            THEN greatest(0, ceil((b.spill_bytes - b.buffer_bytes) / (g.growth_rows_per_s * 48 * b.buffer_bytes / b.pending_rows))) END
           AS spill_eta_cycles,
       s.consumers
  FROM (SELECT d.source_relid, min(quote_ident(d.source_schema) || '.' || quote_ident(d.source_name)) AS source_table, count(*) AS consumers
          FROM pgtrickle.pgt_dependencies d
         WHERE d.source_type = 'TABLE' AND d.source_schema <> 'pgtrickle' GROUP BY d.source_relid) s
  LEFT JOIN (SELECT p.source_relid,
                    (array_agg(p.pending_rows ORDER BY p.sample_id DESC))[1] AS pending_rows,
                    (array_agg(p.buffer_bytes ORDER BY p.sample_id DESC))[1] AS buffer_bytes,
                    (array_agg(p.spill_bytes ORDER BY p.sample_id DESC))[1] AS spill_bytes,
                    (array_agg(p.captured_rows ORDER BY p.sample_id DESC) FILTER (WHERE p.sampled_at > now() - interval '1 hour'))[1:2] AS captured,
                    (array_agg(p.consumed_rows ORDER BY p.sample_id DESC) FILTER (WHERE p.sampled_at > now() - interval '1 hour'))[1:2] AS consumed,
                    (array_agg(p.pending_rows ORDER BY p.sample_id DESC) FILTER (WHERE p.sampled_at > now() - interval '1 hour'))[1:5] AS pending,
                    (array_agg(p.sampled_at ORDER BY p.sample_id DESC) FILTER (WHERE p.sampled_at > now() - interval '1 hour'))[1:5] AS at
               FROM pgtrickle.pgt_buffer_samples p GROUP BY p.source_relid) b ON b.source_relid = s.source_relid
 CROSS JOIN LATERAL (SELECT coalesce((b.pending[1] - b.pending[cardinality(b.pending)])
                                     / nullif(extract(epoch FROM b.at[1] - b.at[cardinality(b.at)]), 0)::float8, 0) AS growth_rows_per_s) g$q$),
-- DF-5: who disturbs whom.  Two refreshes overlap when one (y) starts while the other (x) runs: a tight range of an index, and
-- OFFSET 0 keeps the planner from joining all with all where the history was never analyzed.  Recomputed, since
-- a pair's averages need all its refreshes; FULL still waits for a change, or for a refresh that leaves the hour.
(5, 'df_scheduling_interference', '96s', 'FULL', 'none',
$q$SELECT p.a AS pgt_id_a, p.b AS pgt_id_b,
       quote_ident(da.pgt_schema) || '.' || quote_ident(da.pgt_name) AS st_name_a,
       quote_ident(db.pgt_schema) || '.' || quote_ident(db.pgt_name) AS st_name_b,
       p.overlaps AS overlap_count, (p.overlap_us / 1000)::float8 AS overlap_ms,
       s.avg_a::float8 AS avg_duration_a_ms, s.avg_b::float8 AS avg_duration_b_ms,
       s.solo_a::float8 AS solo_duration_a_ms, s.solo_b::float8 AS solo_duration_b_ms,
       ((s.avg_a + s.avg_b) / nullif(s.solo_a + s.solo_b, 0))::float8 AS slowdown, p.until AS collected_at
  FROM (SELECT r.a, r.b, sum(r.n) FILTER (WHERE r.side = 0)::bigint AS overlaps, sum(r.overlap_us) FILTER (WHERE r.side = 0) AS overlap_us,
               max(r.until) AS until,
               count(*) FILTER (WHERE r.side = 0) AS count_a, sum(r.duration_us) FILTER (WHERE r.side = 0) AS sum_a,
               count(*) FILTER (WHERE r.side = 1) AS count_b, sum(r.duration_us) FILTER (WHERE r.side = 1) AS sum_b
          FROM (SELECT least(x.pgt_id, y.pgt_id) AS a, greatest(x.pgt_id, y.pgt_id) AS b, v.side,
                       CASE WHEN (x.pgt_id < y.pgt_id) = (v.side = 0) THEN x.refresh_id ELSE y.refresh_id END AS refresh_id,
                       CASE WHEN (x.pgt_id < y.pgt_id) = (v.side = 0) THEN x.duration_us ELSE y.duration_us END AS duration_us,
                       count(*) AS n,
                       sum((extract(epoch FROM least(x.end_time, y.end_time) - y.start_time) * 1000000)::bigint) AS overlap_us,
                       max(least(x.end_time, y.end_time)) AS until
                  FROM pgtrickle.pgt_refresh_history x
                 CROSS JOIN LATERAL (SELECT i.pgt_id, i.refresh_id, i.duration_us, i.start_time, i.end_time, i.status, i.initiated_by
                                       FROM pgtrickle.pgt_refresh_history i
                                      WHERE i.start_time >= x.start_time AND i.start_time < x.end_time OFFSET 0) y
                 CROSS JOIN (VALUES (0), (1)) v(side)
                 WHERE x.status = 'COMPLETED' AND x.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND x.start_time > now() - interval '1 hour'
                   AND y.status = 'COMPLETED' AND y.initiated_by IS DISTINCT FROM 'SELF_MONITOR'
                   AND x.pgt_id <> y.pgt_id AND (y.start_time > x.start_time OR y.refresh_id > x.refresh_id)
                 GROUP BY 1, 2, 3, 4, 5) r
         GROUP BY r.a, r.b
        HAVING sum(r.n) FILTER (WHERE r.side = 0) >= 3) p
  JOIN (SELECT h.pgt_id, count(*) AS refreshes, sum(h.duration_us) AS duration_us FROM pgtrickle.pgt_refresh_history h
         WHERE h.status = 'COMPLETED' AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND h.start_time > now() - interval '1 hour'
         GROUP BY h.pgt_id) ta ON ta.pgt_id = p.a
  JOIN (SELECT h.pgt_id, count(*) AS refreshes, sum(h.duration_us) AS duration_us FROM pgtrickle.pgt_refresh_history h
         WHERE h.status = 'COMPLETED' AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND h.start_time > now() - interval '1 hour'
         GROUP BY h.pgt_id) tb ON tb.pgt_id = p.b
  JOIN pgtrickle.pgt_definitions da ON da.pgt_id = p.a
  JOIN pgtrickle.pgt_definitions db ON db.pgt_id = p.b
 CROSS JOIN LATERAL (SELECT p.sum_a / (1000 * p.count_a) AS avg_a, p.sum_b / (1000 * p.count_b) AS avg_b,
                            (ta.duration_us - p.sum_a) / nullif(1000 * (ta.refreshes - p.count_a), 0) AS solo_a,
                            (tb.duration_us - p.sum_b) / nullif(1000 * (tb.refreshes - p.count_b), 0) AS solo_b) s$q$)
$tables$;
COMMENT ON FUNCTION pgtrickle._self_monitoring_tables() IS 'The stream tables of self-monitoring as this version defines them, upstream first.';

CREATE FUNCTION pgtrickle._lock_stream_tables(pgt_ids bigint[]) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_self_lock';
COMMENT ON FUNCTION pgtrickle._lock_stream_tables(bigint[]) IS
'Wait for the refreshes of these stream tables to end and keep others from beginning until the transaction ends, in the order in which refreshes lock.';

CREATE FUNCTION pgtrickle._lock_self_monitoring(readers bool) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- One set-up or teardown at a time; whoever waited finds everything done.
    PERFORM pg_advisory_xact_lock('pgtrickle.pgt_definitions'::regclass::oid::int, 70);
    -- Before anything else is locked: a refresh of one of them may wait for the history, which set-up and teardown lock.
    PERFORM pgtrickle._lock_stream_tables(ARRAY(
        WITH RECURSIVE own AS (
            SELECT d.pgt_id, d.pgt_relid FROM pgtrickle.pgt_definitions d JOIN pgtrickle._self_monitoring_tables() t ON t.df_name = d.pgt_name
             WHERE d.pgt_schema = 'pgtrickle'
             UNION
            SELECT r.pgt_id, r.pgt_relid FROM own JOIN pgtrickle.pgt_dependencies e ON e.source_relid = own.pgt_relid
              JOIN pgtrickle.pgt_definitions r ON r.pgt_id = e.pgt_id WHERE readers)
        SELECT own.pgt_id FROM own));
END
$$;
COMMENT ON FUNCTION pgtrickle._lock_self_monitoring(bool) IS 'Lock all df_* stream tables; readers: and those that read them, directly or through others.';

CREATE FUNCTION pgtrickle.setup_self_monitoring() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t record;
    stored text;
    history bigint;
    messages text := current_setting('client_min_messages');
BEGIN
    PERFORM pgtrickle._lock_self_monitoring(false);
    PERFORM set_config('client_min_messages', 'warning', true);
    FOR t IN SELECT * FROM pgtrickle._self_monitoring_tables() ORDER BY ord LOOP
        SELECT d.original_query INTO stored FROM pgtrickle.pgt_stream_tables s JOIN pgtrickle.pgt_definitions d USING (pgt_id)
         WHERE d.pgt_schema = 'pgtrickle' AND d.pgt_name = t.df_name;
        IF NOT FOUND THEN
            -- Loaded by the consumer, each in a transaction of its own: this one writes what they read.
            PERFORM pgtrickle.create_stream_table(name => 'pgtrickle.' || t.df_name, query => t.query, schedule => t.schedule,
                        refresh_mode => t.refresh_mode, initialize => false, diamond_consistency => t.diamond_consistency);
            EXECUTE format('GRANT SELECT ON pgtrickle.%I TO PUBLIC', t.df_name);
        ELSIF stored <> t.query THEN
            PERFORM pgtrickle.alter_stream_table(name => 'pgtrickle.' || t.df_name, query => t.query, refresh_mode => t.refresh_mode);
        END IF;
    END LOOP;
    PERFORM set_config('client_min_messages', messages, true);
    SELECT count(*) INTO history FROM (SELECT FROM pgtrickle.pgt_refresh_history LIMIT 50) h;
    IF history < 50 THEN
        RAISE NOTICE 'Self-monitoring stream tables created. Their contents build up as refresh history accumulates (currently % rows; recommend >= 50 before consulting df_threshold_advice).', history;
    END IF;
END
$$;
COMMENT ON FUNCTION pgtrickle.setup_self_monitoring() IS
'Create the five df_* stream tables of self-monitoring, or what is missing of them, and bring definitions of an older version up to date. May be called again at any time, also from several sessions at once. trickle-consumer fills them. NOTICE while there are fewer than 50 rows of refresh history.';

CREATE FUNCTION pgtrickle.teardown_self_monitoring("cascade" bool DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t record;
BEGIN
    PERFORM pgtrickle._lock_self_monitoring(coalesce("cascade", false));
    FOR t IN SELECT s.df_name FROM pgtrickle._self_monitoring_tables() s
               JOIN pgtrickle.pgt_stream_tables d ON d.pgt_schema = 'pgtrickle' AND d.pgt_name = s.df_name ORDER BY s.ord DESC LOOP
        PERFORM pgtrickle.drop_stream_table('pgtrickle.' || t.df_name, coalesce("cascade", false));
    END LOOP;
    DELETE FROM pgtrickle.pgt_buffer_samples;
END
$$;
COMMENT ON FUNCTION pgtrickle.teardown_self_monitoring(bool) IS
'Drop the df_* stream tables, as many of them as there are. Refused (2BP01) while others read them, unless cascade, which drops those too.';

REVOKE ALL ON FUNCTION pgtrickle.setup_self_monitoring(), pgtrickle.teardown_self_monitoring(bool), pgtrickle._lock_stream_tables(bigint[]),
       pgtrickle._lock_self_monitoring(bool) FROM PUBLIC;

CREATE FUNCTION pgtrickle.self_monitoring_status()
RETURNS TABLE (df_name text, status text, last_refresh timestamptz, row_count bigint, note text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    t record;
BEGIN
    FOR t IN SELECT w.ord, w.df_name, w.query, d.pgt_relid, d.original_query, s.status, s.is_populated, s.last_refresh_at, s.last_error_message,
                    to_regclass('pgtrickle.' || w.df_name) AS taken
               FROM pgtrickle._self_monitoring_tables() w
               LEFT JOIN (pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s ON s.pgt_id = d.pgt_id)
                      ON d.pgt_schema = 'pgtrickle' AND d.pgt_name = w.df_name
              ORDER BY w.ord LOOP
        df_name := t.df_name;
        status := coalesce(t.status, 'NOT_CREATED');
        last_refresh := t.last_refresh_at;
        row_count := NULL;
        note := CASE WHEN t.pgt_relid IS NULL AND EXISTS (SELECT FROM pgtrickle.pgt_definitions d WHERE d.pgt_schema = 'pgtrickle' AND d.pgt_name = t.df_name)
                         THEN 'came with a dump: run pgtrickle.restore_stream_tables()'
                     WHEN t.pgt_relid IS NULL AND t.taken IS NOT NULL THEN 'a relation of this name exists that is no stream table'
                     WHEN t.pgt_relid IS NULL THEN 'run pgtrickle.setup_self_monitoring()'
                     WHEN t.original_query <> t.query THEN 'defined by another version: run pgtrickle.setup_self_monitoring()'
                     WHEN t.last_error_message IS NOT NULL AND t.status <> 'ACTIVE' THEN t.last_error_message
                     WHEN t.status = 'SUSPENDED' THEN 'run pgtrickle.resume_stream_table()'
                     WHEN NOT t.is_populated AND NOT EXISTS (SELECT FROM pgtrickle._capture() c WHERE c.active)
                         THEN 'trickle-consumer is not running'
                     WHEN NOT t.is_populated THEN 'waiting for the first load' END;
        IF t.pgt_relid IS NOT NULL THEN
            EXECUTE format('SELECT count(*) FROM pgtrickle.%I', t.df_name) INTO row_count;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgtrickle.self_monitoring_status() IS
'Always five rows, one per df_* stream table: status ACTIVE, SUSPENDED, ERROR, INITIALIZING or NOT_CREATED, last refresh that did something, number of rows, and what to do about it, if anything.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- What reads them
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.recommend_refresh_mode(st_name text) RETURNS TABLE (mode text, confidence text, reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(st_name);
    SELECT coalesce(s.mode, 'AUTO'), coalesce(s.confidence, 'LOW'), s.reason FROM pgtrickle._self_monitoring_of(pgtrickle._st_id(st_name)) s;
END;
COMMENT ON FUNCTION pgtrickle.recommend_refresh_mode(text) IS
'The refresh mode that the last hour speaks for (df_threshold_advice): DIFFERENTIAL, FULL or AUTO, with confidence HIGH, MEDIUM or LOW and the reason. AUTO and LOW where data are short or self-monitoring is off. 42P01 for an unknown name.';

CREATE FUNCTION pgtrickle.cdc_buffer_row_counts()
RETURNS TABLE (source_relid oid, source_table text, pending_rows bigint, buffer_bytes bigint, consumers int)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.source_oid::oid, b.source_table, max(b.pending_rows), max(b.buffer_bytes), count(*)::int
      FROM pgtrickle.change_buffer_sizes() b
     WHERE b.cdc_mode IS NOT NULL
     GROUP BY b.source_oid, b.source_table
     ORDER BY 2;
END;
COMMENT ON FUNCTION pgtrickle.cdc_buffer_row_counts() IS
'One row per captured table: rows that its slowest stream table has not consumed (an upper bound, from the consumer''s counters: no buffer is read), size of the whole buffer in bytes, number of stream tables that read it.';

CREATE FUNCTION pgtrickle._buffer_growth() RETURNS TABLE (source_relid oid, rows_per_s float8)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pgtrickle.pgt_stream_tables s
                WHERE s.pgt_schema = 'pgtrickle' AND s.pgt_name = 'df_cdc_buffer_trends' AND s.is_populated) THEN
        RETURN QUERY EXECUTE 'SELECT t.source_relid, t.growth_rows_per_s FROM pgtrickle.df_cdc_buffer_trends t';
    END IF;
END
$$;
COMMENT ON FUNCTION pgtrickle._buffer_growth() IS 'Rows per second by which the buffers grow, as DF-4 knows; nothing without it.';

CREATE FUNCTION pgtrickle._spill_risk(source_relid oid) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- A cycle of self-monitoring is 48 s.
    SELECT CASE WHEN l.bytes > 0 AND (b.pending + 2 * 48 * greatest(0, coalesce(g.rows_per_s, 0))) * b.width > l.bytes THEN 'IMMINENT' END
      FROM (SELECT max(c.pending_rows) AS pending FROM pgtrickle.change_buffer_sizes() c
             WHERE c.cdc_mode IS NOT NULL AND c.source_oid = _spill_risk.source_relid::bigint) p
     CROSS JOIN LATERAL (SELECT p.pending, sum(s.bytes)::float8 / nullif(sum(s.rows), 0) AS width
                           FROM pgtrickle._segments() s WHERE s.source_relid = _spill_risk.source_relid) b
      LEFT JOIN pgtrickle._buffer_growth() g ON g.source_relid = _spill_risk.source_relid
     CROSS JOIN (SELECT pgtrickle._spill_bytes() AS bytes) l;
END;
COMMENT ON FUNCTION pgtrickle._spill_risk(oid) IS
'IMMINENT when the rows that wait and two cycles of growth at the present rate exceed pg_trickle.spill_threshold_blocks, else NULL.';

-- }
-- update {
DROP FUNCTION pgtrickle.check_cdc_health();
-- }
-- since 0.20.0 {
CREATE FUNCTION pgtrickle.check_cdc_health()
RETURNS TABLE (source_relid bigint, source_table text, cdc_mode text, slot_name text, lag_bytes bigint, confirmed_lsn text, alert text,
               selective_capture bool, spill_risk text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT s.relid::bigint, s.label, 'WAL'::text, c.slot_name, (pgtrickle._wal_position() - c.confirmed_lsn)::bigint,
           c.confirmed_lsn::text,
           CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid = s.relid) THEN 'source_missing'
                WHEN r.relid IS NULL THEN 'source_not_registered'
                WHEN c.slot_name IS NULL THEN 'consumer_never_started'
                WHEN NOT c.slot_exists THEN 'replication_slot_missing'
                WHEN c.wal_status = 'lost' THEN 'replication_slot_lost'
                WHEN NOT c.active THEN 'consumer_not_running'
                WHEN pgtrickle._wal_position() - c.confirmed_lsn
                     > pgtrickle._setting_bytes('pg_trickle.slot_lag_critical_threshold_mb', 1024)
                     THEN 'slot_lag_exceeds_threshold' END,
           cardinality(r.attnums) < (SELECT count(*) FROM pg_catalog.pg_attribute a
                                      WHERE a.attrelid = s.relid AND a.attnum > 0 AND NOT a.attisdropped),
           pgtrickle._spill_risk(s.relid)
      FROM (SELECT d.source_relid AS relid, pgtrickle._relation_name(d.source_relid, min(d.source_schema), min(d.source_name)) AS label
              FROM pgtrickle.pgt_dependencies d WHERE d.source_type = 'TABLE' GROUP BY d.source_relid) s
      LEFT JOIN pgtrickle.pgt_sources r ON r.relid = s.relid
      LEFT JOIN pgtrickle._capture() c ON true
     ORDER BY 2;
END;
COMMENT ON FUNCTION pgtrickle.check_cdc_health() IS
'One row per source table. lag_bytes: WAL after the slot''s confirmed position, which waits for the slowest stream table. alert: NULL if all is well, else source_missing, source_not_registered, consumer_never_started, replication_slot_missing, replication_slot_lost, consumer_not_running or slot_lag_exceeds_threshold. selective_capture: not all columns are captured. spill_risk: IMMINENT when the rows that wait, and two cycles of growth where self-monitoring knows it, exceed pg_trickle.spill_threshold_blocks.';

CREATE FUNCTION pgtrickle.explain_dag(format text DEFAULT 'mermaid', max_nodes int DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    total bigint;
    body text;
BEGIN
    IF format IS NULL THEN
        RETURN NULL;
    ELSIF format NOT IN ('mermaid', 'dot') THEN
        RAISE EXCEPTION 'unknown format "%"', format USING ERRCODE = 'invalid_parameter_value', HINT = 'The formats are "mermaid" and "dot".';
    ELSIF max_nodes < 1 THEN
        RAISE EXCEPTION 'max_nodes must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH node AS MATERIALIZED (
        SELECT d.pgt_relid AS relid, 's' || d.pgt_id AS id, quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name) AS label,
               d.refresh_mode || ', ' || coalesce(d.schedule, 'calculated') AS detail,
               CASE WHEN s.status IN ('SUSPENDED', 'ERROR') THEN 'suspended' WHEN s.fuse_state = 'blown' THEN 'fused'
                    WHEN w.df_name IS NOT NULL THEN 'monitor' ELSE 'user' END AS class,
               CASE WHEN w.df_name IS NULL THEN 0 ELSE 1 END AS kind
          FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)
          LEFT JOIN pgtrickle._self_monitoring_tables() w ON d.pgt_schema = 'pgtrickle' AND d.pgt_name = w.df_name
         UNION ALL
        SELECT e.source_relid, 't' || e.source_relid, pgtrickle._relation_name(e.source_relid, min(e.source_schema), min(e.source_name)),
               lower(replace(min(e.source_type), '_', ' ')), 'base', 2
          FROM pgtrickle.pgt_dependencies e
         WHERE NOT EXISTS (SELECT FROM pgtrickle.pgt_definitions u WHERE u.pgt_relid = e.source_relid)
         GROUP BY e.source_relid
    ), shown AS (
        SELECT * FROM node ORDER BY kind, label COLLATE "C" LIMIT max_nodes
    ), edge AS (
        SELECT f.id AS source, t.id AS reader, f.label AS source_label, t.label AS reader_label
          FROM pgtrickle.pgt_dependencies e JOIN pgtrickle.pgt_definitions d USING (pgt_id)
          JOIN shown f ON f.relid = e.source_relid JOIN shown t ON t.relid = d.pgt_relid
    ), line AS (
        SELECT 1 AS part, kind, label AS a, '' AS b,
               CASE WHEN format = 'dot'
                    THEN format('  %s [label="%s\n%s", class="%s", shape=%s, fillcolor="%s"];', id, replace(replace(label, '\', '\\'), '"', '\"'), detail,
                                class, CASE class WHEN 'base' THEN 'cylinder' ELSE 'box' END,
                                CASE class WHEN 'user' THEN '#9ecbff' WHEN 'monitor' THEN '#a5e6a5' WHEN 'suspended' THEN '#ff9a9a'
                                           WHEN 'fused' THEN '#ffc56b' ELSE '#e8e8e8' END)
                    ELSE format(CASE class WHEN 'base' THEN '  %s[("%s<br/>%s")]:::%s' ELSE '  %s["%s<br/>%s"]:::%s' END, id,
                                replace(replace(replace(label, '&', '&amp;'), '"', '&quot;'), '<', '&lt;'), detail, class) END AS text
          FROM shown
         UNION ALL
        SELECT 2, 0, source_label, reader_label, format(CASE format WHEN 'dot' THEN '  %s -> %s;' ELSE '  %s --> %s' END, source, reader) FROM edge
    )
    SELECT (SELECT count(*) FROM node), string_agg(l.text, E'\n' ORDER BY l.part, l.kind, l.a COLLATE "C", l.b COLLATE "C") INTO total, body FROM line l;

    IF total > 20 AND (max_nodes IS NULL OR max_nodes > 20) THEN
        RAISE NOTICE 'the graph has % nodes', total USING HINT = 'max_nodes limits what is shown; format => ''dot'' suits large graphs.';
    END IF;
    IF total > max_nodes THEN
        body := concat_ws(E'\n', body, CASE format WHEN 'dot' THEN '  // ' ELSE '  %% ' END || format('%s more nodes are not shown', total - max_nodes));
    END IF;
    IF format = 'dot' THEN
        RETURN concat_ws(E'\n', 'digraph stream_tables {', '  rankdir=TB;', '  node [style=filled];', body, '}');
    END IF;
    RETURN concat_ws(E'\n', 'graph TD', body, '  classDef user fill:#9ecbff,stroke:#1f6feb,color:#000', '  classDef monitor fill:#a5e6a5,stroke:#2da44e,color:#000',
                     '  classDef suspended fill:#ff9a9a,stroke:#cf222e,color:#000', '  classDef fused fill:#ffc56b,stroke:#bc6c00,color:#000',
                     '  classDef base fill:#e8e8e8,stroke:#6e7781,color:#000');
END
$$;
COMMENT ON FUNCTION pgtrickle.explain_dag(text, int) IS
'The graph of stream tables and the tables they read, as Mermaid (default) or Graphviz (format => ''dot''). Labels: mode and schedule. Blue: stream tables, green: self-monitoring, red: suspended or failed, orange: blown fuse, grey: what is read. At most max_nodes nodes, stream tables first. NOTICE above 20 nodes. NULL for a NULL format; 22023 for another, and for max_nodes below 1.';
-- }
