#!/usr/bin/env bash
# A stream table that somebody has written to behind our back: a delta that does not find the rows it takes away says so and compares,
# whichever way it looks for them, and also when it finds none at all.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
q_script > /dev/null <<'SQL'
CREATE TABLE keyed (id int PRIMARY KEY, v int, t text);
CREATE TABLE plain (v int, t text);
CREATE TABLE num (id int PRIMARY KEY, n numeric);
INSERT INTO keyed SELECT g, g, 'a' FROM generate_series(1, 9) g;
INSERT INTO plain SELECT 1, 'b' FROM generate_series(1, 3);
INSERT INTO num VALUES (1, 1.0), (2, 2.0);
SELECT pgtrickle.create_stream_table('keyed_st', 'SELECT id, v, t FROM keyed', '1d', 'DIFFERENTIAL');
SELECT pgtrickle.create_stream_table('plain_st', 'SELECT v, t FROM plain', '1d', 'DIFFERENTIAL');
SELECT pgtrickle.create_stream_table('num_st', 'SELECT id, n FROM num', '1d', 'DIFFERENTIAL');
SELECT pgtrickle.create_stream_table('bare_st', 'SELECT id, v FROM keyed', '1d', 'DIFFERENTIAL');
DO $$ DECLARE i regclass; BEGIN FOR i IN SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'bare_st'::regclass LOOP EXECUTE 'DROP INDEX ' || i; END LOOP; END $$;
SQL
behind="SET session_replication_role = replica;"                # the guard does not see it

# drift NAME ST TAMPER CHANGE: after TAMPER behind the guard's back, CHANGE of the source meets a stream table without its rows
drift()
{
	q "SELECT pgtrickle.refresh_stream_table('$2')" > /dev/null
	q "$behind $3"
	q "$4"
	q "SELECT pgtrickle.refresh_stream_table('$2')" > /dev/null
	check_sql "$1: noticed, and compared" "SELECT action || ': ' || reason FROM pgtrickle.pgt_refresh_history
		WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = '$2') ORDER BY refresh_id DESC LIMIT 1" \
		"REINITIALIZE: the delta program failed: the stream table does not hold the rows that the change takes away"
	assert_st_equal "$2" "$1: equal again"
}

drift "the only row of an update is gone" keyed_st "DELETE FROM keyed_st WHERE id = 1" "UPDATE keyed SET v = v + 10 WHERE id = 1"
drift "one of three updated rows is gone" keyed_st "DELETE FROM keyed_st WHERE id = 2" "UPDATE keyed SET v = v + 10 WHERE id IN (1, 2, 3)"
drift "one of three deleted rows is gone" keyed_st "DELETE FROM keyed_st WHERE id = 4" "DELETE FROM keyed WHERE id IN (4, 5, 6)"
drift "one row updated, one deleted, the first has another value" keyed_st "UPDATE keyed_st SET v = -1 WHERE id = 1" "UPDATE keyed SET v = 0 WHERE id = 1; DELETE FROM keyed WHERE id = 2"
drift "a row under the same key is there, but another" keyed_st "UPDATE keyed_st SET t = 'z' WHERE id = 7" "UPDATE keyed SET t = 'c' WHERE id = 7"
drift "without a key: a copy is missing" plain_st "DELETE FROM plain_st WHERE ctid = (SELECT min(ctid) FROM plain_st)" "DELETE FROM plain"
q "INSERT INTO plain SELECT 1, 'b' FROM generate_series(1, 3)"
drift "without a key: none is there" plain_st "DELETE FROM plain_st" "UPDATE plain SET t = 'c'"
drift "values with several images" num_st "DELETE FROM num_st WHERE id = 1" "UPDATE num SET n = n + 1"
drift "without an index" bare_st "DELETE FROM bare_st WHERE id = 8" "UPDATE keyed SET v = v + 1 WHERE id IN (8, 9)"

# groups: the row of one is gone, or holds fewer than the change takes away; and whoever reads a stream table that was put right
q "CREATE TABLE sale (shop int, amount int); INSERT INTO sale SELECT g % 3, g FROM generate_series(1, 30) g;
   SELECT pgtrickle.create_stream_table('group_st', 'SELECT shop, count(*) AS n, sum(amount) AS total FROM sale GROUP BY shop', '1d', 'DIFFERENTIAL');
   SELECT pgtrickle.create_stream_table('reader_st', 'SELECT n, sum(total) AS total, count(*) AS shops FROM group_st GROUP BY n', '1d', 'DIFFERENTIAL');
   SELECT pgtrickle.create_stream_table('copy_st', 'SELECT id, v FROM keyed_st WHERE v <> 3', '1d', 'DIFFERENTIAL')" > /dev/null
q "SELECT pgtrickle.refresh_stream_table(n) FROM unnest('{reader_st,copy_st}'::text[]) n" > /dev/null
drift "the row of a group is gone" group_st "DELETE FROM group_st WHERE shop = 1" "DELETE FROM sale WHERE shop = 1 AND amount < 9"
assert_st_equal reader_st "its reader: equal again"
drift "a group has fewer rows than go" group_st "UPDATE group_st SET n = 1 WHERE shop = 2" "DELETE FROM sale WHERE shop = 2 AND amount < 15"
assert_st_equal reader_st "its reader, again"
drift "a stream table that others read" keyed_st "DELETE FROM keyed_st WHERE id IN (1, 7)" "UPDATE keyed SET v = v + 5 WHERE id = 1"
assert_st_equal copy_st "the others: equal again"

# what is missing from the other side is no drift: as many copies go as the delta takes, and not more
q "INSERT INTO plain SELECT 5, 'five' FROM generate_series(1, 5)"
q "SELECT pgtrickle.refresh_stream_table('plain_st')"
q "DELETE FROM plain WHERE ctid IN (SELECT ctid FROM plain WHERE v = 5 LIMIT 3)"
assert_st_equal plain_st "three of five copies"
check_sql "by the delta" "SELECT action || ' ' || rows_deleted FROM pgtrickle.pgt_refresh_history
	WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'plain_st') ORDER BY refresh_id DESC LIMIT 1" "DIFFERENTIAL 3"
done_testing
