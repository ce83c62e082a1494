#!/usr/bin/env bash
# Sliding windows over the clock: rows leave a window by themselves, without a write, a scan or a full refresh; a window in which
# nothing happens costs nothing; the contents are the query at the clock of the refresh.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 autovacuum=off "timezone='Europe/Berlin'"
extension_new
q "CREATE TABLE ev (id int PRIMARY KEY, k int, ts timestamptz); CREATE INDEX ev_ts ON ev (ts); CREATE TABLE plain (id int, ts timestamptz)"
q "CREATE TABLE dim (k int PRIMARY KEY, name text); INSERT INTO dim SELECT g, 'n' || g FROM generate_series(0, 9) g"
q "INSERT INTO ev SELECT g, g % 10, now() - interval '1 day' - g * interval '1 s' FROM generate_series(1, 50000) g; ANALYZE ev, dim"
consumer_start

win="ts > now() - interval '2 seconds'"
q "SELECT pgtrickle.create_stream_table('recent', \$\$SELECT id, k, ts FROM ev WHERE $win\$\$, schedule => '100ms', refresh_mode => 'DIFFERENTIAL')" > /dev/null
q "SELECT pgtrickle.create_stream_table('per_k', \$\$SELECT d.name, count(*) AS n, max(e.ts) AS last FROM ev e JOIN dim d USING (k)
   WHERE e.$win GROUP BY d.name\$\$, schedule => '100ms', refresh_mode => 'DIFFERENTIAL')" > /dev/null
q "SELECT pgtrickle.create_stream_table('fresh', \$\$SELECT k, count(*) AS n, count(*) FILTER (WHERE $win) AS hot FROM ev GROUP BY k\$\$,
   schedule => '100ms', refresh_mode => 'DIFFERENTIAL')" > /dev/null
q "SELECT pgtrickle.create_stream_table('above', 'SELECT count(*) AS n FROM recent', schedule => '100ms')" > /dev/null
out=$(q "SELECT pgtrickle.create_stream_table('noindex', \$\$SELECT id FROM plain WHERE ts >= now() - interval '1 hour'\$\$)" 2>&1)
check_sql "and explain_st repeats it" "SELECT value LIKE '%CREATE INDEX ON public.plain (ts)' FROM pgtrickle.explain_st('noindex') WHERE property = 'full_hint'" t
check_eq "a missing index is named" "$(grep -c 'CREATE INDEX ON public.plain (ts)' <<< "$out")" 1
q "SELECT pgtrickle.create_stream_table('x', 'SELECT id, now() AS n FROM plain', schedule => '1h')" > /dev/null 2>&1
check_sql "a clock in the select list is compared whenever due" "SELECT time_dependent || ': ' || full_reason FROM pgtrickle.pgt_definitions
	WHERE pgt_name = 'x'" "true: a clock function in the select list or GROUP BY"
q "SELECT pgtrickle.drop_stream_table('x')" > /dev/null

# the contents of an ST, and its query with now() replaced by the ST's clock; one statement, so one snapshot
at_clock()
{
	local query
	query=$(q "SELECT replace(d.defining_query, 'now()', quote_literal(s.clock) || '::timestamptz') FROM pgtrickle.pgt_definitions d
	           JOIN pgtrickle.pgt_state s USING (pgt_id) WHERE d.pgt_name = '$1'")
	q "WITH q AS (${query%;}), s AS (SELECT $2 FROM $1)
	   SELECT (SELECT count(*) FROM (SELECT $2 FROM q EXCEPT ALL TABLE s) x) + (SELECT count(*) FROM (TABLE s EXCEPT ALL SELECT $2 FROM q) x)"
}

check_poll "everything is up to date" "SELECT bool_and(status = 'ACTIVE') FROM pgtrickle.pgt_stream_tables" t
history=$(q "SELECT coalesce(max(refresh_id), 0) FROM pgtrickle.pgt_refresh_history")
q "SELECT pg_stat_force_next_flush()" > /dev/null

# 60 rows come, and nobody writes after that
q "INSERT INTO ev SELECT 100000 + g, g % 10, now() FROM generate_series(1, 60) g"
check_poll "rows enter the window" "SELECT count(*) FROM recent" 60 20
scans=$(q "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'ev'")
check_poll "and leave it by themselves" "SELECT count(*) FROM recent" 0 20
check_poll "groups of a join follow" "SELECT count(*) FROM per_k" 0 20
check_poll "a FILTER follows" "SELECT sum(hot) FROM fresh" 0 20
check_poll "an ST above follows" "SELECT n FROM above" 0 20
check_sql "all of it by differential refreshes" "SELECT string_agg(DISTINCT action || ' ' || status, ', ') FROM pgtrickle.pgt_refresh_history
	WHERE refresh_id > $history" "DIFFERENTIAL COMPLETED"
check_sql "exactly the rows that crossed were taken away" "SELECT sum(rows_inserted) || ' ' || sum(rows_deleted) FROM pgtrickle.pgt_refresh_history h
	JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE refresh_id > $history AND pgt_name = 'recent'" "60 60"
check_sql "time alone is no change of a source" "SELECT count(*) FROM pgtrickle.pgt_refresh_history h
	JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE refresh_id > $history AND pgt_name = 'recent' AND rows_deleted = 60 AND delta_row_count = 0" 1
sleep 1.2          # statistics of other sessions are flushed once a second
check_sql "the table was not scanned for it" "SELECT seq_scan - $scans FROM pg_stat_user_tables WHERE relname = 'ev'" 0

# nothing is going to cross: nothing happens
check_sql "no crossing is ahead" "SELECT DISTINCT next_crossing FROM pgtrickle.pgt_state JOIN pgtrickle.pgt_definitions USING (pgt_id)
	WHERE pgt_name IN ('recent', 'per_k', 'fresh')" "infinity"
rows=$(q "SELECT count(*) || ' ' || (SELECT string_agg(xmin::text, ' ' ORDER BY pgt_id) FROM pgtrickle.pgt_state) FROM pgtrickle.pgt_refresh_history")
sleep 2            # the measured time: 20 schedules pass
check_sql "an idle window writes nothing" \
	"SELECT count(*) || ' ' || (SELECT string_agg(xmin::text, ' ' ORDER BY pgt_id) FROM pgtrickle.pgt_state) FROM pgtrickle.pgt_refresh_history" "$rows"

# rows that come while others leave, updates and deletes among them
for i in 1 2 3 4 5; do
	q "INSERT INTO ev SELECT 200000 + $i * 100 + g, g % 10, now() - g * interval '100 ms' FROM generate_series(1, 25) g;
	   DELETE FROM ev WHERE id % 7 = 0 AND id > 200000; UPDATE ev SET k = (k + 1) % 10 WHERE id % 5 = 0 AND id > 200000"
	poll_until "SELECT count(*) > 0 FROM recent WHERE id / 100 = 2000 + $i" t 5
done
q "SELECT pgtrickle.alter_stream_table(n, schedule => '1h') FROM unnest(ARRAY['recent', 'per_k', 'fresh']) n" > /dev/null 2>&1
for st in recent:id,k,ts per_k:name,n,last fresh:k,n,hot; do
	q "SELECT pgtrickle.refresh_stream_table('${st%%:*}')" > /dev/null
	check_sql "${st%%:*}: verify finds no difference" "SELECT missing || ' ' || extra FROM (SELECT * FROM pgtrickle.verify_stream_table('${st%%:*}')) v(missing, extra)" "0 0"
done
q "SELECT pgtrickle.suspend_stream_table(n) FROM unnest(ARRAY['recent', 'per_k', 'fresh']) n" > /dev/null
for st in recent:id,k,ts per_k:name,n,last fresh:k,n,hot; do
	check_eq "${st%%:*}: the contents are the query at the refresh's clock" "$(at_clock "${st%%:*}" "${st##*:}")" 0
done
done_testing
