#!/usr/bin/env bash
# The output plugin alone, through a walsender: a transaction of 10^6 rows, frames of 64 kB, LZ4, linger, large rows.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/plugin.sh"
cluster_new wal_sender_timeout=5s logical_decoding_work_mem=4MB
plugin_new

q "CREATE TABLE big (id int, a text, b int); ALTER TABLE big REPLICA IDENTITY FULL; SELECT reg('big', '{1,2,3}')"
q "CREATE TABLE quiet (id int, a text)"
q "CREATE TABLE mark (id int); SELECT reg('mark', '{1}')"
skip

# recv FILE [options]: stream to the end of what is in the WAL now; pg_recvlogical adds a newline to each frame
recv()
{
	local out=$1 end o opts=()
	shift
	for o in "$@"; do opts+=(-o "$o"); done
	q "INSERT INTO mark VALUES (0)"
	end=$(q "SELECT pg_current_wal_insert_lsn()")
	timeout 120 "$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S s --start "${opts[@]}" -f "$out" --endpos "$end" --no-loop 2>> "$PGT_DIR/recv.log"
}
# split FILE: frames as hex.  Their length is known only for uncompressed ones.
split()
{
	/usr/bin/python3 -c '
import sys
data, at = open(sys.argv[1], "rb").read(), 0
while at < len(data):
    n = 12 + int.from_bytes(data[at + 8:at + 12], "big")
    print(data[at:at + n].hex())
    assert data[at + n:at + n + 1] == b"\n"
    at += n + 1' "$1"
}
field() { tr ' ' '\n' <<< "$1" | sed -n "s/^$2=//p"; }

q "INSERT INTO big SELECT g, 'row ' || g, g % 10 FROM generate_series(1, 1000000) g"
recv "$PGT_DIR/big.bin"
c=$(split "$PGT_DIR/big.bin" | "${PGTFRAME[@]}" count)
check_eq "a transaction of 10^6 rows: every row once" "$(field "$c" row+)" 1000001
check_eq "in one transaction" "$(field "$c" C)" 2
check_eq "its rows in 64 kB frames" "$(($(field "$c" bytes) / $(field "$c" frames) / 1024))" "$(($(field "$c" bytes) / ($(field "$c" bytes) / 65600 + 2) / 1024))"
check "none much larger" [ "$(field "$c" largest)" -lt 66000 ]

q "INSERT INTO quiet SELECT g, repeat('x', 50) FROM generate_series(1, 400000) g"
check "400,000 rows of an unregistered table: no timeout" recv "$PGT_DIR/quiet.bin"
check_eq "and nothing of them is sent" "$(split "$PGT_DIR/quiet.bin" | "${PGTFRAME[@]}" count | tr ' ' '\n' | grep row)" "row+=1"

q "BEGIN; UPDATE big SET b = b + 1 WHERE id <= 20000; DELETE FROM big WHERE id <= 1000; COMMIT"
hex() { q "SELECT data FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, $1)"; }
plain=$(hex "'compression', 'none'" | tee "$PGT_DIR/plain.hex" | "${PGTFRAME[@]}" text | md5sum)
packed=$(hex "'compression', 'lz4'" | tee "$PGT_DIR/packed.hex" | "${PGTFRAME[@]}" text | md5sum)
check_eq "LZ4 frames say the same" "$packed" "$plain"
check "in less" [ "$(($(wc -c < "$PGT_DIR/packed.hex") * 2))" -lt "$(wc -c < "$PGT_DIR/plain.hex")" ]
check_eq "the node id is in the frames" "$(hex "'node', '258'" | cut -c7-10 | sort -u)" 0102
skip

# ---- rows larger than a frame
q "CREATE TABLE fat (id int, a text, b text); ALTER TABLE fat ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, REPLICA IDENTITY FULL; SELECT reg('fat', '{1,2,3}')"
q "INSERT INTO fat VALUES (1, repeat('a', 30000000), repeat('b', 30000000))"
q "UPDATE fat SET a = 'small'"
q "INSERT INTO fat VALUES (2, 'x', 'y')"
drain
check_bag fat 1 "rows of 60 MB"

# ---- linger
q "INSERT INTO big SELECT g, 'x', 1 FROM generate_series(1, 10) g"
check "linger" recv "$PGT_DIR/linger.bin" linger=1000
check_eq "delays and changes nothing" "$(split "$PGT_DIR/linger.bin" | "${PGTFRAME[@]}" text | grep -c '^row public.big')" 10
"$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S s --start -o linger=1000 -f /dev/null --no-loop 2>> "$PGT_DIR/recv.log" &
pid=$!
check_poll "a lingering walsender" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 1
for i in 1 2 3; do q "INSERT INTO mark VALUES ($i)"; done
t0=$(date +%s%N)
kill -INT $pid; wait $pid 2> /dev/null
poll_until "SELECT count(*) FROM pg_stat_replication" 0 10
check "ends within its nap" [ "$((($(date +%s%N) - t0) / 1000000))" -lt 2500 ]
"$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S s --start -o linger=1000 -f /dev/null --no-loop 2>> "$PGT_DIR/recv.log" &
check_poll "and again" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 1
q "INSERT INTO mark VALUES (4)"
check "a fast shutdown is not held up by it" cluster_stop fast
done_testing
