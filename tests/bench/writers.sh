#!/usr/bin/env bash
# writers.sh: what capture costs writers: rate of updates and WAL per row for a bare table, FULL identity, our capture (consumer
# running, consumer stopped) and two ways of capturing by triggers.  Alternating rounds (ROUNDS, 5), medians, ratios to bare.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=512MB max_wal_size=16GB checkpoint_timeout=1h autovacuum=off synchronous_commit=off
extension_new
rounds=${ROUNDS:-5}
kinds="bare full_identity captured stopped row_trigger statement_trigger"
for k in $kinds; do
	q "CREATE TABLE $k (id int PRIMARY KEY, a int, b bigint, c text, d timestamptz, e numeric, f int, g text, h bool, i float8);
	   INSERT INTO $k SELECT g, g, g, 'text ' || g, now(), g * 1.5, g % 10, md5(g::text), true, g / 3.0 FROM generate_series(1, 100000) g"
	q "VACUUM ANALYZE $k"
	[ $k = bare ] || [ $k = row_trigger ] || [ $k = statement_trigger ] || q "ALTER TABLE $k REPLICA IDENTITY FULL"
done
for k in row_trigger statement_trigger; do
	q "CREATE TABLE log_$k (op \"char\", o $k, n $k)"
done
q "CREATE FUNCTION row_capture() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO log_row_trigger VALUES ('U', old, new); RETURN NULL; END \$\$;
   CREATE TRIGGER c AFTER UPDATE ON row_trigger FOR EACH ROW EXECUTE FUNCTION row_capture();
   CREATE FUNCTION statement_capture() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
     INSERT INTO log_statement_trigger SELECT '-', ROW(o.*)::statement_trigger, NULL FROM o; INSERT INTO log_statement_trigger SELECT '+', NULL, ROW(n.*)::statement_trigger FROM n; RETURN NULL; END \$\$;
   CREATE TRIGGER c AFTER UPDATE ON statement_trigger REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION statement_capture()"
consumer_start
for k in captured stopped; do
	q "SELECT pgtrickle.create_stream_table('st_$k', 'SELECT f, count(*) AS n, sum(a) AS s FROM $k GROUP BY f', schedule => '1d')" > /dev/null
done
# One client, statements of 1,000 rows; prints milliseconds and WAL bytes.
run_load() { "$PGT_BIN/psql" -XAtq -F ' ' -v ON_ERROR_STOP=1 <<< "SELECT pg_current_wal_insert_lsn() AS l, clock_timestamp() AS t \gset
DO \$\$ BEGIN FOR k IN 0..19 LOOP UPDATE $1 SET a = a + 1, c = 'text ' || a WHERE id > k * 5000 AND id <= k * 5000 + 1000; COMMIT; END LOOP; END \$\$;
SELECT round(extract(epoch FROM clock_timestamp() - :'t') * 1000), pg_current_wal_insert_lsn() - :'l'"; }
median() { sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
for ((r = 0; r <= rounds; r++)); do
	for k in $kinds; do
		q "VACUUM $k"
		q "CHECKPOINT"
		[ $k != stopped ] || consumer_stop TERM
		read -r ms wal <<< "$(run_load $k)"
		[ $k != stopped ] || consumer_start
		[ $r = 0 ] || { echo "$ms" >> "$PGT_DIR/$k.ms"; echo "$wal" >> "$PGT_DIR/$k.wal"; }
	done
done
declare -A name=([bare]="bare table" [full_identity]="REPLICA IDENTITY FULL, no capture" [captured]="captured, consumer running" [stopped]="captured, consumer stopped"
	[row_trigger]="row trigger" [statement_trigger]="statement trigger")
{
	echo "## Writers: rate with capture, statements of 1,000 updated rows"
	echo
	echo "20,000 rows of 10 columns updated by one client, medians of $rounds alternating rounds. The rate is relative to the bare table, WAL is per row."
	echo
	echo "| | rate | WAL per row |"
	echo "|---|---|---|"
	bare_ms=$(median < "$PGT_DIR/bare.ms") bare_wal=$(median < "$PGT_DIR/bare.wal")
	for k in $kinds; do
		awk -v n="${name[$k]}" -v ms="$(median < "$PGT_DIR/$k.ms")" -v b="$bare_ms" -v w="$(median < "$PGT_DIR/$k.wal")" -v bw="$bare_wal" \
			'BEGIN {printf "| %s | %.2f | %.2f x |\n", n, b / ms, w / bw}'
	done
	echo
	awk -v f="$(median < "$PGT_DIR/full_identity.ms")" -v c="$(median < "$PGT_DIR/captured.ms")" -v s="$(median < "$PGT_DIR/stopped.ms")" \
		'BEGIN {printf "At equal identity: %.2f of the rate with the consumer running (it shares the two cores), %.2f with it stopped.\n", f / c, f / s}'
} >> "${PGT_BENCH_OUT:-/dev/stdout}"
assert_st_equal st_captured
assert_st_equal st_stopped
done_testing
