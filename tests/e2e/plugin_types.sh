#!/usr/bin/env bash
# The output plugin alone: every type with binary I/O goes into a buffer of its own type and comes out as it was; the others travel as
# bytes; a type whose send function fails does not stop the stream.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/plugin.sh"
cluster_new
plugin_new

# ---- every built-in base type that can be sent and received, with a value of its own where text input makes one
q "CREATE TABLE sample (typ regtype PRIMARY KEY, val text)"
q_script <<'SQL'
INSERT INTO sample VALUES
 ('bool','t'),('bytea',E'\\x00ff10'),('"char"','x'),('name','n'),('int8','-9223372036854775808'),('int2','-32768'),('int2vector','1 2 3'),
 ('int4','-2147483648'),('regproc','now'),('text','täxt'),('oid','4294967295'),('tid','(1,2)'),('xid','4294967295'),('cid','7'),('oidvector','1 2'),
 ('json','{"a": [1,  2]}'),('xml','<a>b</a>'),('point','(1,-2)'),('lseg','[(0,0),(1,1)]'),('path','[(0,0),(1,1)]'),('box','(1,1),(0,0)'),
 ('polygon','((0,0),(1,1),(1,0))'),('line','{1,2,3}'),('cidr','10.0.0.0/8'),('float4','NaN'),('float8','-Infinity'),('circle','<(0,0),1>'),
 ('money','-1.23'),('macaddr','08:00:2b:01:02:03'),('inet','::1'),('macaddr8','08:00:2b:01:02:03:04:05'),('bpchar','b  '),('varchar','v'),
 ('date','0044-03-15 BC'),('time','23:59:60'),('timestamp','infinity'),('timestamptz','-infinity'),('interval','1 mon -1 day 00:00:01.5'),
 ('timetz','12:00+05:30'),('bit','1'),('varbit','10110'),('numeric','-12345678901234567890.000123'),('uuid','a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
 ('pg_lsn','16/B374D848'),('tsvector',$$'a':1 'b':2A$$),('tsquery',$$'a' & 'b'$$),('jsonb','{"b":1,"a":[null,2.50]}'),('jsonpath','$."a"[*]'),
 ('txid_snapshot','10:20:10,14'),('pg_snapshot','10:20:10,14'),('xid8','18446744073709551615'),('regclass','pg_class'),('regtype','int4'),
 ('regnamespace','pg_catalog'),('regrole','postgres'),('regprocedure','now()'),('regoper','*<>'),('regoperator','+(integer,integer)'),
 ('regconfig','english'),('regdictionary','english_stem'),('regcollation','"C"'),('int4range','[1,5)'),('int8range','(,5)'),('numrange','empty'),
 ('daterange','[2020-01-01,2020-02-01)'),('tsrange','[2020-01-01,)'),('tstzrange','empty'),('int4multirange','{[1,2),[5,9)}'),('nummultirange','{}'),
 ('int8multirange','{[1,2)}'),('datemultirange','{}'),('tsmultirange','{}'),('tstzmultirange','{}');
SQL
check_sql "no base type that can be sent and stored is forgotten" "SELECT string_agg(typname, ' ' ORDER BY typname) FROM pg_type
	WHERE typtype IN ('b', 'r', 'm') AND typsend <> 0 AND typreceive <> 0 AND typelem = 0 AND typnamespace = 'pg_catalog'::regnamespace AND typname NOT LIKE '\\_%'
	AND typname NOT IN ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'unknown', 'refcursor')
	AND oid NOT IN (SELECT typ FROM sample)" ""
q "DO \$\$ DECLARE r record; n int := 0; BEGIN
	EXECUTE 'CREATE TABLE ty (id int, ' || (SELECT string_agg('c' || row_number || ' ' || t || ', a' || row_number || ' ' || t || '[]', ', ')
		FROM (SELECT row_number() OVER (ORDER BY typ), typ::text || CASE typ::text WHEN '\"char\"' THEN '' WHEN 'bit' THEN '(1)' ELSE '' END AS t FROM sample WHERE typ::text NOT IN ('txid_snapshot')) x) || ')';
	EXECUTE 'ALTER TABLE ty REPLICA IDENTITY FULL';
	END \$\$"
q "SELECT reg('ty', ARRAY(SELECT attnum FROM pg_attribute WHERE attrelid = 'ty'::regclass AND attnum > 0))"
q "DO \$\$ BEGIN EXECUTE 'INSERT INTO ty VALUES (1, ' || (SELECT string_agg(format('%L, ARRAY[NULL, %L::%s]', val, val, typ), ', ' ORDER BY typ) FROM sample WHERE typ::text NOT IN ('txid_snapshot')) || ')'; END \$\$"
q "INSERT INTO ty (id) VALUES (2)"
q "UPDATE ty SET id = 3 WHERE id = 1"
drain
check_bag ty 1 "$(q "SELECT count(*) FROM sample") base types, ranges and multiranges, their arrays, and NULLs"
check_sql "an update of one column marks one column" "SELECT DISTINCT bit_length(changed_columns) > 63, get_bit(changed_columns, 0),
	length(replace(changed_columns::text, '0', '')) FROM pgtrickle_changes.b_$(q "SELECT 'ty'::regclass::oid")_1 WHERE changed_columns IS NOT NULL" "t|1|1"

# ---- numbers are written without numeric_send: compared with what it makes of them
q "CREATE TABLE num (id int, n numeric); ALTER TABLE num REPLICA IDENTITY FULL; SELECT reg('num', '{1,2}', kinds => 'ns')"
q_script <<'SQL'
SELECT setseed(0.1);
INSERT INTO num SELECT row_number() OVER (), v::numeric FROM unnest('{0,-0,0.0,0.00000,1,-1,9999,10000,-10000,99999999,1e-20,1e20,-1e131071,1e-16383,1.50,100000000,0.0001,0.00010,NaN,Infinity,-Infinity,12345678.12345678}'::text[]) v;
INSERT INTO num SELECT 1000 + g, (((random() - 0.5) * 1e9)::numeric * (10::numeric ^ (g % 60 - 30)))::numeric(200, 80) FROM generate_series(1, 2000) g;
INSERT INTO num SELECT 5000 + g, round((random() * 10 ^ (g % 12))::numeric, g % 9) FROM generate_series(1, 2000) g;
INSERT INTO num SELECT 9000 + g, (repeat('1234567890', g * 10) || '.' || repeat('98765', g))::numeric FROM generate_series(1, 50) g;
INSERT INTO num SELECT 10000, 10::numeric ^ 100000 + 1;
UPDATE num SET n = -n WHERE id % 3 = 0;
SQL
drain
check_sql "4,000 numbers, special values, large and small ones" "SELECT count(*), count(*) FILTER (WHERE b.c2 = numeric_send(n)) FROM num
	JOIN (SELECT c1, c2 FROM pgtrickle_changes.b_$(q "SELECT 'num'::regclass::oid")_1 WHERE op = '+' EXCEPT ALL SELECT c1, c2 FROM pgtrickle_changes.b_$(q "SELECT 'num'::regclass::oid")_1 WHERE op = '-') b ON c1 = id" \
	"4073|4073"

# ---- user-defined: enum, domains, composites, ranges over them; in buffers of bytea and of their own type
q_script <<'SQL'
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text, m mood);
CREATE DOMAIN posint AS int CHECK (value > 0);
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN dpair AS pair;
CREATE TYPE posrange AS RANGE (subtype = float8);
CREATE TABLE ut (e mood, c pair, d posint, da moods, dp dpair, r posrange, cs pair[], ds posint[]);
ALTER TABLE ut REPLICA IDENTITY FULL;
SQL
q "SELECT reg('ut', '{1,2,3,4,5,6,7,8}')"
ins="INSERT INTO ut VALUES ('sad', (1, 'x', 'ok'), 5, '{sad,ok,NULL}', (NULL, NULL, 'sad'), '[1,2)', ARRAY[(1, 'y', NULL)::pair, NULL], '{1,2}')"
q "$ins"; q "UPDATE ut SET d = 6"
drain
check_bag ut 1 "enum, composite, domains, range, arrays of them"
q "SELECT reg('ut', '{1,2,3}', kinds => 'sss', gen => 2)"
skip
q "DELETE FROM ut; $ins"
drain
check_sql "kind s: the same bytes in bytea" "SELECT convert_from(c1, 'UTF8'), c2 = record_send('(1,x,ok)'::pair), c3 = int4send(5) FROM pgtrickle_changes.b_$(q "SELECT 'ut'::regclass::oid")_2 WHERE op = '+'" "sad|t|t"
q "BEGIN; ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; UPDATE ut SET d = 7; COMMIT"
drain
check_sql "an enum label is the one of the moment" "SELECT DISTINCT convert_from(c1, 'UTF8') FROM pgtrickle_changes.b_$(q "SELECT 'ut'::regclass::oid")_2 WHERE changed_columns IS NOT NULL" "blue"

# ---- types without a send function
q "CREATE TABLE nosend (id int, acl aclitem, acls aclitem[]); ALTER TABLE nosend REPLICA IDENTITY FULL; SELECT reg('nosend', '{1,2}', kinds => 'nd')"
q "INSERT INTO nosend VALUES (1, 'postgres=r/postgres', NULL)"
drain
check_sql "kind d: the bytes of the datum" "SELECT length(c2) = (SELECT typlen FROM pg_type WHERE typname = 'aclitem') FROM pgtrickle_changes.b_$(q "SELECT 'nosend'::regclass::oid")_1" t
q "SELECT reg('nosend', '{1,2,3}', gen => 2)" 2> /dev/null
skip
q "INSERT INTO nosend VALUES (2, 'postgres=r/postgres', NULL)"
check_eq "registered as native nevertheless: quarantined, the stream goes on" "$(frames | grep -v relation)" "begin
quarantine public.nosend/2 type aclitem of column \"acl\" has no binary output function
row public.nosend/2 X
commit"

# ---- send functions that fail
q_script 2> /dev/null <<'SQL'
CREATE TYPE shy;
CREATE FUNCTION shy_in(cstring) RETURNS shy IMMUTABLE STRICT LANGUAGE internal AS 'int4in';
CREATE FUNCTION shy_out(shy) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';
CREATE TYPE shy (INPUT = shy_in, OUTPUT = shy_out, LIKE = int4);
CREATE FUNCTION shy_send(shy) RETURNS bytea STABLE STRICT LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid;
    RAISE EXCEPTION 'shy %', 'value' USING ERRCODE = 'data_exception';
END $$;
SQL
q "ALTER TYPE shy SET (SEND = shy_send)"
q "CREATE TABLE sh (id int, big text, v shy); ALTER TABLE sh REPLICA IDENTITY FULL; SELECT reg('sh', '{1,2,3}')" 2> /dev/null
q "CREATE TABLE other (id int); ALTER TABLE other REPLICA IDENTITY FULL; SELECT reg('other', '{1}')"
skip
q "BEGIN; INSERT INTO other VALUES (1); INSERT INTO sh VALUES (1, 'a', NULL), (2, 'b', '5'), (3, 'c', '6'); INSERT INTO other VALUES (2); COMMIT"
q "UPDATE sh SET id = 4 WHERE id = 2"
check_eq "a failing send function: X and the reason, everything else arrives" "$(frames | grep -v relation)" "begin
row public.other/1 + - |1|
row public.sh/1 + - |1|a|NULL|
quarantine public.sh/1 captured columns could not be sent: shy value
row public.sh/1 X
row public.other/1 + - |2|
commit
begin
row public.sh/1 X
commit"
check_eq "in json too" "$(q "INSERT INTO sh VALUES (9, 'x', '1')"; json | grep -c '"op":"+"')" 1
q "INSERT INTO sh SELECT g, 'x', '1' FROM generate_series(1, 3000) g"
check_eq "3,000 failures in one transaction" "$(frames | grep -v relation)" "begin
quarantine public.sh/1 captured columns could not be sent: shy value
row public.sh/1 X
commit"

# ---- text does not depend on the client's encoding
q "CREATE TABLE enc (id int, t text, n name, c pair, j jsonb, x xml); ALTER TABLE enc REPLICA IDENTITY FULL; SELECT reg('enc', '{1,2,3,4,5,6}')"
q "INSERT INTO enc VALUES (1, '漢字 ä', '漢', (1, '漢', 'ok'), '{\"漢\": 1}', '<a>漢</a>')"
DECODE_ENCODING=LATIN1 drain
check_bag enc 1 "a LATIN1 client gets the database's encoding"
check_sql "and keeps its own encoding" "SHOW client_encoding" UTF8
PGCLIENTENCODING=LATIN1 check_sql "also in the session that decoded" "SELECT count(*) FROM pg_logical_slot_get_binary_changes('s', NULL, NULL); SHOW client_encoding" "0
LATIN1"

# ---- the C locale and SQL_ASCII
q "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
export PGDATABASE=ascii
registry_new
q "SELECT pg_create_logical_replication_slot('s2', 'pgtrickle_output')" > /dev/null
q "CREATE TYPE pair AS (a int, b text); CREATE TABLE enc (id int, b text, c pair); SELECT reg('enc', '{1,2,3}')"
q "INSERT INTO enc VALUES (1, E'\\xff\\xfe', (1, E'\\xff'))"
check_eq "SQL_ASCII: bytes pass as they are" "$(PGCLIENTENCODING=UTF8 q "SELECT data FROM pg_logical_slot_get_binary_changes('s2', NULL, NULL)" | "${PGTFRAME[@]}" text | grep -c '0xfffe\||-2|')" 1
done_testing
