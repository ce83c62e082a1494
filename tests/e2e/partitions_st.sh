#!/usr/bin/env bash
# Partitions and inheritance children come, go, move rows and change under stream tables on the root and on a leaf.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "ALTER DATABASE $PGDATABASE SET client_min_messages = error"
q "ALTER DATABASE $PGDATABASE SET pg_trickle.enabled = off"
consumer_start
q_script > /dev/null <<'SQL'
CREATE TABLE p (id int, k int, v int, t text) PARTITION BY RANGE (k);
CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p1 (t text, gone int, v int, k int, id int);
ALTER TABLE p1 DROP COLUMN gone;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (10) TO (20);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (20) TO (30) PARTITION BY LIST (v);
CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN (0, 1, 2);
CREATE TABLE p2d PARTITION OF p2 DEFAULT;
CREATE TABLE pd PARTITION OF p DEFAULT;
CREATE TABLE h (id int, k int, v int, t text);
CREATE TABLE hc (extra int) INHERITS (h);
INSERT INTO p SELECT g, g % 40, g % 5, 't' || g FROM generate_series(1, 200) g;
INSERT INTO hc SELECT g, g % 4, g % 5, 't', 1 FROM generate_series(1, 20) g;
SELECT pgtrickle.create_stream_table('root', 'SELECT id, k, v, t FROM p', '1d');
SELECT pgtrickle.create_stream_table('agg', 'SELECT v, count(*) AS n, sum(k) AS s, max(t) AS m FROM p GROUP BY v', '1d');
SELECT pgtrickle.create_stream_table('leaf', 'SELECT id, k, t FROM p1 WHERE v > 0', '1d');
SELECT pgtrickle.create_stream_table('middle', 'SELECT v, count(*) AS n FROM p2 GROUP BY v', '1d');
SELECT pgtrickle.create_stream_table('self', 'SELECT a.id, b.v FROM p a JOIN p1 b ON a.id = b.id', '1d');
SELECT pgtrickle.create_stream_table('tree', 'SELECT k, count(*) AS n, min(t) AS m FROM h GROUP BY k', '1d');
SELECT pgtrickle.create_stream_table('child', 'SELECT id, k, v FROM hc', '1d');
CREATE TABLE key (id int PRIMARY KEY, v int);
CREATE TABLE heir () INHERITS (key);
INSERT INTO key SELECT g, g % 3 FROM generate_series(1, 20) g;
INSERT INTO heir TABLE key;
SELECT pgtrickle.create_stream_table('compared', 'SELECT id, v FROM key', '1d', 'FULL');
SQL
all_equal()
{
	local st bad= d
	for st in $(q "SELECT pgt_name FROM pgtrickle.pgt_stream_tables ORDER BY pgt_id"); do
		bad+=$(q "SELECT pgtrickle.refresh_stream_table('$st')" 2>&1 | head -3)
		d=$(st_difference "$st" 2>&1)
		[ "$d" = 0,0 ] || bad+=" $st: $d"
	done
	check_eq "equal after: ${1:0:110}" "$bad" ""
}
step() { local out; out=$(q "$1" 2>&1) || { echo "# $out"; fail "${1:0:110}"; }; all_equal "$1"; }

step "UPDATE p SET k = k + 10 WHERE id % 7 = 0"
step "UPDATE p SET v = 9 - v WHERE k BETWEEN 20 AND 25"
step "DELETE FROM p1 WHERE id % 5 = 0"
step "INSERT INTO p1 (id, k, v, t) VALUES (900, 11, 3, NULL), (901, 12, 1, 'x')"
check_sql "rows moved between partitions without a comparison" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action = 'FULL' AND merge_strategy_used = 'diff'" 0
step "TRUNCATE p0"
step "TRUNCATE p2"
q "INSERT INTO p VALUES (1000, 5, 1, 'before'), (1001, 25, 2, 'before')"
q "ALTER TABLE p DETACH PARTITION p0"
step "INSERT INTO p0 VALUES (1002, 6, 1, 'outside')"
q "UPDATE p0 SET v = v + 1"
step "ALTER TABLE p ATTACH PARTITION p0 FOR VALUES FROM (0) TO (10)"
step "UPDATE p SET v = v + 1 WHERE k < 10"
q "BEGIN; DELETE FROM pd; CREATE TABLE p4 PARTITION OF p FOR VALUES FROM (40) TO (50); INSERT INTO p VALUES (1100, 41, 1, 'new'); COMMIT"
step "INSERT INTO p4 VALUES (1101, 42, 2, 'new')"
step "UPDATE p SET k = 43, t = 'moved' WHERE id IN (900, 901)"
step "DROP TABLE p4"
q "ALTER TABLE p DETACH PARTITION pd"
q "ALTER TABLE p DETACH PARTITION p0 CONCURRENTLY"
all_equal "DETACH CONCURRENTLY"
step "CREATE TABLE p9 (LIKE p); INSERT INTO p9 VALUES (1, 91, 2, 'a'); ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (90) TO (100)"
step "BEGIN; INSERT INTO p VALUES (2, 92, 2, 'b'); ALTER TABLE p DETACH PARTITION p9; INSERT INTO p9 VALUES (3, 93, 2, 'c'); ROLLBACK"
step "ALTER TABLE p2a RENAME TO \"p 2a\"; ALTER TABLE p RENAME COLUMN t TO txt; INSERT INTO p VALUES (5, 22, 1, 'n')"
step "INSERT INTO hc VALUES (50, 1, 1, 'c', 2); INSERT INTO h VALUES (51, 1, 1, 'a'); UPDATE h SET t = t || 'x' WHERE id % 2 = 0"
step "ALTER TABLE hc NO INHERIT h; INSERT INTO hc VALUES (52, 1, 1, 'd', 2)"
step "ALTER TABLE hc INHERIT h; DELETE FROM h WHERE id < 5"
step "CREATE TABLE hc2 () INHERITS (h); INSERT INTO hc2 VALUES (60, 2, 1, 'e')"
step "UPDATE heir SET v = v + 1 WHERE id < 5; DELETE FROM ONLY key WHERE id = 6; INSERT INTO heir VALUES (7, 9), (8, 2)"
step "TRUNCATE ONLY h"
step "TRUNCATE hc"
q "SET pg_trickle.block_source_ddl = off; ALTER TABLE h ALTER COLUMN k TYPE bigint"
step "INSERT INTO hc VALUES (70, 5000000000, 1, 'big', 1)"
q "SET pg_trickle.block_source_ddl = off; ALTER TABLE p ALTER COLUMN txt TYPE varchar(40)"
step "INSERT INTO p1 (id, k, v, txt) VALUES (950, 13, 3, 'retyped')"

# Attach and detach while writers write and refreshes run.
cat > "$PGT_DIR/w.sql" <<'SQL'
\set k random(10, 29)
INSERT INTO p VALUES (:k, :k, 1, 'w');
UPDATE p SET v = v + 1, k = 10 + (k + 3) % 20 WHERE id = :k AND k BETWEEN 10 AND 29;
DELETE FROM p WHERE id = :k AND v > 4;
SQL
"$PGT_BIN/pgbench" -n -f "$PGT_DIR/w.sql" -c 3 -T 5 > "$PGT_DIR/pgbench.out" 2>&1 &
writers=$!
bad=
rounds=0
while kill -0 $writers 2> /dev/null; do
	q "ALTER TABLE p DETACH PARTITION p9" -c "ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (90) TO (100)" > /dev/null 2>&1
	for st in root agg leaf middle self; do
		out=$(q "SELECT '$st', * FROM pgtrickle.verify_stream_table('$st') WHERE missing + extra > 0" 2>&1)
		case $out in *"lock timeout"* | *deadlock* | *"barrier"*) ;; *) bad+=$out ;; esac
	done
	rounds=$((rounds + 1))
done
check_eq "attached, detached and verified under writers ($rounds rounds)" "$bad" ""
all_equal "the writers"
check_eq "no crash" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
done_testing
