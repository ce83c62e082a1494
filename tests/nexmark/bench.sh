#!/usr/bin/env bash
# bench.sh: q0 to q9 kept fresh by the scheduler at rising rates of events: commit to visible (nexmark.py bench).
#   RATES (500,1000,…)  SECONDS_EACH (15)  NEXMARK_OUT: where the Markdown goes
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=1h jit=off "pg_trickle.min_schedule_seconds=0"
extension_new
consumer_start
out=$PGT_DIR/nexmark.out
/usr/bin/python3 -u "$PGT_TOP/tests/nexmark/nexmark.py" bench ${RATES:+--rates "$RATES"} --seconds "${SECONDS_EACH:-15}" > "$out" 2>&1
result=$?
cat "$out"
cat "$out" >> "${NEXMARK_OUT:-/dev/null}"
check_eq "some rate was sustained, and every stream table equals its query" "$result" 0
done_testing
