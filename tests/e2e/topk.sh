#!/usr/bin/env bash
# Margins (extension/margin.c): the first rows below ORDER BY ... LIMIT are kept, and some more.  The source is read again only when they
# run out; whatever happens to the top, to the margin's edge and behind it, the stream table equals its query.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new "pg_trickle.topk_margin=20"
extension_new
consumer_start

inner="SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'pgtrickle_inner'::regnamespace AND relkind = 'r'"
last="FROM pgtrickle.pgt_refresh_history WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = '%s') ORDER BY refresh_id DESC LIMIT 1"
how() { q "SELECT action $(printf "$last" "$1")"; }
# kept rows, and whether they are all there are
state() { q "SELECT kept || CASE WHEN to_jsonb(s)::text ~ 'complete_[0-9]+\": true' THEN ' complete' ELSE '' END FROM pgtrickle_inner.st_$1 s"; }
reads() { q "SELECT (pgtrickle.explain_delta('$1', 'json', true)::json ->> 'rows_read')::float8::int8"; }
# refreshed by its delta, reading no more than so many rows of tables
cheap()
{
	local n
	n=$(reads "$2")
	check_eq "$1: few rows are read ($n)" "$([ "$n" -le "$3" ] && echo few || echo "$n")" few
	q "SELECT pgtrickle.refresh_stream_table('$2')" > /dev/null
	check_eq "$1: by its delta" "$(how "$2")" DIFFERENTIAL
	assert_st_equal "public.$2"
}
# by its delta, however much that reads
same()
{
	q "SELECT pgtrickle.refresh_stream_table('$2')" > /dev/null
	check_eq "$1: by its delta" "$(how "$2")" DIFFERENTIAL
	assert_st_equal "public.$2"
}

q "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, s text); INSERT INTO t SELECT g, (g * 7919) % 10007, 'x' FROM generate_series(1, 10000) g;
   CREATE TABLE u (id int PRIMARY KEY, w int NOT NULL); INSERT INTO u SELECT g, g % 100 FROM generate_series(1, 10000) g"
top="SELECT id, v FROM t ORDER BY v DESC, id LIMIT 5"
few="SELECT id, v FROM t WHERE s = 'y' ORDER BY v, id LIMIT 5"
pairs="SELECT t.id, t.v + u.w AS n FROM t JOIN u USING (id) ORDER BY n DESC, id LIMIT 5 OFFSET 2"
for st in top few pairs; do
	q "SELECT pgtrickle.create_stream_table('$st', \$\$${!st}\$\$, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null
	q "SELECT pgtrickle.refresh_stream_table('$st')" > /dev/null
done
check_sql "rows and state of each" "$inner" "st_1_1 st_1_2 st_2_1 st_2_2 st_3_1 st_3_2"
check_eq "the first rows of a table" "$(state 1_2)" "25"
check_eq "there are none, and that is known" "$(state 2_2)" "0 complete"
check_eq "the first rows of a join" "$(state 3_2)" "27"

# --- behind the margin, in it, at the top
q "UPDATE t SET v = 5 WHERE id = 17; DELETE FROM t WHERE v BETWEEN 100 AND 110; INSERT INTO t VALUES (20001, 1, 'x'), (20002, 2, 'x')"
cheap "behind the margin" top 100
check_eq "nothing of it was written" "$(state 1_2)" "25"
cheap "behind the margin of a join" pairs 400
cheap "a filter that lets nothing through" few 50
q "INSERT INTO t VALUES (20003, 20003, 'x'), (20004, 20004, 'y'); DELETE FROM t WHERE id = 20001"
cheap "a new top" top 150
cheap "the first row of a small table" few 100
check_eq "the small one is still known to be all" "$(state 2_2)" "1 complete"
q "DELETE FROM t WHERE id = 20004"
cheap "and the last one goes" few 100
check_eq "empty and complete" "$(state 2_2)" "0 complete"

# --- the edge
q "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY v DESC, id OFFSET 20 LIMIT 5)"
cheap "the last kept rows go" top 150
q "UPDATE t SET v = -v WHERE id IN (SELECT id FROM t ORDER BY v DESC, id LIMIT 10); UPDATE t SET v = v + 10000 WHERE v BETWEEN 3 AND 9"
same "rows change sides" top
same "rows of a join change sides" pairs
q "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY v DESC, id LIMIT 30); INSERT INTO t VALUES (20010, 30000, 'x'), (20011, 9000, 'x'), (20012, -5, 'x')"
n=$(reads top)
check_eq "more than all kept rows go, others come: the table is read" "$([ "$n" -ge 9000 ] && echo read || echo "$n")" read
same "a refill beside inserts" top
check_eq "filled again" "$(state 1_2)" "25"
q "INSERT INTO t SELECT 30000 + g, 40000 + g % 7, 'x' FROM generate_series(1, 100) g"
same "a flood" top
check_eq "it was all written" "$(state 1_2)" "125"
q "INSERT INTO t VALUES (40000, 50000, 'y')"
cheap "the next change trims" top 500
check_eq "and is written" "$(state 1_2)" "26"
assert_st_equal public.few

# --- changed settings, ties, other numbers of rows
q "ALTER SYSTEM SET pg_trickle.topk_margin = 50"
cluster_reload
poll_until "SHOW pg_trickle.topk_margin" 50 20
q "DELETE FROM t WHERE v > 39000"
same "a refill with another margin" top
check_eq "is of its size" "$(state 1_2)" "55"
q "UPDATE t SET v = 7"
same "everything ties" top
q "DELETE FROM t WHERE id % 3 = 0; UPDATE t SET v = 8 WHERE id = 500"
same "and some of it goes" top
assert_st_equal public.pairs
q "SELECT pgtrickle.alter_stream_table('top', query => 'SELECT id, v FROM t ORDER BY v DESC, id LIMIT 8')" > /dev/null
assert_st_equal public.top
q "DELETE FROM t WHERE id < 600"
same "another LIMIT" top
q "TRUNCATE t"
assert_st_equal public.top
check_eq "an empty table is complete" "$(state 1_2)" "0 complete"
q "INSERT INTO t SELECT g, g % 1000, 'y' FROM generate_series(1, 5000) g"
same "filled again" top
assert_st_equal public.few

# --- an index comes and goes: what nobody maintained meanwhile is not used
q "CREATE INDEX t_v ON t (v DESC)"
q "SELECT pgtrickle.refresh_stream_table('top')" > /dev/null
q "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY v DESC, id LIMIT 3)"
assert_st_equal public.top
check_sql "an index serves: no margin" "SELECT count(*) FROM ($inner) x(t) WHERE t LIKE '%st_1_%'" 0
q "UPDATE t SET v = v + 2000 WHERE id IN (7, 8, 9)"
same "from the index" top
q "DROP INDEX t_v; UPDATE t SET v = v + 3000 WHERE id IN (17, 18)"
assert_st_equal public.top
check_sql "without it there is one again" "SELECT count(*) FROM ($inner) x(t) WHERE t LIKE '%st_1_1 st_1_2%'" 1
q "DELETE FROM t WHERE id IN (7, 17)"
cheap "from the margin" top 200

# --- a primary key does not tell apart what inheritance children hold
q "CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE c () INHERITS (p); INSERT INTO p SELECT g, g FROM generate_series(1, 100) g; INSERT INTO c SELECT * FROM ONLY p"
q "SELECT pgtrickle.create_stream_table('heirs', 'SELECT id, v FROM p ORDER BY v + 0, id LIMIT 5', schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null
q "SELECT pgtrickle.refresh_stream_table('heirs')" > /dev/null
kept=$(q "SELECT max(c1) FROM pgtrickle_inner.st_4_1")
q "DELETE FROM p WHERE id = $kept"
same "both copies of the last kept row go" heirs
q "DELETE FROM p WHERE id < $kept; UPDATE ONLY p SET v = -id WHERE id > 90"
same "and all before it" heirs

# --- drift is found out
q "SET session_replication_role = replica; DELETE FROM pgtrickle_inner.st_1_1 WHERE c1 = 18"
q "DELETE FROM t WHERE id = 18"
assert_st_equal public.top
check_sql "a kept row that is not there leads to a comparison" "SELECT action || ' ' || (reason LIKE '%does not hold%') $(printf "$last" top)" "REINITIALIZE true"

# --- a crash
q "UPDATE t SET v = v + 5000 WHERE id IN (107, 108)"
q "SELECT pgtrickle.refresh_stream_table('top')" > /dev/null
before=$(state 1_2)
consumer_stop
cluster_stop immediate
cluster_start
consumer_start
check_eq "what is kept, and what is known of it" "$(state 1_2)" "$before"
q "DELETE FROM t WHERE id IN (107, 109)"
assert_st_equal public.top
assert_st_equal public.few
assert_st_equal public.pairs
done_testing
