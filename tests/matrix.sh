#!/usr/bin/env bash
# matrix.sh [MAJOR …]: build, unit, regress, isolation, the smoke and a fire test on PostgreSQL 16 (the PyPI wheel pgserver), 17 (Debian
# trixie) and 18 (Debian forky).
#
# 17 and 18 run inside a cached Debian root (tests/lib/matrix_root.sh), 16 on this system from an unpacked wheel (tests/lib/wheel_root.sh);
# each on a copy of this tree.  Where a server cannot be had the line says SKIPPED with the reason, and nothing counts as failed.
# MATRIX_TESTS chooses other tests, FIRE_SECONDS the length of the fire.  The unit tests know no server, so 16, on this system, does without.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$top/tests/tmp/matrix
declare -A from=([16]="wheel pgserver" [17]="Debian trixie" [18]="Debian forky")
what='regress isolation e2e/smoke e2e/fire'
[ $# -gt 0 ] || set -- 16 17 18
mkdir -p "$logs"
passed=0
failed=0
work=
# What a make that runs this was told of its server is not for these.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES

cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT TERM

# server MAJOR: sets config, its pg_config; root, where it lives ("": on this system); place, for temporary files, seen from here;
# within, the command that runs something there; and adds to what is tested.
server()
{
	case ${from[$1]:-} in
		wheel*)
			config=$("$top/tests/lib/wheel_root.sh" "$1" 2> "$logs/reason") || return
			root= place=${TMPDIR:-/tmp}
			within=(env LD_LIBRARY_PATH="$(realpath "${config%/*}/../../../pgserver.libs")")
			;;
		Debian*)
			root=$("$top/tests/lib/matrix_root.sh" "${from[$1]#Debian }" "$1" 2> "$logs/reason") || return
			place=$root/tmp
			what="unit $what"
			config=/usr/lib/postgresql/$1/bin/pg_config
			within=("$top/tests/lib/in_root.sh" "$root")
			;;
		*)
			echo "no place is known to get it from" > "$logs/reason"
			return 1
			;;
	esac
}

run_major()
{
	local major=$1 root place config within what=$what log=$logs/$1.log ok bad
	if ! server "$major"; then
		echo "PostgreSQL $major: SKIPPED: $(tail -1 "$logs/reason")"
		return
	fi
	work=$(mktemp -d "$place/pg_trickle.XXXXXX")
	chmod 755 "$work"
	tar -C "$top" -cf - --exclude='*.o' --exclude='*.so' --exclude='./tests/tmp' --exclude='./.git' --exclude=trickle-consumer . | tar -C "$work" -xf -
	timeout -k 30 "${MATRIX_TIMEOUT:-900}" "${within[@]}" env -u PGT_TOTALS -u PGT_PRIVATE -u PGT_RUN FIRE_SECONDS="${FIRE_SECONDS:-20}" \
		PG_CONFIG="$config" bash "${work#"$root"}/tests/run.sh" ${MATRIX_TESTS:-$what} > "$log" 2>&1
	if ! grep -qE '^[0-9]+ passed, [0-9]+ failed$' "$log"; then
		tail -30 "$log"
		echo "PostgreSQL $major: ended without a result, see $log"
		failed=$((failed + 1))
	else
		grep -vE '^[0-9]+ passed' "$log"
		read -r ok bad <<< "$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log" | tail -1)"
		passed=$((passed + ok))
		failed=$((failed + bad))
		[ "$bad" = 0 ] || { rm -rf "${logs:?}/$major"; cp -r "$work/tests/tmp/logs" "$logs/$major"; }
	fi
	rm -rf "$work"
	work=
}

for major in "$@"; do
	echo "== PostgreSQL $major${from[$major]:+ (${from[$major]})}"
	run_major "$major"
done
[ -z "${PGT_TOTALS:-}" ] || echo "$passed $failed" >> "$PGT_TOTALS"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
