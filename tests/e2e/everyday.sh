#!/usr/bin/env bash
# everyday.sh: queries as people write them for materialized views (_everyday.txt), over tables of a shop (_everyday.sql): each is maintained
# incrementally, or is said not to be, with the reason that the list names; after changes each equals its query.
. "$(dirname "$0")/../lib/cluster.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster_new client_min_messages=error "pg_trickle.min_schedule_seconds=0"
extension_new
consumer_start
sed '/^-- CHANGES/,$d' "$here/_everyday.sql" | q_script

xml=$(q "SELECT xmlelement(name x) IS NOT NULL" 2> /dev/null || echo f)
# A line: the query; or "FULL: ", why it is compared, " | ", the query.
n=0
declare -a query=() expected=()
while IFS= read -r line; do
	[[ $line =~ ^(--.*)?$ ]] && continue
	[[ $line = *xml* && $xml = f ]] && continue             # a server built without libxml
	n=$((n + 1))
	mode=DIFFERENTIAL
	expected[n]=DIFFERENTIAL
	if [[ $line = FULL:* ]]; then
		mode=AUTO
		expected[n]=${line%% | *}
		line=${line#* | }
	fi
	query[n]=$line
	echo "SELECT pgtrickle.create_stream_table('st_$n', \$q\$$line\$q\$, schedule => '1d', refresh_mode => '$mode');" >> "$PGT_DIR/create.sql"
done < "$here/_everyday.txt"
q_script -v ON_ERROR_STOP=0 < "$PGT_DIR/create.sql" > /dev/null
sed '1,/^-- CHANGES/d' "$here/_everyday.sql" | q_script
q_script > /dev/null << 'SQL'
SELECT format('SELECT pgtrickle.refresh_stream_table(%L)', pgt_name) FROM pgtrickle.pgt_stream_tables ORDER BY pgt_id \gexec
SQL

# One line for each: how it is maintained, and what verify_stream_table found.
q_script > "$PGT_DIR/found" << 'SQL'
SELECT format($$SELECT %1$L, e.effective_mode || coalesce(': ' || e.downgrade_reason, ''), v
	FROM pgtrickle.explain_refresh_mode(%1$L) e, pgtrickle.verify_stream_table(%1$L) v$$, pgt_name)
FROM pgtrickle.pgt_stream_tables ORDER BY pgt_id \gexec
SQL
for i in $(seq 1 "$n"); do
	check_eq "${query[i]}" "$(sed -n "s/^st_$i|//p" "$PGT_DIR/found")" "${expected[i]}|(0,0)"
done
check_sql "what is maintained was never compared" "
	SELECT string_agg(pgt_name || ' ' || action, ', ') FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables t USING (pgt_id)
	WHERE t.refresh_mode = 'DIFFERENTIAL' AND h.initiated_by = 'MANUAL' AND action NOT IN ('DIFFERENTIAL', 'NO_DATA')" ""
done_testing
