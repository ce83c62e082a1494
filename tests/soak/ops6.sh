#!/usr/bin/env bash
# ops6.sh: do fewer refreshes overlap when the consumer listens to df_scheduling_interference?  OPS6_PAIRS (5) pairs of runs of OPS6_SECONDS (20),
# one with pg_trickle.self_monitoring_widen_dispatch and one without, in turns; the same contending stream tables, history emptied before
# each.  What is compared is the sum of overlap_count, as DF-5 says it at the end of a run, by medians.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new client_min_messages=warning jit=off pg_trickle.min_schedule_seconds=0
extension_new
consumer_start "$PGT_SLOT" --workers 4
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/soak/ops6.py" || fail "the runs ran"
PGT_PASSED=1
done_testing
