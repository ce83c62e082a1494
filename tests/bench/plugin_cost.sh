#!/usr/bin/env bash
# plugin_cost.sh: CPU time of a walsender per change, for the output plugin and its peers, relative to a plugin that does nothing.
#
# A 20-column table with FULL identity; transactions of TX changes.  The same WAL is decoded from the same position by each plugin in turn
# (copied slots), RUNS times round robin; medians.  Peers are measured when their libraries are installed.
#   RUNS (5)  ROWS (100000)  TX (10)  PEERS (1; 0: only ours)
. "$(dirname "${BASH_SOURCE[0]}")/_plugin.sh"

RUNS=${RUNS:-5} ROWS=${ROWS:-100000} TX=${TX:-10} PEERS=${PEERS:-1}
lib=$("$PGT_BIN/pg_config" --pkglibdir)
system=$(pg_config --pkglibdir)
for p in wal2json decoderbufs; do [ -e "$lib/$p.so" ] || cp "$system/$p.so" "$lib/" 2> /dev/null; done
cluster_new "output_plugin_libraries='pgoutput, test_decoding, pgtrickle_output, pgt_nothing, wal2json, decoderbufs'" \
	autovacuum=off max_replication_slots=20 logical_decoding_work_mem=256MB shared_buffers=512MB max_wal_size=20GB checkpoint_timeout=1h
registry_new
q_script <<'SQL'
CREATE TABLE wide (id int PRIMARY KEY, a int, b bigint, c numeric(12,2), d text, e text, f timestamptz, g date, h bool, i float8,
                   j int, k bigint, l varchar(20), m text, n smallint, o uuid, p timestamptz, q int, r int, s text);
ALTER TABLE wide REPLICA IDENTITY FULL;
CREATE PUBLICATION pub FOR TABLE wide;
CREATE PROCEDURE ins(n int, tx int) LANGUAGE plpgsql AS $$
BEGIN
    FOR g IN 1..n BY tx LOOP
        INSERT INTO wide SELECT x, x, x * 10, x / 7.0, 'customer ' || x % 1000, md5(x::text), '2020-01-01'::timestamptz + x * interval '1 s', '2020-01-01', x % 2 = 0, x / 3.0,
            x % 10, x, 'code ' || x % 50, 'a note of some length for row ' || x, x % 100, md5(x::text)::uuid, '2021-01-01', 1, NULL, 'tail'
            FROM generate_series(g, g + tx - 1) x;
        COMMIT;
    END LOOP;
END $$;
CREATE PROCEDURE upd(n int, tx int) LANGUAGE plpgsql AS $$
BEGIN
    FOR lo IN 1..n BY tx LOOP
        UPDATE wide SET q = q + 1, a = a + 1 WHERE id BETWEEN lo AND lo + tx - 1;
        COMMIT;
    END LOOP;
END $$;
SQL

options_of()
{
	case $1 in
		pgoutput) echo "-o proto_version=1 -o publication_names=pub -o binary=true" ;;
		wal2json) echo "-o format-version=2" ;;
		*) echo "" ;;
	esac
}

# cpu PLUGIN END: nanoseconds of CPU that a walsender spends from its start until it has decoded up to END
cpu()
{
	local slot=bench_$1 pid recv sched
	q "SET client_min_messages = error; SELECT pg_copy_logical_replication_slot('base', '$slot', false, '$1')" > /dev/null || return 1
	# shellcheck disable=SC2046
	PGAPPNAME=$slot "$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S "$slot" --start $(options_of "$1") -f /dev/null --no-loop 2>> "$PGT_DIR/recv.log" &
	recv=$!
	poll_until "SELECT coalesce(max(sent_lsn) >= '$2', false) FROM pg_stat_replication WHERE application_name = '$slot'" t 300 || return 1
	pid=$(q "SELECT pid FROM pg_stat_replication WHERE application_name = '$slot'")
	sched=$(cut -d' ' -f1 "/proc/$pid/schedstat")
	kill -INT $recv
	wait $recv 2> /dev/null
	poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'" f 30
	q "SELECT pg_drop_replication_slot('$slot')" > /dev/null
	echo "$sched"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# measure LABEL CALL PLUGIN…
measure()
{
	local label=$1 call=$2 end p r base
	shift 2
	q "SELECT pg_create_logical_replication_slot('base', 'pgt_nothing')" > /dev/null
	q "$call" || return 1
	end=$(q "SELECT pg_current_wal_insert_lsn()")
	q "SELECT pg_switch_wal()" > /dev/null
	for p in "$@"; do : > "$PGT_DIR/$p.ns"; done
	for ((r = 0; r < RUNS; r++)); do
		for p in "$@"; do cpu "$p" "$end" >> "$PGT_DIR/$p.ns" || { echo "$p failed"; tail -3 "$PGT_DIR/recv.log"; }; done
	done
	base=$(median < "$PGT_DIR/pgt_nothing.ns")
	for p in "$@"; do
		awk -v n="$(median < "$PGT_DIR/$p.ns")" -v b="$base" -v rows="$ROWS" -v l="$label" -v p="$p" \
			'BEGIN { printf "%-34s %-17s %7.2f us per change  %6.2f x\n", l, p, n / rows / 1000, n / b }'
	done
	q "SELECT pg_drop_replication_slot('base')" > /dev/null
}

peers=()
if [ "$PEERS" = 1 ]; then
	peers=(pgoutput test_decoding)
	for p in wal2json decoderbufs; do [ ! -e "$lib/$p.so" ] || peers+=("$p"); done
fi
echo "$ROWS changes in transactions of $TX, median of $RUNS runs"
q "SELECT reg('wide', ARRAY(SELECT generate_series(1, 20)::int2))" > /dev/null
measure "insert, 20 of 20 columns" "CALL ins($ROWS, $TX)" pgt_nothing pgtrickle_output "${peers[@]}"
measure "update, 20 of 20 columns" "CALL upd($ROWS, $TX)" pgt_nothing pgtrickle_output "${peers[@]}"
q "SELECT reg('wide', '{1,2,4,18}', gen => 2)" > /dev/null
measure "update, 4 of 20 columns" "CALL upd($ROWS, $TX)" pgt_nothing pgtrickle_output
q "TRUNCATE wide"
measure "insert, 4 of 20 columns" "CALL ins($ROWS, $TX)" pgt_nothing pgtrickle_output
q "SELECT reg('wide', '{1,10,17}', gen => 3)" > /dev/null
measure "update of unread columns" "CALL upd($ROWS, $TX)" pgt_nothing pgtrickle_output
q "DELETE FROM pgtrickle.pgt_sources; SELECT pgtrickle_test_touch('wide')" > /dev/null
measure "update, not registered" "CALL upd($ROWS, $TX)" pgt_nothing pgtrickle_output
