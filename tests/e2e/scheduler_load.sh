#!/usr/bin/env bash
# First loads of large sources run in the background, one at a time, and hold up nobody; SIGTERM waits for a running refresh.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.sync_load_limit=64kB
extension_new
create() { q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('$1', '$2', schedule => '$3')"; }
q "CREATE TABLE big AS SELECT g AS id, g % 10 AS v FROM generate_series(1, 20000) g; CREATE TABLE u (id int)"
# slow on purpose, and as slow as that on every machine: half a millisecond for each of some rows
q "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$ BEGIN IF i % 10 = 0 THEN PERFORM pg_sleep(0.0005); END IF; RETURN i; END \$\$"
create small "SELECT count(*) AS n FROM u" continuous
consumer_start "$PGT_SLOT" -v --workers=1
create large1 "SELECT v, sum(slow(id)) AS s FROM big GROUP BY v" 1h
create large2 "SELECT v, max(slow(id)) AS s FROM big GROUP BY v" 1h
check_sql "creation did not load them" "SELECT string_agg(is_populated::text, ',') FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'large%'" "false,false"
check_poll "a load runs in the background" "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trickle-consumer load' AND state = 'active'" 1 20
q "INSERT INTO u VALUES (1)"
check_poll "the only worker goes on meanwhile" "SELECT n FROM small" 1 10
check_sql "while a load still runs" "SELECT count(*) < 2 FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'large%' AND is_populated" t
check_poll "both arrive" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE pgt_name LIKE 'large%' AND is_populated AND status = 'ACTIVE'" 2 60
check_sql "one after the other" "SELECT count(*) FROM pgtrickle.pgt_refresh_history a JOIN pgtrickle.pgt_refresh_history b ON a.refresh_id < b.refresh_id
	AND a.action = 'FULL' AND b.action = 'FULL' AND (a.start_time, a.end_time) OVERLAPS (b.start_time, b.end_time)" 0
q "UPDATE big SET v = 11 WHERE id <= 10"
assert_st_equal large1
assert_st_equal large2

# drain
create slow_one "SELECT sum(slow(id)) AS s FROM u" continuous
q "INSERT INTO u SELECT g * 10 FROM generate_series(1, 4000) g"
poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trickle-consumer refresh' AND state = 'active' AND query LIKE '%_refresh_apply%'" 1 20
consumer_stop TERM
check_eq "SIGTERM during a refresh: exit code 0" $? 0
check_sql "and the refresh was finished" "SELECT s FROM slow_one" "$((4000 * 4001 / 2 * 10 + 1))"
done_testing
