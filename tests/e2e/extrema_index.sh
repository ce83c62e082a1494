#!/usr/bin/env bash
# explain_st names the index that min() and max() miss, for as long as it is missing; with it the next extremum is looked up, so the hint
# is true, and where no index would be used nothing is said.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE SCHEMA \"Shop 1\"; CREATE TABLE \"Shop 1\".\"Fact\" (id int PRIMARY KEY, g int NOT NULL, h int NOT NULL, v int, w numeric, \"Note\" text, loose int)"
q "CREATE TABLE plain (id int PRIMARY KEY, ts timestamptz, v int)"
q "CREATE TABLE root (id int PRIMARY KEY, g int NOT NULL, v int) PARTITION BY RANGE (id); CREATE TABLE leaf PARTITION OF root DEFAULT"
q "INSERT INTO \"Shop 1\".\"Fact\" SELECT i, i % 3, i % 2, i, i, 'n' || i, i % 4 FROM generate_series(1, 3000) i"
consumer_start
create() { q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('$1', \$\$$2\$\$, schedule => '1h')" > /dev/null; }
hint() { echo "SELECT coalesce(substring(value FROM 'CREATE INDEX.*'), value, 'none') FROM pgtrickle.explain_st('$1') WHERE property = 'full_hint'"; }
fact='"Shop 1"."Fact"'

create low_high "SELECT g, min(v) AS low, max(v) AS high, max(\"Note\") AS note, sum(w) AS w FROM $fact WHERE v > 0 GROUP BY g"
create two_keys "SELECT h, g, max(w) AS w FROM $fact GROUP BY g, h"
create overall "SELECT max(v) AS v FROM $fact"
create inner_one "SELECT g, low FROM (SELECT g, min(w) AS low FROM $fact GROUP BY g) x WHERE low > (SELECT avg(v) FROM $fact)"
create at_times "SELECT id FROM plain WHERE ts > now() - interval '1 hour' AND v > (SELECT min(v) FROM plain)"
check_sql "min and max of one column, and of another: two indexes" "$(hint low_high)" \
	"CREATE INDEX ON \"Shop 1\".\"Fact\" (g, v); CREATE INDEX ON \"Shop 1\".\"Fact\" (g, \"Note\")"
check_sql "two keys" "$(hint two_keys)" 'CREATE INDEX ON "Shop 1"."Fact" (g, h, w)'
check_sql "no key" "$(hint overall)" 'CREATE INDEX ON "Shop 1"."Fact" (v)'
check_sql "an aggregation inside" "$(hint inner_one)" 'CREATE INDEX ON "Shop 1"."Fact" (g, w)'
check_sql "beside what a window misses" "$(hint at_times)" "CREATE INDEX ON public.plain (ts). Groups are read again when their minimum or maximum goes; an index spares that: CREATE INDEX ON public.plain (v)"

# where an index would not be looked at
create nullable "SELECT loose, min(v) AS v FROM $fact GROUP BY loose"
create expression "SELECT g, min(v + 1) AS v FROM $fact GROUP BY g"
create joined "SELECT f.g, max(p.v) AS v FROM $fact f JOIN plain p USING (id) GROUP BY f.g"
create parts "SELECT g, max(v) AS v FROM root GROUP BY g"
create own_key "SELECT g, max(g) AS top FROM $fact GROUP BY g"
create sums "SELECT g, sum(v) AS v, count(*) AS n FROM $fact GROUP BY g"
for st in nullable expression joined parts own_key sums; do check_sql "$st: nothing" "$(hint $st)" none; done

# what explain_st says is run as it stands; then it is silent, and the largest row of a group that goes costs no other row of it
# rows of tables that the refresh reads when the largest row of a group goes
rows_read()
{
	q "DELETE FROM $fact WHERE id = (SELECT max(id) FROM $fact WHERE g = 1)"
	q "SELECT j::json->>'rows_read' FROM pgtrickle.explain_delta('low_high', 'json', true) j"
	assert_st_equal low_high "the largest of a group went: equal" >&2
}
before=$(rows_read 2> "$PGT_DIR/equal")
q "$(hint low_high)" > "$PGT_DIR/hint"
tr ';' '\n' < "$PGT_DIR/hint" | sed 's/$/;/' | q_script
check_sql "with the indexes it is silent" "$(hint low_high)" none
after=$(rows_read 2>> "$PGT_DIR/equal")
check "the group of 1,000 was read again, and is looked up now ($before, then $after rows)" test "$before" -ge 999 -a "$after" -lt 100
check_eq "equal both times" "$(grep -c '^ok' "$PGT_DIR/equal")" 2
check_sql "an index for one leaves the other" "$(hint two_keys)" 'CREATE INDEX ON "Shop 1"."Fact" (g, h, w)'
q "CREATE INDEX ON $fact (h, g, w)"
check_sql "the keys may stand in another order" "$(hint two_keys)" none
q "CREATE INDEX ON $fact (v) WHERE v > 10"
check_sql "a partial index does not count" "$(hint overall)" 'CREATE INDEX ON "Shop 1"."Fact" (v)'
q "CREATE INDEX ON $fact (v)"
check_sql "a whole one does" "$(hint overall)" none
for st in low_high two_keys overall; do assert_st_equal $st; done
done_testing
