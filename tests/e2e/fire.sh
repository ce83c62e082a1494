#!/usr/bin/env bash
# Exactness under fire: 8 writers, 13 stream tables refreshed as fast as possible, verified at random moments.
# FIRE_SECONDS (30), FIRE_LONG: seconds of the long transactions (3), SHOP_SEED repeats a run's choices.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new deadlock_timeout=500ms pg_trickle.min_schedule_seconds=0
extension_new
here=$PGT_TOP/tests/e2e
export PYTHONDONTWRITEBYTECODE=1 SHOP_LONG=${FIRE_LONG:-3}

check "stream tables are created" /usr/bin/python3 "$here/_shop.py" setup
consumer_start
out=$(/usr/bin/python3 "$here/_shop.py" fire "${FIRE_SECONDS:-30}" 2>&1)
echo "$out"
PGT_PASSED=$((PGT_PASSED + $(grep -c '^ok - ' <<< "$out")))
grep -q '^not ok - ' <<< "$out" && PGT_FAILED=$((PGT_FAILED + 1))
grep -q '^ok - ' <<< "$out" || fail "the fire test reported something"

if [ "${FIRE_EXPECT:-}" != difference ]; then
	check "every ST equals its meaning over the base tables" /usr/bin/python3 "$here/_shop.py" oracle
	consumer_stop TERM
	check_eq "the consumer drains and exits 0" $? 0
	consumer_start
	q "SELECT count(pgtrickle.refresh_stream_table(pgt_schema || '.' || pgt_name)) FROM (SELECT * FROM pgtrickle.pgt_stream_tables ORDER BY pgt_id) s" > /dev/null
	check "and still does after a restart and another refresh of all in one transaction" /usr/bin/python3 "$here/_shop.py" oracle 1
	check_sql "a trigger of ours stands on no user table" \
		"SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('orders'::regclass, 'items'::regclass, 'customers'::regclass, 'bag'::regclass)" 0
	check_sql "no delta program found its stream table other than it had left it" \
		"SELECT string_agg(DISTINCT reason, '; ') FROM pgtrickle.pgt_refresh_history WHERE reason LIKE 'the delta program failed%'" ""
	check_eq "no crash and no PANIC in the server's log" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
	q "SELECT '# ' || action || ' ' || coalesce(merge_strategy_used, '-') || ' ' || status || ': ' || count(*) FROM pgtrickle.pgt_refresh_history
	   GROUP BY action, merge_strategy_used, status ORDER BY 1"
fi
done_testing
