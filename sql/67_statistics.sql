-- since 0.20.0 {
-- What the consumer's jobs, the history and this session's cache have to say, under the names the predecessor gave them.  Nothing here is
-- counted for these functions' sake: a job is a transaction that writes history or holds the locks of a refresh now.

CREATE FUNCTION pgtrickle._running_jobs() RETURNS TABLE (worker_pid int, scheduler_pid int, pgt_id bigint, started_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT a.pid,
           (SELECT min(s.pid) FROM pg_stat_activity s WHERE s.datname = a.datname AND s.application_name = 'trickle-consumer scheduler'),
           l.objid::bigint, a.xact_start
      FROM pg_stat_activity a
      JOIN pg_locks l ON l.pid = a.pid
     WHERE a.datname = current_database() AND a.application_name IN ('trickle-consumer refresh', 'trickle-consumer load')
       AND a.xact_start IS NOT NULL AND l.locktype = 'object' AND l.classid = 'pgtrickle.pgt_definitions'::regclass
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND l.mode = 'ExclusiveLock' AND l.granted;
END;
COMMENT ON FUNCTION pgtrickle._running_jobs() IS
'Stream tables that a connection of the consumer holds the refresh lock of now, the backend that does, and the one that reads the plan.';

CREATE FUNCTION pgtrickle._job_history(since timestamptz)
RETURNS TABLE (refresh_id bigint, job bigint, pgt_id bigint, state text, attempt_no int, due timestamptz, start_time timestamptz, end_time timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- what one transaction wrote is one job
    SELECT h.refresh_id, h.xmin::text::bigint, h.pgt_id,
           CASE h.status WHEN 'COMPLETED' THEN 'SUCCEEDED' WHEN 'SKIPPED' THEN 'CANCELLED'
                ELSE CASE WHEN s.status = 'SUSPENDED' AND NOT EXISTS (SELECT FROM pgtrickle.pgt_refresh_history n WHERE n.pgt_id = h.pgt_id AND n.start_time > h.start_time)
                          THEN 'PERMANENT_FAILED' ELSE 'RETRYABLE_FAILED' END END,
           1 + (SELECT count(*)::int FROM pgtrickle.pgt_refresh_history f
                 WHERE f.pgt_id = h.pgt_id AND f.status = 'FAILED' AND f.start_time < h.start_time
                   AND f.start_time > coalesce((SELECT c.start_time FROM pgtrickle.pgt_refresh_history c
                                                 WHERE c.pgt_id = h.pgt_id AND c.status = 'COMPLETED' AND c.start_time < h.start_time
                                                 ORDER BY c.start_time DESC LIMIT 1), '-infinity')),
           h.freshness_deadline - make_interval(secs => coalesce(pgtrickle._schedule_seconds(d.schedule), 0)), h.start_time, h.end_time
      FROM pgtrickle.pgt_refresh_history h
      LEFT JOIN pgtrickle.pgt_definitions d ON d.pgt_id = h.pgt_id
      LEFT JOIN pgtrickle.pgt_state s ON s.pgt_id = h.pgt_id
     WHERE h.initiated_by = 'SCHEDULER' AND h.start_time >= since;
END;
COMMENT ON FUNCTION pgtrickle._job_history(timestamptz) IS 'The scheduler''s refreshes since then as members of jobs; see parallel_job_status.';

CREATE FUNCTION pgtrickle.parallel_job_status(max_age_seconds int DEFAULT 300)
RETURNS TABLE (job_id bigint, unit_key text, unit_kind text, status text, member_count int, attempt_no int, scheduler_pid int, worker_pid int,
               enqueued_at timestamptz, started_at timestamptz, finished_at timestamptz, duration_ms float8)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH tied AS (
        SELECT unnest(g.member_ids) AS pgt_id FROM pgtrickle.pgt_refresh_groups g
         UNION
        SELECT d.pgt_id FROM pgtrickle.diamond_groups() g JOIN pgtrickle.pgt_definitions d ON d.pgt_schema = g.member_schema AND d.pgt_name = g.member_name
    ), member AS (
        SELECT NULL::bigint AS refresh_id, r.worker_pid::bigint AS job, r.pgt_id, 'RUNNING' AS state, s.consecutive_errors + 1 AS attempt_no,
               r.scheduler_pid, r.worker_pid, NULL::timestamptz AS due, r.started_at, NULL::timestamptz AS finished_at
          FROM pgtrickle._running_jobs() r LEFT JOIN pgtrickle.pgt_state s USING (pgt_id)
         UNION ALL
        SELECT h.refresh_id, h.job, h.pgt_id, h.state, h.attempt_no, NULL, NULL, h.due, h.start_time, h.end_time
          FROM pgtrickle._job_history(now() - pg_catalog.make_interval(secs => greatest(coalesce(max_age_seconds, 300), 0))) h
    )
    SELECT min(m.refresh_id),
           string_agg(coalesce(quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), pg_catalog.format('(dropped: %s)', m.pgt_id)), ', '
                      ORDER BY d.pgt_schema, d.pgt_name, m.pgt_id),
           CASE WHEN count(*) > 1 OR bool_or(t.pgt_id IS NOT NULL) THEN 'atomic_group' ELSE 'singleton' END,
           m.state, count(*)::int, max(m.attempt_no)::int, m.scheduler_pid, m.worker_pid, min(m.due), min(m.started_at), max(m.finished_at),
           extract(epoch FROM max(m.finished_at) - min(m.started_at))::float8 * 1000
      FROM member m
      LEFT JOIN pgtrickle.pgt_definitions d ON d.pgt_id = m.pgt_id
      LEFT JOIN tied t ON t.pgt_id = m.pgt_id
     GROUP BY m.job, m.state, m.scheduler_pid, m.worker_pid
     ORDER BY max(m.finished_at) DESC NULLS FIRST, min(m.started_at) DESC, 1;
END;
COMMENT ON FUNCTION pgtrickle.parallel_job_status(int) IS
'What the consumer refreshes now, and its refreshes that began in the last max_age_seconds, newest first; a job is one transaction. unit_key: its stream tables; of a finished job those that changed or failed, as others leave no history. unit_kind: atomic_group when it is refreshed as one with others (diamond, refresh group), else singleton. status: RUNNING, SUCCEEDED, RETRYABLE_FAILED, PERMANENT_FAILED (suspended by it), CANCELLED (the fuse blew). attempt_no: failures in a row before it, and one. enqueued_at: when it was due, by the present schedule. job_id (its first refresh_id), enqueued_at and the end are NULL while it runs, the pids afterwards. What waits for a worker is known to the consumer alone.';

CREATE FUNCTION pgtrickle.dedup_stats(OUT total_diff_refreshes bigint, OUT dedup_needed bigint, OUT dedup_ratio_pct float8)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(*), count(*) FILTER (WHERE h.met), (100.0 * count(*) FILTER (WHERE h.met) / nullif(count(*), 0))::float8
      FROM (SELECT r.rows_inserted + r.rows_deleted < r.delta_row_count AS met FROM pgtrickle.pgt_refresh_history r
             WHERE r.action = 'DIFFERENTIAL' AND r.status = 'COMPLETED') h;
END;
COMMENT ON FUNCTION pgtrickle.dedup_stats() IS
'Of the incremental refreshes in the history: in how many fewer rows were written than changes had come in, because changes met in one row, cancelled out or concerned nothing. An updated row counts twice on both sides. dedup_ratio_pct: NULL without refreshes. Every refresh nets its changes; nothing has to be deduplicated afterwards.';

CREATE FUNCTION pgtrickle.cache_stats(OUT l1_hits bigint, OUT l2_hits bigint, OUT misses bigint, OUT evictions bigint, OUT l1_size int)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pgt_cache_stats';
COMMENT ON FUNCTION pgtrickle.cache_stats() IS
'The cache of compiled refreshes of this session alone, since it began; each connection of the consumer has its own. l1_hits: a refresh found its statements ready; misses: they had to be compiled; evictions: sets of statements given up for others; l1_size: sets kept. l2_hits: always NULL, there is no second level.';
-- }
