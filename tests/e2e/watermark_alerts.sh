#!/usr/bin/env bash
# A watermark that stands still and holds a stream table back is announced once, and once when that is over; the one that others wait
# for is not, and neither is anything while pg_trickle.watermark_holdback_timeout is 0.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/alerts.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.max_poll_interval_ms=100 track_functions=all
extension_new

# looked: the consumer has looked at the watermarks twice more, so at least once at what is there now
calls() { q "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = '$1'"; }
called() { [ "$(calls "$1")" -ge "$2" ]; }
looked() { poll_cmd 30 called _consumer_watermarks $(($(calls _consumer_watermarks) + ${1:-2})); }
stuck() { echo "SELECT coalesce(string_agg(group_name || ' ' || source_name, ', ' ORDER BY group_name, source_name), 'none') FROM pgtrickle.pgt_watermark_alerts"; }
holdback() { cluster_set pg_trickle.watermark_holdback_timeout="$1" && cluster_reload; }

q "CREATE TABLE orders (id int PRIMARY KEY, amount int); CREATE TABLE payments (id int PRIMARY KEY, amount int)"
q "SET client_min_messages = warning; SELECT pgtrickle.create_stream_table('rest', 'SELECT o.id, o.amount - p.amount AS rest FROM orders o JOIN payments p USING (id)', schedule => 'continuous')" > /dev/null
q "SELECT pgtrickle.create_watermark_group('day''s \"end\"', ARRAY['orders', 'payments'], 60)" > /dev/null
alerts_listen watermark_stuck,watermark_resumed event schema name group source_oid advanced age_secs
consumer_start
payments="public payments day's \"end\" $(q "SELECT 'payments'::regclass::oid::bigint")"

q "INSERT INTO orders VALUES (1, 10); INSERT INTO payments VALUES (1, 3)"
q "SELECT pgtrickle.advance_watermark('orders', '2026-01-01 10:00Z')" > /dev/null
check "while a stream table is held the consumer looks" looked 3
check_sql "with timeout 0 nothing is stuck" "$(stuck)" none

holdback 1s
check "a table without a watermark is announced" poll_cmd 30 seen "^watermark_stuck $payments None [0-9.]+\$"
check "not before the timeout" awk '/^watermark_stuck/ && $NF < 1 { exit 1 }' "$events"
check_sql "and on record" "$(stuck)" "day's \"end\" payments"
consumer_stop TERM
consumer_start
check "a new consumer looks, too" looked 3
check_eq "but says it once" "$(events .)" 2

# on the move again, though it still holds: over, and after the timeout stuck anew
q "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 09:00Z')" > /dev/null
check "it moves: resumed" poll_cmd 30 seen "^watermark_resumed $payments True None\$"
check "and is stuck again" poll_cmd 30 seen "^watermark_stuck $payments None [0-9.]+\$" 2
holdback 1h
q "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 09:30Z')" > /dev/null
check "resumed whatever the timeout" poll_cmd 30 seen "^watermark_resumed $payments True None\$" 2
check "still held" looked 3
check_eq "an hour has not passed" "$(events '^watermark_stuck')" 2

# aligned: nothing is asked any more
holdback 1s
check "stuck a third time" poll_cmd 30 seen "^watermark_stuck " 3
q "SELECT pgtrickle.advance_watermark('payments', '2026-01-01 10:00Z')" > /dev/null
check "aligned: resumed" poll_cmd 30 seen "^watermark_resumed $payments True None\$" 3
check_poll "and refreshed" "SELECT rest FROM rest" 7
quiet()
{
	local asked
	asked=$(calls _consumer_watermarks)
	poll_cmd 10 called _consumer_plan $(($(calls _consumer_plan) + 10)) && [ "$(calls _consumer_watermarks)" = "$asked" ]
}
check "nothing is held: nobody looks" poll_cmd 60 quiet

# one that holds nothing any more is over without having moved
q "SELECT pgtrickle.advance_watermark('orders', '2026-01-02 10:00Z')" > /dev/null
check "stuck a fourth time" poll_cmd 30 seen "^watermark_stuck " 4
q "SELECT pgtrickle.drop_watermark_group('day''s \"end\"')" > /dev/null
check "its group has gone: resumed, not advanced" poll_cmd 30 seen "^watermark_resumed $payments False None\$"
check_sql "nothing stands" "$(stuck)" none
check_eq "who was ahead was never announced" "$(events ' orders ')" 0
check_eq "the consumer has nothing to warn of" "$(grep -c 'upkeep' "$PGT_DIR/consumer.log")" 0
assert_st_equal rest
done_testing
