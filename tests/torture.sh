#!/usr/bin/env bash
# torture.sh: the long figures.  2 minutes of fire with 30 s transactions, 50 kill rounds, a transaction of 10^7 rows, the broken
# builds, the first load of 1 GB.  The log goes to docs/torture.log.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || set -- e2e/fire e2e/fire_broken e2e/kill e2e/big_tx e2e/first_load
export FIRE_SECONDS=${FIRE_SECONDS:-120} FIRE_LONG=${FIRE_LONG:-30} KILL_ROUNDS=${KILL_ROUNDS:-50}
export LOAD_MB=${LOAD_MB:-1000} BIG_ROWS=${BIG_ROWS:-10000000} BIG_DEADLINE=${BIG_DEADLINE:-900} PGT_TIMEOUT=${PGT_TIMEOUT:-3600} PGT_JOBS=1 V=1
{
	echo "make torture, $(date -u +%Y-%m-%d), $(nproc) cores"
	echo "fire $FIRE_SECONDS s with transactions of $FIRE_LONG s, $KILL_ROUNDS kill rounds, $BIG_ROWS rows, first load of $LOAD_MB MB"
	"$top/tests/run.sh" "$@"
} 2>&1 | sed -u "s,$top/,,g" | tee "$top/docs/torture.log"
exit "${PIPESTATUS[0]}"
