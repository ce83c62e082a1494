-- Gates, watermarks, groups, fuses, diamonds: names, shapes, errors, rights.  What they do to refreshes: e2e/coordination.
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA co;
SET search_path = co, public;
CREATE ROLE co_other;
GRANT USAGE ON SCHEMA co TO co_other;
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE TABLE u (id int PRIMARY KEY, v int);
CREATE VIEW w AS SELECT * FROM t;
SELECT pgtrickle.create_stream_table('a', 'SELECT id, v FROM t');
SELECT pgtrickle.create_stream_table('b', 'SELECT count(*) AS n FROM t');
SELECT pgtrickle.create_stream_table('d', 'SELECT a.id, b.n FROM a, b');
SELECT pgtrickle.create_stream_table('e', 'SELECT d.id FROM d JOIN u USING (id)');
SELECT pgtrickle.create_stream_table('f', 'SELECT id FROM u');
CREATE FUNCTION try(sql text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE state text; message text; hnt text;
BEGIN
    EXECUTE sql;
    RETURN NEXT 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hnt = PG_EXCEPTION_HINT;
    RETURN NEXT state || ': ' || message;
    IF hnt <> '' THEN RETURN NEXT '  hint: ' || hnt; END IF;
END $$;

-- gates
SELECT try($$SELECT pgtrickle.gate_source('nope')$$);
SELECT try($$SELECT pgtrickle.gate_source('w')$$);
SELECT try($$SELECT pgtrickle.gate_source(NULL)$$);
SELECT pgtrickle.ungate_source('t');
SELECT count(*) FROM pgtrickle.source_gates();
SELECT pgtrickle.gate_source('co.t');
SELECT source_table, schema_name, gated, ungated_at IS NULL, gated_by = current_user, affected_stream_tables FROM pgtrickle.bootstrap_gate_status();
ALTER TABLE t RENAME TO "T 2";
SELECT source_table FROM pgtrickle.source_gates();
SELECT try($$SELECT pgtrickle.gate_source('t')$$);
SELECT pgt_id - min(pgt_id) OVER () AS which, reason FROM pgtrickle._held() ORDER BY 1;
ALTER TABLE "T 2" RENAME TO t;
BEGIN;
SELECT pgtrickle.ungate_source('t');
SELECT count(*) FROM pgtrickle._held();
ROLLBACK;
SELECT count(*) FROM pgtrickle._held();
SELECT pgtrickle.ungate_source('t');
SET ROLE co_other;
SELECT try($$SELECT pgtrickle.gate_source('t')$$);
SELECT try($$SELECT pgtrickle.advance_watermark('t', now())$$);
SELECT try($$SELECT pgtrickle.create_watermark_group('g', ARRAY['t', 'u'])$$);
SELECT try($$SELECT pgtrickle.create_refresh_group('g', ARRAY['a', 'f'])$$);
SELECT try($$SELECT pgtrickle.reset_fuse('a')$$);
SELECT try($$INSERT INTO pgtrickle.pgt_source_gates VALUES ('t')$$);
SELECT count(*) FROM pgtrickle.source_gates();
RESET ROLE;

-- watermarks
SELECT try($$SELECT pgtrickle.advance_watermark('t', NULL)$$);
SELECT try($$SELECT pgtrickle.advance_watermark('t', 'infinity')$$);
SELECT pgtrickle.advance_watermark('t', '2026-01-02 00:00Z');
SELECT pgtrickle.advance_watermark('t', '2026-01-02 00:00Z');
SELECT try($$SELECT pgtrickle.advance_watermark('t', '2026-01-01 00:00Z')$$);
SELECT try($$SELECT pgtrickle.create_watermark_group('one', ARRAY['t', 'co.t'])$$);
SELECT try($$SELECT pgtrickle.create_watermark_group('null', ARRAY['t', NULL])$$);
SELECT try($$SELECT pgtrickle.create_watermark_group('', ARRAY['t', 'u'])$$);
SELECT try($$SELECT pgtrickle.create_watermark_group('neg', ARRAY['t', 'u'], -1)$$);
SELECT try($$SELECT pgtrickle.create_watermark_group('nan', ARRAY['t', 'u'], 'NaN')$$);
SELECT pgtrickle.create_watermark_group('tu', ARRAY['t', 'u'], 3600) > 0;
SELECT try($$SELECT pgtrickle.create_watermark_group('tu', ARRAY['t', 'u'])$$);
SELECT group_name, source_count, tolerance_secs FROM pgtrickle.watermark_groups();
SELECT group_name, lag_secs, aligned, sources_with_watermark, sources_total FROM pgtrickle.watermark_status();
-- e is fed by both, through d and b; a and f by one
SELECT d.pgt_name, h.reason FROM pgtrickle._held() h JOIN pgtrickle.pgt_stream_tables d USING (pgt_id) ORDER BY 1;
SELECT pgtrickle.advance_watermark('u', '2026-01-02 01:00:01Z');
SELECT lag_secs, aligned FROM pgtrickle.watermark_status();
SELECT count(*) FROM pgtrickle._held();
SELECT pgtrickle.advance_watermark('t', '2026-01-02 00:00:01Z');
SELECT lag_secs, aligned FROM pgtrickle.watermark_status();
SELECT count(*) FROM pgtrickle._held();
SELECT try($$SELECT pgtrickle.drop_watermark_group('nope')$$);
SELECT pgtrickle.drop_watermark_group('tu');

-- refresh groups
SELECT try($$SELECT pgtrickle.create_refresh_group('g', ARRAY['a', 'nope'])$$);
SELECT try($$SELECT pgtrickle.create_refresh_group('g', ARRAY['a', 'co.a'])$$);
SELECT try($$SELECT pgtrickle.create_refresh_group('g', ARRAY['a', 'f'], 'serializable')$$);
SELECT try($$SELECT pgtrickle.create_refresh_group(NULL, ARRAY['a', 'f'])$$);
SELECT pgtrickle.create_refresh_group('g', ARRAY['f', 'a'], 'repeatable_read') > 0;
SELECT try($$SELECT pgtrickle.create_refresh_group('g', ARRAY['b', 'd'])$$);
SELECT try($$SELECT pgtrickle.create_refresh_group('h', ARRAY['b', 'a'])$$);
SELECT group_name, member_count, isolation FROM pgtrickle.refresh_groups();
-- one that is held holds the others
SELECT pgtrickle.gate_source('u');
SELECT d.pgt_name, h.reason FROM pgtrickle._held() h JOIN pgtrickle.pgt_stream_tables d USING (pgt_id) ORDER BY 1, 2;
SELECT st_name, gated, refresh_group IS NOT NULL FROM pgtrickle._consumer_plan() WHERE schema_name = 'co' ORDER BY 1;
SELECT pgtrickle.ungate_source('u');
SELECT pgtrickle.drop_refresh_group('g');
SELECT try($$SELECT pgtrickle.drop_refresh_group('g')$$);

-- fuses
SELECT try($$SELECT pgtrickle.alter_stream_table('a', fuse => 'maybe')$$);
SELECT try($$SELECT pgtrickle.alter_stream_table('a', fuse_ceiling => 0)$$);
SELECT pgtrickle.alter_stream_table('a', fuse => 'on', fuse_ceiling => 10, fuse_sensitivity => 3);
SELECT * FROM pgtrickle.fuse_status() WHERE stream_table IN ('co.a', 'co.b');
SELECT try($$SELECT pgtrickle.reset_fuse('a')$$);
SELECT try($$SELECT pgtrickle.reset_fuse('a', 'skip_changes')$$);
SELECT try($$SELECT pgtrickle.reset_fuse('a', 'jump')$$);
SELECT pgtrickle.alter_stream_table('b', fuse => 'on');
SELECT effective_ceiling FROM pgtrickle.fuse_status() WHERE stream_table = 'co.b';
SET pg_trickle.fuse_default_ceiling = 5000;
SELECT effective_ceiling FROM pgtrickle.fuse_status() WHERE stream_table = 'co.b';
-- auto: from what it has seen
SELECT pgtrickle.alter_stream_table('b', fuse => 'auto');
SELECT effective_ceiling FROM pgtrickle.fuse_status() WHERE stream_table = 'co.b';
INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, delta_row_count, status)
    SELECT pgt_id, now(), now(), now(), 'DIFFERENTIAL', 1000 + g, 'COMPLETED' FROM pgtrickle.pgt_stream_tables, generate_series(1, 10) g WHERE pgt_name = 'b';
SELECT effective_ceiling FROM pgtrickle.fuse_status() WHERE stream_table = 'co.b';
RESET pg_trickle.fuse_default_ceiling;

-- diamonds: t reaches d on two ways; e only reads it
SELECT group_id, member_name, member_schema, is_convergence, schedule_policy FROM pgtrickle.diamond_groups() WHERE member_schema = 'co' ORDER BY 2;
SELECT pgtrickle.alter_stream_table('d', diamond_schedule_policy => 'slowest');
SELECT DISTINCT schedule_policy FROM pgtrickle.diamond_groups() WHERE member_schema = 'co';
SELECT pgtrickle.alter_stream_table('d', diamond_consistency => 'none');
SELECT count(*) FROM pgtrickle.diamond_groups() WHERE member_schema = 'co';
SELECT count(*) FROM pgtrickle.pgt_scc_status();

SELECT pass_name, changed FROM pgtrickle.explain_query_rewrite('SELECT v, avg(id) FROM w GROUP BY v');
SELECT sql_after FROM pgtrickle.explain_query_rewrite('SELECT v FROM t') WHERE pass_name = 'qualify';
SELECT try($$SELECT * FROM pgtrickle.explain_query_rewrite('SELECT nope FROM t')$$);

SELECT pgtrickle.drop_stream_table('a', cascade => true);
SELECT pgtrickle.drop_stream_table('b');
SELECT pgtrickle.drop_stream_table('f');
SELECT pgtrickle.create_watermark_group('left', ARRAY['t', 'u']) > 0;
DROP TABLE t CASCADE;
-- what was about the table goes with it
SELECT (SELECT count(*) FROM pgtrickle.pgt_source_gates), (SELECT count(*) FROM pgtrickle.pgt_watermarks), (SELECT source_relids FROM pgtrickle.pgt_watermark_groups);
SELECT pgtrickle.drop_watermark_group('left');
DROP TABLE u;
DROP SCHEMA co CASCADE;
DROP ROLE co_other;
