#!/usr/bin/env bash
# Constraints of sources that come and go: what the compiler took from them (NOT NULL, primary keys) must not outlive them.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, g int NOT NULL, v int NOT NULL); CREATE TABLE d (id int PRIMARY KEY, name text NOT NULL);
   INSERT INTO t SELECT i, i % 5, i % 7 FROM generate_series(1, 200) i; INSERT INTO d SELECT i, 'n' || i FROM generate_series(0, 6) i"
consumer_start
st() { q "SELECT pgtrickle.create_stream_table('$1', '$2', schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null 2>&1 || fail "create $1"; }
st groups "SELECT g, count(*) AS n, max(v) AS m FROM t GROUP BY g"
st joined "SELECT t.id, t.v, d.name FROM t JOIN d ON d.id = t.v"
st left_joined "SELECT t.id, d.name, d.id AS d FROM t LEFT JOIN d ON d.id = t.v"
st plain "SELECT id, g FROM t WHERE v > 2"
st distinct_g "SELECT DISTINCT g, v FROM t"
all() { for s in groups joined left_joined plain distinct_g; do assert_st_equal $s; done; }
q "UPDATE t SET v = (v + 1) % 7 WHERE id % 3 = 0"
all

q "ALTER TABLE t ALTER g DROP NOT NULL, ALTER v DROP NOT NULL"
q "UPDATE t SET g = NULL WHERE id % 4 = 0; UPDATE t SET v = NULL WHERE id % 10 = 0; INSERT INTO t VALUES (1001, NULL, NULL)"
all
q "UPDATE t SET g = 3 WHERE g IS NULL AND id % 8 = 0; DELETE FROM t WHERE v IS NULL AND id < 60"
all

q "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE d DROP CONSTRAINT d_pkey CASCADE"
q "INSERT INTO t SELECT id, g, v FROM t WHERE id < 50; INSERT INTO d SELECT id, name FROM d WHERE id < 3; UPDATE t SET id = NULL WHERE id = 7" 2> /dev/null ||
	q "INSERT INTO t SELECT id, g, v FROM t WHERE id < 50; INSERT INTO d SELECT id, name FROM d WHERE id < 3"
all
q "UPDATE t SET v = 1 WHERE id < 20; DELETE FROM d WHERE ctid IN (SELECT ctid FROM d WHERE id = 1 LIMIT 1); DELETE FROM t WHERE ctid IN (SELECT ctid FROM t WHERE id = 30 LIMIT 1)"
all

q "DELETE FROM t; INSERT INTO t SELECT i, i % 5, i % 7 FROM generate_series(1, 100) i; DELETE FROM d; INSERT INTO d SELECT i, 'n' || i FROM generate_series(0, 6) i
   ; ALTER TABLE t ADD PRIMARY KEY (id), ALTER g SET NOT NULL, ALTER v SET NOT NULL; ALTER TABLE d ADD PRIMARY KEY (id)"
all
q "UPDATE t SET v = (v + 3) % 7, g = 9 WHERE id % 2 = 0; UPDATE d SET name = name || '!' WHERE id = 2"
all
check_sql "compared only where rows are older than a NOT NULL that programs rely on" \
	"SELECT string_agg(DISTINCT reason, '; ') FROM pgtrickle.pgt_refresh_history WHERE action <> 'DIFFERENTIAL' AND reason NOT IN ('first load', 'the slot is new')" \
	"a change from before a column of a source became NOT NULL"
done_testing
