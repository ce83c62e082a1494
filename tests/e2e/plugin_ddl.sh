#!/usr/bin/env bash
# The output plugin alone: partitions and inheritance, TRUNCATE, DDL within a transaction, registration and its races, the registry itself.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/plugin.sh"
cluster_new
plugin_new

# ---- partitions: leaves with other attribute numbers, several levels
q_script <<'SQL'
CREATE TABLE p (id int, k int, v text) PARTITION BY RANGE (k);
CREATE TABLE p1 (junk int, v text, k int NOT NULL, id int);
ALTER TABLE p1 DROP COLUMN junk;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE p2a (v text, id int, k int);
ALTER TABLE p2 ATTACH PARTITION p2a FOR VALUES IN (1, 2);
CREATE TABLE p2b PARTITION OF p2 DEFAULT;
ALTER TABLE p1 REPLICA IDENTITY FULL; ALTER TABLE p2a REPLICA IDENTITY FULL; ALTER TABLE p2b REPLICA IDENTITY FULL;
SQL
q "INSERT INTO p1 (id, k) VALUES (0, 0); DELETE FROM p"    # leaves are known as untracked by then
skip
q "SELECT reg('p', '{1,2,3}')"
skip
q "INSERT INTO p VALUES (1, 1, 'a'), (1, 11, 'b'), (3, 12, 'c')"
q "UPDATE p2a SET v = 'B'; UPDATE p SET k = 5 WHERE id = 3; DELETE FROM p1 WHERE v = 'a'"
check_eq "changes of leaves at two levels arrive as the root's" "$(frames | grep -v '^[bc]')" "relation public.p/1 3 {1,2,3}
row public.p/1 + - |1|1|a|
row public.p/1 + - |1|11|b|
row public.p/1 + - |3|12|c|
row public.p/1 - {3} |1|11|b|
row public.p/1 + {3} |1|11|B|
row public.p/1 - - |3|12|c|
row public.p/1 + - |3|5|c|
row public.p/1 - - |1|1|a|"
q "SELECT reg('p2', '{3}'); SELECT reg('p2b', '{1}')"
q "INSERT INTO p VALUES (9, 15, 'x')"
check_eq "a leaf, its parent and the root registered: once for each" "$(frames | grep ^row | sort)" "row public.p/1 + - |9|15|x|
row public.p2/1 + - |x|
row public.p2b/1 + - |9|"
q "DELETE FROM pgtrickle.pgt_sources WHERE relid <> 'p'::regclass; SELECT pgtrickle_test_touch('p2'), pgtrickle_test_touch('p2b')" > /dev/null

# ---- attach and detach
q "CREATE TABLE late (id int, k int, v text); ALTER TABLE late REPLICA IDENTITY FULL"
q "INSERT INTO late VALUES (1, 25, 'before')"
q "ALTER TABLE p ATTACH PARTITION late FOR VALUES FROM (20) TO (30)"
q "INSERT INTO late VALUES (2, 25, 'within')"
q "BEGIN; ALTER TABLE p DETACH PARTITION late; INSERT INTO late VALUES (3, 25, 'after'); COMMIT"
q "INSERT INTO late VALUES (4, 25, 'after')"
check_eq "a table is followed exactly while it is attached" "$(frames | grep ^row)" "row public.p/1 + - |2|25|within|"
q "ALTER TABLE p ATTACH PARTITION late FOR VALUES FROM (20) TO (30)"
q "ALTER TABLE p DETACH PARTITION late CONCURRENTLY"
q "INSERT INTO late VALUES (5, 25, 'after')"
check_eq "detached concurrently" "$(frames | grep ^row)" ""
q "CREATE TABLE sub (id int, k int, v text) PARTITION BY RANGE (k); CREATE TABLE sub1 PARTITION OF sub FOR VALUES FROM (30) TO (35); ALTER TABLE sub1 REPLICA IDENTITY FULL"
q "INSERT INTO sub1 VALUES (1, 30, 'before')"
q "ALTER TABLE p ATTACH PARTITION sub FOR VALUES FROM (30) TO (40); INSERT INTO sub1 VALUES (2, 31, 'in')"
q "ALTER TABLE p DETACH PARTITION sub; INSERT INTO sub1 VALUES (3, 32, 'out')"
check_eq "a whole branch attached and detached" "$(frames | grep ^row)" "row public.p/1 + - |2|31|in|"
q "CREATE TABLE pk (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (0) TO (10); ALTER TABLE pk REPLICA IDENTITY FULL; SELECT reg('pk', '{1,2}')"
q "INSERT INTO pk VALUES (1, 1); UPDATE pk SET v = 2"
check_eq "FULL on the root is not FULL on the leaf: X" "$(frames | grep ^row)" "row public.pk/1 + - |1|1|
row public.pk/1 X"

# ---- inheritance
q_script <<'SQL'
CREATE TABLE i0 (id int, v int);
CREATE TABLE j0 (w int);
CREATE TABLE i1 (x text) INHERITS (i0, j0);
CREATE TABLE i2 (y text) INHERITS (i1);
CREATE TABLE free (v int, id int);
ALTER TABLE i0 REPLICA IDENTITY FULL; ALTER TABLE i1 REPLICA IDENTITY FULL; ALTER TABLE i2 REPLICA IDENTITY FULL; ALTER TABLE free REPLICA IDENTITY FULL;
INSERT INTO i2 VALUES (0, 0, 0, '', '');
SQL
q "SELECT reg('i0', '{1,2}'); SELECT reg('j0', '{1}')"
skip
q "INSERT INTO i0 VALUES (1, 1); INSERT INTO i1 VALUES (2, 2, 22, 'x'); INSERT INTO i2 VALUES (3, 3, 33, 'x', 'y'); UPDATE i1 SET x = 'z'; UPDATE i2 SET v = 4 WHERE id = 3"
check_eq "children and grandchildren, two parents" "$(frames | grep ^row | sort)" "row public.i0/1 + - |1|1|
row public.i0/1 + - |2|2|
row public.i0/1 + - |3|3|
row public.i0/1 + {2} |3|4|
row public.i0/1 - {2} |3|3|
row public.j0/1 + - |22|
row public.j0/1 + - |33|"
q "INSERT INTO free VALUES (1, 1); ALTER TABLE free INHERIT i0; INSERT INTO free VALUES (20, 2); ALTER TABLE free NO INHERIT i0; INSERT INTO free VALUES (3, 3)"
check_eq "INHERIT and NO INHERIT, columns by name" "$(frames | grep ^row)" "row public.i0/1 + - |2|20|"

# ---- TRUNCATE
q "CREATE TABLE t1 (id int); CREATE TABLE t2 (id int); CREATE TABLE t3 (id int); SELECT reg('t1', '{1}'); SELECT reg('t2', '{1}')"
q "INSERT INTO t1 VALUES (1); INSERT INTO t2 VALUES (1)"
skip
q "TRUNCATE p"
check_eq "root truncated: one T" "$(frames | grep ^row)" "row public.p/1 T"
q "TRUNCATE p2a, p1"
check_eq "two leaves in one statement: one T" "$(frames | grep ^row)" "row public.p/1 T"
q "TRUNCATE t1, t2, t3, p"
check_eq "several" "$(frames | grep ^row | sort)" "row public.p/1 T
row public.t1/1 T
row public.t2/1 T"
q "BEGIN; INSERT INTO t1 VALUES (1); TRUNCATE t1; INSERT INTO t1 VALUES (2); SAVEPOINT s; TRUNCATE t1; ROLLBACK TO s; TRUNCATE t1; INSERT INTO t1 VALUES (3); COMMIT"
check_eq "within a transaction, in order" "$(frames | grep ^row)" "row public.t1/1 + - |1|
row public.t1/1 T
row public.t1/1 + - |2|
row public.t1/1 T
row public.t1/1 + - |3|"
q "TRUNCATE t3"
check_eq "of an unregistered table: nothing" "$(frames)" ""

# ---- DDL within a transaction
q "CREATE TABLE d (id int PRIMARY KEY, v int, w text); ALTER TABLE d REPLICA IDENTITY FULL; SELECT reg('d', '{1,2}')"
skip
q "BEGIN; INSERT INTO d VALUES (1, 1, 'a'); ALTER TABLE d ALTER v TYPE bigint; INSERT INTO d VALUES (2, 2, 'b'), (3, 3, 'c'); COMMIT"
check_eq "a captured column changes its type: X from there on" "$(frames | grep -v relation)" "begin
row public.d/1 + - |1|1|
quarantine public.d/1 the types of the captured columns have changed
row public.d/1 X
commit"
q "BEGIN; SELECT reg('d', '{1,2}', gen => 2); INSERT INTO d VALUES (4, 4, 'd'); COMMIT"
check_eq "registered again, in the same transaction as the row" "$(frames)" "begin
relation public.d/2 3 {1,2}
row public.d/2 + - |4|4|
commit"
q "BEGIN; ALTER TABLE d DROP COLUMN w; ALTER TABLE d ADD COLUMN z int DEFAULT 9; INSERT INTO d VALUES (5, 5, 5); ALTER TABLE d RENAME v TO vv; ALTER TABLE d RENAME TO dd; INSERT INTO dd VALUES (6, 6, 6); COMMIT"
check_eq "other columns may come and go; names are announced anew" "$(frames)" "begin
relation public.d/2 3 {1,2}
row public.d/2 + - |5|5|
relation public.dd/2 3 {1,2}
row public.dd/2 + - |6|6|
commit"
q "BEGIN; INSERT INTO dd VALUES (7, 7, 7); ALTER TABLE dd DROP COLUMN vv; INSERT INTO dd VALUES (8, 8); COMMIT"
check_eq "a captured column is dropped" "$(frames | grep -v relation)" "begin
row public.dd/2 + - |7|7|
quarantine public.dd/2 captured column 2 does not exist any more
row public.dd/2 X
commit"
q "BEGIN; SAVEPOINT s; ALTER TABLE t1 ALTER id TYPE text; ROLLBACK TO s; INSERT INTO t1 VALUES (77); COMMIT"
check_eq "DDL that was rolled back" "$(frames | grep ^row)" "row public.t1/1 + - |77|"
q "CREATE SCHEMA s1; CREATE TABLE s1.n (id int); SELECT reg('s1.n', '{1}'); INSERT INTO s1.n VALUES (1); ALTER SCHEMA s1 RENAME TO s2; INSERT INTO s2.n VALUES (2)"
check_eq "a schema is renamed" "$(frames | grep relation)" "relation s1.n/1 1 {1}
relation s2.n/1 1 {1}"
q "BEGIN; CREATE TABLE fresh (id int); SELECT reg('fresh', '{1}'); INSERT INTO fresh VALUES (1); DROP TABLE fresh; COMMIT" 2> /dev/null
check_eq "created, registered, filled and dropped in one transaction: nothing breaks" "$(frames | grep -c commit)" 1
q "CREATE TABLE gone (id int); SELECT reg('gone', '{1}'); INSERT INTO gone VALUES (1); DROP TABLE gone"
check_eq "dropped before it is decoded" "$(frames | grep ^row)" "row public.gone/1 + - |1|"
q "INSERT INTO t1 VALUES (1)"; q "VACUUM FULL t1"; q "INSERT INTO t1 VALUES (2)"
check_eq "VACUUM FULL is no change" "$(frames | grep ^row)" "row public.t1/1 + - |1|
row public.t1/1 + - |2|"

# ---- registration races: the registering transaction locks the table
q "CREATE TABLE r (id int); CREATE TABLE o (id int)"
bg a "BEGIN"; bg a "INSERT INTO o VALUES (1)"
bg b "BEGIN"; bg b "INSERT INTO r VALUES (1)"
bg c "BEGIN"; bg c "INSERT INTO o VALUES (3)"; bg c "SAVEPOINT s"; bg c "INSERT INTO o VALUES (4)"
bg_send reg "BEGIN; SELECT reg('r', '{1}')"
check_poll "registration waits for a writer of this table" "SELECT count(*) FROM pg_locks WHERE NOT granted" 1
bg_send w "INSERT INTO r VALUES (10)"
check_poll "a later writer waits for the registration" "SELECT count(*) FROM pg_locks WHERE NOT granted" 2
bg b "COMMIT"; bg_wait reg
check "the later writer still waits" bg_busy w
q "INSERT INTO o VALUES (5)"
frames > "$PGT_DIR/before.txt"    # decoded between the registration and its commit
check_eq "what an earlier writer wrote is not sent, the table load has it" "$(grep -c ^row "$PGT_DIR/before.txt")" 0
bg reg "COMMIT"; bg_wait w
bg a "INSERT INTO r VALUES (2)"; bg a "COMMIT"
bg c "INSERT INTO r VALUES (3)"; bg c "ROLLBACK TO s"; bg c "INSERT INTO r VALUES (4)"; bg c "COMMIT"
check_eq "writers that began before but wrote afterwards are captured" "$(frames | grep ^row | sort)" "row public.r/1 + - |10|
row public.r/1 + - |2|
row public.r/1 + - |4|"
q "CREATE TABLE r2 (id int)"
bg a "BEGIN; INSERT INTO o VALUES (1)"
q "BEGIN; SELECT reg('r2', '{1}'); ROLLBACK"
bg a "INSERT INTO r2 VALUES (1); COMMIT"
check_eq "a registration that aborts tracks nothing" "$(frames | grep ^row)" ""
q "BEGIN; INSERT INTO o VALUES (1); INSERT INTO r2 VALUES (5); PREPARE TRANSACTION 'w'"
bg_send reg "SELECT reg('r2', '{1}')"
check_poll "a prepared writer makes registration wait" "SELECT count(*) FROM pg_locks WHERE NOT granted" 1
q "COMMIT PREPARED 'w'"; bg_wait reg
q "BEGIN; INSERT INTO r2 VALUES (6); PREPARE TRANSACTION 'w2'"; q "COMMIT PREPARED 'w2'"
check_eq "prepared before: part of the load; prepared after: captured" "$(frames | grep ^row)" "row public.r2/1 + - |6|"
q "BEGIN; SAVEPOINT s; SELECT reg('o', '{1}'); RELEASE s; SAVEPOINT u; INSERT INTO o VALUES (100); COMMIT"
check_eq "registered in a subtransaction, written in another" "$(frames | grep ^row)" "row public.o/1 + - |100|"

# ---- one session reads the same changes twice
q "INSERT INTO t1 VALUES (5); ALTER TABLE t1 RENAME TO t1x; SELECT reg('t1x', '{1}', gen => 2); INSERT INTO t1x VALUES (6)"
peek="SELECT md5(string_agg(data, '' ORDER BY n)) FROM (SELECT row_number() OVER () AS n, data FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'format', 'json')) x"
check_sql "peeking three times in one backend gives the same each time" "$peek; $peek; $peek" "$(q "$peek"; q "$peek"; q "$peek")"
check_eq "as a fresh one" "$(frames | grep -v '^[bc]')" "relation public.t1/1 1 {1}
row public.t1/1 + - |5|
relation public.t1x/2 1 {1}
row public.t1x/2 + - |6|"

# ---- barriers
q "SELECT pg_logical_emit_message(false, 'pgtrickle.barrier', 'sync'), pg_logical_emit_message(false, 'pgtrickle.barrier', repeat('x', 100000)),
   pg_logical_emit_message(true, 'pgtrickle.barrier', 'sync'), pg_logical_emit_message(false, 'pgtrickle.barriers', 'sync'), pg_logical_emit_message(false, 'other', '')" > /dev/null
q "INSERT INTO o VALUES (101)"
check_eq "barriers: ours, not transactional; the payload only a hint" "$(frames)" "barrier 1
barrier 0
begin
relation public.o/1 1 {1}
row public.o/1 + - |101|
commit"
bg a "BEGIN; INSERT INTO o VALUES (102)"
bg a "SELECT pg_logical_emit_message(false, 'pgtrickle.barrier', '')"
bg a "ROLLBACK"
q "INSERT INTO t2 VALUES (1)"
check_eq "a barrier stands although its transaction was rolled back" "$(frames | grep -c barrier)" 1

# ---- the registry
q "REINDEX TABLE pgtrickle.pgt_sources"; q "CHECKPOINT"
q "INSERT INTO o VALUES (103)"; q "REINDEX TABLE pgtrickle.pgt_sources"
check_eq "REINDEX of the registry" "$(frames | grep ^row)" "row public.o/1 + - |103|"
q "INSERT INTO o VALUES (104)"; q "VACUUM FULL pgtrickle.pgt_sources"; q "INSERT INTO o VALUES (105)"
check_eq "VACUUM FULL of the registry" "$(frames | grep ^row)" "row public.o/1 + - |104|
row public.o/1 + - |105|"
q "INSERT INTO o VALUES (106)"; q "DROP SCHEMA pgtrickle CASCADE"; q "INSERT INTO o VALUES (107)"
check_eq "the registry is gone when its time is decoded: nothing tracked, no error" "$(frames | grep ^row)" ""
q "CREATE SCHEMA pgtrickle; CREATE TABLE pgtrickle.pgt_sources (relid oid, gen text)"
q "INSERT INTO o VALUES (108)"
check_eq "somebody else's table of that name is not believed" "$(frames)" ""
q "DROP TABLE pgtrickle.pgt_sources; CREATE VIEW pgtrickle.pgt_sources AS SELECT 1 AS relid; INSERT INTO o VALUES (109)"
check_eq "nor a view" "$(frames)" ""
q "DROP VIEW pgtrickle.pgt_sources"
sed -n '/^CREATE TABLE pgtrickle.pgt_sources/,/STORAGE MAIN;/p' "$PGT_TOP/sql/10_catalog.sql" | q_script
q "SELECT reg('o', '{1}', gen => 3)"
q "INSERT INTO o VALUES (110)"
check_eq "a new registry is found" "$(frames | grep ^row)" "row public.o/3 + - |110|"
q "UPDATE pgtrickle.pgt_sources SET kinds = 'nn'; SELECT pgtrickle_test_touch('o'); INSERT INTO o VALUES (111)" > /dev/null
check_error "a registration that contradicts itself is an error, not a crash" "SELECT * FROM pg_logical_slot_get_binary_changes('s', NULL, NULL)" XX001 "invalid kinds"
done_testing
