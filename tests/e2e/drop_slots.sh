#!/usr/bin/env bash
# DROP EXTENSION and replication slots: the server cannot decode registrations of sources once the extension has gone, whatever the slot.
# So a drop that would leave somebody's slot unusable is refused, and so is creating the extension in the transaction that made it so.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
q "CREATE TABLE a (x int); CREATE TABLE b (x int); CREATE TABLE theirs (x int); CREATE PUBLICATION theirs FOR TABLE theirs"
q "CREATE DATABASE elsewhere"
extension_new
create() { echo "SELECT pgtrickle.create_stream_table('$1', 'SELECT count(*) AS n FROM $2', '1s');"; }
script() { printf '%s\n' "SET client_min_messages = warning;" "$@" | q_script -v VERBOSITY=verbose 2>&1; }
# inserts into theirs that the slot has yet to tell of
decoded()
{
	q "SELECT count(*) FROM pg_logical_slot_get_binary_changes('other', NULL, NULL, 'proto_version', '1', 'publication_names', 'theirs') WHERE get_byte(data, 0) = ascii('I')"
}
refused() { grep -c "ERROR:  $1: " <<< "$2"; }

# ---- a slot of somebody else's that has a registration still to decode
script "$(create sa a)" > /dev/null
consumer_start
q "SELECT slot_name FROM pg_create_logical_replication_slot('other', 'pgoutput')" > /dev/null
q "SELECT slot_name FROM pg_create_logical_replication_slot('far', 'pgoutput')" -d elsewhere > /dev/null
script "$(create sb b)" > /dev/null
q "INSERT INTO theirs VALUES (1)"
out=$(script "DROP EXTENSION pg_trickle CASCADE")
check_eq "a slot that lags behind a registration: refused" "$(refused 55006 "$out")" 1
check "it is named, with what to do" grep -qE 'slot "other" would become unusable' <<< "$out"
check "all goes on" q "SELECT pgtrickle.refresh_stream_table('sb')"
q "SELECT pgtrickle.drop_stream_table('sb')" > /dev/null
check_eq "it decodes everything" "$(decoded)" 1
q "CHECKPOINT"
check_eq "nothing more" "$(decoded)" 0
script "BEGIN;" "$(create sb b)" "SAVEPOINT s;" "DROP EXTENSION pg_trickle CASCADE;" > "$PGT_DIR/out"
check_eq "what this transaction registers nobody has decoded: refused" "$(refused 55006 "$(cat "$PGT_DIR/out")")" 1
check "what to do: commit first" grep -q 'Commit what this transaction has done' "$PGT_DIR/out"
dropped()
{
	q "CHECKPOINT"
	decoded > /dev/null
	out=$(script "DROP EXTENSION pg_trickle CASCADE")
	[ "$(refused 55006 "$out")" = 0 ]
}
q "INSERT INTO theirs VALUES (2)"
check "caught up: dropped" poll_cmd 60 dropped
check_sql "it has gone" "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trickle'" 0
q "INSERT INTO theirs VALUES (3), (4)"
check_eq "and the slot decodes what comes after" "$(decoded)" 2
q "SELECT pg_drop_replication_slot('other')" > /dev/null

# ---- our own slot: it may lag, but not behind the transaction that installs anew
q "CREATE EXTENSION pg_trickle"
out=$(script "BEGIN;" "$(create sa a)" "DROP EXTENSION pg_trickle CASCADE;" "CREATE EXTENSION pg_trickle;" "COMMIT;")
check_eq "registered, dropped and created in one transaction: refused" "$(refused 55000 "$out")" 1
check "what to do: commit in between" grep -q 'HINT:  Commit, then create the extension' <<< "$out"
poll_until "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'trickle-consumer stream'" 1 30
out=$(script "BEGIN;" "$(create sa a)" "DROP EXTENSION pg_trickle CASCADE;" "COMMIT;" "CREATE EXTENSION pg_trickle;" "$(create sa a)")
check_eq "with a commit in between it goes through" "$(grep -c ERROR <<< "$out")" 0
q "INSERT INTO a VALUES (1)"
check_poll "and the consumer goes on" "SELECT n FROM sa" "$(q "SELECT count(*) FROM a")"
out=$(script "BEGIN;" "DROP EXTENSION pg_trickle CASCADE;" "CREATE EXTENSION pg_trickle;" "$(create sa a)" "COMMIT;")
check_eq "dropped and created in one transaction that had registered nothing" "$(grep -c ERROR <<< "$out")" 0
q "INSERT INTO a VALUES (2)"
check_poll "the consumer goes on again" "SELECT n FROM sa" "$(q "SELECT count(*) FROM a")"
assert_st_equal sa
done_testing
