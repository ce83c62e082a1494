#!/usr/bin/env bash
# The consumer samples the change buffers while df_cdc_buffer_trends exists: what it counted, only when something changed, for two hours.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE TABLE t (id int PRIMARY KEY, x int); CREATE TABLE u (id int PRIMARY KEY)"
q "SELECT pgtrickle.create_stream_table('a', 'SELECT id, x FROM t', schedule => '1h')" > /dev/null
q "SELECT pgtrickle.create_stream_table('b', 'SELECT id FROM u', schedule => '100ms')" > /dev/null
consumer_start
newest() { echo "SELECT captured_rows || ',' || consumed_rows || ',' || pending_rows FROM pgtrickle.pgt_buffer_samples WHERE source_relid = '$1'::regclass ORDER BY sample_id DESC LIMIT 1"; }
q "INSERT INTO t SELECT g, g FROM generate_series(1, 10) g"
caught_up
check_sql "no df_cdc_buffer_trends: no samples" "SELECT count(*) FROM pgtrickle.pgt_buffer_samples" 0
q "SELECT pgtrickle.setup_self_monitoring()" 2> /dev/null
q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_cdc_buffer_trends', schedule => '1s')" > /dev/null
check_poll "the rows captured so far are in the first sample" "$(newest t)" "10,0,10"
q "INSERT INTO t SELECT g, g FROM generate_series(11, 30) g"
check_poll "then what came since" "$(newest t)" "30,0,30"
q "UPDATE t SET x = 0 WHERE id <= 5"
check_poll "an update is two rows" "$(newest t)" "40,0,40"
q "SELECT pgtrickle.refresh_stream_table('a')" > /dev/null
check_poll "a refresh consumes them" "$(newest t)" "40,40,0"
q "INSERT INTO u VALUES (1)"
check_poll "another source" "$(newest u | sed "s/|| ',' || consumed_rows || ',' || pending_rows//")" 1
consumer_stop
consumer_start
q "INSERT INTO t SELECT g, g FROM generate_series(31, 40) g"
check_poll "counts go on across a restart" "$(newest t | sed "s/|| ',' || consumed_rows || ',' || pending_rows//")" 50
check_sql "consumed + pending = captured, growing only" "SELECT bool_and(consumed_rows + pending_rows >= captured_rows AND consumed_rows >= coalesce(before, 0))
	FROM (SELECT *, lag(consumed_rows) OVER (PARTITION BY source_relid ORDER BY sample_id) AS before FROM pgtrickle.pgt_buffer_samples) s" t
check_sql "only of people's tables" "SELECT string_agg(DISTINCT source_relid::regclass::text, ',') FROM pgtrickle.pgt_buffer_samples" "t,u"

# old ones go, the newest of a source stays
q "UPDATE pgtrickle.pgt_buffer_samples SET sampled_at = sampled_at - interval '3 hours'"
q "INSERT INTO t VALUES (100, 1)"
check_poll "samples of three hours ago go when a new one comes, but for the newest of a source" \
	"SELECT count(*) FILTER (WHERE source_relid = 't'::regclass) || ',' || count(*) FILTER (WHERE source_relid = 'u'::regclass) FROM pgtrickle.pgt_buffer_samples" "1,1"
# nothing changes: nothing is written
n=$(q "SELECT max(sample_id) FROM pgtrickle.pgt_buffer_samples")
q "SELECT pg_sleep(3)" > /dev/null                      # three cycles pass
check_sql "quiet: no sample" "SELECT max(sample_id) FROM pgtrickle.pgt_buffer_samples" "$n"
q "SELECT pgtrickle.teardown_self_monitoring()"
q "INSERT INTO t VALUES (101, 1)"
assert_st_equal a
assert_st_equal b
check_sql "torn down: no samples" "SELECT count(*) FROM pgtrickle.pgt_buffer_samples" 0
done_testing
