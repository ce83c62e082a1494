#!/usr/bin/env bash
# check_compilers.sh: everything compiles without a warning with gcc and with clang (where it is installed).
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=$(mktemp -d "${PGT_RUN:-/tmp}/compilers.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0

builds_with()
{
	local cc=$1
	mkdir -p "$dir/$cc"
	tar -C "$top" -cf - --exclude='*.o' --exclude='*.so' --exclude=trickle-consumer GNUmakefile VERSION plugin extension consumer sql | tar -C "$dir/$cc" -xf -
	if make -C "$dir/$cc" -k -j"${PGT_JOBS:-2}" all CC="$cc" > "$dir/log" 2>&1; then
		echo "ok - builds with $cc"
	else
		grep -E 'error:|warning:|undefined reference' "$dir/log" | cut -c1-300 | head -20
		echo "not ok - builds with $cc"
		bad=1
	fi
}

builds_with gcc
if command -v clang > /dev/null; then builds_with clang; else echo "SKIPPED clang: not installed"; fi
exit $bad
