-- alter_stream_table: options one by one, queries with and without the same columns, what depends on it, cycles; suspend and resume.
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET client_min_messages = warning;
CREATE SCHEMA alt;
SET search_path = alt, public;
CREATE TABLE t (id int PRIMARY KEY, k text, v int, w int);
INSERT INTO t SELECT i, 'k' || i % 4, i, i * 2 FROM generate_series(1, 100) i;
CREATE TABLE u (id int PRIMARY KEY, x int);
INSERT INTO u SELECT i, i FROM generate_series(1, 10) i;
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
CREATE FUNCTION captured() RETURNS TABLE (source regclass, attnums int2[]) LANGUAGE sql AS
$$ SELECT relid, attnums FROM pgtrickle.pgt_sources ORDER BY relid::regclass::text $$;
SELECT pgtrickle.create_stream_table('st', 'SELECT k, sum(v) AS s FROM t GROUP BY k', '1m');
SELECT 'st'::regclass::oid AS st_oid \gset

-- Options; NULL leaves as it is.
SELECT pgtrickle.alter_stream_table('st');
SELECT pgtrickle.alter_stream_table('st', schedule => '@hourly', refresh_mode => 'differential', diamond_consistency => 'NONE',
    diamond_schedule_policy => 'slowest', pooler_compatibility_mode => true, tier => 'Warm', fuse => 'auto', fuse_ceiling => 10000,
    fuse_sensitivity => 3, max_differential_joins => 2, max_delta_fraction => 0.25, auto_threshold => 0.4, cdc_mode => 'wal');
SELECT schedule, refresh_mode, diamond_consistency, diamond_schedule_policy, pooler_compatibility_mode, refresh_tier, fuse_mode, fuse_ceiling,
       fuse_sensitivity, max_differential_joins, max_delta_fraction, auto_threshold FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'st';
SELECT pgtrickle.alter_stream_table('st', schedule => 'calculated', refresh_mode => 'FULL');
SELECT schedule IS NULL AS calculated, refresh_mode, refresh_tier FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'st';
SELECT pgtrickle.alter_stream_table('st', refresh_mode => 'AUTO');

-- The same columns: the table stays, contents follow, capture follows the columns.
SELECT * FROM captured();
GRANT SELECT ON st TO PUBLIC;
SELECT definition_version AS v FROM pgtrickle.pgt_definitions WHERE pgt_name = 'st' \gset
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT k, sum(w) AS s FROM t WHERE id > 10 GROUP BY k');
SELECT 'st'::regclass::oid = :st_oid AS same_table, differences('st'), count(*) FROM st;
SELECT definition_version > :v AS newer, original_query, status, is_populated FROM pgtrickle.pgt_stream_tables JOIN pgtrickle.pgt_definitions d USING (pgt_id, original_query) WHERE d.pgt_name = 'st';
SELECT has_table_privilege('public', 'st', 'SELECT') AS grant_kept;
SELECT columns_used FROM pgtrickle.pgt_dependencies;

-- Other columns: same table, new shape; views on columns that stay survive, on columns that go are an obstacle.
CREATE VIEW on_k AS SELECT k FROM st;
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT k, count(*) AS n, max(v) AS top FROM t GROUP BY k');
SELECT 'st'::regclass::oid = :st_oid AS same_table, differences('st') FROM st LIMIT 1;
SELECT count(*) FROM on_k;
SELECT attname FROM pg_attribute WHERE attrelid = 'st'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '\_\_pgt%' ORDER BY attnum;
SELECT has_table_privilege('public', 'st', 'SELECT') AS grant_kept;
SELECT count(*) > 0 AS indexed FROM pg_index WHERE indrelid = 'st'::regclass;
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT id, v FROM t');
SELECT differences('st'), count(*) FROM st;
DROP VIEW on_k;
-- A type alone may change too.
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT k, count(*)::int AS n, max(v) AS top FROM t GROUP BY k');
SELECT differences('st'), pg_typeof(n) FROM st LIMIT 1;

-- Another source: the new one is captured, the old one let go.
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT x AS a, count(*) AS n FROM u GROUP BY x');
SELECT * FROM captured();
SELECT differences('st');
SELECT relname FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r' AND relname = format('changes_%s', 't'::regclass::oid);

-- Readers are compiled anew, or the ALTER fails as a whole.
SELECT pgtrickle.create_stream_table('reader', 'SELECT a FROM st WHERE n > 0');
SELECT pgtrickle.create_stream_table('reader2', 'SELECT count(*) AS c FROM reader');
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT x AS b, count(*) AS n FROM u GROUP BY x');
SELECT differences('st'), differences('reader');
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT id AS n, x AS a, x + 1 AS more FROM u');
SELECT differences('st');
SELECT pgt_name, needs_reinit FROM pgtrickle.pgt_stream_tables ORDER BY 1;
SELECT column_name FROM information_schema.columns WHERE table_schema = 'alt' AND table_name = 'st' ORDER BY ordinal_position;
-- the buffer for readers has the new columns
SELECT count(*) FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid = (SELECT format('pgtrickle_changes.st_%s', pgt_id)::regclass
   FROM pgtrickle.pgt_definitions WHERE pgt_name = 'st');

-- Cycles, direct and through others.
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT n, a, more FROM st');
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT c AS n, c AS a, c AS more FROM reader2');

-- The settings of whoever alters are pinned, for queries only.
SET TimeZone = 'Asia/Tokyo';
SELECT pgtrickle.alter_stream_table('reader2', schedule => '2m');
SELECT settings ->> 'TimeZone' FROM pgtrickle.pgt_definitions WHERE pgt_name = 'reader2';
SELECT pgtrickle.alter_stream_table('reader2', query => 'SELECT count(*) AS c FROM reader WHERE a > 3');
SELECT settings ->> 'TimeZone' FROM pgtrickle.pgt_definitions WHERE pgt_name = 'reader2';
SET TimeZone = 'UTC';

-- Not incremental any more, and the other way round.
SELECT pgtrickle.alter_stream_table('reader2', refresh_mode => 'DIFFERENTIAL');
SELECT pgtrickle.alter_stream_table('reader2', query => 'SELECT a, now() AS t FROM reader');
SET client_min_messages = notice;
SELECT pgtrickle.alter_stream_table('reader2', query => 'SELECT a, now() AS t FROM reader', refresh_mode => 'AUTO');
SELECT pgtrickle.alter_stream_table('reader2', refresh_mode => 'DIFFERENTIAL');
SET client_min_messages = warning;
SELECT refresh_mode, full_reason IS NOT NULL AS full FROM pgtrickle.pgt_definitions WHERE pgt_name = 'reader2';

-- append_only: only inserts are captured, as long as all readers of the source agree.
SELECT pgtrickle.create_stream_table('log', 'SELECT id, k FROM t', append_only => true);
SELECT insert_only FROM pgtrickle.pgt_sources WHERE relid = 't'::regclass;
SELECT pgtrickle.alter_stream_table('log', append_only => false);
SELECT insert_only FROM pgtrickle.pgt_sources WHERE relid = 't'::regclass;
SELECT needs_reinit FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'log';

-- Suspend and resume; status is another way to say so.
SELECT pgtrickle.suspend_stream_table('st');
SELECT pgtrickle.suspend_stream_table('st');
SELECT status FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'st';
SELECT pgtrickle.refresh_stream_table('st');
SELECT pgtrickle.alter_stream_table('st', query => 'SELECT id AS n, x AS a, x + 2 AS more FROM u');
SELECT status, is_populated FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'st';
UPDATE pgtrickle.pgt_state SET consecutive_errors = 3, last_error_message = 'boom', last_error_state = 'XX000'
 WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'st');
SELECT pgtrickle.resume_stream_table('st');
SELECT status, consecutive_errors, last_error_message FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'st';
SELECT pgtrickle.resume_stream_table('st');
SELECT pgtrickle.alter_stream_table('reader', status => 'suspended');
SELECT status FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'reader';
SELECT pgtrickle.alter_stream_table('reader', status => 'ACTIVE', schedule => '3m');
SELECT status, schedule FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'reader';
SELECT pgtrickle.alter_stream_table('reader', status => 'ACTIVE');

SELECT pgtrickle.drop_stream_table('st', cascade => true);
SELECT pgtrickle.drop_stream_table('log');
SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions) + (SELECT count(*) FROM pgtrickle.pgt_sources) + (SELECT count(*) FROM pgtrickle.pgt_dependencies)
       + (SELECT count(*) FROM pgtrickle.pgt_segments) AS left_behind;
DROP SCHEMA alt CASCADE;
