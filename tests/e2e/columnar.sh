#!/usr/bin/env bash
# columnar.sh: pg_trickle.columnar_tracking.  An UPDATE of 2 of 20 columns leaves exactly these two bits in both of its rows; inserts and deletes
# leave none; off leaves none at all; a stream table none of whose columns changed has nothing to do.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new client_min_messages=warning pg_trickle.enabled=off
extension_new
consumer_start
columns=$(seq -s, -f 'c%g' 2 20)
for setting in on off; do
	q "ALTER DATABASE postgres SET pg_trickle.columnar_tracking = $setting"
	t=t_$setting
	q "CREATE TABLE $t (c1 int PRIMARY KEY, ${columns//,/ int, } int)"
	q "INSERT INTO $t (c1, c5, c12) SELECT g, g, g FROM generate_series(1, 3) g"
	q "SELECT pgtrickle.create_stream_table('s_$setting', 'SELECT c1, $columns FROM $t', schedule => '1d')"
	q "SELECT pgtrickle.create_stream_table('narrow_$setting', 'SELECT c1, c20 FROM $t', schedule => '1d')"
	q "SELECT pgtrickle.refresh_stream_table('s_$setting')"
	q "UPDATE $t SET c5 = c5 + 1, c12 = 99, c7 = c7 WHERE c1 = 2"
	q "INSERT INTO $t (c1) VALUES (50); DELETE FROM $t WHERE c1 = 3"
	check "the changes arrive ($setting)" caught_up
	buffer=pgtrickle_changes.changes_$(q "SELECT '$t'::regclass::oid")
	if [ $setting = on ]; then want="+ c5 c12|- c5 c12" bits=2,2; else want="" bits=; fi
	check_sql "columns marked by an update of two ($setting)" \
		"SELECT string_agg(op::text || ' ' || (SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '$t'::regclass AND attnum > 0
		                                  AND (changed_columns & (1::bigint << (attnum - 1))) <> 0), '|' ORDER BY op) FROM $buffer WHERE changed_columns IS NOT NULL" "$want"
	check_sql "bits set ($setting)" "SELECT string_agg(length(replace(changed_columns::bit(64)::text, '0', ''))::text, ',') FROM $buffer WHERE changed_columns IS NOT NULL" "$bits"
	check_sql "rows of the insert and the delete, and of the update ($setting)" "SELECT count(*) FILTER (WHERE changed_columns IS NULL) || ' ' || count(*) FROM $buffer" \
		"$([ $setting = on ] && echo 2 4 || echo 4 4)"
	assert_st_equal s_$setting "20 columns ($setting)"
	assert_st_equal narrow_$setting "a column that did not change ($setting)"
done
check_sql "with masks the narrow one took two rows less" "SELECT string_agg(pgt_name || ' ' || delta_row_count, ', ' ORDER BY refresh_id)
	FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_name LIKE 'narrow%' AND action = 'DIFFERENTIAL'" "narrow_on 2, narrow_off 4"
done_testing
