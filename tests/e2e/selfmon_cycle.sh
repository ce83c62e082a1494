#!/usr/bin/env bash
# The whole circle with the real df_* tables: history → DF-1, DF-2, DF-3, DF-5 → threshold raised, spike announced, dispatch widened.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/selfmon.sh"
. "$PGT_TOP/tests/lib/alerts.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.self_monitoring_auto_apply=threshold_only
extension_new
q "CREATE TABLE t (g int, x int); INSERT INTO t SELECT g % 5, g FROM generate_series(1, 100) g"
for st in fast spiky calm; do
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '1h')" > /dev/null 2>&1
done
q "DELETE FROM pgtrickle.pgt_refresh_history"            # the first loads
q "SELECT pgtrickle.setup_self_monitoring()" 2> /dev/null
for df in efficiency_rolling anomaly_signals threshold_advice scheduling_interference; do
	q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_$df', schedule => '300ms')" > /dev/null
done
alerts_listen self_monitor_anomaly name anomaly state last_ms baseline_ms
consumer_start
check_poll "the five tables are filled" "SELECT count(*) FROM pgtrickle.self_monitoring_status() WHERE status = 'ACTIVE'" 5

# past ST ACTION MS SECONDS_AGO [COUNT [STATUS]]: refreshes that ended that long ago, one a second before it
past()
{
	q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, delta_row_count, source_row_count)
	   SELECT $(st_id "$1"), e.at, e.at - interval '$3 ms', e.at, '$2', '${6:-COMPLETED}', 'SCHEDULER', 1, 100
	     FROM generate_series(${5:-1} - 1, 0, -1) g, LATERAL (SELECT now() - interval '$4 seconds' - g * interval '1 second' AS at) e"
}

# ---- thresholds: incremental refreshes cost a twentieth
past fast FULL 100 100 2
past fast DIFFERENTIAL 5 60 30
past calm DIFFERENTIAL 5 60 3
check_poll "DF-3 advises more" "SELECT confidence, recommended_threshold > 0.15 FROM pgtrickle.df_threshold_advice WHERE pgt_name = 'fast'" "HIGH|t"
check_poll "and gets it" "$(threshold fast)" 0.18
check_poll "then advises from there" "SELECT current_threshold, round(recommended_threshold::numeric, 4), confidence FROM pgtrickle.df_threshold_advice WHERE pgt_name = 'fast'" "0.18|0.2160|HIGH"
check_sql "once in ten minutes" "$(audits fast)" 1
check_sql "too few refreshes: nothing is done" "$(threshold calm)" default
age_changes 11
past fast DIFFERENTIAL 5 50
check_poll "after ten minutes it goes on" "$(threshold fast)" 0.216

# ---- anomalies
past spiky DIFFERENTIAL 10 45 5
check_poll "ten milliseconds are usual" "SELECT baseline_ms, duration_anomaly IS NULL FROM pgtrickle.df_anomaly_signals WHERE pgt_name = 'spiky'" "10|t"
past spiky DIFFERENTIAL 29 40
check_poll "29 are much" "SELECT last_duration_ms, duration_anomaly IS NULL FROM pgtrickle.df_anomaly_signals WHERE pgt_name = 'spiky'" "29|t"
past spiky DIFFERENTIAL 100 35
check "100 are a spike, and are announced" poll_cmd 30 seen '^spiky DURATION_SPIKE begin 100 '
past spiky DIFFERENTIAL 11 30
check "it ends" poll_cmd 30 seen '^spiky DURATION_SPIKE end '
past calm DIFFERENTIAL 10 20 2 FAILED
check "two failures are a burst" poll_cmd 30 seen '^calm ERROR_BURST begin '
check_eq "announced: these three" "$(awk 'NR > 1 { print $1, $2, $3 }' "$events" | paste -sd,)" "spiky DURATION_SPIKE begin,spiky DURATION_SPIKE end,calm ERROR_BURST begin"

# ---- contention: four refreshes of two stream tables that met
said() { [ "$(grep -c "$1" "$PGT_DIR/consumer.log")" -ge "${2:-1}" ]; }
check_sql "nothing overlaps yet" "SELECT count(*) FROM pgtrickle.df_scheduling_interference WHERE st_name_a NOT LIKE '%.df_%' AND st_name_b NOT LIKE '%.df_%'" 0
past fast DIFFERENTIAL 900 10 5
past spiky DIFFERENTIAL 900 10 5
check_poll "DF-5 sees it" "SELECT overlap_count >= 3 FROM pgtrickle.df_scheduling_interference WHERE st_name_a LIKE 'public.%' AND st_name_b LIKE 'public.%'" t
check "the consumer too" poll_cmd 30 said 'refreshes overlap'
cluster_set pg_trickle.self_monitoring_widen_dispatch=off
cluster_reload
check "it can be told not to care" poll_cmd 30 said 'refreshes do not overlap'

check_sql "nothing of all this failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions d USING (pgt_id) WHERE h.status = 'FAILED' AND d.pgt_schema = 'pgtrickle'" 0
check_eq "nor warned" "$(grep -c 'WARNING.*policy' "$PGT_DIR/consumer.log")" 0
for df in efficiency_rolling anomaly_signals threshold_advice; do
	check_sql "df_$df equals its query" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.df_$df')" "0|0"
done
for st in fast spiky calm; do assert_st_equal $st; done
done_testing
