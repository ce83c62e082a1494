#!/usr/bin/env bash
# scheduler_overhead() over a history whose figures are known, and over one of our own making.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (g int, x int); INSERT INTO t SELECT g % 5, g FROM generate_series(1, 100) g"
q "SELECT pgtrickle.create_stream_table('a', 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '10s')" > /dev/null
q "SELECT pgtrickle.setup_self_monitoring()" 2> /dev/null
q "DELETE FROM pgtrickle.pgt_refresh_history"
check_sql "without history: nothing to say, no error" "SELECT coalesce(scheduler_busy_ratio, 0), avg_dispatch_latency_ms, df_refresh_fraction, total_refreshes, busy_ms FROM pgtrickle.scheduler_overhead()" "0|||0|0"

# In the last hour: a runs 36 times for 2 s, each begun 500 ms after it was due; beside each, DF-1 runs for 20 ms; one of a failed.
# Before it: one that does not count.  What the policy wrote does not count either.
add()
{
	q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, freshness_deadline)
	   SELECT d.pgt_id, s.at, s.at, s.at + interval '$3 ms', 'DIFFERENTIAL', '$4', '$5', s.at - interval '500 ms' + make_interval(secs => pgtrickle._schedule_seconds(d.schedule))
	     FROM pgtrickle.pgt_definitions d, generate_series(1, $2) g, LATERAL (SELECT now() - interval '$6' - g * interval '99 seconds' AS at) s WHERE d.pgt_name = '$1'"
}
add a 35 2000 COMPLETED SCHEDULER '0 seconds'
add a 1 2000 FAILED SCHEDULER '3500 seconds'
add df_efficiency_rolling 36 20 COMPLETED SCHEDULER '0 seconds'
add a 1 100000 COMPLETED SCHEDULER '2 hours'
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
   SELECT pgt_id, now(), now() - interval '1 minute', now(), 'SKIP', 'SKIPPED', 'SELF_MONITOR' FROM pgtrickle.pgt_definitions WHERE pgt_name = 'a'"
# the failed one lies 3,599 s back, the 36th of DF-1 3,564 s; the first of a covers DF-1's
check_sql "busy 72 of 3,600 s, half a second late, 1 % for the df_* tables" \
	"SELECT round(scheduler_busy_ratio::numeric, 4), round(avg_dispatch_latency_ms::numeric), round(df_refresh_fraction::numeric, 4), total_refreshes, df_refreshes, busy_ms, df_busy_ms, window_seconds FROM pgtrickle.scheduler_overhead()" \
	"0.0200|500|0.0099|72|36|72720|720|3600"
check_sql "overlapping refreshes are one busy time" "SELECT busy_ms / 1000 / window_seconds > scheduler_busy_ratio FROM pgtrickle.scheduler_overhead()" t

# its own: five cycles and more
q "DELETE FROM pgtrickle.pgt_refresh_history"
q "SELECT pgtrickle.alter_stream_table('a', schedule => '100ms')" > /dev/null
consumer_start
for i in 1 2 3 4 5 6; do
	q "INSERT INTO t VALUES (1, 1)"
	poll_until "SELECT count(*) >= $i FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_name = 'a' AND status = 'COMPLETED'" t
done
check_sql "after six cycles every figure is there" "SELECT num_nulls(o.scheduler_busy_ratio, o.queue_depth, o.avg_dispatch_latency_ms, o.df_refresh_fraction) || ' ' ||
	(scheduler_busy_ratio BETWEEN 0 AND 1) || ' ' || (df_refresh_fraction BETWEEN 0 AND 1) || ' ' || (total_refreshes >= 6) FROM pgtrickle.scheduler_overhead() o" "0 true true true"
# an idle ST whose schedule came around long ago is not late when a change comes
q "SELECT pg_sleep(2)" > /dev/null                      # the time in which its schedule passes unused
q "DELETE FROM pgtrickle.pgt_refresh_history"
q "INSERT INTO t VALUES (2, 1)"
poll_until "SELECT count(*) >= 1 FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_name = 'a'" t
check_sql "late is counted from when there was something to do" "SELECT avg_dispatch_latency_ms < 1500 FROM pgtrickle.scheduler_overhead()" t
check_sql "its deadline is one schedule later" "SELECT bool_and(freshness_deadline <= start_time + interval '100 ms' AND freshness_deadline > start_time - interval '1400 ms')
	FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_name = 'a' AND initiated_by = 'SCHEDULER'" t
consumer_kill
q "SELECT pgtrickle.alter_stream_table('a', schedule => '10ms')" > /dev/null
q "INSERT INTO t VALUES (2, 1)"
check_poll "nobody refreshes: it waits" "SELECT queue_depth >= 1 FROM pgtrickle.scheduler_overhead()" t 20
consumer_start
assert_st_equal a
done_testing
