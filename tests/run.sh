#!/usr/bin/env bash
# run.sh [suite | suite/test | file …]: build, install into a private tree, run the tests, say `N passed, N failed`.
#
# Suites: unit (cmocka, no server), regress (pg_regress), isolation (pg_isolation_regress), e2e (scripts with server and consumer),
# docs (examples of the documentation), static (what holds for the sources).  Without arguments: all of them.
#
# Everything lives in one directory under $TMPDIR (the server's user must reach it) that goes away at the end, also after Ctrl-C;
# the logs of failed tests are kept in tests/tmp/logs.  PGT_PRIVATE=DIR keeps the private PostgreSQL tree in DIR between runs.
# PGT_JOBS: tests at a time (2).  PGT_TIMEOUT: seconds a test may take (1200).  PGT_BUILD_FLAGS: extra compiler flags.
set -uo pipefail
PGT_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PGT_TOP PG_CONFIG=${PG_CONFIG:-pg_config}
tests=$PGT_TOP/tests
jobs=${PGT_JOBS:-2}
started=$SECONDS

. "$tests/lib/prepare.sh"
make_run_directory
mkdir -p "$PGT_RUN/results"
running=()

cleanup()
{
	local pid code=$?
	trap - EXIT INT TERM
	for pid in ${running[@]+"${running[@]}"}; do kill -TERM "$pid" 2> /dev/null; done
	for pid in ${running[@]+"${running[@]}"}; do wait "$pid" 2> /dev/null; done
	rm -rf "$PGT_RUN"
	exit $code
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---------------------------------------------------------------- what to run

list_suite()
{
	case $1 in
		unit) (cd "$tests" && ls unit/test_*.c 2> /dev/null) ;;
		regress | isolation) [ -z "$(ls "$tests/$1/sql/"*.sql "$tests/$1/specs/"*.spec 2> /dev/null)" ] || echo "$1" ;;
		e2e | docs) (cd "$tests" && ls "$1"/*.sh "$1"/*.py 2> /dev/null | grep -v '/_') ;;
		static) (cd "$tests" && ls check_*.sh 2> /dev/null) ;;
		*) die "no such suite: $1" ;;
	esac
}

list_tests()
{
	local a f
	[ $# -gt 0 ] || set -- static unit regress isolation docs e2e
	for a in "$@"; do
		case $a in
			unit | regress | isolation | e2e | docs | static) list_suite "$a"; continue ;;
		esac
		a=${a#tests/}
		for f in "$a" "$a.sh" "$a.py" "$a.c" "${a/unit\//unit/test_}.c"; do
			[ -f "$tests/$f" ] && { echo "$f"; continue 2; }
		done
		case $a in
			regress/* | isolation/*) echo "$a" ;;
			*) f=$(cd "$tests" && ls ./*/"$a" ./*/"$a".* ./unit/test_"$a".c 2> /dev/null | head -1)
			   case $f in
				   ./regress/*.sql | ./isolation/*.spec) echo "${f#./}" | sed -E 's/\.[a-z]+$//' ;;
				   *) if [ -n "$f" ]; then echo "${f#./}"
					  elif [ -f "$tests/regress/sql/$a.sql" ]; then echo "regress/$a"
					  elif [ -f "$tests/isolation/specs/$a.spec" ]; then echo "isolation/$a"
					  else die "no such test: $a"; fi ;;
			   esac ;;
		esac
	done
}

todo=$(list_tests "$@") || exit 2
[ -n "$todo" ] || die "nothing to run"

# ---------------------------------------------------------------- build and install, once

needs_server() { grep -qvE '^(unit/|check_)' <<< "$todo"; }

PGT_MAJOR=$("$PG_CONFIG" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/') || die "no pg_config: make deps"
export PGT_MAJOR
! needs_server || prepare_server

# ---------------------------------------------------------------- run

command_of()
{
	case $1 in
		unit/*) echo "$tests/lib/unit.sh" ;;
		regress* | isolation*) echo "$tests/lib/regress.sh" ;;
		*.py) echo /usr/bin/python3 ;;
		*) echo bash ;;
	esac
}

argument_of()
{
	case $1 in
		regress* | isolation*) echo "$1" ;;
		*) echo "$tests/$1" ;;
	esac
}

run_one()
{
	local out=$PGT_RUN/results/${1//\//_}.out t0=$SECONDS code child
	# timeout is a process group of its own: pass on what ends the run.
	trap 'kill -TERM $child 2> /dev/null; wait $child; exit 143' TERM INT
	PGT_TEST=${1%.*} timeout -k 30 "${PGT_TIMEOUT:-1200}" "$(command_of "$1")" "$(argument_of "$1")" > "$out" 2>&1 < /dev/null &
	child=$!
	wait $child
	code=$?
	echo "$code $((SECONDS - t0))" > "$out.code"
}

report_one()
{
	local out=$PGT_RUN/results/${1//\//_}.out code secs ok bad skipped
	read -r code secs < "$out.code"
	ok=$(grep -cE '^ok([ :]|$)' "$out")
	bad=$(grep -cE '^not ok([ :]|$)' "$out")
	skipped=$(grep -E '^(SKIPPED|ok .*# SKIP)' "$out" | head -1)
	if [ "$code" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		[ "$code" != 124 ] && [ "$code" != 137 ] || echo "not ok - timeout after $secs s" >> "$out"
	fi
	[ "$code" = 0 ] && [ "$ok" = 0 ] && [ -z "$skipped" ] && { bad=1; echo "not ok - reported nothing" >> "$out"; }
	passed=$((passed + ok))
	failed=$((failed + bad))
	if [ "$bad" != 0 ]; then
		mkdir -p "$PGT_LOGS/${1%.*}"
		cp "$out" "$PGT_LOGS/${1%.*}/output.log"
		printf 'FAILED  %-40s %3d passed, %d failed  %4d s\n' "$1" "$ok" "$bad" "$secs"
		grep -vE '^ok([ :]|$)' "$out" | tail -${PGT_TAIL:-40} | sed 's/^/        /'
	else
		printf 'ok      %-40s %3d passed  %4d s%s\n' "$1" "$ok" "$secs" "${skipped:+  ($skipped)}"
		[ -z "${V:-}" ] || sed 's/^/        /' "$out"
	fi
}

passed=0
failed=0
declare -A test_of=()

reap_one()
{
	local pid
	wait -n -p pid "${running[@]}"
	report_one "${test_of[$pid]}"
	for i in "${!running[@]}"; do [ "${running[$i]}" != "$pid" ] || unset "running[$i]"; done
	running=(${running[@]+"${running[@]}"})
}

for t in $todo; do
	while [ ${#running[@]} -ge "$jobs" ]; do reap_one; done
	run_one "$t" &
	running+=($!)
	test_of[$!]=$t
done
while [ ${#running[@]} -gt 0 ]; do reap_one; done

find "$PGT_LOGS" -type d -empty -delete 2> /dev/null
[ "$failed" = 0 ] || echo "logs of failures: $PGT_LOGS"
[ -z "${PGT_TOTALS:-}" ] || echo "$passed $failed" >> "$PGT_TOTALS"
echo "PostgreSQL $PGT_MAJOR, $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
