#!/usr/bin/env bash
# flatness.sh: rows and pages that a change of one row touches, over SIZES (100000 1000000) rows, for SHAPES (all) (flatness.py; tests/e2e/flatness.sh is the
# small version), and what a sliding hour reads when rows leave it.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=2GB max_wal_size=16GB checkpoint_timeout=1h work_mem=64MB maintenance_work_mem=512MB autovacuum=off \
	"pg_trickle.barrier_timeout=60s" "pg_trickle.sync_load_limit=64GB" jit=off
extension_new
consumer_start
sizes=${SIZES:-100000 1000000}
out=$PGT_DIR/flatness.out
/usr/bin/python3 -u "$PGT_TOP/tests/bench/flatness.py" --sizes "${sizes// /,}" --repeat 7 --markdown ${SHAPES:+--shapes "$SHAPES"} > "$out" 2>&1
result=$?
grep -v '^|' "$out"
{
	echo "## What a change of one row touches"
	echo
	echo "Rows of tables that the refresh's scans looked at, pages of tables and indexes it touched (in brackets those above the leaves of indexes, which grow by a level now and then),"
	echo "milliseconds of its statements; from \`explain_delta(name, \"analyze\" => true)\`, medians of 7."
	echo
	grep '^|' "$out"
	echo
} >> "${PGT_BENCH_OUT:-/dev/stdout}"
check_eq "everything was measured and is flat" "$result" 0
done_testing
