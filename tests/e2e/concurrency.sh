#!/usr/bin/env bash
# Refreshes against everything else a session can be doing: two at once, subtransactions that roll back, chains refreshed in any order in
# one transaction, cursors, old snapshots, prepared and very long transactions, more than 64 subtransactions; wait_for and
# write_and_refresh while others write.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new max_prepared_transactions=10
extension_new
q "ALTER DATABASE $PGDATABASE SET client_min_messages = error"
consumer_start
q_script > /dev/null <<'SQL'
CREATE TABLE t (id serial PRIMARY KEY, k int, v int, who text);
INSERT INTO t (k, v) SELECT g % 7, g FROM generate_series(1, 500) g;
SELECT pgtrickle.create_stream_table('a', 'SELECT id, k, v FROM t WHERE v % 3 <> 0', '1d');
SELECT pgtrickle.create_stream_table('b', 'SELECT k, count(*) AS n, sum(v) AS s, min(v) AS m FROM a GROUP BY k', '1d');
SELECT pgtrickle.create_stream_table('c', 'SELECT n, count(*) AS c, max(s) AS m FROM b GROUP BY n', '1d');
SELECT pgtrickle.create_stream_table('own', 'SELECT who, count(*) AS n FROM t GROUP BY who', '1d');
SELECT pgtrickle.create_stream_table('soon', 'SELECT id, who FROM t', '1s');
SQL
cat > "$PGT_DIR/w.sql" <<'SQL'
\set id random(1, 600)
UPDATE t SET v = v + 1, k = (k + 1) % 7 WHERE id = :id;
INSERT INTO t (k, v, who) VALUES (:id % 7, :id, 'noise');
DELETE FROM t WHERE id = (SELECT max(id) FROM t WHERE who = 'noise' AND id % 5 = :id % 5);
SQL
writers_start() { "$PGT_BIN/pgbench" -n -f "$PGT_DIR/w.sql" -c 3 -R 150 -T "$1" > "$PGT_DIR/pgbench.out" 2>&1 & writers=$!; }
verify() { check_sql "exact: $1" "SELECT string_agg(n || ': ' || (v).missing || ',' || (v).extra, ' ') FROM (SELECT n, pgtrickle.verify_stream_table(n) AS v FROM unnest('{a,b,c,own}'::text[]) n) x WHERE (v).missing + (v).extra > 0" ""; }

writers_start 25

# ---- the same ST from four sessions, chains in any order within one transaction, savepoints
cat > "$PGT_DIR/r.py" <<'PY'
import random, sys, psycopg2
r = random.Random(int(sys.argv[1]))
conn = psycopg2.connect("")
conn.autocommit = True
cur = conn.cursor()
for i in range(12):
    cur.execute("BEGIN")
    for j in range(r.randrange(1, 6)):
        cur.execute("SAVEPOINT x")
        try:
            cur.execute("SELECT pgtrickle.refresh_stream_table(%s)", (r.choice("abc"),))
        except psycopg2.Error as e:
            if e.pgcode not in ("55P03", "40P01"):
                print(e.pgcode, e)
            cur.execute("ROLLBACK TO x")
        if r.random() < 0.4:
            cur.execute("ROLLBACK TO x")
    cur.execute("COMMIT" if r.random() < 0.7 else "ROLLBACK")
PY
pids=
for i in 1 2 3 4; do timeout 60 /usr/bin/python3 "$PGT_DIR/r.py" $i > "$PGT_DIR/r$i.out" 2>&1 & pids+=" $!"; done
wait $pids
check_eq "refreshes of the same stream tables from four sessions, in savepoints, in any order" "$(cat "$PGT_DIR"/r?.out)" ""
verify "after them"

# ---- readers: a cursor and an old snapshot see what they saw
out=$(q_script 2>&1 <<'SQL'
BEGIN;
DECLARE cur CURSOR FOR SELECT id FROM a ORDER BY id;
FETCH 1 FROM cur \gset first_
CREATE TEMP TABLE before ON COMMIT DROP AS SELECT count(*) AS n FROM a;
SELECT pgtrickle.refresh_stream_table('a') \gset
MOVE FORWARD ALL FROM cur;
CLOSE cur;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT sum(v) AS one, count(*) AS n1 FROM a \gset
\! $PGT_BIN/psql -XAtqc "INSERT INTO t (k, v) VALUES (1, 1000)" -c "SELECT pgtrickle.refresh_stream_table('a')" > /dev/null
SELECT sum(v) = :one AND count(*) = :n1 FROM a;
COMMIT;
SQL
)
check_eq "a cursor over the ST survives its refresh; REPEATABLE READ sees no change" "$out" "t"
check_error "no refresh in REPEATABLE READ" "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT pgtrickle.refresh_stream_table('a')" 0A000
check_error "no refresh behind own writes" "BEGIN; INSERT INTO t (k) VALUES (1); SELECT pgtrickle.refresh_stream_table('a')" 55006

# ---- a prepared transaction, and a long one with 200 subtransactions that spans refreshes
q "BEGIN; INSERT INTO t (k, v, who) SELECT 3, g, 'prepared' FROM generate_series(1, 10) g; PREPARE TRANSACTION 'px'"
{
	echo "BEGIN; INSERT INTO t (k, v, who) VALUES (1, 1, 'long');"
	for i in $(seq 200); do echo "SAVEPOINT s; INSERT INTO t (k, v, who) VALUES (1, $i, 'long'); $([ $((i % 3)) = 0 ] && echo 'ROLLBACK TO s;')"; done
	echo "SELECT pg_sleep(5); COMMIT;"
} > "$PGT_DIR/long.sql"
q_script < "$PGT_DIR/long.sql" > /dev/null 2>&1 &
long=$!
poll_until "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'" t 20
for i in 1 2 3; do verify "with a long and a prepared transaction open, $i"; done
check_sql "nothing of them is seen" "SELECT count(*) FROM own WHERE who IN ('long', 'prepared')" 0
wait $long
q "COMMIT PREPARED 'px'"
verify "after both have ended"
check_sql "all of them is seen" "SELECT who, n FROM own WHERE who IN ('long', 'prepared') ORDER BY 1" "long|135
prepared|10"

# ---- reading one's own writes, while others write the same table
q_script > /dev/null <<'SQL'
SELECT pgtrickle.create_stream_table('up', 'SELECT id, who FROM t', 'continuous');
SELECT pgtrickle.create_stream_table('down', 'SELECT who, count(*) AS n FROM up GROUP BY who', '1d');
SELECT pgtrickle.create_stream_table('marked', 'SELECT id, who FROM t', '1d');
SQL
cat > "$PGT_DIR/own.py" <<'PY'
import psycopg2, sys
conn = psycopg2.connect("application_name=" + sys.argv[1])
conn.autocommit = True
cur = conn.cursor()
me = sys.argv[1]
st = {"waits": "own", "writes": "own", "soon": "soon", "chained": "down", "marked": "marked"}[me]
count = f"SELECT n FROM {st} WHERE who = %s" if st in ("own", "down") else f"SELECT count(*) FROM {st} WHERE who = %s"
for i in range(1, 201):
    if me == "writes":
        cur.execute("CALL pgtrickle.write_and_refresh($$INSERT INTO t (k, v, who) VALUES (1, 1, 'writes')$$, 'own')")
    else:
        cur.execute("INSERT INTO t (k, v, who) VALUES (1, 1, %s)", (me,))
        if me == "marked" and i % 20 == 0:
            cur.execute("SELECT pgtrickle._mark_full(ARRAY(SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'marked'), 'a test')")
        cur.execute("SELECT pgtrickle.wait_for(%s)", (st,))
    cur.execute(count, (me,))
    got = cur.fetchone()
    if got != (i,):
        print(me, "expected", i, "got", got)
print("done")
PY
writers_start 120
pids=
for me in waits soon writes chained marked; do timeout 120 /usr/bin/python3 "$PGT_DIR/own.py" $me > "$PGT_DIR/own.$me.out" 2>&1 & pids+=" $!"; done
wait $pids
check "somebody else wrote all the time" kill -0 "$writers"
kill "$writers" 2> /dev/null
for me in waits soon writes chained marked; do check_eq "200 own writes, each of them seen: $me" "$(head -5 "$PGT_DIR/own.$me.out")" "done"; done
q "SELECT pgtrickle.create_stream_table('empty', 'SELECT id, who FROM t', '1d', initialize => false)" > /dev/null
q "SELECT pgtrickle.wait_for('empty')" > /dev/null
check_sql "wait_for fills what was never filled" "SELECT count(*) FROM empty WHERE who = 'waits'" 200
q "SELECT pgtrickle.drop_stream_table(n) FROM unnest('{down,up,marked,empty}'::text[]) n" > /dev/null
check_error "an upstream cannot be dropped from under its reader" "DROP TABLE b" 2BP01
q "SELECT pgtrickle.drop_stream_table('b', true)" > /dev/null
check_sql "dropped with its readers" "SELECT string_agg(pgt_name, ',' ORDER BY pgt_name) FROM pgtrickle.pgt_stream_tables" "a,own,soon"
check_eq "no crash" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
done_testing
