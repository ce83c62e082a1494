# cluster.sh - what every shell test shares: a private cluster, a consumer, SQL, assertions.  Source it first:
#
#   . "$(dirname "$0")/../lib/cluster.sh"
#   cluster_new                       # copied from a template, started; PGHOST, PGPORT, PGUSER, PGDATABASE point at it
#   extension_new                     # CREATE EXTENSION and the consumer's role
#   consumer_start                    # slot `trickle`; created when missing
#   q "SELECT …"                      # psql, unaligned, stops at the first error
#   check_sql "what must hold" "SELECT …" "expected"
#   assert_st_equal public.my_st      # refreshed, then EXCEPT ALL both ways between the ST and its query
#   done_testing
#
# A test reports `ok - name` and `not ok - name` lines; tests/run.sh counts them.  Everything a test starts ends with it, also on
# failure and Ctrl-C; the logs of a failed test are kept in $PGT_LOGS.  A test started by hand sends itself through tests/run.sh,
# which builds, installs into a private tree and makes the template.
#
# Nothing here sleeps for luck: poll_until waits for a condition with a deadline.

set -uo pipefail
PGT_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -z "${PGT_RUN:-}" ]; then
	exec "$PGT_TOP/tests/run.sh" "$(realpath --relative-to="$PGT_TOP/tests" "$0")"
fi

PGT_TEST=${PGT_TEST:-$(basename "$0")}
PGT_DIR=$PGT_RUN/$(echo "$PGT_TEST" | tr / _).$$
PGT_SLOT=trickle
PGT_PASSED=0
PGT_FAILED=0
CONSUMERS=()                            # pids of running consumers, newest last
CLUSTER_DATA=
unset PGOPTIONS PGSERVICE PGPASSWORD
export PGAPPNAME=test PGCONNECT_TIMEOUT=20 LC_ALL=C.UTF-8 LC_MESSAGES=C TZ=UTC

# ---------------------------------------------------------------- the server's user

# PostgreSQL refuses to run as root: then everything of the server runs as the user postgres.
as_server()
{
	if [ "$(id -u)" = 0 ]; then
		(cd / && exec setpriv --reuid postgres --regid postgres --init-groups "$@")
	else
		"$@"
	fi
}

make_server_dir()
{
	mkdir -p "$1"
	chmod 700 "$1"
	[ "$(id -u)" != 0 ] || chown postgres: "$1"
}

# ---------------------------------------------------------------- cluster

# cluster_new [setting=value …]: a new cluster of this test, running.  One per test.
cluster_new()
{
	make_server_dir "$PGT_DIR"
	CLUSTER_DATA=$PGT_DIR/data
	CLUSTER_LOG=$PGT_DIR/server.log
	as_server cp -a "$PGT_TEMPLATE" "$CLUSTER_DATA"
	export PGHOST=$PGT_DIR PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	cluster_set "unix_socket_directories='$PGT_DIR'" "$@"
	cluster_start
}

# cluster_set setting=value …: append to the configuration; takes effect at the next start or reload.
cluster_set()
{
	printf '%s\n' "$@" | as_server tee -a "$CLUSTER_DATA/postgresql.auto.conf" > /dev/null
}

cluster_start()
{
	as_server "$PGT_BIN/pg_ctl" -D "$CLUSTER_DATA" -l "$CLUSTER_LOG" -w -t 60 start > "$PGT_DIR/pg_ctl.log" 2>&1 ||
		{ tail -20 "$CLUSTER_LOG"; fail "server starts"; exit 1; }
}

# cluster_stop [smart|fast|immediate]
cluster_stop()
{
	as_server "$PGT_BIN/pg_ctl" -D "$CLUSTER_DATA" -m "${1:-fast}" -w -t 60 stop > "$PGT_DIR/pg_ctl.log" 2>&1
}

cluster_reload()
{
	as_server "$PGT_BIN/pg_ctl" -D "$CLUSTER_DATA" reload > /dev/null
}

# kill -9 of the postmaster, and wait until the last of its children has gone.
cluster_kill()
{
	local pid children child deadline
	pid=$(head -1 "$CLUSTER_DATA/postmaster.pid")
	children=$(pgrep -P "$pid")
	kill -9 "$pid"
	deadline=$((SECONDS + 20))
	for child in $children; do
		while kill -0 "$child" 2> /dev/null && [ $SECONDS -lt $deadline ]; do sleep 0.02; done
		kill -9 "$child" 2> /dev/null
	done
	rm -f "$CLUSTER_DATA/postmaster.pid"
}

# The server's major version.
server_major()
{
	"$PGT_BIN/postgres" -V | sed -E 's/^[^0-9]*([0-9]+).*/\1/'
}

# ---------------------------------------------------------------- SQL

# q SQL [psql options]: runs as $PGUSER, prints unaligned rows, fails at the first error.
q()
{
	local sql=$1
	shift
	"$PGT_BIN/psql" -XAtq -v ON_ERROR_STOP=1 "$@" -c "$sql"
}

# The same for a script on stdin: every statement its own transaction unless it says otherwise.
q_script()
{
	"$PGT_BIN/psql" -XAtq -v ON_ERROR_STOP=1 "$@" -f -
}

# poll_until SQL EXPECTED [seconds]: waits until SQL prints EXPECTED (30 s); fails with what it printed last.
poll_until()
{
	local sql=$1 expected=$2 deadline=$((SECONDS + ${3:-30})) got=
	while :; do
		got=$(q "$sql" 2>&1)
		[ "$got" = "$expected" ] && return 0
		[ $SECONDS -lt $deadline ] || break
		sleep 0.05
	done
	echo "# waited ${3:-30} s for: $sql"
	echo "# expected: $expected"
	echo "# last got: $got"
	return 1
}

# poll_cmd SECONDS COMMAND…: waits until the command succeeds.
poll_cmd()
{
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.05
	done
}

# ---------------------------------------------------------------- extension and consumer

# The extension, and the role the consumer runs as: LOGIN and REPLICATION, member of pgtrickle_consumer, never a superuser.
extension_new()
{
	q "CREATE EXTENSION pg_trickle" &&
	q "DO \$\$ BEGIN CREATE ROLE trickle LOGIN REPLICATION; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$" &&
	q "GRANT pgtrickle_consumer TO trickle" || { fail "extension is created"; exit 1; }
}

consumer_create_slot()
{
	"$PGT_BIN/trickle-consumer" -h "$PGHOST" -p "$PGPORT" -d "$PGDATABASE" -U trickle -S "${1:-$PGT_SLOT}" --create-slot --if-not-exists \
		>> "$PGT_DIR/consumer.log" 2>&1
}

# consumer_spawn [slot] [options]: starts it and does not wait (for standbys and starts that must fail).
consumer_spawn()
{
	local slot=${1:-$PGT_SLOT}
	[ $# = 0 ] || shift
	"$PGT_BIN/trickle-consumer" -h "$PGHOST" -p "$PGPORT" -d "$PGDATABASE" -U trickle -S "$slot" "$@" >> "$PGT_DIR/consumer.log" 2>&1 &
	CONSUMERS+=($!)
}

# consumer_start [slot] [options]: creates the slot when it is missing, starts, returns once it streams.
consumer_start()
{
	local slot=${1:-$PGT_SLOT}
	consumer_create_slot "$slot" || { tail -5 "$PGT_DIR/consumer.log"; fail "slot is created"; exit 1; }
	consumer_spawn "$@"
	poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'" t 20 ||
		{ tail -20 "$PGT_DIR/consumer.log"; fail "consumer streams"; exit 1; }
}

# Ends the newest consumer with a signal (TERM) and returns its exit code.
consumer_stop()
{
	local n=$((${#CONSUMERS[@]} - 1)) pid
	pid=${CONSUMERS[$n]}
	unset "CONSUMERS[$n]"
	kill "-${1:-TERM}" "$pid" 2> /dev/null
	wait "$pid" 2> /dev/null
}

consumer_kill() { consumer_stop KILL; }

# Waits until everything committed so far is in the buffers.
caught_up()
{
	local lsn
	lsn=$(q "SELECT pg_logical_emit_message(false, 'pgtrickle.barrier', 'sync')")
	q "CHECKPOINT"
	poll_until "SELECT applied_lsn >= '$lsn' FROM pgtrickle_changes.progress" t "${1:-30}"
}

# ---------------------------------------------------------------- assertions

pass() { PGT_PASSED=$((PGT_PASSED + 1)); echo "ok - $1"; }
fail() { PGT_FAILED=$((PGT_FAILED + 1)); echo "not ok - $1"; return 1; }

# check NAME COMMAND…
check()
{
	local name=$1
	shift
	if "$@"; then pass "$name"; else fail "$name"; fi
}

check_eq()
{
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		printf '#      got: %s\n# expected: %s\n' "$2" "$3"
		fail "$1"
	fi
}

# check_sql NAME SQL EXPECTED
check_sql()
{
	check_eq "$1" "$(q "$2" 2>&1)" "$3"
}

# check_poll NAME SQL EXPECTED [seconds]
check_poll()
{
	if poll_until "$2" "$3" "${4:-30}"; then pass "$1"; else fail "$1"; fi
}

# check_error NAME SQL SQLSTATE [text that the message, detail or hint must contain]
check_error()
{
	local out state
	out=$(q "$2" -v VERBOSITY=verbose 2>&1)
	state=$(printf '%s\n' "$out" | sed -nE 's/.*ERROR:  ([0-9A-Z]{5}): .*/\1/p' | head -1)
	if [ "$state" = "$3" ] && { [ -z "${4:-}" ] || [[ $out == *"$4"* ]]; }; then
		pass "$1"
	else
		printf '%s\n' "$out" | sed 's/^/# /'
		echo "# expected SQLSTATE $3${4:+ and: $4}"
		fail "$1"
	fi
}

# st_difference ST: "missing,extra" between the ST's visible columns and its query, in one statement, so at one snapshot.
# Columns of types without an equality are compared by their text.
st_difference()
{
	local sql
	sql=$(q "SELECT format('WITH q AS MATERIALIZED (SELECT %1\$s FROM (%2\$s) AS q(%4\$s)), s AS MATERIALIZED (SELECT %1\$s FROM ONLY %3\$s AS q)
	           SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) d) || '','' || (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) d)',
	         string_agg(format(CASE WHEN t.typname IN ('json', 'xml', 'point', 'box', 'polygon', 'path', 'circle', 'line', 'lseg')
	                                THEN '%I::text' ELSE '%I' END, attname), ', ' ORDER BY attnum),
	         max(rtrim(p.defining_query, '; ')), max(p.pgt_relid)::regclass, string_agg(quote_ident(attname), ', ' ORDER BY attnum))
	         FROM pgtrickle.pgt_stream_tables p JOIN pg_attribute a ON attrelid = pgt_relid JOIN pg_type t ON t.oid = atttypid
	         WHERE pgt_relid = '$1'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt\\_%'") || return 1
	q "$sql"
}

# checks_of WHAT COMMAND...: a program that reports `ok - name` and `not ok - name` lines itself; WHAT: it came to its end.
checks_of()
{
	local what=$1 out=$PGT_DIR/checks.out line result
	shift
	"$@" > "$out" 2>&1
	result=$?
	while read -r line; do
		case $line in
			"ok - "*) pass "${line#ok - }" ;;
			"not ok - "*) fail "${line#not ok - }" ;;
			*) echo "# $line" ;;
		esac
	done < "$out"
	check_eq "$what" "$result" 0
}

# assert_st_equal ST [what]: refreshes ST, then compares it with its query.  Writers must be quiet.
assert_st_equal()
{
	local out
	out=$(q "SELECT pgtrickle.refresh_stream_table('$1')" 2>&1) || { echo "# $out"; fail "${2:-$1 equals its query}"; return 1; }
	check_eq "${2:-$1 equals its query}" "$(st_difference "$1" 2>&1)" "0,0"
}

# assert_st_current ST [what]: the same without a refresh by hand: the scheduler has 10 s for it.
assert_st_current()
{
	local deadline=$((SECONDS + 10))
	while [ "$(st_difference "$1" 2>&1)" != "0,0" ] && [ $SECONDS -lt $deadline ]; do sleep 0.05; done
	check_eq "${2:-$1 equals its query without a refresh}" "$(st_difference "$1" 2>&1)" "0,0"
}

# ---------------------------------------------------------------- ending

# Runs on every exit: ends what was started, keeps the logs when something failed.
cluster_cleanup()
{
	local code=$? pid
	trap - EXIT INT TERM
	for pid in ${CONSUMERS[@]+"${CONSUMERS[@]}"} $(jobs -p); do kill -9 "$pid" 2> /dev/null; done
	[ -z "$CLUSTER_DATA" ] || [ ! -e "$CLUSTER_DATA/postmaster.pid" ] || cluster_stop immediate
	if [ $code != 0 ] && [ -d "$PGT_DIR" ]; then
		mkdir -p "$PGT_LOGS/$PGT_TEST"
		cp "$PGT_DIR"/*.log "$PGT_DIR"/*.out "$PGT_LOGS/$PGT_TEST/" 2> /dev/null
		echo "# logs: $PGT_LOGS/$PGT_TEST"
	fi
	rm -rf "$PGT_DIR"
	exit $code
}
trap cluster_cleanup EXIT
trap 'exit 130' INT TERM

# Ends the test: exit code 0 only when something passed and nothing failed.
done_testing()
{
	[ $PGT_FAILED = 0 ] && [ $PGT_PASSED -gt 0 ]
	exit
}
