#!/usr/bin/env bash
# What contention and separated pairs do to the dispatch of refreshes: five paired runs of three stream tables that come due together.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/lib/selfmon.sh"
cluster_new pg_trickle.min_schedule_seconds=0 pg_trickle.self_monitoring_widen_dispatch=off
extension_new
q "CREATE TABLE t (g int); CREATE FUNCTION slow(g int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.04); RETURN g; END'"
for st in a b c; do
	q "SELECT pgtrickle.create_stream_table('$st', 'SELECT slow(g) AS g FROM t', schedule => '600ms', refresh_mode => 'DIFFERENTIAL')" > /dev/null 2>&1
done
df_interference_new
interfere a b 5 1.0
consumer_start "$PGT_SLOT" --workers=4
check_poll "contention is on record" "SELECT overlap_count FROM pgtrickle.df_scheduling_interference" 5
q "SELECT pgtrickle.alter_stream_table('pgtrickle.df_scheduling_interference', schedule => '1h')" > /dev/null
n=0
said() { [ "$(grep -c "$1" "$PGT_DIR/consumer.log")" -ge "$2" ]; }
mark() { q "SELECT coalesce(max(refresh_id), 0) FROM pgtrickle.pgt_refresh_history"; }
# overlaps FROM [A B]: pairs of refreshes after FROM that ran at the same time
overlaps()
{
	q "SELECT count(*) FROM pgtrickle.pgt_refresh_history x JOIN pgtrickle.pgt_refresh_history y
	     ON x.pgt_id < y.pgt_id AND x.start_time < y.end_time AND y.start_time < x.end_time
	   WHERE x.refresh_id > $1 AND y.refresh_id > $1 ${2:+AND x.pgt_id = $2 AND y.pgt_id = $3}"
}
# a few rows; each after the one before has arrived everywhere and all three are due again, so that its commit starts them together
rounds()
{
	local i
	for ((i = 0; i < $1; i++)); do
		n=$((n + 1))
		q "SELECT pg_sleep(0.65)" > /dev/null
		q "INSERT INTO t VALUES ($n)"
		poll_until "SELECT (SELECT count(*) FROM a) || ',' || (SELECT count(*) FROM b) || ',' || (SELECT count(*) FROM c)" "$n,$n,$n" || return
	done
}
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

off=() on=()
rounds 1
for pair in 1 2 3 4 5; do
	from=$(mark); rounds 2; off+=("$(overlaps "$from")")
	cluster_set pg_trickle.self_monitoring_widen_dispatch=on; cluster_reload
	poll_cmd 20 said 'refreshes overlap' $pair
	from=$(mark); rounds 2; on+=("$(overlaps "$from")")
	cluster_set pg_trickle.self_monitoring_widen_dispatch=off; cluster_reload
	poll_cmd 20 said 'refreshes do not overlap' $pair
done
echo "# overlaps without: ${off[*]}; with: ${on[*]}"
check "together without the signal" [ "$(median "${off[@]}")" -ge 3 ]
check "less so with it: the median of five" [ "$(median "${on[@]}")" -lt "$(median "${off[@]}")" ]

# a separated pair never runs together, whoever comes first; the third one does as it likes
cluster_set pg_trickle.self_monitoring_auto_apply=full; cluster_reload
q "UPDATE interference SET slowdown = 2.0"
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_scheduling_interference')" > /dev/null
check_poll "the pair is separated" "SELECT count(*) FROM pgtrickle.pgt_policy_actions WHERE setting = 'sequence'" 1
rounds 1
from=$(mark)
rounds 4
check_eq "they do not meet any more" "$(overlaps "$from" "$(st_id a)" "$(st_id b)")" 0
check_sql "though all three were refreshed each time" "SELECT count(DISTINCT pgt_id) FROM pgtrickle.pgt_refresh_history WHERE refresh_id > $from" 3
for st in a b c; do assert_st_equal $st; done
done_testing
