-- DDL on sources and on stream tables: what passes, what is followed, what is refused, what suspends.
SET client_min_messages = warning;
CREATE SCHEMA ddl;
CREATE TABLE ddl.s (id int PRIMARY KEY, v text, n int, unused int, w varchar(10));
INSERT INTO ddl.s VALUES (1, 'a', 1, 1, 'x'), (2, 'b', 2, 2, 'y');
SELECT pgtrickle.create_stream_table('ddl.st', 'SELECT id, n, w FROM ddl.s', '1d');
SELECT pgtrickle.create_stream_table('ddl.st2', 'SELECT count(*) AS c, sum(n) AS n FROM ddl.st', '1d');
CREATE FUNCTION ddl.state() RETURNS TABLE (name text, status text, reinit bool, reason text, error text) LANGUAGE sql AS
$$ SELECT pgt_schema || '.' || pgt_name, status, needs_reinit, reinit_reason, last_error_message FROM pgtrickle.pgt_stream_tables WHERE pgt_schema ~ 'ddl' ORDER BY pgt_id $$;
CREATE FUNCTION ddl.events() RETURNS TABLE (source text, kind text, detail text) LANGUAGE sql AS
$$ SELECT source_relid::regclass::text, kind, detail FROM pgtrickle.pgt_source_events WHERE source_relid IN (SELECT oid FROM pg_class WHERE relnamespace::regnamespace::text ~ 'ddl') ORDER BY at $$;
UPDATE pgtrickle.pgt_state SET needs_reinit = false, reinit_reason = NULL;

-- Passes
ALTER TABLE ddl.s ADD COLUMN extra int DEFAULT 7;
ALTER TABLE ddl.s ADD CHECK (n < 1000);
CREATE INDEX ON ddl.s (n);
DROP INDEX ddl.s_n_idx;
ALTER TABLE ddl.s DROP COLUMN unused;
COMMENT ON COLUMN ddl.s.n IS 'used';
SELECT * FROM ddl.events();
SELECT attnums, kinds FROM pgtrickle.pgt_sources WHERE relid = 'ddl.s'::regclass;

-- Is followed
ALTER TABLE ddl.s RENAME TO "S new";
ALTER TABLE ddl."S new" RENAME COLUMN n TO nn;
ALTER TABLE ddl.st RENAME TO st1;
CREATE SCHEMA ddl_other;
ALTER TABLE ddl.st2 SET SCHEMA ddl_other;
ALTER SCHEMA ddl_other RENAME TO ddl_third;
SELECT pgt_schema, pgt_name, defining_query FROM pgtrickle.pgt_stream_tables WHERE pgt_schema ~ 'ddl' ORDER BY pgt_id;
SELECT source_schema, source_name, columns_used FROM pgtrickle.pgt_dependencies JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_schema ~ 'ddl' ORDER BY pgt_id;
SELECT * FROM ddl.state();
ALTER TABLE ddl."S new" RENAME TO s;
ALTER TABLE ddl.s RENAME COLUMN nn TO n;

-- A rewrite of the table is an event: the next refresh compares
ALTER TABLE ddl.s ALTER COLUMN v TYPE varchar(100);
ALTER TABLE ddl.s ADD COLUMN rnd float8 DEFAULT random();
BEGIN; ALTER TABLE ddl.s ADD COLUMN rnd2 float8 DEFAULT random(); ROLLBACK;
SELECT * FROM ddl.events();

-- Is refused: what the stream table needs
\set VERBOSITY default
\set SHOW_CONTEXT never
ALTER TABLE ddl.s DROP COLUMN n;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE ddl.s ALTER COLUMN n TYPE bigint;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE ddl.s ALTER COLUMN w TYPE varchar(20);
DROP TABLE ddl.s;
\echo :LAST_ERROR_SQLSTATE
DROP SCHEMA ddl CASCADE;
ALTER TABLE ddl.s SET UNLOGGED;
ALTER TABLE ddl.s REPLICA IDENTITY NOTHING;
ALTER TABLE ddl.s REPLICA IDENTITY DEFAULT;
DROP TABLE ddl.st1;

-- Is refused: the structure and the contents of a stream table
ALTER TABLE ddl.st1 ADD COLUMN q int;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE ddl.st1 DROP COLUMN n;
ALTER TABLE ddl.st1 ALTER COLUMN n TYPE bigint;
ALTER TABLE ddl.st1 RENAME COLUMN n TO m;
ALTER TABLE ddl.st1 ADD CHECK (n > 0);
ALTER TABLE ddl.st1 ADD PRIMARY KEY (id);
ALTER TABLE ddl.st1 SET UNLOGGED;
ALTER TABLE ddl.st1 DISABLE TRIGGER ALL;
INSERT INTO ddl.st1 VALUES (1);
\echo :LAST_ERROR_SQLSTATE
UPDATE ddl.st1 SET n = 1;
DELETE FROM ddl.st1;
TRUNCATE ddl.st1;
COPY ddl.st1 FROM STDIN;
1	1	1
\.
-- but not its storage
ALTER TABLE ddl.st1 SET (fillfactor = 60);
ALTER TABLE ddl.st1 ALTER COLUMN n SET STATISTICS 200;
CREATE INDEX ON ddl.st1 (n);
SELECT * FROM ddl.state();

-- Row-level security that applies to the stream table's owner
CREATE ROLE regress_ddl_owner;
CREATE ROLE regress_ddl_reader;
CREATE SCHEMA ddl_rls AUTHORIZATION regress_ddl_owner;
SET ROLE regress_ddl_owner;
CREATE TABLE ddl_rls.t (id int PRIMARY KEY, v int);
SELECT pgtrickle.create_stream_table('ddl_rls.st', 'SELECT id, v FROM ddl_rls.t', '1d');
ALTER TABLE ddl_rls.t ENABLE ROW LEVEL SECURITY;
ALTER TABLE ddl_rls.t FORCE ROW LEVEL SECURITY;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
ALTER TABLE ddl_rls.t OWNER TO CURRENT_USER;
SELECT relname, rolname, relforcerowsecurity FROM pg_class JOIN pg_roles r ON r.oid = relowner WHERE relnamespace = 'ddl_rls'::regnamespace AND relkind = 'r' ORDER BY 1;
-- only the owner of a table may make it log old values
CREATE TABLE ddl_rls.foreign_owned (id int PRIMARY KEY, v int);
GRANT SELECT ON ddl_rls.foreign_owned TO regress_ddl_owner;
SET ROLE regress_ddl_owner;
SELECT pgtrickle.create_stream_table('ddl_rls.st3', 'SELECT id, v FROM ddl_rls.foreign_owned', '1d');
\echo :LAST_ERROR_SQLSTATE
SELECT pgtrickle.create_stream_table('ddl_rls.st3', 'SELECT id FROM ddl_rls.foreign_owned', '1d');
RESET ROLE;
SELECT relreplident FROM pg_class WHERE oid = 'ddl_rls.foreign_owned'::regclass;
-- the key goes, and with it the identity: old values are logged from now on
ALTER TABLE ddl_rls.foreign_owned DROP CONSTRAINT foreign_owned_pkey;
SELECT relreplident FROM pg_class WHERE oid = 'ddl_rls.foreign_owned'::regclass;
SELECT pgtrickle.drop_stream_table('ddl_rls.st3');
SELECT relreplident FROM pg_class WHERE oid = 'ddl_rls.foreign_owned'::regclass;
DROP SCHEMA ddl_rls CASCADE;
SELECT * FROM ddl.state();

-- Identities of partitions: set on each, on later ones too, put back when nobody needs them any more
CREATE TABLE ddl.part (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE ddl.part1 PARTITION OF ddl.part FOR VALUES FROM (0) TO (10);
CREATE TABLE ddl.part2 PARTITION OF ddl.part FOR VALUES FROM (10) TO (20);
CREATE FUNCTION ddl.identities() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(relname || ' ' || relreplident::text, ', ' ORDER BY relname) FROM pg_class WHERE relname ~ '^part.$' AND relnamespace = 'ddl'::regnamespace AND relkind = 'r' $$;
SELECT pgtrickle.create_stream_table('ddl.of_root', 'SELECT id, v FROM ddl.part', '1d');
SELECT pgtrickle.create_stream_table('ddl.of_leaf', 'SELECT id, v FROM ddl.part1', '1d');
CREATE TABLE ddl.part3 PARTITION OF ddl.part FOR VALUES FROM (20) TO (30);
SELECT ddl.identities();
ALTER TABLE ddl.part DETACH PARTITION ddl.part2;
SELECT pgtrickle._consumer_trim() >= 0;
SELECT ddl.identities();
SELECT pgtrickle.drop_stream_table('ddl.of_root');
SELECT ddl.identities();
SELECT pgtrickle.drop_stream_table('ddl.of_leaf');
SELECT ddl.identities();
SELECT count(*) FROM pgtrickle.pgt_source_identity WHERE relid IN ('ddl.part1'::regclass, 'ddl.part2'::regclass, 'ddl.part3'::regclass);
DROP TABLE ddl.part, ddl.part2;

-- Types
CREATE TYPE ddl.mood AS ENUM ('sad', 'ok');
CREATE TYPE ddl.pair AS (a int, m ddl.mood);
CREATE TABLE ddl.typed (id int, m ddl.mood[], p ddl.pair);
SELECT pgtrickle.create_stream_table('ddl.ty', $$SELECT id, m, p FROM ddl.typed WHERE 'ok' = ANY (m)$$, '1d');
DELETE FROM pgtrickle.pgt_source_events;
ALTER TYPE ddl.mood RENAME VALUE 'ok' TO 'fine';
ALTER TYPE ddl.pair ADD ATTRIBUTE c text;
SELECT * FROM ddl.events();
ALTER TYPE ddl.mood RENAME TO temper;
SELECT defining_query FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'ty';
DROP TYPE ddl.pair CASCADE;

-- Functions
CREATE FUNCTION ddl.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
SELECT pgtrickle.create_stream_table('ddl.fn', 'SELECT id, ddl.twice(id) AS t FROM ddl.typed', '1d');
UPDATE pgtrickle.pgt_state SET needs_reinit = false, reinit_reason = NULL;
CREATE OR REPLACE FUNCTION ddl.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 3 * $1';
SELECT * FROM ddl.state() WHERE name = 'ddl.fn';
ALTER FUNCTION ddl.twice(int) RENAME TO thrice;
SELECT defining_query FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'fn';
ALTER FUNCTION ddl.thrice(int) VOLATILE;
DROP FUNCTION ddl.thrice(int);

-- Views are followed when they are redefined, also through other views
SET search_path = ddl, public;
CREATE TABLE base (id int PRIMARY KEY, n int);
CREATE VIEW v1 AS SELECT id, n FROM base WHERE n > 0;
CREATE VIEW v2 AS SELECT * FROM v1;
SELECT pgtrickle.create_stream_table('vw', 'SELECT id, n FROM v2', '1d');
RESET search_path;
UPDATE pgtrickle.pgt_state SET needs_reinit = false, reinit_reason = NULL;
CREATE OR REPLACE VIEW ddl.v1 AS SELECT id, n + 1 AS n FROM ddl.base WHERE n > 5;
SELECT * FROM ddl.state() WHERE name = 'ddl.vw';
SELECT defining_query FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'vw';
CREATE OR REPLACE VIEW ddl.v1 AS SELECT id, (n * random())::int AS n FROM ddl.base;
CREATE VIEW ddl.v3 AS SELECT * FROM ddl.v1;
DROP TABLE ddl.vw;
DROP TABLE ddl.base CASCADE;

-- Without protection: what breaks is suspended, with the reason
SET pg_trickle.block_source_ddl = off;
UPDATE pgtrickle.pgt_state SET needs_reinit = false, reinit_reason = NULL;
ALTER TABLE ddl.s ALTER COLUMN n TYPE bigint;
SELECT * FROM ddl.state() WHERE name = 'ddl.st1';
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'ddl.st1'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
SELECT attnums, kinds FROM pgtrickle.pgt_sources WHERE relid = 'ddl.s'::regclass;
ALTER TABLE ddl.s REPLICA IDENTITY NOTHING;
ALTER TABLE ddl.s REPLICA IDENTITY FULL;
ALTER TABLE ddl.s DROP COLUMN n;
DROP FUNCTION ddl.thrice(int);
DROP TABLE ddl.typed;
SELECT * FROM ddl.state();
SELECT relid::regclass, attnums FROM pgtrickle.pgt_sources ORDER BY 1;
RESET pg_trickle.block_source_ddl;

-- DROP TABLE of a stream table by hand takes the rest of it along
DROP TABLE ddl_third.st2, ddl.st1, ddl.ty, ddl.fn;
SELECT count(*) FROM ddl.state();
SELECT count(*) FROM pgtrickle.pgt_sources;
SELECT relname FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT count(*) FROM pgtrickle.pgt_source_identity;
-- a schema with sources and their stream tables
CREATE SCHEMA ddl_whole;
CREATE TABLE ddl_whole.a (id int);
SELECT pgtrickle.create_stream_table('ddl_whole.b', 'SELECT id FROM ddl_whole.a', '1d');
SELECT pgtrickle.create_stream_table('ddl.c', 'SELECT id FROM ddl_whole.b', '1d');
DROP SCHEMA ddl_whole CASCADE;
DROP TABLE ddl.c;
DROP SCHEMA ddl_whole CASCADE;
SELECT count(*) FROM ddl.state();
DROP SCHEMA ddl_third CASCADE;
DROP SCHEMA ddl CASCADE;
SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r' AND relname NOT IN ('progress', 'segment_stats');
DROP ROLE regress_ddl_owner, regress_ddl_reader;
