#!/usr/bin/env bash
# sql/self_monitoring_setup.sql on a fresh install: no error, five ACTIVE rows, the setting where the consumer reads it, alerts on the channel.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/selfmon.sh"
cluster_new pg_trickle.min_schedule_seconds=0
q "CREATE DATABASE \"my Shop\""
export PGDATABASE="my Shop"
extension_new
script() { "$PGT_BIN/psql" -X -v ON_ERROR_STOP=1 -f "$PGT_TOP/sql/self_monitoring_setup.sql" > "$PGT_DIR/script.out" 2>&1; }

check "it runs without a consumer" script
check_eq "and says what is missing" "$(grep -c 'trickle-consumer is not running' "$PGT_DIR/script.out")" 5
consumer_start
check "it runs again, with one" script
check_eq "five ACTIVE rows" "$(grep -cE '^ df_[a-z_]+ +\| ACTIVE ' "$PGT_DIR/script.out")" 5
check_eq "in their order" "$(sed -nE 's/^ (df_[a-z_]+) .*/\1/p' "$PGT_DIR/script.out" | tr '\n' ' ')" \
	"df_efficiency_rolling df_anomaly_signals df_threshold_advice df_cdc_buffer_trends df_scheduling_interference "
check "the warm-up is announced" grep -q 'NOTICE.*50 before consulting df_threshold_advice' "$PGT_DIR/script.out"
check_eq "no error" "$(grep -cE 'ERROR|FATAL|WARNING' "$PGT_DIR/script.out")" 0
check_sql "the setting is the database's" "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'my Shop' AND setrole = 0" \
	"{pg_trickle.self_monitoring_auto_apply=threshold_only}"
on() { grep -q 'self_monitoring_auto_apply is threshold_only now' "$PGT_DIR/consumer.log" || [ "$(q "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trickle-consumer policy'")" = 1 ]; }
check "the consumer has its policy" poll_cmd 20 on

# advice that the script shows: five refreshes of the user's own
q "CREATE TABLE t (g int, x int); SELECT pgtrickle.create_stream_table('totals', 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '50ms')" > /dev/null 2>&1
for df in efficiency_rolling threshold_advice; do q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_$df', schedule => '200ms')" > /dev/null; done
for i in 1 2 3 4 5; do
	q "INSERT INTO t VALUES (1, $i)"
	poll_until "SELECT sum(s) FROM totals" $((i * (i + 1) / 2))
done
check_poll "advice is there" "SELECT count(*) FROM pgtrickle.df_threshold_advice WHERE pgt_name = 'totals'" 1
check "a third time" script
check "it shows advice, of LOW confidence so far" grep -qE '^ public +\| totals +\| +0.150 \|.*\| LOW ' "$PGT_DIR/script.out"
check_sql "as it says, it can be undone" "SELECT pgtrickle.teardown_self_monitoring(); SELECT count(*) FROM pgtrickle.self_monitoring_status() WHERE status = 'NOT_CREATED'" "$(printf '\n5')"
assert_st_equal totals
done_testing
