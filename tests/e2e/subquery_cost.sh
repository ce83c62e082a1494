#!/usr/bin/env bash
# One changed row of any source of nested subqueries: a refresh looks at the rows it leads to, in no shape at a whole table (_subquery_cost.py).
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
out=$PGT_DIR/subquery_cost.out
/usr/bin/python3 -u "$PGT_TOP/tests/e2e/_subquery_cost.py" > "$out" 2>&1
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
