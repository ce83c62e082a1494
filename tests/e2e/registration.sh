#!/usr/bin/env bash
# Registration under fire: stream tables come and go while four writers write to a partitioned table (leaf first, root later), to an inherited
# one and to a plain one.  Nothing is missed or doubled, no refresh has to compare, no writer fails or waits for long, and nothing is left.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "ALTER DATABASE $PGDATABASE SET pg_trickle.enabled = off"
consumer_start

q_script <<'SQL'
CREATE TABLE p (id int, k int, v int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (0, 1, 2);
CREATE TABLE p2 (v int, id int, k int);
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (3, 4, 5);
CREATE TABLE s (id serial PRIMARY KEY, k int, v int);
CREATE TABLE h (id serial, k int, v int);
CREATE TABLE hc () INHERITS (h);
INSERT INTO s (k, v) SELECT i % 10, i FROM generate_series(1, 20000) i;
SQL
cat > "$PGT_DIR/writer.sql" <<'SQL'
\set k random(0, 5)
\set id random(1, 20000)
BEGIN;
INSERT INTO p1 VALUES (:id, :k % 3, 1);
UPDATE s SET v = v + 1, k = :k WHERE id = :id;
INSERT INTO s (k, v) VALUES (:k, 1);
SAVEPOINT a;
UPDATE p SET v = v + 1 WHERE id = :id;
DELETE FROM s WHERE id = :id + 7;
ROLLBACK TO a;
INSERT INTO hc (k, v) VALUES (:k, 2);
INSERT INTO p VALUES (:id, :k, 2);
COMMIT;
SQL
seconds=${PGT_REGISTRATION_SECONDS:-15}
"$PGT_BIN/pgbench" -n -f "$PGT_DIR/writer.sql" -c 4 -T $((seconds + 3)) -l --log-prefix="$PGT_DIR/writer" > "$PGT_DIR/pgbench.out" 2>&1 &
writers=$!

rounds=0
result=
deadline=$((SECONDS + seconds))
while [ $SECONDS -lt $deadline ] && [ -z "$result" ]; do
	result=$(q_script 2>&1 <<'SQL' | grep .
SET client_min_messages = error;
SELECT pgtrickle.create_stream_table('a', 'SELECT k, count(*) AS c, sum(v) AS v FROM p GROUP BY k', '1d');
SELECT pgtrickle.create_stream_table('b', 'SELECT k, count(*) AS c FROM h GROUP BY k', '1d');
SELECT pgtrickle.create_stream_table('c', 'SELECT p.id, p.v, s.v AS sv FROM p JOIN s USING (id) WHERE p.k = 1 AND s.v > 2', '1d');
SELECT 'a', * FROM pgtrickle.verify_stream_table('a') WHERE missing + extra > 0;
SELECT 'b', * FROM pgtrickle.verify_stream_table('b') WHERE missing + extra > 0;
SELECT 'c', * FROM pgtrickle.verify_stream_table('c') WHERE missing + extra > 0;
SELECT pgt_name, action, merge_strategy_used, reason FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id)
 WHERE action <> 'DIFFERENTIAL' AND merge_strategy_used IS DISTINCT FROM 'load';
SELECT pgtrickle.drop_stream_table('c');
SELECT pgtrickle.drop_stream_table('b');
SELECT pgtrickle.drop_stream_table('a');
SQL
)
	rounds=$((rounds + 1))
done
wait $writers
check_eq "created, verified and dropped under writers: nothing missed, nothing doubled, no comparison" "$result" ""
check "several rounds ($rounds)" [ $rounds -ge 2 ]
check_eq "no writer failed" "$(sed -nE 's/^number of failed transactions: ([0-9]+).*/\1/p' "$PGT_DIR/pgbench.out")" 0
check_eq "nobody was the victim of a deadlock" "$(grep -c 'deadlock detected' "$CLUSTER_LOG")" 0
longest=$(cat "$PGT_DIR"/writer.* | awk '$3 ~ /^[0-9]+$/ && $3 > m { m = $3 } END { print int(m / 1000) }')
check "no writer waited for long ($longest ms)" [ "$longest" -lt 2000 ]
q "SELECT pgtrickle._consumer_trim()" > /dev/null
check_sql "no buffer is left" "SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname ~ '^changes_' AND relkind = 'r'" 0
check_sql "identities are back" "SELECT count(*) FROM pg_class WHERE relname IN ('p1', 'p2', 's', 'h', 'hc') AND relkind = 'r' AND relreplident <> 'd'" 0
check_sql "no trigger on a user's table" "SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('p'::regclass, 'p1'::regclass, 'p2'::regclass, 's'::regclass, 'h'::regclass, 'hc'::regclass)" 0
done_testing
