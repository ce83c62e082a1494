#!/usr/bin/env bash
# report.sh: bench.sh, and docs/benchmarks-nexmark.md from what it says.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
page=$(mktemp) || exit 2
trap 'rm -f "$page"' EXIT
{
	echo "# Nexmark"
	echo
	echo "Written by \`make bench-nexmark\` on $(date -u +%Y-%m-%d): $(nproc) cores, PostgreSQL $("${PG_CONFIG:-pg_config}" --version | sed 's/^PostgreSQL //')," \
		"load average $(cut -d' ' -f1 /proc/loadavg) when it began."
	echo
	echo "Persons, auctions and bids (1 : 3 : 46) in transactions of ten events, generated on the same cores; q0 to q9 (\`tests/nexmark/queries.sql\`, windows of 10 seconds) as ten stream tables"
	echo "with schedule \`continuous\`. A sample is the time from the commit of a row to the moment another session sees its effect in q0, q1, q2, q3, q7 or q9."
	echo "A rate counts as sustained when the generator reached it, the waiting did not grow and p99 stayed below a second."
	echo
} > "$page"
V=1 PGT_TIMEOUT=${PGT_TIMEOUT:-3600} NEXMARK_OUT=$page "$top/tests/run.sh" tests/nexmark/bench.sh
status=$?
if grep -q '^| [0-9]' "$page"; then
	cp "$page" "$top/docs/benchmarks-nexmark.md"
	chmod 644 "$top/docs/benchmarks-nexmark.md"
	echo "docs/benchmarks-nexmark.md written"
fi
exit $status
