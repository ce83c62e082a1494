#!/usr/bin/env bash
# Expired history goes in small transactions while refreshes write history and DF-1 reads its capture: nobody waits for a lock.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.history_purge_batch_size=100 log_lock_waits=on deadlock_timeout=50ms \
	"log_line_prefix='%n %a '" "shared_preload_libraries='pg_trickle'" log_statement=all
extension_new
q "CREATE TABLE t (g int, x int); INSERT INTO t SELECT g % 5, g FROM generate_series(1, 100) g"
for st in a b c; do
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '100ms')" > /dev/null
done
q "SELECT pgtrickle.setup_self_monitoring()" 2> /dev/null
for df in efficiency_rolling anomaly_signals; do q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_$df', schedule => '200ms')" > /dev/null; done
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
   SELECT 1 + g % 3, at, at, at + interval '10 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER'
     FROM generate_series(1, 5050) g, LATERAL (SELECT now() - interval '91 days' - g * interval '1 second' AS at) x"
# the boundary: kept
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
   VALUES (1, now() - interval '89 days', now() - interval '89 days', now() - interval '89 days', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER')"
check_sql "a batch is read from an index, not from the whole history" "SET enable_seqscan = on; EXPLAIN (COSTS OFF)
	SELECT refresh_id FROM pgtrickle.pgt_refresh_history h WHERE h.start_time < now() - interval '90 days' ORDER BY h.start_time LIMIT 100 FOR UPDATE SKIP LOCKED" \
	"$(printf 'Limit\n  ->  LockRows\n        ->  Index Scan using idx_hist_start on pgt_refresh_history h\n              Index Cond: (start_time < (now() - '"'90 days'"'::interval))')"
consumer_start
i=0
while [ "$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE start_time < now() - interval '90 days'")" -gt 0 ] && [ $i -lt 300 ]; do
	i=$((i + 1))
	q "INSERT INTO t VALUES ($((i % 5)), 1)"
done
check_sql "all expired rows are gone, the others stay" "SELECT count(*) FILTER (WHERE start_time < now() - interval '90 days') || ',' || count(*) FILTER (WHERE start_time < now() - interval '1 day')
	FROM pgtrickle.pgt_refresh_history" "0,1"
check "refreshes went on meanwhile ($i writes)" [ "$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE initiated_by = 'SCHEDULER' AND start_time > now() - interval '1 hour'")" -ge 3 ]
purges=$(grep -c 'trickle-consumer scheduler.*_history_purge()' "$CLUSTER_LOG")
check_eq "51 batches, one transaction each" "$purges" 51
check_eq "at least 50 ms apart" "$(grep 'trickle-consumer scheduler.*_history_purge()' "$CLUSTER_LOG" | awk 'NR > 1 && $1 - last < 0.049 { n++ } { last = $1 } END { print n + 0 }')" 0
check_eq "neither the purge nor a refresh waited for a lock" "$(grep -cE 'trickle-consumer (scheduler|refresh).*still waiting for' "$CLUSTER_LOG")" 0
for st in a b c; do assert_st_equal $st; done
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" > /dev/null
check_sql "DF-1 has not noticed: what goes is far behind its window" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.df_efficiency_rolling')" "0|0"
check_sql "nothing failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
check_sql "retention 0 keeps everything" "SET pg_trickle.history_retention_days = 0; SELECT pgtrickle._history_purge()" 0
done_testing
