#!/usr/bin/env bash
# What self_monitoring_auto_apply changes by itself: when it may, how often, what it leaves alone, and what it puts back.
#
# That something was *not* done is shown by a witness: advice for one more stream table (w1, w2, …), which comes last in the same pass.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/selfmon.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (g int, x int); INSERT INTO t SELECT g % 5, g FROM generate_series(1, 100) g"
for st in a b c d e v r w1 w2 w3 w4 w5 w6 w7; do
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT g, sum(x) AS s FROM t GROUP BY g', schedule => '100ms')" > /dev/null
done
df_advice_new
consumer_start
policy_log() { grep -c "$1" "$PGT_DIR/consumer.log"; }
count_at_least() { [ "$(policy_log "$1")" -ge "$2" ]; }
witness() { advise "$1" 0.15 0.18; check_poll "$2" "$(threshold "$1")" 0.18 30; }

# ---- off, and on without a restart
q "INSERT INTO t VALUES (1, 1)"
advise a 0.15 0.18
check_poll "the advice is there" "SELECT count(*) FROM pgtrickle.df_threshold_advice" 1
check_eq "the default is off" "$(q "SELECT pgtrickle.version(); SELECT boot_val FROM pg_settings WHERE name = 'pg_trickle.self_monitoring_auto_apply'" | tail -1)" off
check_poll "a is refreshed" "SELECT s FROM a WHERE g = 1" 971
check_sql "off: nothing is changed" "$(threshold a)" default
before=$(q "SELECT count(*) || ',' || (SELECT value FROM pgtrickle.explain_st('a') WHERE property = 'last_action') FROM pgtrickle.get_refresh_history('a')")
q "ALTER DATABASE postgres SET pg_trickle.self_monitoring_auto_apply = threshold_only"
check_poll "ALTER DATABASE reaches the running consumer, and the threshold is raised" "$(threshold a)" 0.18 30
check_sql "an audit row says so" "SELECT action, status, initiated_by, reason FROM pgtrickle.pgt_refresh_history WHERE initiated_by = 'SELF_MONITOR'" \
	"SKIP|SKIPPED|SELF_MONITOR|auto_threshold: 0.15 -> 0.18 (as the test says)"
check_sql "and people can read it" "SELECT stream_table, setting, old_value, new_value, why FROM pgtrickle.self_monitoring_changes()" \
	"public.a|auto_threshold|0.15|0.18|as the test says"
check_sql "it is no refresh" "SELECT count(*) || ',' || (SELECT value FROM pgtrickle.explain_st('a') WHERE property = 'last_action') FROM pgtrickle.get_refresh_history('a')" "$before"

# ---- once in ten minutes, across a restart
advise a 0.18 0.216
witness w1 "advice for others is followed"
check_sql "a second change has to wait" "$(threshold a)" 0.18
consumer_kill
consumer_start
witness w2 "a new consumer goes on"
check_sql "a restart does not reset the limit" "$(threshold a)" 0.18
check_sql "one change, exactly" "$(audits a)" 1
age_changes 9
witness w3 "after nine minutes"
check_sql "still one" "$(audits a)" 1
age_changes 2
q "UPDATE advice SET avg_full_ms = 101"
check_poll "after eleven minutes the next change comes" "$(threshold a)" 0.216 30
check_sql "two now" "$(audits a)" 2

# ---- what is left alone
q "SELECT pgtrickle.suspend_stream_table('b')"
q "UPDATE pgtrickle.pgt_state SET fuse_state = 'blown' WHERE pgt_id = $(st_id c)"
advise b 0.15 0.18
advise c 0.15 0.18
advise d 0.15 0.18 MEDIUM
advise e 0.15 0.157
q "INSERT INTO advice SELECT pgt_id, pgt_schema, pgt_name, 0.15, 0.18, 'HIGH', 'itself', 1, 100, 20, 2, 0.01, 1000, NULL, NULL, 'AUTO'
     FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'df_threshold_advice'"
witness w4 "others go on"
check_sql "suspended, fuse blown, MEDIUM, within 5 %, self-monitoring itself: left alone" \
	"SELECT string_agg(pgt_name, ',') FROM pgtrickle.pgt_stream_tables WHERE auto_threshold IS NOT NULL AND pgt_name IN ('b', 'c', 'd', 'e', 'df_threshold_advice')" ""
check_eq "the lock finds it out as well: suspended" "$(q "SELECT pgtrickle._policy_apply($(st_id b), 'auto_threshold', NULL, '0.15', '0.18', 'x', false)")" "its status is SUSPENDED"
check_eq "fuse blown" "$(q "SELECT pgtrickle._policy_apply($(st_id c), 'auto_threshold', NULL, '0.15', '0.18', 'x', false)")" "its fuse has blown"
check_eq "changed meanwhile" "$(q "SELECT pgtrickle._policy_apply($(st_id d), 'auto_threshold', NULL, '0.2', '0.18', 'x', false)")" "somebody has changed it"
check_error "out of range" "SELECT pgtrickle._policy_apply($(st_id d), 'auto_threshold', NULL, '0.15', '0.81', 'x', false)" 22023 "0.81"
check_error "alter_stream_table takes it too, within its range" "SELECT pgtrickle.alter_stream_table('d', auto_threshold => 1.5)" 22023 auto_threshold
check_error "and only members of pgtrickle_consumer may" "SET ROLE pg_monitor; SELECT pgtrickle._policy_anomalies()" 42501

# ---- gone between advice and change
v=$(st_id v)
q "SELECT pgtrickle.drop_stream_table('v')"
q "INSERT INTO advice VALUES ($v, 'public', 'v', 0.15, 0.18, 'HIGH', 'gone', 1, 100, 20, 2, 0.01, 1000, NULL, NULL, 'AUTO')"
witness w5 "advice for one that has gone does not stop the others"
check "a WARNING names it" count_at_least 'WARNING.*auto_threshold of public.v was not changed.*does not exist' 1
q "DELETE FROM advice WHERE pgt_name = 'v'"
# the race itself: it is dropped by a transaction that commits while the policy waits for its row
{ echo "BEGIN; SELECT pgtrickle.drop_stream_table('r');"; read -r; echo "COMMIT;"; } < <(poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trickle-consumer policy' AND wait_event_type = 'Lock'" 1 30; echo) |
	q_script > /dev/null &
dropping=$!
poll_until "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'r' AND mode = 'AccessExclusiveLock' AND granted" 1 20
q "INSERT INTO advice SELECT pgt_id, pgt_schema, pgt_name, 0.15, 0.18, 'HIGH', 'raced', 1, 100, 20, 2, 0.01, 1000, NULL, NULL, 'AUTO'
     FROM pgtrickle.pgt_definitions WHERE pgt_name IN ('r', 'w6')"
check_poll "the change waits for the drop, fails, and the next row is applied" "$(threshold w6)" 0.18 30
wait $dropping
check "with a WARNING" count_at_least 'WARNING.*auto_threshold of public.r was not changed.*does not exist' 1
q "DELETE FROM advice"

# ---- full: tiers
q "ALTER DATABASE postgres RESET pg_trickle.self_monitoring_auto_apply"
check "RESET reaches the consumer" poll_cmd 20 count_at_least 'self_monitoring_auto_apply is off now' 1
cluster_set pg_trickle.self_monitoring_auto_apply=full
cluster_reload
check "so does a reload" poll_cmd 20 count_at_least 'self_monitoring_auto_apply is full now' 1
tier() { echo "SELECT refresh_tier FROM pgtrickle.pgt_definitions WHERE pgt_name = '$1'"; }
advise d 0.15 0.15 HIGH 5000 1000
check_poll "one that cannot keep its schedule goes one tier down" "$(tier d)" warm 30
check_sql "audited" "SELECT stream_table, setting, old_value, new_value FROM pgtrickle.self_monitoring_changes(1)" "public.d|refresh_tier|hot|warm"
advise d 0.15 0.15 HIGH 100 1000
witness w7 "it fits again, but ten minutes have not passed"
check_sql "so it stays" "$(tier d)" warm
age_changes 11
q "UPDATE advice SET avg_full_ms = 102"
check_poll "then it goes back" "$(tier d)" hot 30
check_sql "audited, and nothing stands any more" "SELECT (SELECT setting || old_value || new_value FROM pgtrickle.self_monitoring_changes(1)), count(*) FROM pgtrickle.pgt_policy_actions" "refresh_tierwarmhot|0"

# ---- full: pairs
df_interference_new
interfere a e 5 1.6
check_poll "a pair that slows each other down is separated" "SELECT pgt_id, partner FROM pgtrickle.pgt_policy_actions WHERE setting = 'sequence'" "$(st_id a)|$(st_id e)" 30
check_sql "audited for both" "SELECT string_agg(stream_table || ' ' || setting || ' ' || new_value || ' ' || why, '; ' ORDER BY stream_table) FROM pgtrickle.self_monitoring_changes(2)" \
	"public.a sequence sequenced with public.e: they slow each other down; public.e sequence sequenced with public.a: they slow each other down"
age_changes 11
q "DELETE FROM interference"
check_poll "and comes together again when they do not meet any more" "SELECT count(*) FROM pgtrickle.pgt_policy_actions" 0 30
# switched off: what stands is put back at once
age_changes 11
advise e 0.15 0.15 HIGH 5000 1000
check_poll "another one goes down" "$(tier e)" warm 30
cluster_set pg_trickle.self_monitoring_auto_apply=off
cluster_reload
check_poll "off puts it back" "$(tier e)" hot 30

# ---- nothing was disturbed
q "SELECT pgtrickle.resume_stream_table('b')"
for st in a b d e w1; do assert_st_equal $st; done
check_sql "nothing failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
consumer_stop TERM
check_eq "SIGTERM: exit code 0" $? 0
done_testing
