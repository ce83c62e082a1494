#!/usr/bin/env bash
# Apply rate: from the WAL into the change buffers, against a native logical subscription and COPY BINARY, side by side.
# Transactions of 100 rows on a table of 10 columns.  Each round writes BENCH_ROWS (300000) rows with everything stopped, then each
# contestant drains the same WAL alone; BENCH_ROUNDS (5) rounds, medians and ratios (read the ratios).
# Lines "apply_rate NAME VALUE" are for the report.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=512MB max_wal_size=16GB synchronous_commit=off checkpoint_timeout=1h max_logical_replication_workers=8
extension_new
rows=${BENCH_ROWS:-300000}
rounds=${BENCH_ROUNDS:-5}
cols="id bigint PRIMARY KEY, a int, b int, c bigint, d numeric, e timestamptz, f text, g text, h uuid, i float8"

consumer_start
q "CREATE TABLE src ($cols)"
q "SELECT pgtrickle.create_stream_table('st', 'SELECT id, a, b, c, d, e, f, g, h, i FROM src', schedule => '1d')" 2> /dev/null
consumer_stop
# Nothing refreshes here, so nothing may hold back the slot (each start would decode everything again), nor be trimmed.
q "CREATE OR REPLACE FUNCTION pgtrickle._consumer_horizon(OUT source_relid oid, OUT horizon xid8) RETURNS SETOF record LANGUAGE sql AS
	'SELECT NULL::oid, NULL::xid8 WHERE false'"
q "CREATE OR REPLACE FUNCTION pgtrickle._consumer_trim() RETURNS bigint LANGUAGE sql STRICT AS 'SELECT 0::bigint'"
q "CREATE PUBLICATION p FOR TABLE src"
q "CREATE DATABASE dst"
PGDATABASE=dst q "CREATE TABLE src ($cols)"
q "SELECT pg_create_logical_replication_slot('native', 'pgoutput')" > /dev/null
PGDATABASE=dst q "CREATE SUBSCRIPTION s CONNECTION 'host=$PGHOST port=$PGPORT dbname=postgres user=postgres application_name=native' PUBLICATION p
	WITH (create_slot = false, slot_name = native, copy_data = false, enabled = false, binary = true, synchronous_commit = off)" 2> /dev/null
PGDATABASE=dst q "CREATE TABLE plain_key ($cols)"
PGDATABASE=dst q "CREATE TABLE plain (LIKE plain_key)"

write_inserts()
{
	q "DO \$\$ BEGIN FOR k IN 0..$((rows / 100 - 1)) LOOP
		INSERT INTO src SELECT $1 + k * 100 + g, g, k, g * 1000, g * 1.5, now(), 'text ' || g, md5(g::text), gen_random_uuid(), g / 3.0 FROM generate_series(1, 100) g;
		COMMIT; END LOOP; END \$\$"
}
write_updates()
{
	q "DO \$\$ BEGIN FOR k IN 0..$((rows / 100 - 1)) LOOP
		UPDATE src SET a = a + 1, f = f || 'x' WHERE id > $1 + k * 100 AND id <= $1 + k * 100 + 100;
		COMMIT; END LOOP; END \$\$"
}
now_ms() { date +%s%3N; }

# Polled through one session, so that waiting costs next to nothing.
wait_sql()
{
	q "DO \$\$ BEGIN WHILE NOT ($1) LOOP PERFORM pg_sleep(0.002); COMMIT; END LOOP; END \$\$"
}
# CPU time of processes in ms: the total, and that of the busiest (what bounds the rate where every process has a core)
cpu_of()
{
	cpu_sum=0 cpu_max=0
	local pid ms
	for pid in "$@"; do
		ms=$(awk '{sub(/.*\) /, ""); print ($12 + $13) * 10}' "/proc/$pid/stat")
		cpu_sum=$((cpu_sum + ms))
		[ "$ms" -le $cpu_max ] || cpu_max=$ms
	done
}
# The slot's restart position follows what is confirmed only with records that a checkpoint writes: let it, or the next start decodes
# earlier WAL once more.
settle_slot()
{
	local i lsn
	for i in 1 2 3; do
		q "CHECKPOINT"
		lsn=$(q "SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000))")
		mark > /dev/null
		wait_sql "(SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots WHERE slot_name = 'trickle')"
	done
}
drain_consumer()
{
	local t0
	consumer_spawn "$PGT_SLOT" --ack-bytes=8kB
	wait_sql "EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'trickle-consumer stream')"
	t0=$(now_ms)
	wait_sql "(SELECT applied_lsn >= '$1' FROM pgtrickle_changes.progress)"
	took=$(($(now_ms) - t0))
	# shellcheck disable=SC2046
	cpu_of "${CONSUMERS[-1]}" $(q "SELECT pid FROM pg_stat_activity WHERE application_name IN ('trickle-consumer stream', 'trickle-consumer apply')")
	consumer_stop
}
drain_native()
{
	local t0
	PGDATABASE=dst q "ALTER SUBSCRIPTION s ENABLE"
	wait_sql "EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'native')"
	t0=$(now_ms)
	wait_sql "(SELECT coalesce(max(replay_lsn), '0/0') >= '$1' FROM pg_stat_replication WHERE application_name = 'native')"
	took=$(($(now_ms) - t0))
	# shellcheck disable=SC2046
	cpu_of $(q "SELECT pid FROM pg_stat_activity WHERE application_name = 'native' OR datname = 'dst' AND backend_type = 'logical replication worker'")
	PGDATABASE=dst q "ALTER SUBSCRIPTION s DISABLE"
	wait_sql "NOT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'native')"
}
# Unmeasured: both pass what the other, and COPY, wrote into the same WAL.
pass_the_rest()
{
	local lsn
	consumer_spawn "$PGT_SLOT" --ack-bytes=8kB
	settle_slot
	consumer_stop
	lsn=$(mark)
	drain_native "$lsn"
}
copy_into()
{
	local t0
	t0=$(now_ms)
	PGDATABASE=dst q "COPY $1 FROM '$PGT_DIR/rows.bin' (FORMAT binary)"
	took=$(($(now_ms) - t0))
	PGDATABASE=dst q "TRUNCATE $1"
}
median() { sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
mark() { q "SELECT pg_logical_emit_message(false, 'pgtrickle.barrier', 'sync')"; }

declare -A results
rate() { echo $((rows * 1000 / ($1 > 0 ? $1 : 1))); }
note() { results[$1]+="$(rate $took)"$'\n'; }
note_cpu()
{
	note "$1"
	results["$1 by busiest process"]+="$(rate $cpu_max)"$'\n'
	results["$1 by all CPU"]+="$(rate $cpu_sum)"$'\n'
}
make_server_dir "$PGT_DIR"
for ((r = 0; r < rounds; r++)); do
	for kind in inserts updates; do
		pass_the_rest
		"write_$kind" $((r * rows))
		lsn=$(mark)
		q "CHECKPOINT"
		sleep 0.3                                            # the WAL writer; nothing is measured yet
		drain_consumer "$lsn"; note_cpu "trickle $kind"
		drain_native "$lsn"; note_cpu "native $kind"
	done
	q "COPY (SELECT * FROM src ORDER BY id DESC LIMIT $rows) TO '$PGT_DIR/rows.bin' (FORMAT binary)"
	copy_into plain_key; note "copy with a key"
	copy_into plain; note "copy without index"
	rm -f "$PGT_DIR/rows.bin"
done
declare -A med
for name in "${!results[@]}"; do
	med[$name]=$(printf '%s' "${results[$name]}" | median)
done
printf '%s\n' "${!med[@]}" | sort | while read -r name; do echo "apply_rate $name: ${med[$name]} rows/s"; done
ratio() { awk "BEGIN {printf \"%.1f\", ${med[$1]} / ${med[$2]}}"; }
# On a loaded machine the wall clock says little: then read the ratios by CPU.
for how in "" " by busiest process" " by all CPU"; do
	echo "apply_rate inserts / native$how: $(ratio "trickle inserts$how" "native inserts$how") (target 4)"
	echo "apply_rate updates / native$how: $(ratio "trickle updates$how" "native updates$how") (target 5)"
done
echo "apply_rate inserts / COPY without index: $(ratio "trickle inserts" "copy without index")"
check_sql "native applied everything" "SELECT count(*) FROM src" "$((rows * rounds))"
check_eq "so did its copy" "$(PGDATABASE=dst q "SELECT count(*) FROM src")" "$((rows * rounds))"
check_sql "the buffers hold every row" "SELECT count(*) FROM pgtrickle_changes.changes_$(q "SELECT 'src'::regclass::oid")" "$((rows * rounds * 3))"
done_testing
