#!/usr/bin/env bash
# check_includes.sh: who may include what, as docs/architecture.md says.
#
# Between parts: plugin/ includes plugin/*.h, extension/compat.h and extension/layout.h; consumer/ includes its own headers and
# plugin/wire.h; extension/ its own.  Inside a part: a header never includes one of a higher rank, and there are no cycles.
# The ranks stand in the block "include ranks" of docs/architecture.md: one line per part, headers from low to high,
# headers of one rank joined by commas.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bad=0
not_ok() { echo "not ok - $1"; bad=1; }

# local_includes FILE: the quoted includes that are files of this tree, as paths from the top.
local_includes()
{
	local inc dir
	dir=$(dirname "$1")
	sed -nE 's/^#[ \t]*include[ \t]+"([^"]+)".*/\1/p' "$1" | while read -r inc; do
		if [ -f "$dir/$inc" ]; then echo "$dir/$inc"; elif [ -f "$inc" ]; then echo "$inc"; fi
	done | sed -E 's,[^/]+/\.\./,,'
}

check_parts()
{
	local file inc allowed n=0
	for file in plugin/*.[ch] consumer/*.[ch] consumer/*/*.[ch] extension/*.[ch]; do
		[ -f "$file" ] || continue
		n=$((n + 1))
		case $file in
			plugin/*) allowed='^(plugin/.*|extension/(compat|layout)\.h)$' ;;
			consumer/*) allowed='^(consumer/.*|plugin/wire\.h)$' ;;
			extension/*) allowed='^extension/.*$' ;;
		esac
		while read -r inc; do
			[ -z "$inc" ] || [[ $inc =~ $allowed ]] || { echo "# $file includes $inc"; not_ok "$file stays inside its part"; }
		done <<< "$(local_includes "$file")"
	done
	[ $n -gt 0 ] && [ $bad = 0 ] && echo "ok - parts include only what they may ($n files)"
}

# Server headers and libpq never meet: the consumer includes no server header, plugin and extension no libpq.
check_worlds()
{
	local before=$bad
	grep -nE '#[ \t]*include[ \t]+"(postgres|fmgr|utils/|access/|catalog/|replication/)' consumer/*.[ch] 2> /dev/null &&
		not_ok "the consumer includes no server header"
	grep -nE '#[ \t]*include[ \t]+[<"]libpq-fe' plugin/*.[ch] extension/*.[ch] 2> /dev/null &&
		not_ok "plugin and extension do without libpq"
	grep -nE '^#[ \t]*(el)?if.*PG_VERSION_NUM' plugin/*.[ch] extension/*.[ch] 2> /dev/null | grep -v '^extension/compat.h' &&
		not_ok "PG_VERSION_NUM is tested in extension/compat.h only"
	[ $bad != "$before" ] || echo "ok - server headers, libpq and version tests are where they belong"
}

# Headers: no cycles, and no include of a higher rank.
check_ranks()
{
	local file inc part rank_file rank_inc before=$bad
	declare -A rank
	while read -r part line; do
		local r=0 word
		for word in $line; do
			r=$((r + 1))
			for file in ${word//,/ }; do rank[$part$file.h]=$r; done
		done
	done <<< "$(sed -n '/^```ranks/,/^```$/p' docs/architecture.md | sed -nE 's,^([a-z]+/) +,\1 ,p')"
	for file in plugin/*.h consumer/*.h extension/*.h; do
		[ -f "$file" ] || continue
		rank_file=${rank[$file]:-}
		[ -n "$rank_file" ] || { echo "# $file has no rank in docs/architecture.md"; continue; }
		while read -r inc; do
			[ -n "$inc" ] || continue
			rank_inc=${rank[$inc]:-0}
			[ "$rank_inc" -lt "$rank_file" ] || [ "${inc%/*}" != "${file%/*}" ] ||
				{ echo "# $file (rank $rank_file) includes $inc (rank $rank_inc)"; not_ok "$file includes downwards"; }
		done <<< "$(local_includes "$file")"
	done
	[ $bad != "$before" ] || echo "ok - headers include downwards"
}

check_parts
check_worlds
[ ! -f docs/architecture.md ] || ! grep -q '^```ranks' docs/architecture.md || check_ranks
exit $bad
