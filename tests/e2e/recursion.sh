#!/usr/bin/env bash
# WITH RECURSIVE: random graphs through the compiler alone (tests/fuzz/recursion_fuzz.py), then a tree and a closure through the
# whole product, where one changed edge costs what hangs on it.
#   SEED (random)  SECONDS_MAX (15)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
seed=${SEED:-$((RANDOM * 1000 + 1))}
q "CREATE DATABASE search"
out=$(PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/fuzz/recursion_fuzz.py" --dsn dbname=search --seed "$seed" --rounds 100000 --seconds "${SECONDS_MAX:-15}" 2>&1)
result=$?
echo "$out" | sed 's/^/# /'
check_eq "no difference was found (seed $seed)" "$result" 0

consumer_start
q "CREATE TABLE node (id int PRIMARY KEY, parent int NOT NULL);
   INSERT INTO node SELECT i, i / 5 FROM generate_series(1, 20000) i;
   CREATE INDEX ON node (parent);
   CREATE TABLE edge (a int NOT NULL, b int NOT NULL, PRIMARY KEY (a, b));
   INSERT INTO edge SELECT i, CASE WHEN i % 10 = 0 THEN i - 9 ELSE i + 1 END FROM generate_series(1, 10000) i;
   CREATE INDEX ON edge (b);
   ANALYZE node, edge"
TREE='WITH RECURSIVE r AS (SELECT id, parent, 1 AS level FROM node WHERE parent = 0 UNION ALL SELECT n.id, n.parent, r.level + 1 FROM node n JOIN r ON n.parent = r.id) SELECT * FROM r'
REACH='WITH RECURSIVE r AS (SELECT a, b FROM edge UNION SELECT r.a, e.b FROM r JOIN edge e ON e.a = r.b) SELECT a AS "from", b AS "to" FROM r'
q "SELECT pgtrickle.create_stream_table('tree', '$TREE', schedule => '1d')" 2> /dev/null
q "SELECT pgtrickle.create_stream_table('reach', '$REACH', schedule => '1d')" 2> /dev/null
q "ANALYZE tree, reach"
check_sql "both are incremental" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE full_reason IS NULL" 2
touched() { q "SELECT (j->>'action') || ' ' || ((j->>'rows_read')::int < $2) FROM (SELECT explain_delta::jsonb AS j FROM pgtrickle.explain_delta('$1', 'json', true)) q"; }
step()
{
	q "$1"
	check_eq "$2 costs what hangs on it: $1" "$(touched "$2" "$3")" "DIFFERENTIAL true"
	check_sql "and is right" "SELECT * FROM pgtrickle.verify_stream_table('$2')" "0|0"
}
step "UPDATE node SET parent = 7 WHERE id = 10000" tree 100
step "DELETE FROM node WHERE id = 1000" tree 400
step "INSERT INTO node VALUES (1000, 3)" tree 400
step "UPDATE node SET parent = 1001 WHERE id = 1000" tree 400
step "DELETE FROM edge WHERE a = 500" reach 4000
step "INSERT INTO edge VALUES (500, 491)" reach 1000
step "INSERT INTO edge VALUES (500, 501)" reach 3000
step "BEGIN; DELETE FROM edge WHERE a = 500; INSERT INTO edge VALUES (505, 500), (500, 495); UPDATE edge SET b = 1 WHERE a = 510; COMMIT" reach 10000
check_sql "no refresh compared" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action IN ('FULL', 'REINITIALIZE') AND initiated_by = 'MANUAL'" 0

# What is not maintained says what would be.
q "SELECT pgtrickle.create_stream_table('deep', 'WITH RECURSIVE r AS (SELECT id, 1 AS level FROM node WHERE parent = 0 UNION ALL SELECT n.id, r.level + 1 FROM node n JOIN r ON n.parent = r.id) SELECT max(level) AS deep FROM r', schedule => '1d')" 2> /dev/null
check_sql "recursion below an aggregate has a reason" "SELECT full_reason FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'deep'" "WITH RECURSIVE below other operations"
q "SELECT pgtrickle.create_stream_table('deepest', 'SELECT max(level) AS deep FROM tree', schedule => '1d')" 2> /dev/null
q "INSERT INTO node VALUES (20001, 20000), (20002, 20001)"
assert_st_equal tree
assert_st_equal deepest "a stream table over the recursion"
assert_st_equal deep
q "SELECT pgtrickle.create_stream_table('plain', 'WITH RECURSIVE x AS (SELECT id FROM node) SELECT count(*) AS n FROM x', schedule => '1d')" 2> /dev/null
check_sql "WITH RECURSIVE without recursion is none" "SELECT full_reason IS NULL FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'plain'" t
done_testing
