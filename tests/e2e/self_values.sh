#!/usr/bin/env bash
# What the df_* tables say, over history written by hand: every figure against one worked out here.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
consumer_start
q "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g % 3 FROM generate_series(1, 30) g; ANALYZE t"

# new_st NAME [schedule]: a stream table without history
new_st()
{
	q "SELECT pgtrickle.create_stream_table('$1', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '${2:-1h}')" > /dev/null 2>&1
	q "DELETE FROM pgtrickle.pgt_refresh_history h USING pgtrickle.pgt_definitions d WHERE d.pgt_id = h.pgt_id AND d.pgt_name = '$1'"
}
id_of() { echo "(SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = '$1')"; }
# row ST AGE ACTION MS [status] [initiated_by] [delta] [source rows]: a refresh that began AGE ago and took MS
row()
{
	q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, delta_row_count, source_row_count)
	   SELECT $(id_of "$1"), s, s, s + $4 * interval '1 ms', '$3', '${5:-COMPLETED}', '${6:-SCHEDULER}', ${7:-1}, ${8:-100}
	     FROM (SELECT clock_timestamp() - interval '$2' AS s) x"
}
# rows ST AGE COUNT ACTION MS: COUNT refreshes, one second apart
rows()
{
	q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, delta_row_count, source_row_count)
	   SELECT $(id_of "$1"), s, s, s + $5 * interval '1 ms', '$4', 'COMPLETED', 'SCHEDULER', 1, 100
	     FROM (SELECT clock_timestamp() - interval '$2' - g * interval '1 s' AS s FROM generate_series(1, $3) g) x"
}
refresh() { local df; for df in "$@"; do q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_$df')" > /dev/null || fail "df_$df is refreshed"; done; }

for st in e1 e2 e3 e4; do new_st $st; done
# 10,000 rows over two hours, none of them within five minutes of the window's edge; every tenth failed, every 20th is an audit row
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, delta_row_count, source_row_count)
   SELECT d.pgt_id, s, s, s + (g * 7919 % 100003) * interval '1 us', (ARRAY['DIFFERENTIAL', 'DIFFERENTIAL', 'DIFFERENTIAL', 'FULL', 'REINITIALIZE'])[g % 5 + 1],
          CASE g % 10 WHEN 9 THEN 'FAILED' ELSE 'COMPLETED' END, CASE g % 20 WHEN 3 THEN 'SELF_MONITOR' ELSE 'SCHEDULER' END, g % 50, (g % 4) * 40
     FROM (SELECT g, clock_timestamp() - CASE WHEN g % 2 = 0 THEN interval '1 min' ELSE interval '65 min' END - (g / 2) * interval '648 ms' AS s
             FROM generate_series(1, 10000) g) x
     JOIN pgtrickle.pgt_definitions d ON d.pgt_name = 'e' || (g % 3 + 1);
   ANALYZE pgtrickle.pgt_refresh_history"
out=$(q "SELECT pgtrickle.setup_self_monitoring()" 2>&1)
check_eq "no warm-up notice with so much history" "$out" ""
check_poll "filled" "SELECT string_agg(DISTINCT status, ',') FROM pgtrickle.self_monitoring_status()" ACTIVE
q "SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '1h') FROM pgtrickle.self_monitoring_status()" > /dev/null

# ---------------------------------------------------------------- DF-1
efficiency="SELECT pgt_schema, pgt_name, total_refreshes, diff_count, full_count, avg_diff_ms, avg_full_ms, avg_change_ratio"
same_as_function()
{
	refresh efficiency_rolling
	check_sql "DF-1 equals refresh_efficiency('1 hour') $1" "WITH f AS ($efficiency FROM pgtrickle.refresh_efficiency('1 hour') WHERE pgt_name ~ '^e[0-9]'),
		d AS ($efficiency FROM pgtrickle.df_efficiency_rolling WHERE pgt_name ~ '^e[0-9]'), p AS (SELECT * FROM f WHERE total_refreshes > 0)
		SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM (TABLE p EXCEPT ALL TABLE d) x), (SELECT count(*) FROM (TABLE d EXCEPT ALL TABLE p) x)" "$2|0|0"
}
same_as_function "on 10,000 rows" 3
# worked out from the rows, without the product's arithmetic
check_sql "and the plain averages" "SELECT bool_and(e.total_refreshes = x.total AND e.diff_count = x.diff AND e.full_count = x.full_count AND abs(e.avg_diff_ms - x.diff_ms) < 1e-6
	   AND abs(e.avg_full_ms - x.full_ms) < 1e-6 AND abs(e.p95_diff_ms - x.p95) < 1e-6 AND abs(e.avg_change_ratio - x.ratio) < 1e-8 AND e.last_refresh_at = x.last), count(*)
	FROM pgtrickle.df_efficiency_rolling e JOIN (
	  SELECT pgt_id, count(*) AS total, sum((action = 'DIFFERENTIAL')::int) AS diff, sum((action <> 'DIFFERENTIAL')::int) AS full_count,
	         avg(CASE action WHEN 'DIFFERENTIAL' THEN ms END) AS diff_ms, avg(CASE WHEN action <> 'DIFFERENTIAL' THEN ms END) AS full_ms,
	         percentile_cont(0.95) WITHIN GROUP (ORDER BY CASE action WHEN 'DIFFERENTIAL' THEN ms END) AS p95, max(end_time) AS last,
	         avg(CASE WHEN action = 'DIFFERENTIAL' AND source_row_count > 0 THEN least(1, delta_row_count::float8 / source_row_count) END) AS ratio
	    FROM (SELECT *, extract(epoch FROM end_time)::float8 * 1000 - extract(epoch FROM start_time)::float8 * 1000 AS x, extract(epoch FROM end_time - start_time) * 1000::float8 AS ms
	            FROM pgtrickle.pgt_refresh_history) h
	   WHERE status = 'COMPLETED' AND initiated_by <> 'SELF_MONITOR' AND start_time > now() - interval '1 hour' GROUP BY pgt_id) x USING (pgt_id)
	WHERE e.pgt_name IN ('e1', 'e2', 'e3')" "t|3"
row e1 '30 s' DIFFERENTIAL 12.5
row e2 '20 s' FULL 99
row e4 '10 s' DIFFERENTIAL 1
row e3 '10 s' DIFFERENTIAL 5000 FAILED
same_as_function "after inserts" 4
check_sql "by a differential refresh" "SELECT action, merge_strategy_used FROM pgtrickle.get_refresh_history('pgtrickle.df_efficiency_rolling', 1) g
	JOIN pgtrickle.pgt_refresh_history h USING (refresh_id, action)" "DIFFERENTIAL|groups"

# ageing: three rows that are about to leave, and one that has left by a hair
new_st old
for ms in 10 20 60; do row old '59 min 52 s' DIFFERENTIAL $ms; done
row old '1 hour' DIFFERENTIAL 7
refresh efficiency_rolling
check_sql "rows inside the window count, one at its age or more does not" "SELECT total_refreshes, avg_diff_ms FROM pgtrickle.df_efficiency_rolling WHERE pgt_name = 'old'" "3|30"
query=$(q "SELECT defining_query FROM pgtrickle.pgt_definitions WHERE pgt_name = 'df_efficiency_rolling'")
at=$(q "SELECT max(start_time) + interval '1 hour' FROM pgtrickle.pgt_refresh_history WHERE pgt_id = $(id_of old)")
check_sql "a row exactly at the boundary is out" "SELECT count(*) FROM (${query//now()/timestamptz \'$at\'}) x WHERE pgt_name = 'old'" 0
check_sql "a microsecond before it is in" "SELECT total_refreshes FROM (${query//now()/(timestamptz \'$at\' - interval \'1 us\')}) x WHERE pgt_name = 'old'" 1
check_sql "its next crossing is no later than that" "SELECT next_crossing <= '$at' FROM pgtrickle.pgt_state WHERE pgt_id = $(id_of df_efficiency_rolling)" t
full=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE pgt_id = $(id_of df_efficiency_rolling) AND action <> 'DIFFERENTIAL'")
poll_until "SELECT clock_timestamp() > '$at'" t 30
refresh efficiency_rolling
check_sql "rows leave as time passes" "SELECT count(*) FROM pgtrickle.df_efficiency_rolling WHERE pgt_name = 'old'" 0
check_sql "without a full refresh" "SELECT count(*) - $full FROM pgtrickle.pgt_refresh_history WHERE pgt_id = $(id_of df_efficiency_rolling) AND action <> 'DIFFERENTIAL'" 0
same_as_function "after rows have aged out" 4
new_st still
rows still '1 min' 3 DIFFERENTIAL 5
q "UPDATE pgtrickle.pgt_refresh_history SET action = action" > /dev/null     # no change to any reader
row still '5 s' DIFFERENTIAL 5 COMPLETED SCHEDULER 0 0
refresh efficiency_rolling
check_sql "a change ratio is in [0, 1] or unknown" "SELECT count(*) FROM pgtrickle.df_efficiency_rolling WHERE avg_change_ratio NOT BETWEEN 0 AND 1 OR avg_change_ratio = 'NaN'" 0
check_sql "nothing changed in nothing is unknown, not a division by zero" "SELECT avg_change_ratio FROM pgtrickle.df_efficiency_rolling WHERE pgt_name = 'still'" 0.01

# ---------------------------------------------------------------- DF-2
for st in spike below first other burst one osc calm lag; do new_st $st; done
rows spike '1 min' 10 DIFFERENTIAL 100; row spike '10 s' DIFFERENTIAL 300
rows below '1 min' 10 DIFFERENTIAL 100; row below '10 s' DIFFERENTIAL 290
row first '10 s' DIFFERENTIAL 99999
rows other '1 min' 10 DIFFERENTIAL 100; row other '40 s' FULL 800; row other '10 s' FULL 900
row burst '3 min' DIFFERENTIAL 10 FAILED; row burst '2 min' DIFFERENTIAL 10 FAILED; row burst '11 min' DIFFERENTIAL 10 FAILED
row one '3 min' DIFFERENTIAL 10 FAILED; row one '1 min' DIFFERENTIAL 10
age=300; for action in DIFFERENTIAL FULL DIFFERENTIAL REINITIALIZE DIFFERENTIAL; do row osc "$age s" $action 10; age=$((age - 20)); done
age=300; for action in DIFFERENTIAL FULL DIFFERENTIAL DIFFERENTIAL DIFFERENTIAL FULL; do row calm "$age s" $action 10; age=$((age - 20)); done
row calm '6 min' FULL 10; row calm '7 min' DIFFERENTIAL 10
rows lag '1 min' 4 DIFFERENTIAL 50
q "SELECT pgtrickle.alter_stream_table('lag', auto_threshold => 0.4)" > /dev/null
refresh efficiency_rolling anomaly_signals
signals() { check_sql "$1" "SELECT $3 FROM pgtrickle.df_anomaly_signals WHERE pgt_name = '$2'" "$4"; }
signals "3 times the baseline is a spike" spike "duration_anomaly, last_duration_ms, round(baseline_ms::numeric, 9)" "DURATION_SPIKE|300|100.000000000"
signals "2.9 times is none" below "duration_anomaly, last_duration_ms, round(baseline_ms::numeric, 9)" "|290|100.000000000"
signals "a first refresh is none" first "duration_anomaly IS NULL, baseline_ms IS NULL, last_duration_ms" "t|t|99999"
signals "a full refresh is compared with full ones" other "duration_anomaly, last_duration_ms, baseline_ms, effective_refresh_mode" "|900|800|FULL"
signals "two failures are a burst; the one of eleven minutes ago is forgotten" burst "recent_failures, error_burst, last_duration_ms" "2|t|"
signals "one failure is none" one "recent_failures, error_burst" "1|f"
signals "four changes of mode among five refreshes" osc "mode_oscillation, distinct_modes_recent" "t|2"
signals "among the last six are three" calm "mode_oscillation" f
signals "threshold and mode" lag "auto_threshold, effective_refresh_mode" "0.4|DIFFERENTIAL"
# the newest refresh is not in DF-1 yet: nothing is to be taken out of the average
row lag '1 s' DIFFERENTIAL 151
refresh anomaly_signals
signals "a baseline that lags behind" lag "duration_anomaly, baseline_ms" "DURATION_SPIKE|50"
refresh efficiency_rolling anomaly_signals
signals "is the same when it has caught up" lag "duration_anomaly, round(baseline_ms::numeric, 9)" "DURATION_SPIKE|50.000000000"
row lag '0 s' DIFFERENTIAL 52
refresh efficiency_rolling anomaly_signals
signals "it ends with the next ordinary refresh" lag "duration_anomaly" ""
check_sql "ten minutes are the window" "SELECT count(*) FROM pgtrickle.df_anomaly_signals a WHERE NOT EXISTS (SELECT FROM pgtrickle.pgt_refresh_history h
	WHERE h.pgt_id = a.pgt_id AND start_time > now() - interval '11 min')" 0

# ---------------------------------------------------------------- DF-3
for st in up down keep few ten never; do new_st $st; done
new_st tight 1s
rows up '1 min' 20 DIFFERENTIAL 10; rows up '2 min' 5 FULL 100
rows down '1 min' 20 DIFFERENTIAL 90; rows down '2 min' 5 FULL 100
rows keep '1 min' 20 DIFFERENTIAL 50; rows keep '2 min' 5 FULL 100
rows few '1 min' 8 DIFFERENTIAL 10; row few '2 min' FULL 100
rows ten '1 min' 9 DIFFERENTIAL 10; row ten '2 min' FULL 100
rows never '1 min' 20 DIFFERENTIAL 100
rows tight '1 min' 20 DIFFERENTIAL 5000
q "UPDATE pgtrickle.pgt_costs SET full_ms = 500, full_rows = 1000, rows = 2000 WHERE pgt_id = $(id_of never); SELECT pgtrickle.alter_stream_table('keep', auto_threshold => 0.9)" > /dev/null
refresh efficiency_rolling threshold_advice
advice() { check_sql "$1" "SELECT $3 FROM pgtrickle.df_threshold_advice WHERE pgt_name = '$2'" "$4"; }
advice "cheap differential refreshes raise the threshold" up "current_threshold, round(recommended_threshold::numeric, 9), confidence, recommended_mode, diff_count, full_count" "0.15|0.180000000|HIGH|DIFFERENTIAL|20|5"
advice "dear ones lower it" down "round(recommended_threshold::numeric, 9), recommended_mode, avg_diff_ms, avg_full_ms" "0.105000000|AUTO|90|100"
advice "others keep it, within bounds" keep "current_threshold, recommended_threshold, reason LIKE '%keep%'" "0.9|0.8|t"
advice "nine refreshes are few" few "confidence, recommended_mode" "LOW|AUTO"
advice "ten are some" ten "confidence, recommended_mode" "MEDIUM|DIFFERENTIAL"
advice "without a full refresh the last one counts, scaled by today's rows" never "avg_full_ms, full_count, confidence, round(recommended_threshold::numeric, 9), reason LIKE '%estimated: the last one took 500%'" "1000|0|HIGH|0.180000000|t"
advice "slower than its schedule" tight "freshness_deadline_ms, sla_headroom_ms, sla_breach_risk" "1000|-4000|t"
advice "in time" up "sla_headroom_ms, sla_breach_risk" "3599990|f"
q "SELECT pgtrickle.alter_stream_table('up', auto_threshold => 0.7)" > /dev/null
refresh threshold_advice
advice "an altered threshold shows without a refresh of the table" up "current_threshold, recommended_threshold" "0.7|0.8"
check_sql "advice is always within bounds" "SELECT count(*) FROM pgtrickle.df_threshold_advice WHERE recommended_threshold IS NULL OR recommended_threshold NOT BETWEEN 0.01 AND 0.80" 0
check_sql "recommend_refresh_mode reads it" "SELECT mode, confidence FROM pgtrickle.recommend_refresh_mode('up')" "DIFFERENTIAL|HIGH"
check_sql "few data: AUTO, with the reason" "SELECT mode, confidence, reason ~ 'only 9 refreshes' FROM pgtrickle.recommend_refresh_mode('few')" "AUTO|LOW|t"
check_sql "explain_st repeats it" "SELECT string_agg(value, '; ' ORDER BY property) FROM pgtrickle.explain_st('up') WHERE property IN ('self_monitoring', 'recommended_mode', 'mode_confidence')" \
	"HIGH; DIFFERENTIAL; df_efficiency_rolling, df_threshold_advice"

check_error "an unknown name" "SELECT * FROM pgtrickle.recommend_refresh_mode('nobody')" 42P01 nobody
# the cost of a recomputation is noted when it is measured, and the rows when they have changed by more than a tenth
q "CREATE TABLE g (id int PRIMARY KEY, v int); INSERT INTO g SELECT x, x % 3 FROM generate_series(1, 100) x; ANALYZE g"
q "SELECT pgtrickle.create_stream_table('grows', 'SELECT v, count(*) AS n FROM g GROUP BY v', schedule => '1h')" > /dev/null 2>&1
cost="SELECT full_rows, rows, full_ms > 0 FROM pgtrickle.pgt_costs WHERE pgt_id = $(id_of grows)"
check_sql "the first load is measured" "$cost" "100|100|t"
q "INSERT INTO g SELECT x, 1 FROM generate_series(101, 200) x; ANALYZE g"
q "SELECT pgtrickle.refresh_stream_table('grows')" > /dev/null
check_sql "a refresh notes that the source has grown" "$cost" "100|200|t"
version=$(q "SELECT xmin FROM pgtrickle.pgt_costs WHERE pgt_id = $(id_of grows)")
q "INSERT INTO g VALUES (201, 1); ANALYZE g"
q "SELECT pgtrickle.refresh_stream_table('grows')" > /dev/null
check_sql "and writes nothing when it has hardly" "SELECT xmin FROM pgtrickle.pgt_costs WHERE pgt_id = $(id_of grows)" "$version"

# ---------------------------------------------------------------- DF-4
sample()
{
	q "INSERT INTO pgtrickle.pgt_buffer_samples (source_relid, sampled_at, captured_rows, consumed_rows, pending_rows, buffer_bytes, spill_bytes)
	   VALUES ('t'::regclass, '$noon'::timestamptz - interval '$1', $2, $3, $4, $5, 1000000)"
}
noon=$(q "SELECT now()")
q "DELETE FROM pgtrickle.pgt_buffer_samples" # the consumer's own
sample '2 h' 100 100 0 8192; sample '148 s' 1000 900 100 10000; sample '100 s' 2000 1700 300 30000; sample '52 s' 4000 3420 580 58000
refresh cdc_buffer_trends
check_sql "DF-4 over the last samples" "SELECT source_table, pending_rows, buffer_bytes, rows_captured_last_cycle, rows_consumed_last_cycle, growth_rows_per_s, spill_eta_cycles,
	consumers = (SELECT count(*) FROM pgtrickle.pgt_dependencies WHERE source_relid = 't'::regclass)
	FROM pgtrickle.df_cdc_buffer_trends WHERE source_relid = 't'::regclass" "public.t|580|58000|2000|1720|5|40|t"
sample '4 s' 4100 4000 100 58000
refresh cdc_buffer_trends
check_sql "one that shrinks has no end in sight" "SELECT growth_rows_per_s, spill_eta_cycles, rows_captured_last_cycle FROM pgtrickle.df_cdc_buffer_trends WHERE source_relid = 't'::regclass" "0||100"
q "DELETE FROM pgtrickle.pgt_buffer_samples WHERE sampled_at < '$noon'::timestamptz - interval '30 s'"
refresh cdc_buffer_trends
check_sql "one sample has no growth, and deleted ones are gone" "SELECT pending_rows, growth_rows_per_s, rows_captured_last_cycle FROM pgtrickle.df_cdc_buffer_trends WHERE source_relid = 't'::regclass" "100|0|"

# ---------------------------------------------------------------- DF-5
for st in x y z; do new_st $st; done
# x and y overlap four times by 50 ms each, y and z twice; x alone takes 40, with y 100
for n in 1 2 3 4; do
	q "WITH s AS (SELECT clock_timestamp() - interval '5 min' + $n * interval '10 s' AS s) INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
	   SELECT $(id_of x), s, s, s + interval '100 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM s UNION ALL
	   SELECT $(id_of y), s, s + interval '50 ms', s + interval '170 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM s UNION ALL
	   SELECT $(id_of x), s, s + interval '5 s', s + interval '5040 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM s UNION ALL
	   SELECT $(id_of y), s, s + interval '6 s', s + interval '6070 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM s UNION ALL
	   SELECT $(id_of z), s, s + interval '150 ms', s + interval '400 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM s WHERE $n <= 2"
done
refresh scheduling_interference
check_sql "DF-5: who overlapped at least three times, how long, and what it cost" "SELECT st_name_a, st_name_b, overlap_count, overlap_ms, avg_duration_a_ms, avg_duration_b_ms, solo_duration_a_ms, solo_duration_b_ms, slowdown,
	pgt_id_a < pgt_id_b FROM pgtrickle.df_scheduling_interference WHERE 'public.x' IN (st_name_a, st_name_b) OR 'public.z' IN (st_name_a, st_name_b)" \
	"public.x|public.y|4|200|100|120|40|70|2|t"
check_sql "seen when the last of them overlapped" "SELECT collected_at = (SELECT max(end_time) FROM pgtrickle.pgt_refresh_history WHERE pgt_id = $(id_of x) AND duration_us = 100000)
	FROM pgtrickle.df_scheduling_interference WHERE st_name_a = 'public.x'" t

for df in $(q "SELECT df_name FROM pgtrickle.self_monitoring_status()"); do
	check_sql "$df equals its query" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.$df')" "0|0"
done
done_testing
