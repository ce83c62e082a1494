#!/usr/bin/env bash
# WITH RECURSIVE: random graphs through the compiler alone (tests/fuzz/recursion_fuzz.py), then a tree and a closure through the
# whole product, where one changed edge costs what hangs on it.
#   SEED (random)  SECONDS_MAX (8)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
seed=${SEED:-$((RANDOM * 1000 + 1))}
q "CREATE DATABASE search"
out=$(PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/fuzz/recursion_fuzz.py" --dsn dbname=search --seed "$seed" --rounds 100000 --seconds "${SECONDS_MAX:-8}" 2>&1)
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

# --- steps that are more than a join: an outer join, a subquery, LATERAL; each change costs what it touches
q "CREATE TABLE closed (id int PRIMARY KEY); CREATE TABLE owner (id int PRIMARY KEY, name text NOT NULL); INSERT INTO owner SELECT i, 'o' || i FROM generate_series(1, 20000, 3) i;
   CREATE TABLE price (id int, at int, v int); INSERT INTO price SELECT i, j, i + j FROM generate_series(1, 20000, 2) i, generate_series(1, 2) j; CREATE INDEX ON price (id, at); ANALYZE owner, price"
below() { q "SELECT pgtrickle.create_stream_table('$1', 'WITH RECURSIVE r AS (SELECT id, NULL::text AS x FROM node WHERE parent = 0 UNION ALL SELECT n.id, $2 FROM node n JOIN r ON n.parent = r.id $3) SELECT * FROM r', schedule => '1d', refresh_mode => 'DIFFERENTIAL')" 2> /dev/null; }
below open_nodes 'r.x' 'WHERE NOT EXISTS (SELECT FROM closed c WHERE c.id = n.id)'
below owned 'coalesce(o.name, r.x)' 'LEFT JOIN owner o ON o.id = n.id'
below priced '(SELECT sum(p.v) FROM price p WHERE p.id = n.id)::text' ''
below last_price 'l.v::text' 'LEFT JOIN LATERAL (SELECT p.v FROM price p WHERE p.id = n.id ORDER BY p.at DESC LIMIT 1) l ON true'
q "SELECT pgtrickle.create_stream_table('open_set', 'WITH RECURSIVE r AS (SELECT id FROM node WHERE parent = 0 UNION SELECT n.id FROM node n JOIN r ON n.parent = r.id WHERE NOT EXISTS (SELECT FROM closed c WHERE c.id = n.id)) SELECT * FROM r', schedule => '1d', refresh_mode => 'DIFFERENTIAL')" 2> /dev/null
q "ANALYZE open_nodes, owned, priced, last_price, open_set"
step "INSERT INTO closed VALUES (1000), (77)" open_nodes 2000
step "DELETE FROM closed WHERE id = 1000" open_nodes 2000
step "INSERT INTO closed VALUES (1005), (78)" open_set 2000
step "DELETE FROM node WHERE id = 1500" open_set 2000
step "UPDATE node SET parent = 8 WHERE id = 2000" open_nodes 2000
step "UPDATE owner SET name = 'new' WHERE id = 1000" owned 2000
step "DELETE FROM owner WHERE id = 1003; INSERT INTO owner VALUES (1001, 'another')" owned 2000
step "DELETE FROM price WHERE id = 1001; INSERT INTO price VALUES (1002, 1, 7)" priced 2000
step "INSERT INTO price VALUES (1001, 5, 50), (1003, 9, 90)" last_price 2000
step "DELETE FROM price WHERE id = 1003 AND at = 9; UPDATE node SET parent = 9 WHERE id = 2001" last_price 2000
check_sql "the outer join's names were passed on" "SELECT string_agg(id || ' ' || coalesce(x, '-'), ', ' ORDER BY id) FROM owned WHERE id IN (998, 1000, 1001, 5001, 5006)" "998 o199, 1000 new, 1001 another, 5001 new, 5006 another"

# --- SEARCH and CYCLE: as the server writes their columns, and without the cycle once it is broken
q "CREATE TABLE way (a int, b int, PRIMARY KEY (a, b)); INSERT INTO way VALUES (1, 2), (2, 3), (3, 1), (3, 4);
   CREATE TABLE dept (id int PRIMARY KEY, above int, name text); INSERT INTO dept VALUES (1, NULL, 'all'), (2, 1, 'sales'), (3, 1, 'lab'), (4, 2, 'east'), (5, 3, 'east'), (6, 2, 'asia'); CREATE INDEX ON dept (above)"
q "CREATE VIEW loop_view AS WITH RECURSIVE r AS (SELECT a, b FROM way WHERE a = 1 UNION SELECT r.a, w.b FROM r JOIN way w ON w.a = r.b) CYCLE b SET looped TO 'yes' DEFAULT 'no' USING path SELECT b, looped, path::text AS path FROM r"
searches()
{
	local st sql
	while IFS='|' read -r st sql; do
		q "SELECT pgtrickle.create_stream_table('$st', \$\$$sql\$\$, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null 2>&1
	done <<- QUERIES
		loops|WITH RECURSIVE r AS (SELECT a, b FROM way WHERE a = 1 UNION ALL SELECT r.a, w.b FROM r JOIN way w ON w.a = r.b) CYCLE b SET looped USING path SELECT b, looped, path::text AS path FROM r
		loops_of_two|WITH RECURSIVE r(n, t) AS (SELECT a, a::text FROM way WHERE a = 1 UNION ALL SELECT w.b, w.b::text FROM r JOIN way w ON w.a = r.n) CYCLE n, t SET looped TO 1 DEFAULT 0 USING path SELECT n, looped, path::text AS path, to_jsonb(path) AS j FROM r
		loops_in_view|SELECT * FROM loop_view
		outline|WITH RECURSIVE t AS (SELECT id, above, name FROM dept WHERE above IS NULL UNION ALL SELECT d.id, d.above, d.name FROM dept d JOIN t ON d.above = t.id) SEARCH DEPTH FIRST BY id SET ord SELECT row_number() OVER (ORDER BY ord) AS line, id, name, cardinality(ord) AS level FROM t
		by_level|WITH RECURSIVE t AS (SELECT id, name FROM dept WHERE above IS NULL UNION ALL SELECT d.id, d.name FROM dept d JOIN t ON d.above = t.id) SEARCH BREADTH FIRST BY name, id SET ord SELECT row_number() OVER (ORDER BY ord) AS line, id, ord::text AS ord FROM t
	QUERIES
}
searches
check_sql "all of them are incremental" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE pgt_name ~ '^loops|outline|by_level' AND full_reason IS NULL" 5
check_sql "the stored query has the clauses as they were written" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE pgt_name IN ('loops', 'outline', 'loops_in_view') AND defining_query ~ '(CYCLE b SET looped|SEARCH DEPTH FIRST BY id SET ord)' AND defining_query !~ 'array_cat'" 3
everything() { for st in loops loops_of_two loops_in_view outline by_level; do q "SELECT pgtrickle.refresh_stream_table('$st')" > /dev/null; assert_st_equal "$st"; done; }
everything
check_sql "a cycle is followed once" "SELECT string_agg(b || ' ' || looped || ' ' || path, '; ' ORDER BY length(path), b) FROM loops" '2 false {(2)}; 3 false {(2),(3)}; 1 false {(2),(3),(1)}; 4 false {(2),(3),(4)}; 2 true {(2),(3),(1),(2)}'
check_sql "the outline is in order" "SELECT string_agg(repeat('-', level) || name, ' ' ORDER BY line) FROM outline" "-all --sales ---east ---asia --lab ---east"
q "DELETE FROM way WHERE a = 3 AND b = 1; UPDATE dept SET above = 3 WHERE id = 2; INSERT INTO dept VALUES (7, 1, 'box'); DELETE FROM dept WHERE id = 6"
everything
check_sql "a broken cycle is gone" "SELECT string_agg(b || ' ' || looped || ' ' || path, '; ' ORDER BY length(path), b) FROM loops" '2 false {(2)}; 3 false {(2),(3)}; 4 false {(2),(3),(4)}'
check_sql "the outline follows" "SELECT string_agg(repeat('-', level) || name, ' ' ORDER BY line) FROM outline" "-all --lab ---sales ----east ---east --box"
q "INSERT INTO way VALUES (4, 2), (4, 4), (2, 2); UPDATE dept SET name = NULL WHERE id = 3; ALTER TABLE way RENAME COLUMN b TO target"
everything
check_sql "no refresh of them compared but for the new name" "SELECT count(*) FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_stream_tables USING (pgt_id) WHERE pgt_name IN ('outline', 'by_level') AND action IN ('FULL', 'REINITIALIZE') AND initiated_by = 'MANUAL'" 0

# --- below other operations: the recursion is kept in an inner table, and a local change costs the same whatever the size
graph()		# name, rows: trees of a hundred parts, five below each, and their names; chains of ten links
{
	q "CREATE TABLE part_$1 (id int PRIMARY KEY, parent int NOT NULL, qty numeric NOT NULL, name text NOT NULL);
	   INSERT INTO part_$1 SELECT i, CASE WHEN i % 100 = 1 THEN 0 ELSE i - i % 100 + (i % 100 + 3) / 5 END, 1 + i % 3, 'part ' || i FROM generate_series(1, $2) i WHERE i % 100 > 0; CREATE INDEX ON part_$1 (parent);
	   CREATE TABLE link_$1 (a int NOT NULL, b int NOT NULL, PRIMARY KEY (a, b)); CREATE INDEX ON link_$1 (b);
	   INSERT INTO link_$1 SELECT i, i + 1 FROM generate_series(1, $2) i WHERE i % 10 <> 0; ANALYZE part_$1, link_$1"
	local below="WITH RECURSIVE tree AS (SELECT id, parent, 0 AS depth, 1::numeric AS n FROM part_$1 WHERE parent = 0 UNION ALL SELECT p.id, p.parent, t.depth + 1, t.n * p.qty FROM part_$1 p JOIN tree t ON p.parent = t.id)"
	local reach="WITH RECURSIVE reach AS (SELECT a, b FROM link_$1 UNION SELECT r.a, l.b FROM reach r JOIN link_$1 l ON l.a = r.b)"
	local st sql
	while IFS='|' read -r st sql; do
		q "SELECT pgtrickle.create_stream_table('${st}_$1', \$\$$sql\$\$, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null 2>&1
	done <<- QUERIES
		chart|$below SELECT t.id, p.name, t.depth FROM tree t JOIN part_$1 p USING (id) WHERE depth < 20
		costs|$below SELECT p.parent, sum(t.n) AS n, count(*) AS parts FROM tree t JOIN part_$1 p USING (id) GROUP BY p.parent
		deep|$below SELECT id, n, depth FROM tree ORDER BY depth DESC, id DESC LIMIT 5
		pairs|$reach SELECT b, count(*) AS n FROM reach GROUP BY b
		twice|$reach SELECT x.a, y.b FROM reach x JOIN reach y ON y.a = x.b WHERE x.a % 10 = 1
		both|$below, $(echo "$reach" | sed 's/WITH RECURSIVE //') SELECT t.id, r.b FROM tree t JOIN reach r ON r.a = t.id
	QUERIES
}
wrapped='chart costs deep pairs twice both'
graph small 2000
graph large 16000
check_sql "all of them are incremental" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE pgt_name ~ '_(small|large)\$' AND full_reason IS NULL" 12
check_sql "and each keeps its recursions, once" "SELECT string_agg(n::text, ' ') FROM (SELECT count(*) AS n FROM pgtrickle.pgt_stream_tables s JOIN pg_class c ON c.relname ~ ('^st_' || s.pgt_id || '_') AND c.relkind = 'r' AND relnamespace = 'pgtrickle_inner'::regnamespace WHERE pgt_name ~ '_small' GROUP BY pgt_name ORDER BY pgt_name) x" "2 1 1 1 1 1"
rows() { q "SELECT (j->>'rows_read') || CASE WHEN j->>'action' IN ('DIFFERENTIAL', 'NO_DATA') THEN '' ELSE j->>'action' END FROM (SELECT explain_delta::jsonb AS j FROM pgtrickle.explain_delta('$1', 'json', true)) q"; }
alike()		# what, change with % for the size
{
	local size st small large
	for size in small large; do q "${2//%/$size}"; done
	for st in $wrapped; do
		small=$(rows "${st}_small") large=$(rows "${st}_large")
		[ "$large" -le "$((2 * small + 50))" ] 2> /dev/null && pass "$st: $1 reads no more rows of a large graph ($small, $large)" || fail "$st: $1 reads no more rows of a large graph ($small, $large)"
		for size in small large; do q "SELECT pgtrickle.refresh_stream_table('${st}_$size')" > /dev/null; done
		assert_st_equal "${st}_large"
	done
}
alike "a moved part" "UPDATE part_% SET parent = 409 WHERE id = 305; UPDATE part_% SET qty = 7 WHERE id = 303"
alike "a removed part" "DELETE FROM part_% WHERE id = 504"
alike "a new name" "UPDATE part_% SET name = 'new' WHERE id = 603"
alike "links that go and come" "DELETE FROM link_% WHERE a = 305; INSERT INTO link_% VALUES (310, 311), (308, 301)"
check_sql "no refresh compared" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action IN ('FULL', 'REINITIALIZE') AND initiated_by = 'MANUAL'" 0

# --- the recursion changes with the query, and is made again where it is lost
q "SELECT pgtrickle.alter_stream_table('chart_small', query => 'WITH RECURSIVE tree AS (SELECT id, 0 AS depth FROM part_small WHERE parent = 0 UNION ALL SELECT p.id, t.depth + 1 FROM part_small p JOIN tree t ON p.parent = t.id) SELECT depth, count(*) AS n FROM tree GROUP BY depth')" > /dev/null
assert_st_equal chart_small
q "SET session_replication_role = replica; DO \$\$DECLARE t text := 'pgtrickle_inner.st_' || (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'costs_small') || '_1'; BEGIN
   EXECUTE 'ALTER EXTENSION pg_trickle DROP TABLE ' || t; EXECUTE 'DROP TABLE ' || t; END\$\$; UPDATE part_small SET parent = 2 WHERE id = 50" 2> /dev/null
for st in chart costs; do assert_st_equal "${st}_small"; done
q "UPDATE part_small SET parent = 3 WHERE id = 50"
check_eq "and then it is incremental again" "$(rows costs_small | grep -c '^[0-9]*$')" 1
q "ALTER TABLE part_small RENAME COLUMN parent TO above; UPDATE part_small SET above = 4 WHERE id = 50"
for st in chart costs both; do assert_st_equal "${st}_small"; done

# --- dump and restore
q "CREATE DATABASE copy"
"$PGT_BIN/pg_dump" -Fc -f "$PGT_DIR/dump" postgres && "$PGT_BIN/pg_restore" -d copy "$PGT_DIR/dump" 2> "$PGT_DIR/restore.err"
PGDATABASE=copy q "SELECT pgtrickle.restore_stream_tables()" > /dev/null 2>&1
PGDATABASE=copy consumer_start copied -d copy
for st in tree reach chart_small costs_small both_small loops loops_of_two loops_in_view outline owned; do PGDATABASE=copy assert_st_equal "$st" "a restored stream table: $st"; done
PGDATABASE=copy q "UPDATE part_small SET above = 5 WHERE id = 50; DELETE FROM link_small WHERE a = 15"
check_eq "and is incremental" "$(PGDATABASE=copy rows both_small | grep -c '^[0-9]*$')" 1
PGDATABASE=copy assert_st_equal both_small
PGDATABASE=copy consumer_stop
poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = 'copied'" f 20
q "SELECT pg_drop_replication_slot('copied')" > /dev/null
q "DROP DATABASE copy"

# --- what is not maintained says what would be
refused()	# name, reason, query
{
	q "SELECT pgtrickle.create_stream_table('$1', \$\$$3\$\$, schedule => '1d')" > /dev/null 2>&1
	check_sql "$1: the reason" "SELECT full_reason FROM pgtrickle.pgt_stream_tables WHERE pgt_name = '$1'" "$2"
	q "INSERT INTO node VALUES ($((30000 + RANDOM)), 5) ON CONFLICT DO NOTHING; DELETE FROM edge WHERE a = $((RANDOM % 9000))"
	assert_st_equal "$1"
}
refused distinct_step "a recursive term that is not computed row by row" \
	"WITH RECURSIVE r AS (SELECT id FROM node WHERE parent = 0 UNION SELECT DISTINCT n.id FROM r JOIN node n ON n.parent = r.id) SELECT count(*) AS n FROM r"
refused rounded "WITH RECURSIVE over values that are equal in more than one form" \
	"WITH RECURSIVE r AS (SELECT id, 1.0 AS x FROM node WHERE parent = 0 UNION SELECT n.id, r.x * 1.0 FROM r JOIN node n ON n.parent = r.id) SELECT id FROM r"
refused correlated "WITH RECURSIVE that refers to the query around it" \
	"SELECT m.id, (WITH RECURSIVE r AS (SELECT id FROM node WHERE parent = m.id UNION ALL SELECT n.id FROM r JOIN node n ON n.parent = r.id) SELECT count(*) FROM r) AS n FROM node m WHERE m.id > 19990"
refused by_arrays "SEARCH or CYCLE by columns of array, composite, domain or range types" \
	"WITH RECURSIVE r AS (SELECT ARRAY[a] AS a, b FROM edge WHERE a < 3 UNION ALL SELECT r.a, e.b FROM r JOIN edge e ON e.a = r.b WHERE e.b < 50) CYCLE a SET looped USING path SELECT a, b, looped FROM r"
check_error "a mark that PostgreSQL cannot write is refused" "SELECT pgtrickle.create_stream_table('marked', \$\$WITH RECURSIVE r AS (SELECT a, b FROM edge WHERE a < 3 UNION ALL SELECT r.a, e.b FROM r JOIN edge e ON e.a = r.b) CYCLE b SET day TO DATE '2026-01-01' DEFAULT DATE '2026-01-02' USING path SELECT a, day FROM r\$\$)" 0A000 "mark of type date"
q "SELECT pgtrickle.create_stream_table('deepest', 'SELECT max(level) AS deep FROM tree', schedule => '1d')" 2> /dev/null
q "INSERT INTO node VALUES (20001, 20000), (20002, 20001)"
assert_st_equal tree
assert_st_equal deepest "a stream table over the recursion"
q "SELECT pgtrickle.create_stream_table('plain', 'WITH RECURSIVE x AS (SELECT id FROM node) SELECT count(*) AS n FROM x', schedule => '1d')" 2> /dev/null
check_sql "WITH RECURSIVE without recursion is none" "SELECT full_reason IS NULL FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'plain'" t
done_testing
