#!/usr/bin/env bash
# The diagnostics beside a running consumer, asked by a role that owns nothing: what waits, what is fresh, what is wrong once the
# consumer stops and the slot is gone.  (tests/regress/sql/diagnostics.sql has the figures over a catalog written by hand.)
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "CREATE ROLE watch LOGIN"
watched() { PGUSER=watch check_sql "$@"; }

q "CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, amount int NOT NULL, note text)"
q "INSERT INTO orders SELECT g, 'c' || g % 3, g FROM generate_series(1, 30) g"
consumer_start
q "SELECT pgtrickle.create_stream_table('totals', 'SELECT customer, sum(amount) AS total FROM orders GROUP BY customer', schedule => '1h')"
q "SELECT pgtrickle.create_stream_table('large', 'SELECT customer FROM totals WHERE total > 150', schedule => '1h')"
q "SELECT pgtrickle.refresh_stream_table('totals')"
q "SELECT pgtrickle.refresh_stream_table('large')"

PGUSER=watch check_poll "nothing is wrong" "SELECT string_agg(check_name || ': ' || detail, '; ') FROM pgtrickle.health_check() WHERE severity <> 'OK'" ""
watched "quick_health says so" "SELECT status, total_stream_tables, error_tables, stale_tables, scheduler_running FROM pgtrickle.quick_health" "OK|2|0|0|t"
watched "the scheduler runs" "SELECT scheduler_status, active_count FROM pgtrickle.health_summary()" "running|2"
watched "nothing waits, so nothing is stale" "SELECT pgtrickle.get_staleness('totals'), pgtrickle.get_staleness('large')" "0|0"
watched "the slot is in use" "SELECT slot_name = '$PGT_SLOT', active, wal_status FROM pgtrickle.slot_health()" "t|t|reserved"
watched "capture has no alert and is selective" "SELECT source_table, cdc_mode, alert, selective_capture FROM pgtrickle.check_cdc_health()" "public.orders|WAL||t"
watched "columns used" "SELECT source_table, columns_used FROM pgtrickle.list_sources('totals')" "public.orders|customer, amount"
watched "the tree" "SELECT tree_line FROM pgtrickle.dependency_tree()" 'public.large
`-- public.totals
    `-- public.orders [src]'
watched "one buffer, one reader" "SELECT source_table, consumer_count, consumers, columns_tracked FROM pgtrickle.shared_buffer_stats()" "public.orders|1|public.totals|2"
watched "a fresh stream table is called incremental" "SELECT * FROM pgtrickle.explain_refresh_mode('totals')" "AUTO|DIFFERENTIAL|"

q "INSERT INTO orders SELECT g, 'c' || g % 3, g FROM generate_series(31, 35) g"
caught_up || fail "changes arrive"
watched "five rows wait" "SELECT pending_rows FROM pgtrickle.change_buffer_sizes() WHERE stream_table = 'public.totals'" 5
watched "which makes it lag" "SELECT pgtrickle.get_staleness('totals') > 0, pgtrickle.get_staleness('large')" "t|0"
watched "and explain_st says why" "SELECT value FROM pgtrickle.explain_st('totals') WHERE property = 'changes_waiting'" yes
watched "not past its schedule" "SELECT stale FROM pgtrickle.pg_stat_stream_tables WHERE pgt_name = 'totals'" f
q "SELECT pgtrickle.refresh_stream_table('totals')"
watched "none wait any more" "SELECT pending_rows FROM pgtrickle.change_buffer_sizes() WHERE stream_table = 'public.totals'" 0
watched "it does not lag, its reader does" "SELECT pgtrickle.get_staleness('totals'), pgtrickle.get_staleness('large') > 0" "0|t"
watched "changes of a stream table are not counted" "SELECT pending_rows, buffer_bytes > 0 FROM pgtrickle.change_buffer_sizes() WHERE stream_table = 'public.large'" "|t"
q "SELECT pgtrickle.refresh_stream_table('large')"
watched "the reader has caught up" "SELECT pending_rows FROM pgtrickle.change_buffer_sizes() WHERE stream_table = 'public.large'" 0
watched "the refresh in the history" "SELECT action, status, rows_inserted, rows_deleted FROM pgtrickle.get_refresh_history('totals', 1)" "DIFFERENTIAL|COMPLETED|3|3"
watched "the timeline has both" "SELECT string_agg(stream_table, ',' ORDER BY start_time) FROM pgtrickle.refresh_timeline(2)" "public.totals,public.large"
watched "explain_delta shows statements that write the stream table" "SELECT bool_or(explain_delta ~ 'public\.totals|\ytotals\y') FROM pgtrickle.explain_delta('totals')" t
watched "as JSON, one section per source" "SELECT jsonb_array_length(explain_delta::jsonb) FROM pgtrickle.explain_delta('totals', 'json')" 1

q "SELECT pgtrickle.create_stream_table('ranked', 'SELECT id, now() AS seen FROM orders', schedule => '1h')" 2> /dev/null
watched "a recomputed one has a reason" "SELECT count(value) = count(*) FROM pgtrickle.explain_st('ranked') WHERE property IN ('full_reason', 'downgrade_reason')" t
watched "and its effective mode is FULL" "SELECT effective_mode FROM pgtrickle.explain_refresh_mode('ranked')" FULL
PGUSER=watch check_error "an unknown name is told where to look" "SELECT * FROM pgtrickle.explain_st('nothing')" 42P01 pgt_status
PGUSER=watch check_error "an unknown format" "SELECT * FROM pgtrickle.explain_delta('totals', 'xml')" 22023 json
PGUSER=watch check_error "no counters by the back door" "SELECT * FROM pgtrickle_changes.segment_stats" 42501

consumer_stop TERM
PGUSER=watch check_poll "the consumer is missed" "SELECT severity FROM pgtrickle.health_check() WHERE check_name = 'consumer'" ERROR
watched "and named at each source" "SELECT alert FROM pgtrickle.check_cdc_health()" consumer_not_running
watched "without it everything lags" "SELECT pgtrickle.get_staleness('totals') > 0" t
q "SELECT pg_drop_replication_slot('$PGT_SLOT')" > /dev/null
watched "a missing slot is named" "SELECT wal_status FROM pgtrickle.slot_health()" missing
watched "by the health check, too" "SELECT severity FROM pgtrickle.health_check() WHERE check_name = 'slot'" ERROR
done_testing
