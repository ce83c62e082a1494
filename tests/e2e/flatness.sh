#!/usr/bin/env bash
# A change of one row touches as many rows and pages over 10^5 rows as over 10^4; a sliding hour reads what left it (tests/bench/flatness.py).
#   SIZES (10000,100000)  SHAPES (all)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
out=$PGT_DIR/flatness.out
/usr/bin/python3 -u "$PGT_TOP/tests/bench/flatness.py" --sizes "${SIZES:-10000,100000}" ${SHAPES:+--shapes "$SHAPES"} > "$out" 2>&1
result=$?
while read -r line; do
	case $line in
		"ok - "*) pass "${line#ok - }" ;;
		"not ok - "*) fail "${line#not ok - }" ;;
		*) echo "# $line" ;;
	esac
done < "$out"
check_eq "everything was measured" "$result" 0
done_testing
