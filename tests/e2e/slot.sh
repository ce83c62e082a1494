#!/usr/bin/env bash
# What can happen to a slot: dropped and made again, advanced by a stranger, made with another plugin.  Each is detected and said, the
# next refresh is a FULL, and the result is right.  And what keeps a consumer from starting, each with an error that says what to do.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int)"
q "INSERT INTO t SELECT g, g FROM generate_series(1, 100) g"
q "SELECT pgtrickle.create_stream_table('s', 'SELECT v % 10 AS k, count(*) AS n FROM t GROUP BY 1', schedule => '100ms')"
fulls() { q "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action IN ('FULL', 'REINITIALIZE') AND status = 'COMPLETED'"; }
is_right() { check_poll "$1" "SELECT (SELECT count(*) FROM (SELECT v % 10, count(*) FROM t GROUP BY 1 EXCEPT ALL SELECT k, n FROM s) d)" 0 10; assert_st_current s "$1, exactly"; }

consumer_start
q "INSERT INTO t VALUES (101, 5)"
is_right "captured at first"
before=$(fulls)

# SIGTERM drains: what was committed before it is there afterwards, without a FULL.
q "INSERT INTO t SELECT g, g FROM generate_series(200, 299) g"
consumer_stop TERM
check_eq "SIGTERM: exit code 0" $? 0
q "INSERT INTO t SELECT g, g FROM generate_series(300, 399) g"
consumer_start
is_right "after a restart"
check_eq "a restart costs no FULL" "$(fulls)" "$before"

# The slot is dropped and made again while we are away.
consumer_stop TERM
q "SELECT pg_drop_replication_slot('trickle')"
q "DELETE FROM t WHERE id % 3 = 0"
consumer_start
is_right "after the slot was dropped and made again"
check "by a FULL" test "$(fulls)" -gt "$before"
q "INSERT INTO t VALUES (1001, 5)"
is_right "and incrementally from then on"

# A stranger advances the slot past changes that we never saw.
before=$(fulls)
consumer_stop TERM
q "DELETE FROM t WHERE id % 7 = 1"
q "SELECT pg_replication_slot_advance('trickle', pg_current_wal_lsn())" > /dev/null
consumer_start
is_right "after a stranger advanced the slot"
check "by a FULL" test "$(fulls)" -gt "$before"
consumer_stop TERM

# What keeps a consumer from starting.
refuses()
{
	local name=$1 slot=$2 out code
	out=$(timeout 10 "$PGT_BIN/trickle-consumer" -h "$PGHOST" -p "$PGPORT" -d "$PGDATABASE" -U "${3:-trickle}" -S "$slot" ${5:-} 2>&1)
	code=$?
	if [ $code != 0 ] && [ $code -lt 124 ] && [[ $out == *"$4"* ]]; then
		pass "$name (exit code $code)"
	else
		printf '%s\n# exit code %s\n' "$out" "$code" | sed 's/^/# /' | tail -8
		fail "$name"
	fi
}

q "SELECT pg_create_logical_replication_slot('other', 'pgoutput')" > /dev/null
refuses "a slot with another plugin is refused" other trickle pgoutput
refuses "a slot that does not exist is refused" nothere trickle nothere
q "CREATE ROLE plain LOGIN; GRANT pgtrickle_consumer TO plain"
refuses "a role without REPLICATION is refused" trickle plain REPLICATION --check
q "CREATE ROLE stranger LOGIN REPLICATION"
refuses "a role outside pgtrickle_consumer is refused" trickle stranger pgtrickle_consumer --check
q "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots" > /dev/null
cluster_stop
cluster_set "wal_level = replica"
cluster_start
refuses "wal_level below logical is refused" trickle trickle wal_level --check
if [ "$(q "SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'")" = 1 ]; then
	cluster_set "wal_level = logical" "output_plugin_libraries = 'pgoutput, test_decoding'"
	cluster_stop
	cluster_start
	refuses "a server that does not permit the plugin is explained" trickle trickle output_plugin_libraries --create-slot
	check_sql "health_check says so, too" "SELECT severity FROM pgtrickle.health_check() WHERE check_name = 'output_plugin'" ERROR
	q "ALTER SYSTEM SET output_plugin_libraries = 'pgoutput, test_decoding, pgtrickle_output'"
	cluster_reload
	check_poll "one name with commas in it is not a list" "SELECT detail ~ 'lacks' AND current_setting('output_plugin_libraries') ~ 'pgtrickle' FROM pgtrickle.health_check() WHERE check_name = 'output_plugin'" t
	q "ALTER SYSTEM RESET output_plugin_libraries"
	cluster_reload
	line=$("$PGT_BIN/trickle-consumer" -h "$PGHOST" -p "$PGPORT" -d "$PGDATABASE" -U trickle -S trickle --create-slot 2>&1 | sed -nE 's/.*(ALTER SYSTEM SET output_plugin_libraries = [^;]*);.*/\1/p' | head -1)
	q "$line"
	cluster_reload
	check "what the consumer says to do helps" poll_cmd 10 consumer_create_slot trickle
	check_sql "and health_check agrees" "SELECT severity FROM pgtrickle.health_check() WHERE check_name = 'output_plugin'" OK
fi
done_testing
