#!/usr/bin/env bash
# Queries that read the clock, under clocks that the test sets, without engine or consumer: named cases and a bounded random search.
#   SEED (1)  ROUNDS (300)  SECONDS_MAX (60)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
out=$PGT_DIR/fuzz.out
/usr/bin/python3 -u "$PGT_TOP/tests/fuzz/clock_fuzz.py" --dsn "" --seed "${SEED:-1}" --rounds "${ROUNDS:-300}" \
	--seconds "${SECONDS_MAX:-60}" > "$out" 2>&1
result=$?
tail -1 "$out" | sed 's/^/# /'
while read -r line; do
	pass "${line#ok }"
done < <(grep '^ok ' "$out")
grep -v '^ok ' "$out" | sed '$d' | sed 's/^/# /'
check_eq "no difference was found" "$result" 0
done_testing
