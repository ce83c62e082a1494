#!/usr/bin/env bash
# many.sh: STS (1000) stream tables over 50 sources: creation, the plan, memory, what a tick with nothing to do costs, and how long a change takes.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=512MB max_wal_size=8GB max_locks_per_transaction=1024 "pg_trickle.barrier_timeout=60s"
extension_new
consumer_start "$PGT_SLOT" --workers=2
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/bench/many.py" "${STS:-1000}" "${CONSUMERS[-1]}" >> "${PGT_BENCH_OUT:-/dev/stdout}" || fail "the benchmark ran"
for i in 0 17 $((${STS:-1000} - 1)); do
	check_sql "stream table $i is its query" "SELECT * FROM pgtrickle.verify_stream_table('st$i')" "0|0"
done
check_sql "nothing failed" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE status = 'FAILED'" 0
done_testing
