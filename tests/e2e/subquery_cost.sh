#!/usr/bin/env bash
# One changed row of any source of nested subqueries: a refresh looks at the rows it leads to, in no shape at a whole table (_subquery_cost.py).
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
checks_of "everything was measured" /usr/bin/python3 -u "$PGT_TOP/tests/e2e/_subquery_cost.py"
done_testing
