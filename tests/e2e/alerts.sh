#!/usr/bin/env bash
# What is announced on pg_trickle_alert about single failures, and every hour about what waits for people; docs/operations.md lists every event.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/alerts.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.max_consecutive_errors=2 client_min_messages=warning
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1);
   CREATE TABLE \"Other \"\"t\" (id int PRIMARY KEY)"
q "SELECT pgtrickle.create_stream_table('inverse', 'SELECT id, 100 / v AS i FROM t', schedule => '50ms');
   SELECT pgtrickle.create_stream_table('others', 'SELECT count(*) AS n FROM \"Other \"\"t\"', schedule => '50ms')" > /dev/null
alerts_listen refresh_failed,auto_suspended,stale_data,slot_lag_warning,buffer_growth_warning event schema name sqlstate slot_name pending_rows
consumer_start

q "INSERT INTO t VALUES (2, 0)"
check "a failed refresh is announced, each" poll_cmd 30 seen '^refresh_failed public inverse 22012 None None$' 2
check "and the suspension" poll_cmd 30 seen '^auto_suspended public inverse None None None$'
q "DELETE FROM t WHERE v = 0; SELECT pgtrickle.resume_stream_table('inverse')"
poll_until "SELECT status || consecutive_errors FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'inverse'" ACTIVE0
assert_st_equal others

# Nobody refreshes: changes wait in the buffer, then in the slot.
remind() { q "SET pg_trickle.buffer_alert_threshold = ${1:-1000000}; SET pg_trickle.slot_lag_warning_threshold_mb = '${2:-100MB}'; SELECT pgtrickle._consumer_remind()" > /dev/null; }
cluster_set pg_trickle.enabled=off && cluster_reload
poll_until "LOAD 'pg_trickle'; SHOW pg_trickle.enabled" off
remind
q "INSERT INTO \"Other \"\"t\" SELECT generate_series(1, 50)"
caught_up
remind 49
check "rows that wait in a buffer" poll_cmd 30 seen "^buffer_growth_warning public Other \"t None $PGT_SLOT [0-9]+\$"
rows=$(sed -nE 's/^buffer_growth_warning .* ([0-9]+)$/\1/p' "$events" | tail -1)
check "how many: $rows" test "${rows:-0}" -ge 50
consumer_stop TERM
check_poll "past its schedule" "SELECT stale FROM pgtrickle.stream_tables_info WHERE pgt_name = 'others'" t
remind 1000000 0
check "a stale stream table" poll_cmd 30 seen '^stale_data public others None None None$'
check "WAL that the slot retains" poll_cmd 30 seen "^slot_lag_warning None $PGT_SLOT None $PGT_SLOT None\$"
check_eq "a buffer below the threshold is no news" "$(events '^buffer_growth_warning')" 1

cluster_set pg_trickle.enabled=on && cluster_reload
consumer_start
for st in inverse others; do assert_st_equal $st; done
done_testing
