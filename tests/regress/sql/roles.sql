-- Roles: ordinary users own their STs and sources; others can neither touch the STs nor see the buffers.
SET client_min_messages = warning;
CREATE ROLE regress_alice;
CREATE ROLE regress_bob;
CREATE ROLE regress_team;
GRANT regress_team TO regress_alice, regress_bob;
CREATE SCHEMA rol;
GRANT USAGE, CREATE ON SCHEMA rol TO regress_alice;
GRANT USAGE ON SCHEMA rol TO regress_bob, regress_team;
SET search_path = rol;

SET ROLE regress_alice;
CREATE TABLE t (id int PRIMARY KEY, k text, v int, secret text);
INSERT INTO t SELECT i, 'k' || i % 3, i, 's' FROM generate_series(1, 30) i;
SELECT pgtrickle.create_stream_table('st', 'SELECT k, sum(v) AS s FROM t GROUP BY k', '1m');
SELECT pgtrickle.create_stream_table('on_st', 'SELECT k FROM st WHERE s > 10');
SELECT count(*) FROM st;
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'rol'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT DISTINCT pgt_owner FROM pgtrickle.pgt_definitions;
-- not even the owner reads buffers, or writes the catalog
SELECT has_schema_privilege('pgtrickle_changes', 'USAGE') AS changes_usage;
SELECT bool_or(has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r';
SELECT bool_or(has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) FROM pg_class WHERE relnamespace = 'pgtrickle'::regnamespace AND relkind IN ('r', 'v');
SELECT pgtrickle.alter_stream_table('st', schedule => '2m', query => 'SELECT k, max(v) AS s, count(*) AS n FROM t GROUP BY k');
SELECT pgtrickle.suspend_stream_table('st');
SELECT pgtrickle.resume_stream_table('st');
INSERT INTO st VALUES ('x', 1, 1);

-- Another user: nothing of it.
SET ROLE regress_bob;
SELECT count(*) FROM st;
SELECT pgtrickle.alter_stream_table('st', schedule => '3m');
SELECT pgtrickle.drop_stream_table('st');
SELECT pgtrickle.suspend_stream_table('st');
SELECT pgtrickle.resume_stream_table('st');
SELECT pgtrickle.refresh_stream_table('st');
SELECT pgtrickle.create_or_replace_stream_table('st', 'SELECT 1 AS a');
SELECT pgtrickle.create_stream_table('bobs', 'SELECT k FROM st');
CREATE SCHEMA bobs;
SET ROLE NONE;
CREATE SCHEMA bobs AUTHORIZATION regress_bob;
SET ROLE regress_bob;
SELECT pgtrickle.create_stream_table('bobs.x', 'SELECT k FROM rol.st');
SELECT pgtrickle.create_stream_table('bobs.x', 'SELECT id FROM rol.t');
SELECT pgtrickle.create_stream_table('rol.x', 'SELECT 1 AS a');
-- SELECT on some columns only is not enough for the others; on the ST it is enough for reading it.
SET ROLE regress_alice;
GRANT SELECT (id, k) ON t TO regress_bob;
GRANT SELECT ON st TO regress_bob;
SET ROLE regress_bob;
SELECT pgtrickle.create_stream_table('bobs.x', 'SELECT secret FROM rol.t');
SELECT pgtrickle.create_stream_table('bobs.reads_st', 'SELECT k, n FROM rol.st');
SELECT count(*) FROM bobs.reads_st;
-- Alice cannot take away what Bob reads without cascade, and with cascade not what is not hers.
SET ROLE regress_alice;
SELECT pgtrickle.drop_stream_table('st');
SELECT pgtrickle.drop_stream_table('st', true);
SELECT count(*) FROM st;
SET ROLE regress_bob;
SELECT pgtrickle.drop_stream_table('bobs.reads_st');

-- Ownership by membership, as everywhere in PostgreSQL.
SET ROLE NONE;
ALTER TABLE on_st OWNER TO regress_team;
SET ROLE regress_bob;
SELECT pgtrickle.alter_stream_table('on_st', schedule => '5m');
SELECT pgtrickle.drop_stream_table('on_st');

-- Creating for somebody else's table needs SELECT on it, and its identity is the owner's.
SET ROLE regress_alice;
CREATE TABLE nokey (a int, b int);
GRANT SELECT ON nokey TO regress_bob;
SET ROLE regress_bob;
SELECT pgtrickle.create_stream_table('bobs.x', 'SELECT a, count(*) AS n FROM rol.nokey GROUP BY a');
SELECT relreplident FROM pg_class WHERE oid = 'rol.nokey'::regclass;
-- Row-level security that binds the owner of the ST would be bypassed.
SET ROLE regress_alice;
CREATE TABLE secured (a int PRIMARY KEY, who text);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secured USING (who = current_user);
GRANT SELECT ON secured TO regress_bob;
SELECT pgtrickle.create_stream_table('of_owner', 'SELECT a FROM secured');
SET ROLE regress_bob;
SELECT pgtrickle.create_stream_table('bobs.x', 'SELECT a FROM rol.secured');
-- Functions of the query run as the ST's owner, also when the superuser refreshes or alters: no way up.
SELECT pgtrickle.restore_stream_tables();

SET ROLE NONE;
SELECT pgtrickle.drop_stream_table(format('%I.%I', pgt_schema, pgt_name), true) FROM pgtrickle.pgt_definitions;
SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions) + (SELECT count(*) FROM pgtrickle.pgt_sources) AS left_behind;
DROP SCHEMA rol, bobs CASCADE;
DROP ROLE regress_alice, regress_bob, regress_team;
