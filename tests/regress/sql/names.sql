-- Names: schemas, quotes, capitals, 63 bytes, reserved-looking columns; search_path.
SET client_min_messages = warning;
CREATE SCHEMA "My Schema";
CREATE SCHEMA nm;
SET search_path = nm, public;
CREATE TABLE "My Schema"."Source ""T"".x" ("Id" int PRIMARY KEY, "a""b" text, action text, lsn int, xid int, op int, changed_columns int, w int,
    refresh_no int, c1 int, "select" int, "percent%s" int, "ünïcode" text);
INSERT INTO "My Schema"."Source ""T"".x" SELECT i, 'q' || i, 'act', i, i, i, i, i, i, i, i, i % 2, 'ü' FROM generate_series(1, 5) i;

SELECT pgtrickle.create_stream_table('"My Schema"."ST ""1"".y"', 'SELECT * FROM "My Schema"."Source ""T"".x"');
SELECT count(*) FROM "My Schema"."ST ""1"".y";
SELECT pgt_schema, pgt_name FROM pgtrickle.pgt_stream_tables;
SELECT pgtrickle.create_stream_table('"My Schema"."Grouped"', 'SELECT "percent%s", "select" + 1 AS "Sum % of %s", count(*) AS "count" FROM "My Schema"."Source ""T"".x" GROUP BY 1, 2');
SELECT * FROM "My Schema"."Grouped" ORDER BY 1, 2;
-- Names fold as in SQL: without quotes to lower case.
SELECT pgtrickle.create_stream_table('MixedCase', 'SELECT "Id" AS id FROM "My Schema"."Source ""T"".x"');
SELECT to_regclass('mixedcase') IS NOT NULL AS folded;
SELECT pgtrickle.alter_stream_table('MIXEDCASE', schedule => '1m');
SELECT pgtrickle.alter_stream_table(' nm . "mixedcase" ', schedule => '2m');
SELECT pgtrickle.alter_stream_table('"MixedCase"', schedule => '3m');
SELECT schedule FROM pgtrickle.pgt_definitions WHERE pgt_name = 'mixedcase';
SELECT pgtrickle.create_stream_table(format('%I.%I.%I', current_database(), 'nm', 'three parts'), 'SELECT op, w, xid FROM "My Schema"."Source ""T"".x"');
-- 63 bytes are allowed, one more is not: two names must never become one.
SELECT pgtrickle.create_stream_table(repeat('n', 63), 'SELECT lsn FROM "My Schema"."Source ""T"".x"');
SELECT pgtrickle.create_stream_table(repeat('n', 63) || '2', 'SELECT lsn FROM "My Schema"."Source ""T"".x"');
SELECT pgtrickle.drop_stream_table(repeat('n', 63) || '2');
SELECT pgtrickle.create_stream_table('"' || repeat('ü', 31) || '"', 'SELECT "ünïcode" AS "ö" FROM "My Schema"."Source ""T"".x"');
SELECT pgtrickle.create_stream_table('"' || repeat('ü', 32) || '"', 'SELECT "ünïcode" AS "ö" FROM "My Schema"."Source ""T"".x"');
SELECT length(pgt_name), octet_length(pgt_name) FROM pgtrickle.pgt_definitions WHERE octet_length(pgt_name) > 60 ORDER BY 1;
-- Unqualified names are made in, and looked up by, search_path.
SELECT pgtrickle.create_stream_table('here', 'SELECT c1 FROM "My Schema"."Source ""T"".x"');
SET search_path = public;
SELECT pgtrickle.suspend_stream_table('here');
SELECT pgtrickle.suspend_stream_table('nm.here');
SET search_path = '';
SELECT pgtrickle.create_stream_table('nowhere', 'SELECT c1 FROM "My Schema"."Source ""T"".x"');
SELECT pgtrickle.create_stream_table('nm.there', 'SELECT c1 FROM "My Schema"."Source ""T"".x"');
-- The query's names are resolved by the creator's search_path, once and for all; a function's body does not change that.
SET search_path = nm, "My Schema", public;
CREATE TABLE nm.shadow (a int);
CREATE TABLE public.shadow (a int);
INSERT INTO nm.shadow VALUES (1);
INSERT INTO public.shadow VALUES (2);
SELECT pgtrickle.create_stream_table('from_nm', 'SELECT a FROM shadow');
SET search_path = public;
SELECT pgtrickle.create_stream_table('from_public', 'SELECT a FROM shadow');
SELECT (SELECT a FROM nm.from_nm) AS nm, (SELECT a FROM public.from_public) AS public;
SELECT defining_query FROM pgtrickle.pgt_definitions WHERE pgt_name LIKE 'from%' ORDER BY pgt_name;
-- Operators and functions that shadow the built-in ones do not get into what we generate.
CREATE FUNCTION nm.count(text) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 42::bigint';
CREATE FUNCTION nm.int_eq(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR nm.= (LEFTARG = int, RIGHTARG = int, FUNCTION = nm.int_eq);
SET search_path = nm, pg_catalog;
SELECT pgtrickle.create_stream_table('nm.shadowed', 'SELECT op, pg_catalog.count(*) AS n FROM "My Schema"."Source ""T"".x" GROUP BY op');
SELECT pg_catalog.count(*) FROM nm.shadowed;
SET search_path = public;
SELECT pgtrickle.drop_stream_table(format('%I.%I', pgt_schema, pgt_name)) FROM pgtrickle.pgt_definitions;
SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions) + (SELECT count(*) FROM pgtrickle.pgt_sources) AS left_behind;
DROP TABLE public.shadow;
DROP SCHEMA nm, "My Schema" CASCADE;
