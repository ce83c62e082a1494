-- Views over the catalog for monitoring; readable by everyone, like the catalog itself.  docs/sql-reference.md lists their columns.

CREATE VIEW pgtrickle.stream_tables_info AS
SELECT t.*, f.staleness, f.stale, t.topk_limit IS NOT NULL AS is_topk
  FROM pgtrickle.pgt_stream_tables t
  JOIN pgtrickle._freshness() f USING (pgt_id);
COMMENT ON VIEW pgtrickle.stream_tables_info IS
'pgt_stream_tables with staleness and stale (as in pgt_status) and is_topk (the query has ORDER BY ... LIMIT).';

CREATE VIEW pgtrickle.pg_stat_stream_tables AS
SELECT d.pgt_id, d.pgt_schema, d.pgt_name, s.status, d.refresh_mode, s.is_populated, s.data_timestamp, d.schedule,
       f.staleness, f.stale, s.last_refresh_at,
       coalesce(h.total, 0) AS total_refreshes, coalesce(h.good, 0) AS successful_refreshes, coalesce(h.failed, 0) AS failed_refreshes,
       coalesce(h.rows_inserted, 0) AS total_rows_inserted, coalesce(h.rows_deleted, 0) AS total_rows_deleted,
       h.avg_ms AS avg_duration_ms, h.last_action, h.last_status, s.consecutive_errors, s.last_error_message, s.last_error_at,
       (SELECT array_agg(DISTINCT e.cdc_mode) FROM pgtrickle.pgt_dependencies e
         WHERE e.pgt_id = d.pgt_id AND e.source_type = 'TABLE') AS cdc_modes,
       NULL::int AS scc_id, NULL::int AS last_fixpoint_iterations, d.refresh_tier
  FROM pgtrickle.pgt_definitions d
  JOIN pgtrickle.pgt_state s USING (pgt_id)
  JOIN pgtrickle._freshness() f USING (pgt_id)
  LEFT JOIN pgtrickle._totals() h USING (pgt_id);
COMMENT ON VIEW pgtrickle.pg_stat_stream_tables IS
'One row per stream table: state, staleness, and totals over its refresh history. avg_duration_ms: milliseconds, completed refreshes only.';

CREATE VIEW pgtrickle.quick_health AS
SELECT count(*) AS total_stream_tables,
       count(*) FILTER (WHERE s.status = 'ERROR' OR s.consecutive_errors > 0) AS error_tables,
       count(*) FILTER (WHERE f.stale) AS stale_tables,
       EXISTS (SELECT FROM pgtrickle._capture() c WHERE c.active) AS scheduler_running,
       CASE WHEN count(*) = 0 THEN 'EMPTY'
            WHEN bool_or(s.status = 'SUSPENDED') THEN 'CRITICAL'
            WHEN bool_or(s.status = 'ERROR' OR s.consecutive_errors > 0 OR f.stale) THEN 'WARNING'
            ELSE 'OK' END AS status
  FROM pgtrickle.pgt_state s
  JOIN pgtrickle._freshness() f USING (pgt_id);
COMMENT ON VIEW pgtrickle.quick_health IS
'One row. status: EMPTY without stream tables, CRITICAL if one is suspended, WARNING if one fails or is stale, else OK. scheduler_running: a consumer is connected to this database''s slot.';

CREATE VIEW pgtrickle.pgt_cdc_status AS
SELECT d.pgt_schema, d.pgt_name, e.source_relid, coalesce(c.relname::text, e.source_name) AS source_name,
       coalesce(n.nspname::text, e.source_schema) AS source_schema, e.cdc_mode, k.slot_name, k.confirmed_lsn AS decoder_confirmed_lsn,
       NULL::timestamptz AS transition_started_at
  FROM pgtrickle.pgt_dependencies e
  JOIN pgtrickle.pgt_definitions d USING (pgt_id)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = e.source_relid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pgtrickle._capture() k ON true
 WHERE e.source_type = 'TABLE';
COMMENT ON VIEW pgtrickle.pgt_cdc_status IS
'One row per stream table and source table, with the slot that captures it and the position that the slot has confirmed. transition_started_at: always NULL, capture has one mode.';

GRANT SELECT ON pgtrickle.stream_tables_info, pgtrickle.pg_stat_stream_tables, pgtrickle.quick_health, pgtrickle.pgt_cdc_status TO PUBLIC;
