#!/usr/bin/env bash
# run.sh [name …]: all benchmarks, one after the other, and docs/benchmarks.md from what they print.  Read ratios, not digits.
# With names only those run, and only their sections of the page are written anew; each says when it was measured, and how busy the machine was.
# BENCH_QUICK=1: small sizes, to see that everything runs; the sections then say so.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
out=$(mktemp -d) || exit 2
trap 'rm -rf "$out"' EXIT
page=$top/docs/benchmarks.md
all="plugin_cost plugin_linger apply_rate writers refresh matrix many flatness freshness self_monitoring"
[ $# -gt 0 ] || set -- $all
if [ "${BENCH_QUICK:-}" = 1 ]; then
	export RUNS=3 ROWS=20000 BENCH_ROWS=50000 BENCH_ROUNDS=1 ROUNDS=3 SIZES="${SIZES:-100000}" BENCH_SECONDS=5 SECONDS_EACH=3
else
	export SIZES="${SIZES:-100000 1000000 10000000}"
fi
export PGT_TIMEOUT=${PGT_TIMEOUT:-3600} PGT_JOBS=1
failed=0

# What bounds the figures of a section that misses its target.
remark()
{
	case $1 in
		plugin_cost)
			echo "In transactions of 10 changes every commit is a write to the socket of its own, 2 to 3 µs with the wake-up of the reader; a frame cannot wait for the"
			echo "next commit, since the server's keepalives would claim that it was sent. In transactions of 1,000 (\`TX=1000\`) the ratios are 1.3 to 1.5."
			;;
		apply_rate)
			echo "An update is two rows in the buffer. Walsender, consumer and COPY share the machine's cores, so on two of them the rate follows the CPU of all three; about half of"
			echo "the walsender's is the server's own loop (one look for replies per WAL record), which native replication has, too, and nearly half of COPY's is taking rows apart into columns."
			;;
	esac
}

# The plugin's benches print plain lines and run by themselves; the others are tests that write Markdown.
run_one()
{
	case $1 in
		plugin_*)
			echo "## $2"
			echo
			echo '```text'
			"$here/$1.sh" 2>&1 | grep -v "^INFO: "
			[ "${PIPESTATUS[0]}" = 0 ] || failed=1
			echo '```'
			;;
		apply_rate)
			echo "## $2"
			echo
			echo '```text'
			V=1 "$top/tests/run.sh" "tests/bench/$1.sh" 2>&1 | grep -E '^ *apply_rate |^ *not ok' | sed 's/^ *//'
			[ "${PIPESTATUS[0]}" = 0 ] || failed=1
			echo '```'
			;;
		*)
			: > "$out/part"
			PGT_BENCH_OUT=$out/part "$top/tests/run.sh" "tests/bench/$1.sh" 1>&2 || failed=1
			cat "$out/part"
			;;
	esac
	echo
	[ -z "$(remark "$1")" ] || { remark "$1"; echo; }
}

declare -A title=([plugin_cost]="Plugin: CPU of the walsender per change, against peers" [plugin_linger]="Plugin: live CPU per one-row transaction"
	[apply_rate]="Apply: from the WAL into the buffers")

# Between its markers a section of the page: what was measured now, or else what stands there.
section()
{
	local quick=
	echo "<!-- $1 -->"
	if [ -f "$out/$1" ]; then
		cat "$out/$1"
		[ "${BENCH_QUICK:-}" != 1 ] || quick=" A quick run with small sizes."
		printf '%s\n' "*Measured on $(date -u +%Y-%m-%d), load average $(cat "$out/$1.load") before it.$quick*" ""
	else
		sed -n "/^<!-- $1 -->\$/,/^<!-- end -->\$/p" "$page" | sed '1d;$d'
	fi
	echo "<!-- end -->"
}

for name in "$@"; do
	echo "bench: $name" >&2
	cut -d' ' -f1 /proc/loadavg > "$out/$name.load"
	run_one "$name" "${title[$name]:-$name}" > "$out/$name"
done
{
	echo "# Benchmarks"
	echo
	echo "Written by \`make bench\`: $(nproc) cores, PostgreSQL $("${PG_CONFIG:-pg_config}" --version | sed 's/^PostgreSQL //'). Within a section everything is measured side by side" \
		"in one run; the ratios are the result, the digits belong to the machine."
	echo
	for name in $all; do section "$name"; done
} > "$out/page"
mv "$out/page" "$page"
chmod 644 "$page"
echo "docs/benchmarks.md written" >&2
exit $failed
