#!/usr/bin/env bash
# What holds scheduled refreshes back and binds them together: gates, watermarks, refresh groups, fuses; with a consumer that runs throughout.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/alerts.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
create() { q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('$1', '$2', schedule => 'continuous')" > /dev/null; }
scheduled() { q "SELECT count(*) FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = '$1' AND initiated_by = 'SCHEDULER' AND h.status = 'COMPLETED'"; }
# A change of `pulse` shows that the scheduler has worked through everything that was committed before it, and twice that nothing is left.
beat()
{
	local n
	for _ in 1 2; do
		q "INSERT INTO pulse VALUES (1)"
		n=$(q "SELECT count(*) FROM pulse")
		poll_until "SELECT n FROM beats" "$n" 20 || return 1
	done
}

q "CREATE TABLE orders (id int PRIMARY KEY, amount int); CREATE TABLE payments (id int PRIMARY KEY, amount int); CREATE TABLE pulse (x int)"
q "INSERT INTO orders SELECT g, 10 FROM generate_series(1, 100) g; INSERT INTO payments SELECT g, 10 FROM generate_series(1, 100) g"
create beats "SELECT count(*) AS n FROM pulse"
create total "SELECT count(*) AS n, sum(amount) AS s FROM orders"
create open_amount "SELECT o.id, o.amount - p.amount AS rest FROM orders o JOIN payments p USING (id)"
create rest "SELECT sum(rest) AS s FROM open_amount"
consumer_start "$PGT_SLOT" -v
beat

# ---- gates
q "SELECT pgtrickle.gate_source('orders')" > /dev/null
q "INSERT INTO orders SELECT g, 10 FROM generate_series(101, 110) g"
beat
check_sql "gated: its readers stand still" "SELECT n FROM total" 100
check_sql "the gate is shown" "SELECT source_table, schema_name, gated, ungated_at IS NULL, gated_by, gate_duration > '0', affected_stream_tables FROM pgtrickle.bootstrap_gate_status()" \
	"orders|public|t|t|postgres|t|public.open_amount, public.total"
check_sql "by hand it can be refreshed" "SELECT pgtrickle.refresh_stream_table('total'); SELECT n FROM total" $'\n110'
check_sql "what is created meanwhile is not filled" \
	"SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('late', 'SELECT count(*) AS n FROM orders', schedule => 'continuous'); SELECT count(*) FROM late" $'\n0'
beat
check_sql "nor by the scheduler" "SELECT count(*) FROM late" 0
q "SELECT pgtrickle.gate_source('orders')" > /dev/null
q "ALTER TABLE orders RENAME TO orders2; ALTER TABLE orders2 RENAME TO orders"
check_sql "a second gate changes nothing" "SELECT count(*) FROM pgtrickle.source_gates()" 1
q "SELECT pgtrickle.ungate_source('orders')" > /dev/null
check_poll "ungated, it catches up" "SELECT n FROM late" 110 20
check_sql "and the gate says since when" "SELECT gated, ungated_at >= gated_at FROM pgtrickle.source_gates()" "f|t"
assert_st_current total

# ---- watermarks: rows and watermark in one transaction; whoever joins both tables sees both or none
q "SELECT pgtrickle.create_watermark_group('day', ARRAY['orders', 'payments'], 60)" > /dev/null
beat
q "BEGIN; INSERT INTO orders VALUES (200, 50); SELECT pgtrickle.advance_watermark('orders', '2026-01-01 10:00Z'); COMMIT" > /dev/null
beat
check_sql "one source is ahead" "SELECT aligned, sources_with_watermark, sources_total FROM pgtrickle.watermark_status()" "f|1|2"
check_poll "who reads one source of the group is not held" "SELECT n FROM total" 111 20
held=$(scheduled open_amount)
q "INSERT INTO payments VALUES (200, 20)"
beat
check_sql "who is fed by both is" "SELECT count(*) FROM open_amount WHERE id = 200" 0
check_eq "not one refresh of it" "$(scheduled open_amount)" "$held"
q "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 09:58Z')" > /dev/null
beat
check_sql "not within the tolerance yet" "SELECT lag_secs, aligned FROM pgtrickle.watermark_status()" "120|f"
check_sql "so it waits" "SELECT count(*) FROM open_amount WHERE id = 200" 0
q "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 09:59Z')" > /dev/null
check_poll "aligned: refreshed, and what reads it too" "SELECT (SELECT rest FROM open_amount WHERE id = 200), (SELECT s FROM rest)" "30|30" 20
check_error "a watermark never goes back" "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 09:00Z')" 22023 "cannot go back"
q "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 09:59Z')" > /dev/null
check_sql "the same again is nothing" "SELECT watermark = '2026-01-01 09:59Z', advanced_by, wal_lsn::pg_lsn > '0/0' FROM pgtrickle.watermarks() WHERE source_table = 'payments'" "t|postgres|t"

# the plan is always older than the snapshot: rows and watermarks that race with refreshes never show one table's day without the other's
q "CREATE TABLE l (day int); CREATE TABLE r (day int); SELECT pgtrickle.create_watermark_group('race', ARRAY['l', 'r'])" > /dev/null
create days "SELECT (SELECT count(*) FROM l) AS l, (SELECT count(*) FROM r) AS r"
for i in $(seq 1 60); do
	echo "BEGIN; INSERT INTO l VALUES ($i); SELECT pgtrickle.advance_watermark('l', timestamptz '2026-01-01' + $i * interval '1 day'); COMMIT;"
	echo "BEGIN; INSERT INTO r VALUES ($i); SELECT pgtrickle.advance_watermark('r', timestamptz '2026-01-01' + $i * interval '1 day'); COMMIT;"
done | q_script > /dev/null &
writer=$!
torn=0
while kill -0 $writer 2> /dev/null; do torn=$((torn + $(q "SELECT count(*) FROM days WHERE l <> r"))); done
wait $writer
check_poll "all days arrive" "SELECT l, r FROM days" "60|60" 20
check_eq "and never half of one" "$torn" 0

# ---- refresh groups: unrelated stream tables of one moment
q "CREATE TABLE a (x int); CREATE TABLE b (x int)"
create ga "SELECT count(*) AS n FROM a"
create gb "SELECT count(*) AS n FROM b"
q "SELECT pgtrickle.create_refresh_group('ab', ARRAY['ga', 'gb'], 'repeatable_read')" > /dev/null
for i in $(seq 1 1500); do echo "WITH w AS (INSERT INTO a VALUES ($i)) INSERT INTO b VALUES ($i);"; done | q_script > /dev/null &
writer=$!
torn=0
looks=0
while kill -0 $writer 2> /dev/null; do
	torn=$((torn + $(q "SELECT count(*) FROM ga, gb WHERE ga.n <> gb.n")))
	looks=$((looks + 1))
done
wait $writer
check_poll "both arrive" "SELECT ga.n, gb.n FROM ga, gb" "1500|1500" 30
check_eq "the group was of one moment ($looks looks)" "$torn" 0
q "SELECT pgtrickle.suspend_stream_table('ga')" > /dev/null
q "INSERT INTO b VALUES (1501)"
beat
check_sql "a suspended member holds the others" "SELECT n FROM gb" 1500
q "SELECT pgtrickle.resume_stream_table('ga')" > /dev/null
check_poll "resumed, they go on" "SELECT n FROM gb" 1501 20
# one that fails takes the others along
q "CREATE TABLE div (d int); INSERT INTO div VALUES (1)"
create gd "SELECT sum(10 / d) AS s FROM div"
q "SELECT pgtrickle.drop_refresh_group('ab'); SELECT pgtrickle.create_refresh_group('abd', ARRAY['ga', 'gb', 'gd'])" > /dev/null
q "BEGIN; INSERT INTO a VALUES (1502); INSERT INTO div VALUES (0); COMMIT"
poll_until "SELECT count(*) > 0 FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED' AND error_state = '22012'" t 20
check_sql "a member that fails keeps the group where it was" "SELECT n FROM ga" 1500
q "DELETE FROM div WHERE d = 0"
# the third failure may still be on its way
mended()
{
	q "SELECT pgtrickle.resume_stream_table('gd') FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'gd' AND status = 'SUSPENDED'" > /dev/null
	[ "$(q "SELECT n FROM ga")" = 1501 ]
}
check "mended, it moves" poll_cmd 30 mended
q "SELECT pgtrickle.drop_stream_table('gd')" > /dev/null
check_sql "a dropped stream table leaves its group" "SELECT group_name, member_count, isolation FROM pgtrickle.refresh_groups()" "abd|2|read_committed"

# ---- fuses
q "CREATE TABLE f (id int PRIMARY KEY, v int); INSERT INTO f SELECT g, g FROM generate_series(1, 3000) g"
create fused "SELECT count(*) AS n, sum(v) AS s FROM f"
create after_fused "SELECT n + 1 AS n FROM fused"
q "SELECT pgtrickle.alter_stream_table('fused', fuse => 'on', fuse_ceiling => 1000)" > /dev/null
q "DELETE FROM f WHERE id <= 500"
check_poll "below the ceiling it is refreshed" "SELECT n FROM fused" 2500 20
alerts_listen fuse_blown,fuse_blown_reminder event schema name pending ceiling blown_seconds
q "DELETE FROM f WHERE id <= 1501"
check_poll "above it, the fuse blows" "SELECT fuse_state, effective_ceiling, blow_reason FROM pgtrickle.fuse_status() WHERE stream_table = 'public.fused'" \
	"blown|1000|1001 changes are waiting, and the ceiling is 1000" 20
check "with an alert" poll_cmd 15 seen '^fuse_blown public fused 1001 1000 '
q "SELECT pgtrickle._consumer_remind()" > /dev/null
check "and a reminder" poll_cmd 15 seen '^fuse_blown_reminder public fused .* [0-9.]+$'
beat
check_sql "the stream table is as it was, and so is its reader" "SELECT fused.n, after_fused.n FROM fused, after_fused" "2500|2501"
check_sql "the history tells" "SELECT action, h.status, delta_row_count FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables USING (pgt_id)
	WHERE pgt_name = 'fused' ORDER BY refresh_id DESC LIMIT 1" "SKIP|SKIPPED|1001"
check_error "not by hand either" "SELECT pgtrickle.refresh_stream_table('fused')" 55000 "reset_fuse"
check_error "nor by way of its reader" "SELECT pgtrickle.wait_for('after_fused', '2 seconds')" 55000 "fuse"
check_error "nothing is skipped" "SELECT pgtrickle.reset_fuse('fused', 'skip_changes')" 0A000 "never differs"
q "SELECT pgtrickle.reset_fuse('fused')" > /dev/null
check_poll "apply: everything that waited" "SELECT fused.n, after_fused.n FROM fused, after_fused" "1499|1500" 20
check_poll "and it is armed again" "SELECT fuse_state FROM pgtrickle.fuse_status() WHERE stream_table = 'public.fused'" armed 10
q "TRUNCATE f"
check_poll "a TRUNCATE blows it" "SELECT fuse_state FROM pgtrickle.fuse_status() WHERE stream_table = 'public.fused'" blown 20
check_sql "its contents stay" "SELECT n FROM fused" 1499
q "SELECT pgtrickle.reset_fuse('fused', 'reinitialize')" > /dev/null
check_poll "reinitialize compares" "SELECT n FROM fused" 0 20
q "SELECT pgtrickle.alter_stream_table('fused', fuse_sensitivity => 2)" > /dev/null
q "INSERT INTO f SELECT g, g FROM generate_series(1, 1200) g"
check_poll "sensitivity 2: the first one passes" "SELECT n FROM fused" 1200 20
q "INSERT INTO f SELECT g, g FROM generate_series(1201, 2400) g"
check_poll "the second in a row does not" "SELECT fuse_state FROM pgtrickle.fuse_status() WHERE stream_table = 'public.fused'" blown 20
q "SELECT pgtrickle.alter_stream_table('fused', fuse => 'off')" > /dev/null
check_poll "off: no fuse, no wait" "SELECT n FROM fused" 2400 20

check_sql "worker pool" "SELECT max_workers >= 1, active_workers <= max_workers, parallel_mode FROM pgtrickle.worker_pool_status()" "t|t|on"
for st in total open_amount rest late days ga gb fused after_fused; do
	check_sql "$st is its query" "SELECT * FROM pgtrickle.verify_stream_table('$st')" "0|0"
done
consumer_stop TERM
check_eq "SIGTERM: exit code 0" $? 0
done_testing
