#!/usr/bin/env bash
# The buffers lose nothing and double nothing: kill -9 of the consumer, the walsender, the apply backend and the postmaster, and
# SIGTERM, while writers write; then the buffers of two sources are compared with the writers' own log, transaction by transaction, and their
# net content with the tables.  No refresh takes part: what is tested is stream, apply, progress and confirm.
# KILL_ROUNDS (10); KILL_SEED repeats a run's choice of moments.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new max_wal_size=2GB
extension_new
consumer_start        # first: a stream table older than its slot pins nothing until it is recomputed
RANDOM=${KILL_SEED:-$$}
rounds=${KILL_ROUNDS:-10}

q_script <<'SQL' || { fail "schema"; exit 1; }
CREATE TABLE a (id int PRIMARY KEY, v int, w text);
CREATE TABLE b (id int, v int);
ALTER TABLE b REPLICA IDENTITY FULL;
CREATE TABLE written (xid xid8, source text, plus int, minus int);
SELECT pgtrickle.create_stream_table('st_a', 'SELECT v, count(*) AS n, max(w) AS w FROM a GROUP BY v', schedule => '1d');
SELECT pgtrickle.create_stream_table('st_b', 'SELECT id, v FROM b', schedule => '1d');
-- one transaction: some rows of both, a subtransaction that rolls back, and its own bookkeeping
CREATE FUNCTION write_some(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE ap int := 0; am int := 0; bp int := 0; bm int := 0; k int;
BEGIN
    INSERT INTO a SELECT (random() * 5000)::int, n, 'w' || n FROM generate_series(1, n) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS k = ROW_COUNT; ap := ap + k;
    BEGIN
        DELETE FROM a WHERE id % 7 = n % 7;
        RAISE EXCEPTION 'never mind';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
    UPDATE a SET v = v + 1, w = w || 'x' WHERE id IN (SELECT id FROM a WHERE id % 97 = n ORDER BY id FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS k = ROW_COUNT; ap := ap + k; am := am + k;
    DELETE FROM a WHERE id IN (SELECT id FROM a WHERE id % 89 = n ORDER BY id FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS k = ROW_COUNT; am := am + k;
    INSERT INTO b SELECT n, g FROM generate_series(1, n % 5) g;
    GET DIAGNOSTICS k = ROW_COUNT; bp := bp + k;
    IF n % 11 = 0 THEN
        DELETE FROM b WHERE ctid IN (SELECT ctid FROM b LIMIT 20 FOR UPDATE SKIP LOCKED);
        GET DIAGNOSTICS k = ROW_COUNT; bm := bm + k;
    END IF;
    INSERT INTO written SELECT pg_current_xact_id(), s, p, m FROM (VALUES ('a', ap, am), ('b', bp, bm)) x(s, p, m) WHERE p + m > 0;
END $$;
SQL
echo '\set n random(1, 60)
SELECT write_some(:n);' > "$PGT_DIR/write.sql"
(
	trap 'exit 0' TERM
	while [ ! -e "$PGT_DIR/stop" ]; do
		timeout 300 "$PGT_BIN/pgbench" -n -c 4 -T 300 -f "$PGT_DIR/write.sql" > /dev/null 2>&1 &
		echo $! > "$PGT_DIR/pgbench.pid"
		wait $!
		sleep 0.1
	done
) &
writers=$!

a_oid=$(q "SELECT 'a'::regclass::oid")
b_oid=$(q "SELECT 'b'::regclass::oid")
counts="SELECT xid, source, plus::bigint, minus::bigint FROM written EXCEPT ALL
        SELECT xid, source, count(*) FILTER (WHERE op = '+'), count(*) FILTER (WHERE op = '-') FROM
          (SELECT xid, op, 'a' AS source FROM pgtrickle_changes.changes_$a_oid UNION ALL SELECT xid, op, 'b' FROM pgtrickle_changes.changes_$b_oid) x
         GROUP BY xid, source"
reverse="SELECT xid, source, count(*) FILTER (WHERE op = '+'), count(*) FILTER (WHERE op = '-') FROM
          (SELECT xid, op, 'a' AS source FROM pgtrickle_changes.changes_$a_oid UNION ALL SELECT xid, op, 'b' FROM pgtrickle_changes.changes_$b_oid) x
         GROUP BY xid, source EXCEPT ALL SELECT xid, source, plus::bigint, minus::bigint FROM written"
# columns live in the segments; the parent has the fixed ones only
segments() { q "SELECT string_agg(format('SELECT op, $2 FROM pgtrickle_changes.%I', relname), ' UNION ALL ') FROM pgtrickle.pgt_segments WHERE source_relid = $1"; }
net()
{
	echo "SELECT count(*) FROM (SELECT $2 FROM ($(segments "$4" "$3") UNION ALL SELECT '-', $2 FROM $1) x (op, $2)
	      GROUP BY $2 HAVING sum(CASE op WHEN '+' THEN 1 ELSE -1 END) <> 0) y"
}

compare()
{
	local got
	caught_up 30 || { fail "$1: caught up"; tail -5 "$PGT_DIR/consumer.log" | sed 's/^/# /'; return; }
	got="$(q "SELECT count(*) FROM ($counts) x") lost, $(q "SELECT count(*) FROM ($reverse) x") doubled or foreign,"
	got="$got net $(q "$(net a v,w c2,c3 "$a_oid")") $(q "$(net b id,v c1,c2 "$b_oid")")"
	check_eq "$1" "$got" "0 lost, 0 doubled or foreign, net 0 0"
}

stop_writers()
{
	touch "$PGT_DIR/stop"
	kill "$(cat "$PGT_DIR/pgbench.pid")" 2> /dev/null
	poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench' OR query LIKE 'SELECT write_some%'" 0 20 > /dev/null
	wait "$writers" 2> /dev/null
}

pid_of() { q "SELECT pid FROM pg_stat_activity WHERE application_name = 'trickle-consumer $1'"; }

victims=(consumer walsender apply postmaster terminate)
for ((i = 1; i <= rounds; i++)); do
	victim=${victims[$(((i - 1) % 5))]}
	sleep "0.$((RANDOM % 9))$((RANDOM % 10))"             # a random moment of the writers' work
	case $victim in
		consumer) consumer_kill; consumer_spawn ;;
		walsender) kill -9 $(pid_of stream) 2> /dev/null ;;
		apply) kill -9 $(pid_of apply) 2> /dev/null ;;
		terminate)
			t0=$SECONDS
			check "SIGTERM under load: exit 0" consumer_stop
			check "within 10 s" test $((SECONDS - t0)) -le 10
			consumer_spawn ;;
		postmaster) cluster_kill; cluster_start ;;
	esac
	poll_cmd 30 q "SELECT 1" > /dev/null 2>&1
done
stop_writers
compare "after $rounds kills the buffers hold every transaction once"
echo "# transactions: $(q "SELECT count(DISTINCT xid) FROM written"), rows: $(q "SELECT sum(plus + minus) FROM written")"
check "the consumer is alive" kill -0 "${CONSUMERS[-1]}"
check "SIGTERM ends it with 0" consumer_stop
consumer_spawn
compare "a restart doubles nothing"
done_testing
