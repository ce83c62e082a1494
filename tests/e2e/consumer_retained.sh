#!/usr/bin/env bash
# How long WAL is kept: what a stream table has not consumed is (a crash loses nothing), until it pins more than max_retained_wal: then it
# is marked for a recomputation, said so, and the slot moves on.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new max_wal_size=2GB "pg_trickle.max_retained_wal='8MB'"
extension_new
consumer_start
q "CREATE TABLE t (id int PRIMARY KEY, v int, w text); CREATE TABLE u (id int PRIMARY KEY, v int)"
q "SELECT pgtrickle.create_stream_table('slow', 'SELECT v, count(*) AS n FROM t GROUP BY v', schedule => '1d')" 2> /dev/null
q "SELECT pgtrickle.create_stream_table('other', 'SELECT v, count(*) AS n FROM u GROUP BY v', schedule => '1d')" 2> /dev/null
confirmed="SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'trickle'"

q "INSERT INTO t SELECT g, g % 5, 'x' FROM generate_series(1, 1000) g"
first=$(q "SELECT pg_current_wal_lsn()")
q "INSERT INTO u VALUES (1, 1)"
check "applied" caught_up
q "INSERT INTO t SELECT g, g % 5, repeat('x', 100) FROM generate_series(1001, 10000) g"
check "applied" caught_up
sleep 4                                        # longer than the daemon's rounds: it had the time to do wrong
check_sql "what is not consumed is not confirmed" "SELECT ($confirmed) < '$first'" t
cluster_kill
cluster_start
poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = 'trickle'" t 20
assert_st_equal slow "a crash loses nothing of what waited"
assert_st_equal other
check_sql "and no recomputation was needed" "SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE needs_reinit" 0
check_poll "consumed: the slot moves on" "SELECT ($confirmed) > '$first'" t 30

q "DO \$\$ BEGIN FOR k IN 10..39 LOOP INSERT INTO t SELECT k * 1000 + g, g % 5, repeat('x', 1000) FROM generate_series(1, 1000) g; COMMIT; END LOOP; END \$\$"
end=$(q "SELECT pg_current_wal_lsn()")
check "too much retained: marked, and said" poll_cmd 30 grep -q "retained more WAL than pg_trickle.max_retained_wal" "$PGT_DIR/consumer.log"
check_sql "only the one that pins" "SELECT needs_reinit FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'other'" f
check_poll "and the slot moves on" "SELECT ($confirmed) > '$end'::pg_lsn - 2000000" t 30
assert_st_equal slow
done_testing
