#!/usr/bin/env bash
# A registration must reach a decoding session that has looked at the tables before and remembers what it saw: one walsender sees writes to
# tables that nobody reads, then to tables that were registered meanwhile, with more columns, with fewer, and with the last reader gone.
# All have REPLICA IDENTITY FULL already, so that a registration changes nothing about them but the registry.  That the session notices could
# be due to something else the same transaction does (the type of a new segment), so the invalidations in the WAL are looked at too.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "ALTER DATABASE $PGDATABASE SET client_min_messages = error"
q_script <<'SQL'
CREATE TABLE plain (id int, a int, b int);
CREATE TABLE root (id int, a int, b int) PARTITION BY LIST (id);
CREATE TABLE leaf1 PARTITION OF root FOR VALUES IN (1, 2);
CREATE TABLE leaf2 (b int, a int, id int);
ALTER TABLE root ATTACH PARTITION leaf2 FOR VALUES IN (3, 4);
CREATE TABLE parent (id int, a int, b int);
CREATE TABLE child (more int) INHERITS (parent);
ALTER TABLE plain REPLICA IDENTITY FULL;
ALTER TABLE leaf1 REPLICA IDENTITY FULL;
ALTER TABLE leaf2 REPLICA IDENTITY FULL;
ALTER TABLE parent REPLICA IDENTITY FULL;
ALTER TABLE child REPLICA IDENTITY FULL;
SQL
consumer_start
walsender() { q "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'trickle'"; }
session=$(walsender)
write() # all leaves and members, insert, update and delete
{
	q "INSERT INTO plain VALUES ($1, 1, 1), ($1, 2, 2); INSERT INTO root VALUES (1, $1, 1), (2, 1, $1), (3, $1, 1), (4, 1, $1);
	   INSERT INTO parent VALUES ($1, 1, 1); INSERT INTO child VALUES ($1, 2, 2, 2), ($1, 3, 3, 3)"
	q "UPDATE plain SET b = b + 1; UPDATE root SET b = b + 1; UPDATE parent SET b = b + 1; UPDATE plain SET a = a + 1; UPDATE root SET a = a + 1; UPDATE parent SET a = a + 1"
	q "DELETE FROM plain WHERE a = 2; DELETE FROM leaf2 WHERE a = 2; DELETE FROM child WHERE a = 3"
	caught_up
}
tables="plain root parent"
create() { for t in $tables; do q "SELECT pgtrickle.create_stream_table('${t}_$1', 'SELECT $2 FROM $t', '1d', 'DIFFERENTIAL')" > /dev/null; done; }
same() { for s in "$@"; do for t in $tables; do assert_st_equal "${t}_$s" "${t}_$s, $what"; done; done; }

# members of the three families that the commit records since $1 invalidate
invalidated()
{
	q "CHECKPOINT; SELECT pg_switch_wal()" > /dev/null
	q "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c WHERE c.relname IN ('plain', 'root', 'leaf1', 'leaf2', 'parent', 'child')
	   AND c.oid IN ($(as_server "$PGT_BIN/pg_waldump" -p "$CLUSTER_DATA/pg_wal" -r Transaction -s "$1" -e "$2" | grep -oE 'relcache [0-9]+' | cut -d' ' -f2 | sed 's/$/,/') 0)" | tail -1
}
here() { q "SELECT pg_current_wal_insert_lsn()"; }

write 10
before=$(here)
create a "id, a"
check_eq "registering invalidates every member of the families" "$(invalidated "$before" "$(here)")" "child leaf1 leaf2 parent plain root"
what="registered after the session had seen its table"
write 20
same a
create b "id, b"
what="a column more"
write 30
same a b
q "SELECT pgtrickle.drop_stream_table(t || '_a') FROM unnest(string_to_array('$tables', ' ')) t" > /dev/null
what="the reader of a column is gone"
write 40
same b
before=$(here)
q "SELECT pgtrickle.drop_stream_table(t || '_b') FROM unnest(string_to_array('$tables', ' ')) t" > /dev/null
check_eq "so does releasing" "$(invalidated "$before" "$(here)")" "child leaf1 leaf2 parent plain root"
write 50
create c "id, a, b"
what="released, and registered again"
write 60
same c
check_sql "nothing had to compare" "SELECT count(*) FROM pgtrickle.pgt_refresh_history WHERE action <> 'DIFFERENTIAL' AND merge_strategy_used IS DISTINCT FROM 'load'" 0
check_eq "it was one decoding session all the time" "$(walsender)" "$session"
done_testing
