#!/usr/bin/env bash
# A change of one row touches as many rows and pages over 10^5 rows as over 10^4; a sliding hour reads what left it (tests/bench/flatness.py).
#   SIZES (10000,100000)  SHAPES (all)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start
checks_of "everything was measured" /usr/bin/python3 -u "$PGT_TOP/tests/bench/flatness.py" --sizes "${SIZES:-10000,100000}" ${SHAPES:+--shapes "$SHAPES"}
done_testing
