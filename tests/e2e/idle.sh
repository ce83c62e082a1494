#!/usr/bin/env bash
# Idle is idle: unrelated writes retain no WAL through our slot, and 100 idle stream tables write neither history nor WAL.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 wal_sender_timeout=2s autovacuum=off checkpoint_timeout=1h bgwriter_delay=10s
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE other (id int)"
q "INSERT INTO t SELECT g, g FROM generate_series(1, 100) g"
q "SELECT pgtrickle.create_stream_table('s' || g, 'SELECT id, v FROM t WHERE v > ' || g, schedule => '100ms') FROM generate_series(1, 100) g" > /dev/null
q "CREATE DATABASE elsewhere"
consumer_start
q "INSERT INTO t VALUES (101, 101)"
check_poll "every ST has the last row" "SELECT count(*) FROM s100" 1 30
check_poll "all 100 are up to date" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE status = 'ACTIVE'" 100 30

# Some 25 MB of writes elsewhere: the slot follows, to within the step it confirms in (1 MB).
q "INSERT INTO other SELECT g FROM generate_series(1, 200000) g"
q "CREATE TABLE x AS SELECT g FROM generate_series(1, 200000) g" -d elsewhere
lsn=$(q "SELECT pg_current_wal_lsn()")
check_poll "unrelated writes retain no WAL: the slot passes them" \
	"SELECT '$lsn'::pg_lsn - confirmed_flush_lsn < 2e6 FROM pg_replication_slots WHERE slot_name = 'trickle'" t 30
q "SELECT '# ' || s.*::text || ', ' || p.* || ', ' || r.confirmed_flush_lsn || ', now ' || pg_current_wal_lsn() FROM pgtrickle.pgt_slot s, pgtrickle_changes.progress p, pg_replication_slots r"

# Quiet: no history row, no WAL record of ours.
q "CHECKPOINT"
poll_until "SELECT count(*) FROM pg_stat_activity WHERE usename = 'trickle' AND state = 'active' AND backend_type = 'client backend'" 0 10 > /dev/null
rows=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history")
start=$(q "SELECT pg_current_wal_lsn()")
q "SELECT pg_sleep(5)" > /dev/null             # the measured time itself: 50 schedules pass
end=$(q "SELECT pg_current_wal_lsn()")
check_sql "100 idle STs write no history" "SELECT count(*) FROM pgtrickle.pgt_refresh_history" "$rows"
dump=$("$PGT_BIN/pg_waldump" -p "$CLUSTER_DATA/pg_wal" -s "$start" -e "$end" 2> /dev/null | grep -vE 'desc: (RUNNING_XACTS|CHECKPOINT)')
check_eq "and no WAL record" "$(grep -c . <<< "$dump")" 0
[ -z "$dump" ] || head -5 <<< "$dump" | sed 's/^/# /'
done_testing
