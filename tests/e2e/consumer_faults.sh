#!/usr/bin/env bash
# The daemon's manners: the doctor, exit codes, takeover, rows that cannot be stored, synchronous standby, reload, logs, metrics.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new max_replication_slots=8
consumer() { timeout 20 "$PGT_BIN/trickle-consumer" -h "$PGHOST" -p "$PGPORT" -d "$PGDATABASE" "$@"; }
code() { consumer "$@" > "$PGT_DIR/out" 2>&1; echo $?; }
says() { grep -qF -- "$1" "$PGT_DIR/out" || { sed 's/^/# /' "$PGT_DIR/out"; return 1; }; }
http() { curl -s -o "$PGT_DIR/out" -w '%{http_code}' "http://127.0.0.1:$port/$1"; }

# ---- before anything is set up
check_eq "no slot name: exit 1" "$(code)" 1
check_eq "unknown option: exit 1" "$(code -S x --frobnicate)" 1
check_eq "unknown database: exit 2" "$(code -S x -U postgres -d nowhere)" 2
check_eq "no extension: exit 3" "$(code -S x -U postgres)" 3
check "it says what to do" says "CREATE EXTENSION pg_trickle"
extension_new
check_eq "no slot: exit 5" "$(code -S x -U trickle)" 5
check "it says how to make one" says "--create-slot"
check_eq "the doctor finds the missing slot: exit 3" "$(code -S x -U trickle --check)" 3
check "and names the fix" says "trickle-consumer --create-slot"
q "CREATE ROLE plain LOGIN"
check_eq "a role without REPLICATION creates no slot: exit 2 or 5" "$(code -S x -U plain --create-slot | tr 2 5)" 5
check_eq "a role without the group: exit 3" "$(q "CREATE ROLE repl LOGIN REPLICATION"; code -S x -U repl)" 3
q "SELECT pg_create_logical_replication_slot('foreign_slot', 'pgoutput')" > /dev/null
check_eq "a slot of another plugin: exit 5" "$(code -S foreign_slot -U trickle)" 5
check_eq "and it is not taken for ours" "$(code -S foreign_slot -U trickle --create-slot --if-not-exists)" 5
check_eq "dropping a slot that is not there: exit 5" "$(code -S nothere -U trickle --drop-slot)" 5
check_eq "a bad address for --http: exit 1" "$(code -S x -U trickle --http=here:there)" 1
if [ -n "$(q "SELECT current_setting('output_plugin_libraries', true)")" ]; then
	q "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding"
	cluster_reload
	poll_until "SHOW output_plugin_libraries" "pgoutput, test_decoding" 10
	check_eq "a plugin that is not allowed: exit 5" "$(code -S x -U trickle --create-slot)" 5
	check "with the line to add" says "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, pgtrickle_output"
	q "ALTER SYSTEM RESET output_plugin_libraries"
	cluster_reload
	poll_until "SELECT current_setting('output_plugin_libraries') LIKE '%pgtrickle_output%'" t 10
fi

# ---- a synchronous standby we must not be
consumer_create_slot
q "ALTER SYSTEM SET synchronous_standby_names = '*'"
cluster_reload
poll_until "SHOW synchronous_standby_names" "*" 10
check_eq "refuses to be a synchronous standby: exit 4" "$(PGOPTIONS="-c synchronous_commit=local" code -S trickle -U trickle)" 4
PGOPTIONS="-c synchronous_commit=local" q "ALTER SYSTEM RESET synchronous_standby_names"
cluster_reload
poll_until "SHOW synchronous_standby_names" "" 10

# ---- running, with everything on
port=$((20000 + $$ % 20000))
printf 'flush-idle = 5ms\nlog-format = json\n' > "$PGT_DIR/consumer.ini"
consumer_start "$PGT_SLOT" --http="$port" --config="$PGT_DIR/consumer.ini" --compression=lz4
check_eq "the doctor is content" "$(code -S trickle -U trickle --check)" 0
check_eq "/healthz says ok" "$(http healthz)" 200
q "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY, v int)"
q "SELECT pgtrickle.create_stream_table('st_t', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1d')" 2> /dev/null
q "SELECT pgtrickle.create_stream_table('st_u', 'SELECT v, count(*) AS n FROM u GROUP BY v', schedule => '1d')" 2> /dev/null
q "INSERT INTO t SELECT g, g % 5 FROM generate_series(1, 20000) g"
check "rows travel compressed" caught_up 20
check_eq "/metrics answers" "$(http metrics)" 200
check "and counts rows" grep -qE '^trickle_rows_total 20000$' "$PGT_DIR/out"
check_eq "nothing else is served" "$(http etc/passwd)" 404
assert_st_equal st_t
printf 'flush-idle = 5ms\nlog-format = text\nverbose = on\n' > "$PGT_DIR/consumer.ini"
kill -HUP "${CONSUMERS[-1]}"
check "SIGHUP reloads" poll_cmd 10 grep -q "INFO main: configuration reloaded" "$PGT_DIR/consumer.log"
check "logs were JSON before" test "$(grep -c '^{"time":".*"part":"session"' "$PGT_DIR/consumer.log")" -gt 0
printf 'workers = none\n' > "$PGT_DIR/consumer.ini"
kill -HUP "${CONSUMERS[-1]}"
check "a bad file changes nothing and is told" poll_cmd 10 grep -q 'configuration not reloaded.*invalid value "none" for "workers"' "$PGT_DIR/consumer.log" ||
	poll_cmd 1 grep -q 'invalid value "none" for "workers"' "$PGT_DIR/consumer.log"

# ---- rows the buffer refuses: that source is recomputed, the others go on, nothing stops
seg=$(q "SELECT relname FROM pgtrickle.pgt_segments WHERE source_relid = 't'::regclass ORDER BY segno DESC LIMIT 1")
q "ALTER TABLE pgtrickle_changes.$seg ADD CONSTRAINT no_666 CHECK (c2 <> 666)"
q "INSERT INTO t VALUES (100001, 666); INSERT INTO u VALUES (1, 1)"
q "INSERT INTO u SELECT g, 2 FROM generate_series(2, 50) g; INSERT INTO t VALUES (100002, 1)"
check "a row that cannot be stored does not stop the stream" caught_up 20
check_sql "it left a marker" "SELECT count(*) > 0 FROM pgtrickle_changes.changes_$(q "SELECT 't'::regclass::oid") WHERE op = 'X'" t
assert_st_equal st_t
assert_st_equal st_u
q "INSERT INTO t VALUES (100003, 666)"
check "again" caught_up 20
assert_st_equal st_t

# ---- takeover
consumer_spawn
sleep 0.5
kill -9 "${CONSUMERS[0]}"
t0=$(date +%s%N)
check_poll "a waiting consumer takes over" "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'trickle%' AND state = 'streaming'" 1 5
echo "# takeover after $((($(date +%s%N) - t0) / 1000000)) ms"
q "INSERT INTO u SELECT g, 3 FROM generate_series(100, 150) g"
check "and applies" caught_up 20
assert_st_equal st_u
CONSUMERS=("${CONSUMERS[@]:1}")
check "SIGTERM: exit 0" consumer_stop
check_eq "dropping the slot: exit 0" "$(code -S trickle -U trickle --drop-slot)" 0
check_eq "its ini file may name everything" "$(printf 'slot = trickle\nusername = trickle\ncheck = on\n' > "$PGT_DIR/bad.ini"; code -c "$PGT_DIR/bad.ini")" 1
done_testing
