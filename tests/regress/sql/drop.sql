-- drop_stream_table: dependents, cascade, long chains, diamonds, what goes and what stays.
SET client_min_messages = warning;
CREATE SCHEMA drp;
SET search_path = drp, public;
CREATE TABLE t (id int PRIMARY KEY, k text, v int);
CREATE TABLE nokey (a int, b text);
INSERT INTO t SELECT i, 'k' || i % 3, i FROM generate_series(1, 30) i;
CREATE FUNCTION left_behind() RETURNS TABLE (definitions bigint, state bigint, sources bigint, edges bigint, segments bigint, trees bigint, identities bigint, buffers bigint)
LANGUAGE sql AS $$
SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions), (SELECT count(*) FROM pgtrickle.pgt_state), (SELECT count(*) FROM pgtrickle.pgt_sources),
       (SELECT count(*) FROM pgtrickle.pgt_dependencies), (SELECT count(*) FROM pgtrickle.pgt_segments), (SELECT count(*) FROM pgtrickle.pgt_query_trees),
       (SELECT count(*) FROM pgtrickle.pgt_source_identity),
       (SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r' AND relname NOT IN ('progress', 'segment_stats')) $$;

-- One alone: everything of it goes, the identity is put back.
SELECT relreplident FROM pg_class WHERE oid = 'nokey'::regclass;
SELECT pgtrickle.create_stream_table('single', 'SELECT a, count(*) AS n FROM nokey GROUP BY a');
SELECT relreplident FROM pg_class WHERE oid = 'nokey'::regclass;
SELECT pgtrickle.drop_stream_table('single');
SELECT relreplident FROM pg_class WHERE oid = 'nokey'::regclass;
SELECT to_regclass('single'), * FROM left_behind();

-- Two on one source: the capture stays until the last has gone.
SELECT pgtrickle.create_stream_table('one', 'SELECT id FROM t');
SELECT pgtrickle.create_stream_table('two', 'SELECT k, v FROM t');
SELECT pgtrickle.drop_stream_table('two');
SELECT relid::regclass FROM pgtrickle.pgt_sources;
SELECT pgtrickle.drop_stream_table('one', NULL);
SELECT * FROM left_behind();

-- Dependents: STs and views; cascade takes both.
SELECT pgtrickle.create_stream_table('base', 'SELECT k, sum(v) AS s FROM t GROUP BY k');
SELECT pgtrickle.create_stream_table('left_arm', 'SELECT k, s FROM base WHERE s > 1');
SELECT pgtrickle.create_stream_table('right_arm', 'SELECT k, s * 2 AS d FROM base');
SELECT pgtrickle.create_stream_table('top', 'SELECT l.k, l.s, r.d FROM left_arm l JOIN right_arm r USING (k)');
CREATE VIEW over_top AS SELECT count(*) FROM top;
SELECT pgtrickle.drop_stream_table('base');
SELECT pgtrickle.drop_stream_table('top');
SELECT count(*) FROM top;
DROP VIEW over_top;
SELECT pgtrickle.drop_stream_table('top');
-- with the last reader the ST's buffer goes
SELECT relname ~ '^st_' AS st_buffer FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname ~ '^st_';
SELECT pgtrickle.drop_stream_table('left_arm');
SELECT pgtrickle.drop_stream_table('right_arm');
SELECT count(*) AS st_buffers FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname ~ '^st_';
SELECT pgtrickle.create_stream_table('left_arm', 'SELECT k, s FROM base WHERE s > 1');
CREATE VIEW over_arm AS SELECT k FROM left_arm;
SELECT pgtrickle.drop_stream_table('base', cascade => true);
SELECT to_regclass('base'), to_regclass('left_arm'), to_regclass('over_arm'), * FROM left_behind();

-- A chain much longer than any stack of recursive calls would like; names in the error are cut short.
DO $$
BEGIN
    PERFORM pgtrickle.create_stream_table('c0', 'SELECT id FROM t');
    FOR i IN 1 .. 120 LOOP
        PERFORM pgtrickle.create_stream_table('c' || i, format('SELECT id FROM c%s', i - 1), initialize => false);
    END LOOP;
END $$;
\set VERBOSITY terse
SELECT pgtrickle.drop_stream_table('c0');
\set VERBOSITY default
SELECT pgtrickle.drop_stream_table('c0', true);
SELECT * FROM left_behind();

-- In a transaction that is rolled back nothing has happened.
SELECT pgtrickle.create_stream_table('kept', 'SELECT k, count(*) AS n FROM t GROUP BY k');
BEGIN;
SELECT pgtrickle.drop_stream_table('kept');
SELECT to_regclass('kept');
ROLLBACK;
SELECT count(*) FROM kept;
SELECT sources, buffers FROM left_behind();
-- Dropped and made again in one transaction.
BEGIN;
SELECT pgtrickle.drop_stream_table('kept');
SELECT pgtrickle.create_stream_table('kept', 'SELECT k, count(*) AS n FROM t GROUP BY k');
COMMIT;
SELECT count(*) FROM kept;
SELECT pgtrickle.drop_stream_table('kept');
SELECT * FROM left_behind();
DROP SCHEMA drp CASCADE;
