#!/usr/bin/env bash
# A change that the query's own conditions throw away reads no table: steps behind an empty delta are not run, nor planned.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
q "CREATE TABLE t (id int PRIMARY KEY, kind int NOT NULL, g int, v int, w int);
   INSERT INTO t SELECT i, i % 4, nullif(i % 7, 0), i * 37 % 101, i FROM generate_series(1, 2000) i;
   CREATE TABLE d (g int PRIMARY KEY, name text);
   INSERT INTO d SELECT i, 'd' || i FROM generate_series(1, 8) i;
   CREATE INDEX ON t (g);
   ANALYZE t, d"

declare -A query=(
	[ranks]="SELECT id, v, rank() OVER (ORDER BY v, id) AS r FROM t WHERE kind = 1"
	[parts]="SELECT id, sum(v) OVER (PARTITION BY g ORDER BY id) AS r FROM t WHERE kind = 1"
	[scalars]="SELECT a.*, b.n AS o FROM (SELECT count(DISTINCT v) AS n, avg(v) AS m FROM t WHERE kind = 1) a, (SELECT count(DISTINCT v) AS n FROM t WHERE kind = 2) b"
	[top]="SELECT g, string_agg(v::text, ',' ORDER BY id) AS s FROM t WHERE kind = 1 GROUP BY g ORDER BY g NULLS LAST LIMIT 3"
	[both]="SELECT v FROM t WHERE kind = 1 INTERSECT SELECT v FROM t WHERE kind = 2"
	[above]="SELECT d.name, s.n FROM d LEFT JOIN (SELECT g, count(DISTINCT v) AS n FROM t WHERE kind = 1 GROUP BY g) s ON s.g = d.g"
	[having]="SELECT g, count(*) AS n, max(v) AS m FROM t WHERE kind = 1 GROUP BY g HAVING count(DISTINCT w) > 3"
	[again]="SELECT x.g, x.n FROM (SELECT g, count(*) AS n FROM t WHERE kind = 1 GROUP BY g) x WHERE x.n > (SELECT avg(n) FROM (SELECT count(*) AS n FROM t WHERE kind = 1 GROUP BY g) y)"
	[extrema]="SELECT d.name, min(t.v) AS low, max(t.w) AS high FROM t JOIN d USING (g) WHERE kind = 1 GROUP BY d.name"
	[extremum]="SELECT min(t.v) AS low, max(t.w) AS high FROM t JOIN d USING (g) WHERE kind = 1"
	[nulls]="SELECT g, w % 3 AS k, count(DISTINCT v) AS n, bit_xor(w) AS x FROM t WHERE kind = 1 GROUP BY 1, 2"
)
for st in "${!query[@]}"; do
	q "SELECT pgtrickle.create_stream_table('$st', \$q\$${query[$st]}\$q\$, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" 2> /dev/null
done
check_sql "created" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE full_reason IS NULL" "${#query[@]}"

# Tables of the query: what is stored with the stream table may be looked at.
read_by() { q "SELECT j FROM pgtrickle.explain_delta('$1', 'json', \"analyze\" => true) j" | /usr/bin/python3 -c "
import json, sys
def rows(node):
    n = (node['Actual Rows'] + node.get('Rows Removed by Filter', 0)) * node['Actual Loops'] if node.get('Relation Name') in ('t', 'd') else 0
    return n + sum(rows(c) for c in node.get('Plans', []))
print(round(sum(rows(s['plan']['Plan']) for s in json.load(sys.stdin)['steps'])))"; }

q "UPDATE t SET v = v + 1000, w = -w WHERE kind = 3 AND id < 400; DELETE FROM t WHERE kind = 0 AND id < 40"
for st in "${!query[@]}"; do
	check_eq "$st: rows that it does not see lead to none that are read" "$(read_by "$st")" 0
	assert_st_equal "$st"
done

# An extremum that stays needs no row of its group.
q "UPDATE t SET v = 50, w = 60 WHERE id = 901"
check_eq "extremum: a row in the middle came" "$(read_by extremum | sed 's/^[0-9]$/few/')" few
for change in "UPDATE t SET v = -id, w = id + 5000 WHERE kind = 1 AND id < 200; UPDATE d SET name = name || 'x' WHERE g < 4" \
	"UPDATE t SET kind = (kind + 1) % 4, g = nullif(g, 3) WHERE id % 3 = 0" "DELETE FROM t WHERE kind = 1 AND (g IS NULL OR id < 300)" \
	"DELETE FROM t WHERE kind = 1; DELETE FROM d WHERE g = 2"; do
	q "$change"
	for st in "${!query[@]}"; do assert_st_equal "$st" "$st: $change"; done
done
done_testing
