#!/usr/bin/env bash
# restore.sh: pg_dump of a database with stream tables, restored into another one; whole and as a script; then refreshed there.
. "$(dirname "$0")/../lib/cluster.sh"

cluster_new
printf '%s\n' "CREATE ROLE alice LOGIN;" "CREATE DATABASE origin;" | q_script
PGDATABASE=origin
extension_new

make_origin()
{
	q_script <<-'SQL'
		CREATE SCHEMA "My Schema" AUTHORIZATION alice;
		GRANT CREATE ON SCHEMA public TO alice;
		SET ROLE alice;
		SET client_min_messages = warning;
		CREATE TABLE "My Schema"."Src" (id int PRIMARY KEY, gone int, grp text, v numeric, d date);
		ALTER TABLE "My Schema"."Src" DROP COLUMN gone;
		INSERT INTO "My Schema"."Src" SELECT i, 'g' || i % 3, i, date '2026-01-01' + i FROM generate_series(1, 100) i;
		CREATE TABLE nokey (a int, b text);
		CREATE FUNCTION half(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2';
		CREATE VIEW positive AS SELECT a, b FROM nokey WHERE a > 0;
		SET TimeZone = 'Asia/Tokyo';
		SELECT pgtrickle.create_stream_table('sums', 'SELECT grp, sum(half(v)) AS total, avg(v) AS mean, count(*) AS n FROM "My Schema"."Src" GROUP BY grp', '5s');
		SELECT pgtrickle.create_stream_table('"My Schema"."Top"', 'SELECT grp, n FROM sums WHERE n > 1', 'continuous', 'DIFFERENTIAL');
		SELECT pgtrickle.create_stream_table('bag', 'SELECT s.a, s.b, t.grp FROM positive s LEFT JOIN "My Schema"."Src" t ON t.id = s.a');
		SELECT pgtrickle.alter_stream_table('bag', tier => 'cold', fuse => 'on', fuse_ceiling => 77);
		SELECT pgtrickle.gate_source('nokey');
		SELECT pgtrickle.advance_watermark('"My Schema"."Src"', '2026-01-01 00:00Z');
		SELECT pgtrickle.create_watermark_group('both', ARRAY['nokey', '"My Schema"."Src"'], 5);
		SELECT pgtrickle.create_refresh_group('pair', ARRAY['sums', 'bag']);
		CREATE VIEW over_sums AS SELECT grp FROM sums;
		GRANT SELECT ON sums TO PUBLIC;
	SQL
}

definitions="SELECT pgt_schema, pgt_name, pgt_owner, original_query, defining_query, schedule, refresh_mode, settings, creation_search_path, refresh_tier,
	fuse_mode, fuse_ceiling FROM pgtrickle.pgt_definitions ORDER BY pgt_id"
edges="SELECT d.pgt_name, e.source_type, e.source_relid::regclass, e.columns_used FROM pgtrickle.pgt_dependencies e JOIN pgtrickle.pgt_definitions d USING (pgt_id) ORDER BY 1, 3::text"
sources="SELECT s.relid::regclass, (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = relid AND attnum = ANY (attnums)) FROM pgtrickle.pgt_sources s ORDER BY 1::text"

coordination="SELECT source_relid, gated, gated_by FROM pgtrickle.pgt_source_gates; SELECT source_relid, watermark FROM pgtrickle.pgt_watermarks;
	SELECT group_id, group_name, source_relids, tolerance_secs FROM pgtrickle.pgt_watermark_groups; SELECT group_id, group_name, member_ids FROM pgtrickle.pgt_refresh_groups;
	SELECT d.pgt_name, h.reason FROM pgtrickle._held() h JOIN pgtrickle.pgt_definitions d USING (pgt_id) ORDER BY 1, 2"

new_database()
{
	printf '%s\n' "SET client_min_messages = warning;" "DROP DATABASE IF EXISTS $1;" "CREATE DATABASE $1;" | q_script
}

# The copy gets OIDs of its own: tables made before the restore shift them all.
restore_into_copy()
{
	PGDATABASE=postgres new_database copy
	PGDATABASE=copy q "SELECT count(*) FROM (SELECT lo_create(0) FROM generate_series(1, 500)) l" > /dev/null
	case $1 in
		custom)
			"$PGT_BIN/pg_dump" -d origin -Fc -f "$PGT_DIR/dump" &&
			"$PGT_BIN/pg_restore" -d copy --exit-on-error "$PGT_DIR/dump" ;;
		parallel)
			"$PGT_BIN/pg_dump" -d origin -Fc -f "$PGT_DIR/dump" &&
			"$PGT_BIN/pg_restore" -d copy --exit-on-error -j 2 "$PGT_DIR/dump" ;;
		script)
			"$PGT_BIN/pg_dump" -d origin > "$PGT_DIR/dump.sql" &&
			"$PGT_BIN/psql" -Xq -d copy -v ON_ERROR_STOP=1 -f "$PGT_DIR/dump.sql" > /dev/null ;;
	esac
}

check_copy()
{
	local kind=$1
	check_eq "$kind: the tables came with their rows" "$(PGDATABASE=copy q 'SELECT count(*), sum(n) FROM sums')" "3|100"
	check_eq "$kind: no buffer was dumped" "$(PGDATABASE=copy q "SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname ~ '^(changes|st)_'")" 0
	check_eq "$kind: nothing is captured yet" "$(PGDATABASE=copy q 'SELECT count(*) FROM pgtrickle.pgt_sources')" 0
	check_eq "$kind: nothing is scheduled yet" "$(PGDATABASE=copy q 'SELECT count(*) FROM pgtrickle.pgt_stream_tables')" 0
	PGDATABASE=copy check "$kind: restore_stream_tables" q "SELECT pgtrickle.restore_stream_tables()"
	check_eq "$kind: definitions are the same" "$(PGDATABASE=copy q "$definitions")" "$(q "$definitions")"
	check_eq "$kind: edges are the same" "$(PGDATABASE=copy q "$edges")" "$(q "$edges")"
	check_eq "$kind: gates, watermarks and groups are the same" "$(PGDATABASE=copy q "$coordination")" "$(q "$coordination")"
	check_eq "$kind: and there are some" "$(PGDATABASE=copy q "$coordination" | wc -l)" 8
	check_eq "$kind: sources are captured" "$(PGDATABASE=copy q "$sources")" "$(q "$sources")"
	check_eq "$kind: each is marked for a diff" "$(PGDATABASE=copy q "SELECT string_agg(DISTINCT status || needs_reinit || reinit_reason, ',') FROM pgtrickle.pgt_stream_tables")" \
		"ACTIVEtruerestored from a dump"
	PGDATABASE=copy check_error "$kind: DML is refused" "DELETE FROM sums" 42809
	check_eq "$kind: twice does no harm" "$(PGDATABASE=copy q "SELECT pgtrickle.restore_stream_tables()" 2>&1)" "NOTICE:  0 stream tables restored"
	check_eq "$kind: grants came along" "$(PGDATABASE=copy q "SELECT has_table_privilege('public', 'sums', 'SELECT')")" t
}

make_origin > "$PGT_DIR/origin.out" || { fail "origin is made"; exit 1; }
for kind in script custom parallel; do
	check "$kind: dump and restore without an error" restore_into_copy $kind
	check_copy $kind
done

# Workers of a parallel restore take the tables in any order: pg_dump orders no data of configuration tables for them.
for i in 1 2 3 4 5; do
	restore_into_copy parallel || fail "parallel: round $i restores"
done
check_copy "parallel, again"

# What happened after the dump, or while nothing was captured, is found by the diff.
PGDATABASE=copy
q "INSERT INTO \"My Schema\".\"Src\" VALUES (200, 'g9', 5, '2026-02-02')" -c "INSERT INTO nokey VALUES (200, 'x'), (200, 'x')" || fail "sources are changed"
for st in sums '"My Schema"."Top"' bag; do
	assert_st_equal "$st" "$st is right after its first refresh here"
done
q "SELECT pgtrickle.ungate_source('nokey')" -c "SELECT pgtrickle.drop_watermark_group('both')" > /dev/null
consumer_start
q "UPDATE \"My Schema\".\"Src\" SET v = v + 1 WHERE id < 10" -c "DELETE FROM nokey WHERE ctid = (SELECT min(ctid) FROM nokey)"
for st in sums '"My Schema"."Top"' bag; do
	check_poll "$st is kept fresh" "SELECT missing || ',' || extra FROM pgtrickle.verify_stream_table('$st')" 0,0
done

# A source that was not restored: a warning, and a second call makes it good.
PGDATABASE=postgres new_database copy2
"$PGT_BIN/pg_dump" -d origin -Fc -f "$PGT_DIR/dump"
"$PGT_BIN/pg_restore" -d copy2 "$PGT_DIR/dump" > /dev/null 2>&1
PGDATABASE=copy2
q "ALTER TABLE nokey RENAME TO hidden"
out=$(q "SELECT pgtrickle.restore_stream_tables()" 2>&1)
check "a missing source is a warning" test "${out/WARNING:  stream table public.bag could not be restored/}" != "$out"
check_sql "the others are restored" "SELECT string_agg(pgt_name, ',' ORDER BY pgt_id) FROM pgtrickle.pgt_stream_tables" "sums,Top"
q "ALTER TABLE hidden RENAME TO nokey"
check_sql "the second call restores it" "SELECT pgtrickle.restore_stream_tables()" "NOTICE:  1 stream table restored"
q "SELECT pgtrickle.drop_stream_table('sums', true)" -c "SELECT pgtrickle.drop_stream_table('bag')" > /dev/null 2>&1
check_sql "dropping all leaves nothing" "SELECT (SELECT count(*) FROM pgtrickle.pgt_definitions) + (SELECT count(*) FROM pgtrickle.pgt_sources)
	+ (SELECT count(*) FROM pgtrickle.pgt_segments) + (SELECT count(*) FROM pg_class WHERE relname ~ '^(changes|st)_[0-9]')" 0
done_testing
