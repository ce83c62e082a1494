#!/usr/bin/env bash
# Whole rows (`to_jsonb(t)`) in stream tables: maintained incrementally, and new and renamed columns of the table show.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, g int, v numeric); CREATE TABLE d (id int PRIMARY KEY, name text, extra json);
   INSERT INTO t SELECT i, i % 5, i % 7 FROM generate_series(1, 200) i; INSERT INTO d SELECT i, 'n' || i, '{\"a\": 1}' FROM generate_series(0, 3) i
   ; CREATE TABLE p (id int, k int) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 (k int, id int); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)
   ; INSERT INTO p VALUES (1, 1), (2, 2)"
consumer_start
sts="docs padded gathered records named tops parts"
st() { q "SELECT pgtrickle.create_stream_table('$1', \$\$$2\$\$, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null 2>> "$PGT_DIR/err" || fail "create $1: $(tail -3 "$PGT_DIR/err")"; }
st docs "SELECT id, to_jsonb(t) AS doc FROM t"
st padded "SELECT t.id, to_jsonb(d) AS doc, d IS NULL AS none FROM t LEFT JOIN d ON d.id = t.v"
st gathered "SELECT t.g, jsonb_agg(t) AS rows, json_agg(d)::text AS names, count(d) AS n FROM t LEFT JOIN d ON d.id = t.v GROUP BY t.g"
st records "SELECT q.g, json_agg(row_to_json(q)) AS j FROM (SELECT g, count(*) AS n FROM t GROUP BY g) q GROUP BY q.g"
st named "SELECT t AS r, t.id FROM t"
st tops "SELECT to_jsonb(p) AS doc FROM p ORDER BY p LIMIT 3"
st parts "SELECT row_to_json(p)::text AS doc FROM p"
all() { for s in $sts; do assert_st_equal "$s"; done; }
compared() { q "SELECT string_agg(DISTINCT pgt_name, ' ' ORDER BY pgt_name) FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE reason LIKE 'columns of table%'"; }

q "UPDATE t SET v = v + 1 WHERE id % 3 = 0; DELETE FROM d WHERE id = 2; INSERT INTO d VALUES (6, NULL, '[]'); INSERT INTO p VALUES (3, 1), (4, 2); UPDATE p SET k = 1 WHERE id = 2"
all
check_sql "all of it incremental" \
	"SELECT string_agg(DISTINCT reason, '; '), count(*) FILTER (WHERE action = 'DIFFERENTIAL') > 5 FROM pgtrickle.pgt_refresh_history WHERE reason IS DISTINCT FROM 'first load'" "|t"
check_sql "a row of NULLs and no row differ" "SELECT count(*) FILTER (WHERE doc IS NULL) > 0, count(*) FILTER (WHERE doc IS NOT NULL) > 0 FROM padded" "t|t"

q "ALTER TABLE t ADD COLUMN c text; ALTER TABLE p ADD COLUMN note text DEFAULT 'x'"
all
check_eq "a new column is compared in once, where it shows" "$(compared)" "docs gathered named parts tops"
check_sql "and is there" "SELECT count(*) FROM docs WHERE NOT doc ? 'c'" "0"
q "UPDATE t SET c = 'new' WHERE id < 20; UPDATE p SET note = 'y' WHERE id = 1; INSERT INTO p VALUES (5, 2, NULL)"
all
check_sql "and maintained" "SELECT count(*) FROM docs WHERE doc->>'c' = 'new'" "19"

q "ALTER TABLE d RENAME COLUMN name TO title"
q "UPDATE d SET title = title || '!' WHERE id = 1"
all
check_eq "a new name is compared in" "$(compared)" "docs gathered named padded parts tops"
check_sql "and shows" "SELECT count(*) > 0 FROM padded WHERE doc->>'title' = 'n1!'" "t"
check_eq "a column of a row that is read cannot be dropped" "$(q "ALTER TABLE t DROP COLUMN c" 2>&1 | grep -c 'because stream table .* uses it')" 1
q "INSERT INTO t VALUES (1000, 1, 1, 'last'); DELETE FROM t WHERE id = 1; UPDATE t SET g = 9 WHERE id = 2"
all
check_sql "since then incremental again" \
	"SELECT count(*) FROM (SELECT DISTINCT ON (pgt_id) action FROM pgtrickle.pgt_refresh_history WHERE status = 'COMPLETED' ORDER BY pgt_id, refresh_id DESC) q WHERE action <> 'DIFFERENTIAL'" "0"
done_testing
