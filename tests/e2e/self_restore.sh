#!/usr/bin/env bash
# Self-monitoring and what happens to a database: renames, prepared transactions, dump and restore.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g % 3 FROM generate_series(1, 30) g"
consumer_start
q "SELECT pgtrickle.create_stream_table('s', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1h')" > /dev/null 2>&1
q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null 2>&1
active="SELECT count(*) FILTER (WHERE status = 'ACTIVE') FROM pgtrickle.self_monitoring_status()"
check_poll "set up" "$active" 5
verify_all()
{
	local df
	for df in $(q "SELECT df_name FROM pgtrickle.self_monitoring_status()"); do
		check_sql "$1: $df equals its query" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.$df')" "0|0"
	done
}

# a prepared transaction keeps the rows of its refreshes
n=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history")
q "SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '1h') FROM pgtrickle.self_monitoring_status()" > /dev/null
q "INSERT INTO t VALUES (100, 1)"
q "BEGIN; SELECT pgtrickle.refresh_stream_table('s'); SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling'); PREPARE TRANSACTION 'p'" > /dev/null
history="SELECT string_agg(d.pgt_name, ',' ORDER BY h.refresh_id) FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions d USING (pgt_id) WHERE h.initiated_by = 'MANUAL'"
check_sql "not seen before it is committed" "$history" ""
q "COMMIT PREPARED 'p'"
check_sql "seen afterwards, in the order of the refreshes" "$history" "s,df_efficiency_rolling"
verify_all "after a prepared transaction"

# a renamed stream table appears under its name
q "CREATE SCHEMA new; ALTER TABLE s RENAME TO \"S 2\"; ALTER TABLE \"S 2\" SET SCHEMA new"
for df in df_efficiency_rolling df_anomaly_signals df_threshold_advice; do
	q "SELECT pgtrickle.refresh_stream_table('pgtrickle.$df')" > /dev/null
	check_sql "$df knows the new name" "SELECT pgt_schema, pgt_name FROM pgtrickle.$df WHERE pgt_schema NOT LIKE 'pgtrickle'" "new|S 2"
done
q "SELECT pgtrickle.alter_stream_table('new.\"S 2\"', auto_threshold => 0.33)" > /dev/null

# dump and restore
"$PGT_BIN/pg_dump" -Fc -f "$PGT_DIR/dump" || fail "pg_dump"
q "CREATE DATABASE copy"
"$PGT_BIN/pg_restore" -d copy "$PGT_DIR/dump" 2> "$PGT_DIR/restore.err" || { cat "$PGT_DIR/restore.err"; fail "pg_restore"; }
consumer_stop TERM
export PGDATABASE=copy
check_sql "restored but not wired: the status says what to do" "SELECT DISTINCT status, note FROM pgtrickle.self_monitoring_status()" "NOT_CREATED|came with a dump: run pgtrickle.restore_stream_tables()"
q "SELECT pgtrickle.restore_stream_tables()" > /dev/null 2>&1
check_sql "history is captured for its inserts only" "SELECT insert_only, ignore_old FROM pgtrickle.pgt_sources WHERE relid = 'pgtrickle.pgt_refresh_history'::regclass" "t|t"
consumer_start trickle_copy
check_poll "the consumer compares them with the new history" "SELECT bool_and(NOT needs_reinit) FROM pgtrickle.pgt_stream_tables" t
q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null 2>&1
check_sql "setup finds nothing to do" "$active" 5
verify_all "restored"
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" > /dev/null
check_sql "only refreshes of this database count" "SELECT total_refreshes, full_count FROM pgtrickle.df_efficiency_rolling WHERE pgt_name = 'S 2'" "1|1"
check_sql "a threshold that was set came along" "SELECT pgtrickle.st_auto_threshold('new.\"S 2\"')" 0.33
q "SELECT pgtrickle.teardown_self_monitoring()" > /dev/null
check_sql "and it can be taken down" "SELECT count(*) FROM pgtrickle.pgt_definitions" 1
done_testing
