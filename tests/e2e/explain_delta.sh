#!/usr/bin/env bash
# explain_delta with analyze: says what a refresh of the pending changes reads and writes, and leaves nothing behind.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
q "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, amount numeric(12,2), divisor int DEFAULT 1);
   INSERT INTO orders SELECT i, i % 500, i FROM generate_series(1, 5000) i;
   ANALYZE orders;
   CREATE ROLE somebody LOGIN;
   GRANT USAGE ON SCHEMA pgtrickle TO somebody"
q "SELECT pgtrickle.create_stream_table('totals', 'SELECT customer, count(*) AS n, sum(amount) AS amount FROM orders GROUP BY customer', schedule => '1d')" 2> /dev/null
q "SELECT pgtrickle.create_stream_table('large', 'SELECT customer FROM totals WHERE n > 10', schedule => '1d')" 2> /dev/null
q "SELECT pgtrickle.create_stream_table('parts', 'SELECT id, 100 / divisor AS share FROM orders', schedule => '1d')" 2> /dev/null

json() { q "SELECT j FROM pgtrickle.explain_delta('$1', 'json', \"analyze\" => true) j"; }
field() { echo "$1" | /usr/bin/python3 -c "import json, sys; print(json.load(sys.stdin)['$2'])"; }
everything()
{
	q "SELECT md5(string_agg(x, '|' ORDER BY x)) FROM (
		SELECT 't' || t.*::text AS x FROM totals t UNION ALL SELECT 'l' || l.*::text FROM large l
		UNION ALL SELECT 's' || s.*::text FROM pgtrickle.pgt_state s UNION ALL SELECT 'f' || f.*::text FROM pgtrickle.pgt_frontiers f
		UNION ALL SELECT 'h' || h.*::text FROM pgtrickle.pgt_refresh_history h UNION ALL SELECT 'b' || b.*::text FROM pgtrickle_changes.st_1 b) x"
}

none=$(json totals)
check_eq "nothing pending" "$(field "$none" action) $(field "$none" buffers)" "NO_DATA 0"

q "INSERT INTO orders VALUES (100000, 7, 5); UPDATE orders SET amount = 0 WHERE id = 8; DELETE FROM orders WHERE id = 9"
before=$(everything)
first=$(json totals)
check_eq "the pending changes are shown" "$(field "$first" action) $(field "$first" strategy) $(field "$first" changes)" "DIFFERENTIAL weights 4"
check_eq "and the rows they would change" "$(field "$first" rows_inserted) $(field "$first" rows_deleted)" "3 3"
check_eq "steps add up" "$(echo "$first" | /usr/bin/python3 -c "
import json, sys
j = json.load(sys.stdin)
s = j['steps']
print(sum(x['buffers'] for x in s) == j['buffers'] > 0, sum(x['rows_read'] for x in s) == j['rows_read'] > 0, all('Plan' in x['plan'] for x in s))")" "True True True"
check_eq "what was there is there unchanged" "$(everything)" "$before"
second=$(json totals)
check_eq "it shows the same once more" "$(field "$second" rows_read) $(field "$second" rows_inserted)" "$(field "$first" rows_read) 3"
check_sql "as text" "SELECT count(*) FILTER (WHERE l LIKE '-- DIFFERENTIAL: 4 changes of sources, 3 rows inserted, 3 rows deleted; rolled back'), count(*) FILTER (WHERE l LIKE '-- total: read % rows of tables, % buffers, % ms'), count(*) > 5
	FROM pgtrickle.explain_delta('totals', \"analyze\" => true) l" "1|1|t"

out=$(q_script <<'SQL'
BEGIN;
SELECT count(*) > 0 FROM pgtrickle.explain_delta('totals', 'text', true);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND (locktype = 'object' OR (locktype = 'relation' AND relation IN ('orders'::regclass, 'totals'::regclass)));
SELECT pgtrickle.refresh_stream_table('totals');
SELECT pgtrickle.explain_delta('large', 'json', true)::jsonb->>'changes';
SELECT n FROM totals WHERE customer = 7;
COMMIT;
SQL
)
check_eq "locks are given back at once; within a transaction it sees its refreshes" "$(echo "$out" | tr '\n' ' ')" "t 0  6 11 "
assert_st_equal totals
assert_st_equal large

# An error comes out as such, and the transaction it was caught in is as it was.
q "INSERT INTO orders VALUES (100001, 7, 5, 0)"
check_error "an error of the query is the error" "SELECT * FROM pgtrickle.explain_delta('parts', 'text', true)" 22012
q "DO \$\$ BEGIN
	BEGIN PERFORM pgtrickle.explain_delta('parts', 'text', true); EXCEPTION WHEN division_by_zero THEN CREATE TABLE caught (); END;
	PERFORM pgtrickle.refresh_stream_table('totals');
END \$\$"
check_sql "caught" "SELECT count(*) FROM pg_class WHERE relname = 'caught'" 1
q "DO \$\$ BEGIN
	BEGIN PERFORM pgtrickle.refresh_stream_table('parts'); EXCEPTION WHEN division_by_zero THEN CREATE TABLE caught_too (); END;
END \$\$"
check_sql "as with a refresh" "SELECT count(*) FROM pg_class WHERE relname = 'caught_too'" 1
assert_st_equal totals
PGUSER=somebody check_error "owners only" "SELECT * FROM pgtrickle.explain_delta('totals', 'text', true)" 42501
check_error "not where rows could be seen twice" "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM pgtrickle.explain_delta('totals', 'text', true)" 0A000
q "DELETE FROM orders WHERE divisor = 0"
assert_st_equal parts
done_testing
