-- Diagnostics: what the stream tables, their sources, buffers and the slot look like now, and what refreshes did.
--
-- How these functions are written:
--  * They only read.  None scans a change buffer, a source or a stream table: sizes come from the relations' files, row counts from
--    the counters that the consumer keeps per segment, everything else from the catalog.
--  * SQL bodies are parsed when the extension is created (BEGIN ATOMIC), so the caller's search_path cannot change what they
--    mean, and stays in force for the one thing it should decide: which ST an unqualified name denotes (_st_id).
--  * They run with the caller's rights.  The catalog is readable by everyone, like pg_class; the schema of the buffers is not, so a
--    few small SECURITY DEFINER helpers hand out counters and positions from there, and no user data.
--  * A name that denotes no ST raises undefined_table (42P01) with a hint; NULL raises null_value_not_allowed (22004).  Functions that take
--    a name look it up in a statement of its own first: inside the query the planner may skip it, over an empty table for example.

-- ---------------------------------------------------------------------------------------------------------------------------
-- Helpers
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._st_id(name text) RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgt_diag_st_id';
COMMENT ON FUNCTION pgtrickle._st_id(text) IS
'pgt_id of the stream table that a name, optionally qualified and quoted as in SQL, denotes under the caller''s search_path. 42P01 if there is none, 22004 for NULL.';

CREATE FUNCTION pgtrickle._schedule_seconds(schedule text) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN schedule ~* '^\s*([0-9]+(\.[0-9]+)?\s*(weeks?|w|days?|d|hours?|hrs?|h|minutes?|mins?|m|milliseconds?|msecs?|ms|seconds?|secs?|s)\s*)*([0-9]+:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?\s*$'
                 AND schedule ~ '[0-9]'
    THEN coalesce((SELECT sum(q[1]::float8 * CASE WHEN q[2] ~* '^w' THEN 604800 WHEN q[2] ~* '^d' THEN 86400 WHEN q[2] ~* '^h' THEN 3600
                                                  WHEN q[2] ~* '^m(s|il)' THEN 0.001 WHEN q[2] ~* '^m' THEN 60 ELSE 1 END)
                     FROM pg_catalog.regexp_matches(schedule, '([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)', 'gi') AS q), 0)
         + coalesce((SELECT t[1]::float8 * 3600 + t[2]::float8 * 60 + coalesce(t[3]::float8, 0)
                       FROM pg_catalog.regexp_matches(schedule, '([0-9]+):([0-9]{2})(?::([0-9.]+))?') AS t), 0)
    END;
END;
COMMENT ON FUNCTION pgtrickle._schedule_seconds(text) IS
'Length in seconds of a duration schedule (docs/schedules.md); NULL for every other kind (cron, continuous, calculated). Its argument has been checked when it was stored.';

CREATE FUNCTION pgtrickle._setting_bytes(name text, fallback_mb bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(CASE WHEN s.v ~ '^[0-9]+$' THEN s.v::bigint * 1048576 ELSE pg_catalog.pg_size_bytes(s.v) END, fallback_mb * 1048576)
      FROM (SELECT pg_catalog.current_setting(name, true) AS v) s;
END;
COMMENT ON FUNCTION pgtrickle._setting_bytes(text, bigint) IS
'A setting measured in megabytes, in bytes; its default where the library is not loaded yet in this session.';

CREATE FUNCTION pgtrickle._buffer_limit() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(pg_catalog.current_setting('pg_trickle.buffer_alert_threshold', true)::bigint, 1000000);
END;
COMMENT ON FUNCTION pgtrickle._buffer_limit() IS 'Rows in one source''s buffer above which health_check warns.';

CREATE FUNCTION pgtrickle._plugin_permitted() RETURNS bool
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- Quotes around one name mean that name; ALTER SYSTEM SET ... = 'a, b' stores one name with a comma in it, which permits neither.
    SELECT 'pgtrickle_output' = ANY (regexp_split_to_array(regexp_replace(trim(s), '"([^",]*)"', '\1', 'g'), '\s*,\s*'))
      FROM current_setting('output_plugin_libraries', true) AS s;
END;
COMMENT ON FUNCTION pgtrickle._plugin_permitted() IS
'Whether output_plugin_libraries, which only privileged roles may read, names our plugin; NULL on servers that have no such list.';

CREATE FUNCTION pgtrickle._relation_name(relid oid, schema_name text, relation_name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce((SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
                       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                      WHERE c.oid = relid),
                    quote_ident(schema_name) || '.' || quote_ident(relation_name));
END;
COMMENT ON FUNCTION pgtrickle._relation_name(oid, text, text) IS
'Qualified, quoted name of a relation as it is called now; the recorded name if it does not exist any more.';

CREATE FUNCTION pgtrickle._wal_position() RETURNS pg_lsn
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                ELSE pg_catalog.pg_current_wal_lsn() END;
END;
COMMENT ON FUNCTION pgtrickle._wal_position() IS 'End of the WAL this server has written, or replayed if it is a standby.';

-- plpgsql, because a statement that mentions an unlogged table cannot even be planned on a standby.
CREATE FUNCTION pgtrickle._segment_counters() RETURNS TABLE (source_relid oid, segno bigint, rows bigint, min_xid xid8, max_xid xid8)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pg_is_in_recovery() THEN
        RETURN QUERY SELECT s.source_relid, s.segno, s.rows, s.min_xid, s.max_xid FROM pgtrickle_changes.segment_stats s;
    END IF;
END
$$;
COMMENT ON FUNCTION pgtrickle._segment_counters() IS
'The consumer''s counters: rows written to a segment, smallest and largest transaction in it. Empty on a standby, which has no buffers.';

CREATE FUNCTION pgtrickle._applied_lsn() RETURNS pg_lsn
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN pg_is_in_recovery() THEN NULL ELSE (SELECT p.applied_lsn FROM pgtrickle_changes.progress p WHERE p.node = 0) END;
END
$$;
COMMENT ON FUNCTION pgtrickle._applied_lsn() IS 'Position up to which the buffers are known to be complete; NULL on a standby.';

CREATE FUNCTION pgtrickle._segments()
RETURNS TABLE (source_relid oid, segno bigint, gen int, rows bigint, bytes bigint, min_xid xid8, max_xid xid8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT g.source_relid, g.segno, g.gen, coalesce(s.rows, 0), coalesce(pg_table_size(c.oid), 0), s.min_xid, s.max_xid
      FROM pgtrickle.pgt_segments g
      LEFT JOIN pgtrickle._segment_counters() s ON (s.source_relid, s.segno) = (g.source_relid, g.segno)
      LEFT JOIN pg_class c ON c.relname = g.relname AND c.relnamespace = 'pgtrickle_changes'::regnamespace;
END;
COMMENT ON FUNCTION pgtrickle._segments() IS
'Segments of the change buffers with their counters and sizes in bytes; min_xid and max_xid are NULL while a segment is empty.';

CREATE FUNCTION pgtrickle._st_buffers() RETURNS TABLE (pgt_id bigint, bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT d.pgt_id, pg_table_size(c.oid)
      FROM pgtrickle.pgt_definitions d
      JOIN pg_class c ON c.relname = ('st_' || d.pgt_id)::name AND c.relnamespace = 'pgtrickle_changes'::regnamespace;
END;
COMMENT ON FUNCTION pgtrickle._st_buffers() IS
'Size in bytes of the buffer that a stream table keeps for the stream tables that read it; no row if it has none.';

CREATE FUNCTION pgtrickle._capture()
RETURNS TABLE (slot_name text, slot_exists bool, active bool, wal_status text, restart_lsn pg_lsn, confirmed_lsn pg_lsn,
               applied_lsn pg_lsn, acked_lsn pg_lsn)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT s.slot_name::text, r.slot_name IS NOT NULL, coalesce(r.active, false), r.wal_status, r.restart_lsn,
           r.confirmed_flush_lsn, greatest(pgtrickle._applied_lsn(), r.confirmed_flush_lsn, w.replay_lsn), s.acked_lsn
      FROM pgtrickle.pgt_slot s
      LEFT JOIN pg_replication_slots r ON r.slot_name = s.slot_name AND r.database = current_database()
      LEFT JOIN pg_stat_replication w ON w.pid = r.active_pid;
END;
COMMENT ON FUNCTION pgtrickle._capture() IS
'The slot of this database as recorded and as it is, and how far changes have been applied; no row before the first start of a consumer. active: a consumer is connected. applied_lsn: the furthest of what the buffers record, what the consumer reports, and what is confirmed.';

CREATE FUNCTION pgtrickle._freshness()
RETURNS TABLE (pgt_id bigint, waiting bool, staleness interval, stale bool)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH pending AS (
        -- A segment's smallest and largest transaction are certainly in it; what lies between may belong to other tables.
        SELECT DISTINCT f.pgt_id, f.source_relid
          FROM pgtrickle.pgt_frontiers f
          JOIN (SELECT c.source_relid, x.xid FROM pgtrickle._segment_counters() c, LATERAL (VALUES (c.min_xid), (c.max_xid)) AS x(xid)
                 UNION ALL
                SELECT e.source_relid, e.xid FROM pgtrickle.pgt_source_events e) t ON t.source_relid = f.source_relid
         WHERE NOT pg_visible_in_snapshot(t.xid, f.snapshot)
    ), waits AS (
        SELECT dep.pgt_id,
               bool_or(CASE dep.source_type WHEN 'TABLE' THEN f.snapshot IS NULL OR p.pgt_id IS NOT NULL
                                            WHEN 'STREAM_TABLE' THEN coalesce(us.refresh_no > f.upstream_refresh, true)
                                            ELSE false END) AS any_source
          FROM pgtrickle.pgt_dependencies dep
          LEFT JOIN pgtrickle.pgt_frontiers f ON (f.pgt_id, f.source_relid) = (dep.pgt_id, dep.source_relid)
          LEFT JOIN pending p ON (p.pgt_id, p.source_relid) = (dep.pgt_id, dep.source_relid)
          LEFT JOIN pgtrickle.pgt_definitions u ON u.pgt_relid = dep.source_relid
          LEFT JOIN pgtrickle.pgt_state us ON us.pgt_id = u.pgt_id
         GROUP BY dep.pgt_id
    ), now_running AS (
        SELECT EXISTS (SELECT FROM pgtrickle._capture() WHERE active) AS running
    )
    SELECT d.pgt_id, w.waiting,
           CASE WHEN NOT s.is_populated THEN NULL
                WHEN w.waiting OR NOT c.running THEN greatest(now() - s.data_timestamp, interval '0')
                ELSE interval '0' END,
           s.is_populated AND d.refresh_tier <> 'frozen' AND (w.waiting OR NOT c.running)
               AND coalesce(now() - s.last_refresh_at > make_interval(secs => pgtrickle._schedule_seconds(d.schedule)
                                * CASE d.refresh_tier WHEN 'warm' THEN 2 WHEN 'cold' THEN 10 ELSE 1 END), false)
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_state s USING (pgt_id)
      LEFT JOIN waits ON waits.pgt_id = d.pgt_id
     CROSS JOIN LATERAL (SELECT s.needs_reinit OR coalesce(waits.any_source, false) AS waiting) w
     CROSS JOIN now_running c;
END;
COMMENT ON FUNCTION pgtrickle._freshness() IS
'Per stream table. waiting: changes that it has not consumed are known to be waiting, or its next refresh recomputes it. staleness: NULL before the first load; zero while a consumer runs and nothing is waiting; else the age of data_timestamp. stale: a duration schedule (stretched by its tier) has passed since the last refresh although there is something to do or nobody to do it; frozen ones never are.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- Status
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.pgt_status()
RETURNS TABLE (name text, status text, refresh_mode text, is_populated bool, consecutive_errors int, schedule text,
               data_timestamp timestamptz, staleness interval, scc_id int)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), s.status, d.refresh_mode, s.is_populated, s.consecutive_errors,
           d.schedule, s.data_timestamp, f.staleness, NULL::int
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_state s USING (pgt_id)
      JOIN pgtrickle._freshness() f USING (pgt_id)
     ORDER BY 1;
END;
COMMENT ON FUNCTION pgtrickle.pgt_status() IS
'One row per stream table, by name. schedule: as set, NULL if calculated. data_timestamp: the moment whose data it shows. staleness: NULL before the first load, zero while a consumer runs and nothing is waiting, else the age of data_timestamp. scc_id: always NULL (cycles are refused).';

CREATE FUNCTION pgtrickle.get_staleness(name text) RETURNS float8
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT extract(epoch FROM f.staleness)::float8 FROM pgtrickle._freshness() f WHERE f.pgt_id = pgtrickle._st_id(name);
END;
COMMENT ON FUNCTION pgtrickle.get_staleness(text) IS
'Seconds by which a stream table may lag: zero while a consumer runs and no change is waiting, else the age of its data_timestamp; NULL before the first load. 42P01 for an unknown name.';

CREATE FUNCTION pgtrickle.st_auto_threshold(name text) RETURNS float8
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT coalesce(d.auto_threshold, pg_catalog.current_setting('pg_trickle.differential_max_change_ratio', true)::float8)
      FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = pgtrickle._st_id(name);
END;
COMMENT ON FUNCTION pgtrickle.st_auto_threshold(text) IS
'Fraction of changed rows above which a refresh recomputes: the stream table''s own value, else pg_trickle.differential_max_change_ratio; NULL if neither is set. 42P01 for an unknown name.';

CREATE FUNCTION pgtrickle.health_summary()
RETURNS TABLE (total_stream_tables int, active_count int, error_count int, suspended_count int, stale_count int,
               reinit_pending int, max_staleness_seconds float8, scheduler_status text, cache_hit_rate float8)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(*)::int,
           count(*) FILTER (WHERE s.status = 'ACTIVE')::int,
           count(*) FILTER (WHERE s.status = 'ERROR' OR s.consecutive_errors > 0)::int,
           count(*) FILTER (WHERE s.status = 'SUSPENDED')::int,
           count(*) FILTER (WHERE f.stale)::int,
           count(*) FILTER (WHERE s.needs_reinit)::int,
           extract(epoch FROM max(f.staleness))::float8,
           CASE WHEN pg_catalog.current_setting('pg_trickle.enabled', true)::bool IS FALSE THEN 'disabled'
                WHEN EXISTS (SELECT FROM pgtrickle._capture() c WHERE c.active) THEN 'running'
                WHEN EXISTS (SELECT FROM pgtrickle._capture() c) THEN 'stopped'
                ELSE 'never started' END,
           NULL::float8
      FROM pgtrickle.pgt_state s
      JOIN pgtrickle._freshness() f USING (pgt_id);
END;
COMMENT ON FUNCTION pgtrickle.health_summary() IS
'One row of counts. error_count: status ERROR, or errors since the last good refresh. max_staleness_seconds: NULL without a loaded stream table. scheduler_status: running (a consumer is connected), stopped, never started, or disabled (pg_trickle.enabled is off). cache_hit_rate: always NULL.';

CREATE FUNCTION pgtrickle.health_check() RETURNS TABLE (check_name text, severity text, detail text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH st AS (
        SELECT quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name) AS name, s.*, f.stale
          FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id) JOIN pgtrickle._freshness() f USING (pgt_id)
    ), cap AS (
        SELECT c.*, pgtrickle._wal_position() - c.restart_lsn AS retained, pgtrickle._wal_position() - c.applied_lsn AS behind
          FROM (SELECT 1) AS one LEFT JOIN pgtrickle._capture() c ON true
    ), lists AS (
        SELECT string_agg(name, ', ' ORDER BY name) FILTER (WHERE status = 'ERROR' OR consecutive_errors > 0) AS failing,
               string_agg(name, ', ' ORDER BY name) FILTER (WHERE status = 'SUSPENDED') AS suspended,
               string_agg(name, ', ' ORDER BY name) FILTER (WHERE stale) AS stale,
               string_agg(name, ', ' ORDER BY name) FILTER (WHERE needs_reinit) AS reinit,
               string_agg(name, ', ' ORDER BY name) FILTER (WHERE NOT is_populated) AS unloaded,
               count(*) AS total
          FROM st
    ), buf AS (
        SELECT string_agg(b.label, ', ' ORDER BY b.label) AS large
          FROM (SELECT pgtrickle._relation_name(g.source_relid, 'unknown', g.source_relid::text) AS label
                  FROM pgtrickle._segments() g GROUP BY g.source_relid
                HAVING sum(g.rows) > pgtrickle._buffer_limit()) b
    ), src AS (
        SELECT string_agg(DISTINCT pgtrickle._relation_name(d.source_relid, d.source_schema, d.source_name), ', ') AS unregistered
          FROM pgtrickle.pgt_dependencies d
         WHERE d.source_type = 'TABLE' AND NOT EXISTS (SELECT FROM pgtrickle.pgt_sources r WHERE r.relid = d.source_relid)
    ), lim AS (
        SELECT pgtrickle._setting_bytes('pg_trickle.slot_lag_warning_threshold_mb', 100) AS warn,
               pgtrickle._setting_bytes('pg_trickle.slot_lag_critical_threshold_mb', 1024) AS crit,
               pgtrickle._plugin_permitted() AS permitted,
               pg_catalog.current_setting('wal_level') AS wal_level,
               pg_catalog.current_setting('pg_trickle.enabled', true)::bool IS FALSE AS off
    )
    SELECT c.check_name, c.severity, c.detail
      FROM cap, lists, buf, src, lim, LATERAL (VALUES
        (1, 'wal_level', CASE WHEN lim.wal_level = 'logical' THEN 'OK' ELSE 'ERROR' END,
            CASE WHEN lim.wal_level = 'logical' THEN 'wal_level is logical'
                 ELSE format('wal_level is %s; set it to logical and restart the server', lim.wal_level) END),
        (2, 'output_plugin', CASE WHEN lim.permitted IS FALSE THEN 'ERROR' ELSE 'OK' END,
            CASE lim.permitted WHEN true THEN 'output_plugin_libraries contains pgtrickle_output'
                               WHEN false THEN 'output_plugin_libraries lacks pgtrickle_output: ALTER SYSTEM SET it to a list with that name, each name quoted for itself, and reload'
                               ELSE 'this server loads every installed output plugin' END),
        (3, 'slot',
            CASE WHEN cap.slot_exists AND cap.wal_status <> 'lost' THEN 'OK'
                 WHEN cap.slot_name IS NULL AND lists.total = 0 THEN 'OK' ELSE 'ERROR' END,
            CASE WHEN cap.slot_name IS NULL THEN 'no consumer has been started on this database yet'
                 WHEN NOT cap.slot_exists THEN format('replication slot %I does not exist in this database', cap.slot_name)
                 WHEN cap.wal_status = 'lost' THEN format('replication slot %I is lost: drop it and create it again', cap.slot_name)
                 ELSE format('replication slot %I, wal_status %s', cap.slot_name, cap.wal_status) END),
        (4, 'consumer',
            CASE WHEN cap.active THEN 'OK' WHEN lists.total = 0 THEN 'OK' ELSE 'ERROR' END,
            CASE WHEN cap.active THEN 'a consumer is connected'
                 WHEN lists.total = 0 THEN 'no consumer is connected, and without stream tables none is needed'
                 ELSE 'no consumer is connected: nothing is captured or refreshed until trickle-consumer runs' END),
        (5, 'scheduler', CASE WHEN lim.off THEN 'WARN' ELSE 'OK' END,
            CASE WHEN lim.off THEN 'pg_trickle.enabled is off' ELSE 'scheduling is enabled' END),
        (6, 'retained_wal', CASE WHEN cap.retained > lim.crit THEN 'ERROR' WHEN cap.retained > lim.warn THEN 'WARN' ELSE 'OK' END,
            CASE WHEN cap.retained IS NULL THEN 'no slot' ELSE format('the slot retains %s of WAL', pg_size_pretty(cap.retained)) END),
        (7, 'apply_lag', CASE WHEN cap.behind > lim.crit THEN 'ERROR' WHEN cap.behind > lim.warn THEN 'WARN' ELSE 'OK' END,
            CASE WHEN cap.behind IS NULL THEN 'nothing applied yet'
                 ELSE format('%s of WAL not yet reported as applied', pg_size_pretty(cap.behind)) END),
        (8, 'sources', CASE WHEN src.unregistered IS NULL THEN 'OK' ELSE 'ERROR' END,
            coalesce('not registered for capture: ' || src.unregistered, 'all source tables are registered for capture')),
        (9, 'buffers', CASE WHEN buf.large IS NULL THEN 'OK' ELSE 'WARN' END,
            coalesce('large change buffers: ' || buf.large, 'all change buffers are below pg_trickle.buffer_alert_threshold')),
        (10, 'errors', CASE WHEN lists.failing IS NULL THEN 'OK' ELSE 'ERROR' END,
            coalesce('failing: ' || lists.failing, 'no stream table is failing')),
        (11, 'suspended', CASE WHEN lists.suspended IS NULL THEN 'OK' ELSE 'ERROR' END,
            coalesce('suspended: ' || lists.suspended, 'no stream table is suspended')),
        (12, 'stale', CASE WHEN lists.stale IS NULL THEN 'OK' ELSE 'WARN' END,
            coalesce('past their schedule: ' || lists.stale, 'no stream table is past its schedule')),
        (13, 'reinit_pending', CASE WHEN lists.reinit IS NULL THEN 'OK' ELSE 'WARN' END,
            coalesce('recomputed at the next refresh: ' || lists.reinit, 'no stream table waits to be recomputed')),
        (14, 'unloaded', CASE WHEN lists.unloaded IS NULL THEN 'OK' ELSE 'WARN' END,
            coalesce('not loaded yet: ' || lists.unloaded, 'all stream tables are loaded'))
      ) AS c(ord, check_name, severity, detail)
     ORDER BY c.ord;
END;
COMMENT ON FUNCTION pgtrickle.health_check() IS
'One row per check, always the same checks in the same order. severity: OK, WARN or ERROR. detail: the finding in words; names of stream tables and sources are listed.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- History
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._row_limit(max_rows int) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_rows IS NULL OR max_rows < 0 THEN
        RAISE EXCEPTION 'max_rows must be a whole number from 0 up' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN max_rows;
END
$$;
COMMENT ON FUNCTION pgtrickle._row_limit(int) IS 'Its argument, or 22023 if that is NULL or negative.';

CREATE FUNCTION pgtrickle.get_refresh_history(name text, max_rows int DEFAULT 20)
RETURNS TABLE (refresh_id bigint, data_timestamp timestamptz, start_time timestamptz, end_time timestamptz, action text, status text,
               rows_inserted bigint, rows_deleted bigint, duration_ms float8, error_message text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT h.refresh_id, h.data_timestamp, h.start_time, h.end_time, h.action, h.status, h.rows_inserted, h.rows_deleted,
           (extract(epoch FROM h.end_time - h.start_time) * 1000)::float8, h.error_message
      FROM pgtrickle.pgt_refresh_history h
     WHERE h.pgt_id = pgtrickle._st_id(name) AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR'
     ORDER BY h.start_time DESC, h.refresh_id DESC
     LIMIT pgtrickle._row_limit(max_rows);
END;
COMMENT ON FUNCTION pgtrickle.get_refresh_history(text, int) IS
'Refreshes of one stream table that did something or failed, newest first, at most max_rows. An updated row counts in rows_inserted and in rows_deleted. duration_ms: milliseconds by the wall clock. 42P01 for an unknown name, 22023 for a bad max_rows.';

CREATE FUNCTION pgtrickle.refresh_timeline(max_rows int DEFAULT 50)
RETURNS TABLE (start_time timestamptz, stream_table text, action text, status text, rows_inserted bigint, rows_deleted bigint,
               duration_ms float8, error_message text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT h.start_time, coalesce(quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), pg_catalog.format('(dropped: %s)', h.pgt_id)),
           h.action, h.status, h.rows_inserted, h.rows_deleted,
           (extract(epoch FROM h.end_time - h.start_time) * 1000)::float8, h.error_message
      -- The last to end, by primary key: numbers are given when a refresh ends.
      FROM (SELECT * FROM pgtrickle.pgt_refresh_history WHERE initiated_by IS DISTINCT FROM 'SELF_MONITOR'
             ORDER BY refresh_id DESC LIMIT pgtrickle._row_limit(max_rows)) h
      LEFT JOIN pgtrickle.pgt_definitions d USING (pgt_id)
     ORDER BY h.start_time DESC, h.refresh_id DESC;
END;
COMMENT ON FUNCTION pgtrickle.refresh_timeline(int) IS
'The last max_rows refreshes of all stream tables to end, by start, newest first. duration_ms: milliseconds by the wall clock. 22023 for a bad max_rows.';

CREATE FUNCTION pgtrickle._totals(since timestamptz DEFAULT '-infinity')
RETURNS TABLE (pgt_id bigint, total bigint, good bigint, failed bigint, rows_inserted bigint, rows_deleted bigint, avg_ms float8,
               diffs bigint, fulls bigint, avg_diff_ms float8, avg_full_ms float8, avg_change_ratio float8,
               last_action text, last_status text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT g.*, l.action, l.status
      FROM (SELECT h.pgt_id, count(*), count(*) FILTER (WHERE h.status = 'COMPLETED'), count(*) FILTER (WHERE h.status = 'FAILED'),
                   coalesce(sum(h.rows_inserted), 0)::bigint, coalesce(sum(h.rows_deleted), 0)::bigint,
                   (avg(h.duration_us) FILTER (WHERE h.status = 'COMPLETED') / 1000)::float8,
                   count(*) FILTER (WHERE m.diff), count(*) FILTER (WHERE m.full_run),
                   (avg(h.duration_us) FILTER (WHERE m.diff) / 1000)::float8,
                   (avg(h.duration_us) FILTER (WHERE m.full_run) / 1000)::float8,
                   -- in units of 1e-9, so that the order of the rows does not show in the sum
                   (avg(CASE WHEN h.source_row_count > 0 THEN (least(1, h.delta_row_count::float8 / h.source_row_count) * 1e9)::bigint END)
                       FILTER (WHERE m.diff) / 1000000000)::float8
              FROM pgtrickle.pgt_refresh_history h
             CROSS JOIN LATERAL (SELECT h.status = 'COMPLETED' AND h.action = 'DIFFERENTIAL' AS diff,
                                        h.status = 'COMPLETED' AND h.action IN ('FULL', 'REINITIALIZE') AS full_run) m
             WHERE h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' AND h.start_time > since
             GROUP BY h.pgt_id) g
     CROSS JOIN LATERAL (SELECT h.action, h.status FROM pgtrickle.pgt_refresh_history h
                          WHERE h.pgt_id = g.pgt_id AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR'
                          ORDER BY h.start_time DESC, h.refresh_id DESC LIMIT 1) l;
END;
COMMENT ON FUNCTION pgtrickle._totals(timestamptz) IS
'Aggregates of the refresh history since then per stream table, durations in milliseconds; averages over completed refreshes only. Audit rows of the policy are no refreshes. No row for one without history.';

CREATE FUNCTION pgtrickle.st_refresh_stats()
RETURNS TABLE (pgt_name text, pgt_schema text, status text, refresh_mode text, is_populated bool, total_refreshes bigint,
               successful_refreshes bigint, failed_refreshes bigint, total_rows_inserted bigint, total_rows_deleted bigint,
               avg_duration_ms float8, last_refresh_action text, last_refresh_status text, last_refresh_at timestamptz,
               staleness_secs float8, stale bool, consecutive_errors int, schedule text, refresh_tier text, last_error_message text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.pgt_name, d.pgt_schema, s.status, d.refresh_mode, s.is_populated, coalesce(h.total, 0), coalesce(h.good, 0),
           coalesce(h.failed, 0), coalesce(h.rows_inserted, 0), coalesce(h.rows_deleted, 0), h.avg_ms, h.last_action, h.last_status,
           s.last_refresh_at, extract(epoch FROM f.staleness)::float8, f.stale, s.consecutive_errors, d.schedule, d.refresh_tier,
           s.last_error_message
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_state s USING (pgt_id)
      JOIN pgtrickle._freshness() f USING (pgt_id)
      LEFT JOIN pgtrickle._totals() h USING (pgt_id)
     ORDER BY d.pgt_schema, d.pgt_name;
END;
COMMENT ON FUNCTION pgtrickle.st_refresh_stats() IS
'One row per stream table with totals over its whole history. avg_duration_ms: of completed refreshes, NULL if there is none. staleness_secs, stale: as in pg_stat_stream_tables.';

CREATE FUNCTION pgtrickle.refresh_efficiency("window" interval DEFAULT NULL)
RETURNS TABLE (pgt_schema text, pgt_name text, refresh_mode text, total_refreshes bigint, diff_count bigint, full_count bigint,
               avg_diff_ms float8, avg_full_ms float8, avg_change_ratio float8, diff_speedup text, last_refresh_at text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.pgt_schema, d.pgt_name, d.refresh_mode, coalesce(h.good, 0), coalesce(h.diffs, 0), coalesce(h.fulls, 0), h.avg_diff_ms,
           h.avg_full_ms, h.avg_change_ratio, round((h.avg_full_ms / nullif(h.avg_diff_ms, 0))::numeric, 1)::text || 'x',
           s.last_refresh_at::text
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_state s USING (pgt_id)
      LEFT JOIN pgtrickle._totals(coalesce(now() - "window", '-infinity')) h USING (pgt_id)
     ORDER BY d.pgt_schema, d.pgt_name;
END;
COMMENT ON FUNCTION pgtrickle.refresh_efficiency(interval) IS
'Per stream table: completed refreshes, incremental refreshes (diff_count) and recomputations (full_count: actions FULL and REINITIALIZE), their average durations in milliseconds, the average of changed rows over source rows, and how many times faster incremental ones were. Reads the whole history, or what began within the window before now.';

CREATE FUNCTION pgtrickle._error_class(sqlstate text) RETURNS TABLE (error_type text, remediation text)
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT v.error_type, v.remediation
      FROM (VALUES
        (1, '^(42501|28)', 'configuration',
            'The stream table''s owner lacks a privilege on a source, function or schema that the query uses: grant it.'),
        (2, '^(42|0A|3F|26)', 'configuration',
            'The query no longer fits the objects it names. Look at explain_st, then alter the query or put the objects back.'),
        (3, '^(55P03|57014|40)', 'performance',
            'A lock, a timeout or a conflict stopped the refresh; it is tried again. If it keeps happening, look for long transactions and DDL on the sources.'),
        (4, '^(53|54)', 'infrastructure',
            'The server ran out of a resource (disk, memory, connections) or met a limit. Free it; the next refresh continues.'),
        (5, '^(08|57|58|25006)', 'infrastructure',
            'A connection or the server went away, or the server is read-only. Check the server and trickle-consumer; the next refresh continues.'),
        (6, '^(2[0-3]|44)', 'correctness',
            'The query itself fails on the present data (for example a division by zero or a duplicate key). Run the defining query by hand, then correct the data or the query.'),
        (7, '', 'correctness',
            'Unexpected error. Compare with verify_stream_table, keep the server log and report it.')
      ) AS v(ord, pattern, error_type, remediation)
     WHERE coalesce(sqlstate, '') ~ v.pattern
     ORDER BY v.ord LIMIT 1;
END;
COMMENT ON FUNCTION pgtrickle._error_class(text) IS 'Kind of an error by its SQLSTATE (never by its message, which is translated), and what to do.';

CREATE FUNCTION pgtrickle.diagnose_errors(name text)
RETURNS TABLE (event_time timestamptz, error_type text, error_message text, remediation text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT h.start_time, e.error_type, coalesce(h.error_state || ': ', '') || h.error_message, e.remediation
      FROM pgtrickle.pgt_refresh_history h
     CROSS JOIN LATERAL pgtrickle._error_class(h.error_state) e
     WHERE h.pgt_id = pgtrickle._st_id(name) AND h.status = 'FAILED'
     ORDER BY h.start_time DESC, h.refresh_id DESC
     LIMIT 5;
END;
COMMENT ON FUNCTION pgtrickle.diagnose_errors(text) IS
'The last five failed refreshes, newest first. error_type: correctness, performance, configuration or infrastructure, by SQLSTATE. error_message: SQLSTATE and message. 42P01 for an unknown name.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- Sources and dependencies
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._column_names(relid oid, attnums int2[], recorded text[]) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce((SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid = relid AND a.attnum = ANY (attnums)),
                    (SELECT string_agg(quote_ident(c), ', ' ORDER BY o) FROM unnest(recorded) WITH ORDINALITY AS r(c, o)));
END;
COMMENT ON FUNCTION pgtrickle._column_names(oid, int2[], text[]) IS
'Columns as they are called now, separated by commas; the recorded names if the relation does not exist any more.';

CREATE FUNCTION pgtrickle.list_sources(name text)
RETURNS TABLE (source_table text, source_oid bigint, source_type text, cdc_mode text, columns_used text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT pgtrickle._relation_name(d.source_relid, d.source_schema, d.source_name), d.source_relid::bigint, d.source_type,
           CASE WHEN d.source_type = 'TABLE' THEN d.cdc_mode END,
           pgtrickle._column_names(d.source_relid, d.attnums_used, d.columns_used)
      FROM pgtrickle.pgt_dependencies d
     WHERE d.pgt_id = pgtrickle._st_id(name)
     ORDER BY 1;
END;
COMMENT ON FUNCTION pgtrickle.list_sources(text) IS
'What a stream table reads, by name. source_type: TABLE, STREAM_TABLE, VIEW, MATVIEW or FOREIGN_TABLE. cdc_mode: WAL for tables, NULL for the rest. columns_used: the columns the query needs. 42P01 for an unknown name.';

CREATE FUNCTION pgtrickle.dependency_tree()
RETURNS TABLE (tree_line text, node text, node_type text, depth int, status text, refresh_mode text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE edge AS (
        SELECT d.pgt_id AS parent, u.pgt_id AS child, n.label,
               CASE d.source_type WHEN 'STREAM_TABLE' THEN 'stream_table' WHEN 'TABLE' THEN 'source_table'
                                  ELSE pg_catalog.lower(d.source_type) END AS node_type,
               row_number() OVER w AS pos, count(*) OVER (PARTITION BY d.pgt_id) AS siblings
          FROM pgtrickle.pgt_dependencies d
         CROSS JOIN LATERAL (SELECT pgtrickle._relation_name(d.source_relid, d.source_schema, d.source_name) AS label) n
          LEFT JOIN pgtrickle.pgt_definitions u ON u.pgt_relid = d.source_relid
        WINDOW w AS (PARTITION BY d.pgt_id ORDER BY n.label COLLATE "C")
    ), tree AS (
        SELECT r.pgt_id AS id, r.label, 'stream_table'::text AS node_type, 0 AS depth, r.label AS line, ''::text AS indent,
               ARRAY[row_number() OVER (ORDER BY r.label COLLATE "C")] AS path
          FROM (SELECT d.pgt_id, quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name) AS label
                  FROM pgtrickle.pgt_definitions d
                 WHERE NOT EXISTS (SELECT FROM pgtrickle.pgt_dependencies p WHERE p.source_relid = d.pgt_relid)) r
        UNION ALL
        SELECT e.child, e.label, e.node_type, t.depth + 1,
               t.indent || CASE WHEN e.pos = e.siblings THEN '`-- ' ELSE '|-- ' END || e.label ||
                   CASE e.node_type WHEN 'stream_table' THEN '' WHEN 'source_table' THEN ' [src]' ELSE ' [' || e.node_type || ']' END,
               t.indent || CASE WHEN e.pos = e.siblings THEN '    ' ELSE '|   ' END,
               t.path || e.pos
          FROM tree t JOIN edge e ON e.parent = t.id
    )
    SELECT t.line, t.label, t.node_type, t.depth, s.status, d.refresh_mode
      FROM tree t
      LEFT JOIN pgtrickle.pgt_definitions d ON d.pgt_id = t.id
      LEFT JOIN pgtrickle.pgt_state s ON s.pgt_id = t.id
     ORDER BY t.path;
END;
COMMENT ON FUNCTION pgtrickle.dependency_tree() IS
'The dependency graph as indented lines: stream tables that no other reads stand at the left (depth 0), under each what it reads. What several read appears under each of them. node_type: stream_table, source_table, view, matview or foreign_table; status and refresh_mode are NULL unless it is a stream table.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- Capture
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.change_buffer_sizes()
RETURNS TABLE (stream_table text, source_table text, source_oid bigint, cdc_mode text, pending_rows bigint, buffer_bytes bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH seg AS (SELECT * FROM pgtrickle._segments())
    SELECT quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name),
           pgtrickle._relation_name(dep.source_relid, dep.source_schema, dep.source_name), dep.source_relid::bigint,
           CASE WHEN dep.source_type = 'TABLE' THEN dep.cdc_mode END,
           CASE WHEN dep.source_type = 'TABLE' THEN coalesce(b.pending, 0)
                WHEN us.refresh_no <= f.upstream_refresh THEN 0 END,
           coalesce(CASE WHEN dep.source_type = 'TABLE' THEN b.bytes ELSE ub.bytes END, 0)
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_dependencies dep USING (pgt_id)
      LEFT JOIN pgtrickle.pgt_frontiers f ON (f.pgt_id, f.source_relid) = (dep.pgt_id, dep.source_relid)
      LEFT JOIN LATERAL (
            SELECT sum(g.bytes)::bigint AS bytes,
                   (sum(g.rows) FILTER (WHERE f.snapshot IS NULL OR g.max_xid >= pg_snapshot_xmax(f.snapshot)
                        OR EXISTS (SELECT FROM pg_snapshot_xip(f.snapshot) AS x(xid) WHERE x.xid BETWEEN g.min_xid AND g.max_xid)))::bigint
                       AS pending
              FROM seg g WHERE g.source_relid = dep.source_relid) b ON true
      LEFT JOIN pgtrickle.pgt_definitions u ON u.pgt_relid = dep.source_relid
      LEFT JOIN pgtrickle.pgt_state us ON us.pgt_id = u.pgt_id
      LEFT JOIN pgtrickle._st_buffers() ub ON ub.pgt_id = u.pgt_id
     WHERE dep.source_type IN ('TABLE', 'STREAM_TABLE')
     ORDER BY 1, 2;
END;
COMMENT ON FUNCTION pgtrickle.change_buffer_sizes() IS
'One row per stream table and captured source. pending_rows: an upper bound, since a segment of which something is not consumed yet counts whole (an update is two rows); for a source that is a stream table 0, or NULL if changes are waiting (they are not counted). buffer_bytes: size of the source''s whole buffer, which all its readers share.';

CREATE FUNCTION pgtrickle.shared_buffer_stats()
RETURNS TABLE (source_oid bigint, source_table text, consumer_count int, consumers text, columns_tracked int, safe_frontier_lsn text,
               buffer_rows bigint, is_partitioned bool)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.relid::bigint, pgtrickle._relation_name(r.relid, min(dep.source_schema), min(dep.source_name)), count(dep.pgt_id)::int,
           string_agg(quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), ', ' ORDER BY d.pgt_schema, d.pgt_name),
           cardinality(r.attnums), (SELECT c.acked_lsn::text FROM pgtrickle._capture() c), coalesce(min(b.rows), 0),
           coalesce(min(b.segments), 0) > 1
      FROM pgtrickle.pgt_sources r
      LEFT JOIN pgtrickle.pgt_dependencies dep ON dep.source_relid = r.relid
      LEFT JOIN pgtrickle.pgt_definitions d ON d.pgt_id = dep.pgt_id
      LEFT JOIN (SELECT g.source_relid, sum(g.rows)::bigint AS rows, count(*) AS segments
                   FROM pgtrickle._segments() g GROUP BY g.source_relid) b ON b.source_relid = r.relid
     GROUP BY r.relid
     ORDER BY 2;
END;
COMMENT ON FUNCTION pgtrickle.shared_buffer_stats() IS
'One row per registered source table. consumers: the stream tables that read it. columns_tracked: columns captured. safe_frontier_lsn: position up to which the consumer has confirmed WAL for the whole database. buffer_rows: rows in its segments, consumed ones included. is_partitioned: the buffer has more than one segment now.';

CREATE FUNCTION pgtrickle.slot_health()
RETURNS TABLE (slot_name text, source_relid bigint, active bool, retained_wal_bytes bigint, wal_status text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.slot_name, NULL::bigint, c.active, (pgtrickle._wal_position() - c.restart_lsn)::bigint,
           CASE WHEN c.slot_exists THEN c.wal_status ELSE 'missing' END
      FROM pgtrickle._capture() c;
END;
COMMENT ON FUNCTION pgtrickle.slot_health() IS
'The one replication slot of this database; no row before the first start of a consumer. source_relid: always NULL, one slot serves all sources. active: a consumer is connected. wal_status: as in pg_replication_slots, or missing.';

-- until 0.20.0 {
CREATE FUNCTION pgtrickle.check_cdc_health()
RETURNS TABLE (source_relid bigint, source_table text, cdc_mode text, slot_name text, lag_bytes bigint, confirmed_lsn text, alert text,
               selective_capture bool)
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
                                      WHERE a.attrelid = s.relid AND a.attnum > 0 AND NOT a.attisdropped)
      FROM (SELECT d.source_relid AS relid, pgtrickle._relation_name(d.source_relid, min(d.source_schema), min(d.source_name)) AS label
              FROM pgtrickle.pgt_dependencies d WHERE d.source_type = 'TABLE' GROUP BY d.source_relid) s
      LEFT JOIN pgtrickle.pgt_sources r ON r.relid = s.relid
      LEFT JOIN pgtrickle._capture() c ON true
     ORDER BY 2;
END;
COMMENT ON FUNCTION pgtrickle.check_cdc_health() IS
'One row per source table. lag_bytes: WAL after the slot''s confirmed position, which waits for the slowest stream table. alert: NULL if all is well, else source_missing, source_not_registered, consumer_never_started, replication_slot_missing, replication_slot_lost, consumer_not_running or slot_lag_exceeds_threshold. selective_capture: not all columns are captured.';
-- }

-- ---------------------------------------------------------------------------------------------------------------------------
-- Explain
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle._mode_of(pgt_id bigint)
RETURNS TABLE (configured_mode text, effective_mode text, downgrade_reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.refresh_mode, m.effective,
           CASE WHEN d.refresh_mode <> 'FULL' AND m.effective <> 'DIFFERENTIAL'
                THEN coalesce(d.full_reason, s.reinit_reason, CASE WHEN m.forced THEN 'pg_trickle.refresh_strategy is full' END, h.reason) END
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_state s ON s.pgt_id = d.pgt_id
      LEFT JOIN LATERAL (SELECT h.reason, h.initiated_by FROM pgtrickle.pgt_refresh_history h
                          WHERE h.pgt_id = d.pgt_id AND h.status = 'COMPLETED' AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' ORDER BY h.start_time DESC, h.refresh_id DESC LIMIT 1) h ON true
     CROSS JOIN LATERAL (SELECT f.forced,
                                CASE WHEN d.refresh_mode = 'FULL' OR d.full_reason IS NOT NULL THEN 'FULL'
                                     WHEN s.needs_reinit THEN 'REINITIALIZE'
                                     WHEN f.forced THEN 'FULL'
                                     WHEN h.initiated_by = 'INITIAL' THEN 'DIFFERENTIAL'
                                     ELSE coalesce(s.effective_refresh_mode, 'DIFFERENTIAL') END AS effective
                           FROM (SELECT coalesce(pg_catalog.current_setting('pg_trickle.refresh_strategy', true) = 'full', false) AS forced) f) m
     WHERE d.pgt_id = _mode_of.pgt_id;
END;
COMMENT ON FUNCTION pgtrickle._mode_of(bigint) IS 'What explain_refresh_mode answers, by pgt_id.';

CREATE FUNCTION pgtrickle.explain_refresh_mode(name text)
RETURNS TABLE (configured_mode text, effective_mode text, downgrade_reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT * FROM pgtrickle._mode_of(pgtrickle._st_id(name));
END;
COMMENT ON FUNCTION pgtrickle.explain_refresh_mode(text) IS
'configured_mode: AUTO, FULL or DIFFERENTIAL as set. effective_mode: FULL if every refresh recomputes, REINITIALIZE if the next one does, else what the last refresh did (DIFFERENTIAL after the first load). downgrade_reason: why effective_mode is not DIFFERENTIAL although FULL was not asked for. 42P01 for an unknown name.';

CREATE FUNCTION pgtrickle.list_auxiliary_columns(name text) RETURNS TABLE (column_name text, data_type text, purpose text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
           coalesce(pg_catalog.col_description(a.attrelid, a.attnum),
                    CASE WHEN a.attname LIKE '\_\_pgt\_k%' THEN 'grouping key that is not among the columns of the query'
                         WHEN a.attname = '__pgt_n' THEN 'number of source rows in the group'
                         WHEN a.attname LIKE '\_\_pgt\_s%' THEN 'state of an aggregate'
                         ELSE 'state that the next incremental refresh starts from' END)
      FROM pgtrickle.pgt_definitions d
      JOIN pg_catalog.pg_attribute a ON a.attrelid = d.pgt_relid
     WHERE d.pgt_id = pgtrickle._st_id(name) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE '\_\_pgt\_%'
     ORDER BY a.attnum;
END;
COMMENT ON FUNCTION pgtrickle.list_auxiliary_columns(text) IS
'Hidden columns (__pgt_*) of a stream table, in storage order; none if it needs none. 42P01 for an unknown name.';

CREATE FUNCTION pgtrickle._compiler_hint(pgt_id bigint) RETURNS text
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'pgt_diag_compiler_hint';
COMMENT ON FUNCTION pgtrickle._compiler_hint(bigint) IS
'What could be changed in the query to make it incremental, or which indexes its refreshes miss, as the compiler sees it today; NULL if nothing is known to help.';

CREATE FUNCTION pgtrickle._full_hint(pgt_id bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN pgtrickle._compiler_hint(pgt_id);
EXCEPTION WHEN OTHERS THEN
    RETURN format('the query does not compile: %s', SQLERRM);
END
$$;
COMMENT ON FUNCTION pgtrickle._full_hint(bigint) IS
'The compiler''s hint, or its error: explain_st must answer for a stream table whose query is broken, too.';

CREATE FUNCTION pgtrickle._keeps_states(pgt_id bigint, relid oid) RETURNS bool
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE '\_\_pgt\_s%')
        OR pg_catalog.to_regclass('pgtrickle_inner.st_' || pgt_id || '_1') IS NOT NULL;
END;
COMMENT ON FUNCTION pgtrickle._keeps_states(bigint, oid) IS
'Whether a stream table keeps states of aggregates, so that the compiler may know an index that would help.';

CREATE FUNCTION pgtrickle.explain_delta(name text, format text DEFAULT 'text', "analyze" boolean DEFAULT false) RETURNS SETOF text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'pgt_diag_explain_delta';
COMMENT ON FUNCTION pgtrickle.explain_delta(text, text, boolean) IS
'The SQL that a refresh runs, compiled now, for a change in each source alone; for a query that is not incremental the reason and the recomputation. format text: a comment line, then one statement per row; json: one row. With "analyze" (a reserved word: quote it) a refresh for the changes pending now runs and is rolled back: each statement with its plan, result rows, rows of tables read, buffers (pages of tables and indexes) and milliseconds; for the owner, as refresh_stream_table. 42P01 for an unknown name, 22023 for an unknown format, 42501 for others than the owner with analyze.';

-- until 0.20.0 {
CREATE FUNCTION pgtrickle._self_monitoring_of(pgt_id bigint, OUT coverage text, OUT mode text, OUT confidence text, OUT reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT NULL::text, NULL::text, NULL::text, NULL::text;
END;
COMMENT ON FUNCTION pgtrickle._self_monitoring_of(bigint) IS 'Nothing in this version.';
-- }
-- since 0.20.0 {
CREATE OR REPLACE FUNCTION pgtrickle._self_monitoring_of(pgt_id bigint, OUT coverage text, OUT mode text, OUT confidence text, OUT reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    t record;
    found bool;
    is_set_up bool := false;
BEGIN
    FOR t IN SELECT d.pgt_name, s.status, s.is_populated
               FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)
              WHERE d.pgt_schema = 'pgtrickle' AND d.pgt_name IN ('df_efficiency_rolling', 'df_anomaly_signals', 'df_threshold_advice')
              ORDER BY d.pgt_id LOOP
        is_set_up := true;
        EXECUTE format('SELECT EXISTS (SELECT FROM pgtrickle.%I x WHERE x.pgt_id = $1)', t.pgt_name) INTO found USING pgt_id;
        IF found THEN
            coverage := coalesce(coverage || ', ', '') || t.pgt_name;
        END IF;
        IF t.pgt_name <> 'df_threshold_advice' THEN
            CONTINUE;
        END IF;
        mode := 'AUTO';
        confidence := 'LOW';
        IF t.status = 'SUSPENDED' OR t.status = 'ERROR' THEN
            reason := format('df_threshold_advice is %s', t.status);
        ELSIF NOT t.is_populated THEN
            reason := 'df_threshold_advice is not filled yet';
        ELSIF NOT found THEN
            reason := 'no refresh in the last hour';
        ELSE
            EXECUTE 'SELECT recommended_mode, confidence, reason FROM pgtrickle.df_threshold_advice x WHERE x.pgt_id = $1'
               INTO mode, confidence, reason USING pgt_id;
        END IF;
    END LOOP;
    reason := coalesce(reason, 'df_threshold_advice does not exist: run pgtrickle.setup_self_monitoring()');
    coverage := coalesce(coverage, CASE WHEN is_set_up THEN 'no row yet' ELSE 'not set up: run pgtrickle.setup_self_monitoring()' END);
END
$$;
COMMENT ON FUNCTION pgtrickle._self_monitoring_of(bigint) IS
'What self-monitoring knows of a stream table: the df_* tables with a row for it, and DF-3''s advice: AUTO with confidence LOW where it has none, NULL where it does not exist, and why.';
-- }

CREATE FUNCTION pgtrickle.explain_st(name text) RETURNS TABLE (property text, value text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgtrickle._st_id(name);
    SELECT p.property, p.value
      FROM pgtrickle.pgt_definitions d
      JOIN pgtrickle.pgt_state s USING (pgt_id)
      JOIN pgtrickle._freshness() f USING (pgt_id)
      LEFT JOIN LATERAL (SELECT h.* FROM pgtrickle.pgt_refresh_history h
                          WHERE h.pgt_id = d.pgt_id AND h.initiated_by IS DISTINCT FROM 'SELF_MONITOR' ORDER BY h.start_time DESC, h.refresh_id DESC LIMIT 1) h ON true
      LEFT JOIN LATERAL pgtrickle._mode_of(d.pgt_id) m ON true
     CROSS JOIN LATERAL pgtrickle._self_monitoring_of(d.pgt_id) a
     CROSS JOIN LATERAL (VALUES
        (1, 'name', quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name)),
        (2, 'owner', (SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c WHERE c.oid = d.pgt_relid)),
        (3, 'original_query', d.original_query),
        (4, 'defining_query', d.defining_query),
        (5, 'status', s.status),
        (6, 'schedule', coalesce(d.schedule, 'calculated')),
        (7, 'refresh_mode', d.refresh_mode),
        (8, 'effective_mode', m.effective_mode),
        (9, 'downgrade_reason', m.downgrade_reason),
        (10, 'incremental', CASE WHEN d.full_reason IS NULL THEN 'yes' ELSE 'no' END),
        (11, 'full_reason', d.full_reason),
        (12, 'full_hint', CASE WHEN d.full_reason IS NOT NULL OR s.next_crossing IS NOT NULL OR pgtrickle._keeps_states(d.pgt_id, d.pgt_relid)
                               THEN pgtrickle._full_hint(d.pgt_id) END),
        (13, 'is_populated', CASE WHEN s.is_populated THEN 'yes' ELSE 'no' END),
        (14, 'needs_reinit', CASE WHEN s.needs_reinit THEN 'yes' ELSE 'no' END),
        (15, 'reinit_reason', s.reinit_reason),
        (16, 'data_timestamp', s.data_timestamp::text),
        (17, 'staleness_seconds', extract(epoch FROM f.staleness)::text),
        (18, 'stale', CASE WHEN f.stale THEN 'yes' ELSE 'no' END),
        (19, 'changes_waiting', CASE WHEN f.waiting THEN 'yes' ELSE 'no' END),
        (20, 'refresh_no', s.refresh_no::text),
        (21, 'last_refresh_at', s.last_refresh_at::text),
        (22, 'last_action', h.action),
        (23, 'last_status', h.status),
        (24, 'last_strategy', h.merge_strategy_used),
        (25, 'last_reason', h.reason),
        (26, 'last_delta_rows', h.delta_row_count::text),
        (27, 'last_duration_ms', round(extract(epoch FROM h.end_time - h.start_time) * 1000, 3)::text),
        (28, 'consecutive_errors', s.consecutive_errors::text),
        (29, 'last_error', coalesce(s.last_error_state || ': ', '') || s.last_error_message),
        (30, 'auto_threshold', coalesce(d.auto_threshold::text, pg_catalog.current_setting('pg_trickle.differential_max_change_ratio', true))),
        (31, 'sources', (SELECT string_agg(x.label || ' (' || x.cols || ')', '; ' ORDER BY x.label COLLATE "C")
                           FROM (SELECT pgtrickle._relation_name(e.source_relid, e.source_schema, e.source_name) AS label,
                                        coalesce(pgtrickle._column_names(e.source_relid, e.attnums_used, e.columns_used), '') AS cols
                                   FROM pgtrickle.pgt_dependencies e WHERE e.pgt_id = d.pgt_id) x)),
        (32, 'read_by', (SELECT string_agg(quote_ident(r.pgt_schema) || '.' || quote_ident(r.pgt_name), ', ' ORDER BY r.pgt_schema, r.pgt_name)
                           FROM pgtrickle.pgt_dependencies e JOIN pgtrickle.pgt_definitions r USING (pgt_id)
                          WHERE e.source_relid = d.pgt_relid)),
        (33, 'functions_used', array_to_string(d.functions_used, ', ')),
        (34, 'hidden_columns', (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                                 WHERE a.attrelid = d.pgt_relid AND a.attnum > 0 AND NOT a.attisdropped
                                   AND a.attname LIKE '\_\_pgt\_%')),
        (35, 'indexes', (SELECT string_agg(pg_catalog.pg_get_indexdef(i.indexrelid), '; ' ORDER BY i.indexrelid)
                           FROM pg_catalog.pg_index i WHERE i.indrelid = d.pgt_relid)),
        (36, 'storage_bytes', pg_catalog.pg_table_size(d.pgt_relid)::text),
        (37, 'index_bytes', pg_catalog.pg_indexes_size(d.pgt_relid)::text),
        (38, 'self_monitoring', a.coverage),
        (39, 'recommended_mode', a.mode),
        (40, 'mode_confidence', a.confidence),
        (41, 'held_by', (SELECT string_agg(x.reason, '; ' ORDER BY x.reason) FROM pgtrickle._held() x WHERE x.pgt_id = d.pgt_id)),
        (42, 'refresh_group', (SELECT g.group_name FROM pgtrickle.pgt_refresh_groups g WHERE d.pgt_id = ANY (g.member_ids))),
        (43, 'fuse', CASE WHEN d.fuse_mode <> 'off'
                          THEN pg_catalog.format('%s, %s, ceiling %s', d.fuse_mode, s.fuse_state, coalesce(pgtrickle._fuse_ceiling(d.pgt_id)::text, 'none')) END)
      ) AS p(ord, property, value)
     WHERE d.pgt_id = pgtrickle._st_id(name)
     ORDER BY p.ord;
END;
COMMENT ON FUNCTION pgtrickle.explain_st(text) IS
'Everything known about one stream table as (property, value) pairs: always the same properties in the same order, NULL where one does not apply. Sizes are in bytes, durations in milliseconds, staleness in seconds. 42P01 for an unknown name.';
