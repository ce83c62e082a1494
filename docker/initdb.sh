#!/bin/sh
# Runs once, when the data directory is made: settings, the extension, the consumer's role.
set -eu
conf="$PGDATA/postgresql.conf"
{
    echo "wal_level = logical"
    # Servers since the minors of August 2026 load listed output plugins only; older ones refuse to start with an unknown setting.
    if postgres -D "$PGDATA" -C output_plugin_libraries > /dev/null 2>&1; then
        echo "output_plugin_libraries = 'pgoutput, test_decoding, pgtrickle_output'"
    fi
} >> "$conf"
# The image lets everybody in over the network with a password; the consumer's logical replication connection needs no line of its own.
psql -v ON_ERROR_STOP=1 -v password="${TRICKLE_PASSWORD:?}" -U "$POSTGRES_USER" -d "${POSTGRES_DB:-$POSTGRES_USER}" <<'SQL'
CREATE EXTENSION pg_trickle;
CREATE ROLE trickle LOGIN REPLICATION PASSWORD :'password' IN ROLE pgtrickle_consumer;
SQL
