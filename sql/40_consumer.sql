-- What trickle-consumer calls (docs/architecture.md).  All executable by pgtrickle_consumer only.

CREATE FUNCTION pgtrickle._refresh_begin(pgt_ids bigint[]) RETURNS pg_lsn
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_consumer_refresh_begin';
COMMENT ON FUNCTION pgtrickle._refresh_begin(bigint[]) IS
'Lock these stream tables and their sources, take the snapshot, write a barrier; returns its LSN. Then wait until everything up to it is applied, and call _refresh_apply in the same transaction.';

CREATE FUNCTION pgtrickle._refresh_apply(pgt_id bigint, initiated_by text, due timestamptz,
        OUT action text, OUT rows_inserted bigint, OUT rows_deleted bigint, OUT delta_rows bigint, OUT strategy text,
        OUT duration_ms float8, OUT leftover bool, OUT reason text, OUT next_crossing timestamptz)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_consumer_refresh_apply';
COMMENT ON FUNCTION pgtrickle._refresh_apply(bigint, text, timestamptz) IS
'Bring one stream table of the begun refresh to its snapshot. leftover: changes wait that the snapshot could not see yet. next_crossing: before it, time alone changes nothing.';

CREATE FUNCTION pgtrickle._flush_wal() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_consumer_flush_wal';

-- Start of a consumer: is what the slot will send the continuation of what was consumed?
CREATE FUNCTION pgtrickle._consumer_attach(slot name, version text,
        OUT applied_lsn pg_lsn, OUT gap text, OUT schema_version text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s record;
    known pgtrickle.pgt_slot;
    sysid bigint := (SELECT system_identifier FROM pg_control_system());
    tli int := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int;
    seg record;
BEGIN
    SELECT r.version INTO schema_version FROM pgtrickle.pgt_schema_version r ORDER BY string_to_array(r.version, '.')::int[] DESC LIMIT 1;
    SELECT * INTO s FROM pg_replication_slots r WHERE r.slot_name = slot;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'replication slot "%" does not exist', slot
            USING ERRCODE = 'undefined_object', HINT = format('Create it with: trickle-consumer --create-slot --slot %s', slot);
    ELSIF s.plugin IS DISTINCT FROM 'pgtrickle_output' OR s.database IS DISTINCT FROM current_database() THEN
        RAISE EXCEPTION 'replication slot "%" is not a pgtrickle_output slot of this database', slot
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('Its plugin is %s, its database %s.', coalesce(s.plugin, 'none'), coalesce(s.database, 'none')),
                  HINT = 'Choose another slot name, or create a slot with trickle-consumer --create-slot.';
    ELSIF s.wal_status = 'lost' THEN
        RAISE EXCEPTION 'replication slot "%" has lost WAL that it needed', slot
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Run trickle-consumer --drop-slot --slot %s, then --create-slot; every stream table is then rebuilt by comparison.', slot);
    END IF;

    SELECT * INTO known FROM pgtrickle.pgt_slot k WHERE k.node = 0;
    gap := CASE
        WHEN known.node IS NULL THEN 'the slot is new'
        WHEN known.slot_name <> slot THEN format('the slot was "%s" before', known.slot_name)
        WHEN known.system_identifier <> sysid THEN 'this is another server than before'
        WHEN known.timeline <> tli THEN format('the server''s timeline changed from %s to %s', known.timeline, tli)
        WHEN s.confirmed_flush_lsn > known.acked_lsn
            THEN format('the slot was advanced or recreated by someone else: confirmed %s, acknowledged %s', s.confirmed_flush_lsn, known.acked_lsn)
    END;

    IF gap IS NOT NULL THEN
        -- Nothing in the buffers can be continued, and ids in them may come again on another timeline.
        UPDATE pgtrickle.pgt_state SET needs_reinit = true, reinit_xid = pg_current_xact_id(), reinit_reason = gap;
        FOR seg IN SELECT relname FROM pgtrickle.pgt_segments LOOP
            EXECUTE format('TRUNCATE pgtrickle_changes.%I', seg.relname);
        END LOOP;
        DELETE FROM pgtrickle_changes.segment_stats;
        DELETE FROM pgtrickle_changes.progress;
        DELETE FROM pgtrickle.pgt_slot;
        INSERT INTO pgtrickle.pgt_slot (slot_name, system_identifier, timeline, acked_lsn)
        VALUES (slot, sysid, tli, s.confirmed_flush_lsn);
        PERFORM pg_notify('pgtrickle_catalog', '');
    END IF;

    -- The first time, and after a crash: buffers and progress are empty, and the slot sends from here.
    INSERT INTO pgtrickle_changes.progress (node, applied_lsn) VALUES (0, s.confirmed_flush_lsn) ON CONFLICT (node) DO NOTHING;
    SELECT p.applied_lsn INTO applied_lsn FROM pgtrickle_changes.progress p WHERE p.node = 0;
END
$$;
COMMENT ON FUNCTION pgtrickle._consumer_attach(name, text) IS
'Called by trickle-consumer before it starts streaming. applied_lsn: what the buffers already hold. gap: why continuity was lost (every stream table is marked for a full refresh), NULL if it was not.';

CREATE FUNCTION pgtrickle._log_running_xacts() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_consumer_log_running_xacts';
COMMENT ON FUNCTION pgtrickle._log_running_xacts() IS
'Write a record of running transactions to WAL: from such a record decoding can start anew.';

CREATE FUNCTION pgtrickle._consumer_ack(lsn pg_lsn) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The server keeps a slot's position on disk only when restart_lsn moves, for which it needs a record of running transactions;
    -- its own come every 15 seconds. More of them make the way short that a crash sends us back.
    UPDATE pgtrickle.pgt_slot SET snapshot_lsn = lsn WHERE node = 0 AND snapshot_lsn + 16777216 < lsn;
    IF FOUND THEN
        PERFORM pgtrickle._log_running_xacts();
    END IF;
    UPDATE pgtrickle.pgt_slot SET acked_lsn = lsn WHERE node = 0 AND acked_lsn < lsn;
END
$$;
COMMENT ON FUNCTION pgtrickle._consumer_ack(pg_lsn) IS
'Record how far the slot may be confirmed; must be committed before the feedback is sent.';

-- A source is pinned by the STs that read it and will consume its changes incrementally.
CREATE FUNCTION pgtrickle._consumer_horizon(OUT source_relid oid, OUT horizon xid8) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
        SELECT src.relid, pgtrickle._source_floor(src.relid)
          FROM pgtrickle.pgt_sources src;
    -- Frontiers read above may belong to commits that are not flushed yet.
    PERFORM pgtrickle._flush_wal();
END
$$;
COMMENT ON FUNCTION pgtrickle._consumer_horizon() IS
'Per source: every transaction below horizon is consumed, durably, by every stream table that pins the source; NULL: nothing pins it; 0: a load or a full comparison is under way.';

CREATE FUNCTION pgtrickle._consumer_plan(
        OUT pgt_id bigint, OUT schema_name text, OUT st_name text, OUT schedule text, OUT status text, OUT is_populated bool,
        OUT needs_reinit bool, OUT tier text, OUT fuse_state text, OUT diamond_consistency text, OUT last_refresh_at timestamptz,
        OUT consecutive_errors int, OUT source_relids oid[], OUT upstream_ids bigint[], OUT first_load_large bool,
        OUT pinned_bytes bigint, OUT upstream_pending bool, OUT diamond_schedule_policy text,
        OUT time_dependent bool, OUT next_crossing timestamptz, OUT refresh_group bigint, OUT gated bool) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
    SELECT d.pgt_id, d.pgt_schema, d.pgt_name, d.schedule, s.status, s.is_populated, s.needs_reinit, d.refresh_tier,
           CASE d.fuse_mode WHEN 'off' THEN 'disabled' ELSE s.fuse_state END,
           d.diamond_consistency, s.last_refresh_at, s.consecutive_errors,
           ARRAY(SELECT e.source_relid FROM pgtrickle.pgt_dependencies e
                  WHERE e.pgt_id = d.pgt_id AND e.source_type = 'TABLE' ORDER BY 1),
           ARRAY(SELECT u.pgt_id FROM pgtrickle.pgt_dependencies e JOIN pgtrickle.pgt_definitions u ON u.pgt_relid = e.source_relid
                  WHERE e.pgt_id = d.pgt_id AND e.source_type = 'STREAM_TABLE' ORDER BY 1),
           NOT s.is_populated AND (
                WITH RECURSIVE family (relid) AS (
                    SELECT e.source_relid FROM pgtrickle.pgt_dependencies e WHERE e.pgt_id = d.pgt_id AND e.source_type = 'TABLE'
                     UNION SELECT i.inhrelid FROM family JOIN pg_inherits i ON i.inhparent = family.relid)
                SELECT sum(pg_total_relation_size(c.oid)) FROM family JOIN pg_class c ON c.oid = family.relid)
               > pg_size_bytes(coalesce(current_setting('pg_trickle.sync_load_limit', true), '64MB')),
           NULL::bigint,
           EXISTS (SELECT FROM pgtrickle.pgt_dependencies e
                     JOIN pgtrickle.pgt_definitions u ON u.pgt_relid = e.source_relid
                     JOIN pgtrickle.pgt_state us ON us.pgt_id = u.pgt_id
                     LEFT JOIN pgtrickle.pgt_frontiers f ON f.pgt_id = e.pgt_id AND f.source_relid = e.source_relid
                    WHERE e.pgt_id = d.pgt_id AND e.source_type = 'STREAM_TABLE' AND coalesce(f.upstream_refresh, -1) < us.refresh_no),
           d.diamond_schedule_policy,
           d.time_dependent, s.next_crossing,
           (SELECT g.group_id::bigint FROM pgtrickle.pgt_refresh_groups g WHERE d.pgt_id = ANY (g.member_ids)),
           h.pgt_id IS NOT NULL
      FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)
      LEFT JOIN (SELECT DISTINCT x.pgt_id FROM pgtrickle._held() x) h USING (pgt_id)
     ORDER BY d.pgt_id
$$;
COMMENT ON FUNCTION pgtrickle._consumer_plan() IS 'What the scheduler needs to know, one row per stream table.';

CREATE FUNCTION pgtrickle._fuse_blown(pgt_id bigint, started timestamptz, message text, due timestamptz)
    RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    new_status text;
    pending bigint := substring(message FROM '([0-9]+) changes')::bigint;
BEGIN
    UPDATE pgtrickle.pgt_state s SET fuse_state = 'blown', blown_at = clock_timestamp(), blow_reason = message
     WHERE s.pgt_id = pgt_id AND s.fuse_state <> 'blown'
    RETURNING s.status INTO new_status;
    IF NOT FOUND THEN
        RETURN (SELECT coalesce(max(s.status), 'DROPPED') FROM pgtrickle.pgt_state s WHERE s.pgt_id = pgt_id);
    END IF;
    INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, delta_row_count, reason,
                                               initiated_by, freshness_deadline)
    VALUES (pgt_id, started, started, clock_timestamp(), 'SKIP', 'SKIPPED', pending, message, 'SCHEDULER', due);
    PERFORM pgtrickle._alert(pgt_id, 'fuse_blown', jsonb_build_object('pending', pending, 'ceiling', pgtrickle._fuse_ceiling(pgt_id),
                                                                      'reason', message));
    PERFORM pg_notify('pgtrickle_catalog', '');
    RETURN new_status;
END
$$;
COMMENT ON FUNCTION pgtrickle._fuse_blown(bigint, timestamptz, text, timestamptz) IS
'Record that a refresh was not made because the fuse blew: state, SKIPPED history row, alert fuse_blown. Returns the status.';

CREATE FUNCTION pgtrickle._consumer_remind() RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pgtrickle._alert(d.pgt_id, 'fuse_blown_reminder', jsonb_build_object(
               'blown_seconds', extract(epoch FROM now() - s.blown_at), 'reason', s.blow_reason))
      FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)
     WHERE d.fuse_mode <> 'off' AND s.fuse_state = 'blown';
    SELECT pgtrickle._alert(d.pgt_id, 'frozen_tier_skip', jsonb_build_object(
               'frozen_seconds', extract(epoch FROM now() - s.last_refresh_at)))
      FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)
     WHERE d.refresh_tier = 'frozen';
    SELECT pgtrickle._alert(f.pgt_id, 'stale_data', jsonb_build_object('staleness_seconds', x.staleness, 'schedule_seconds', x.schedule,
               'ratio', x.staleness / nullif(x.schedule, 0)))
      FROM pgtrickle._freshness() f JOIN pgtrickle.pgt_definitions d USING (pgt_id),
           LATERAL (SELECT extract(epoch FROM f.staleness)::float8 AS staleness, pgtrickle._schedule_seconds(d.schedule) AS schedule) x
     WHERE f.stale;
    SELECT pg_notify('pg_trickle_alert', jsonb_build_object('event', 'slot_lag_warning', 'schema', NULL, 'name', c.slot_name, 'slot_name', c.slot_name,
               'retained_wal_bytes', x.retained, 'threshold_bytes', x.threshold)::text)
      FROM pgtrickle._capture() c, LATERAL (SELECT pgtrickle._wal_position() - c.restart_lsn AS retained,
               pgtrickle._setting_bytes('pg_trickle.slot_lag_warning_threshold_mb', 100) AS threshold) x
     WHERE x.retained > x.threshold;
    SELECT pg_notify('pg_trickle_alert', jsonb_build_object('event', 'buffer_growth_warning', 'schema', n.nspname, 'name', c.relname, 'slot_name', k.slot_name,
               'pending_rows', b.rows, 'pending_bytes', b.bytes, 'threshold_rows', pgtrickle._buffer_limit())::text)
      FROM (SELECT s.source_relid, sum(s.rows) AS rows, sum(s.bytes) AS bytes FROM pgtrickle._segments() s GROUP BY 1) b
      JOIN pg_class c ON c.oid = b.source_relid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pgtrickle._capture() k ON true
     WHERE b.rows > pgtrickle._buffer_limit();
$$;
COMMENT ON FUNCTION pgtrickle._consumer_remind() IS
'Alerts about what waits for people: fuse_blown_reminder, frozen_tier_skip and stale_data for each stream table concerned, buffer_growth_warning for each source, slot_lag_warning. The consumer calls it every hour.';

CREATE FUNCTION pgtrickle._refresh_failed(pgt_id bigint, started timestamptz, sqlstate text, message text, due timestamptz)
    RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    new_status text;
    errors int;
BEGIN
    -- not a failure: the fuse did what it is for
    IF sqlstate = 'PT020' THEN
        RETURN pgtrickle._fuse_blown(pgt_id, started, message, due);
    END IF;
    UPDATE pgtrickle.pgt_state s
       SET consecutive_errors = s.consecutive_errors + 1, last_error_message = message, last_error_state = sqlstate,
           last_error_at = clock_timestamp(),
           status = CASE WHEN s.consecutive_errors + 1 >= coalesce(current_setting('pg_trickle.max_consecutive_errors', true), '3')::int
                         THEN 'SUSPENDED' ELSE s.status END
     WHERE s.pgt_id = pgt_id
    RETURNING s.status, s.consecutive_errors INTO new_status, errors;
    IF NOT FOUND THEN
        RETURN 'DROPPED';
    END IF;
    INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, error_message,
                                               error_state, initiated_by, freshness_deadline)
    SELECT pgt_id, started, started, clock_timestamp(), 'DIFFERENTIAL', 'FAILED', message, sqlstate, 'SCHEDULER',
           due + make_interval(secs => coalesce((SELECT pgtrickle._schedule_seconds(d.schedule) FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = pgt_id), 0));
    PERFORM pgtrickle._alert(pgt_id, 'refresh_failed', jsonb_build_object('action', 'DIFFERENTIAL', 'error', left(message, 1000), 'sqlstate', sqlstate));
    IF new_status = 'SUSPENDED' THEN
        PERFORM pg_notify('pg_trickle_alert', (SELECT json_build_object('event', 'auto_suspended', 'schema', d.pgt_schema,
                    'name', d.pgt_name, 'consecutive_errors', errors, 'error', left(message, 1000))::text
                  FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = pgt_id));
        PERFORM pg_notify('pgtrickle_catalog', '');
    END IF;
    RETURN new_status;
END
$$;
COMMENT ON FUNCTION pgtrickle._refresh_failed(bigint, timestamptz, text, text, timestamptz) IS
'Record a failed refresh in its own transaction: history row, error counters, suspension after pg_trickle.max_consecutive_errors; SQLSTATE PT020 is no failure but a blown fuse. Returns the status afterwards, DROPPED when the stream table has gone.';

CREATE FUNCTION pgtrickle._mark_full(pgt_ids bigint[], reason text) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE pgtrickle.pgt_state s SET needs_reinit = true, reinit_xid = pg_current_xact_id(), reinit_reason = reason
     WHERE s.pgt_id = ANY (pgt_ids);
    SELECT pg_notify('pgtrickle_catalog', '');
$$;
COMMENT ON FUNCTION pgtrickle._mark_full(bigint[], text) IS 'The next refresh of these stream tables is a diff; until then they pin no WAL.';

CREATE FUNCTION pgtrickle._history_purge() RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- The oldest first, an index range; and it waits for nobody: what another purge has locked is that one's.
    WITH keep AS (
        SELECT coalesce(current_setting('pg_trickle.history_retention_days', true), '90')::int AS days,
               coalesce(current_setting('pg_trickle.history_purge_batch_size', true), '500')::bigint AS batch),
    old AS MATERIALIZED (
        SELECT h.refresh_id FROM pgtrickle.pgt_refresh_history h
         WHERE h.start_time < (SELECT CASE WHEN days > 0 THEN now() - make_interval(days => days) ELSE '-infinity' END FROM keep)
         ORDER BY h.start_time LIMIT (SELECT batch FROM keep) FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM pgtrickle.pgt_refresh_history h USING old WHERE h.refresh_id = old.refresh_id RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION pgtrickle._history_purge() IS
'Delete one batch (pg_trickle.history_purge_batch_size rows) of history older than pg_trickle.history_retention_days; returns the rows deleted. Call again, in a new transaction, while it returns a full batch.';
