#!/bin/sh
# The consumer's container: makes the slot when it is missing, then streams.  PGHOST, PGDATABASE, PGUSER and PGPASSWORD are libpq's.
set -eu
trickle-consumer --slot "${TRICKLE_SLOT:-trickle}" --create-slot --if-not-exists
exec trickle-consumer --slot "${TRICKLE_SLOT:-trickle}" --http 0.0.0.0:9187 "$@"
