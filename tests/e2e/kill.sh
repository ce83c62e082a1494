#!/usr/bin/env bash
# Nothing lost: kill -9 of the consumer, a walsender, a refresh backend or the postmaster at random moments with writers running.
# After each round the writers pause, and within 5 s the scheduler alone has brought every ST to what it means over the base
# tables.  KILL_ROUNDS (10); KILL_SEED repeats a run's choice of victims.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new deadlock_timeout=500ms pg_trickle.min_schedule_seconds=0
extension_new
here=$PGT_TOP/tests/e2e
RANDOM=${KILL_SEED:-$$}
rounds=${KILL_ROUNDS:-10}
export PYTHONDONTWRITEBYTECODE=1 SHOP_LONG=1 SHOP_TRUNCATE=0 SHOP_SCHEDULE=200ms SHOP_WRITERS=4 SHOP_PAUSE=$PGT_DIR/pause

check "stream tables are created" /usr/bin/python3 "$here/_shop.py" setup
consumer_start
# The slot is younger than the registrations: everything is loaded once more first.
check "the scheduler loads all of them" /usr/bin/python3 "$here/_shop.py" oracle 20
poll_until "SELECT bool_and(NOT needs_reinit) FROM pgtrickle.pgt_stream_tables" t 20
q "CREATE TABLE seen AS SELECT max(refresh_id) AS n FROM pgtrickle.pgt_refresh_history"
q "CREATE TABLE fulls AS SELECT count(*) AS n FROM pgtrickle.pgt_refresh_history WHERE action IN ('FULL', 'REINITIALIZE')"
/usr/bin/python3 "$here/_shop.py" write $((rounds * 20)) > "$PGT_DIR/writers.out" 2>&1 &
writers=$!

backend_of() { q "SELECT pid FROM pg_stat_activity WHERE $1 ORDER BY random() LIMIT 1"; }

# A backend that dies by SIGKILL takes the server through crash recovery: wait until it answers again.
server_is_back() { poll_cmd 30 q "SELECT 1" > /dev/null 2>&1; }

kill_one()
{
	local pid
	case $1 in
		consumer) consumer_kill; consumer_spawn ;;
		walsender | refresh)
			if [ "$1" = walsender ]; then pid=$(backend_of "backend_type = 'walsender'")
			else pid=$(backend_of "usename = 'trickle' AND backend_type = 'client backend'"); fi
			[ -n "$pid" ] && kill -9 "$pid"
			server_is_back ;;
		postmaster) cluster_kill; cluster_start ;;
	esac
}

victims=(consumer walsender refresh postmaster)
for ((i = 1; i <= rounds; i++)); do
	victim=${victims[$(((i - 1) % 4))]}
	sleep "0.$((RANDOM % 9))$((RANDOM % 10))"             # a random moment of the writers' work
	kill_one "$victim"
	sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
	touch "$SHOP_PAUSE"
	poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'writer%' AND state <> 'idle'" 0 10 > /dev/null
	t0=$(date +%s%N)
	if out=$(/usr/bin/python3 "$here/_shop.py" oracle "${KILL_DEADLINE:-5}" 2>&1); then
		pass "round $i, $victim killed: every ST is right after $((($(date +%s%N) - t0) / 1000000)) ms"
	else
		grep -B1 '^not ok' <<< "$out" | sed 's/^not ok/#/'
		fail "round $i, $victim killed: every ST is right within 5 s"
		tail -5 "$PGT_DIR/consumer.log" | sed 's/^/# /'
	fi
	q "SELECT '# round $i: ' || count(*) || ' of ' || action || ', reason: ' || coalesce(reason, '-') FROM pgtrickle.pgt_refresh_history
	   WHERE action IN ('FULL', 'REINITIALIZE') AND refresh_id > (SELECT n FROM seen) GROUP BY action, reason"
	q "UPDATE seen SET n = (SELECT max(refresh_id) FROM pgtrickle.pgt_refresh_history)"
	rm -f "$SHOP_PAUSE"
done
kill "$writers" 2> /dev/null
wait "$writers" 2> /dev/null
check_eq "no writer saw an error it should not" "$(grep -c '^not ok' "$PGT_DIR/writers.out")" 0
check_sql "no needless FULL" "SELECT count(*) - (SELECT n FROM fulls) FROM pgtrickle.pgt_refresh_history WHERE action IN ('FULL', 'REINITIALIZE')" 0

# A second consumer waits, and takes over when the first dies.
consumer_spawn
standby=${CONSUMERS[-1]}
poll_until "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted" 1 5 > /dev/null
first=${CONSUMERS[0]}
kill -9 "$first"
check_poll "a second consumer takes over within 5 s" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 1 5
check "and the STs are right" /usr/bin/python3 "$here/_shop.py" oracle 5
check "the second one is alive" kill -0 "$standby"
done_testing
