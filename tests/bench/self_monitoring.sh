#!/usr/bin/env bash
# self_monitoring.sh: what a maintained table of statistics saves, and what it costs.  DF-1 read against refresh_efficiency() at HISTORY
# (10000) rows of the last hour of STS (50) stream tables; a refresh of DF-1 at 1, 100 and 10,000 new rows against its query; medians.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=256MB jit=off client_min_messages=warning pg_trickle.enabled=off pg_trickle.barrier_timeout=60s autovacuum=off
extension_new
consumer_start
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/bench/self_monitoring.py" >> "${PGT_BENCH_OUT:-/dev/stdout}" || fail "the benchmark ran"
check_sql "DF-1 equals its query" "SELECT missing, extra FROM pgtrickle.verify_stream_table('pgtrickle.df_efficiency_rolling')" "0|0"
done_testing
