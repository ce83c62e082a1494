#!/usr/bin/env bash
# matrix.sh: five kinds of views, 1, 5, 10 and 50 % of ROWS (100000) changed: an incremental refresh, a diff and what AUTO chooses,
# against REFRESH MATERIALIZED VIEW of the same query, side by side; medians of ROUNDS (5).
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=1h work_mem=64MB maintenance_work_mem=512MB autovacuum=off \
	"pg_trickle.barrier_timeout=60s" "pg_trickle.sync_load_limit=64GB" jit=off
extension_new
consumer_start
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/bench/matrix.py" >> "${PGT_BENCH_OUT:-/dev/stdout}" || fail "the benchmark ran"
check_sql "every stream table equals its query" \
	"SELECT count(*) FROM pgtrickle.pgt_stream_tables s, pgtrickle.verify_stream_table(s.pgt_schema || '.' || s.pgt_name) v WHERE v.missing + v.extra > 0" 0
done_testing
