#!/usr/bin/env bash
# refresh.sh: what one refresh costs, against REFRESH MATERIALIZED VIEW of the same query, side by side.
# For a join, 50 groups, 100,000 groups and min/max over SIZES (100000 1000000) rows; changes of 1, 100 and 10,000 rows; medians of
# ROUNDS (5).  The time of a refresh is the engine's own (history), without the barrier; the barrier is stated apart.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=1h work_mem=64MB maintenance_work_mem=512MB autovacuum=off \
	"pg_trickle.barrier_timeout=60s" "pg_trickle.sync_load_limit=64GB" jit=off
extension_new
consumer_start
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/bench/refresh.py" ${SIZES:-100000 1000000} >> "${PGT_BENCH_OUT:-/dev/stdout}" || fail "the benchmark ran"
check_sql "every stream table equals its query" \
	"SELECT count(*) FROM pgtrickle.pgt_stream_tables s, pgtrickle.verify_stream_table(s.pgt_schema || '.' || s.pgt_name) v WHERE v.missing + v.extra > 0" 0
done_testing
