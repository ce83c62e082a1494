#!/usr/bin/env bash
# Every SQL block of README.md and docs/*.md that is marked ```sql run is executed, page by page, each page on a cluster of its own
# with a running consumer (a page that itself creates the role `trickle` gets its consumer then); a following ```output block must be psql's output of the block's last statement.
# ```sql run error=SQLSTATE must fail with that state.
. "$(dirname "$0")/../lib/cluster.sh"
cd "$PGT_TOP" || exit 1
work=$PGT_DIR.pages
mkdir -p "$work"
trap 'rm -rf "$work"; cluster_cleanup' EXIT

# Writes page.N.sql, and page.N.out or page.N.state where given; prints the number of blocks.
split_page()
{
	awk -v base="$2" '
		/^```sql run/ { n++; file = base "." n ".sql"; print "" > file; copying = 1
		                if (match($0, /error=[0-9A-Z]+/)) print substr($0, RSTART + 6, RLENGTH - 6) > (base "." n ".state"); next }
		/^```output/ && n { file = base "." n ".out"; printf "" > file; copying = 1; next }
		/^```/ { if (copying) close(file); copying = 0; next }
		copying { print > file }
		END { print n + 0 }' "$1"
}

squeeze() { sed -E 's/ +/ /g; s/--+/-/g; s/^ +//; s/ +$//; /^$/d'; }

run_block()
{
	local base=$1 name=$2 out state
	out=$("$PGT_BIN/psql" -Xq -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -f "$base.sql" 2> "$base.err")
	if [ -f "$base.state" ]; then
		state=$(sed -nE 's/.*ERROR:  ([0-9A-Z]{5}): .*/\1/p' "$base.err" | head -1)
		check_eq "$name fails as promised" "$state" "$(cat "$base.state")"
	elif grep -q 'ERROR: ' "$base.err"; then
		sed 's/^/# /' "$base.err"
		fail "$name runs"
	elif [ -f "$base.out" ]; then
		# The output shown is that of the last statement; widths of columns do not count.
		check_eq "$name shows what the page shows" "$(printf '%s\n' "$out" | squeeze | tail -n "$(squeeze < "$base.out" | wc -l)")" "$(squeeze < "$base.out")"
	else
		pass "$name runs"
	fi
}

one_page()
{
	local page=$1 base=$work/${1//\//_} n i
	n=$(split_page "$page" "$base")
	[ "$n" -gt 0 ] || return 0
	cluster_new
	grep -q '^CREATE ROLE trickle' "$page" || extension_new
	for ((i = 1; i <= n; i++)); do
		[ ${#CONSUMERS[@]} -gt 0 ] || [ "$(q "SELECT count(*) FROM pg_roles WHERE rolname = 'trickle'")" = 0 ] || consumer_start
		run_block "$base.$i" "$page, block $i"
	done
	consumer_stop TERM
	cluster_stop fast
	rm -rf "$PGT_DIR"
}

for page in README.md docs/*.md; do one_page "$page"; done
done_testing
