#!/usr/bin/env bash
# The control plane needs no df_* table: with contention signalled, pairs separated, then everything suspended, broken, dropped, refreshes go on.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/selfmon.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.self_monitoring_auto_apply=full
extension_new
q "CREATE TABLE t (g int, x int); INSERT INTO t SELECT g % 5, g FROM generate_series(1, 100) g"
for st in a b c; do
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '100ms')" > /dev/null
done
q "SELECT pgtrickle.create_stream_table('d', 'SELECT sum(s) AS s FROM a', schedule => '100ms')" > /dev/null
n=100
works()
{
	n=$((n + 1))
	q "INSERT INTO t VALUES (1, $n)"
	check_poll "$1: refreshed on schedule" "SELECT (SELECT sum(s) FROM b) || ',' || (SELECT sum(s) FROM c) || ',' || (SELECT s FROM d)" "$((n * (n + 1) / 2)),$((n * (n + 1) / 2)),$((n * (n + 1) / 2))"
}
connected() { echo "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trickle-consumer policy'"; }
said() { [ "$(grep -c "$1" "$PGT_DIR/consumer.log")" -ge "${2:-1}" ]; }

consumer_start
works "without self-monitoring"
check_sql "there is no connection for it" "$(connected)" 0

df_advice_new
df_signals_new
df_buffers_new
df_interference_new
interfere b c 5 2.0
check "contention is seen" poll_cmd 30 said 'refreshes overlap'
check_poll "a pair is separated" "SELECT setting FROM pgtrickle.pgt_policy_actions" sequence
works "with contention and a separated pair"

for df in threshold_advice anomaly_signals cdc_buffer_trends scheduling_interference; do
	q "SELECT pgtrickle.suspend_stream_table('pgtrickle.df_$df')" > /dev/null
done
check "suspended, df_scheduling_interference says nothing any more" poll_cmd 30 said 'refreshes do not overlap'
works "suspended"

# what they say is nonsense: the wrong table under the name
q "SELECT pgtrickle.drop_stream_table('pgtrickle.df_scheduling_interference'); DROP TABLE interference"
q "CREATE TABLE interference (pgt_id_a text)"
df_new df_scheduling_interference interference
check "an error of the policy is a WARNING" poll_cmd 30 said 'WARNING.*does not exist'
works "broken"

# dropped while the policy reads
for df in threshold_advice anomaly_signals cdc_buffer_trends scheduling_interference; do
	q "SELECT pgtrickle.drop_stream_table('pgtrickle.df_$df')" > /dev/null
done
works "dropped"
check_poll "what stood is put back" "SELECT count(*) FROM pgtrickle.pgt_policy_actions" 0
check_poll "the connection has gone" "$(connected)" 0 20
consumer_kill
consumer_start
works "after a restart"
check_sql "still none" "$(connected)" 0

# the real ones
q "SELECT pgtrickle.setup_self_monitoring()" 2> /dev/null
works "set up"
q "SELECT pgtrickle.teardown_self_monitoring()"
works "torn down"

for st in a b c d; do assert_st_equal $st; done
check_sql "no refresh of theirs failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
consumer_stop TERM
check_eq "SIGTERM: exit code 0" $? 0
done_testing
