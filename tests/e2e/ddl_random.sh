#!/usr/bin/env bash
# A random walk of DDL and DML with the consumer running: never silently wrong, and what one stream table suffers does not stop the others.
# DDL_SECONDS (20), DDL_SEED repeats a run's choices.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new deadlock_timeout=500ms pg_trickle.min_schedule_seconds=1
extension_new
q "CREATE ROLE ann; GRANT ALL ON SCHEMA public TO ann"
consumer_start
export PYTHONDONTWRITEBYTECODE=1
out=$(timeout 300 /usr/bin/python3 "$PGT_TOP/tests/e2e/_ddl.py" "${DDL_SECONDS:-20}" 2>&1)
echo "$out"
PGT_PASSED=$((PGT_PASSED + $(grep -c '^ok - ' <<< "$out")))
grep -q '^not ok - ' <<< "$out" && PGT_FAILED=$((PGT_FAILED + 1))
[ "$(grep -c '^ok - ' <<< "$out")" = 3 ] || fail "the walk came to its end"
check_eq "no crash and no PANIC in the server's log" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
check "the consumer lives" kill -0 "${CONSUMERS[0]}"
consumer_stop TERM
check_eq "and ends in order" $? 0
done_testing
