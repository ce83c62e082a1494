#!/usr/bin/env bash
# Hostile names everywhere: schemas, tables, columns, types, functions, views, roles and stream tables with quotes, blanks, other alphabets, 63
# bytes, reserved words, format characters, and the names that our own statements use.  Each stream table is created, kept fresh by
# changes, altered, renamed under, read by another, exported, dumped, restored and dropped; the oracle spells its queries itself.
#   NAMES_SEED (1)  NAMES_WORLDS (3)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE DATABASE copy"
consumer_start
/usr/bin/python3 "$(dirname "$0")/_names.py" make "$PGT_DIR/names.pickle" > "$PGT_DIR/names.out" 2>&1
check_eq "the script ended well" $? 0
cat "$PGT_DIR/names.out"
PGT_PASSED=$((PGT_PASSED + $(grep -c '^ok' "$PGT_DIR/names.out")))
PGT_FAILED=$((PGT_FAILED + $(grep -c '^not ok' "$PGT_DIR/names.out")))

"$PGT_BIN/pg_dump" -Fc -f "$PGT_DIR/dump" && "$PGT_BIN/pg_restore" -d copy --exit-on-error "$PGT_DIR/dump"
check_eq "dumped and restored without an error" $? 0
consumer_stop TERM
PGDATABASE=copy PGT_SLOT=trickle_copy consumer_start trickle_copy
PGDATABASE=copy /usr/bin/python3 "$(dirname "$0")/_names.py" restored "$PGT_DIR/names.pickle" > "$PGT_DIR/restored.out" 2>&1
check_eq "the script ended well in the copy" $? 0
cat "$PGT_DIR/restored.out"
PGT_PASSED=$((PGT_PASSED + $(grep -c '^ok' "$PGT_DIR/restored.out")))
PGT_FAILED=$((PGT_FAILED + $(grep -c '^not ok' "$PGT_DIR/restored.out")))
check_eq "no crash" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
done_testing
