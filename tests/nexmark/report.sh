#!/usr/bin/env bash
# report.sh: bench.sh, and docs/benchmarks-nexmark.md from what it says.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/tests/lib/report.sh"
export PGT_TIMEOUT=${PGT_TIMEOUT:-3600}
report tests/nexmark/bench.sh NEXMARK_OUT benchmarks-nexmark.md '^| [0-9]' <<PAGE
# Nexmark

Written by \`make bench-nexmark\` on $(date -u +%Y-%m-%d): $(machine)

Persons, auctions and bids (1 : 3 : 46) in transactions of ten events, generated on the same cores; q0 to q9 (\`tests/nexmark/queries.sql\`, windows of 10 seconds) as ten stream tables
with schedule \`continuous\`. A sample is the time from the commit of a row to the moment another session sees its effect in q0, q1, q2, q3, q7 or q9.
A rate counts as sustained when the generator reached it, the waiting did not grow and p99 stayed below a second.

PAGE
