#!/usr/bin/env bash
# The first load of a large table (LOAD_MB) while four connections write to it all the time.  Registration makes a writer wait no longer than
# register_lock_timeout, even behind a long transaction; the load itself makes nobody wait, survives the loss of its backend, and is exact.  A
# load in the creating transaction is the other way round: the writers wait for it, and are seen to.
. "$(dirname "$0")/../lib/cluster.sh"
mb=${LOAD_MB:-40}
lock_ms=400
slack_ms=1500
cluster_new pg_trickle.sync_load_limit=1MB pg_trickle.register_lock_timeout=$lock_ms shared_buffers=128MB max_wal_size=8GB
extension_new
consumer_start
rows=$((mb * 1024 * 1024 / 150))
q_script > /dev/null << SQL
CREATE TABLE big (id serial PRIMARY KEY, k int, v int, pad text);
INSERT INTO big (k, v, pad) SELECT g % 100, g % 1000, repeat('x', 100) FROM generate_series(1, $rows) g;
ANALYZE big;
CREATE TABLE parted (id int, k int) PARTITION BY LIST (k);
CREATE TABLE parted1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO parted SELECT g, 1 FROM generate_series(1, 60000) g;
-- a load must be long enough to be looked at, on every machine: some rows take 20 ms each
CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$ BEGIN PERFORM pg_sleep(0.02); RETURN i; END \$\$;
SQL
slowly() { echo "SELECT k, count(*) AS n, sum(v) AS s, max(CASE WHEN id % $((rows / $1)) = 0 THEN slow(id) END) AS m FROM big GROUP BY k"; }
create() { PGAPPNAME=creator q "SELECT pgtrickle.create_stream_table('$1', \$\$$2\$\$, '${3:-1d}')" "${@:4}" 2>&1; }

# ---- the writers
mkfifo "$PGT_DIR/control"
/usr/bin/python3 "$(dirname "$0")/_writers.py" "$PGT_DIR/control" "$PGT_DIR/writers.out" > "$PGT_DIR/python.out" 2>&1 &
writers=$!
exec 3<> "$PGT_DIR/control"                              # both ways: does not wait for the reader, and outlives it
phase() { echo "phase $1" >&3; poll_cmd 20 grep -qs "phase $1" "$PGT_DIR/writers.out.ack" || fail "the writers are at work"; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# ---- registration behind a long transaction: it comes and goes, and the others pass in between
phase registering
PGAPPNAME=long q "BEGIN; UPDATE big SET v = v WHERE id = -1; SELECT pg_sleep(4); COMMIT" > /dev/null &
long=$!
poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'long' AND wait_event = 'PgSleep'" 1 20
notice=$(create slowly "$(slowly 100)" 1s)
check_sql "registered only when the long transaction had ended" "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'long'" 0
check_eq "a NOTICE says who fills it" "$(grep -c 'will be filled in the background' <<< "$notice")" 1
wait $long

# ---- the load
phase loading
check_sql "it is registered and not loaded" "SELECT status, is_populated FROM pgtrickle.pgt_status() WHERE name = 'public.slowly'" "INITIALIZING|f"
loader="FROM pg_stat_activity WHERE application_name = 'trickle-consumer load' AND state = 'active'"
check_poll "the load is seen at work" "SELECT count(*) $loader AND query LIKE '%first load of public.slowly%'" 1 20
check_sql "its backend is lost" "SELECT pg_terminate_backend(pid) $loader" t
check_poll "another one begins anew" "SELECT count(*) $loader AND query LIKE '%first load of public.slowly%'" 1 20
check_sql "INITIALIZING all the while" "SELECT status, is_populated FROM pgtrickle.pgt_status() WHERE name = 'public.slowly'" "INITIALIZING|f"
create of_parts "SELECT k, count(*) AS n FROM parted GROUP BY k" 1s > /dev/null
check_sql "the size of a source is that of its partitions" "SELECT first_load_large FROM pgtrickle._consumer_plan() WHERE st_name = 'of_parts' AND NOT is_populated" t
create copied "SELECT id, k, v FROM big WHERE v % 3 <> 0" 1s > /dev/null
create joined "SELECT b.k, p.k AS pk, count(*) AS n FROM big b JOIN parted p ON p.id = b.v GROUP BY b.k, p.k" 1s > /dev/null
check_poll "all of them are loaded" "SELECT count(*) FROM pgtrickle.pgt_status() WHERE status = 'ACTIVE' AND is_populated" 4 $((60 + mb))
phase after
check_sql "each by one load" "SELECT count(*), count(DISTINCT pgt_id) FROM pgtrickle.pgt_refresh_history WHERE action = 'FULL'" "4|4"
verify="SELECT string_agg(n || ': ' || (v).missing || ',' || (v).extra, ' ' ORDER BY n) FROM (SELECT n, pgtrickle.verify_stream_table(n) AS v
	FROM unnest('{slowly,copied,joined,of_parts}'::text[]) n) x"
check_sql "exact while the writers go on" "$verify" "copied: 0,0 joined: 0,0 of_parts: 0,0 slowly: 0,0"

# ---- a registration that is never let in
phase refused
PGAPPNAME=long q "BEGIN; UPDATE parted SET k = k WHERE id = -1; UPDATE big SET v = v WHERE id = -1; SELECT pg_sleep(60); COMMIT" > /dev/null 2>&1 &
poll_until "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'long' AND wait_event = 'PgSleep'" 1 20
q "ALTER DATABASE $PGDATABASE SET pg_trickle.register_lock_timeout = 50"
PGAPPNAME=creator check_error "it gives up" "SELECT pgtrickle.create_stream_table('never', 'SELECT pad FROM big', '1d')" 55P03 "register_lock_timeout"
check_sql "and leaves nothing" "SELECT to_regclass('never') IS NULL AND NOT EXISTS (SELECT FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'never')" t
q "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'long'" > /dev/null
q "ALTER DATABASE $PGDATABASE RESET pg_trickle.register_lock_timeout"

# ---- a load in the creating transaction
phase synchronous
q "ALTER DATABASE $PGDATABASE SET pg_trickle.sync_load_limit = '100GB'"
began=$(milliseconds)
create at_once "SELECT k, count(pad) AS n, max(CASE WHEN id % $((rows / 50)) = 0 THEN slow(id) END) AS m FROM big GROUP BY k" > "$PGT_DIR/creator.out" &
creator=$!
poll_until "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE application_name = 'creator'
	AND relation = 'big'::regclass AND mode = 'ShareRowExclusiveLock' AND granted" 1 30
check_error "who does not want to wait for it sets lock_timeout" "SET lock_timeout = '50ms'; DELETE FROM big WHERE id = -1" 55P03
wait $creator
synchronous_ms=$(($(milliseconds) - began))
check_sql "it is loaded" "SELECT status FROM pgtrickle.pgt_status() WHERE name = 'public.at_once'" ACTIVE
phase end
exec 3>&-
wait $writers || fail "the writers ended well"

# ---- what the writers saw
sed 's/^/# phase, statements, slowest ms, samples, waits for the consumer, for the creator, errors: /' "$PGT_DIR/writers.out"
slowest() { awk -v p="$1" '$1 == p { print $3 }' "$PGT_DIR/writers.out"; }
check_eq "no statement failed" "$(awk '$1 != "#" { n += $7 } END { print n }' "$PGT_DIR/writers.out")" 0
check_eq "no writer was ever seen to wait for the consumer" "$(awk '$1 != "#" { n += $5 } END { print n }' "$PGT_DIR/writers.out")" 0
check_eq "every phase was sampled, and written in" "$(awk '$1 != "#" && $1 != "end" && $1 != "start" && ($2 == 0 || $4 == 0)' "$PGT_DIR/writers.out")" ""
noise=$((2 * $(slowest after)))                              # what statements take here without anything in their way
check "behind a registration that waits: $(slowest registering) ms at most, register_lock_timeout being $lock_ms ms" [ "$(slowest registering)" -lt $((lock_ms + slack_ms + noise)) ]
check "and under a load: $(slowest loading) ms" [ "$(slowest loading)" -lt $((lock_ms + slack_ms + noise)) ]
check "a registration that is refused: $(slowest refused) ms" [ "$(slowest refused)" -lt $((50 + slack_ms + noise)) ]
check "a load in the creating transaction holds them: seen $(awk '$1 == "synchronous" { print $6 }' "$PGT_DIR/writers.out") times" [ "$(awk '$1 == "synchronous" { print $6 }' "$PGT_DIR/writers.out")" -gt 0 ]
check "as long as that takes ($synchronous_ms ms), not longer: $(slowest synchronous) ms" [ "$(slowest synchronous)" -lt $((synchronous_ms + slack_ms + noise)) ]
for st in slowly copied joined of_parts at_once; do assert_st_equal $st; done
check_sql "no refresh had to compare" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action <> 'DIFFERENTIAL' AND merge_strategy_used IS DISTINCT FROM 'load'" 0
check_eq "no crash" "$(grep -cE 'PANIC|was terminated by signal|TRAP:|deadlock detected' "$CLUSTER_LOG")" 0
done_testing
