#!/usr/bin/env bash
# When and in which order stream tables are refreshed: chains, diamonds that stay consistent under writers, calculated, tiers, cron.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
quiet="SET client_min_messages = warning;"
create() { q "$quiet SELECT pgtrickle.create_stream_table('$1', '$2', schedule => '$3')"; }
refreshes() { echo "SELECT count(*) FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = '$1' AND initiated_by = 'SCHEDULER'"; }

q "CREATE TABLE t (g int, x int); CREATE TABLE u (id int); CREATE TABLE c (id int)"
q "INSERT INTO t SELECT g % 5, 1 FROM generate_series(1, 50) g"

# cron first: it is looked at last, after its minute has come
create by_minute "SELECT count(*) AS n FROM c" "* * * * *"
# a chain, and a diamond over t: every row of t has x = 1, so in d both sides agree unless they are of different moments
create a "SELECT g, sum(x) AS s FROM t GROUP BY g" continuous
create b "SELECT g, count(*) AS n FROM t GROUP BY g" continuous
create d "SELECT a.g, a.s, b.n FROM a JOIN b ON a.g = b.g" continuous
create chain2 "SELECT sum(s) AS total FROM a" continuous
create chain3 "SELECT total * 2 AS twice FROM chain2" continuous
consumer_start "$PGT_SLOT" -v --workers=3
q "INSERT INTO c VALUES (1)"
q "INSERT INTO t VALUES (1, 1)"
check_poll "a chain of three follows its table" "SELECT twice FROM chain3" 102 20

# writers, and a reader that looks for a moment at which the diamond does not close
for w in 1 2 3; do
	for i in $(seq 1 150); do echo "INSERT INTO t SELECT (random() * 4)::int, 1 FROM generate_series(1, 3);"; done | q_script > /dev/null &
	writers[$w]=$!
done
torn=0
looks=0
while kill -0 "${writers[1]}" 2> /dev/null || kill -0 "${writers[2]}" 2> /dev/null; do
	torn=$((torn + $(q "SELECT count(*) FROM d WHERE s <> n")))
	looks=$((looks + 1))
done
wait "${writers[@]}"
check_eq "the diamond was never torn ($looks looks)" "$torn" 0
check_poll "everything arrives" "SELECT (SELECT sum(n) FROM d) || ',' || (SELECT twice FROM chain3)" "1401,2802" 20
for st in a b d chain2 chain3; do assert_st_current $st; done
check_sql "the members of the diamond are of the same moment" "SELECT count(DISTINCT data_timestamp) FROM pgtrickle.pgt_stream_tables
	WHERE pgt_name IN ('a', 'b', 'd')" 1

# calculated: alone by the default, else when its reader is due
create alone "SELECT count(*) AS n FROM u" calculated
create base "SELECT id, count(*) AS n FROM u GROUP BY id" calculated
create hourly "SELECT sum(n) AS n FROM base" 1h
create frozen "SELECT count(*) + 1 AS n FROM u" 100ms
q "SELECT pgtrickle.alter_stream_table('frozen', tier => 'frozen')" > /dev/null
poll_until "$(refreshes hourly)" 0 5
q "INSERT INTO u SELECT generate_series(1, 10)"
check_poll "calculated without a reader uses the default interval" "SELECT n FROM alone" 10 20
check_sql "calculated waits for its reader" "SELECT count(*) FROM base" 0
check_sql "a frozen one is left alone" "SELECT n FROM frozen" 1
q "SELECT pgtrickle.alter_stream_table('hourly', schedule => '200ms')" > /dev/null
check_poll "and is refreshed with it" "SELECT n FROM hourly" 10 20
assert_st_current base
q "SELECT pgtrickle.alter_stream_table('frozen', tier => 'hot')" > /dev/null
check_poll "thawed, it catches up" "SELECT n FROM frozen" 11 20

# the clock changes a stream table without any write
q "CREATE TABLE valid (until timestamptz); INSERT INTO valid VALUES (now() + interval '4 seconds'), ('infinity')"
create still_valid "SELECT count(*) AS n FROM valid WHERE until > now()" 200ms
check_sql "valid at first" "SELECT n FROM still_valid" 2
check_poll "time alone makes it due" "SELECT n FROM still_valid" 1 20

# the master switch
cluster_set pg_trickle.enabled=off
cluster_reload
is_off() { q "INSERT INTO u VALUES (100)"; q "SELECT pg_sleep(0.5)" > /dev/null; [ "$(q "SELECT n FROM frozen")" -lt "$(q "SELECT count(*) FROM u")" ]; }
check "pg_trickle.enabled = off stops the scheduler" poll_cmd 20 is_off
cluster_set pg_trickle.enabled=on
cluster_reload
check_poll "and on again, it catches up" "SELECT n = (SELECT count(*) + 1 FROM u) FROM frozen" t 20
q "DELETE FROM u WHERE id = 100"

# a refresh by hand upstream reaches the readers
q "SELECT pgtrickle.alter_stream_table('base', schedule => '1h')" > /dev/null
q "INSERT INTO u SELECT generate_series(1, 10)"
q "SELECT pgtrickle.refresh_stream_table('base')" > /dev/null
check_poll "what somebody else refreshed reaches the readers" "SELECT n FROM hourly" 20 20

check_poll "cron: refreshed" "SELECT n FROM by_minute" 1 70
check_sql "at the beginning of a minute" "SELECT bool_and(extract(second FROM start_time) < 5) FROM pgtrickle.pgt_refresh_history h
	JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = 'by_minute' AND initiated_by = 'SCHEDULER'" t
check_sql "nothing failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
consumer_stop TERM
check_eq "SIGTERM: exit code 0" $? 0
done_testing
