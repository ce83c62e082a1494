-- Gates, watermarks, refresh groups, fuses: what people call (tables and what is held: 12_coordination.sql).

-- ---------------------------------------------------------------------------------------------------------------------------
-- Gates
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.gate_source(source text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_gate_source';
COMMENT ON FUNCTION pgtrickle.gate_source(text) IS
'Keep the scheduler from refreshing the stream tables that read this table, until ungate_source; one that is created meanwhile is filled afterwards. Changes go on being captured; refreshes by hand still run. No effect when it is gated already. Owner of the table only. Errors: 42P01 unknown, 42809 not a table, 42501 not owner.';

CREATE FUNCTION pgtrickle.ungate_source(source text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_ungate_source';
COMMENT ON FUNCTION pgtrickle.ungate_source(text) IS
'Let the scheduler refresh the readers of this table again. No effect when it is not gated. Owner of the table only. Errors as gate_source.';

CREATE FUNCTION pgtrickle.source_gates()
RETURNS TABLE (source_table text, schema_name text, gated bool, gated_at timestamptz, ungated_at timestamptz, gated_by text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.relname::text, n.nspname::text, g.gated, g.gated_at, g.ungated_at, g.gated_by
      FROM pgtrickle.pgt_source_gates g
      JOIN pg_catalog.pg_class c ON c.oid = g.source_relid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 2, 1;
END;
COMMENT ON FUNCTION pgtrickle.source_gates() IS
'Every table that is or was gated. gated_by: the role that gated it last. ungated_at: NULL while it is gated.';

CREATE FUNCTION pgtrickle.bootstrap_gate_status()
RETURNS TABLE (source_table text, schema_name text, gated bool, gated_at timestamptz, ungated_at timestamptz, gated_by text,
               gate_duration interval, affected_stream_tables text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.relname::text, n.nspname::text, g.gated, g.gated_at, g.ungated_at, g.gated_by,
           coalesce(g.ungated_at, now()) - g.gated_at,
           (SELECT string_agg(quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), ', ' ORDER BY d.pgt_schema, d.pgt_name)
              FROM pgtrickle.pgt_dependencies e JOIN pgtrickle.pgt_definitions d USING (pgt_id) WHERE e.source_relid = g.source_relid)
      FROM pgtrickle.pgt_source_gates g
      JOIN pg_catalog.pg_class c ON c.oid = g.source_relid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 2, 1;
END;
COMMENT ON FUNCTION pgtrickle.bootstrap_gate_status() IS
'source_gates with the length of the gate, so far or as it was, and the stream tables that read the table (NULL: none).';

-- ---------------------------------------------------------------------------------------------------------------------------
-- Watermarks
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.advance_watermark(source text, watermark timestamptz) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_advance_watermark';
COMMENT ON FUNCTION pgtrickle.advance_watermark(text, timestamptz) IS
'State that this table is complete up to a moment; best in the transaction that brings the rows. The same moment again has no effect, an earlier one is an error (22023). Owner of the table only. Errors as gate_source; 22008 for infinity.';

CREATE FUNCTION pgtrickle.create_watermark_group(group_name text, sources text[], tolerance_secs float8 DEFAULT 0) RETURNS int
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_create_watermark_group';
COMMENT ON FUNCTION pgtrickle.create_watermark_group(text, text[], float8) IS
'Declare that these tables belong together: the scheduler skips a stream table that at least two of them feed, directly or through other stream tables, while the watermarks of those are more than tolerance_secs apart, or only some of them have one. Returns group_id. Owner of all the tables only. Errors: 42710 name taken, 22023 fewer than two tables or bad tolerance, else as gate_source.';

CREATE FUNCTION pgtrickle.drop_watermark_group(group_name text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_drop_watermark_group';
COMMENT ON FUNCTION pgtrickle.drop_watermark_group(text) IS
'Forget a watermark group; the watermarks stay. Owner of all its tables only. Errors: 42704 unknown, 42501 not owner.';

CREATE FUNCTION pgtrickle.watermarks()
RETURNS TABLE (source_table text, schema_name text, watermark timestamptz, updated_at timestamptz, advanced_by text, wal_lsn text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.relname::text, n.nspname::text, w.watermark, w.updated_at, w.advanced_by, w.wal_lsn_at_advance
      FROM pgtrickle.pgt_watermarks w
      JOIN pg_catalog.pg_class c ON c.oid = w.source_relid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 2, 1;
END;
COMMENT ON FUNCTION pgtrickle.watermarks() IS
'Every table with a watermark. wal_lsn: end of the WAL when it was advanced last; of another server after a restore.';

CREATE FUNCTION pgtrickle.watermark_groups()
RETURNS TABLE (group_name text, source_count int, tolerance_secs float8, created_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT g.group_name, cardinality(g.source_relids), g.tolerance_secs, g.created_at FROM pgtrickle.pgt_watermark_groups g ORDER BY 1;
END;
COMMENT ON FUNCTION pgtrickle.watermark_groups() IS 'The watermark groups, by name.';

CREATE FUNCTION pgtrickle.watermark_status()
RETURNS TABLE (group_name text, min_watermark timestamptz, max_watermark timestamptz, lag_secs float8, aligned bool,
               sources_with_watermark int, sources_total int)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT g.group_name, m.low, m.high, m.lag, m.n = 0 OR (m.n = cardinality(g.source_relids) AND m.lag <= g.tolerance_secs),
           m.n, cardinality(g.source_relids)
      FROM pgtrickle.pgt_watermark_groups g
     CROSS JOIN LATERAL (SELECT min(w.watermark) AS low, max(w.watermark) AS high,
                                extract(epoch FROM max(w.watermark) - min(w.watermark))::float8 AS lag, count(*)::int AS n
                           FROM pgtrickle.pgt_watermarks w WHERE w.source_relid = ANY (g.source_relids)) m
     ORDER BY 1;
END;
COMMENT ON FUNCTION pgtrickle.watermark_status() IS
'Per group the span of its watermarks. aligned: no source has a watermark yet, or all have and lag_secs is within the tolerance. A stream table is judged by those sources of the group that feed it.';

-- since 0.20.0 {
-- Watermarks that stand still and hold something back, as announced; the consumer looks while anything is held or stands here.
CREATE TABLE pgtrickle.pgt_watermark_alerts (
    group_id      int NOT NULL,
    source_relid  oid NOT NULL,
    group_name    text NOT NULL,                                -- group and table may be gone when it ends
    source_schema text NOT NULL,
    source_name   text NOT NULL,
    updated_at    timestamptz,                                  -- of the watermark that stands still; NULL: the table has none
    since         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (group_id, source_relid)
);
COMMENT ON TABLE pgtrickle.pgt_watermark_alerts IS
'Watermarks of which watermark_stuck was announced on pg_trickle_alert, and watermark_resumed was not yet.';
GRANT SELECT ON pgtrickle.pgt_watermark_alerts TO PUBLIC;

CREATE FUNCTION pgtrickle._watermarks_behind(OUT group_id int, OUT source_relid oid, OUT group_name text, OUT updated_at timestamptz,
        OUT waiting_since timestamptz) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT DISTINCT b.group_id, b.source::oid, b.group_name, b.updated_at, coalesce(b.updated_at, b.created_at)
      FROM (SELECT f.group_id, f.source, g.group_name, g.created_at, g.tolerance_secs, m.updated_at, m.watermark,
                   max(m.watermark) OVER fed AS newest, count(*) OVER fed AS n
              FROM pgtrickle._watermark_feeds() f
              JOIN pgtrickle.pgt_watermark_groups g USING (group_id)
              JOIN pgtrickle.pgt_state s ON s.pgt_id = f.pgt_id
              LEFT JOIN pgtrickle.pgt_watermarks m ON m.source_relid = f.source
            WINDOW fed AS (PARTITION BY f.group_id, f.pgt_id)) b
     WHERE b.n >= 2 AND b.newest IS NOT NULL
       AND (b.watermark IS NULL OR extract(epoch FROM b.newest - b.watermark) > b.tolerance_secs);
END;
COMMENT ON FUNCTION pgtrickle._watermarks_behind(OUT int, OUT oid, OUT text, OUT timestamptz, OUT timestamptz) IS
'The tables whose watermark, or want of one, holds a stream table back now. waiting_since: when it was advanced last; without one, when the group was made.';

CREATE FUNCTION pgtrickle._consumer_watermarks() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    timeout float8 := extract(epoch FROM coalesce(current_setting('pg_trickle.watermark_holdback_timeout', true), '0')::interval);
    e record;
BEGIN
    FOR e IN
        SELECT b.group_id, b.source_relid, b.group_name, n.nspname::text AS source_schema, c.relname::text AS source_name, b.updated_at,
               extract(epoch FROM clock_timestamp() - b.waiting_since)::float8 AS age
          FROM pgtrickle._watermarks_behind() b
          JOIN pg_class c ON c.oid = b.source_relid
          JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pgtrickle.pgt_watermark_alerts k ON k.group_id = b.group_id AND k.source_relid = b.source_relid
         WHERE timeout > 0 AND k.since IS NULL AND extract(epoch FROM clock_timestamp() - b.waiting_since) > timeout
         ORDER BY 3, 4, 5
    LOOP
        INSERT INTO pgtrickle.pgt_watermark_alerts (group_id, source_relid, group_name, source_schema, source_name, updated_at)
        VALUES (e.group_id, e.source_relid, e.group_name, e.source_schema, e.source_name, e.updated_at);
        PERFORM pg_notify('pg_trickle_alert', jsonb_build_object('event', 'watermark_stuck', 'schema', e.source_schema, 'name', e.source_name,
                    'group', e.group_name, 'source_oid', e.source_relid::bigint, 'age_secs', e.age)::text);
    END LOOP;
    FOR e IN
        DELETE FROM pgtrickle.pgt_watermark_alerts k
         WHERE NOT EXISTS (SELECT FROM pgtrickle._watermarks_behind() b
                            WHERE b.group_id = k.group_id AND b.source_relid = k.source_relid AND b.updated_at IS NOT DISTINCT FROM k.updated_at)
        RETURNING k.*, EXISTS (SELECT FROM pgtrickle.pgt_watermarks m
                                WHERE m.source_relid = k.source_relid AND m.updated_at IS DISTINCT FROM k.updated_at) AS advanced
    LOOP
        PERFORM pg_notify('pg_trickle_alert', jsonb_build_object('event', 'watermark_resumed', 'schema', e.source_schema, 'name', e.source_name,
                    'group', e.group_name, 'source_oid', e.source_relid::bigint, 'advanced', e.advanced)::text);
    END LOOP;
    RETURN (SELECT count(*) FROM pgtrickle.pgt_watermark_alerts);
END
$$;
COMMENT ON FUNCTION pgtrickle._consumer_watermarks() IS
'Announce on pg_trickle_alert, each once, which watermarks hold a stream table back and have not been advanced for pg_trickle.watermark_holdback_timeout (watermark_stuck), and which of those were advanced or hold nothing back any more (watermark_resumed). Returns how many stand still as announced: call again while it is above 0, or anything is held.';
-- }

-- ---------------------------------------------------------------------------------------------------------------------------
-- Refresh groups
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.create_refresh_group(group_name text, members text[], isolation text DEFAULT 'read_committed') RETURNS int
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_create_refresh_group';
COMMENT ON FUNCTION pgtrickle.create_refresh_group(text, text[], text) IS
'Have the scheduler refresh these stream tables together, all or none: one transaction, one snapshot. isolation: read_committed or repeatable_read; a group is refreshed from one snapshot with either. Returns group_id. Owner of all members only. Errors: 42710 name taken or a member belongs to another group, 22023 fewer than two members or bad isolation, 42P01 unknown stream table, 42501 not owner.';

CREATE FUNCTION pgtrickle.drop_refresh_group(group_name text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_drop_refresh_group';
COMMENT ON FUNCTION pgtrickle.drop_refresh_group(text) IS
'Dissolve a refresh group; its members stay. Owner of all members only. Errors: 42704 unknown, 42501 not owner.';

CREATE FUNCTION pgtrickle.refresh_groups()
RETURNS TABLE (group_id int, group_name text, member_count int, isolation text, created_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT g.group_id, g.group_name,
           (SELECT count(*)::int FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = ANY (g.member_ids)), g.isolation, g.created_at
      FROM pgtrickle.pgt_refresh_groups g ORDER BY 1;
END;
COMMENT ON FUNCTION pgtrickle.refresh_groups() IS 'The refresh groups. member_count: dropped stream tables leave their group.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- Fuses
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.fuse_status()
RETURNS TABLE (stream_table text, fuse_mode text, fuse_state text, fuse_ceiling bigint, effective_ceiling bigint, fuse_sensitivity int,
               blown_at timestamptz, blow_reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT quote_ident(d.pgt_schema) || '.' || quote_ident(d.pgt_name), d.fuse_mode,
           CASE d.fuse_mode WHEN 'off' THEN 'disabled' ELSE s.fuse_state END, d.fuse_ceiling, pgtrickle._fuse_ceiling(d.pgt_id),
           d.fuse_sensitivity, s.blown_at, s.blow_reason
      FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)
     ORDER BY 1;
END;
COMMENT ON FUNCTION pgtrickle.fuse_status() IS
'One row per stream table. fuse_state: armed; blown (not refreshed until reset_fuse); disabled (the mode is off, or the next refresh passes after reset_fuse). effective_ceiling: changed rows above which it blows now, NULL for never. blown_at, blow_reason: of the last time.';

CREATE FUNCTION pgtrickle.reset_fuse(name text, action text DEFAULT 'apply') RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_reset_fuse';
COMMENT ON FUNCTION pgtrickle.reset_fuse(text, text) IS
'Let a stream table whose fuse has blown be refreshed again. apply: the next refresh takes all that waits, whatever its size. reinitialize: the changes that wait are let go, and the next refresh compares the stream table with its query. skip_changes is refused (0A000): a stream table never differs from its query. Owner only. Errors: 55000 not blown, 22023 unknown action, 42P01, 42501.';

-- ---------------------------------------------------------------------------------------------------------------------------
-- The scheduler's view
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgtrickle.worker_pool_status()
RETURNS TABLE (active_workers int, max_workers int, per_db_cap int, parallel_mode text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT count(*) FILTER (WHERE a.state <> 'idle')::int, count(*)::int,
           current_setting('pg_trickle.max_concurrent_refreshes', true)::int, 'on'::text
      FROM pg_stat_activity a
     WHERE a.datname = current_database() AND a.application_name IN ('trickle-consumer refresh', 'trickle-consumer load');
END;
COMMENT ON FUNCTION pgtrickle.worker_pool_status() IS
'The refresh connections of the consumer: those in a transaction now, all of them, how many refreshes may run at once (pg_trickle.max_concurrent_refreshes; NULL where the library is not loaded in this session). parallel_mode: always on.';

CREATE FUNCTION pgtrickle.pgt_scc_status()
RETURNS TABLE (scc_id int, member_count int, members text[], last_iterations int, last_converged_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT NULL::int, NULL::int, NULL::text[], NULL::int, NULL::timestamptz WHERE false;
END;
COMMENT ON FUNCTION pgtrickle.pgt_scc_status() IS
'Cycles of stream tables: always empty, since they are refused; recursive queries are written WITH RECURSIVE.';

CREATE FUNCTION pgtrickle.diamond_groups()
RETURNS TABLE (group_id int, member_name text, member_schema text, is_convergence bool, epoch bigint, schedule_policy text)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'pgt_diamond_groups';
COMMENT ON FUNCTION pgtrickle.diamond_groups() IS
'The stream tables that are refreshed together because paths from one source meet again in one of them (is_convergence). group_id: a number for this answer only. epoch: the largest refresh number among the members. schedule_policy: slowest if a member asks for it, else fastest.';

CREATE FUNCTION pgtrickle.explain_query_rewrite(query text)
RETURNS TABLE (pass_name text, changed bool, sql_after text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH c AS MATERIALIZED (
        SELECT * FROM pgtrickle._compile(query, 'the_stream_table', '{}')
    ), text_of AS (
        SELECT (SELECT c.sql FROM c WHERE c.section = 'view' AND c.kind = 'query') AS canonical,
               (SELECT string_agg(c.sql, '; ') FROM c WHERE c.section = 'load' AND c.kind = 'dml') AS load,
               (SELECT string_agg(c.sql, '; ') FROM c WHERE c.section = 'view' AND c.kind = 'notice') AS notices,
               EXISTS (SELECT FROM c WHERE c.section = 'view' AND c.kind IN ('hidden', 'inner')) AS hidden
    )
    SELECT p.pass_name, p.changed, p.sql_after
      FROM text_of t, LATERAL (VALUES
        (1, 'qualify', regexp_replace(t.canonical, '[\s;]+', ' ', 'g') <> regexp_replace(query, '[\s;]+', ' ', 'g'), t.canonical),
        (2, 'canonicalise', t.notices IS NOT NULL, coalesce(t.notices, t.canonical)),
        (3, 'store', t.hidden, t.load)
      ) AS p(ord, pass_name, changed, sql_after)
     ORDER BY p.ord;
END;
COMMENT ON FUNCTION pgtrickle.explain_query_rewrite(text) IS
'What becomes of a query, step by step, nothing is created. qualify: names resolved, views expanded when used, as it would be stored. canonicalise: what was fixed where SQL leaves several answers. store: the statement that fills the table, hidden columns included. Errors as validate_query''s subject would raise: 42601, 42P01, 0A000.';
