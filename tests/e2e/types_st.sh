#!/usr/bin/env bash
# Stream tables over every built-in type with binary I/O and its array, and over what users make of them: inserted, updated, set to NULL,
# deleted; selected, grouped by, distinct, joined by.  After each step every ST equals its query, and nothing fell back to a comparison
# except where a type was altered.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
q "ALTER DATABASE $PGDATABASE SET client_min_messages = warning"
q "ALTER DATABASE $PGDATABASE SET pg_trickle.enabled = off"
consumer_start

# Like st_difference, by the text of the rows: 1.0 and 1.00, or -0 and 0, are different here.
image_difference()
{
	local sql
	sql=$(q "SELECT format('WITH q AS MATERIALIZED (SELECT q::text AS r FROM (%s) q(%s)), s AS MATERIALIZED (SELECT ROW(%2\$s)::text AS r FROM %s s)
	           SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) d) || '','' || (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) d)',
	         rtrim(max(p.defining_query), '; '), string_agg(quote_ident(attname), ', ' ORDER BY attnum), max(p.pgt_relid)::regclass)
	         FROM pgtrickle.pgt_stream_tables p JOIN pg_attribute a ON attrelid = pgt_relid
	         WHERE pgt_relid = '$1'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt\\_%'") || return 1
	q "$sql"
}

# all_equal WHAT: refreshes every ST and compares; one line.  Names that begin with "k" have keys whose image is the query's own choice.
all_equal()
{
	local st bad= d
	bad=$(q "SELECT count(pgtrickle.refresh_stream_table(pgt_schema || '.' || pgt_name)) FROM (SELECT * FROM pgtrickle.pgt_stream_tables ORDER BY pgt_id) s" 2>&1 > /dev/null | head -3)
	for st in $(q "SELECT pgt_name FROM pgtrickle.pgt_stream_tables ORDER BY pgt_id"); do
		case $st in
			k*) d=$(st_difference "$st" 2>&1) ;;
			*) d=$(image_difference "$st" 2>&1) ;;
		esac
		[ "$d" = 0,0 ] || bad+=" $st: $d"
	done
	check_eq "equal after: $1" "$bad" ""
}
step()
{
	local out
	out=$(q "$1" 2>&1) || { echo "# $out"; fail "${1:0:100}"; }
	all_equal "${1:0:100}"
}

# ---- every built-in base type and its array
q "CREATE TABLE sample (typ regtype PRIMARY KEY, val text, other text)"
q_script > /dev/null <<'SQL'
INSERT INTO sample VALUES
 ('bool','t','f'),('bytea',E'\\x00ff10',''),('"char"','x','y'),('name','n',''),('int8','-9223372036854775808','7'),('int2','-32768','7'),('int2vector','1 2 3','1'),
 ('int4','-2147483648','7'),('regproc','now','version'),('text','täxt',''),('oid','4294967295','1'),('tid','(1,2)','(1,3)'),('xid','4294967295','3'),('cid','7','8'),('oidvector','1 2','1'),
 ('json','{"a": [1,  2]}','{"a": [1, 2]}'),('xml','<a>b</a>','<a/>'),('point','(1,-2)','(1,-2.0000001)'),('lseg','[(0,0),(1,1)]','[(0,0),(1,2)]'),('path','[(0,0),(1,1)]','((0,0),(1,1))'),('box','(1,1),(0,0)','(2,2),(0,0)'),
 ('polygon','((0,0),(1,1),(1,0))','((0,0),(1,1),(1,2))'),('line','{1,2,3}','{1,2,4}'),('cidr','10.0.0.0/8','10.0.0.0/9'),('float4','NaN','-0'),('float8','-Infinity','-0'),('circle','<(0,0),1>','<(1,0),1>'),
 ('money','-1.23','0'),('macaddr','08:00:2b:01:02:03','08:00:2b:01:02:04'),('inet','::1','10.0.0.1/8'),('macaddr8','08:00:2b:01:02:03:04:05','08:00:2b:01:02:03:04:06'),('bpchar','b  ','c'),('varchar','v','v '),
 ('date','0044-03-15 BC','infinity'),('time','23:59:60','0:00'),('timestamp','infinity','2020-01-01'),('timestamptz','-infinity','2020-01-01'),('interval','1 mon -1 day 00:00:01.5','30 days'),
 ('timetz','12:00+05:30','06:30+00'),('bit','1','0'),('varbit','10110',''),('numeric','NaN','1.00'),('uuid','a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11','00000000-0000-0000-0000-000000000000'),
 ('pg_lsn','16/B374D848','0/0'),('tsvector',$$'a':1 'b':2A$$,''),('tsquery',$$'a' & 'b'$$,$$'a'$$),('jsonb','{"b":1,"a":[null,2.50]}','{"b":1,"a":[null,2.5]}'),('jsonpath','$."a"[*]','$.b'),
 ('pg_snapshot','10:20:10,14','10:20:'),('xid8','18446744073709551615','3'),('regclass','pg_class','pg_type'),('regtype','int4','int8'),
 ('regnamespace','pg_catalog','public'),('regrole','postgres','trickle'),('regprocedure','now()','version()'),('regoper','*<>','*<='),('regoperator','+(integer,integer)','+(bigint,bigint)'),
 ('regconfig','english','simple'),('regdictionary','english_stem','simple'),('regcollation','"C"','"POSIX"'),('int4range','[1,5)','empty'),('int8range','(,5)','(,)'),('numrange','empty','[1.0,2)'),
 ('daterange','[2020-01-01,2020-02-01)','empty'),('tsrange','[2020-01-01,)','empty'),('tstzrange','empty','(,)'),('int4multirange','{[1,2),[5,9)}','{}'),('nummultirange','{}','{[1.00,2)}'),
 ('int8multirange','{[1,2)}','{}'),('datemultirange','{}','{(,)}'),('tsmultirange','{}','{(,)}'),('tstzmultirange','{}','{(,)}');
CREATE VIEW cols AS SELECT row_number() OVER (ORDER BY typ) AS n, typ, val, other, typ::text || CASE typ::text WHEN '"char"' THEN '' WHEN 'bit' THEN '(1)' ELSE '' END AS t,
	EXISTS (SELECT FROM pg_amop o JOIN pg_opclass c ON c.opcfamily = o.amopfamily AND c.opcmethod = o.amopmethod WHERE c.opcdefault AND c.opcmethod IN (403, 405)
	        AND c.opcintype = CASE typ::oid WHEN 'varchar'::regtype THEN 'text' WHEN 'cidr'::regtype THEN 'inet' ELSE
			CASE WHEN typ::text LIKE 'reg%' THEN 'oid' WHEN typ::text LIKE '%multirange' THEN 'anymultirange' WHEN typ::text LIKE '%range' THEN 'anyrange' ELSE typ END END) AS eq FROM sample;
SELECT 'CREATE TABLE ty (id int PRIMARY KEY, ' || string_agg(format('c%s %s, a%1$s %2$s[]', n, t), ', ' ORDER BY n) || ')' FROM cols \gexec
SELECT 'CREATE TABLE tz AS TABLE ty' \gexec
CREATE FUNCTION fill(which text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE which WHEN 'val' THEN format('%L, ARRAY[NULL, %1$L::%s]', val, typ) WHEN 'other' THEN format('%L, %L::%s[]', other, '{}', typ)
		WHEN 'bound' THEN format('%L, %L::%s[]', val, '[2:2]={NULL}', typ) ELSE 'NULL, NULL' END, ', ' ORDER BY n) FROM cols $$;
SELECT format('INSERT INTO ty VALUES (1, %s), (2, %s), (3, %s), (4, %s), (5, %2$s), (6, %4$s)', fill('val'), fill('other'), fill('null'), fill('bound')) \gexec
INSERT INTO tz SELECT * FROM ty WHERE id > 3;
SQL
creates=$(q "SELECT 'SELECT pgtrickle.create_stream_table(' || quote_literal(name) || ', ' || quote_literal(query) || ', ''1d'')' FROM (
	SELECT 'bag' AS name, 'SELECT ' || string_agg(format('c%s, a%1\$s', n), ', ' ORDER BY n) || ' FROM ty' AS query, 0 AS chunk FROM cols
	UNION ALL SELECT 'whole', 'SELECT * FROM ty', 0
	UNION ALL SELECT 'outr', 'SELECT x.id, y.id AS yid, ' || string_agg(format('y.c%s, y.a%1\$s', n), ', ' ORDER BY n) || ' FROM ty x LEFT JOIN tz y ON x.id = y.id', 0 FROM cols
	UNION ALL SELECT 'kgroup' || n / 12, 'SELECT ' || string_agg(format('c%s, a%1\$s', n), ', ' ORDER BY n) || ', count(*) AS n, max(id) AS m FROM ty GROUP BY ' ||
		string_agg(format('c%s, a%1\$s', n), ', ' ORDER BY n), n / 12 FROM cols WHERE eq GROUP BY n / 12
	UNION ALL SELECT 'kdist' || n / 24, 'SELECT DISTINCT ' || string_agg(format('c%s, a%1\$s', n), ', ' ORDER BY n) || ' FROM ty', n / 12 FROM cols WHERE eq GROUP BY n / 24, n / 12
		HAVING n / 12 % 2 = 0
	UNION ALL SELECT 'join' || n / 30, 'SELECT x.id, y.id AS yid, ' || string_agg(format('x.c%s', n), ', ' ORDER BY n) || ' FROM ty x JOIN tz y ON ' ||
		string_agg(format('x.c%s = y.c%1\$s', n), ' AND ' ORDER BY n), n / 30 FROM cols WHERE eq AND typ NOT IN ('float8'::regtype) GROUP BY n / 30) s ORDER BY chunk, name")
refused=$(while read -r c; do q "$c" 2>&1 | grep .; done <<< "$creates")
check_eq "stream tables over all types are created" "$refused" ""
all_equal "the first load"
step "INSERT INTO ty SELECT id + 10, $(q "SELECT string_agg(format('c%s, a%1\$s', n), ', ' ORDER BY n) FROM cols") FROM ty"
step "UPDATE ty SET $(q "SELECT string_agg(format('c%s = NULL, a%1\$s = NULL', n), ', ') FROM cols WHERE n % 2 = 0") WHERE id IN (1, 2)" 
step "UPDATE ty SET $(q "SELECT string_agg(format('c%s = %L', n, val), ', ') FROM cols WHERE n % 3 = 0") WHERE id IN (2, 3, 12)"
step "UPDATE tz SET $(q "SELECT string_agg(format('c%s = %L, a%1\$s = ''{}''', n, other), ', ') FROM cols")"
step "UPDATE ty SET id = id + 100 WHERE id IN (4, 5)"
step "DELETE FROM ty WHERE id IN (1, 3, 106, 11, 13)"
step "DELETE FROM tz WHERE id > 4"
check_sql "no refresh had to compare" "SELECT string_agg(DISTINCT pgt_name || ': ' || coalesce(reason, ''), ', ') FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id)
	WHERE action = 'FULL' AND merge_strategy_used IS DISTINCT FROM 'load'" ""
q "DO \$\$ BEGIN PERFORM pgtrickle.drop_stream_table(pgt_name) FROM pgtrickle.pgt_stream_tables; END \$\$; DROP TABLE ty, tz"

# ---- what users make: enum, domain, composite, range, collation, contrib; values with several images
contrib=$(q "SELECT count(*) FROM pg_available_extensions WHERE name IN ('citext', 'hstore')")
[ "$contrib" != 2 ] || q "CREATE EXTENSION citext; CREATE EXTENSION hstore"
[ "$contrib" = 2 ] || q "CREATE DOMAIN citext AS text; CREATE DOMAIN hstore AS text"
icu=$(q "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)" 2>&1) && icu='COLLATE ci' || icu=
q_script > /dev/null <<SQL
CREATE TYPE mood AS ENUM ('sad', 'ok', 'fine');
CREATE TYPE pair AS (a int, b text, m mood);
CREATE DOMAIN posint AS int CHECK (value > 0);
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN dpair AS pair;
CREATE TYPE frange AS RANGE (subtype = float8);
CREATE TABLE u (id int, e mood, c pair, d posint, da moods, dp dpair, r frange, cs pair[], n numeric, f float8, ch char(5), ci text $icu, ct citext, h hstore,
	gen int GENERATED ALWAYS AS (id * 2) STORED, gone int, iv interval);
ALTER TABLE u DROP COLUMN gone;
INSERT INTO u (id, e, c, d, da, dp, r, cs, n, f, ch, ci, ct, h, iv) SELECT g, 'sad'::mood, ROW(g % 2, 'x', 'ok')::pair, 5, '{sad,ok,NULL}'::mood[], ROW(NULL, NULL, 'sad')::pair::dpair, '[1,2)'::frange, ARRAY[(1, 'y', NULL)::pair, NULL],
	(ARRAY['1.0', '1.00', 'NaN', 'Infinity'])[1 + g % 4]::numeric, (ARRAY['0', '-0', 'NaN'])[1 + g % 3]::float8, 'ab', (ARRAY['a', 'A', 'b'])[1 + g % 3], (ARRAY['X', 'x'])[1 + g % 2],
	'a=>1'::hstore, CASE g % 2 WHEN 0 THEN '1 mon' ELSE '30 days' END::interval FROM generate_series(1, 12) g;
ALTER TABLE u ADD COLUMN fast text DEFAULT 'fast', ADD COLUMN fastn numeric DEFAULT 1.50;
CREATE TABLE lk (e mood PRIMARY KEY, t text);
INSERT INTO lk VALUES ('sad', 's'), ('ok', 'o');
SELECT pgtrickle.create_stream_table('bag', 'SELECT * FROM u', '1d');
SELECT pgtrickle.create_stream_table('some', 'SELECT n, f, ct, ci FROM u', '1d');
SELECT pgtrickle.create_stream_table('filt', 'SELECT id, e, c, fast FROM u WHERE e = ''sad'' AND fast = ''fast'' AND d > 1', '1d');
SELECT pgtrickle.create_stream_table('knum', 'SELECT n, count(*) AS c FROM u GROUP BY n', '1d');
SELECT pgtrickle.create_stream_table('kflt', 'SELECT f, count(*) AS c, sum(n) AS s, min(n) AS m FROM u GROUP BY f', '1d');
SELECT pgtrickle.create_stream_table('kci', 'SELECT ci, count(*) AS c, max(ch) AS m FROM u GROUP BY ci', '1d');
SELECT pgtrickle.create_stream_table('kct', 'SELECT ct, ch, iv, count(*) AS c, count(DISTINCT n) AS dn FROM u GROUP BY ct, ch, iv', '1d');
SELECT pgtrickle.create_stream_table('kcomp', 'SELECT c, d, da, dp, r, cs, e, count(*) AS n FROM u GROUP BY c, d, da, dp, r, cs, e', '1d');
SELECT pgtrickle.create_stream_table('enums', 'SELECT e, count(*) AS n, min(e) AS mi, max((c).m) AS ma FROM u GROUP BY e', '1d');
SELECT pgtrickle.create_stream_table('joined', 'SELECT u.id, u.n, lk.t FROM u JOIN lk ON lk.e = u.e', '1d');
SELECT pgtrickle.create_stream_table('outr', 'SELECT u.id, lk.e, lk.t FROM u LEFT JOIN lk ON lk.e = u.e AND lk.t <> ''z''', '1d');
SELECT pgtrickle.create_stream_table('kchain', 'SELECT n, c + 1 AS c FROM knum WHERE c > 0', '1d');
SQL
all_equal "the first load of users' types"
step "UPDATE u SET n = '1.000' WHERE id % 4 = 1"
step "UPDATE u SET n = n + 1, f = 0 WHERE id % 3 = 0"
step "UPDATE u SET f = '-0', ci = upper(ci), ct = upper(ct::text) WHERE id % 2 = 0"
step "DELETE FROM u WHERE id IN (1, 4, 8)"
step "UPDATE u SET iv = '1 mon', ch = 'ab  ', c = (7, NULL, NULL), fast = NULL WHERE id % 2 = 1"
step "INSERT INTO u (id, e, d, ci, ct, n) VALUES (20, 'fine', 1, 'B', 'y', 'NaN'), (21, NULL, NULL, NULL, NULL, NULL)"
step "UPDATE u SET e = NULL, c = NULL, d = NULL, da = NULL, dp = NULL, r = NULL, cs = NULL, n = NULL, f = NULL, ch = NULL, ci = NULL, ct = NULL, h = NULL, fast = NULL, iv = NULL WHERE id IN (5, 6)"
step "UPDATE u SET e = 'ok', fast = DEFAULT, dp = (1, 'q', 'ok'), r = 'empty', h = 'b=>NULL, a=>2' WHERE id IN (5, 7)"
step "UPDATE lk SET t = 'z' WHERE e = 'sad'"

# Between change and refresh the type itself changes.
q "UPDATE u SET e = 'sad', da = '{ok}', c = (1, 'n', 'ok') WHERE id IN (2, 20)"
step "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"
q "UPDATE u SET e = 'ok' WHERE e = 'blue' AND id % 2 = 0"
q "ALTER TYPE mood ADD VALUE 'wild' BEFORE 'ok'"
step "UPDATE u SET e = 'wild', da = '{wild,ok}' WHERE id IN (3, 5)"
step "INSERT INTO lk VALUES ('wild', 'w')"
q "UPDATE u SET c = (8, 'before', 'ok') WHERE id = 9"
step "ALTER TYPE pair ADD ATTRIBUTE z int"
step "UPDATE u SET c = (8, 'after', 'ok', 5) WHERE id IN (9, 11)"
step "ALTER TYPE pair RENAME ATTRIBUTE m TO mm"
step "ALTER DOMAIN posint DROP CONSTRAINT posint_check"
step "UPDATE u SET d = -5 WHERE id % 2 = 0"

# ---- array keys: NULL, the empty array and lower bounds are three things
q_script > /dev/null <<'SQL'
CREATE TABLE ar (id int PRIMARY KEY, a int[], o oidvector, v int);
INSERT INTO ar VALUES (1, NULL, NULL, 1), (2, '{}', '', 2), (3, '{1}', '1', 3), (4, '[2:2]={1}', NULL, 4), (5, '{{1}}', '', 5);
SELECT pgtrickle.create_stream_table('arr_sum', 'SELECT a, count(*) AS c, sum(v) AS s FROM ar GROUP BY a', '1d');
SELECT pgtrickle.create_stream_table('arr_min', 'SELECT a, o, count(*) AS c, min(v) AS s FROM ar GROUP BY a, o', '1d');
SELECT pgtrickle.create_stream_table('arr_agg', 'SELECT a, string_agg(v::text, chr(44)) AS c FROM ar GROUP BY a', '1d');
SELECT pgtrickle.create_stream_table('arr_dist', 'SELECT DISTINCT a, o FROM ar', '1d');
SQL
step "UPDATE ar SET v = v + 10"
step "INSERT INTO ar SELECT id + 10, a, o, v FROM ar"
step "DELETE FROM ar WHERE id % 10 = 2"
step "UPDATE ar SET a = NULL, o = NULL WHERE id = 3"
step "INSERT INTO ar VALUES (50, '{}', NULL, 2), (51, NULL, '', 3)"
check_eq "no crash" "$(grep -cE 'PANIC|was terminated by signal|TRAP:' "$CLUSTER_LOG")" 0
done_testing
