#!/usr/bin/env bash
# Subqueries through the whole path: capture, refresh, verification; and the query's own error, which heals.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE TABLE l (id int PRIMARY KEY, k int, v int); CREATE INDEX ON l (k);
   CREATE TABLE r (id int PRIMARY KEY, k int, v int); CREATE INDEX ON r (k);
   INSERT INTO l SELECT i, i % 40, i % 7 FROM generate_series(1, 300) i; INSERT INTO r SELECT i, i % 50 * 2, i % 5 FROM generate_series(1, 200) i" > /dev/null
consumer_start

declare -A query=(
	[semi]="SELECT l.id FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.v <> l.v)"
	[anti]="SELECT l.k, count(*) AS n FROM l WHERE l.k NOT IN (SELECT k FROM r WHERE r.v > 1) GROUP BY l.k"
	[any_row]="SELECT l.id FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.v > 90)"
	[threshold]="SELECT l.id, l.v FROM l WHERE l.v > (SELECT avg(v) FROM r)"
	[scalar]="SELECT l.id, (SELECT r.v FROM r WHERE r.id = l.id AND r.k >= 0) AS v, coalesce((SELECT max(v) FROM r WHERE r.k < l.k), -1) AS m FROM l"
	[asof]="SELECT l.id, q.id AS rid, q.v FROM l LEFT JOIN LATERAL (SELECT r.id, r.v FROM r WHERE r.k <= l.k ORDER BY r.k DESC, r.id LIMIT 1) q ON true"
	[expanded]="SELECT l.id, g FROM l, generate_series(1, l.v) g WHERE l.k IN (SELECT k FROM r) OR l.k = 1"
	[division]="SELECT DISTINCT l.k FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.v = 3 AND r.k < 60 AND NOT EXISTS (SELECT 1 FROM l m WHERE m.v = r.v AND m.k = l.k))"
	[sets]="SELECT l.id, (SELECT max(q.n) FROM (SELECT count(*) AS n FROM r WHERE r.k = l.k GROUP BY r.v) q) AS n FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k UNION ALL SELECT 1 FROM r WHERE r.id = l.id)"
	[both]="SELECT l.id, r.id AS rid FROM l LEFT JOIN r ON r.k = l.k AND EXISTS (SELECT 1 FROM l m WHERE m.id = r.id AND m.v <> l.v)"
	[flags]="SELECT l.id, CASE WHEN EXISTS (SELECT 1 FROM r WHERE r.k = l.k) THEN 'both' ELSE 'left' END AS f FROM l"
)
for name in "${!query[@]}"; do
	q "SELECT pgtrickle.create_stream_table('$name', \$\$${query[$name]}\$\$, schedule => '1h', refresh_mode => 'DIFFERENTIAL')" > /dev/null
done

verify_all()
{
	local name
	for name in "${!query[@]}"; do
		check_sql "$name after $1" "SELECT missing, extra FROM pgtrickle.verify_stream_table('$name')" "0|0"
	done
}

verify_all "the first load"
q "INSERT INTO r VALUES (1000, 3, 99), (1001, NULL, 2); UPDATE l SET v = v + 1 WHERE id % 10 = 0" > /dev/null
verify_all "a NULL and an outlier"
q "DELETE FROM r WHERE id IN (1000, 1001) OR k = 4; INSERT INTO l SELECT i, i % 9, i % 3 FROM generate_series(1001, 1020) i; UPDATE r SET k = k + 1 WHERE id < 20" > /dev/null
verify_all "changes on both sides"
q "DELETE FROM r" > /dev/null
verify_all "nothing is left inside"
q "INSERT INTO r SELECT i, i % 7, i % 4 FROM generate_series(1, 30) i; DELETE FROM l WHERE id > 250" > /dev/null
verify_all "it comes back"
check_sql "every later refresh was incremental" "SELECT count(*) FROM pgtrickle.pgt_refresh_history h
	WHERE action NOT IN ('DIFFERENTIAL', 'NO_DATA') AND h.start_time > (SELECT min(start_time) FROM pgtrickle.pgt_refresh_history x WHERE x.pgt_id = h.pgt_id)" 0

q "CREATE TABLE many (lid int, v int); INSERT INTO many VALUES (1, 10);
   SELECT pgtrickle.create_stream_table('one', 'SELECT l.id, (SELECT v FROM many WHERE lid = l.id) AS v FROM l', schedule => '1h', refresh_mode => 'DIFFERENTIAL');
   INSERT INTO many VALUES (1, 11)" > /dev/null
check_error "a second row is the query's own error" "SELECT pgtrickle.refresh_stream_table('one')" 21000
q "DELETE FROM many WHERE v = 10" > /dev/null
check_sql "which goes away with the row" "SELECT missing, extra FROM pgtrickle.verify_stream_table('one')" "0|0"
done_testing
