# report.sh - a page of docs/ from what a benchmark says.  Sourced; wants top, the top of the tree.

# On what it is measured, to end a sentence.
machine()
{
	echo "$(nproc) cores, PostgreSQL $("${PG_CONFIG:-pg_config}" --version | sed 's/^PostgreSQL //'), load average $(cut -d' ' -f1 /proc/loadavg) when it began."
}

# report BENCH VARIABLE PAGE ROW: runs a benchmark with VARIABLE naming a file that begins with standard input; the file becomes docs/PAGE
# when a line of it matches ROW.  Ends the script with the benchmark's status.
report()
{
	local status
	page=$(mktemp) || exit 2
	trap 'rm -f "$page"' EXIT
	cat > "$page"
	env V=1 "$2=$page" "$top/tests/run.sh" "$1"
	status=$?
	if grep -q "$4" "$page"; then
		cp "$page" "$top/docs/$3"
		chmod 644 "$top/docs/$3"
		echo "docs/$3 written"
	fi
	exit $status
}
