#!/usr/bin/env bash
# The whole path once: source, stream table, consumer, writes, refresh, equality; what the extension promises about its footprint.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new

q "CREATE TABLE orders (id int PRIMARY KEY, customer text, amount numeric(10,2))"
q "INSERT INTO orders SELECT g, 'c' || g % 3, g FROM generate_series(1, 30) g"
q "SELECT pgtrickle.create_stream_table('totals', 'SELECT customer, count(*) AS n, sum(amount) AS total FROM orders GROUP BY customer',
   schedule => '1h')"
check_sql "the first load is there at once" "SELECT customer, n, total FROM totals ORDER BY 1" "c0|10|165.00
c1|10|145.00
c2|10|155.00"
consumer_start
assert_st_equal totals "equal after the consumer has started"

q "INSERT INTO orders VALUES (31, 'new', 7)"
q "UPDATE orders SET amount = amount + 1 WHERE customer = 'c1'"
q "DELETE FROM orders WHERE id <= 3"
assert_st_equal totals "equal after insert, update, delete"
check_sql "the refresh was incremental" "SELECT action FROM pgtrickle.get_refresh_history('totals', 1)" DIFFERENTIAL
check_sql "verify finds no difference" "SELECT missing, extra FROM pgtrickle.verify_stream_table('totals')" "0|0"

q "BEGIN; INSERT INTO orders VALUES (40, 'a', 1); SAVEPOINT s; DELETE FROM orders; ROLLBACK TO s; UPDATE orders SET customer = 'b' WHERE id = 40; COMMIT"
assert_st_equal totals "equal after a rolled back savepoint"
q "TRUNCATE orders"
assert_st_equal totals "equal after truncate"
check_sql "and empty" "SELECT count(*) FROM totals" 0
q "INSERT INTO orders VALUES (1, 'again', 5)"
assert_st_equal totals "equal when rows come back"

q "SELECT pgtrickle.alter_stream_table('totals', schedule => '100ms')"
q "INSERT INTO orders SELECT g, 'c' || g % 3, g FROM generate_series(100, 200) g"
check_poll "the scheduler refreshes by itself" "SELECT sum(n) FROM totals" 102 10
assert_st_current totals

check_sql "no trigger of ours on the source" "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass" 0
check_error "direct DML on a stream table is refused" "DELETE FROM totals" 42809
consumer_stop TERM
check_eq "the consumer ends with exit code 0 on SIGTERM" $? 0
check_eq "the server's log has one error: the refused DML" "$(grep -c ' ERROR: ' "$CLUSTER_LOG")" 1
q "SELECT pgtrickle.drop_stream_table('totals')"
check_sql "drop takes the buffer along" "SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname LIKE 'changes%'" 0
q "DROP EXTENSION pg_trickle CASCADE" 2> /dev/null
check_sql "DROP EXTENSION leaves no schema" "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgtrickle%'" 0
done_testing
