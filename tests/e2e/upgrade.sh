#!/usr/bin/env bash
# upgrade.sh: a database that was made with the version before, used, and brought to this one by ALTER EXTENSION UPDATE.
#   * the library and the consumer of this version serve the old schema, with a WARNING
#   * history rows are the same afterwards, byte by byte; the history index is there; buffers and registrations know masks
#   * what was written before the update and is consumed after it, with the consumer down or running, arrives by value
#   * the catalogs are those of a fresh installation
#   * a schema that is newer than the consumer is refused
. "$(dirname "$0")/../lib/cluster.sh"
new=$(cat "$PGT_TOP/VERSION")
old=$(ls "$("$PG_CONFIG" --sharedir)"/extension/pg_trickle--*--"$new".sql | sed -E 's/.*pg_trickle--(.*)--.*/\1/')
cluster_new client_min_messages=warning

old_database()
{
	q "CREATE DATABASE $1"
	export PGDATABASE=$1
	q "CREATE EXTENSION pg_trickle VERSION '$old'"
	q "DO \$\$ BEGIN CREATE ROLE trickle LOGIN REPLICATION; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"
	q "GRANT pgtrickle_consumer TO trickle"
	consumer_start
	q "CREATE TABLE t (id int PRIMARY KEY, g int, v int, note text)"
	q "CREATE TABLE wide (id int PRIMARY KEY, $(seq -s, -f 'c%g int' 2 70))"
	q "CREATE TABLE part (id int, v int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	   CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (1000); CREATE TABLE part2 PARTITION OF part DEFAULT"
	q "SELECT pgtrickle.create_stream_table('s_sum', 'SELECT g, count(*) AS n, sum(v) AS v FROM t GROUP BY g', schedule => '1h')"
	q "SELECT pgtrickle.create_stream_table('s_rows', 'SELECT id, v, note FROM t WHERE v > 2', schedule => '1h')"
	q "SELECT pgtrickle.create_stream_table('s_wide', 'SELECT id, c2, c70 FROM wide', schedule => '1h')"
	q "SELECT pgtrickle.create_stream_table('s_part', 'SELECT v % 3 AS r, count(*) AS n FROM part GROUP BY v % 3', schedule => '1h')"
	q "SELECT pgtrickle.create_stream_table('s_top', 'SELECT n, count(*) AS groups FROM s_sum GROUP BY n', schedule => '1h')"
}

# write ROUND: inserts, updates and deletes on every source, never the same twice
write()
{
	q "INSERT INTO t SELECT $1 * 100 + i, i % 5, i % 7, repeat('note ', i) FROM generate_series(1, 20) i;
	   UPDATE t SET v = v + 1 WHERE id % 10 = $1 % 10;
	   DELETE FROM t WHERE id = ($1 - 1) * 100 + 3;
	   INSERT INTO wide (id, c2, c70) VALUES ($1, $1, -$1);
	   UPDATE wide SET c70 = c70 - 1, c40 = 5 WHERE id <= $1;
	   INSERT INTO part VALUES ($1, $1), (2000 + $1, $1);
	   UPDATE part SET v = v + 1 WHERE id % 4 = $1 % 4"
}

sts="s_sum s_rows s_wide s_part s_top"
refresh_all() { for s in $sts; do q "SELECT pgtrickle.refresh_stream_table('$s')" > /dev/null || return 1; done; }

all_equal()
{
	local s
	for s in $sts; do assert_st_equal "$s" "$1: $s equals its query"; done
}

incremental()
{
	check_sql "$1: no refresh fell back to a comparison" \
		"SELECT coalesce(string_agg(format('%s: %s', action, reason), '; '), 'none') FROM pgtrickle.pgt_refresh_history h
		  WHERE refresh_id > $2 AND (action NOT IN ('DIFFERENTIAL', 'NO_DATA') OR was_full_fallback OR status <> 'COMPLETED')" none
}

last_refresh() { q "SELECT max(refresh_id) FROM pgtrickle.pgt_refresh_history"; }
catalog() { q_script < "$PGT_TOP/tests/e2e/_catalog.sql"; }

# ---------------------------------------------------------------- the old schema, served by the new library and consumer

old_database was
check "the consumer warns of the old schema" grep -q "WARNING.*schema is version $old, this is $new: serving it without the self-monitoring policy" "$PGT_DIR/consumer.log"
check_sql "the extension is $old" "SELECT extversion FROM pg_extension WHERE extname = 'pg_trickle'" "$old"
check_sql "the old schema has no history index, masks or df_* functions" \
	"SELECT to_regclass('pgtrickle.idx_hist_pgt_start') IS NULL AND to_regproc('pgtrickle.setup_self_monitoring') IS NULL
	    AND NOT EXISTS (SELECT FROM pg_attribute WHERE attname IN ('changed_columns', 'mask') AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('pgtrickle'::regnamespace, 'pgtrickle_changes'::regnamespace)))" t
begun=$(last_refresh)
for round in 1 2 3 4 5 6 7 8 9 10; do
	write $round
	refresh_all || fail "round $round"
done
check_sql "10 refreshes each on $old" "SELECT string_agg(DISTINCT n::text, ',') FROM (SELECT count(*) AS n FROM pgtrickle.pgt_refresh_history WHERE refresh_id > $begun GROUP BY pgt_id) x" 10
all_equal "$old"
incremental "$old" "$begun"
# A stream table of that name is nobody's advice before the update: no policy runs.
q "SELECT pgtrickle.create_stream_table('pgtrickle.df_threshold_advice', 'SELECT id FROM t', schedule => '1s')"
before=$(last_refresh)
write 20
check_poll "the scheduler refreshes on $old" "SELECT count(*) > 0 FROM pgtrickle.pgt_refresh_history WHERE refresh_id > $before AND initiated_by = 'SCHEDULER'" t
q "SELECT pgtrickle.drop_stream_table('pgtrickle.df_threshold_advice')"
check "the policy rests on $old" test "$(grep -c ' policy: ' "$PGT_DIR/consumer.log")" = 0
check_sql "version_check says what to do" "SELECT pgtrickle.version_check() LIKE '%run ALTER EXTENSION pg_trickle UPDATE'" t
check_error "migrate says it too" "SELECT pgtrickle.migrate()" 55000 "ALTER EXTENSION pg_trickle UPDATE"

# ---------------------------------------------------------------- the update, with the consumer down

consumer_stop
write 11
q "CREATE TABLE kept AS TABLE pgtrickle.pgt_refresh_history"
q "ALTER EXTENSION pg_trickle UPDATE" || fail "the update runs"
check_sql "the extension is $new" "SELECT extversion || ' ' || (SELECT string_agg(version, ' ' ORDER BY applied_at, version) FROM pgtrickle.pgt_schema_version) FROM pg_extension WHERE extname = 'pg_trickle'" "$new $old $new"
check_sql "every history row is as it was" \
	"SELECT (SELECT count(*) FROM (TABLE kept EXCEPT ALL TABLE pgtrickle.pgt_refresh_history) x) || ' ' || (SELECT count(*) FROM (TABLE pgtrickle.pgt_refresh_history EXCEPT ALL TABLE kept) x)
	     || ' ' || ((SELECT count(*) FROM kept) > 50)" "0 0 true"
check_sql "the history index is there and valid" "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = 'pgtrickle.idx_hist_pgt_start'::regclass" t
check_sql "every buffer has changed_columns, a varbit where the source is wide" \
	"SELECT string_agg(DISTINCT s.relid::regclass || ' ' || coalesce(format_type(a.atttypid, NULL), 'none'), ', ' ORDER BY s.relid::regclass || ' ' || coalesce(format_type(a.atttypid, NULL), 'none'))
	   FROM pgtrickle.pgt_sources s JOIN pg_class c ON c.relname ~ ('^changes_' || s.relid || '(_|\$)') AND c.relkind = 'r'
	   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'changed_columns'" \
	"part bigint, t bigint, wide bit varying"
write 12
begun=$(last_refresh)
consumer_start
all_equal "written before, consumed after"
incremental "written before, consumed after" "$begun"
write 13
all_equal "written after"
incremental "written after" "$begun"
check_sql "new segments stand in the order of the wire" \
	"SELECT bool_and(attnum = 3) FROM pg_attribute WHERE attname = 'changed_columns' AND attrelid IN
	    (SELECT to_regclass('pgtrickle_changes.' || relname) FROM pgtrickle._consumer_segments())" t

# ---------------------------------------------------------------- what the new version brings, over the old history

q "SELECT pgtrickle.setup_self_monitoring()" > /dev/null || fail "self-monitoring is set up"
check_poll "five df_* are ACTIVE" "SELECT count(*) FROM pgtrickle.self_monitoring_status() WHERE status = 'ACTIVE'" 5
q "SELECT pgtrickle.refresh_stream_table('pgtrickle.df_efficiency_rolling')" > /dev/null
check_sql "DF-1 counts the refreshes from before the update" \
	"SELECT bool_and(e.total_refreshes = n AND n >= 11) || ' ' || count(*) FROM pgtrickle.df_efficiency_rolling e
	   JOIN (SELECT pgt_id, count(*) AS n FROM pgtrickle.pgt_refresh_history GROUP BY 1) h USING (pgt_id) WHERE pgt_name LIKE 's\_%'" "true 5"
q "SELECT pgtrickle.teardown_self_monitoring()" > /dev/null
check_sql "and are gone again" "SELECT count(*) FROM pgtrickle.self_monitoring_status() WHERE status = 'NOT_CREATED'" 5

# ---------------------------------------------------------------- the catalogs

catalog > "$PGT_DIR/updated.out"
consumer_stop
poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = '$PGT_SLOT'" f
q "SELECT pg_drop_replication_slot('$PGT_SLOT')" > /dev/null
export PGDATABASE=postgres
q "CREATE DATABASE fresh"
export PGDATABASE=fresh
q "CREATE EXTENSION pg_trickle"
catalog > "$PGT_DIR/fresh.out"
check "there is something to compare" test "$(grep -c ^function "$PGT_DIR/fresh.out")" -gt 50
if diff "$PGT_DIR/fresh.out" "$PGT_DIR/updated.out" > "$PGT_DIR/diff.out"; then pass "the catalogs are those of a fresh installation"; else
	head -40 "$PGT_DIR/diff.out" | sed 's/^/# /'
	fail "the catalogs are those of a fresh installation"
fi
q "COMMENT ON TABLE pgtrickle.pgt_state IS 'another'"
check "the comparison sees a difference" test "$(catalog | diff - "$PGT_DIR/updated.out" | grep -c '^<')" = 1

# ---------------------------------------------------------------- the update under writes, with the consumer running

old_database live
write 1
refresh_all
begun=$(last_refresh)
# one transaction from before to after the update, over all sources
coproc LONG { "$PGT_BIN/psql" -XAtq -v ON_ERROR_STOP=1; }
long_pid=$LONG_PID
printf '%s\n' "BEGIN;" "INSERT INTO t SELECT i, i % 5, i, 'long' FROM generate_series(100001, 100100) i;" "INSERT INTO wide (id, c2) VALUES (100001, 1);" "SELECT 'begun';" >&"${LONG[1]}"
read -r -t 30 line <&"${LONG[0]}"
( for i in $(seq 1 400); do q "INSERT INTO t VALUES (200000 + $i, $i, $i, 'writer'); UPDATE t SET v = v + 1 WHERE id = 200000 + $i - 1; INSERT INTO part VALUES (5000 + $i, $i)" || exit 1
  [ ! -e "$PGT_DIR/enough" ] || break; done ) &
writer=$!
check_poll "writers write" "SELECT count(*) > 10 FROM t WHERE id > 200000" t
q "ALTER EXTENSION pg_trickle UPDATE" || fail "the update runs beside writers"
printf '%s\n' "UPDATE t SET v = v + 1, note = 'longer' WHERE id > 100000 AND id <= 100100;" "UPDATE wide SET c70 = 7 WHERE id = 100001;" "INSERT INTO part VALUES (9999, 1);" "COMMIT;" "SELECT 'done';" >&"${LONG[1]}"
read -r -t 30 line <&"${LONG[0]}"
check_eq "the long transaction committed" "$line" done
n=$(q "SELECT count(*) FROM t WHERE id > 200000")
check_poll "writers go on" "SELECT count(*) > $n + 10 FROM t WHERE id > 200000" t
touch "$PGT_DIR/enough"
wait $writer
printf '%s\n' '\q' >&"${LONG[1]}"
wait "$long_pid" 2> /dev/null
check "the consumer starts over by itself" poll_cmd 30 grep -q "schema changed from version $old to $new" "$PGT_DIR/consumer.log"
all_equal "updated under writes"
incremental "updated under writes" "$begun"
write 2
all_equal "after the update under writes"
incremental "after the update under writes" "$begun"

# ---------------------------------------------------------------- a newer schema

q "INSERT INTO pgtrickle.pgt_schema_version VALUES ('99.0.0'); SELECT pg_notify('pgtrickle_catalog', '')" > /dev/null
wait "${CONSUMERS[-1]}"
check_eq "a consumer that runs when the schema becomes newer ends" $? 3
unset "CONSUMERS[-1]"
before=$(q "SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT s FROM pgtrickle.pgt_slot s) x")
consumer_spawn
wait "${CONSUMERS[-1]}"
check_eq "and does not start any more" $? 3
unset "CONSUMERS[-1]"
check "it says which versions" grep -q "schema in this database is version 99.0.0, newer than this trickle-consumer $new" "$PGT_DIR/consumer.log"
check_eq "it wrote nothing" "$(q "SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT s FROM pgtrickle.pgt_slot s) x")" "$before"
done_testing
