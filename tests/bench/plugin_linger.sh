#!/usr/bin/env bash
# plugin_linger.sh: what the option linger saves: CPU of a walsender per one-row transaction at RATE tx/s for several values; and
# of the plugin that does nothing, for comparison.
#   RATE (1000)  SECONDS_EACH (5)  LINGER ("0 2 5 10")
. "$(dirname "${BASH_SOURCE[0]}")/_plugin.sh"

RATE=${RATE:-1000} SECONDS_EACH=${SECONDS_EACH:-5} LINGER=${LINGER:-0 2 5 10}
cluster_new "output_plugin_libraries='pgoutput, test_decoding, pgtrickle_output, pgt_nothing'" autovacuum=off
registry_new
q "CREATE TABLE acc (id int PRIMARY KEY, v int); ALTER TABLE acc REPLICA IDENTITY FULL; INSERT INTO acc SELECT g, 0 FROM generate_series(1, 10000) g; SELECT reg('acc', '{1,2}')" > /dev/null
echo '\set id random(1, 10000)
UPDATE acc SET v = v + 1 WHERE id = :id' > "$PGT_DIR/upd.sql"

# live PLUGIN OPTION…: one line of figures
live()
{
	local plugin=$1 label="$1 ${2:-}" recv pid before after tx opts=()
	[ $# -lt 2 ] || opts=(-o "$2")
	q "SELECT pg_create_logical_replication_slot('live', '$plugin')" > /dev/null
	"$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S live --start "${opts[@]}" -f /dev/null --no-loop 2>> "$PGT_DIR/recv.log" &
	recv=$!
	poll_until "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 1 || return 1
	pid=$(q "SELECT pid FROM pg_stat_replication")
	before=$(cut -d' ' -f1 "/proc/$pid/schedstat")
	"$PGT_BIN/pgbench" -n -f "$PGT_DIR/upd.sql" -c 2 -R "$RATE" -T "$SECONDS_EACH" > "$PGT_DIR/pgbench.out" 2>&1
	after=$(cut -d' ' -f1 "/proc/$pid/schedstat")
	tx=$(sed -n 's/.*transactions actually processed: \([0-9]*\).*/\1/p' "$PGT_DIR/pgbench.out")
	printf '%-32s %6.1f us of walsender CPU per transaction, %5.0f tx/s\n' "$label" "$(bc -l <<< "($after - $before) / 1000 / $tx")" "$(bc -l <<< "$tx / $SECONDS_EACH")"
	kill -INT $recv
	wait $recv 2> /dev/null
	poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = 'live'" f
	q "SELECT pg_drop_replication_slot('live')" > /dev/null
}
live pgt_nothing
for n in $LINGER; do live pgtrickle_output "linger=$n"; done
