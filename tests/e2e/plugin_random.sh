#!/usr/bin/env bash
# The output plugin alone: random transactions over a partitioned table with unequal leaves, with savepoints, large values, key changes that move
# rows between leaves, and DDL that does not concern the captured columns; the buffer must add up to the table.
#   SEEDS ("1 2 3 4")
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/plugin.sh"
cluster_new
plugin_new

script()
{
	/usr/bin/python3 - "$1" <<'PY'
import random, sys
r = random.Random(int(sys.argv[1]))
t = "r%s" % sys.argv[1]
value = lambda: r.choice(["NULL", "''", "'short'", "repeat('x', %d)" % r.randrange(1, 3000), "(SELECT string_agg(md5(i::text || %d), '') FROM generate_series(1, %d) i)" % (r.randrange(99), r.randrange(1, 400))])
num = lambda: r.choice(["NULL", "0", "-1.50", "1e%d" % r.randrange(-20, 20), "'NaN'", str(r.randrange(-10**9, 10**9)), "%d.%04d" % (r.randrange(10**6), r.randrange(10**4))])
key = lambda: r.randrange(0, 120)
where = lambda: r.choice(["id = %d" % key(), "id %% 7 = %d" % r.randrange(7), "k < %d" % r.randrange(10), "n IS NULL", "length(v) > 500"])
extra = 0
def statement():
    global extra
    x = r.random()
    if x < 0.35:
        return "INSERT INTO %s (id, k, v, n, w) VALUES (%d, %d, %s, %s, %d)" % (t, key(), r.randrange(0, 30), value(), num(), r.randrange(5))
    if x < 0.45:
        return "INSERT INTO %s (id, k, v, n, w) SELECT g, g %% 30, %s, %s, 1 FROM generate_series(%d, %d) g" % (t, value(), num(), key(), key() + 10)
    if x < 0.75:
        col = r.choice(["v = %s" % value(), "n = %s" % num(), "w = w + 1", "k = (k + 10) % 30", "id = id + 1, n = %s" % num(), "v = v", "k = k + 0, v = v || 'y'"])
        return "UPDATE %s SET %s WHERE %s" % (t, col, where())
    if x < 0.87:
        return "DELETE FROM %s WHERE %s" % (t, where())
    if x < 0.93:
        return "SAVEPOINT s"
    if x < 0.97:
        return "ROLLBACK TO s"
    extra += 1
    return r.choice(["ALTER TABLE %s ADD COLUMN e%d int DEFAULT %d" % (t, extra, extra), "ALTER TABLE %s ALTER w SET DEFAULT 7" % t, "CREATE INDEX ON %s_a (n)" % t,
                     "ALTER TABLE %s_b SET (fillfactor = %d)" % (t, r.randrange(50, 100)), "ALTER TABLE %s DROP COLUMN IF EXISTS e%d" % (t, r.randrange(1, extra + 1))])
for _ in range(120):
    print("BEGIN; SAVEPOINT s;")
    for _ in range(r.randrange(1, 8)):
        print(statement() + ";")
    print(r.choice(["COMMIT;"] * 5 + ["ROLLBACK;", "PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x';"]))
PY
}

for seed in ${SEEDS:-1 2 3 4}; do
	t=r$seed
	q_script <<SQL
CREATE TABLE $t (id int, k int, v text, n numeric, w int) PARTITION BY RANGE (k);
CREATE TABLE ${t}_a PARTITION OF $t FOR VALUES FROM (0) TO (10);
CREATE TABLE ${t}_b (junk int, n numeric, w int, v text, k int, id int);
ALTER TABLE ${t}_b DROP COLUMN junk;
ALTER TABLE $t ATTACH PARTITION ${t}_b FOR VALUES FROM (10) TO (20);
CREATE TABLE ${t}_c PARTITION OF $t DEFAULT PARTITION BY HASH (id);
CREATE TABLE ${t}_c0 PARTITION OF ${t}_c FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE ${t}_c1 PARTITION OF ${t}_c FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE ${t}_a REPLICA IDENTITY FULL; ALTER TABLE ${t}_b REPLICA IDENTITY FULL; ALTER TABLE ${t}_c0 REPLICA IDENTITY FULL; ALTER TABLE ${t}_c1 REPLICA IDENTITY FULL;
ALTER TABLE ${t}_c0 ALTER v SET STORAGE EXTERNAL;
SQL
	q "SELECT reg('$t', '{1,2,3,4}')" > /dev/null
	script "$seed" > "$PGT_DIR/$t.sql"
	q_script < "$PGT_DIR/$t.sql" 2> "$PGT_DIR/$t.log" || cat "$PGT_DIR/$t.log"
	check "seed $seed: frames are readable" drain compression lz4
	check_bag "$t" 1 "seed $seed: $(q "SELECT count(*) FROM pgtrickle_changes.b_$(q "SELECT '$t'::regclass::oid")_1") buffer rows add up to $(q "SELECT count(*) FROM $t") rows"
	check_sql "seed $seed: nothing was undescribable" "SELECT count(*) FROM pgtrickle_changes.b_$(q "SELECT '$t'::regclass::oid")_1 WHERE op = 'X'" 0
	check_sql "seed $seed: no update without a changed column" "SELECT count(*) FROM pgtrickle_changes.b_$(q "SELECT '$t'::regclass::oid")_1 WHERE changed_columns = 0" 0
done
done_testing
