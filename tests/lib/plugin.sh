# plugin.sh - what the tests of the output plugin share: a registry made by hand, and frames read by an independent reader.
# Source after cluster.sh.  Nothing here uses the extension or the consumer, so a failure points at the plugin.
#
#   plugin_new                        # registry and helper functions in $PGDATABASE, slot `s`
#   q "SELECT reg('t', '{1,2}')"      # register; options: kinds, gen, mask, insert_only
#   frames                            # the slot's new messages as text (options of the plugin may follow)
#   drain; check_bag t                # load them into buffers; rows that appeared − rows that went = the table now

PGTFRAME=("/usr/bin/python3" "$PGT_TOP/tests/lib/pgtframe.py")

plugin_new()
{
	registry_new
	q "SELECT pg_create_logical_replication_slot('s', 'pgtrickle_output')" > /dev/null
}

registry_new()
{
	q "CREATE SCHEMA pgtrickle; CREATE SCHEMA pgtrickle_changes"
	sed -n '/^CREATE TABLE pgtrickle.pgt_sources/,/STORAGE MAIN;/p' "$PGT_TOP/sql/10_catalog.sql" | q_script
	q_script <<'SQL'
-- The layout hash, written from docs/protocol.md and not from layout.h.
CREATE FUNCTION layout_hash(rel oid, cols int2[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE h bigint := 2166136261; b bytea; r record;
BEGIN
    FOR r IN SELECT attnum, atttypid FROM unnest(cols) WITH ORDINALITY u(a, n) JOIN pg_attribute ON attrelid = rel AND attnum = a ORDER BY n LOOP
        b := int2send(r.attnum) || oidsend(r.atttypid);
        FOR i IN 0..5 LOOP h := ((h # get_byte(b, i)) * 16777619) & 4294967295; END LOOP;
    END LOOP;
    RETURN CASE WHEN h > 2147483647 THEN h - 4294967296 ELSE h END;
END $$;

-- Register a relation as the extension does: lock the family, write the row, invalidate the family; and make a buffer.
CREATE FUNCTION reg(rel regclass, cols int2[], kinds text DEFAULT NULL, gen int DEFAULT 1, mask bool DEFAULT true,
                    insert_only bool DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r record; wide int := (SELECT relnatts FROM pg_class WHERE oid = rel); cols_sql text;
BEGIN
    kinds := coalesce(kinds, repeat('n', cardinality(cols)));
    FOR r IN WITH RECURSIVE f AS (SELECT rel::oid AS o UNION SELECT inhrelid FROM f JOIN pg_inherits ON inhparent = o)
             SELECT o::regclass AS t, relkind FROM f JOIN pg_class c ON c.oid = o ORDER BY o LOOP
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', r.t);
        PERFORM pgtrickle_test_touch(r.t);
    END LOOP;
    DELETE FROM pgtrickle.pgt_sources WHERE relid = rel;
    INSERT INTO pgtrickle.pgt_sources (relid, gen, attnums, kinds, layout, natts, mask, insert_only)
        VALUES (rel, gen, cols, kinds, layout_hash(rel, cols), wide, mask, insert_only);
    SELECT string_agg(format(', c%s %s', a, CASE WHEN substr(kinds, n::int, 1) = 'n' THEN format_type(atttypid, NULL) ELSE 'bytea' END), '' ORDER BY n)
      INTO cols_sql FROM unnest(cols) WITH ORDINALITY u(a, n) JOIN pg_attribute ON attrelid = rel AND attnum = a;
    EXECUTE format('CREATE UNLOGGED TABLE pgtrickle_changes.b_%s_%s (xid xid8, op "char", changed_columns %s %s)', rel::oid, gen,
                   CASE WHEN wide <= 63 THEN 'int8' ELSE 'varbit' END, cols_sql);
END $$;

-- A relcache invalidation and nothing else.
CREATE FUNCTION pgtrickle_test_touch(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pg_class SET reltuples = reltuples WHERE oid = rel;
END $$;
SQL
}

# frames [option value …]: decoded messages of the slot, which moves on.
frames()
{
	frames_hex "$@" | "${PGTFRAME[@]}" text
}

frames_hex()
{
	local opts= o
	for o in "$@"; do opts+=", '$o'"; done
	PGCLIENTENCODING=${DECODE_ENCODING:-UTF8} q "SELECT data FROM pg_logical_slot_get_binary_changes('s', NULL, NULL$opts)"
}

json()
{
	local opts= o
	for o in format json "$@"; do opts+=", '$o'"; done
	q "SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL$opts)"
}

skip() { frames_hex > /dev/null; }

# Load everything the slot has into the buffers.
drain()
{
	local dir=$PGT_DIR/copy f b
	rm -rf "$dir"
	mkdir -p "$dir"
	frames_hex "$@" | "${PGTFRAME[@]}" copy "$dir" || return 1
	for f in "$dir"/*.copy; do
		[ -e "$f" ] || continue
		b=$(basename "$f" .copy)
		"$PGT_BIN/psql" -XAtq -v ON_ERROR_STOP=1 -c "COPY pgtrickle_changes.b_$b FROM STDIN (FORMAT binary)" < "$f" || return 1
	done
}

# check_bag TABLE [gen [what]]: the table was empty when it was registered, so its rows are those of the buffer.
check_bag()
{
	local sql gen=${2:-1}
	sql=$(q "SELECT format('WITH b AS (SELECT op, %2\$s FROM pgtrickle_changes.b_%3\$s_%4\$s), t AS (SELECT %1\$s FROM %5\$s)
	           SELECT count(*) FROM (
	             (SELECT * FROM (SELECT %2\$s FROM b WHERE op = ''+'' EXCEPT ALL SELECT %2\$s FROM b WHERE op = ''-'') x EXCEPT ALL TABLE t)
	             UNION ALL (TABLE t EXCEPT ALL (SELECT %2\$s FROM b WHERE op = ''+'' EXCEPT ALL SELECT %2\$s FROM b WHERE op = ''-''))) d',
	         string_agg(quote_ident(attname) || '::text', ', ' ORDER BY attnum), string_agg('c' || attnum || '::text', ', ' ORDER BY attnum),
	         relid, gen, relid::regclass)
	         FROM pgtrickle.pgt_sources JOIN pg_attribute ON attrelid = relid AND attnum = ANY (attnums)
	         WHERE relid = '$1'::regclass AND gen = $gen GROUP BY relid, gen") || return 1
	check_eq "${3:-$1: buffer adds up to the table}" "$(q "$sql" 2>&1)" 0
}

# ---- a second session that stays open:  bg a "BEGIN"; bg a "INSERT …" &c.; bg_send does not wait for the end of the statement
declare -A BG_FD BG_N

bg_send()
{
	local s=$1 fifo=$PGT_DIR/bg_$1
	if [ -z "${BG_FD[$s]:-}" ]; then
		mkfifo "$fifo"
		"$PGT_BIN/psql" -XAtq < "$fifo" > "$fifo.out" 2>&1 &
		exec {BG_FD[$s]}> "$fifo"
	fi
	BG_N[$s]=$((${BG_N[$s]:-0} + 1))
	printf '%s;\n\\echo done %d\n' "$2" "${BG_N[$s]}" >&"${BG_FD[$s]}"
}

bg_wait() { poll_cmd 20 grep -qx "done ${BG_N[$1]}" "$PGT_DIR/bg_$1.out" || { cat "$PGT_DIR/bg_$1.out"; fail "session $1 answers"; }; }
bg() { bg_send "$@"; bg_wait "$1"; }
bg_busy() { ! grep -qx "done ${BG_N[$1]}" "$PGT_DIR/bg_$1.out"; }
