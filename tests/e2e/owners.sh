#!/usr/bin/env bash
# owners.sh: owners that change and owners whose things go at once: ALTER … OWNER TO, REASSIGN OWNED, DROP ROLE, DROP OWNED, DROP SCHEMA
# CASCADE; for the owner of stream tables, of sources, and of the extension.  What stays goes on; what goes leaves nothing behind.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0 client_min_messages=warning
extension_new
consumer_start

how="SELECT action || ' ' || status FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 1"
identities="SELECT string_agg(relname || '=' || relreplident::text, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('logs', 'mine', 'yours')"
st() { echo "SELECT pgtrickle.create_stream_table('$1', \$\$$2\$\$, schedule => '1d')"; }

# Whatever was dropped: no definition without its table, no registration that nobody reads, no buffer or inner table of nobody.
nothing_dangles()
{
	check_sql "$1: nothing dangles" "SELECT
		(SELECT count(*) FROM pgtrickle.pgt_definitions d LEFT JOIN pg_class c ON c.oid = d.pgt_relid WHERE c.oid IS NULL) || ' definitions, '
		|| (SELECT count(*) FROM pgtrickle.pgt_dependencies e WHERE NOT EXISTS (SELECT FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = e.pgt_id)) || ' edges, '
		|| (SELECT count(*) FROM pgtrickle.pgt_sources s WHERE NOT EXISTS (SELECT FROM pgtrickle.pgt_dependencies e WHERE e.source_relid = s.relid)) || ' sources, '
		|| (SELECT count(*) FROM pgtrickle.pgt_source_identity i WHERE NOT EXISTS (SELECT FROM pgtrickle.pgt_sources s WHERE s.relid = i.root)) || ' identities, '
		|| (SELECT count(*) FROM pg_class c WHERE relnamespace IN ('pgtrickle_changes'::regnamespace, 'pgtrickle_inner'::regnamespace) AND relkind = 'r'
			AND relname ~ '^st_[0-9]' AND NOT EXISTS (SELECT FROM pgtrickle.pgt_definitions d WHERE c.relname ~ ('^st_' || d.pgt_id || '(_|\$)'))) || ' tables, '
		|| (SELECT count(*) FROM pg_class c WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r'
			AND relname ~ '^changes_[0-9]' AND NOT EXISTS (SELECT FROM pgtrickle.pgt_sources s WHERE c.relname ~ ('^changes_' || s.relid || '(_|\$)'))) || ' buffers'" \
		"0 definitions, 0 edges, 0 sources, 0 identities, 0 tables, 0 buffers"
}

q_script <<-'SQL'
	CREATE ROLE ann; CREATE ROLE ben; CREATE ROLE cy; CREATE ROLE dee;
	CREATE SCHEMA work; GRANT USAGE, CREATE ON SCHEMA work TO ann, ben, cy, dee;
	SET ROLE cy;
	CREATE TABLE work.yours (shop int, amount int);
	INSERT INTO work.yours SELECT i % 7, i FROM generate_series(1, 200) i;
	GRANT SELECT ON work.yours TO ann, ben, dee;
	SET ROLE ann;
	CREATE TABLE work.mine (shop int, amount int);
	INSERT INTO work.mine SELECT i % 7, i FROM generate_series(1, 200) i;
SQL
# only a table's owner can have its identity changed, by a stream table of his own
q "SET ROLE cy; $(st work.first "SELECT amount FROM work.yours")" > /dev/null
best="SELECT shop, sum(amount) AS total FROM work.yours GROUP BY shop ORDER BY total DESC LIMIT 3"
q "SET ROLE ann; $(st work.best "$best"); $(st work.plain "SELECT amount FROM work.yours WHERE shop = 3"); $(st work.both "SELECT m.shop, m.amount, b.total FROM work.mine m JOIN work.best b USING (shop)")" > /dev/null
q "SET ROLE dee; $(st work.others "SELECT shop, count(*) AS n FROM work.yours GROUP BY shop")" > /dev/null
q "SELECT pgtrickle.drop_stream_table('work.first')"
inner="SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_inner'::regnamespace AND relkind = 'r'"
check_sql "one of them has an inner table" "$inner" 1
check_sql "sources without keys have identity FULL" "$identities" "mine=f yours=f"

# ---------------------------------------------------------------- another owner

check_error "a role that owns stream tables cannot be dropped" "DROP ROLE ann" 2BP01 "owner of table work.best"
q "ALTER TABLE work.plain OWNER TO ben; UPDATE work.yours SET amount = amount + 1 WHERE shop = 3"
q "SET ROLE ben; SELECT pgtrickle.refresh_stream_table('work.plain')" > /dev/null
check_sql "ALTER TABLE OWNER TO: the new owner's refresh is incremental" "$how" "DIFFERENTIAL COMPLETED"
assert_st_equal work.plain
check_sql "and is the owner" "SELECT pgt_owner FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'plain'" ben

# No event trigger sees REASSIGN OWNED; the usual end of a role.
q "GRANT USAGE, CREATE ON SCHEMA public TO ann; REASSIGN OWNED BY ann TO ben; DROP OWNED BY ann; DROP ROLE ann" && pass "REASSIGN OWNED, DROP OWNED, DROP ROLE" || fail "REASSIGN OWNED, DROP OWNED, DROP ROLE"
q "UPDATE work.yours SET amount = amount + 1000 WHERE shop = 5"
q "SET ROLE ben; SELECT pgtrickle.refresh_stream_table('work.best')" > /dev/null
check_sql "REASSIGN OWNED: the new owner's refresh is incremental" "$how" "DIFFERENTIAL COMPLETED"
for t in best plain both others; do assert_st_equal "work.$t" "reassigned: $t equals its query"; done
check_sql "and is the owner of all" "SELECT string_agg(DISTINCT pgt_owner, ' ') FROM pgtrickle.pgt_stream_tables WHERE pgt_name <> 'others'" ben
check_sql "nothing else was granted" "SELECT string_agg(DISTINCT a.grantee::regrole::text, ' ') FROM pg_class c, aclexplode(c.relacl) a WHERE relnamespace = 'pgtrickle_inner'::regnamespace AND a.grantee <> c.relowner" ben
q "ALTER ROLE ben RENAME TO bob; UPDATE work.yours SET amount = amount - 1 WHERE shop < 3"
for t in best both; do assert_st_equal "work.$t" "owner renamed: $t equals its query"; done
check_sql "and has the new name" "SELECT pgt_owner FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'best'" bob
nothing_dangles "other owners"

# ---------------------------------------------------------------- DROP OWNED: stream tables, sources

check_error "DROP OWNED BY the owner of others' sources is refused" "DROP OWNED BY cy CASCADE" 2BP01 "cannot drop table work.yours"
check_sql "and has dropped nothing" "SELECT count(*) FROM pgtrickle.pgt_stream_tables" 4
q "CREATE TABLE work.logs (id int); $(st work.on_st "SELECT count(*) AS n FROM work.both")" > /dev/null
check_error "DROP OWNED BY the owner of others' upstream is refused" "DROP OWNED BY bob CASCADE" 2BP01 "cannot drop table work."
q "SELECT pgtrickle.drop_stream_table('work.on_st')"
q "DROP OWNED BY bob CASCADE" && pass "DROP OWNED BY the owner of stream tables and a source of theirs" || fail "DROP OWNED BY the owner of stream tables and a source of theirs"
check_sql "his have gone" "SELECT string_agg(pgt_name, ' ') || ' ' || (to_regclass('work.mine') IS NULL) || ' ' || ($inner) FROM pgtrickle.pgt_stream_tables" "others true 0"
nothing_dangles "DROP OWNED"
q "DROP ROLE bob" && pass "the role can go" || fail "the role can go"
q "UPDATE work.yours SET amount = amount + 1 WHERE shop = 1; INSERT INTO work.yours VALUES (9, 9)"
q "SELECT pgtrickle.refresh_stream_table('work.others')" > /dev/null
check_sql "the consumer serves the others' tables as before" "$how" "DIFFERENTIAL COMPLETED"
assert_st_equal work.others
q "DROP OWNED BY dee CASCADE"
check_sql "the last reader gone, the source has its identity back" "$identities" "logs=d yours=d"
nothing_dangles "the last reader"
q "SET pg_trickle.block_source_ddl = off; $(st work.others "SELECT shop, count(*) AS n FROM work.yours GROUP BY shop"); DROP OWNED BY cy CASCADE" > /dev/null
check_sql "without block_source_ddl readers of what is dropped are suspended" "SELECT status FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'others'" SUSPENDED
q "SELECT pgtrickle.drop_stream_table('work.others')"
nothing_dangles "sources dropped"

# ---------------------------------------------------------------- DROP SCHEMA

shop()
{
	q "CREATE SCHEMA shop; CREATE TABLE shop.mine (id int, v int); CREATE TABLE work.yours (id int, v int);
	   CREATE TABLE shop.parts (id int, v int) PARTITION BY RANGE (id); CREATE TABLE shop.parts1 PARTITION OF shop.parts DEFAULT;
	   INSERT INTO shop.mine SELECT i, i % 5 FROM generate_series(1, 50) i; INSERT INTO work.yours TABLE shop.mine; INSERT INTO shop.parts TABLE shop.mine;
	   $(st shop.a "SELECT m.id, y.v FROM shop.mine m JOIN work.yours y USING (id)"); $(st shop.b "SELECT v, count(*) AS n FROM shop.a GROUP BY v");
	   $(st shop.c "SELECT v, max(id) AS last FROM shop.parts GROUP BY v ORDER BY last DESC LIMIT 2");
	   $(st work.keeps "SELECT v, sum(id) AS s FROM work.yours GROUP BY v")" > /dev/null
}
shop
q "$(st work.reads "SELECT count(*) AS n FROM shop.b")" > /dev/null
check_error "DROP SCHEMA with an upstream of others is refused" "DROP SCHEMA shop CASCADE" 2BP01 "cannot drop table shop."
q "SELECT pgtrickle.drop_stream_table('work.reads')"
q "INSERT INTO shop.mine VALUES (51, 1); INSERT INTO work.yours VALUES (51, 1); DELETE FROM shop.parts WHERE id > 47"
q "BEGIN; DROP SCHEMA shop CASCADE; ROLLBACK"
for t in shop.a shop.b shop.c work.keeps; do assert_st_equal $t "a rolled back DROP SCHEMA: $t equals its query"; done
q "INSERT INTO shop.mine VALUES (52, 1); INSERT INTO work.yours VALUES (52, 1); DROP SCHEMA shop CASCADE" && pass "DROP SCHEMA with sources and stream tables" || fail "DROP SCHEMA with sources and stream tables"
nothing_dangles "DROP SCHEMA"
q "UPDATE work.yours SET v = v + 1 WHERE id < 9"
q "SELECT pgtrickle.refresh_stream_table('work.keeps')" > /dev/null
check_sql "what is elsewhere goes on" "$how" "DIFFERENTIAL COMPLETED"
assert_st_equal work.keeps

# ---------------------------------------------------------------- what takes the extension along without naming it

# gone WHAT SQL: the extension has gone with everything of it, also what it changed elsewhere
gone()
{
	check_sql "$1: a source has identity FULL before" "SELECT relreplident FROM pg_class WHERE oid = 'work.yours'::regclass" f
	consumer_stop TERM
	poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = '$PGT_SLOT'" f
	q "SELECT pg_create_logical_replication_slot('other', 'pgoutput')" > /dev/null
	q "CREATE TABLE IF NOT EXISTS work.news (id int PRIMARY KEY); $(st work.late "SELECT id FROM work.news")" > /dev/null
	check_error "$1: refused while another slot has yet to decode a registration" "$2" 55006 "\"other\" would become unusable"
	q "SELECT pg_drop_replication_slot('other')"
	q "BEGIN; $2; ROLLBACK"
	check_sql "$1: a rollback keeps the slot" "SELECT count(*) FROM pg_replication_slots" 1
	assert_gone "$1" "$2"
}

assert_gone()
{
	if q "$2"; then pass "$1"; else fail "$1"; fi
	check_sql "$1: the extension has gone, the source is an ordinary table, the slot went along" \
		"SELECT (SELECT count(*) FROM pg_extension WHERE extname = 'pg_trickle') || ' ' || (SELECT relreplident::text FROM pg_class WHERE oid = 'work.yours'::regclass)
		     || ' ' || (SELECT count(*) FROM pg_replication_slots)" "0 d 0"
}

again()
{
	q "GRANT pgtrickle_consumer TO trickle; $(st work.keeps "SELECT v, sum(id) AS s FROM work.yours GROUP BY v")" > /dev/null
	consumer_start
	q "UPDATE work.yours SET v = v + 1 WHERE id < 9"
	assert_st_equal work.keeps "$1: installed again"
}

# Such commands lock many tables at once, and may be the ones to give way when they meet a refresh.
insist()
{
	local try
	for try in 1 2 3 4 5; do q "$1" && return; done
	fail "$1"
}

gone "DROP SCHEMA of the schema that the extension was created in" "DROP SCHEMA public CASCADE"
q "CREATE SCHEMA public; CREATE ROLE boss SUPERUSER; SET ROLE boss; CREATE EXTENSION pg_trickle"
again "in a new schema, by another superuser"
check_error "a role that owns the extension cannot be dropped" "DROP ROLE boss" 2BP01 "owner of extension pg_trickle"
check_error "DROP OWNED BY its owner names what is in use" "DROP OWNED BY boss" 2BP01 "table work.keeps"
check_error "a stranger may not" "CREATE ROLE eve; SET ROLE eve; DROP OWNED BY boss CASCADE" 42501 "permission denied to drop objects"
insist "REASSIGN OWNED BY boss TO postgres; UPDATE work.yours SET v = v + 1 WHERE id > 30"
assert_st_equal work.keeps "the extension reassigned"
insist "ALTER ROLE boss NOSUPERUSER; DROP OWNED BY boss CASCADE; ALTER ROLE boss SUPERUSER"
check_sql "who owned it takes nothing along" "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trickle'" 1
insist "REASSIGN OWNED BY cy, dee TO boss"
consumer_stop TERM
q "DROP EXTENSION pg_trickle CASCADE; SET ROLE boss; CREATE EXTENSION pg_trickle"
again "by its next owner"
gone "DROP OWNED BY the owner of the extension" "DROP OWNED BY boss CASCADE"
done_testing
