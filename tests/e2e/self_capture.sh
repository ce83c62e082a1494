#!/usr/bin/env bash
# Self-monitoring and its surroundings: what of the history is captured and what not, plans, the order of refreshes, an idle system, what
# check_cdc_health and explain_dag say, and DROP EXTENSION with a new start.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int, note text); CREATE TABLE \"a\"\"b\" (id int PRIMARY KEY)"
consumer_start
q "SELECT pgtrickle.create_stream_table('s', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1h')" > /dev/null 2>&1
setup() { q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null 2>&1 && poll_until "SELECT string_agg(DISTINCT status, ',') FROM pgtrickle.self_monitoring_status()" ACTIVE; }
setup || fail "set up"

# ---------------------------------------------------------------- capture of the history: inserts only
q "SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '1h') FROM pgtrickle.self_monitoring_status()" > /dev/null
history=$(q "SELECT 'pgtrickle.pgt_refresh_history'::regclass::oid")
buffered() { caught_up && q "SELECT coalesce(string_agg(op::text || n, ' ' ORDER BY op), '') FROM (SELECT op, count(*) AS n FROM pgtrickle_changes.changes_$history WHERE xid >= '$1' GROUP BY op) x"; }
here() { q "SELECT pg_snapshot_xmax(pg_current_snapshot())"; }
insert="INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
	SELECT 1, now(), now() - interval '1 day' * g, now() - interval '1 day' * g, 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM generate_series(100, 104) g"
from=$(here)
q "$insert"
check_eq "an insert is captured" "$(buffered "$from")" "+5"
from=$(here)
q "UPDATE pgtrickle.pgt_refresh_history SET reason = 'changed', pgt_id = pgt_id + 0, rows_inserted = 7"
check_eq "an update leaves nothing" "$(buffered "$from")" ""
rows=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history")
from=$(here)
check_sql "a purge takes what is old" "SELECT pgtrickle._history_purge()" 5
q "BEGIN; $insert; DELETE FROM pgtrickle.pgt_refresh_history WHERE start_time < now() - interval '90 days'; COMMIT"
check_eq "purge and delete leave nothing, and the insert of a deleted row its row" "$(buffered "$from")" "+5"
from=$(here)
q "INSERT INTO t VALUES (1, 1); UPDATE t SET v = 2; DELETE FROM t"
caught_up
check_sql "other sources are captured whole" "SELECT string_agg(op::text || n, ' ' ORDER BY op) FROM (SELECT op, count(*) AS n FROM pgtrickle_changes.changes_$(q "SELECT 't'::regclass::oid") WHERE xid >= '$from' GROUP BY op) x" "+2 -2"
for df in $(q "SELECT df_name FROM pgtrickle.self_monitoring_status()"); do
	check_sql "$df equals its query after that" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.$df')" "0|0"
done
check_sql "and nobody was made to compare" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action = 'REINITIALIZE'" 0
check_sql "no trigger of ours but on stream tables" "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid NOT IN (SELECT pgt_relid FROM pgtrickle.pgt_definitions)" 0

# a purge beside a refresh: neither waits for the other
q "$insert"
q "BEGIN; SELECT pgtrickle._history_purge(); SELECT pg_sleep(1.5); COMMIT" > /dev/null &
purge=$!
poll_until "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%_history_purge%' AND wait_event = 'PgSleep'" 1 10
q "SET lock_timeout = '1s'; INSERT INTO t VALUES (2, 2); SELECT pgtrickle.refresh_stream_table('s')" > /dev/null 2>&1
q "SET lock_timeout = '1s'; SELECT pgtrickle.refresh_stream_table('s')" > /dev/null || fail "a refresh waits for the purge"
q "SET lock_timeout = '1s'; SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" > /dev/null && pass "history is written and DF-1 refreshed while a purge is open"
wait $purge

# ---------------------------------------------------------------- plans
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
   SELECT g % 50, now(), now() - g * interval '700 ms', now() - g * interval '700 ms' + interval '50 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' FROM generate_series(1, 20000) g; ANALYZE pgtrickle.pgt_refresh_history"
check_eq "one table's hour by the index" "$(q "EXPLAIN SELECT * FROM pgtrickle.pgt_refresh_history WHERE pgt_id = 1 AND start_time > now() - interval '1 hour'" |
	grep -c 'idx_hist_pgt_start')" 1
plan=$(q "EXPLAIN $(q "SELECT query FROM pgtrickle._self_monitoring_tables() WHERE df_name = 'df_scheduling_interference'")")
check_eq "DF-5's self join: a range of an index on both sides" "$(grep -cE '(Index Scan using|Bitmap Index Scan on) idx_hist' <<< "$plan") $(grep -cE 'Index Cond: .*start_time >= [a-z_0-9]+\.start_time.*start_time < [a-z_0-9]+\.end_time' <<< "$plan") $(grep -c 'Seq Scan on pgt_refresh_history' <<< "$plan")" "4 1 0"

# ---------------------------------------------------------------- order, idleness
q "SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '200ms') FROM pgtrickle.self_monitoring_status() WHERE df_name ~ 'rolling|signals|advice'" > /dev/null
last=$(q "SELECT max(refresh_id) FROM pgtrickle.pgt_refresh_history")
check_poll "the consumer refreshes them" "SELECT count(*) > 20 FROM pgtrickle.pgt_refresh_history WHERE refresh_id > $last AND initiated_by = 'SCHEDULER'" t
q "SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '48s') FROM pgtrickle.self_monitoring_status() WHERE df_name ~ 'rolling|signals|advice'" > /dev/null
check_sql "DF-1 and DF-2 of one snapshot, DF-1 first" "SELECT count(*) > 0, bool_and(one.refresh_id < two.refresh_id AND one.data_timestamp <= two.data_timestamp)
	FROM pgtrickle.pgt_refresh_history two JOIN pgtrickle.pgt_definitions d2 ON d2.pgt_id = two.pgt_id AND d2.pgt_name = 'df_anomaly_signals'
	CROSS JOIN LATERAL (SELECT * FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions d1 USING (pgt_id)
	  WHERE d1.pgt_name = 'df_efficiency_rolling' AND h.refresh_id < two.refresh_id ORDER BY refresh_id DESC LIMIT 1) one
	WHERE two.refresh_id > $last AND two.initiated_by = 'SCHEDULER'" "t|t"
check_sql "none of them failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
# their own refreshes are history: one row each per schedule and no more
check_poll "the last of the fast refreshes has ended" "SELECT bool_and(now() - last_refresh_at > interval '1 s') FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'df\_%'" t 60
n=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history")
poll_until "SELECT now() > timestamptz '$(q "SELECT now() + interval '3 s'")'" t 10
check_sql "watching itself does not make it spin" "SELECT count(*) - $n <= 3 FROM pgtrickle.pgt_refresh_history" t

# ---------------------------------------------------------------- check_cdc_health
check_sql "no source has an alert, and no df_* table is listed" "SELECT count(alert), count(*) FILTER (WHERE source_table LIKE '%df\_%'), count(spill_risk) FROM pgtrickle.check_cdc_health()" "0|0|0"
q "SELECT pgtrickle.suspend_stream_table('s'); INSERT INTO t SELECT g, g, repeat('x', 100) FROM generate_series(10, 20000) g" > /dev/null
caught_up
blocks=$(q "SELECT ceil(pending_rows::float8 * buffer_bytes / nullif((SELECT sum(rows) FROM pgtrickle._segments() WHERE source_relid = 't'::regclass), 0) / 8192 / 0.8) FROM pgtrickle.cdc_buffer_row_counts() WHERE source_table = 'public.t'")
check_sql "what waits is counted, not read" "SELECT pending_rows BETWEEN 19991 AND 20100, consumers FROM pgtrickle.cdc_buffer_row_counts() WHERE source_table = 'public.t'" "t|1"
q "ALTER DATABASE postgres SET pg_trickle.spill_threshold_blocks = $blocks"
risk() { check_sql "$1" "SELECT spill_risk FROM pgtrickle.check_cdc_health() WHERE source_table = 'public.t'" "$2"; }
q "DELETE FROM pgtrickle.pgt_buffer_samples; INSERT INTO pgtrickle.pgt_buffer_samples (source_relid, sampled_at, captured_rows, consumed_rows, pending_rows, buffer_bytes)
   SELECT 't'::regclass, now() - (2 - g) * interval '48 s', g * 10, 0, g * 10, 8192 FROM generate_series(1, 2) g"
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_cdc_buffer_trends')" > /dev/null
risk "80 % of the threshold and hardly any growth" ""
q "INSERT INTO pgtrickle.pgt_buffer_samples (source_relid, sampled_at, captured_rows, consumed_rows, pending_rows, buffer_bytes) VALUES ('t'::regclass, now() + interval '48 s', 20000, 0, 20000, 2000000)"
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_cdc_buffer_trends')" > /dev/null
risk "80 % and steep growth" IMMINENT
q "ALTER DATABASE postgres SET pg_trickle.spill_threshold_blocks = 0"
risk "no threshold, no risk" ""
q "ALTER DATABASE postgres SET pg_trickle.spill_threshold_blocks = $((blocks / 2))"
q "SELECT pgtrickle.drop_stream_table('pgtrickle.df_cdc_buffer_trends')" > /dev/null
risk "without DF-4: what waits now is too much already" IMMINENT
q "ALTER DATABASE postgres SET pg_trickle.spill_threshold_blocks = $blocks"
risk "or it is not" ""
setup || fail "set up again"

# ---------------------------------------------------------------- explain_dag
q "SELECT pgtrickle.create_stream_table('\"q\"\"t\"', 'SELECT id FROM \"a\"\"b\"', schedule => '5m', refresh_mode => 'FULL')" > /dev/null 2>&1
dag=$(q "SELECT pgtrickle.explain_dag()")
node() { sed -nE "s/^  ([st][0-9]+)\[.*\"([^\"]*$1)<br\/>.*/\1/p" <<< "$dag"; }
check_eq "Mermaid" "$(head -1 <<< "$dag")" "graph TD"
for df in $(q "SELECT df_name FROM pgtrickle.self_monitoring_status()"); do
	check_eq "$df is green" "$(grep -cE "pgtrickle.$df<br/>[A-Z]+, [0-9]+[hs]*\"\]:::monitor" <<< "$dag")" 1
done
check_eq "green is green" "$(grep -c 'classDef monitor fill:#a5e6a5' <<< "$dag")" 1
check_eq "edges: history to DF-1, DF-1 to DF-2 and DF-3" "$(grep -cxE "  $(node pgt_refresh_history) --> $(node df_efficiency_rolling)|  $(node df_efficiency_rolling) --> ($(node df_anomaly_signals)|$(node df_threshold_advice))" <<< "$dag")" 3
check_eq "no edge the other way" "$(grep -cxE "  ($(node df_anomaly_signals)|$(node df_threshold_advice)) --> .*" <<< "$dag")" 0
check_eq "a suspended one is red" "$(grep -c 'public.s<br/>AUTO, 1h"\]:::suspended' <<< "$dag")" 1
check_eq "quotes in names are escaped, mode and schedule shown" "$(grep -c 'public.&quot;q&quot;&quot;t&quot;<br/>FULL, 5m"\]:::user' <<< "$dag")" 1
q "UPDATE pgtrickle.pgt_state SET fuse_state = 'blown' WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'q\"t')"
check_sql "a blown fuse is orange" "SELECT pgtrickle.explain_dag() LIKE '%FULL, 5m\"]:::fused%'" t
dot=$(q "SELECT pgtrickle.explain_dag('dot', 3)")
check_eq "three nodes of it for Graphviz" "$(grep -c shape= <<< "$dot") $(grep -c 'more nodes are not shown' <<< "$dot")" "3 1"
if command -v dot > /dev/null; then check_eq "Graphviz reads it" "$(q "SELECT pgtrickle.explain_dag('dot')" | dot -Tplain 2>&1 | grep -c '^node')" "$(grep -cE '^  [st][0-9]+[[(]' <<< "$dag")"; fi
check_error "an unknown format" "SELECT pgtrickle.explain_dag('png')" 22023 dot
check_sql "NULL is NULL" "SELECT pgtrickle.explain_dag(NULL) IS NULL" t
q "SELECT pgtrickle.create_stream_table('many' || g, 'SELECT id FROM t', schedule => '1h', initialize => false) FROM generate_series(1, 12) g" > /dev/null 2>&1
check_eq "above 20 nodes a notice" "$(q "SELECT pgtrickle.explain_dag()" 2>&1 | grep -c 'NOTICE:  the graph has')" 1
check_eq "not when limited" "$(q "SELECT pgtrickle.explain_dag(max_nodes => 20)" 2>&1 | grep -c 'NOTICE')" 0

# ---------------------------------------------------------------- DROP EXTENSION and a new start
consumer_stop TERM
q "DROP EXTENSION pg_trickle CASCADE" > /dev/null 2>&1
check_sql "nothing is left of it" "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgtrickle%') + (SELECT count(*) FROM pg_class WHERE relname LIKE 'df\_%' OR relname ~ '^(changes|st)_[0-9]')
	+ (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) + (SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'pgtrickle%') + (SELECT count(*) FROM pg_replication_slots)" 0
extension_new
consumer_start
setup || fail "set up after a new start"
q "SELECT pgtrickle.create_stream_table('s', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1h')" > /dev/null 2>&1
q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by)
   SELECT pgt_id, now(), now() - g * interval '1 min', now() - g * interval '1 min' + g * interval '10 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER'
     FROM pgtrickle.pgt_definitions, generate_series(1, 3) g WHERE pgt_name = 's'"
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" > /dev/null
check_sql "the aggregates are right" "SELECT total_refreshes, diff_count, full_count, avg_diff_ms FROM pgtrickle.df_efficiency_rolling WHERE pgt_name = 's'" "4|3|1|20"
for df in $(q "SELECT df_name FROM pgtrickle.self_monitoring_status()"); do
	check_sql "$df equals its query again" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.$df')" "0|0"
done
done_testing
