#!/usr/bin/env bash
# Anomalies are announced on pg_trickle_alert once when they begin and once when they end, whoever refreshed df_anomaly_signals, and
# nothing that goes wrong with it touches a refresh.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/selfmon.sh"
. "$PGT_TOP/tests/lib/alerts.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (g int, x int); INSERT INTO t SELECT g % 5, g FROM generate_series(1, 100) g"
for st in a b c 'odd "name"'; do
	q "SELECT pgtrickle.create_stream_table(quote_ident('$st'), 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '100ms')" > /dev/null
done
df_signals_new
consumer_start

alerts_listen self_monitor_anomaly schema name anomaly state last_ms baseline_ms recommendation

check_sql "auto-apply is off" "SELECT coalesce(current_setting('pg_trickle.self_monitoring_auto_apply', true), 'off')" off

# ---- a spike: begins, goes on, ends
signal a NULL 0 100 100
signal b NULL 0 50 50
signal a "'DURATION_SPIKE'" 0 350 100
check "a spike is announced" poll_cmd 30 seen '^public a DURATION_SPIKE begin 350 100 .*3.5 times'
signal a "'DURATION_SPIKE'" 0 400 100
signal b NULL 2 50 50
check "an error burst as well" poll_cmd 30 seen '^public b ERROR_BURST begin .* diagnose_errors'
check_eq "the spike goes on: not announced again" "$(events '^public a ')" 1
consumer_kill
consumer_start
signal a "'DURATION_SPIKE'" 0 410 100
signal c "'DURATION_SPIKE'" 3 410 100
check "both kinds of one stream table" poll_cmd 30 seen '^public c ' 2
check_eq "a restart announces nothing again" "$(events '^public [ab] ')" 2
check_sql "what goes on is on record" "SELECT string_agg(pgt_name || ' ' || anomaly, ', ' ORDER BY pgt_name, anomaly) FROM pgtrickle.pgt_anomalies" \
	"a DURATION_SPIKE, b ERROR_BURST, c DURATION_SPIKE, c ERROR_BURST"
signal a NULL 0 100 100
check "the end is announced" poll_cmd 30 seen '^public a DURATION_SPIKE end'
signal b NULL 1 50 50
check "of the burst too" poll_cmd 30 seen '^public b ERROR_BURST end'
check_eq "one begin, one end" "$(events '^public a ') $(events '^public b ')" "2 2"

# ---- a refresh by hand counts; names are quoted
q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_anomaly_signals', schedule => '1h')" > /dev/null
signal '"odd ""name"""' "'DURATION_SPIKE'" 0 350 100
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_anomaly_signals')" > /dev/null
check "after a refresh by hand, too" poll_cmd 30 seen '^public odd "name" DURATION_SPIKE begin'
q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_anomaly_signals', schedule => '100ms')" > /dev/null

# ---- a dropped one ends
q "SELECT pgtrickle.drop_stream_table('c')"
q "DELETE FROM signals WHERE pgt_name = 'c'"
check "what has gone has ended" poll_cmd 30 seen '^public c .* end' 2

# ---- failing to announce
definition=$(q "SELECT pg_get_functiondef('pgtrickle._policy_announce'::regproc)")
q "CREATE OR REPLACE FUNCTION pgtrickle._policy_announce(event json) RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS 'BEGIN RAISE EXCEPTION ''the queue is full''; END'"
signal a "'DURATION_SPIKE'" 0 360 100
failed() { grep -q 'WARNING.*anomalies could not be announced.*the queue is full' "$PGT_DIR/consumer.log"; }
check "a failure is a WARNING" poll_cmd 30 failed
check_sql "the refresh of df_anomaly_signals is there" "SELECT last_duration_ms FROM pgtrickle.df_anomaly_signals WHERE pgt_name = 'a'" 360
check_sql "nothing failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status <> 'COMPLETED'" 0
q "$definition"
signal a "'DURATION_SPIKE'" 0 361 100
check "announced once it can be" poll_cmd 30 seen '^public a DURATION_SPIKE begin 361'
check_eq "the spikes of a: begin, end, begin" "$(grep '^public a ' "$events" | awk '{ print $4 }' | tr '\n' ' ')" "begin end begin "

for st in a b '"odd ""name"""' pgtrickle.df_anomaly_signals; do assert_st_equal "$st"; done
done_testing
