#!/usr/bin/env bash
# A refresh by hand that expected to compare, and finds when it has its locks that another has just done so: it goes by the change
# buffers, and has to wait until what it sees has been captured.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 10) g"
consumer_start
q "SELECT pgtrickle.create_stream_table('s', 'SELECT id, v FROM t', '1d', 'DIFFERENTIAL')" 2> /dev/null
poll_until "SELECT is_populated AND NOT needs_reinit FROM pgtrickle.pgt_stream_tables" t || fail "loaded"
assert_st_equal s

kill -STOP "${CONSUMERS[0]}"                             # nothing is captured for now
q "SELECT pgtrickle._mark_full(array_agg(pgt_id), 'a test') FROM pgtrickle.pgt_stream_tables"
coproc HOLD { "$PGT_BIN/psql" -XAtq; }
hold_pid=$HOLD_PID
printf '%s\n' "BEGIN; SELECT pgtrickle.refresh_stream_table('s');" "SELECT 'compared';" >&"${HOLD[1]}"
while read -r -t 20 line <&"${HOLD[0]}" && [ "$line" != compared ]; do :; done
check_eq "the first compares, and holds its lock" "$line" compared
PGAPPNAME=second q "SELECT pgtrickle.refresh_stream_table('s')" > "$PGT_DIR/second" 2>&1 &
second=$!
check_poll "the second waits for the lock" "SELECT wait_event_type FROM pg_stat_activity WHERE application_name = 'second'" Lock
q "INSERT INTO t VALUES (11, 11)" -c "UPDATE t SET v = 0 WHERE id = 1"
printf '%s\n' "COMMIT;" '\q' >&"${HOLD[1]}"
wait "$hold_pid" 2> /dev/null
check_poll "then for what has not been captured" "SELECT wait_event_type FROM pg_stat_activity WHERE application_name = 'second'" Extension
kill -CONT "${CONSUMERS[0]}"
wait $second
check_eq "and ends" "$?:$(cat "$PGT_DIR/second")" "0:"
check_sql "with the changes" "SELECT count(*), min(v) FROM s" "11|0"
check_sql "by the change buffers" "SELECT action || ' ' || delta_row_count FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 1" "DIFFERENTIAL 3"
assert_st_equal s
done_testing
