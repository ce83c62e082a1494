#!/usr/bin/env bash
# demo.sh: a private server with pg_trickle, a shop that takes orders for about a minute, and what came of it, on one screen.
#
# DEMO_SECONDS (60).  KEEP=1 leaves server and consumer running and says how to connect and how to stop them.
set -uo pipefail
PGT_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PGT_TOP PG_CONFIG=${PG_CONFIG:-pg_config} PGT_TEST=demo
started=$SECONDS
. "$PGT_TOP/tests/lib/prepare.sh"
make_run_directory
trap 'rm -rf "$PGT_RUN"' EXIT
trap 'exit 130' INT TERM
prepare_server
. "$PGT_TOP/tests/lib/cluster.sh"
# cluster.sh's own trap ends server and consumer; the directory goes after it.
demo_cleanup() { local code=$?; (exit $code); (trap - EXIT; cluster_cleanup); rm -rf "$PGT_RUN"; exit $code; }
trap demo_cleanup EXIT

cluster_new pg_trickle.min_schedule_seconds=0 shared_buffers=128MB
extension_new
q "SELECT '== PostgreSQL ' || split_part(version(), ' ', 2) || ', pg_trickle ' || pgtrickle.version()"
echo "   built, installed into a private copy of PostgreSQL and started in $((SECONDS - started)) s; nothing of the system is touched"
export PYTHONDONTWRITEBYTECODE=1
consumer_start
/usr/bin/python3 "$PGT_TOP/tests/demo/_demo.py" setup || exit 1
/usr/bin/python3 "$PGT_TOP/tests/demo/_demo.py" run "${DEMO_SECONDS:-60}"
code=$?

if [ -n "${KEEP:-}" ]; then
	trap - EXIT INT TERM
	disown -a
	echo "== Still running."
	echo "   connect:  $PGT_BIN/psql -h $PGHOST -U postgres postgres"
	echo "   stop:     kill ${CONSUMERS[*]}; kill -INT $(head -1 "$CLUSTER_DATA/postmaster.pid"); rm -rf $PGT_RUN"
else
	consumer_stop TERM
	cluster_stop fast
	echo "== Server and consumer are stopped, and the directory is gone.  KEEP=1 make demo leaves them running."
fi
exit $code
