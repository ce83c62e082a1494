#!/usr/bin/env bash
# Random queries and transactions through the whole product, every stream table verified (tests/fuzz/engine_fuzz.py).
#   SEED (random)  SECONDS_MAX (30)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new "pg_trickle.min_schedule_seconds=0" "pg_trickle.topk_margin=2" track_activity_query_size=32kB	# margins run out and overflow
extension_new
consumer_start
out=$PGT_DIR/fuzz.out
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -u "$PGT_TOP/tests/fuzz/engine_fuzz.py" --seed "${SEED:-$((RANDOM * 1000))}" --seconds "${SECONDS_MAX:-30}" > "$out" 2>&1
result=$?
cat "$out"
check_eq "no difference was found" "$result" 0
verified=$(sed -nE 's/^# +([0-9]+) verified$/\1/p' "$out")
check_eq "and stream tables were verified" "$([ "${verified:-0}" -gt 50 ] && echo yes || echo "${verified:-0}")" yes
check_sql "no delta program found its stream table other than it had left it" \
	"SELECT string_agg(DISTINCT reason, '; ') FROM pgtrickle.pgt_refresh_history WHERE reason LIKE '%does not hold%'" ""
done_testing
