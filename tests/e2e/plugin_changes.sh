#!/usr/bin/env bash
# The output plugin alone: which rows a change becomes.  Updates, masks, TOAST, identities, subtransactions, widths.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/plugin.sh"
cluster_new
plugin_new

# ---- updates, masks, projection
q "CREATE TABLE t (id int PRIMARY KEY, a text, b int, c text)"
q "ALTER TABLE t REPLICA IDENTITY FULL"
q "INSERT INTO t VALUES (0, 'before', 0, NULL)"
check_eq "a table that nobody registered sends nothing" "$(frames)" ""
q "DELETE FROM t; SELECT reg('t', '{1,3}')"
skip
q "INSERT INTO t VALUES (1, 'x', 10, 'y')"
check_eq "insert" "$(frames)" "begin
relation public.t/1 4 {1,3}
row public.t/1 + - |1|10|
commit"
q "UPDATE t SET b = 11"
check_eq "update: two rows that share the mask" "$(frames | grep row)" "row public.t/1 - {3} |1|10|
row public.t/1 + {3} |1|11|"
q "UPDATE t SET a = 'z', c = NULL; UPDATE t SET b = b"
check_eq "an update of other columns, or of nothing, sends nothing at all" "$(frames)" ""
q "UPDATE t SET id = 2, b = NULL"
check_eq "NULL, and two columns at once" "$(frames | grep row)" "row public.t/1 - {1,3} |1|11|
row public.t/1 + {1,3} |2|NULL|"
q "DELETE FROM t"
check_eq "delete" "$(frames | grep row)" "row public.t/1 - - |2|NULL|"
q "SELECT reg('t', '{1,3}', gen => 2, mask => false)"
q "INSERT INTO t VALUES (5, 'x', 1, 'y'); UPDATE t SET b = 2"
check_eq "without mask" "$(frames | grep row)" "row public.t/2 + - |5|1|
row public.t/2 - - |5|1|
row public.t/2 + - |5|2|"

q "CREATE TABLE nocol (id int); ALTER TABLE nocol REPLICA IDENTITY NOTHING; SELECT reg('nocol', '{}')"
skip
q "INSERT INTO nocol VALUES (1), (2); UPDATE nocol SET id = 3; DELETE FROM nocol WHERE id = 3"
check_eq "no captured column: rows are counted" "$(frames | grep -c 'row public.nocol/1 [+-] - ||')" 4

# ---- transactions
q "CREATE TABLE x (id int PRIMARY KEY, v int); ALTER TABLE x REPLICA IDENTITY FULL; SELECT reg('x', '{1,2}')"
skip
q "BEGIN; INSERT INTO x VALUES (1, 1); SAVEPOINT a; INSERT INTO x VALUES (2, 2); SAVEPOINT b; INSERT INTO x VALUES (3, 3);
   ROLLBACK TO b; INSERT INTO x VALUES (4, 4); RELEASE a; INSERT INTO x VALUES (5, 5); COMMIT"
check_eq "subtransactions: what was rolled back never happened" "$(frames)" "begin
relation public.x/1 2 {1,2}
row public.x/1 + - |1|1|
row public.x/1 + - |2|2|
row public.x/1 + - |4|4|
row public.x/1 + - |5|5|
commit"
q "BEGIN; DELETE FROM x; ROLLBACK"
check_eq "a rolled back transaction sends nothing" "$(frames)" ""
q "BEGIN; INSERT INTO x VALUES (6, 6); PREPARE TRANSACTION 'p'"
q "INSERT INTO x VALUES (7, 7)"
check_eq "a prepared transaction is not there yet" "$(frames | grep row)" "row public.x/1 + - |7|7|"
q "COMMIT PREPARED 'p'"
check_eq "and is there once committed" "$(frames | grep row)" "row public.x/1 + - |6|6|"
q "INSERT INTO x VALUES (1, 100), (8, 8) ON CONFLICT (id) DO UPDATE SET v = excluded.v"
check_eq "INSERT ON CONFLICT" "$(frames | grep row)" "row public.x/1 - {2} |1|1|
row public.x/1 + {2} |1|100|
row public.x/1 + - |8|8|"
q "INSERT INTO x VALUES (1, 100), (8, 8) ON CONFLICT DO NOTHING"
check_eq "ON CONFLICT DO NOTHING" "$(frames)" ""
q "INSERT INTO x VALUES (20, 1)"
check_eq "the xid is the top-level one, 64 bit" "$(frames_hex | cut -c37-52)" "$(q "SELECT lpad(to_hex(xmin::text::bigint), 16, '0') FROM x WHERE id = 20")"
q "BEGIN; SAVEPOINT a; INSERT INTO x VALUES (21, 1); COMMIT"
check_eq "also for a row of a subtransaction" "$(frames_hex | cut -c37-52)" "$(q "SELECT lpad(to_hex(xmin::text::bigint - 1), 16, '0') FROM x WHERE id = 21")"
drain
q "CREATE TABLE bag (id int PRIMARY KEY, v int); ALTER TABLE bag REPLICA IDENTITY FULL; SELECT reg('bag', '{1,2}')"
q "INSERT INTO bag SELECT g, g % 7 FROM generate_series(1, 5000) g; UPDATE bag SET v = v + 1 WHERE id % 3 = 0; DELETE FROM bag WHERE id % 5 = 0;
   UPDATE bag SET id = id + 10000 WHERE id % 11 = 0"
drain
check_bag bag 1 "buffer of 5,000 rows adds up to the table"

# ---- TOAST
q "CREATE TABLE toast (id int PRIMARY KEY, big text, n int, big2 text); ALTER TABLE toast ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL; SELECT reg('toast', '{1,2,3,4}')"
q "INSERT INTO toast SELECT g, repeat(chr(64 + g), 100000), 0, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 4000) i) FROM generate_series(1, 3) g"
q "UPDATE toast SET n = 1"
q "UPDATE toast SET big = repeat('z', 100001) WHERE id = 1"
q "UPDATE toast SET big = NULL WHERE id = 2"
q "UPDATE toast SET big = big || '', n = n WHERE id = 3"
q "DELETE FROM toast WHERE id = 3; INSERT INTO toast VALUES (4, repeat('q', 3000), 4, repeat('compressible', 500))"
q "UPDATE toast SET n = n + 1 WHERE id = 4"
drain
check_bag toast 1 "100 kB values: unchanged, changed, nulled, compressed"
check_sql "an unchanged 100 kB value is not marked" "SELECT DISTINCT changed_columns FROM pgtrickle_changes.b_$(q "SELECT 'toast'::regclass::oid")_1 WHERE c3 = 1 AND op = '+' AND c1 > 2 OR c1 = 4 AND c3 = 5" 4
check_sql "and is whole" "SELECT count(*) FROM pgtrickle_changes.b_$(q "SELECT 'toast'::regclass::oid")_1 WHERE length(c2) = 100000 AND c2 = repeat(left(c2, 1), 100000)" 12

# ---- replica identity
q "CREATE TABLE k (id int PRIMARY KEY, v int, w text); SELECT reg('k', '{1}')"
skip
q "INSERT INTO k VALUES (1, 1, 'a'); UPDATE k SET v = 2; UPDATE k SET id = 2; DELETE FROM k"
check_eq "key only, only the key captured: exact" "$(frames | grep row)" "row public.k/1 + - |1|
row public.k/1 - {1} |1|
row public.k/1 + {1} |2|
row public.k/1 - - |2|"
q "SELECT reg('k', '{1,2}', gen => 2)"
skip
q "BEGIN; INSERT INTO k VALUES (1, 1, 'a'), (2, 2, 'b'); UPDATE k SET v = 2; UPDATE k SET v = 3; DELETE FROM k WHERE id = 1; INSERT INTO k VALUES (3, 3, 'c'); COMMIT"
check_eq "key only, another column captured: X once in a transaction" "$(frames | grep -v relation)" "begin
row public.k/2 + - |1|1|
row public.k/2 + - |2|2|
quarantine public.k/2 replica identity does not give the old values of the captured columns
row public.k/2 X
row public.k/2 + - |3|3|
commit"
q "DELETE FROM k WHERE id = 2"; q "DELETE FROM k"
check_eq "and again in the next one; people are told once in a session" "$(frames | grep -v relation)" "begin
quarantine public.k/2 replica identity does not give the old values of the captured columns
row public.k/2 X
commit
begin
row public.k/2 X
commit"
q "CREATE TABLE nk (id int, v int); SELECT reg('nk', '{1}')"
q "INSERT INTO nk VALUES (1, 1)"
q "UPDATE nk SET v = 2"
check_eq "no key at all: X" "$(frames | grep -c 'row public.nk/1 X')" 1
q "CREATE TABLE ux (id int NOT NULL, u text NOT NULL, v int); CREATE UNIQUE INDEX ux_u ON ux (u); ALTER TABLE ux REPLICA IDENTITY USING INDEX ux_u; SELECT reg('ux', '{2}')"
q "INSERT INTO ux VALUES (1, 'a', 1); UPDATE ux SET v = 2, id = 3; UPDATE ux SET u = 'b'; DELETE FROM ux"
drain
check_bag ux 1 "identity by a unique index"
q "CREATE TABLE big_key (u text PRIMARY KEY, v int, filler text); ALTER TABLE big_key ALTER u SET STORAGE EXTERNAL; SELECT reg('big_key', '{1}')"
q "INSERT INTO big_key SELECT string_agg(md5(g::text || i), ''), 1, repeat('f', 1000) FROM generate_series(1, 3) g, generate_series(1, 75) i GROUP BY g"
q "UPDATE big_key SET v = 2; UPDATE big_key SET u = reverse(u) WHERE v = 2; DELETE FROM big_key WHERE ctid IN (SELECT min(ctid) FROM big_key)"
drain
check_bag big_key 1 "a key that is stored out of line"

# ---- append-only
q "CREATE TABLE ao (id int, v int); SELECT reg('ao', '{1,2}', insert_only => true)"
skip
q "INSERT INTO ao VALUES (1, 1)"
q "UPDATE ao SET v = 2"
check_eq "append-only: inserts, and X for anything else" "$(frames | grep ^row)" "row public.ao/1 + - |1|1|
row public.ao/1 X"

# ---- dropped, added and generated columns
q "CREATE TABLE d (a int, b text, c int, g int GENERATED ALWAYS AS (c * 2) STORED); ALTER TABLE d REPLICA IDENTITY FULL"
q "ALTER TABLE d DROP COLUMN b; ALTER TABLE d ADD COLUMN e int DEFAULT 42, ADD COLUMN f text DEFAULT 'missing'; SELECT reg('d', '{1,3,4,5,6}')"
q "INSERT INTO d VALUES (1, 2)"
q "UPDATE d SET c = 3"
drain
check_bag d 1 "dropped and generated columns"
q "CREATE TABLE m (a int); ALTER TABLE m REPLICA IDENTITY FULL; INSERT INTO m VALUES (1), (2); ALTER TABLE m ADD COLUMN e int DEFAULT 42, ADD COLUMN f text DEFAULT 'missing'; SELECT reg('m', '{1,2,3}')"
skip
q "UPDATE m SET a = 10 WHERE a = 1; DELETE FROM m WHERE a = 2"
check_eq "values of columns added with a default are there without a rewrite" "$(frames | grep row)" "row public.m/1 - {1} |1|42|missing|
row public.m/1 + {1} |10|42|missing|
row public.m/1 - - |2|42|missing|"

# ---- widths
wide()
{
	local name=$1 n=$2
	q "DO \$\$ BEGIN EXECUTE 'CREATE TABLE $name (' || (SELECT string_agg('c' || g || ' int', ', ') FROM generate_series(1, $n) g) || ')'; END \$\$"
	q "ALTER TABLE $name REPLICA IDENTITY FULL"
}
for n in 1 63 64 65; do
	wide w$n $n
	q "SELECT reg('w$n', ARRAY(SELECT generate_series(1, $n)::int2))"
	q "INSERT INTO w$n (c1, c$n) VALUES (1, 1)" 2> /dev/null || q "INSERT INTO w$n VALUES (1)"
	q "UPDATE w$n SET c$n = 2; UPDATE w$n SET c1 = 3"
	drain
	check_bag w$n 1 "$n columns"
done
check_sql "mask of column 63 is bit 62" "SELECT DISTINCT changed_columns FROM pgtrickle_changes.b_$(q "SELECT 'w63'::regclass::oid")_1 WHERE c63 = 2 AND op = '+' AND c1 = 1" "$((1 << 62))"
check_sql "mask of 64 columns is a varbit" "SELECT DISTINCT length(changed_columns) || ' ' || get_bit(changed_columns, 63) || ' ' || get_bit(changed_columns, 0) FROM pgtrickle_changes.b_$(q "SELECT 'w64'::regclass::oid")_1 WHERE c64 = 2 AND op = '+' AND c1 = 1" "64 1 0"
wide w1600 1600
q "SELECT reg('w1600', '{1,2,800,1599,1600}')"
q "INSERT INTO w1600 (c1, c800, c1600) VALUES (1, 2, 3)"; q "UPDATE w1600 SET c700 = 1"; q "UPDATE w1600 SET c1599 = 1, c1 = 5"
drain
check_bag w1600 1 "5 of 1,600 columns"
check_sql "an update of an unread one of 1,600 columns sends nothing" "SELECT count(*) FROM pgtrickle_changes.b_$(q "SELECT 'w1600'::regclass::oid")_1" 3
wide v1600 1600
q "SELECT reg('v1600', ARRAY(SELECT generate_series(101, 1597)::int2))"
q "INSERT INTO v1600 (c1, c800, c1597) VALUES (1, 2, 3)"; q "UPDATE v1600 SET c1597 = 1"
drain
check_bag v1600 1 "1,497 of 1,600 columns"

# ---- names
q "CREATE TABLE \"Odd \"\"name'\\\" (action int, lsn int, xid int, op text, changed_columns int); ALTER TABLE \"Odd \"\"name'\\\" REPLICA IDENTITY FULL"
q "SELECT reg('\"Odd \"\"name''\\\"', '{1,2,3,4,5}')"
q "INSERT INTO \"Odd \"\"name'\\\" VALUES (1, 2, 3, 'o', 5)"
check_eq "quotes in names; columns called action, lsn, xid, op" "$(frames | grep -v '^[bc]')" "relation public.Odd \"name'\\/1 5 {1,2,3,4,5}
row public.Odd \"name'\\/1 + - |1|2|3|o|5|"
long=$(printf 'n%.0s' {1..63})
q "CREATE TABLE $long ($long int); SELECT reg('$long', '{1}'); INSERT INTO $long VALUES (1)"
check_eq "63-byte names" "$(frames | grep relation)" "relation public.$long/1 1 {1}"
done_testing
