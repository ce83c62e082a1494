#!/usr/bin/env bash
# report.sh: bench.sh, and docs/benchmarks-tpch.md from what it says.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/tests/lib/report.sh"
export PGT_TIMEOUT=${PGT_TIMEOUT:-7200}
report tests/tpch/bench.sh TPCH_OUT benchmarks-tpch.md '^| q' <<PAGE
# TPC-H

Measured on $(date -u +%Y-%m-%d): $(machine) Both sides run in the same session; the ratios are the result.

PAGE
