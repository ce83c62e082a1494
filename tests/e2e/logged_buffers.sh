#!/usr/bin/env bash
# pg_trickle.unlogged_buffers = off: buffers survive a crash, nothing is applied twice, and the slot does not wait for refreshes.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new "pg_trickle.unlogged_buffers=off"
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int)"
consumer_start "$PGT_SLOT" --ack-interval=1s
q "SELECT pgtrickle.create_stream_table('s', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1d')" > /dev/null
check_sql "progress, stats and segments are logged" \
	"SELECT bool_and(relpersistence = 'p') FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r'" t
q "INSERT INTO t SELECT g, g % 7 FROM generate_series(1, 1000) g; UPDATE t SET v = v + 1 WHERE id % 3 = 0; DELETE FROM t WHERE id % 10 = 0"
written=$(q "SELECT pg_current_wal_lsn()")
poll_until "SELECT confirmed_flush_lsn >= '$written' FROM pg_replication_slots WHERE slot_name = '$PGT_SLOT'" t 15
check_sql "the slot has passed changes that no refresh has consumed" \
	"SELECT confirmed_flush_lsn >= '$written' FROM pg_replication_slots WHERE slot_name = '$PGT_SLOT'" t
check_sql "and the stream table has not" "SELECT count(*) FROM s" 0
cluster_kill
cluster_start
check_sql "a crash leaves the buffered changes" "SELECT count(*) > 1000 FROM pgtrickle_changes.changes_$(q "SELECT 't'::regclass::oid")" t
q "INSERT INTO t VALUES (5001, 5)"
poll_until "SELECT count(*) FROM pg_replication_slots WHERE active" 1 15
assert_st_equal s
check_sql "by its changes, not by a comparison" \
	"SELECT string_agg(DISTINCT action, ',') FROM pgtrickle.pgt_refresh_history WHERE initiated_by = 'MANUAL'" DIFFERENTIAL
done_testing
