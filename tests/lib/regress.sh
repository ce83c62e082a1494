#!/usr/bin/env bash
# regress.sh SUITE | SUITE/TEST: pg_regress (regress) or pg_isolation_regress (isolation) against a cluster of its own.
#
# The schedule lists tests that run in parallel or in a certain order; all others follow.  A consumer runs beside it when the suite has a file `consumer` with its options.
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
suite=${1%%/*}
one=
[ "$suite" = "$1" ] || one=${1#*/}
dir=$PGT_TOP/tests/$suite
out=$PGT_DIR/output

cluster_new
createdb_sql="CREATE DATABASE regression TEMPLATE template0; ALTER DATABASE regression SET timezone = 'UTC'; ALTER DATABASE regression SET lc_messages = 'C'"
printf '%s;\n' "$createdb_sql" | q_script || { fail "database is created"; exit 1; }
export PGDATABASE=regression
extension_new
if [ -f "$dir/consumer" ]; then
	# tests say themselves when to refresh
	q "ALTER DATABASE regression SET pg_trickle.enabled = off" || { fail "schedules are off"; exit 1; }
	consumer_start "$PGT_SLOT" $(cat "$dir/consumer")
fi

pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
case $suite in
	regress) driver=$pgxs/src/test/regress/pg_regress inputs=sql ;;
	isolation) driver=$pgxs/src/test/isolation/pg_isolation_regress inputs=specs ;;
esac
mkdir -p "$out"
# Tests that the schedule does not name run after it, one by one.
full_schedule()
{
	local f name
	cat "$dir/schedule"
	for f in "$dir/$inputs"/*.*; do
		name=$(basename "${f%.*}")
		grep -qwE "^test:.* $name" "$dir/schedule" || echo "test: $name"
	done
}

full_schedule > "$PGT_DIR/schedule"
if [ -n "$one" ]; then what=("$one"); else what=("--schedule=$PGT_DIR/schedule"); fi
# 15 looks for expected/ in the input directory, later versions want to be told.
[ "$PGT_MAJOR" -lt 16 ] || what+=("--expecteddir=$dir")
# pg_regress sets styles and time zone for psql; ours are the cluster's: ISO, UTC.
"$driver" --launcher="env -u PGDATESTYLE -u PGTZ -u PGOPTIONS" --inputdir="$dir" --outputdir="$out" --bindir="$PGT_BIN" --use-existing --dbname=regression \
	--host="$PGHOST" --port="$PGPORT" --user=postgres "${what[@]}" > "$PGT_DIR/regress.out" 2>&1
code=$?
# PostgreSQL 15 says `test name ... ok  12 ms`, later ones TAP.
sed -nE 's/^(test)? +([a-z0-9_]+) +\.\.\. +ok.*/ok - \2/p; t; s/^(test)? +([a-z0-9_]+) +\.\.\. +FAILED.*/not ok - \2/p; t; /^(not )?ok /p' "$PGT_DIR/regress.out"
if [ $code != 0 ]; then
	grep -vE '^(test|ok)' "$PGT_DIR/regress.out" | sed 's/^/# /' | tail -20
	head -200 "$out/regression.diffs" 2> /dev/null
	mkdir -p "$PGT_LOGS/$suite"
	cp -r "$out/regression.diffs" "$out/results" "$PGT_LOGS/$suite/" 2> /dev/null
fi
exit $code
