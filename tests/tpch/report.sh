#!/usr/bin/env bash
# report.sh: bench.sh, and docs/benchmarks-tpch.md from what it says.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
page=$(mktemp) || exit 2
trap 'rm -f "$page"' EXIT
{
	echo "# TPC-H"
	echo
	echo "Measured on $(date -u +%Y-%m-%d): $(nproc) cores, PostgreSQL $("${PG_CONFIG:-pg_config}" --version | sed 's/^PostgreSQL //')," \
		"load average $(cut -d' ' -f1 /proc/loadavg) when it began. Both sides run in the same session; the ratios are the result."
	echo
} > "$page"
V=1 PGT_TIMEOUT=${PGT_TIMEOUT:-7200} TPCH_OUT=$page "$top/tests/run.sh" tests/tpch/bench.sh
status=$?
if grep -q '^| q' "$page"; then
	cp "$page" "$top/docs/benchmarks-tpch.md"
	chmod 644 "$top/docs/benchmarks-tpch.md"
	echo "docs/benchmarks-tpch.md written"
fi
exit $status
