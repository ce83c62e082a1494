#!/usr/bin/env bash
# Refreshes that really run side by side: DF-5 finds the pairs that an oracle with ranges finds, and all df_* tables stay exact while
# the history they read, their own included, is being written.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.self_monitoring_widen_dispatch=off pg_trickle.max_concurrent_refreshes=8
extension_new
# a refresh that takes its time without taking the processor
q "CREATE FUNCTION slow(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.2); RETURN x; END'"
for st in a b c; do
	q "CREATE TABLE t_$st (id int PRIMARY KEY, v int)"
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT slow(count(*)::int) AS n FROM t_$st', schedule => '100ms', refresh_mode => 'FULL')" > /dev/null 2>&1
done
q "CREATE TABLE t (id int PRIMARY KEY, v int); SELECT pgtrickle.create_stream_table('quick', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '50ms')" > /dev/null 2>&1
consumer_start
q "SELECT pgtrickle.setup_self_monitoring(); SELECT pgtrickle.alter_stream_table('pgtrickle.' || df_name, schedule => '300ms') FROM pgtrickle.self_monitoring_status()" > /dev/null 2>&1
check_poll "set up" "SELECT count(*) FILTER (WHERE status = 'ACTIVE') FROM pgtrickle.self_monitoring_status()" 5

# for each pair, how often refreshes of one and the other overlapped, by ranges over the whole history
oracle="SELECT a.pgt_id AS pgt_id_a, b.pgt_id AS pgt_id_b, count(*) AS overlap_count
	FROM pgtrickle.pgt_refresh_history a JOIN pgtrickle.pgt_refresh_history b ON a.pgt_id < b.pgt_id AND tstzrange(a.start_time, a.end_time) && tstzrange(b.start_time, b.end_time)
	WHERE a.status = 'COMPLETED' AND b.status = 'COMPLETED' GROUP BY 1, 2"
pairs="SELECT count(*) FROM ($oracle) x JOIN pgtrickle.pgt_definitions p ON p.pgt_id = pgt_id_a JOIN pgtrickle.pgt_definitions q ON q.pgt_id = pgt_id_b
	WHERE p.pgt_name IN ('a', 'b', 'c') AND q.pgt_name IN ('a', 'b', 'c') AND overlap_count >= 3"
# one statement for all, again and again, until it is told to stop
q "CREATE TABLE stop (x int)"
q "DO \$\$ DECLARE i int := 0; BEGIN LOOP i := i + 1; EXIT WHEN i > 1000 OR EXISTS (SELECT FROM stop);
     INSERT INTO t_a VALUES (i, 1); INSERT INTO t_b VALUES (i, 1); INSERT INTO t_c VALUES (i, 1); INSERT INTO t VALUES (i, i % 5); COMMIT; PERFORM pg_sleep(0.1); END LOOP; END \$\$" &
writer=$!
exact=0
n=0
deadline=$((SECONDS + 90))
until [ $n -ge 5 ] && [ "$(q "$pairs")" = 3 ] || [ $SECONDS -ge $deadline ]; do
	n=$((n + 1))
	df=$(q "SELECT df_name FROM pgtrickle._self_monitoring_tables() WHERE ord = $((n % 5 + 1))")
	[ "$(q "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.$df')")" = "0|0" ] && exact=$((exact + 1)) || echo "# $df differs from its query"
done
q "INSERT INTO stop VALUES (1)"
wait $writer
check_sql "three stream tables overlapped, each pair at least three times" "$pairs" 3
check_eq "verified $n times while the consumer refreshes: always equal" $exact $n
q "SELECT pgtrickle.alter_stream_table(quote_ident(pgt_schema) || '.' || quote_ident(pgt_name), schedule => '1h') FROM pgtrickle.pgt_definitions" > /dev/null
poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'trickle-consumer%' AND state = 'active' AND query LIKE '%_refresh_%'" 0 20
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_scheduling_interference')" > /dev/null
# its own refresh is the one row that it cannot know
oracle=${oracle/WHERE a.status/WHERE a.end_time <= x.at AND b.end_time <= x.at AND a.status}
check_sql "DF-5 has exactly the pairs of the oracle" "WITH x AS (SELECT start_time AS at FROM pgtrickle.pgt_refresh_history WHERE initiated_by = 'MANUAL' ORDER BY refresh_id DESC LIMIT 1),
	o AS (${oracle/pgt_refresh_history a/pgt_refresh_history a CROSS JOIN x} HAVING count(*) >= 3), d AS (SELECT pgt_id_a, pgt_id_b, overlap_count FROM pgtrickle.df_scheduling_interference)
	SELECT (SELECT count(*) >= 3 FROM o), (SELECT count(*) FROM (TABLE o EXCEPT TABLE d) y), (SELECT count(*) FROM (TABLE d EXCEPT TABLE o) y)" "t|0|0"
check_sql "the three of them by name" "SELECT string_agg(st_name_a || ' ' || st_name_b, ', ' ORDER BY st_name_a, st_name_b) FROM pgtrickle.df_scheduling_interference
	WHERE st_name_a IN ('public.a', 'public.b', 'public.c') AND st_name_b IN ('public.a', 'public.b', 'public.c')" "public.a public.b, public.a public.c, public.b public.c"
check_sql "they take what the function takes" "SELECT bool_and(avg_duration_a_ms >= 195 AND avg_duration_b_ms >= 195 AND overlap_ms > 0) FROM pgtrickle.df_scheduling_interference
	WHERE st_name_a IN ('public.a', 'public.b') AND st_name_b IN ('public.b', 'public.c')" t
check_sql "no refresh failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
done_testing
