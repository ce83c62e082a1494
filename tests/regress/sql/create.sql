-- create_stream_table: what it makes, for every kind of option; create_if_not_exists, create_or_replace, bulk_create.
SET TimeZone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET lc_monetary = 'C';
SET lc_numeric = 'C';
SET lc_time = 'C';
SET client_min_messages = warning;
CREATE SCHEMA crt;
SET search_path = crt, public;
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, day date, amount numeric(10,2), note text COLLATE "C");
CREATE TABLE customers (id int PRIMARY KEY, name varchar(20) NOT NULL, region "char");
INSERT INTO customers SELECT i, 'customer ' || i, (CASE i % 2 WHEN 0 THEN 'n' ELSE 's' END)::"char" FROM generate_series(1, 10) i;
INSERT INTO orders SELECT i, 1 + i % 10, date '2026-01-01' + i % 7, i * 1.5, 'note ' || i % 3 FROM generate_series(1, 200) i;

-- Does the table hold what its query says?  As bags, both ways, over the visible columns.
CREATE FUNCTION differences(st regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE q text; cols text; n bigint;
BEGIN
    SELECT defining_query INTO q FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = st;
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO cols FROM pg_attribute
     WHERE attrelid = st AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '\_\_pgt\_%';
    EXECUTE format('SELECT (SELECT count(*) FROM ((%2$s) EXCEPT ALL SELECT %1$s FROM %3$s) a)
                         + (SELECT count(*) FROM (SELECT %1$s FROM %3$s EXCEPT ALL (%2$s)) b)', cols, q, st) INTO n;
    RETURN n;
END $$;

SELECT pgtrickle.create_stream_table('by_customer',
    'SELECT c.name, sum(o.amount) AS total, count(*) AS n FROM orders o JOIN customers c ON c.id = o.customer GROUP BY c.name', '5s');
SELECT differences('by_customer'), count(*) FROM by_customer;
SELECT attname, format_type(atttypid, atttypmod), attcollation <> 0 AS collatable FROM pg_attribute
 WHERE attrelid = 'by_customer'::regclass AND attnum > 0 AND attname NOT LIKE '\_\_pgt%' ORDER BY attnum;
SELECT reloptions FROM pg_class WHERE oid = 'by_customer'::regclass;
SELECT tgname, tgtype, tgenabled, tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'by_customer'::regclass;
SELECT pgt_schema, pgt_name, schedule, refresh_mode, status, is_populated, pgt_owner = current_user AS mine, reinit_reason, full_reason,
       diamond_consistency, diamond_schedule_policy, refresh_tier, fuse_mode, is_append_only
  FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = 'by_customer'::regclass;
SELECT original_query FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = 'by_customer'::regclass;
SELECT creation_search_path, settings ->> 'TimeZone' AS tz, settings ->> 'DateStyle' AS datestyle FROM pgtrickle.pgt_definitions
 WHERE pgt_relid = 'by_customer'::regclass;
SELECT source_type, source_schema, source_name, columns_used, attnums_used FROM pgtrickle.pgt_dependencies
 WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_relid = 'by_customer'::regclass) ORDER BY source_name;
SELECT relid::regclass, attnums, insert_only FROM pgtrickle.pgt_sources ORDER BY relid::regclass::text;
-- Nothing of ours stands on the sources.
SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('orders'::regclass, 'customers'::regclass);

-- A second ST that needs more of a source widens its capture; one that reads an ST gives that one a buffer.
SELECT pgtrickle.create_stream_table('crt.big', 'SELECT id, note, day, amount FROM orders WHERE amount > 100', 'continuous', 'DIFFERENTIAL');
SELECT attnums FROM pgtrickle.pgt_sources WHERE relid = 'orders'::regclass;
SELECT pgtrickle.create_stream_table('top', 'SELECT name, total FROM by_customer WHERE n > 5', '*/5 * * * *');
SELECT differences('big') AS big, differences('top') AS top;
SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname LIKE 'st\_%';
-- hidden columns are not in it
SELECT a.attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute a
 WHERE attrelid = (SELECT format('pgtrickle_changes.st_%s', pgt_id)::regclass FROM pgtrickle.pgt_definitions WHERE pgt_name = 'by_customer')
   AND attnum > 0 ORDER BY attnum;
SELECT source_type, source_name FROM pgtrickle.pgt_dependencies JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_name = 'top';

-- Collations, typmods, bags, views and CTEs; the search_path of the creator counts, not that of whoever refreshes.
CREATE VIEW recent AS SELECT * FROM orders WHERE day > '2026-01-03';
SELECT pgtrickle.create_stream_table('typed', $$
    WITH r AS (SELECT note, amount, day FROM recent)
    SELECT note, note COLLATE "POSIX" AS note_posix, amount, 'x'::varchar(7) AS seven, day::timestamptz AS at FROM r $$);
SELECT attname, format_type(atttypid, atttypmod), (SELECT collname FROM pg_collation c WHERE c.oid = attcollation) FROM pg_attribute
 WHERE attrelid = 'typed'::regclass AND attnum > 0 AND attname NOT LIKE '\_\_pgt%' ORDER BY attnum;
SELECT differences('typed'), count(*) > 0 AS filled FROM typed;
SELECT schedule IS NULL AS calculated FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'typed';

-- Functions of users are recorded with a hash of what they do.
CREATE FUNCTION half(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN $1 / 2;
SELECT pgtrickle.create_stream_table('halves', 'SELECT id, half(amount) AS h FROM orders');
SELECT f FROM pgtrickle.pgt_definitions, unnest(functions_used) f WHERE pgt_name = 'halves' AND f LIKE 'crt.%';
SELECT jsonb_object_keys(function_hashes::jsonb) FROM pgtrickle.pgt_definitions WHERE pgt_name = 'halves';
SELECT function_hashes IS NULL AS only_builtins FROM pgtrickle.pgt_definitions WHERE pgt_name = 'top';

-- Not initialized: empty, for the consumer to fill.
SELECT pgtrickle.create_stream_table('later', 'SELECT id FROM orders', initialize => false);
SELECT status, is_populated, (SELECT count(*) FROM later) AS rows FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'later';
-- An ST on one that is not filled yet waits too, and says so; so does one whose sources are large.
SET client_min_messages = notice;
SELECT pgtrickle.create_stream_table('after_later', 'SELECT id FROM later');
SET pg_trickle.sync_load_limit = '0';
SELECT pgtrickle.create_stream_table('large', 'SELECT id, amount FROM orders');
RESET pg_trickle.sync_load_limit;
SET client_min_messages = warning;
SELECT pgt_name, status, is_populated FROM pgtrickle.pgt_stream_tables WHERE pgt_name IN ('after_later', 'large') ORDER BY 1;

-- Without its index an ST is slower to maintain, not wrong.
SET pg_trickle.auto_index = off;
SELECT pgtrickle.create_stream_table('bare', 'SELECT customer, sum(amount) AS total FROM orders GROUP BY customer');
RESET pg_trickle.auto_index;
SELECT (SELECT count(*) FROM pg_index WHERE indrelid = 'bare'::regclass) AS indexes, differences('bare');

-- Not incremental: AUTO and FULL say so, DIFFERENTIAL is refused.
SET client_min_messages = notice;
SELECT pgtrickle.create_stream_table('recent_by_clock', 'SELECT id, day FROM orders WHERE day > now() - interval ''100 years''');
SELECT pgtrickle.create_stream_table('clock_d', 'SELECT id, now() AS t FROM orders', refresh_mode => 'DIFFERENTIAL');
SET client_min_messages = warning;
SELECT differences('recent_by_clock'), (SELECT full_reason IS NOT NULL FROM pgtrickle.pgt_definitions WHERE pgt_name = 'recent_by_clock') AS has_reason;

-- In a transaction with its sources; and gone with it.
BEGIN;
CREATE TABLE fresh (a int);
INSERT INTO fresh VALUES (1), (2);
SELECT pgtrickle.create_stream_table('on_fresh', 'SELECT a FROM fresh');
SELECT differences('on_fresh'), count(*) FROM on_fresh;
ROLLBACK;
SELECT to_regclass('on_fresh'), count(*) FROM pgtrickle.pgt_definitions WHERE pgt_name = 'on_fresh';

-- if_not_exists looks at the name only.
SELECT pgtrickle.create_stream_table_if_not_exists('top', 'SELECT 1 AS a FROM orders');
SELECT pgtrickle.create_stream_table_if_not_exists('crt.fourth', 'SELECT id FROM customers', schedule => '1h');
SELECT pgt_name, original_query FROM pgtrickle.pgt_stream_tables WHERE pgt_name IN ('top', 'fourth') ORDER BY 1;

-- create_or_replace compares to the letter: a literal with two blanks is another query.
SELECT pgtrickle.create_or_replace_stream_table('repl', 'SELECT id, ''a  b'' AS t FROM customers', '1m');
SELECT definition_version AS v1, updated_at AS u1 FROM pgtrickle.pgt_definitions WHERE pgt_name = 'repl' \gset
SELECT pgtrickle.create_or_replace_stream_table('repl', 'SELECT id, ''a  b'' AS t FROM customers', '1m');
SELECT definition_version = :v1 AS untouched FROM pgtrickle.pgt_definitions WHERE pgt_name = 'repl';
SELECT pgtrickle.create_or_replace_stream_table('repl', 'SELECT id, ''a b'' AS t FROM customers', '1m');
SELECT DISTINCT t FROM repl;
SELECT definition_version > :v1 AS changed FROM pgtrickle.pgt_definitions WHERE pgt_name = 'repl';
SELECT pgtrickle.create_or_replace_stream_table('repl', 'SELECT id, ''a b'' AS t FROM customers');
SELECT schedule IS NULL AS calculated FROM pgtrickle.pgt_definitions WHERE pgt_name = 'repl';

-- bulk_create: in order, all or nothing.
SELECT jsonb_agg(item - 'pgt_id') FROM jsonb_array_elements(pgtrickle.bulk_create($$[
    {"name": "bulk_1", "query": "SELECT customer, count(*) AS n FROM orders GROUP BY customer", "schedule": "10s"},
    {"name": "bulk_2", "query": "SELECT customer FROM bulk_1 WHERE n > 3", "refresh_mode": "FULL", "initialize": true, "max_delta_fraction": 0.5}]$$)) item;
SELECT pgt_name, schedule, refresh_mode, max_delta_fraction FROM pgtrickle.pgt_definitions WHERE pgt_name LIKE 'bulk%' ORDER BY 1;
SELECT pgtrickle.bulk_create('[{"name": "bulk_3", "query": "SELECT id FROM orders"}, {"name": "bulk_4", "query": "SELECT nothing FROM orders"}]');
SELECT pgtrickle.bulk_create('[{"name": "bulk_3", "query": "SELECT id FROM orders", "colour": "blue"}]');
SELECT pgtrickle.bulk_create('{"name": "bulk_3"}');
SELECT pgtrickle.bulk_create('[1]');
SELECT pgtrickle.bulk_create('[]');
SELECT to_regclass('bulk_3');

-- Direct DML is refused.
INSERT INTO top VALUES ('x', 1);
UPDATE top SET total = 1;
DELETE FROM top;
TRUNCATE top;
COPY top FROM stdin;
\.

-- export_definition makes a script that makes the same again.
SELECT pgtrickle.alter_stream_table('repl', tier => 'cold', fuse => 'on', fuse_ceiling => 500);
SELECT pgtrickle.export_definition('repl') AS script \gset
\echo :script
SELECT pgtrickle.drop_stream_table('repl');
:script
SELECT pgt_name, schedule, refresh_tier, fuse_mode, fuse_ceiling, original_query FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'repl';
SELECT differences('repl');

-- validate_query makes nothing.
SELECT count(*) AS before FROM pg_class \gset
SELECT check_name, CASE check_name WHEN 'columns' THEN split_part(result, ',', 1) ELSE result END AS result, severity
  FROM pgtrickle.validate_query('SELECT c.name, count(*) FROM orders o JOIN customers c ON c.id = o.customer GROUP BY 1');
SELECT * FROM pgtrickle.validate_query('SELECT * FROM nowhere');
SELECT * FROM pgtrickle.validate_query('SELEC 1');
SELECT check_name, severity FROM pgtrickle.validate_query('SELECT id, now() FROM orders');
SELECT count(*) - :before AS made FROM pg_class;

-- Odds and ends
SELECT pgtrickle.version(), pgtrickle.version_check() LIKE 'library 0.20.0, extension 0.20.0, server % ok' AS fits, pgtrickle.migrate();
SELECT d, pgtrickle.parse_duration_seconds(d) FROM unnest(ARRAY['30s', '1h30m', '500ms', '2 days', '00:05:00']) d;
SELECT pgtrickle.parse_duration_seconds('soon');

-- What is left behind when all is dropped: nothing.
SELECT pgtrickle.drop_stream_table(format('%I.%I', pgt_schema, pgt_name), true) FROM pgtrickle.pgt_definitions d
 WHERE pgt_schema = 'crt' AND NOT EXISTS (SELECT FROM pgtrickle.pgt_dependencies e WHERE e.pgt_id = d.pgt_id AND e.source_type = 'STREAM_TABLE');
SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions), (SELECT count(*) FROM pgtrickle.pgt_state), (SELECT count(*) FROM pgtrickle.pgt_sources),
       (SELECT count(*) FROM pgtrickle.pgt_dependencies), (SELECT count(*) FROM pgtrickle.pgt_segments), (SELECT count(*) FROM pgtrickle.pgt_query_trees),
       (SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r') AS buffers;
SELECT relname, relreplident FROM pg_class WHERE oid IN ('orders'::regclass, 'customers'::regclass) ORDER BY 1;
RESET client_min_messages;
SET client_min_messages = warning;
DROP SCHEMA crt CASCADE;
