#!/usr/bin/env bash
# lifecycle.sh: stream tables are created, altered, suspended and dropped while writers write, with a consumer at work.
# What a creation or ALTER misses or doubles stays wrong for ever, so each is followed by verify_stream_table.
. "$(dirname "$0")/../lib/cluster.sh"

cluster_new "max_prepared_transactions=10"
extension_new
consumer_start

q_script <<-'SQL'
	CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL, v int, note text);
	CREATE TABLE u (k int PRIMARY KEY, name text);
	INSERT INTO t SELECT i, i % 50, i, 'n' FROM generate_series(1, 5000) i;
	INSERT INTO u SELECT i, 'name ' || i FROM generate_series(0, 49) i;
SQL

# A writer: single and multi-row transactions, updates of keys, deletes, rollbacks of savepoints.  Each has rows of its own
# (odd or even), so that writers never wait for each other: what they wait for is us.
write()
{
	local own=$1 i=0
	while [ ! -e "$PGT_DIR/stop" ]; do
		i=$((i + 1))
		cat <<-SQL
			BEGIN;
			INSERT INTO t SELECT 1000000 + ($i * 10 + g) * 2 + $own, g, $i, 'w' FROM generate_series(0, 5) g;
			UPDATE t SET k = (k + 7) % 50, v = v + 1 WHERE id % 1002 = $i % 501 * 2 + $own;
			SAVEPOINT a; DELETE FROM t WHERE id % 194 = 6 + $own; ROLLBACK TO a;
			DELETE FROM t WHERE id % 998 = $i % 499 * 2 + $own;
			COMMIT;
			UPDATE u SET name = 'name $i' WHERE k = $i % 25 * 2 + $own;
		SQL
	done | "$PGT_BIN/psql" -Xq > /dev/null 2>> "$PGT_DIR/writer.log"
}
write 0 &
writers=($!)
write 1 &
writers+=($!)

verified()
{
	check_sql "$2" "SELECT missing || ',' || extra FROM pgtrickle.verify_stream_table('$1')" 0,0
}

# Creation in one transaction, and in the background, each under writers.
for i in 1 2 3; do
	q "SELECT pgtrickle.create_stream_table('sums', 'SELECT k, sum(v) AS s, count(*) AS n FROM t GROUP BY k', 'continuous')" > /dev/null 2>&1
	verified sums "round $i: created under writers"
	q "SET pg_trickle.sync_load_limit = 0; SELECT pgtrickle.create_stream_table('joined', 'SELECT t.id, t.k, u.name FROM t JOIN u USING (k)', '1s')" > /dev/null 2>&1
	check_poll "round $i: filled in the background" "SELECT status || is_populated FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'joined'" ACTIVEtrue
	verified joined "round $i: filled under writers"
	q "SELECT pgtrickle.create_stream_table('chained', 'SELECT n, count(*) AS c FROM sums GROUP BY n', '1s')" > /dev/null 2>&1
	verified chained "round $i: on a stream table that is being refreshed"

	# the same columns, other columns, back again; a reader hangs on it
	q "SELECT pgtrickle.alter_stream_table('sums', query => 'SELECT k, sum(v) AS s, count(*) AS n FROM t WHERE v > 10 GROUP BY k')" > /dev/null
	verified sums "round $i: altered under writers"
	verified chained "round $i: its reader follows"
	q "SELECT pgtrickle.alter_stream_table('sums', query => 'SELECT k, count(*) AS n, max(v) AS top FROM t GROUP BY k')" > /dev/null
	verified sums "round $i: reshaped under writers"
	verified chained "round $i: its reader follows again"
	q "SET pg_trickle.sync_load_limit = 0; SELECT pgtrickle.alter_stream_table('joined', query => 'SELECT t.id, t.note, u.name FROM t LEFT JOIN u USING (k)')" > /dev/null 2>&1
	check_poll "round $i: filled again in the background" "SELECT status || is_populated FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'joined'" ACTIVEtrue
	verified joined "round $i: reshaped in the background"

	# suspended: it stays what it was, then catches up
	q "SELECT pgtrickle.suspend_stream_table('joined')" > /dev/null
	before=$(q "SELECT refresh_no FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'joined'")
	caught_up > /dev/null
	check_sql "round $i: suspended means not refreshed" "SELECT refresh_no FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'joined'" "$before"
	q "SELECT pgtrickle.resume_stream_table('joined')" > /dev/null
	verified joined "round $i: resumed"

	# readers come and go while the upstream is being refreshed: no refresh may trip over the buffer
	for j in 1 2 3; do
		q "SELECT pgtrickle.drop_stream_table('chained')" > /dev/null 2>&1
		q "SELECT pgtrickle.create_stream_table('chained', 'SELECT n, count(*) AS c FROM sums GROUP BY n', '1s')" > /dev/null 2>&1
	done
	verified chained "round $i: made and dropped again and again"
	check_sql "round $i: no refresh has failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
	q "SELECT pgtrickle.drop_stream_table('sums', true)" > /dev/null 2>&1
	q "SELECT pgtrickle.drop_stream_table('joined')" > /dev/null 2>&1
	check_sql "round $i: dropped under writers" "SELECT count(*) FROM pgtrickle.pgt_sources" 0
done

# Without the index that maintenance wants: slower, not wrong.
q "SET pg_trickle.auto_index = off; SELECT pgtrickle.create_stream_table('bare', 'SELECT u.name, count(*) AS n, sum(t.v) AS s FROM t JOIN u USING (k) GROUP BY u.name', '1s')" > /dev/null 2>&1
caught_up
verified bare "without an index"
check_sql "it is maintained by deltas all the same" "SELECT count(*) > 0 FROM pgtrickle.pgt_refresh_history WHERE action = 'DIFFERENTIAL' AND status = 'COMPLETED' AND pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_name = 'bare')" t
q "SELECT pgtrickle.drop_stream_table('bare')" > /dev/null 2>&1

# Several at once on the same sources, created by sessions that run side by side.
pids=()
for i in 1 2 3 4 5 6; do
	q "SELECT pgtrickle.create_stream_table('side_$i', 'SELECT t.id, u.name, t.v + $i AS w FROM t JOIN u USING (k)', '1s')" >> "$PGT_DIR/side.log" 2>&1 &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail "created side by side"; done
for i in 1 2 3 4 5 6; do verified "side_$i" "side by side: $i"; done
# ... and dropped by sessions that run side by side
pids=()
for i in 1 2 3 4 5 6; do
	q "SELECT pgtrickle.drop_stream_table('side_$i')" >> "$PGT_DIR/side.log" 2>&1 &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail "dropped side by side"; done

# Exactly one of two that take the same name wins.
pids=()
for i in 1 2; do
	q "SELECT pgtrickle.create_stream_table('same', 'SELECT id FROM t')" >> "$PGT_DIR/same.log" 2>&1 &
	pids+=($!)
done
wait "${pids[@]}"
check_poll "one of two of the same name" "SELECT count(*) FROM pgtrickle.pgt_definitions WHERE pgt_name = 'same'" 1
verified same "the one that won"
q "SELECT pgtrickle.drop_stream_table('same')" > /dev/null 2>&1

touch "$PGT_DIR/stop"
wait "${writers[@]}"
check_eq "no writer met an error" "$(grep -c ERROR "$PGT_DIR/writer.log")" 0
check_sql "nothing is left" "SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions) + (SELECT count(*) FROM pgtrickle.pgt_sources)
	+ (SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname ~ '^st_')" 0
done_testing
