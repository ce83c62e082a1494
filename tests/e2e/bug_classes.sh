#!/usr/bin/env bash
# What systems of this kind have got wrong (docs/pitfalls.md) and no other test is about; each small, through the whole product, in a cluster
# whose OIDs are above 2^31.  Last, a standby is promoted: another timeline.
. "$(dirname "$0")/../lib/cluster.sh"
# definitions are known by NOTIFY or not at all
cluster_new client_min_messages=warning pg_trickle.min_schedule_seconds=0 pg_trickle.max_poll_interval_ms=600000
cluster_stop
as_server "$PGT_BIN/pg_resetwal" -o 3000000000 -D "$CLUSTER_DATA" > "$PGT_DIR/resetwal.out" 2>&1
cluster_start
extension_new
consumer_start
st() { q "SELECT pgtrickle.create_stream_table('$1', \$q\$$2\$q\$, schedule => '${3:-1d}', refresh_mode => 'DIFFERENTIAL')" > /dev/null || fail "create $1"; }
refresh() { q "SELECT pgtrickle.refresh_stream_table('$1')" > /dev/null || fail "refresh $1"; }
history() { echo "FROM pgtrickle.pgt_refresh_history WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = '$1')"; }
how() { q "SELECT action $(history "$1") ORDER BY refresh_id DESC LIMIT 1"; }
# step NAME SQL ST...: the change, then each stream table equals its query
step()
{
	local name=$1 one bad=
	q "$2" > /dev/null || fail "$name: the change"
	shift 2
	for one in "$@"; do
		refresh "$one"
		[ "$(st_difference "$one" 2>&1)" = 0,0 ] || bad+=" $one $(st_difference "$one" 2>&1)"
	done
	check_eq "$name" "$bad" ""
}

q_script <<'SQL'
CREATE TABLE bag (k int, v int);
CREATE TABLE keyed (id int PRIMARY KEY DEFERRABLE, v int, note text);
CREATE TABLE words (id int PRIMARY KEY, w text);
CREATE TABLE timed (at timestamptz, f float8, i interval, b bytea);
INSERT INTO bag VALUES (NULL, 1), (NULL, 2), (1, NULL), (1, 1), (1, 1);
INSERT INTO keyed SELECT g, g % 3 FROM generate_series(1, 20) g;
INSERT INTO timed SELECT '2026-01-01 23:30Z'::timestamptz + g * interval '1 h', g / 7.0, g * interval '1 h', decode(md5(g::text), 'hex') FROM generate_series(1, 20) g;
SQL
st bags "SELECT k, v FROM bag"
st bag_sums "SELECT k, count(*) AS n, sum(v) AS s FROM bag GROUP BY k"
st keys "SELECT id, v FROM keyed"
st key_sums "SELECT v, count(*) AS n, sum(id) AS s, avg(id) AS a FROM keyed GROUP BY v"
st over_keys "SELECT n, count(*) AS c FROM key_sums GROUP BY n"
st texts "SELECT id, w FROM words"
st times "SELECT at, f, i, b, at::text AS t, to_char(f, '9D99') AS c FROM timed"
st days "SELECT date_trunc('day', at) AS day, count(*) AS n FROM timed GROUP BY 1"
check_sql "OIDs are above 2^31" "SELECT min(source_relid) > 2147483648 FROM pgtrickle.pgt_dependencies" t
for s in bags bag_sums keys key_sums over_keys texts times days; do refresh $s; done
begun=$(q "SELECT max(refresh_id) FROM pgtrickle.pgt_refresh_history")

# ---- capture
step "an UPDATE of rows whose key is NULL" "UPDATE bag SET v = coalesce(v, 0) + 10 WHERE k IS NULL; UPDATE bag SET k = NULL WHERE v IS NULL" bags bag_sums
step "one of several equal rows goes" "DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE k = 1 AND v = 1)" bags bag_sums
step "every key changes by UPDATE" "UPDATE keyed SET id = id + 1" keys key_sums over_keys
step "blanks, quotes, backslashes, line ends and markers in values" "INSERT INTO words VALUES (1, 'New York'), (2, E'it''s \"so\" \\\\. \\\\N \\n\\t\\r'), (3, 'NULL'), (4, ''), (5, 'a[integer]:1 b'), (6, '{a,\"b c\"}'), (7, '; DROP TABLE words; --'); UPDATE words SET w = w || ' ''x'' '" texts
step "what is written as a replica" "SET session_replication_role = replica; UPDATE keyed SET v = v + 1 WHERE id < 9; INSERT INTO keyed VALUES (100, 1)" keys key_sums over_keys
step "what is written with triggers disabled" "ALTER TABLE keyed DISABLE TRIGGER ALL; DELETE FROM keyed WHERE id = 100; ALTER TABLE keyed ENABLE TRIGGER ALL" keys key_sums over_keys
printf '200\t1\tcopied\n201\t\\N\t\\N\n' | q "COPY keyed FROM STDIN"
step "what COPY brings" "SELECT 1" keys key_sums over_keys

# a subscription's apply worker writes: on the publisher's side a table of the same name
q "CREATE DATABASE pub"
q "CREATE TABLE words (id int PRIMARY KEY, w text); INSERT INTO words VALUES (1000, 'copied'); CREATE PUBLICATION p FOR TABLE words" -d pub
q "SELECT pg_create_logical_replication_slot('sub', 'pgoutput')" -d pub > /dev/null
q "CREATE SUBSCRIPTION sub CONNECTION 'host=$PGHOST port=$PGPORT user=postgres dbname=pub' PUBLICATION p WITH (create_slot = false, slot_name = 'sub')" > /dev/null
check_poll "a subscription copies" "SELECT count(*) FROM words WHERE id = 1000" 1
q "INSERT INTO words VALUES (1001, 'streamed'); UPDATE words SET w = 'changed' WHERE id = 1000" -d pub
check_poll "and streams" "SELECT string_agg(w, ' ' ORDER BY id) FROM words WHERE id >= 1000" "changed streamed"
step "what a subscription applies" "SELECT 1" texts
q "ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE)"
q "DROP SUBSCRIPTION sub"

q_script > /dev/null <<'SQL'
SET TimeZone = 'Asia/Tokyo';
SET datestyle = 'German';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = -10;
SET bytea_output = 'escape';
SET search_path = pg_catalog;
DELETE FROM public.timed WHERE at < '02.01.2026 12:00+09'::timestamptz;
UPDATE public.timed SET f = f / 3 WHERE i > interval 'PT10H';
SELECT pgtrickle.refresh_stream_table('public.times'), pgtrickle.refresh_stream_table('public.days');
SQL
check_eq "written and refreshed under other settings" "$(st_difference times) $(st_difference days)" "0,0 0,0"
check_sql "none of that needed a comparison" "SELECT string_agg(DISTINCT action || ': ' || coalesce(reason, '-'), '; ') FROM pgtrickle.pgt_refresh_history WHERE refresh_id > $begun AND action <> 'DIFFERENTIAL'" ""
step "TRUNCATE, then rows, in one transaction" "BEGIN; TRUNCATE keyed, bag; INSERT INTO keyed VALUES (1, 1), (2, 1); INSERT INTO bag VALUES (1, 1); COMMIT" keys key_sums over_keys bags bag_sums
step "rows, then TRUNCATE, in one transaction" "BEGIN; INSERT INTO keyed VALUES (9, 9); INSERT INTO bag VALUES (9, 9); TRUNCATE keyed, bag; COMMIT" keys key_sums over_keys bags bag_sums
step "rows, a TRUNCATE that is rolled back, rows" "BEGIN; INSERT INTO keyed VALUES (3, 3); SAVEPOINT s; TRUNCATE keyed; INSERT INTO keyed VALUES (4, 4); ROLLBACK TO s; INSERT INTO keyed VALUES (5, 4); COMMIT" keys key_sums over_keys

# rows that hash alike are told apart by their values
q_script 2> /dev/null <<'SQL'
CREATE TYPE alike;
CREATE FUNCTION alike_in(cstring) RETURNS alike IMMUTABLE STRICT LANGUAGE internal AS 'int4in';
CREATE FUNCTION alike_out(alike) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';
CREATE FUNCTION alike_recv(internal) RETURNS alike IMMUTABLE STRICT LANGUAGE internal AS 'int4recv';
CREATE FUNCTION alike_send(alike) RETURNS bytea IMMUTABLE STRICT LANGUAGE internal AS 'int4send';
CREATE TYPE alike (INPUT = alike_in, OUTPUT = alike_out, RECEIVE = alike_recv, SEND = alike_send, LIKE = int4);
CREATE FUNCTION alike_eq(alike, alike) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4eq';
CREATE FUNCTION alike_hash(alike) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT 7';
CREATE FUNCTION alike_hash(alike, bigint) RETURNS bigint IMMUTABLE STRICT LANGUAGE sql AS 'SELECT 7::bigint';
CREATE OPERATOR = (LEFTARG = alike, RIGHTARG = alike, FUNCTION = alike_eq, COMMUTATOR = =, HASHES);
CREATE OPERATOR CLASS alike_ops DEFAULT FOR TYPE alike USING hash AS OPERATOR 1 =, FUNCTION 1 alike_hash(alike), FUNCTION 2 alike_hash(alike, bigint);
CREATE TABLE twins (v alike, n int);
INSERT INTO twins VALUES ('1', 0), ('2', 0), ('2', 0), ('3', 0), (NULL, 0), (NULL, NULL);
SQL
st twin_rows "SELECT v, n FROM twins"
check_sql "different rows of one hash" "SELECT hash_record_extended(ROW('1'::alike, 0), 0) = hash_record_extended(ROW('2'::alike, 0), 0)" t
refresh twin_rows
step "are told apart when one goes" "DELETE FROM twins WHERE v = '2'; INSERT INTO twins VALUES ('4', 0)" twin_rows
step "and when they change" "UPDATE twins SET v = '5' WHERE v = '1'; UPDATE twins SET n = 0 WHERE n IS NULL; DELETE FROM twins WHERE ctid = (SELECT min(ctid) FROM twins WHERE v IS NULL)" twin_rows
check_eq "by the delta" "$(how twin_rows)" DIFFERENTIAL

# append-only, and yet a row changes
q "CREATE TABLE log (id int, v int); SELECT pgtrickle.create_stream_table('logged', 'SELECT id, v FROM log', '1d', append_only => true)" > /dev/null
st over_log "SELECT v, count(*) AS n FROM logged GROUP BY v"
step "append-only: rows" "INSERT INTO log VALUES (1, 1), (2, 2)" logged over_log
step "append-only, and yet rows change and go" "UPDATE log SET v = 3 WHERE id = 1; DELETE FROM log WHERE id = 2; INSERT INTO log VALUES (4, 4)" logged over_log
step "append-only: and rows again" "INSERT INTO log VALUES (5, 4)" logged over_log

# ---- comparisons and what was captured before them
q "INSERT INTO keyed SELECT g, g % 3 FROM generate_series(10, 40) g; UPDATE keyed SET v = v + 1 WHERE id < 20"
caught_up
q "SELECT pgtrickle._mark_full(ARRAY(SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name IN ('keys', 'key_sums')), 'a test')" > /dev/null
step "a comparison sees what was captured" "SELECT 1" keys key_sums
check_eq "it was one" "$(how keys) $(how key_sums)" "REINITIALIZE REINITIALIZE"
seen=$(q "SELECT count(*) FROM pgtrickle.pgt_refresh_history")
step "and it is not applied a second time" "SELECT 1" keys key_sums
check_sql "there was nothing to do" "SELECT count(*) FROM pgtrickle.pgt_refresh_history" "$seen"
step "hidden sums go on where the comparison left them" "UPDATE keyed SET id = id + 1000 WHERE id % 2 = 0; DELETE FROM keyed WHERE id < 15" keys key_sums over_keys
check_eq "by the delta, hidden sums too" "$(how key_sums)" DIFFERENTIAL
q "DELETE FROM pgtrickle.pgt_frontiers WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'over_keys')"
step "a reader without a frontier starts anew" "INSERT INTO keyed VALUES (5000, 1)" key_sums over_keys
check_eq "by a comparison, not from the beginning of history" "$(how over_keys)" REINITIALIZE

# ---- plans: made for a row and then ten thousand; keys that are NULL
q "CREATE TABLE l (id int, k int); CREATE TABLE r (k int PRIMARY KEY, v int); INSERT INTO l SELECT g, g FROM generate_series(1, 20000) g; INSERT INTO r SELECT g, g % 3000 FROM generate_series(1, 20000) g;
   INSERT INTO r VALUES (0, NULL); CREATE INDEX ON l (k); ANALYZE l, r"
st pairs "SELECT l.id, l.k, r.v FROM l JOIN r ON r.k = l.k"
st per_v "SELECT v, count(*) AS n, string_agg(k::text, ',' ORDER BY k) AS ks FROM r GROUP BY v"
refresh pairs
probes() { q "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'r'"; }
q "SELECT pg_stat_force_next_flush()" 2> /dev/null
q "INSERT INTO l VALUES (0, 0)"
before=$(probes)
q_script > /dev/null <<'SQL'
SELECT pgtrickle.refresh_stream_table('pairs');
\! $PGT_BIN/psql -Xqc 'UPDATE l SET id = id + 1'
SELECT pgtrickle.refresh_stream_table('pairs');
SQL
check_eq "one session: one row, then 20,001" "$(q "SELECT string_agg(delta_row_count::text || ' ' || action, ', ') FROM (SELECT * $(history pairs) ORDER BY refresh_id DESC LIMIT 2) x WHERE delta_row_count > 1")" "40002 DIFFERENTIAL"
probed() { [ "$(probes)" -gt "$before" ]; }
check "the one row was looked up" poll_cmd 20 probed
check_sql "the 20,001 were not, one by one" "SELECT idx_scan - $before < 10000 FROM pg_stat_user_tables WHERE relname = 'r'" t
assert_st_equal pairs
q "UPDATE r SET v = v + 1 WHERE v < 2500"
removed=$(q "SELECT pgtrickle.explain_delta('per_v', 'json', true)" | /usr/bin/python3 -c '
import json, sys
def walk(n):
    return sum(v * n.get("Actual Loops", 1) for k, v in n.items() if k.startswith("Rows Removed")) + sum(walk(c) for c in n.get("Plans", []))
d = json.load(sys.stdin)
print(d["action"], int(sum(walk(s["plan"]["Plan"]) for s in d["steps"])) < 20 * d["changes"], d["changes"] > 20000)')
check_eq "groups whose keys may be NULL are not found by comparing each with each" "$removed" "DIFFERENTIAL True True"
assert_st_equal per_v

# ---- sessions and transactions
q "CREATE TABLE frac (id int, v int); INSERT INTO frac VALUES (1, 1)"
st fracs "SELECT id, 10 / v AS x FROM frac"
refresh fracs
q "INSERT INTO frac VALUES (2, 0)"
left=$("$PGT_BIN/psql" -XAtq 2> /dev/null <<'SQL'
SELECT pgtrickle.refresh_stream_table('fracs');
SELECT (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'object')), (SELECT count(*) FROM pg_prepared_statements),
	(SELECT count(*) FROM pg_class WHERE relpersistence = 't');
SQL
)
check_eq "a refresh that failed leaves no lock, statement or table in its session" "$left" "0|0|0"
step "and heals" "DELETE FROM frac WHERE v = 0" fracs
left=$(q_script <<'SQL'
INSERT INTO frac VALUES (3, 3);
SELECT pgtrickle.refresh_stream_table('fracs') \gset
SELECT (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'object')), (SELECT count(*) FROM pg_prepared_statements),
	(SELECT count(*) FROM pg_class WHERE relpersistence = 't');
\! $PGT_BIN/psql -XAtqc "SELECT pgtrickle.alter_stream_table('fracs', query => 'SELECT id, 20 / v AS x FROM frac')" > /dev/null
INSERT INTO frac VALUES (4, 4);
SELECT pgtrickle.refresh_stream_table('fracs') \gset
SQL
)
check_eq "nor does one that went well" "$left" "0|0|0"
check_eq "a session's cache gives way to what another session altered" "$(st_difference fracs)" "0,0"

q "CREATE TABLE few (id int PRIMARY KEY); DO \$\$ BEGIN PERFORM pgtrickle.create_stream_table('many' || g, 'SELECT id FROM few WHERE id <> ' || g, '1d') FROM generate_series(1, 260) g; END \$\$; INSERT INTO few VALUES (1)"
bounded=$(q_script <<'SQL'
DO $$ BEGIN PERFORM pgtrickle.refresh_stream_table('many' || g) FROM generate_series(1, 260) g; END $$;
SELECT evictions > 0, l1_size BETWEEN 100 AND 256 FROM pgtrickle.cache_stats();
DO $$ BEGIN PERFORM pgtrickle.drop_stream_table('many' || g) FROM generate_series(2, 260) g; END $$;
SQL
)
check_eq "and what it remembers is bounded" "$bounded" "t|t"
assert_st_equal many1

q "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$ BEGIN PERFORM pg_sleep(0.05); RETURN i; END \$\$"
st slowly "SELECT id, slow(v) AS v FROM frac"
refresh slowly
step "a slow refresh" "INSERT INTO frac VALUES (6, 6)" slowly
check_sql "begin and end of a refresh are measured" "SELECT end_time - start_time >= interval '50 ms' $(history slowly) ORDER BY refresh_id DESC LIMIT 1" t

# what an error is, its SQLSTATE says
q "CREATE TABLE told (v int); CREATE FUNCTION tell(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
   \$\$ BEGIN IF i = 0 THEN RAISE EXCEPTION 'deadlock detected: canceling statement due to lock timeout, connection lost' USING ERRCODE = '22023'; END IF; RETURN i; END \$\$"
st tells "SELECT tell(v) AS v FROM told" 100ms
q "INSERT INTO told VALUES (0)"
check_poll "an error that calls itself a deadlock is a failure by its SQLSTATE" "SELECT error_state $(history tells) AND status = 'FAILED' LIMIT 1" 22023
q "DELETE FROM told; SELECT pgtrickle.drop_stream_table('tells')" > /dev/null

# a stream table becomes known when its transaction commits, not before and not never
mkfifo "$PGT_DIR/late"
"$PGT_BIN/psql" -XAtq < "$PGT_DIR/late" > "$PGT_DIR/late.out" 2>&1 &
exec 7> "$PGT_DIR/late"
q "CREATE TABLE late_t (v int); CREATE TABLE soon_t (v int); INSERT INTO late_t VALUES (1); INSERT INTO soon_t VALUES (1)"
echo "BEGIN; SELECT pgtrickle.create_stream_table('late', 'SELECT v FROM late_t', schedule => '100ms', initialize => false); SELECT 'created';" >&7
check "created, and not committed" poll_cmd 20 grep -q created "$PGT_DIR/late.out"
q "SELECT pgtrickle.create_stream_table('soon', 'SELECT v FROM soon_t', schedule => '100ms', initialize => false)" > /dev/null
check_poll "the scheduler has made a new plan meanwhile" "SELECT count(*) FROM soon" 1
echo "COMMIT;" >&7
exec 7>&-
check_poll "what commits after that is scheduled all the same" "SELECT count(*) FROM late" 1
q "INSERT INTO late_t VALUES (2)"
assert_st_current late "and followed"

# ---- DDL, names, input
q "ALTER TABLE pgtrickle.pgt_source_events ADD CONSTRAINT none CHECK (false) NOT VALID"
check_error "DDL whose consequences cannot be recorded fails" "ALTER TABLE keyed ALTER note TYPE varchar(99) USING note || ''" 23514
check_sql "and has done nothing" "SELECT atttypid::regtype FROM pg_attribute WHERE attrelid = 'keyed'::regclass AND attname = 'note'" text
q "ALTER TABLE pgtrickle.pgt_source_events DROP CONSTRAINT none"
step "then all goes on" "ALTER TABLE keyed ALTER note TYPE varchar(99) USING note || ''; INSERT INTO keyed VALUES (6000, 1)" keys key_sums

q "CREATE FUNCTION plus_noise(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT \$1 + \$2'; CREATE OPERATOR %%% (LEFTARG = int, RIGHTARG = int, FUNCTION = plus_noise);
   CREATE VIEW noisy AS SELECT id, v %%% 1 AS v FROM keyed"
check_error "a volatile function behind an operator is found" "SELECT pgtrickle.create_stream_table('noise', 'SELECT id, v %%% 1 AS v FROM keyed')" 0A000 "plus_noise is VOLATILE"
check_error "and in a view" "SELECT pgtrickle.create_stream_table('noise', 'SELECT v FROM noisy')" 0A000 "plus_noise is VOLATILE"

up=$(q "SELECT pg_postmaster_start_time()")
repeat() { local s=; for ((i = 0; i < $2; i++)); do s+=$1; done; echo "$s"; }
for n in 500 3000 12000; do
	for query in "SELECT id, $(repeat 'abs(' $n)v$(repeat ')' $n) AS x FROM keyed" "SELECT id, v$(repeat ' + v' $n) AS x FROM keyed"; do
		echo "SELECT pgtrickle.create_stream_table('deep', '$query');" | "$PGT_BIN/psql" -XAtq -v VERBOSITY=sqlstate 2>&1
		q "SELECT pgtrickle.drop_stream_table('deep') FROM pgtrickle.pgt_definitions WHERE pgt_name = 'deep'" > /dev/null
	done
done > "$PGT_DIR/deep.out"
check_eq "queries as deep as one likes are taken, or refused by their depth" "$(grep -vE '^$|ERROR:  (54001|42601)$' "$PGT_DIR/deep.out")" ""

# every function with NULLs, with empty texts, and with hostile ones
q_script > "$PGT_DIR/functions.out" 2>&1 -v ON_ERROR_STOP=0 -v VERBOSITY=verbose <<'SQL'
SET statement_timeout = '5s';
SELECT 'BEGIN', format('%s pgtrickle.%I(%s)', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, proname,
	(SELECT string_agg(format('%s::%s', CASE WHEN t.typcategory <> 'S' OR v IS NULL THEN 'NULL' ELSE quote_literal(v) END, t.oid::regtype), ', ' ORDER BY n)
	   FROM unnest(proargtypes) WITH ORDINALITY a(t, n) JOIN pg_type t ON t.oid = a.t)), 'ROLLBACK'
  FROM pg_proc, unnest(ARRAY[NULL, '', '"', 'no such thing', 'a.b.c.d', E'%s\\'';--']) v
 WHERE pronamespace = 'pgtrickle'::regnamespace AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
   AND (v IS NULL OR EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (proargtypes) AND t.typcategory = 'S')) ORDER BY proname, v
\gexec
SQL
check_eq "functions with NULLs and hostile texts: no internal error" "$(grep 'ERROR:  XX' "$PGT_DIR/functions.out")" ""
check "there were many" test "$(grep -c 'ERROR:  ' "$PGT_DIR/functions.out")" -gt 100
check_sql "and the server has not restarted" "SELECT pg_postmaster_start_time()" "$up"

# a slot of another database is not ours
q "CREATE DATABASE elsewhere"
q "CREATE EXTENSION pg_trickle; GRANT pgtrickle_consumer TO trickle" -d elsewhere
out=$(timeout 20 "$PGT_BIN/trickle-consumer" -h "$PGHOST" -p "$PGPORT" -d elsewhere -U trickle -S "$PGT_SLOT" 2>&1)
check_eq "a slot of another database is refused" "$? $(grep -c 'not a pgtrickle_output slot of this database' <<< "$out")" "5 1"

# ---- another timeline: what the buffers hold and what the slot says belongs to the old one
step "before the promotion" "INSERT INTO keyed VALUES (7000, 1)" keys key_sums
consumer_stop TERM
q "INSERT INTO keyed VALUES (7001, 1)"
cluster_stop
as_server touch "$CLUSTER_DATA/standby.signal"
cluster_start
as_server "$PGT_BIN/pg_ctl" -D "$CLUSTER_DATA" -w -t 60 promote > "$PGT_DIR/promote.log" 2>&1
check_poll "promoted" "SELECT pg_is_in_recovery()" f
consumer_start
step "after a promotion" "INSERT INTO keyed VALUES (7002, 1); DELETE FROM keyed WHERE id = 7000" keys key_sums over_keys
check_sql "the change of timeline was noticed" "SELECT count(*) > 0 $(history keys) AND action = 'REINITIALIZE' AND reason LIKE '%timeline changed from 1 to 2'" t
step "and from then on incrementally" "UPDATE keyed SET v = 7" keys key_sums over_keys
check_eq "by the delta again" "$(how keys)" DIFFERENTIAL
check_eq "no crash" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
done_testing
