#!/usr/bin/env bash
# Errors while a delta is computed: one that only the delta meets leads to a comparison, one of the query itself leaves the ST as it
# was, and it heals when the data do.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id int PRIMARY KEY, y int);
   INSERT INTO a VALUES (1, 2), (2, 9); INSERT INTO b VALUES (1, 1), (2, 1)"
consumer_start
q "SELECT pgtrickle.create_stream_table('s', 'SELECT a.id, 1.0 / (a.x - b.y) AS q FROM a JOIN b ON b.id = a.id', schedule => '1d')" > /dev/null 2>&1
poll_until "SELECT NOT needs_reinit FROM pgtrickle.pgt_stream_tables" t 10 || q "SELECT pgtrickle.refresh_stream_table('s')"

# old x = 2 meets new y = 2 in the product of both deltas, though the two never stood together
q "BEGIN; UPDATE a SET x = 5 WHERE id = 1; UPDATE b SET y = 2 WHERE id = 1; COMMIT"
assert_st_equal s
check_sql "an error that only the delta meets leads to a comparison, and says so" \
	"SELECT action || ': ' || reason FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 1" \
	"REINITIALIZE: the delta program failed: division by zero"

before=$(q "SELECT string_agg(s::text, ' ' ORDER BY id) FROM s")
q "UPDATE b SET y = 5 WHERE id = 1"
check_eq "an error of the query is the caller's, with its SQLSTATE" \
	"$(q "SELECT pgtrickle.refresh_stream_table('s')" -v VERBOSITY=sqlstate 2>&1)" "ERROR:  22012"
check_sql "and leaves the stream table as it was" "SELECT string_agg(s::text, ' ' ORDER BY id) FROM s" "$before"
q "UPDATE b SET y = 6 WHERE id = 1"
assert_st_equal s
done_testing
