-- Every bad input: one clear error with its SQLSTATE, and nothing left behind.
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA bad;
SET search_path = bad, public;
CREATE TABLE t (id int PRIMARY KEY, v int, doc json, "__pgt_x" int);
CREATE UNLOGGED TABLE unlogged (a int);
CREATE TEMP TABLE temporary (a int);
CREATE VIEW v AS SELECT id FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT id FROM t;
CREATE TABLE secured (a int);
CREATE TABLE plain (a int);
CREATE TABLE empty ();
CREATE TABLE other (id int);
CREATE SEQUENCE seq;
INSERT INTO t SELECT i, i % 5 FROM generate_series(1, 20) i;
CREATE FUNCTION vol() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';

-- One line for state and message, one each for detail and hint.
CREATE FUNCTION try(sql text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE state text; message text; det text; hnt text;
BEGIN
    EXECUTE sql;
    RAISE EXCEPTION 'no error' USING ERRCODE = 'ZZ000';         -- and undo it
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, det = PG_EXCEPTION_DETAIL, hnt = PG_EXCEPTION_HINT;
    RETURN NEXT state || ': ' || message;
    IF det <> '' THEN RETURN NEXT '  detail: ' || det; END IF;
    IF hnt <> '' THEN RETURN NEXT '  hint: ' || hnt; END IF;
END $$;
CREATE FUNCTION tryc(name text, query text, more text DEFAULT '') RETURNS SETOF text LANGUAGE sql AS
$$ SELECT try(format('SELECT pgtrickle.create_stream_table(%L, %L%s)', name, query, more)) $$;

-- names
SELECT tryc(NULL, 'SELECT id FROM t');
SELECT tryc('', 'SELECT id FROM t');
SELECT tryc('a.b.c.d', 'SELECT id FROM t');
SELECT tryc('otherdb.bad.x', 'SELECT id FROM t');
SELECT tryc('"open', 'SELECT id FROM t');
SELECT tryc('a..b', 'SELECT id FROM t');
SELECT tryc('two words', 'SELECT id FROM t');
SELECT tryc(repeat('n', 64), 'SELECT id FROM t');
SELECT tryc('plain', 'SELECT id FROM t');
SELECT tryc('v', 'SELECT id FROM t');
SELECT tryc('no_such_schema.x', 'SELECT id FROM t');
SELECT tryc('pg_temp.x', 'SELECT id FROM t');
SELECT tryc('pg_catalog.x', 'SELECT id FROM t');
SELECT tryc('pgtrickle_changes.x', 'SELECT id FROM t');
-- queries
SELECT tryc('x', NULL);
SELECT tryc('x', '');
SELECT tryc('x', '  ;');
SELECT tryc('x', 'SELEC 1');
SELECT tryc('x', 'SELECT id FROM t; SELECT id FROM t');
SELECT tryc('x', 'DELETE FROM t');
SELECT tryc('x', 'INSERT INTO t VALUES (99)');
SELECT tryc('x', 'WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d');
SELECT tryc('x', 'CREATE TABLE y (a int)');
SELECT tryc('x', 'SELECT id INTO y FROM t');
SELECT tryc('x', 'SELECT id FROM t FOR UPDATE');
SELECT tryc('x', 'SELECT $1::int FROM t');
SELECT tryc('x', 'SELECT FROM t');
SELECT tryc('x', 'SELECT id, id FROM t');
SELECT tryc('x', 'SELECT id AS ctid FROM t');
SELECT tryc('x', 'SELECT "__pgt_x" FROM t');
SELECT tryc('x', 'SELECT nope FROM t');
SELECT tryc('x', 'SELECT id FROM nope');
SELECT tryc('x', 'SELECT t FROM (VALUES (1)) AS q(t)');
SELECT tryc('x', 'SELECT ROW(id, v) AS r FROM t');
SELECT tryc('x', 'SELECT random() AS r FROM t');
SELECT tryc('x', 'SELECT vol() AS r FROM t');
SELECT tryc('x', 'SELECT nextval(''seq'') AS n FROM t');
SELECT tryc('x', 'SELECT id, 1 / (v - v) AS boom FROM t');
-- sources
SELECT tryc('x', 'SELECT a FROM unlogged');
SELECT tryc('x', 'SELECT a FROM temporary');
SELECT tryc('x', 'SELECT count(*) FROM empty');
SELECT tryc('x', 'SELECT to_jsonb(j.*) AS j FROM t JOIN other USING (id) AS j');
SELECT tryc('x', 'SELECT id FROM mv');
SELECT tryc('x', 'SELECT relname FROM pg_class');
SELECT tryc('x', 'SELECT last_value FROM seq');
-- options
SELECT tryc('x', 'SELECT id FROM t', ', schedule => ''soon''');
SELECT tryc('x', 'SELECT id FROM t', ', schedule => ''5''');
SELECT tryc('x', 'SELECT id FROM t', ', schedule => ''* * *''');
SELECT tryc('x', 'SELECT id FROM t', ', schedule => ''99 * * * *''');
SELECT tryc('x', 'SELECT id FROM t', ', schedule => ''''');
SELECT tryc('x', 'SELECT id FROM t', ', schedule => ''500ms''');
SELECT tryc('x', 'SELECT id FROM t', ', refresh_mode => ''IMMEDIATE''');
SELECT tryc('x', 'SELECT id FROM t', ', refresh_mode => ''sometimes''');
SELECT tryc('x', 'SELECT id FROM t', ', cdc_mode => ''trigger''');
SELECT tryc('x', 'SELECT id FROM t', ', cdc_mode => ''magic''');
SELECT tryc('x', 'SELECT id FROM t', ', partition_by => ''id''');
SELECT tryc('x', 'SELECT id FROM t', ', diamond_consistency => ''some''');
SELECT tryc('x', 'SELECT id FROM t', ', diamond_schedule_policy => ''first''');
SELECT tryc('x', 'SELECT id FROM t', ', max_delta_fraction => 1.5');
SELECT tryc('x', 'SELECT id FROM t', ', max_delta_fraction => ''NaN''');
SELECT tryc('x', 'SELECT id FROM t', ', max_differential_joins => -1');
-- transactions
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT tryc('x', 'SELECT id FROM t');
ROLLBACK;
BEGIN READ ONLY;
SELECT tryc('x', 'SELECT id FROM t');
ROLLBACK;
-- other functions
SELECT try('SELECT pgtrickle.drop_stream_table(NULL)');
SELECT try('SELECT pgtrickle.drop_stream_table(''nope'')');
SELECT try('SELECT pgtrickle.drop_stream_table(''plain'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''plain'', schedule => ''1m'')');
SELECT try('SELECT pgtrickle.suspend_stream_table(''nope'')');
SELECT try('SELECT pgtrickle.resume_stream_table(''bad.nope'')');
SELECT try('SELECT pgtrickle.export_definition(''plain'')');
SELECT try('SELECT pgtrickle.create_or_replace_stream_table(''plain'', ''SELECT id FROM t'')');
SELECT try('SELECT pgtrickle.create_stream_table_if_not_exists(''plain'', ''SELECT id FROM t'')');
SELECT try('SELECT pgtrickle.restore_stream_tables()');

-- Nothing is left of all that.
SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions), (SELECT count(*) FROM pgtrickle.pgt_state), (SELECT count(*) FROM pgtrickle.pgt_sources),
       (SELECT count(*) FROM pgtrickle.pgt_dependencies), (SELECT count(*) FROM pgtrickle.pgt_segments), (SELECT count(*) FROM pgtrickle.pgt_query_trees),
       (SELECT count(*) FROM pgtrickle.pgt_source_identity);
SELECT relname FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT relname FROM pg_class WHERE relnamespace = 'bad'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT relreplident FROM pg_class WHERE oid = 't'::regclass;

-- Bad ALTERs leave the ST as it was.
SELECT pgtrickle.create_stream_table('st', 'SELECT id, v FROM t', '1m');
SELECT try('SELECT pgtrickle.create_stream_table(''st'', ''SELECT id FROM t'')');
SELECT md5(string_agg(d::text || s::text, '')) AS before FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id) \gset
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', schedule => ''never'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', refresh_mode => ''IMMEDIATE'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', status => ''ERROR'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', tier => ''lukewarm'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', fuse => ''maybe'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', fuse_ceiling => 0)');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', auto_threshold => 7)');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', cdc_mode => ''trigger'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', partition_by => ''id'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', query => ''SELECT nope FROM t'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', query => ''SELECT id, v FROM st'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', query => ''SELECT a FROM unlogged'', schedule => ''2m'')');
SELECT try('SELECT pgtrickle.alter_stream_table(''st'', query => ''SELECT id, 1 / (v - v) AS boom FROM t'')');
SELECT try('SELECT pgtrickle.resume_stream_table(''st'')');
SELECT md5(string_agg(d::text || s::text, '')) = :'before' AS unchanged FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id);
SELECT count(*), count(v) FROM st;
SELECT pgtrickle.drop_stream_table('st');
DROP SCHEMA bad CASCADE;
