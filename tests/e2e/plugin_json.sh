#!/usr/bin/env bash
# The output plugin alone: the json format's golden lines, and options as hostile input, over both interfaces.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/plugin.sh"
cluster_new
plugin_new

q "CREATE TABLE g (id int PRIMARY KEY, b bool, n numeric, f float8, t text, ts timestamptz, d date, iv interval, by bytea, j jsonb, arr int[], \"Üml\"\"aut\" text)"
q "ALTER TABLE g REPLICA IDENTITY FULL; SELECT reg('g', ARRAY(SELECT generate_series(1, 12)::int2))"
q "INSERT INTO g VALUES (1, true, 1.50, 0.1, E'line\\nquote\" back\\\\slash \\t', '2020-01-02 03:04:05+02', '2020-02-03', '1 day 2 hours', '\\xdead', '{\"k\": [1]}', '{1,NULL}', 'ü')"
q "BEGIN; UPDATE g SET b = NULL, n = 'NaN', f = 'Infinity', d = 'infinity'; DELETE FROM g; TRUNCATE g; COMMIT"
q "CREATE TABLE k (id int PRIMARY KEY, v int); SELECT reg('k', '{1,2}'); INSERT INTO k VALUES (1, 1); UPDATE k SET v = 2"
q "SELECT pg_logical_emit_message(false, 'pgtrickle.barrier', 'sync')" > /dev/null
q "INSERT INTO k VALUES (2, 2)"
golden='{"message":"begin"}
{"message":"relation","schema":"public","table":"g","gen":1,"columns":["id","b","n","f","t","ts","d","iv","by","j","arr","Üml\"aut"]}
{"message":"row","schema":"public","table":"g","op":"+","columns":{"id":1,"b":true,"n":1.50,"f":0.1,"t":"line\nquote\" back\\slash \t","ts":"2020-01-02 01:04:05+00","d":"2020-02-03","iv":"1 day 02:00:00","by":"\\xdead","j":"{\"k\": [1]}","arr":"{1,NULL}","Üml\"aut":"ü"}}
{"message":"commit"}
{"message":"begin"}
{"message":"row","schema":"public","table":"g","op":"-","changed":["b","n","f","d"],"columns":{"id":1,"b":true,"n":1.50,"f":0.1,"t":"line\nquote\" back\\slash \t","ts":"2020-01-02 01:04:05+00","d":"2020-02-03","iv":"1 day 02:00:00","by":"\\xdead","j":"{\"k\": [1]}","arr":"{1,NULL}","Üml\"aut":"ü"}}
{"message":"row","schema":"public","table":"g","op":"+","changed":["b","n","f","d"],"columns":{"id":1,"b":null,"n":"NaN","f":"Infinity","t":"line\nquote\" back\\slash \t","ts":"2020-01-02 01:04:05+00","d":"infinity","iv":"1 day 02:00:00","by":"\\xdead","j":"{\"k\": [1]}","arr":"{1,NULL}","Üml\"aut":"ü"}}
{"message":"row","schema":"public","table":"g","op":"-","columns":{"id":1,"b":null,"n":"NaN","f":"Infinity","t":"line\nquote\" back\\slash \t","ts":"2020-01-02 01:04:05+00","d":"infinity","iv":"1 day 02:00:00","by":"\\xdead","j":"{\"k\": [1]}","arr":"{1,NULL}","Üml\"aut":"ü"}}
{"message":"row","schema":"public","table":"g","op":"T"}
{"message":"commit"}
{"message":"begin"}
{"message":"relation","schema":"public","table":"k","gen":1,"columns":["id","v"]}
{"message":"row","schema":"public","table":"k","op":"+","columns":{"id":1,"v":1}}
{"message":"quarantine","schema":"public","table":"k","reason":"replica identity does not give the old values of the captured columns"}
{"message":"row","schema":"public","table":"k","op":"X"}
{"message":"commit"}
{"message":"barrier","sync":true}
{"message":"begin"}
{"message":"row","schema":"public","table":"k","op":"+","columns":{"id":2,"v":2}}
{"message":"commit"}'
end=$(q "SELECT pg_current_wal_lsn()")
check_eq "golden lines" "$(q "SELECT data FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'format', 'json')")" "$golden"
check_eq "every line is JSON" "$(q "SELECT count(data::jsonb) FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'format', 'json')")" 20
check_eq "whatever the session's settings" "$(q "SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape'; SET extra_float_digits = -10;
	SELECT data FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'format', 'json')")" "$golden"
check_eq "which stay as they were" "$(q "SET datestyle = 'German'; SELECT count(*) FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'format', 'json'); SHOW datestyle" | tail -1)" "German, DMY"
check_eq "the same from pg_recvlogical" "$("$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S s --start -o format=json -f - --endpos "$end" --no-loop 2> "$PGT_DIR/recv.log")" "$golden"
q "INSERT INTO k VALUES (9, 9)"
check_sql "xid and positions on request" "SELECT string_agg(regexp_replace(data, '[0-9A-F]+/[0-9A-F]+', 'LSN', 'g'), E'\n') ~ ('^{\"message\":\"begin\",\"xid\":\"' || (SELECT xmin FROM k WHERE id = 9) ||
	'\"}.*\"commit\",\"xid\":\"[0-9]+\",\"lsn\":\"LSN\",\"end_lsn\":\"LSN\"}\$') FROM (SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL, 'format', 'json', 'include_xid', 'on', 'include_lsn', 'on')) x" t

# ---- options
opt() { echo "SELECT * FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, $1)"; }
check_error "unknown option" "$(opt "'publication_names', 'p'")" 22023 "\"publication_names\" = \"p\""
check_error "given twice" "$(opt "'linger', '1', 'linger', '2'")" 42601 "\"linger\" of output plugin pgtrickle_output is given more than once"
check_error "out of range" "$(opt "'linger', '1001'")" 22023 "\"1001\""
check_error "negative" "$(opt "'node', '-1'")" 22023 "It must be an integer from 0 to 32767"
check_error "version of the future" "$(opt "'protocol_version', '2'")" 22023 "It must be 1"
check_error "format" "$(opt "'format', 'xml; DROP TABLE k'")" 22023 "\"xml; DROP TABLE k\""
check_error "percent signs" "$(opt "'%s%n', '%s%n'")" 22023 "\"%s%n\" = \"%s%n\""
check_error "a megabyte of value" "$(opt "'linger', repeat('9', 1000000)")" 22023 "invalid value"
check_error "a megabyte of name" "$(opt "repeat('x', 1000000), ''")" 22023 "unrecognized option"
check_error "empty" "$(opt "'', ''")" 22023 "unrecognized option"
check_error "binary frames are not text" "SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)" 0A000
for bad in "linger=5ms" "format" "nothing=1" "compression=gzip"; do
	"$PGT_BIN/pg_recvlogical" -d "$PGDATABASE" -S s --start -o "$bad" -f - --endpos "$end" --no-loop > /dev/null 2> "$PGT_DIR/recv.log"
	check "over the replication protocol: $bad" grep -q "output plugin pgtrickle_output" "$PGT_DIR/recv.log"
done
# random options: an error or an answer, never a crash
pid=$(q "SELECT pg_postmaster_start_time()")
q_script > /dev/null 2>&1 <<'SQL'
DO $$
DECLARE n text; v text; words text[] := '{linger,format,json,binary,lz4,none,compression,on,off,node,0,1,1000,99999999999,include_xid,protocol_version,"",x}';
BEGIN
    PERFORM setseed(0.5);
    FOR i IN 1..300 LOOP
        BEGIN
            PERFORM pg_logical_slot_peek_binary_changes('s', NULL, NULL, VARIADIC ARRAY(
                SELECT words[1 + floor(random() * 18)] || CASE WHEN random() < 0.2 THEN chr(1 + floor(random() * 1000)::int) ELSE '' END
                FROM generate_series(1, 2 * (1 + i % 4))));
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$;
SQL
check_sql "300 random option lists: the server has not restarted" "SELECT pg_postmaster_start_time()" "$pid"
q "INSERT INTO k VALUES (10, 10)"
check_eq "and the slot still works" "$(frames | grep ^row)" "row public.k/1 + - |10|10|"
done_testing
