#!/usr/bin/env bash
# Self-monitoring from setup to teardown: five stream tables, filled by the consumer, kept by differential refreshes, exact; safe to set up
# again and again, from two sessions at once, over an older definition, with some of them gone; nothing left afterwards.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
dfs="df_efficiency_rolling df_anomaly_signals df_threshold_advice df_cdc_buffer_trends df_scheduling_interference"

check_sql "before: five rows, none created" "SELECT count(*), count(*) FILTER (WHERE status = 'NOT_CREATED'), count(row_count)
	FROM pgtrickle.self_monitoring_status()" "5|5|0"
q "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE ROLE watch LOGIN"
consumer_start
for st in a b c; do
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1h')" > /dev/null
done
for i in 1 2 3 4 5; do
	q "INSERT INTO t VALUES ($i, $i % 2)"
	for st in a b c; do q "SELECT pgtrickle.refresh_stream_table('$st')" > /dev/null; done
done

rows=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history")
out=$(q "SELECT pgtrickle.setup_self_monitoring()" 2>&1)
check_eq "the notice counts the history and names the recommendation" "$(grep -c "currently $rows rows; recommend >= 50" <<< "$out")" 1
check_eq "and is the only one" "$(grep -c NOTICE <<< "$out")" 1
check_sql "five definitions with their schedules" "SELECT string_agg(pgt_name || ' ' || schedule || ' ' || refresh_mode || ' ' || coalesce(full_reason, '-'), ', ' ORDER BY pgt_id)
	FROM pgtrickle.pgt_definitions WHERE pgt_name LIKE 'df\_%'" \
	"df_efficiency_rolling 48s DIFFERENTIAL -, df_anomaly_signals 48s DIFFERENTIAL -, df_threshold_advice 96s DIFFERENTIAL -, df_cdc_buffer_trends 48s DIFFERENTIAL -, df_scheduling_interference 96s FULL -"
check_poll "the consumer fills them" "SELECT string_agg(DISTINCT status, ',') FROM pgtrickle.self_monitoring_status()" ACTIVE
check_sql "the status has refreshes and rows" "SELECT bool_and(last_refresh IS NOT NULL AND note IS NULL), bool_and(row_count >= 3) FILTER (WHERE df_name ~ 'rolling|signals|advice')
	FROM pgtrickle.self_monitoring_status()" "t|t"
PGUSER=watch check_sql "everybody may look" "SELECT count(*) FROM pgtrickle.df_efficiency_rolling WHERE pgt_name IN ('a', 'b', 'c')" 3
PGUSER=watch check_error "not everybody may set up" "SELECT pgtrickle.setup_self_monitoring()" 42501

# capture
check_sql "history is captured for its inserts only" "SELECT insert_only, ignore_old FROM pgtrickle.pgt_sources WHERE relid = 'pgtrickle.pgt_refresh_history'::regclass" "t|t"
check_sql "its replica identity is left alone" "SELECT relreplident FROM pg_class WHERE oid = 'pgtrickle.pgt_refresh_history'::regclass" d
check_sql "no trigger on any table but stream tables" "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid NOT IN (SELECT pgt_relid FROM pgtrickle.pgt_definitions)" 0

# again
for i in 1 2 3; do q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null 2>&1 || fail "setup again, $i"; done
check_sql "still five, and no more" "SELECT count(*), count(DISTINCT pgt_name) FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'df\_%'" "5|5"
check_sql "as they were" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'df\_%' AND status = 'ACTIVE' AND is_populated AND NOT needs_reinit" 5

verify_all()
{
	local df
	for df in $dfs; do
		check_sql "$1: $df equals its query" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.$df')" "0|0"
	done
}
verify_all "after the first load"
for i in 6 7 8; do
	q "INSERT INTO t VALUES ($i, $i % 2)"
	for st in a b c; do q "SELECT pgtrickle.refresh_stream_table('$st')" > /dev/null; done
done
verify_all "after more history"
check_sql "kept differentially" "SELECT string_agg(DISTINCT h.action, ',') FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions d USING (pgt_id)
	WHERE d.pgt_name IN ('df_efficiency_rolling', 'df_anomaly_signals', 'df_threshold_advice', 'df_cdc_buffer_trends') AND h.initiated_by = 'MANUAL'" DIFFERENTIAL

# advice from a workload of its own: AUTO, refreshed by the scheduler, nobody asks for a full refresh
q "SELECT pgtrickle.create_stream_table('auto', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '50ms')" > /dev/null
n=100
until [ "$(q "SELECT count(*) >= 21 FROM pgtrickle.pgt_refresh_history WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'auto')")" = t ] || [ $n -gt 400 ]; do
	q "INSERT INTO t VALUES ($n, $n % 3)"
	n=$((n + 1))
done
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" > /dev/null
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_threshold_advice')" > /dev/null
check_sql "twenty cycles of AUTO give advice of high confidence" "SELECT confidence, full_count, recommended_threshold BETWEEN 0.01 AND 0.80, avg_full_ms > 0
	FROM pgtrickle.df_threshold_advice WHERE pgt_name = 'auto'" "HIGH|1|t|t"
check_sql "and recommend_refresh_mode says so" "SELECT mode IN ('DIFFERENTIAL', 'FULL', 'AUTO'), confidence FROM pgtrickle.recommend_refresh_mode('auto')" "t|HIGH"
q "SELECT pgtrickle.drop_stream_table('auto')" > /dev/null

# one transaction may refresh several of them: history is written when it commits
q "INSERT INTO t VALUES (9, 1)"
q "BEGIN; SELECT pgtrickle.refresh_stream_table('a'); SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling');
   SELECT pgtrickle.refresh_stream_table('pgtrickle.df_anomaly_signals'); SELECT pgtrickle.refresh_stream_table('pgtrickle.df_threshold_advice'); COMMIT" > /dev/null
check_sql "all of them left their row" "SELECT count(*) FROM (SELECT pgt_id FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 4) h
	JOIN pgtrickle.pgt_definitions d USING (pgt_id) WHERE d.pgt_name IN ('a', 'df_efficiency_rolling', 'df_anomaly_signals', 'df_threshold_advice')" 4
verify_all "after one transaction for four"
before=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'b')")
q "BEGIN; SAVEPOINT s; SELECT pgtrickle.refresh_stream_table('b'); ROLLBACK TO s; COMMIT" > /dev/null
check_sql "a refresh rolled back to a savepoint leaves none" "SELECT count(*) FROM pgtrickle.pgt_refresh_history
	WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'b')" "$before"
q "BEGIN; SAVEPOINT s; SELECT pgtrickle.refresh_stream_table('b'); RELEASE s; COMMIT" > /dev/null
check_sql "one in a released savepoint leaves one" "SELECT count(*) FROM pgtrickle.pgt_refresh_history
	WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'b')" "$((before + 1))"
check_error "what the transaction refreshes it cannot have written" "BEGIN; INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, action, status)
	VALUES (0, now(), now(), 'SKIP', 'SKIPPED'); SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" 55006 pgt_refresh_history
out=$(q "SELECT pgtrickle.create_stream_table('own', 'SELECT action, count(*) AS n FROM pgtrickle.pgt_refresh_history GROUP BY action', schedule => '1h')" 2>&1)
check_eq "a stream table of one's own over the history: a notice" "$(grep -c 'updates and deletes of pgtrickle.pgt_refresh_history are not captured' <<< "$out")" 1
check_sql "it works" "SELECT missing, extra FROM pgtrickle.verify_stream_table('own')" "0|0"
q "SELECT pgtrickle.drop_stream_table('own')" > /dev/null
check_error "what every refresh writes cannot be a source" "SELECT pgtrickle.create_stream_table('s', 'SELECT status FROM pgtrickle.pgt_state')" 0A000 internal

# an older definition is brought up to date, without touching what the user has set
q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_threshold_advice', query => 'SELECT pgt_id, pgt_schema, pgt_name, avg_diff_ms FROM pgtrickle.df_efficiency_rolling', schedule => '2min')" > /dev/null 2>&1
check_sql "the status tells" "SELECT note FROM pgtrickle.self_monitoring_status() WHERE df_name = 'df_threshold_advice'" "defined by another version: run pgtrickle.setup_self_monitoring()"
q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null 2>&1
check_sql "setup repairs it" "SELECT count(*) FROM pg_attribute WHERE attrelid = 'pgtrickle.df_threshold_advice'::regclass AND attname = 'recommended_threshold'" 1
check_sql "and leaves its schedule" "SELECT schedule FROM pgtrickle.pgt_definitions WHERE pgt_name = 'df_threshold_advice'" 2min
check_poll "it is filled again" "SELECT status FROM pgtrickle.self_monitoring_status() WHERE df_name = 'df_threshold_advice'" ACTIVE
verify_all "after the repair"

# teardown
q "CREATE VIEW mine AS SELECT pgt_name FROM pgtrickle.df_efficiency_rolling"
check_error "what a user built on them is not dropped unasked" "SELECT pgtrickle.teardown_self_monitoring()" 2BP01
check_sql "and nothing happened" "SELECT count(*) FROM pgtrickle.self_monitoring_status() WHERE status = 'ACTIVE'" 5
q "SELECT pgtrickle.drop_stream_table('pgtrickle.df_anomaly_signals'); SELECT pgtrickle.drop_stream_table('pgtrickle.df_scheduling_interference'); DROP VIEW mine" > /dev/null
q "SELECT pgtrickle.teardown_self_monitoring()" > /dev/null
check_sql "teardown takes what is left" "SELECT count(*) FILTER (WHERE status = 'NOT_CREATED') FROM pgtrickle.self_monitoring_status()" 5
q "SELECT pgtrickle.teardown_self_monitoring()" > /dev/null || fail "teardown of nothing"
check_sql "catalog tables are no sources any more" "SELECT count(*) FROM pgtrickle.pgt_sources WHERE relid <> 't'::regclass" 0
check_sql "and have their identity back" "SELECT count(*) FROM pg_class c WHERE relnamespace = 'pgtrickle'::regnamespace AND relkind = 'r' AND relreplident <> 'd'" 0

# two sessions at once
q "BEGIN; SELECT pgtrickle.setup_self_monitoring(); SELECT pg_sleep(0.3); COMMIT" > "$PGT_DIR/one" 2>&1 &
one=$!
q "SELECT pgtrickle.setup_self_monitoring()" > "$PGT_DIR/two" 2>&1
two=$?
wait $one
check_eq "two sessions set up at once" "$? $two" "0 0"
check_sql "five tables came of it" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'df\_%'" 5
q "CREATE VIEW mine AS SELECT pgt_name FROM pgtrickle.df_efficiency_rolling; SELECT pgtrickle.teardown_self_monitoring(\"cascade\" => true)" > /dev/null 2>&1
check_sql "asked to, teardown takes what reads them" "SELECT to_regclass('mine') IS NULL" t
# under way: teardown meets first loads and refreshes at every stage, and nobody deadlocks
q "SELECT pgtrickle.create_stream_table('busy', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '20ms')" > /dev/null
bad=0
for i in 1 2 3 4 5 6 7 8; do
	q "SELECT pgtrickle.setup_self_monitoring(); SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '20ms') FROM pgtrickle.self_monitoring_status()" > /dev/null 2>&1 || bad=$((bad + 1))
	q "INSERT INTO t VALUES ($((5000 + i)), 1)"
	[ $((i % 3)) = 0 ] || poll_until "SELECT count(*) >= $((i % 6)) FROM pgtrickle.self_monitoring_status() WHERE status = 'ACTIVE'" t 10
	q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null 2>&1 || bad=$((bad + 1))
	q "SELECT pgtrickle.teardown_self_monitoring()" > /dev/null 2>> "$PGT_DIR/bad" || bad=$((bad + 1))
done
[ $bad = 0 ] || cat "$PGT_DIR/bad"
check_eq "eight rounds beside running refreshes" $bad 0
check_eq "no deadlock" "$(grep -c 'deadlock detected' "$CLUSTER_LOG")" 0
check_sql "nothing is left of the rounds" "SELECT count(*) FROM pgtrickle.pgt_sources WHERE relid <> 't'::regclass" 0
done_testing
