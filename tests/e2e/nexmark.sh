#!/usr/bin/env bash
# Nexmark q0 to q9 under a site that keeps inserting: every stream table verified while it does, and once more after corrections
# (tests/nexmark/nexmark.py).  SEED (random) repeats a run's events, not its timing.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new "pg_trickle.min_schedule_seconds=0"
extension_new
consumer_start
seed=${SEED:-$((RANDOM + 1))}
echo "# seed $seed"
checks_of "everything was looked at" /usr/bin/python3 -u "$PGT_TOP/tests/nexmark/nexmark.py" check --seed "$seed" --seconds "${SECONDS_MAX:-8}"
done_testing
