#!/usr/bin/env bash
# drop_extension.sh: DROP EXTENSION leaves nothing behind, at any moment; a rollback of it leaves everything; afterwards all begins anew.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0

# What is ours, or was changed by us, outside of the tables of the test itself.
leftovers="SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgtrickle%') || ' schemas, '
	|| (SELECT count(*) FROM pg_event_trigger) || ' event triggers, '
	|| (SELECT count(*) FROM pg_trigger WHERE tgname ~ 'pgt|trickle') || ' triggers, '
	|| (SELECT count(*) FROM pg_proc WHERE prosrc LIKE 'pgt\_%' AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')) || ' functions, '
	|| (SELECT count(*) FROM pg_class WHERE relname IN ('sums', 'names', 'early')) || ' stream tables, '
	|| (SELECT string_agg(relname || '=' || relreplident::text, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('keyless', 'keyed'))"
clean="0 schemas, 0 event triggers, 0 triggers, 0 functions, 0 stream tables, keyed=d keyless=d"

fill()
{
	extension_new
	printf '%s\n' "SET client_min_messages = warning;" \
		"SELECT pgtrickle.create_stream_table('sums', 'SELECT b, sum(a) AS a FROM keyless GROUP BY b', '1s');" \
		"SELECT pgtrickle.create_stream_table('names', 'SELECT k.id, k.name, s.a FROM keyed k JOIN sums s ON s.b = k.id', '1s');" | q_script
}

q_script <<-'SQL'
	CREATE TABLE keyless (a int, b int);
	CREATE TABLE keyed (id int PRIMARY KEY, name text);
	INSERT INTO keyless SELECT i, i % 5 FROM generate_series(1, 100) i;
	INSERT INTO keyed SELECT i, 'n' || i FROM generate_series(0, 9) i;
SQL
fill
consumer_start
q "UPDATE keyless SET a = a + 1 WHERE b = 3"
assert_st_equal sums "a working installation"
check_sql "a source without a key has identity FULL" "SELECT relreplident FROM pg_class WHERE relname = 'keyless'" f

# Refused while it would take stream tables along, and undone by a rollback.
check_error "DROP EXTENSION without CASCADE names the stream tables" "DROP EXTENSION pg_trickle" 2BP01 "table sums depends on extension pg_trickle"
q "BEGIN; DROP EXTENSION pg_trickle CASCADE; ROLLBACK" 2> /dev/null
q "DELETE FROM keyless WHERE a < 10"
assert_st_equal sums "after a rolled back drop all goes on"
assert_st_equal names "also the one above it"
check_sql "the slot is still there" "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'trickle'" 1

# In use: named in a NOTICE and left alone.
out=$(q "DROP EXTENSION pg_trickle CASCADE" 2>&1)
check "the slot in use is named" test "${out/replication slot \"trickle\" is in use and stays/}" != "$out"
check_sql "nothing is left but the slot" "$leftovers" "$clean"
check_sql "and the slot" "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'trickle'" 1
check_sql "sources are ordinary tables" "WITH w AS (INSERT INTO keyless VALUES (1, 1) RETURNING a) SELECT * FROM w" 1
consumer_stop TERM

# Again, over the old slot; not in use, it goes along, in the very transaction that used everything.
fill
consumer_start
assert_st_equal sums "installed again over the old slot"
consumer_stop TERM
printf '%s\n' "SET client_min_messages = warning;" "BEGIN;" "SELECT pgtrickle.create_stream_table('early', 'SELECT count(*) AS n FROM keyed', '1s');" \
	"DROP EXTENSION pg_trickle CASCADE;" "COMMIT;" | q_script > "$PGT_DIR/drop.out" 2>&1 || { cat "$PGT_DIR/drop.out"; fail "dropped in the transaction that created a stream table"; }
check_sql "nothing is left" "$leftovers" "$clean"
check_sql "nor the slot" "SELECT count(*) FROM pg_replication_slots" 0

fill
consumer_start
q "INSERT INTO keyless VALUES (7, 7)"
assert_st_equal sums "and a third time"
assert_st_equal names "with what reads it"

# Under a consumer that streams and has not yet seen all that was written: the old catalog's changes cannot be decoded any more, and the
# slot must come through all the same.
create="SELECT pgtrickle.create_stream_table('sums', 'SELECT b, sum(a) AS a FROM keyless GROUP BY b', '1s')"
for round in apart together; do
	q "INSERT INTO keyless SELECT i, i % 7 FROM generate_series(1, 500) i"
	case $round in
		apart) printf '%s\n' "SET client_min_messages = warning;" "DROP EXTENSION pg_trickle CASCADE;" "UPDATE keyless SET a = a + 1;" "CREATE EXTENSION pg_trickle;" "$create;" ;;
		together) printf '%s\n' "SET client_min_messages = warning;" "BEGIN;" "DROP EXTENSION pg_trickle CASCADE;" "CREATE EXTENSION pg_trickle;" "$create;" "COMMIT;" ;;
	esac | q_script > /dev/null || fail "dropped and created $round"
	q "INSERT INTO keyless VALUES (1, 8)"
	check_poll "dropped and created $round: the consumer goes on" "SELECT sum(a) = (SELECT sum(a) FROM keyless) FROM sums" t
	assert_st_equal sums "dropped and created $round: equal"
	q "DELETE FROM keyless WHERE b = 8"
	assert_st_equal sums "dropped and created $round: captured again"
	check_sql "dropped and created $round: incrementally" "SELECT action FROM pgtrickle.get_refresh_history('sums', 1)" DIFFERENTIAL
done
done_testing
