#!/usr/bin/env bash
# The delta compiler alone, without engine, consumer or plugin: the named regressions, every type as column, key and join column, and
# a bounded random search.  A difference prints its seed; tests/fuzz/compiler_fuzz.py --seed N repeats it.
#   SEED (1)  ROUNDS (400)  SECONDS_MAX (90)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
out=$PGT_DIR/fuzz.out
/usr/bin/python3 -u "$PGT_TOP/tests/fuzz/compiler_fuzz.py" --dsn "" --cases --seed "${SEED:-1}" --rounds "${ROUNDS:-400}" \
	--seconds "${SECONDS_MAX:-90}" > "$out" 2>&1
result=$?
tail -1 "$out" | sed 's/^/# /'
while read -r line; do
	pass "${line#ok }"
done < <(grep '^ok ' "$out")
grep -v '^ok ' "$out" | sed '$d' | sed 's/^/# /'
check_eq "no difference was found" "$result" 0
done_testing
