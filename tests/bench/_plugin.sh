# _plugin.sh - what the benches of the plugin share, sourced first: a server with our parts when tests/run.sh has not made one, the plugin that
# does nothing, and an end that removes it all.
set -uo pipefail
PGT_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PGT_TOP PG_CONFIG=${PG_CONFIG:-pg_config} PGT_TEST=bench_$(basename "$0" .sh)
if [ -z "${PGT_RUN:-}" ]; then
	. "$PGT_TOP/tests/lib/prepare.sh"
	make_run_directory
	prepare_server
	OWN_RUN=$PGT_RUN
fi
. "$PGT_TOP/tests/lib/cluster.sh"
. "$PGT_TOP/tests/lib/plugin.sh"
finish() { local code=$?; (exit $code); (trap - EXIT; cluster_cleanup); [ -z "${OWN_RUN:-}" ] || rm -rf "$OWN_RUN"; exit $code; }
trap finish EXIT
cc -O2 -fPIC -shared -I"$("$PGT_BIN/pg_config" --includedir-server)" -o "$("$PGT_BIN/pg_config" --pkglibdir)/pgt_nothing.so" \
	"$PGT_TOP/tests/bench/nothing/pgt_nothing.c" || exit 1
