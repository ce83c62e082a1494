# prepare.sh - the directory of a run, the build, the private PostgreSQL tree and the template cluster: what tests/run.sh and the
# demo share.  Sourced; wants PGT_TOP and PG_CONFIG, exports what tests/lib/cluster.sh needs.

die() { echo "$*" >&2; exit 2; }

# One directory for everything, which the server's user can reach.  The caller removes it.
make_run_directory()
{
	PGT_LOGS=$PGT_TOP/tests/tmp/logs
	PGT_RUN=$(mktemp -d "${TMPDIR:-/tmp}/pgt.XXXXXX") || exit 2
	chmod 711 "$PGT_RUN"
	export PGT_RUN PGT_LOGS
	rm -rf "$PGT_LOGS"
	mkdir -p "$PGT_LOGS"
	[ "$(id -u)" = 0 ] || return 0
	id postgres > /dev/null 2>&1 || die "running as root needs the user postgres: make deps"
	chown postgres: "$PGT_RUN"
}

# A private copy of PostgreSQL with this tree built and installed into it, and a data directory to copy.
prepare_server()
{
	local config private=${PGT_PRIVATE:-$PGT_RUN/pg} jobs=${PGT_JOBS:-2} flags=${PGT_BUILD_FLAGS:-}
	config=$("$PGT_TOP/tests/lib/private_pg.sh" "$private") || die "no private copy of PostgreSQL"
	chmod 755 "$private"
	export PG_CONFIG=$config PGT_TREE=$private
	PGT_BIN=$("$config" --bindir)
	export PGT_BIN PGT_TEMPLATE=$PGT_RUN/template
	make -C "$PGT_TOP" --no-print-directory -j"$jobs" all COPT="$flags" > "$PGT_LOGS/build.log" 2>&1 &&
		make -C "$PGT_TOP" --no-print-directory install COPT="$flags" >> "$PGT_LOGS/build.log" 2>&1 ||
		{ tail -30 "$PGT_LOGS/build.log"; die "build failed, see $PGT_LOGS/build.log"; }
	"$PGT_TOP/tests/lib/template.sh" "$PGT_TEMPLATE" > "$PGT_LOGS/initdb.log" 2>&1 ||
		{ tail -30 "$PGT_LOGS/initdb.log"; die "initdb failed"; }
}
