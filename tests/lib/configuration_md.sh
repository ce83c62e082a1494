#!/usr/bin/env bash
# configuration_md.sh: prints docs/configuration.md, from the extension's settings as a server knows them and from the consumer's one
# option table.  Wants a server with the extension's library (PGHOST …), and trickle-consumer and psql in PGT_BIN or the PATH.
set -euo pipefail
bin=${PGT_BIN:+$PGT_BIN/}
cat <<'MD'
# Configuration

This page is generated (`tests/lib/configuration_md.sh`) from the tables in `extension/guc.c` and `consumer/options.c`.

## Settings of the extension

All begin with `pg_trickle.` and are set like any other parameter: `ALTER SYSTEM SET`, `ALTER DATABASE … SET`, `SET`. Who may is in the column
*context*: `superuser` means superusers and whoever was granted `SET` on the parameter. No `shared_preload_libraries` entry is needed;
but a session knows them only once it has used the extension: before `ALTER SYSTEM SET`, run `LOAD 'pg_trickle'`.

| setting | default | range | context | meaning |
|---|---|---|---|---|
MD
"${bin}psql" -XAtq -v ON_ERROR_STOP=1 <<'SQL'
SET client_min_messages = error;
LOAD 'pg_trickle';
SELECT format('| `%s` | `%s` | %s | %s | %s |', substr(name, 12),
              CASE WHEN vartype = 'bool' OR vartype = 'enum' THEN boot_val ELSE boot_val || coalesce(' ' || unit, '') END,
              CASE vartype WHEN 'enum' THEN '`' || array_to_string(enumvals, '`, `') || '`' WHEN 'bool' THEN '`on`, `off`'
                   ELSE min_val || ' … ' || max_val END,
              context, replace(short_desc || coalesce(' ' || extra_desc, ''), '|', '\|'))
  FROM pg_settings WHERE name LIKE 'pg\_trickle.%' ORDER BY name;
SQL
cat <<'MD'

## Options of trickle-consumer

Every option that is not an action can be given on the command line, in the environment, or in an ini file named by `--config` with lines of the form
`name = value`. The command line wins over the environment, which wins over the file. `SIGHUP` reads the file again; the column *reload* says what that changes.
Sizes take `kB`, `MB`, `GB`; times take `us`, `ms`, `s`, `min`. Connection strings and passwords come only by libpq's own means
(`PGPASSFILE`, service files, `PGSSLMODE` and so on) and are never logged.

MD
"${bin}trickle-consumer" --print-options-md
