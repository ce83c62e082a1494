#!/usr/bin/env bash
# Inner tables: results inside a query that a stream table keeps (docs/compiler.md).  They are made, filled, maintained, compared and
# dropped with their stream table, whatever leads there, and nobody else may touch them.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
extension_new
consumer_start

inner="SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'pgtrickle_inner'::regnamespace AND relkind = 'r'"
how="SELECT action || coalesce(' ' || merge_strategy_used, '') FROM pgtrickle.pgt_refresh_history ORDER BY refresh_id DESC LIMIT 1"

q "CREATE ROLE alice; CREATE ROLE bob; GRANT CREATE, USAGE ON SCHEMA public TO alice, bob;
   SET ROLE alice; CREATE TABLE sales (id int PRIMARY KEY, shop char(5), amount numeric);
   INSERT INTO sales SELECT g, 'shop' || g % 7, g FROM generate_series(1, 300) g; GRANT SELECT ON sales TO bob"

best="SELECT shop, sum(amount) AS total FROM sales GROUP BY shop ORDER BY total DESC LIMIT 3"
over="SELECT shop, count(*) AS n FROM sales GROUP BY shop HAVING sum(amount) > 6000"
above="SELECT id, amount FROM sales WHERE amount > (SELECT avg(amount) FROM sales)"
most="WITH t AS (SELECT shop, sum(amount) AS total FROM sales GROUP BY shop) SELECT shop, total FROM t WHERE total = (SELECT max(total) FROM t)"
pairs="SELECT a.id, b.id AS other, a.amount::numeric(12,2) AS amount FROM sales a JOIN sales b ON b.id = a.id + 1 ORDER BY amount DESC, a.id LIMIT 5"
for st in best over above most pairs; do
	q "SET ROLE alice; SELECT pgtrickle.create_stream_table('$st', \$\$${!st}\$\$, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" > /dev/null
done
check_sql "a table for each part that is kept, and one of state for the first rows of a join; equal parts of one query share it" "$inner" "st_1_1 st_2_1 st_3_1 st_4_1 st_4_2 st_5_1 st_5_2"

q "UPDATE sales SET amount = amount + 1000 WHERE id % 50 = 0; DELETE FROM sales WHERE id = 7; INSERT INTO sales VALUES (1000, 'shop9', 50000), (1001, NULL, NULL)"
for st in best over above most pairs; do
	q "SELECT pgtrickle.refresh_stream_table('$st')" > /dev/null
	check_sql "$st is refreshed by its delta" "SELECT split_part(($how), ' ', 1)" DIFFERENTIAL
	assert_st_equal "public.$st"
done
q "DELETE FROM sales WHERE id = 1000"
for st in best over above most pairs; do
	assert_st_equal "public.$st"
done

# what a change of one group reads does not depend on the number of groups: the rows of the LIMIT come from an index
check_sql "a LIMIT's order has an index" "SELECT count(*) FROM pg_indexes WHERE schemaname = 'pgtrickle_inner' AND tablename = 'st_1_1' AND indexdef LIKE '%DESC%'" 1

# --- who may do what
check_error "the owner cannot write one" "SET ROLE alice; UPDATE pgtrickle_inner.st_1_1 SET c1 = 'x'" 42809
check_error "others cannot read one" "SET ROLE bob; TABLE pgtrickle_inner.st_1_1" 42501
q "ALTER TABLE best OWNER TO bob"
check_error "nor can who was the owner" "SET ROLE alice; TABLE pgtrickle_inner.st_1_1" 42501
q "UPDATE sales SET amount = amount + 1 WHERE id < 20"
q "SET ROLE bob; SELECT pgtrickle.refresh_stream_table('best')" > /dev/null
check_sql "the new owner's refresh is incremental" "SELECT split_part(($how), ' ', 1)" DIFFERENTIAL
assert_st_equal public.best

# --- names
q "ALTER TABLE best RENAME TO top3; ALTER TABLE sales RENAME COLUMN amount TO euros; UPDATE sales SET euros = euros + 1 WHERE id > 250"
assert_st_equal public.top3
assert_st_equal public.most
check_sql "renaming kept the tables" "$inner" "st_1_1 st_2_1 st_3_1 st_4_1 st_4_2 st_5_1 st_5_2"

# --- another query, another mode
q "SELECT pgtrickle.alter_stream_table('top3', query => 'SELECT id, shop, euros FROM sales WHERE euros < 100')" > /dev/null
assert_st_equal public.top3
check_sql "a query without inner results has no tables" "$inner" "st_2_1 st_3_1 st_4_1 st_4_2 st_5_1 st_5_2"
q "SELECT pgtrickle.alter_stream_table('top3', query => 'SELECT shop, max(id) AS last, sum(euros) FROM sales GROUP BY shop ORDER BY last DESC LIMIT 2')" > /dev/null
assert_st_equal public.top3
q "SELECT pgtrickle.alter_stream_table('most', refresh_mode => 'FULL'); UPDATE sales SET euros = euros + 5 WHERE id < 9"
assert_st_equal public.most
check_sql "nothing is kept for refresh_mode FULL" "$inner" "st_1_1 st_2_1 st_3_1 st_5_1 st_5_2"
q "SELECT pgtrickle.alter_stream_table('most', refresh_mode => 'DIFFERENTIAL'); UPDATE sales SET euros = euros + 5 WHERE id < 9"
assert_st_equal public.most
q "UPDATE sales SET euros = euros - 9 WHERE id < 9"
q "SELECT pgtrickle.refresh_stream_table('most')" > /dev/null
check_sql "and again for DIFFERENTIAL" "SELECT split_part(($how), ' ', 1)" DIFFERENTIAL
assert_st_equal public.most

# --- a lost table is made again
q "SET session_replication_role = replica; ALTER EXTENSION pg_trickle DROP TABLE pgtrickle_inner.st_3_1; DROP TABLE pgtrickle_inner.st_3_1;
   UPDATE sales SET euros = euros + 5 WHERE id < 9" 2> /dev/null
assert_st_equal public.above
q "UPDATE sales SET euros = euros - 5 WHERE id < 9"
q "SELECT pgtrickle.refresh_stream_table('above')" > /dev/null
check_sql "after a comparison it is incremental again" "SELECT split_part(($how), ' ', 1)" DIFFERENTIAL
assert_st_equal public.above

# --- dump and restore
q "CREATE DATABASE copy"
"$PGT_BIN/pg_dump" -Fc -f "$PGT_DIR/dump" postgres && "$PGT_BIN/pg_restore" -d copy "$PGT_DIR/dump" 2> "$PGT_DIR/restore.err"
check_eq "a dump with inner tables restores without an error" "$(cat "$PGT_DIR/restore.err")" ""
check_eq "the dump has none of them" "$(PGDATABASE=copy q "$inner")" ""
PGDATABASE=copy q "SELECT pgtrickle.restore_stream_tables()" > /dev/null 2>&1
PGDATABASE=copy consumer_start copied -d copy
for st in top3 over above most pairs; do PGDATABASE=copy assert_st_equal "public.$st"; done
check_eq "they are made when the stream tables are compared" "$(PGDATABASE=copy q "$inner")" "st_1_1 st_2_1 st_3_1 st_4_1 st_4_2 st_5_1 st_5_2"
consumer_stop
poll_until "SELECT active FROM pg_replication_slots WHERE slot_name = 'copied'" f 20
q "SELECT pg_drop_replication_slot('copied')" > /dev/null
q "DROP DATABASE copy"

# --- dropping
q "SELECT pgtrickle.drop_stream_table('top3')"
check_sql "drop_stream_table takes them along" "$inner" "st_2_1 st_3_1 st_4_1 st_4_2 st_5_1 st_5_2"
q "DROP TABLE over" 2> /dev/null
check_sql "DROP TABLE too" "$inner" "st_3_1 st_4_1 st_4_2 st_5_1 st_5_2"
q "DROP OWNED BY alice CASCADE" 2> /dev/null
check_sql "DROP OWNED too" "$inner" ""
q "REVOKE ALL ON SCHEMA public FROM bob; DROP OWNED BY bob; DROP ROLE bob" && pass "nothing holds back a role that owned a stream table" || fail "nothing holds back a role that owned a stream table"
done_testing
