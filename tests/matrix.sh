#!/usr/bin/env bash
# matrix.sh [MAJOR …]: build, regress and one fire test on PostgreSQL 17 (Debian trixie) and 18 (Debian forky).
#
# Each runs inside a cached Debian root (tests/lib/matrix_root.sh) on a copy of this tree.  Where a root cannot be made the line
# says SKIPPED with the reason, and nothing counts as failed.  MATRIX_TESTS chooses other tests, FIRE_SECONDS the length of the fire.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$top/tests/tmp/matrix
declare -A suite=([17]=trixie [18]=forky)
what=${MATRIX_TESTS:-unit regress isolation e2e/smoke e2e/fire}
[ $# -gt 0 ] || set -- 17 18
mkdir -p "$logs"
passed=0
failed=0
work=

cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT TERM

run_major()
{
	local major=$1 root reason log=$logs/$1.log ok bad
	root=$("$top/tests/lib/matrix_root.sh" "${suite[$major]}" "$major" 2> "$logs/reason")
	if [ $? != 0 ]; then
		reason=$(tail -1 "$logs/reason")
		echo "PostgreSQL $major: SKIPPED: $reason"
		return
	fi
	work=$(mktemp -d "$root/tmp/pg_trickle.XXXXXX")
	chmod 755 "$work"
	tar -C "$top" -cf - --exclude='*.o' --exclude='*.so' --exclude='./tests/tmp' --exclude='./.git' --exclude=trickle-consumer . | tar -C "$work" -xf -
	timeout -k 30 "${MATRIX_TIMEOUT:-900}" "$top/tests/lib/in_root.sh" "$root" env -u PGT_TOTALS -u PGT_PRIVATE -u PGT_RUN FIRE_SECONDS="${FIRE_SECONDS:-20}" \
		PG_CONFIG="/usr/lib/postgresql/$major/bin/pg_config" bash "${work#"$root"}/tests/run.sh" $what > "$log" 2>&1
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
	echo "== PostgreSQL $major (Debian ${suite[$major]})"
	run_major "$major"
done
echo "PostgreSQL 16: SKIPPED: no Debian release carries it; built for by the same compat header, untested"
[ -z "${PGT_TOTALS:-}" ] || echo "$passed $failed" >> "$PGT_TOTALS"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
