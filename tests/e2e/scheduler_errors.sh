#!/usr/bin/env bash
# Refreshes that fail, wait or lose their connection: recorded, retried, suspended, and without harm for the others.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.max_consecutive_errors=2 pg_trickle.barrier_timeout=500ms wal_sender_timeout=60s
extension_new
create() { q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('$1', '$2', schedule => '$3')"; }
status() { echo "SELECT status FROM pgtrickle.pgt_stream_tables WHERE pgt_name = '$1'"; }
failed() { echo "SELECT count(*) FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = '$1' AND h.status = 'FAILED'"; }

q "CREATE TABLE t (id int, v int); CREATE TABLE u (id int); INSERT INTO t VALUES (1, 1)"
create bad "SELECT id, 100 / v AS x FROM t" continuous
create reader "SELECT count(*) AS n FROM bad" continuous
create good "SELECT count(*) AS n FROM t" continuous
create other "SELECT count(*) AS n FROM u" continuous
consumer_start "$PGT_SLOT" -v
q "INSERT INTO t VALUES (2, 2); INSERT INTO u VALUES (1)"
check_poll "all is well at first" "SELECT (SELECT n FROM reader) || ',' || (SELECT n FROM good) || ',' || (SELECT n FROM other)" "2,2,1" 20

# a failure of its own: recorded, tried again, suspended
q "INSERT INTO t VALUES (3, 0)"
check_poll "a failing refresh is suspended after two errors" "$(status bad)" SUSPENDED 30
check_sql "each is in the history" "$(failed bad)" 2
check_sql "with message and SQLSTATE" "SELECT DISTINCT error_message || '|' || error_state FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" "division by zero|22012"
check_poll "others on the same table go on" "SELECT n FROM good" 3 20
check_sql "its reader is not blamed" "$(failed reader)" 0
check_sql "and keeps what it had" "SELECT n FROM reader" 2
q "UPDATE t SET v = 4 WHERE v = 0"
q "SELECT pgtrickle.resume_stream_table('bad')" > /dev/null
check_poll "resumed, it catches up, and its reader with it" "SELECT n FROM reader" 3 20
assert_st_current bad
check_sql "the error count starts over" "SELECT consecutive_errors FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'bad'" 0

# a lock on one source: waits, blames nobody, the others go on
mkfifo "$PGT_DIR/lock"
"$PGT_BIN/psql" -XAtq < "$PGT_DIR/lock" > "$PGT_DIR/lock.out" 2>&1 &
exec 7> "$PGT_DIR/lock"
echo "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; INSERT INTO t VALUES (10, 10);" >&7
poll_until "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessExclusiveLock' AND granted" 1
q "INSERT INTO u VALUES (2)"
check_poll "a locked table holds up only its own readers" "SELECT n FROM other" 2 20
echo "COMMIT;" >&7
check_poll "they follow when the lock is gone" "SELECT n FROM good" 4 20
exec 7>&-
check_sql "nothing of that is a failure" "$(failed good)" 0

# the stream stands still: no answer to barriers, locks are given back, nothing is recorded
sender=$(q "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'trickle'")
kill -STOP "$sender"
q "INSERT INTO t VALUES (11, 11)"
poll_until "SELECT pg_current_wal_lsn() > '0/0'" t
began=$(date +%s%N)
check "a TRUNCATE is not held up while the stream stands still" q "SET lock_timeout = '5s'; TRUNCATE t"
check "for long" test $((($(date +%s%N) - began) / 1000000)) -lt 4000
check_poll "no refresh sits on its locks" "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trickle-consumer refresh' AND state LIKE 'idle in%'" 0 10
kill -CONT "$sender"
check_poll "and on it goes" "SELECT n FROM good" 0 30
check_poll "for all" "SELECT n FROM reader" 0 30
check_sql "nothing of that is a failure either" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 2

# refresh connections die
for i in 1 2 3; do
	q "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name IN ('trickle-consumer refresh', 'trickle-consumer scheduler')" > /dev/null
	q "INSERT INTO t SELECT g, 1 FROM generate_series(1, 10) g"
	check_poll "connections lost $i: refreshed over new ones" "SELECT n FROM good" $((i * 10)) 20
done
check_sql "nobody was blamed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 2
check_sql "two failures, two errors in the consumer's log, and no more" "SELECT $(grep -c ' ERROR ' "$PGT_DIR/consumer.log")" 2

# expired history goes, in batches
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status)
   SELECT 1, now() - interval '400 days', now() - interval '400 days', now() - interval '400 days', 'FULL', 'COMPLETED' FROM generate_series(1, 1200)"
consumer_stop TERM
consumer_start "$PGT_SLOT" -v
check_poll "expired history is purged" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE start_time < now() - interval '300 days'" 0 30
check_sql "and only that" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 2

# dropped while scheduled
q "SELECT pgtrickle.drop_stream_table('reader')" > /dev/null
q "INSERT INTO t VALUES (1, 1)"
check_poll "a dropped one does not hold up the others" "SELECT n FROM good" 31 20
for st in bad good other; do assert_st_current $st; done
consumer_stop TERM
check_eq "SIGTERM: exit code 0" $? 0
done_testing
