#!/usr/bin/env bash
# format.sh [--check]: format the C sources with the pinned clang-format; --check says which differ.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
pinned=14
tool=$(command -v clang-format-$pinned || command -v clang-format) || { echo "clang-format $pinned is not installed" >&2; exit 1; }
"$tool" --version | grep -q "version $pinned\." || { echo "clang-format $pinned is wanted, this is: $("$tool" --version)" >&2; exit 1; }
mapfile -t files < <(ls plugin/*.[ch] consumer/*.[ch] extension/*.[ch] tests/unit/*.[ch] 2> /dev/null)
if [ "${1:-}" = --check ]; then
	bad=0
	for f in "${files[@]}"; do
		"$tool" "$f" | cmp -s - "$f" || { echo "not formatted: $f"; bad=1; }
	done
	exit $bad
fi
"$tool" -i "${files[@]}"
