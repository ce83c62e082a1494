#!/usr/bin/env bash
# everyday.sh: queries as people write them for materialized views (_everyday.txt), over tables of a shop (_everyday.sql): each is maintained
# incrementally, or is said not to be, with the reason that the list names; after changes each equals its query.
. "$(dirname "$0")/../lib/cluster.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster_new client_min_messages=error "pg_trickle.min_schedule_seconds=0"
extension_new
consumer_start
sed '/^-- CHANGES/,$d' "$here/_everyday.sql" | psql -qX -v ON_ERROR_STOP=1

# A line: the query; or "FULL: ", why it is compared, " | ", the query.
n=0
declare -a query=()
while IFS= read -r line; do
	[[ $line =~ ^(--.*)?$ ]] && continue
	n=$((n + 1))
	reason= mode=DIFFERENTIAL
	if [[ $line = FULL:* ]]; then
		reason=${line%% | *}
		line=${line#* | }
		mode=AUTO
	fi
	query[n]=$line
	q "SELECT pgtrickle.create_stream_table('st_$n', \$q\$$line\$q\$, schedule => '1d', refresh_mode => '$mode')" > /dev/null
	check_sql "how it is maintained: $line" "SELECT effective_mode || coalesce(': ' || downgrade_reason, '') FROM pgtrickle.explain_refresh_mode('st_$n')" \
		"${reason:-DIFFERENTIAL}"
done < "$here/_everyday.txt"

sed '1,/^-- CHANGES/d' "$here/_everyday.sql" | psql -qX -v ON_ERROR_STOP=1
for i in $(seq 1 "$n"); do
	q "SELECT pgtrickle.refresh_stream_table('st_$i')" > /dev/null
	check_sql "equals its query after changes: ${query[i]}" "SELECT * FROM pgtrickle.verify_stream_table('st_$i')" "0|0"
done
check_sql "what is maintained was never compared" "
	SELECT string_agg(pgt_name || ' ' || action, ', ') FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables t USING (pgt_id)
	WHERE t.refresh_mode = 'DIFFERENTIAL' AND h.initiated_by = 'MANUAL' AND action NOT IN ('DIFFERENTIAL', 'NO_DATA')" ""
done_testing
