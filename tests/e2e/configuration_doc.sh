#!/usr/bin/env bash
# docs/configuration.md is what the tables say.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
export PGT_BIN
tests_lib=$PGT_TOP/tests/lib
"$tests_lib/configuration_md.sh" > "$PGT_DIR/configuration.md" || fail "the page can be generated"
check "docs/configuration.md is up to date (tests/lib/configuration_md.sh writes it)" \
	diff "$PGT_TOP/docs/configuration.md" "$PGT_DIR/configuration.md"
done_testing
