#!/usr/bin/env bash
# How a refresh is made: what AUTO chooses from what history, and diffs of rows that are stored in every odd way.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new "client_min_messages=warning" autovacuum=off
extension_new
consumer_start
last() { q "SELECT action || ' ' || coalesce(h.merge_strategy_used, '-') FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = '$1' ORDER BY refresh_id DESC LIMIT 1"; }
why() { q "SELECT coalesce(h.reason, '-') FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = '$1' ORDER BY refresh_id DESC LIMIT 1"; }
refresh() { q "SELECT pgtrickle.refresh_stream_table('$1')" > /dev/null; }

q "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); INSERT INTO t SELECT g, g FROM generate_series(1, 20000) g; ANALYZE t"
q "SELECT pgtrickle.create_stream_table('s', 'SELECT id, v FROM t', schedule => '1d')" > /dev/null
# A history of our own: `past ACTION ROWS MS [TIMES]`, newest last.
forget() { q "DELETE FROM pgtrickle.pgt_refresh_history"; age=1000; }
past()
{
	local i
	for i in $(seq 1 "${4:-1}"); do
		age=$((age - 1))
		q "INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, delta_row_count, merge_strategy_used, status, initiated_by)
		   SELECT pgt_id, now(), now() - interval '$age s', now() - interval '$age s' + interval '$3 ms', '$1', $2, CASE '$1' WHEN 'FULL' THEN 'diff' END, 'COMPLETED', 'SCHEDULER'
		   FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 's'"
	done
}
# choose NAME EXPECTED-ACTION REASON-PATTERN [ROWS]: updates rows (each counts twice), refreshes
choose()
{
	q "UPDATE t SET v = v + 1 WHERE id <= ${4:-2000}"
	refresh s
	check_eq "$1" "$(last s)" "$2"
	[[ $(why s) =~ $3 ]] || { echo "# reason: $(why s)"; fail "$1: reason"; }
}

forget
choose "nothing measured, more than 15 % changed" "FULL diff" "20 % of the source rows changed"
forget
choose "nothing measured, less changed" "DIFFERENTIAL bag" "10 % of the source rows changed, differential_max_change_ratio is 15 %" 1000
forget
choose "few rows are not weighed" "DIFFERENTIAL bag" "^-$" 10
forget; past DIFFERENTIAL 4000 100 5; past FULL 4000 200
choose "incremental was cheaper, however much changed" "DIFFERENTIAL bag" "incremental takes 100.0 ms, diff takes 200.0 ms"
forget; past FULL 4000 20; past DIFFERENTIAL 4000 100 5
choose "diff was cheaper" "FULL diff" "incremental takes 100.0 ms, diff takes 20.0 ms, last time incremental"
forget; past FULL 4000 98; past DIFFERENTIAL 4000 100 5
choose "not by so little" "DIFFERENTIAL bag" "last time incremental"
forget; past DIFFERENTIAL 4000 90 5; past FULL 4000 100 2
choose "nor back by so little" "FULL diff" "incremental takes 90.0 ms, diff takes 100.0 ms, last time diff"
forget; past DIFFERENTIAL 4000 70 5; past FULL 4000 100 2
choose "back when it is worth it" "DIFFERENTIAL bag" "last time diff"
forget; past DIFFERENTIAL 4000 90 5; past FULL 4000 100
choose "one diff was a trial" "DIFFERENTIAL bag" "last time diff"
forget; past DIFFERENTIAL 400 8 5; past FULL 4000 50
choose "what is only scaled from afar is tried" "DIFFERENTIAL bag" "incremental would take about 80.0 ms, diff takes 50.0 ms"
forget; past DIFFERENTIAL 4000 30 4; past DIFFERENTIAL 4000 5000; past FULL 4000 100
choose "one that took long by accident does not count" "DIFFERENTIAL bag" "incremental takes 30.0 ms"
forget; past FULL 400 50; past DIFFERENTIAL 400 20 5
choose "other sizes are scaled" "FULL diff" "incremental would take about 200.0 ms, diff took 50.0 ms"
forget; past FULL 100 1; past DIFFERENTIAL 10 20 5
choose "but not from afar" "FULL diff" "of the source rows changed"
forget; past DIFFERENTIAL 2800 9999999
choose "a diff is tried when incremental is very slow" "FULL diff" "a diff is not measured, a load would take" 1400
# the load of a table that was empty says nothing about a diff
q "CREATE TABLE e (id int PRIMARY KEY, v int NOT NULL)"
q "SELECT pgtrickle.create_stream_table('se', 'SELECT id, v FROM e', schedule => '1d')" > /dev/null
q "INSERT INTO e SELECT g, g FROM generate_series(1, 1400) g"
refresh se
q "INSERT INTO e SELECT g, g FROM generate_series(2001, 3400) g"
q "UPDATE pgtrickle.pgt_refresh_history SET end_time = start_time + interval '9999 s' WHERE action = 'DIFFERENTIAL'"
refresh se
check_eq "a load of nothing is no measure" "$(last se)" "DIFFERENTIAL bag"
# neither way is left again and again: ten refreshes of one size, at most one change of mind
forget
for i in $(seq 1 10); do
	q "UPDATE t SET v = v + 1 WHERE id <= 2500"
	refresh s
done
check_sql "no flapping" "SELECT count(*) <= 2 FROM (SELECT action, lag(action) OVER (ORDER BY refresh_id) AS before FROM pgtrickle.pgt_refresh_history h
	JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name = 's') x WHERE action <> before" t

q "SELECT pgtrickle.alter_stream_table('s', auto_threshold => 0.5)" > /dev/null
forget; past FULL 4000 20; past DIFFERENTIAL 4000 100 5
choose "a threshold that somebody set decides alone" "DIFFERENTIAL bag" "20 % of the source rows changed, auto_threshold is 50 %"
q "SELECT pgtrickle.alter_stream_table('s', auto_threshold => 0.1)" > /dev/null
choose "either way" "FULL diff" "auto_threshold is 10 %"
q "SELECT pgtrickle.alter_stream_table('s', refresh_mode => 'DIFFERENTIAL', max_delta_fraction => 0.15)" > /dev/null
choose "max_delta_fraction binds DIFFERENTIAL too" "FULL diff" "max_delta_fraction is 15 %"
check_sql "which is a fallback" "SELECT was_full_fallback FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 1" t
check_sql "explain_st tells" "SELECT value FROM pgtrickle.explain_st('s') WHERE property = 'last_reason'" "20 % of the source rows changed, max_delta_fraction is 15 %"
assert_st_equal s

# ---- diffs: duplicates, NULLs, images that differ though values are equal; a reader gets exactly what changed
q "CREATE TABLE b (k int, n numeric, x text); CREATE TABLE kb (k int PRIMARY KEY, n numeric, x text)"
for st in b kb; do
	q "SELECT pgtrickle.create_stream_table('d$st', 'SELECT k, n, x FROM $st', schedule => '1d', refresh_mode => 'FULL')" > /dev/null
	q "SELECT pgtrickle.create_stream_table('r$st', 'SELECT k, count(*) AS c, sum(n) AS n FROM d$st GROUP BY k', schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null
done
for seed in 1 2 3 4 5 6; do
	q "SELECT setseed(0.$seed); DELETE FROM b WHERE random() < 0.4; INSERT INTO b SELECT nullif((random() * 5)::int, 3), (ARRAY[1, 1.0, 1.00, NULL, 2.5])[1 + (random() * 4)::int], nullif((random() * 2)::int::text, '1')
		FROM generate_series(1, 40);
	   INSERT INTO kb SELECT DISTINCT ON (1) (random() * 60)::int, (ARRAY[1, 1.0, 1.00, NULL, 2.5])[1 + (random() * 4)::int], nullif((random() * 2)::int::text, '1') FROM generate_series(1, 40)
		ON CONFLICT (k) DO UPDATE SET n = excluded.n, x = excluded.x; DELETE FROM kb WHERE random() < 0.3" > /dev/null
	for st in db rb dkb rkb; do refresh $st; done
	check_sql "round $seed: copies and images of rows without a key" "SELECT count(*) FROM
		((SELECT k, n::text, x FROM b EXCEPT ALL SELECT k, n::text, x FROM db) UNION ALL (SELECT k, n::text, x FROM db EXCEPT ALL SELECT k, n::text, x FROM b)) d" 0
	check_sql "round $seed: rows with a key" "SELECT count(*) FROM
		((SELECT k, n::text, x FROM kb EXCEPT ALL SELECT k, n::text, x FROM dkb) UNION ALL (SELECT k, n::text, x FROM dkb EXCEPT ALL SELECT k, n::text, x FROM kb)) d" 0
	check_eq "round $seed: their readers" "$(st_difference rb) $(st_difference rkb) $(last rb) $(last rkb)" "0,0 0,0 DIFFERENTIAL weights DIFFERENTIAL weights"
done
check_eq "these were diffs" "$(last db) $(last dkb)" "FULL diff FULL diff"
q "UPDATE pgtrickle.pgt_state SET needs_reinit = true"
refresh dkb
check_sql "a diff that finds nothing changes nothing" "SELECT action, rows_inserted, rows_deleted FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 1" "REINITIALIZE|0|0"
# a key that came later: the stored rows are older than it
q "CREATE TABLE late (k int, x int); INSERT INTO late VALUES (1, 1), (1, 1), (1, 2), (NULL, 3), (NULL, 3), (2, 4)"
q "SELECT pgtrickle.create_stream_table('dlate', 'SELECT k, x FROM late', schedule => '1d', refresh_mode => 'FULL')" > /dev/null
q "DELETE FROM late WHERE k IS NULL OR x = 1; ALTER TABLE late ADD PRIMARY KEY (k); INSERT INTO late VALUES (3, 5)"
check_sql "stored copies of what is a key now" "SELECT * FROM pgtrickle.verify_stream_table('dlate')" "0|0"
for st in s db rb dkb rkb; do check_sql "$st is its query" "SELECT * FROM pgtrickle.verify_stream_table('$st')" "0|0"; done
done_testing
