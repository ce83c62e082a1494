# selfmon.sh - df_* tables whose contents a test chooses: stream tables of the real names and columns over tables of the test's own.
# Source it after cluster.sh.  What the policy does with them does not depend on how they are computed.
#
#   df_advice_new | df_signals_new | df_interference_new | df_buffers_new      each makes its df_ table and the table it shows
#   advise ST CURRENT RECOMMENDED [CONFIDENCE [AVG_DIFF_MS [DEADLINE_MS]]]     one row of df_threshold_advice, whatever was there before
#   signal ST ANOMALY|NULL FAILURES LAST_MS BASELINE_MS                        one row of df_anomaly_signals
#   interfere ST ST COUNT SLOWDOWN                                             one row of df_scheduling_interference

df_new() { q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('pgtrickle.$1', 'SELECT * FROM public.$2', schedule => '100ms')" > /dev/null; }

df_advice_new()
{
	q "CREATE TABLE advice (pgt_id bigint PRIMARY KEY, pgt_schema text, pgt_name text, current_threshold float8, recommended_threshold float8,
	     confidence text, reason text, avg_diff_ms float8, avg_full_ms float8, diff_count bigint, full_count bigint, avg_change_ratio float8,
	     freshness_deadline_ms float8, sla_headroom_ms float8, sla_breach_risk bool, recommended_mode text)" &&
	df_new df_threshold_advice advice
}

df_signals_new()
{
	q "CREATE TABLE signals (pgt_id bigint PRIMARY KEY, pgt_schema text, pgt_name text, duration_anomaly text, last_duration_ms float8,
	     baseline_ms float8, recent_failures bigint, error_burst bool, distinct_modes_recent bigint, mode_oscillation bool, auto_threshold float8,
	     effective_refresh_mode text)" &&
	df_new df_anomaly_signals signals
}

df_interference_new()
{
	q "CREATE TABLE interference (pgt_id_a bigint, pgt_id_b bigint, st_name_a text, st_name_b text, overlap_count bigint, overlap_ms float8,
	     avg_duration_a_ms float8, avg_duration_b_ms float8, solo_duration_a_ms float8, solo_duration_b_ms float8, slowdown float8,
	     collected_at timestamptz, PRIMARY KEY (pgt_id_a, pgt_id_b))" &&
	df_new df_scheduling_interference interference
}

df_buffers_new()
{
	q "CREATE TABLE trends (source_relid oid PRIMARY KEY)" &&
	df_new df_cdc_buffer_trends trends
}

st_id() { q "SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = '$1'::regclass"; }

advise()
{
	q "INSERT INTO advice SELECT pgt_id, pgt_schema, pgt_name, $2, $3, '${4:-HIGH}', 'as the test says', ${5:-1}, 100, 20, 2, 0.01, ${6:-1000}, NULL, NULL, 'AUTO'
	     FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = '$1'::regclass
	   ON CONFLICT (pgt_id) DO UPDATE SET current_threshold = EXCLUDED.current_threshold, recommended_threshold = EXCLUDED.recommended_threshold,
	     confidence = EXCLUDED.confidence, avg_diff_ms = EXCLUDED.avg_diff_ms, freshness_deadline_ms = EXCLUDED.freshness_deadline_ms"
}

signal()
{
	q "INSERT INTO signals SELECT pgt_id, pgt_schema, pgt_name, $2, $4, $5, $3, $3 >= 2, 1, false, 0.15, 'DIFFERENTIAL'
	     FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = '$1'::regclass
	   ON CONFLICT (pgt_id) DO UPDATE SET duration_anomaly = EXCLUDED.duration_anomaly, last_duration_ms = EXCLUDED.last_duration_ms,
	     baseline_ms = EXCLUDED.baseline_ms, recent_failures = EXCLUDED.recent_failures, error_burst = EXCLUDED.error_burst"
}

interfere()
{
	q "INSERT INTO interference VALUES ($(st_id "$1"), $(st_id "$2"), '$1', '$2', $3, 1000, 300, 300, 100, 100, $4, now())
	   ON CONFLICT (pgt_id_a, pgt_id_b) DO UPDATE SET overlap_count = EXCLUDED.overlap_count, slowdown = EXCLUDED.slowdown, collected_at = now()"
}

threshold() { echo "SELECT coalesce(auto_threshold::text, 'default') FROM pgtrickle.pgt_stream_tables WHERE pgt_relid = '$1'::regclass"; }
audits() { echo "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE initiated_by = 'SELF_MONITOR' AND pgt_id = $(st_id "$1")"; }

# age_changes MINUTES: the policy's changes were that much earlier.
age_changes() { q "UPDATE pgtrickle.pgt_refresh_history SET start_time = start_time - interval '$1 minutes', end_time = end_time - interval '$1 minutes' WHERE initiated_by = 'SELF_MONITOR'"; }

