#!/usr/bin/env bash
# template.sh DIR: a data directory for test clusters to copy.
#
# Trust among local users of a socket in a directory that only they can enter; no TCP; fsync off (a test that kills the server
# kills processes, not the machine, so nothing is lost that the kernel has).
set -euo pipefail
dir=${1:?usage: template.sh DIR}
as_server()
{
	if [ "$(id -u)" = 0 ]; then (cd / && exec setpriv --reuid postgres --regid postgres --init-groups "$@"); else "$@"; fi
}
as_server "$PGT_BIN/initdb" -D "$dir" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8
as_server tee -a "$dir/postgresql.conf" > /dev/null <<CONF
listen_addresses = ''
wal_level = logical
max_prepared_transactions = 20
max_wal_senders = 10
max_replication_slots = 10
max_connections = 60
fsync = off
shared_buffers = 64MB
max_wal_size = 4GB
log_line_prefix = '%m [%p] %q%a '
log_checkpoints = off
timezone = 'UTC'
datestyle = 'ISO, MDY'
CONF
# Only servers since the minors of August 2026 know the list of permitted output plugins, and older ones refuse to start with it.
if as_server "$PGT_BIN/postgres" -D "$dir" -C output_plugin_libraries > /dev/null 2>&1; then
	as_server tee -a "$dir/postgresql.conf" > /dev/null <<< "output_plugin_libraries = 'pgoutput, test_decoding, pgtrickle_output'"
fi
