#!/usr/bin/env bash
# parallel_job_status, dedup_stats and cache_stats say what happened: jobs that run, succeeded, failed, were cancelled; refreshes whose
# changes met; statements found ready, made anew, given up.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.max_consecutive_errors=2
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1); INSERT INTO u VALUES (1, 1)"
create() { q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('$1', \$\$$2\$\$, schedule => '${3:-1h}')" > /dev/null; }
jobs() { echo "SELECT unit_key, unit_kind, status, member_count, attempt_no FROM pgtrickle.parallel_job_status() WHERE unit_key ~ '$1' ORDER BY job_id NULLS FIRST"; }
check_sql "nothing has run: nothing is reported" "SELECT count(*) FROM pgtrickle.parallel_job_status()" 0
check_sql "nothing deduplicated" "SELECT total_diff_refreshes, dedup_needed, dedup_ratio_pct IS NULL FROM pgtrickle.dedup_stats()" "0|0|t"
consumer_start

# ---- what the history tells of deduplication: copies never need it, a sum does, and so does what concerns nothing
create copy "SELECT id, v FROM t"
create total "SELECT sum(v) AS v FROM t"
create part "SELECT id FROM t WHERE v > 1000"
refresh() { # the same of settings, tables and columns
rows() { sed -n "/^$1/,/^$2/p" "$PGT_TOP/docs/upgrading.md" | sed -nE "s/^\\| (\`[^|]*) \\|.*\\|([^|]*)\\|\$/$3/p" | grep -oE "\`$4\`" | tr -d '`' | sort -u | paste -sd,; }
settings() { echo "LOAD 'pg_trickle'; SELECT count(*) FROM pg_settings WHERE name LIKE 'pg\_trickle.%' AND name = ANY (string_to_array('$1', ','))"; }
relations() { echo "SELECT count(*) FROM unnest(string_to_array('$1', ',')) AS u(n) WHERE to_regclass('pgtrickle.' || quote_ident(split_part(n, '.', 1))) IS NOT NULL
	AND (n NOT LIKE '%.%' OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('pgtrickle.' || quote_ident(split_part(n, '.', 1))) AND attname = split_part(n, '.', 2)))"; }
n() { tr ',' '\n' <<< "$1" | grep -c .; }
absent=$(rows 'Settings not' 'Tables and' '\1' '[a-z_]+' | sed -E 's/(^|,)/\1pg_trickle./g')
there=$(rows 'Settings not' 'Tables and' '\2' 'pg_trickle\.[a-z_]+')
check "both lists of settings have names ($absent; $there)" test "$(n "$absent")" -gt 35 -a "$(n "$there")" -gt 6
check_sql "settings that are said to be missing are" "$(settings "$absent")" 0
check_sql "settings that are said to be there are" "$(settings "$there")" "$(n "$there")"
absent=$(rows 'Tables and' 'Here and of' '\1' '[a-z_.]+')
there=$(rows 'Tables and' 'Here and of' '\2' 'pgt_[a-z_]+(\.[a-z_]+)?')
check "both lists of tables and columns have names ($absent; $there)" test "$(n "$absent")" = 9 -a "$(n "$there")" = 7
check_sql "tables and columns that are said to be missing are" "$(relations "$absent")" 0
check_sql "tables and columns that are said to be there are" "$(relations "$there")" "$(n "$there")"
for st in copy total part; do q "SELECT pgtrickle.refresh_stream_table('$st')" > /dev/null; done; }
q "INSERT INTO t VALUES (2, 2), (3, 3), (4, 4); UPDATE t SET v = 10 WHERE id = 1"
refresh
check_sql "three refreshes: a copy, a sum of five changes in one row" "SELECT total_diff_refreshes, dedup_needed, round(dedup_ratio_pct::numeric, 1) FROM pgtrickle.dedup_stats()" \
	"$(q "SELECT count(*), count(*) FILTER (WHERE name <> 'copy'), round(100.0 * count(*) FILTER (WHERE name <> 'copy') / count(*), 1)
	       FROM (SELECT d.pgt_name AS name FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions d USING (pgt_id) WHERE h.action = 'DIFFERENTIAL') x")"
check_sql "of both kinds" "SELECT total_diff_refreshes > dedup_needed, dedup_needed > 0 FROM pgtrickle.dedup_stats()" "t|t"

# ---- the cache of a session
cached=$(q_script <<'SQL'
SELECT l1_hits, l2_hits, misses, evictions, l1_size FROM pgtrickle.cache_stats();
INSERT INTO t VALUES (11, 1);
SELECT pgtrickle.refresh_stream_table('copy');
SELECT l1_hits, misses > 0, evictions, l1_size > 0 FROM pgtrickle.cache_stats();
INSERT INTO t VALUES (12, 1);
SELECT pgtrickle.refresh_stream_table('copy');
SELECT l1_hits > 0, evictions, misses FROM pgtrickle.cache_stats();
SELECT misses AS before FROM pgtrickle.cache_stats() \gset
INSERT INTO t VALUES (13, 1);
SELECT pgtrickle.refresh_stream_table('copy');
SELECT misses - :before FROM pgtrickle.cache_stats();
CREATE INDEX ON t (v);
INSERT INTO t VALUES (14, 1);
SELECT pgtrickle.refresh_stream_table('copy');
SELECT misses > :before, evictions FROM pgtrickle.cache_stats();
SQL
)
check_eq "a session's cache: empty; filled; hit; hit; outdated by an index" "$(grep -v '^$' <<< "$cached" | sed -E 's/^(t\|0\|)[0-9]+$/\1n/' | paste -sd' ')" "0||0|0|0 0|t|0|t t|0|n 0 t|0"
check_sql "another session has its own" "SELECT l1_hits, misses, l1_size FROM pgtrickle.cache_stats()" "0|0|0"

# ---- jobs
check_sql "refreshes by hand are no jobs" "SELECT count(*) FROM pgtrickle.parallel_job_status()" 0
create a "SELECT count(*) AS n FROM u" continuous
create b "SELECT sum(v) AS v FROM u" continuous
q "SELECT pgtrickle.create_refresh_group('ab', ARRAY['a', 'b'])" > /dev/null
create ratio "SELECT id, 10 / v AS r FROM u" continuous
q "INSERT INTO u VALUES (2, 1)"
check_poll "one transaction is one job" "$(jobs 'public.a')" "public.a, public.b|atomic_group|SUCCEEDED|2|1"
check_poll "and one by itself another" "$(jobs ratio)" "public.ratio|singleton|SUCCEEDED|1|1"
check_sql "finished ones have times and an id, and no pids" "SELECT bool_and(job_id = (SELECT min(h.refresh_id) FROM pgtrickle.pgt_refresh_history h WHERE h.start_time = j.started_at)
	AND enqueued_at <= finished_at AND started_at <= finished_at AND duration_ms >= 0 AND scheduler_pid IS NULL AND worker_pid IS NULL) FROM pgtrickle.parallel_job_status() j" t
q "INSERT INTO u VALUES (3, 0)"
check_poll "failures count attempts until it is suspended" "$(jobs ratio)" \
	$'public.ratio|singleton|SUCCEEDED|1|1\npublic.ratio|singleton|RETRYABLE_FAILED|1|1\npublic.ratio|singleton|PERMANENT_FAILED|1|2'
q "DELETE FROM u WHERE id = 3"
q "SELECT pgtrickle.resume_stream_table('ratio')" > /dev/null
q "SELECT pgtrickle.alter_stream_table('ratio', fuse => 'on', fuse_ceiling => 1)" > /dev/null
q "INSERT INTO u SELECT g, 1 FROM generate_series(10, 20) g"
check_poll "a blown fuse cancels" "SELECT status FROM pgtrickle.parallel_job_status() WHERE unit_key = 'public.ratio' ORDER BY job_id DESC LIMIT 1" CANCELLED
q "SELECT pgtrickle.alter_stream_table('ratio', fuse => 'off')" > /dev/null

# one that runs: its statement waits for our advisory lock
q "CREATE FUNCTION slow(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN IF v = 77 THEN PERFORM pg_advisory_xact_lock(4711); END IF; RETURN v; END'"
create waits "SELECT id, slow(v) AS v FROM t" continuous
coproc HOLD { "$PGT_BIN/psql" -XAtq; }
hold_pid=$HOLD_PID
printf '%s\n' "BEGIN; SELECT pg_advisory_xact_lock(4711);" "SELECT 'held';" >&"${HOLD[1]}"
while read -r -t 20 line <&"${HOLD[0]}" && [ "$line" != held ]; do :; done
q "INSERT INTO t VALUES (77, 77)"
check_poll "a job that runs" "SELECT unit_key, unit_kind, status, member_count, attempt_no, job_id IS NULL, finished_at IS NULL, duration_ms IS NULL, started_at < clock_timestamp()
	FROM pgtrickle.parallel_job_status(0) WHERE unit_key = 'public.waits' AND status = 'RUNNING'" "public.waits|singleton|RUNNING|1|1|t|t|t|t"
check_sql "by these backends" "SELECT s.application_name, w.application_name FROM pgtrickle.parallel_job_status(0) j JOIN pg_stat_activity s ON s.pid = j.scheduler_pid
	JOIN pg_stat_activity w ON w.pid = j.worker_pid WHERE j.unit_key = 'public.waits' AND j.status = 'RUNNING'" "trickle-consumer scheduler|trickle-consumer refresh"
check_sql "anybody may look" "CREATE ROLE nobody; SET ROLE nobody; SELECT count(*) FROM pgtrickle.parallel_job_status(0) WHERE unit_key = 'public.waits' AND status = 'RUNNING'" 1
printf '%s\n' "COMMIT;" '\q' >&"${HOLD[1]}"
wait "$hold_pid" 2> /dev/null
check_poll "and has ended" "SELECT status FROM pgtrickle.parallel_job_status() WHERE unit_key = 'public.waits' AND finished_at IS NOT NULL" SUCCEEDED
check_sql "age 0: those that run now" "SELECT count(*) FROM pgtrickle.parallel_job_status(0) WHERE finished_at IS NOT NULL" 0

# docs/upgrading.md says which of the predecessor's functions are not here, and which are there instead
functions() { sed -n "/^$1:/,/^$2/p" "$PGT_TOP/docs/upgrading.md" | sed -nE "$3" | grep -oE '`[a-z_]+\(' | tr -d '`(' | sort -u | paste -sd,; }
absent=$(functions 'Not here' 'Here and different' 's/^\| ([^|]*) \|.*/\1/p')
there=$(functions 'Not here' '## ' 's/^\|[^|]*\|[^|]*\|([^|]*)\|$/\1/p'),$(functions 'Here and different' '## ' 's/^\| ([^|]*) \|.*/\1/p')
existing() { echo "SELECT count(DISTINCT proname) FROM pg_proc WHERE pronamespace = 'pgtrickle'::regnamespace AND proname = ANY (string_to_array('$1', ','))"; }
check "both lists have names ($absent; $there)" test "$(tr ',' '\n' <<< "$absent" | wc -l)" = 6 -a "$(tr ',' '\n' <<< "$there" | wc -l)" -gt 15
check_sql "what is said to be missing is" "$(existing "$absent")" 0
check_sql "what is said to be there is" "$(existing "$there")" "$(tr ',' '\n' <<< "$there" | sort -u | wc -l)"
for st in copy total part a b ratio waits; do assert_st_equal $st; done
done_testing
