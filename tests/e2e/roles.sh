#!/usr/bin/env bash
# An ordinary role owns sources and stream tables; another role can neither read the buffers nor alter the ST; the consumer is no
# superuser.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new pg_trickle.min_schedule_seconds=0
extension_new
q "CREATE ROLE ann LOGIN; CREATE ROLE eve LOGIN; CREATE SCHEMA shop AUTHORIZATION ann; GRANT USAGE ON SCHEMA shop TO eve"
as() { local role=$1; shift; PGUSER=$role "$@"; }
as ann q "CREATE TABLE shop.t (id int PRIMARY KEY, secret text)"
as ann q "INSERT INTO shop.t VALUES (1, 'one')"
check "an ordinary role creates a stream table" as ann q "SELECT pgtrickle.create_stream_table('shop.s', 'SELECT secret, count(*) AS n FROM shop.t GROUP BY secret', schedule => '100ms')"
consumer_start
check_sql "the consumer is no superuser" "SELECT rolsuper FROM pg_roles WHERE rolname = 'trickle'" f
as ann q "INSERT INTO shop.t VALUES (2, 'two')"
check_poll "the scheduler refreshes it" "SELECT count(*) FROM shop.s" 2 10
check_sql "the owner owns the table" "SELECT relowner::regrole FROM pg_class WHERE oid = 'shop.s'::regclass" ann
check "the owner refreshes it" as ann q "SELECT pgtrickle.refresh_stream_table('shop.s')"
buffer=$(q "SELECT min(oid::regclass::text) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relkind = 'r' AND relname LIKE 'changes\\_%\\_%'")
PGUSER=eve
check_error "a stranger cannot read a buffer" "SELECT * FROM $buffer" 42501
check_error "a stranger cannot read the ST" "SELECT * FROM shop.s" 42501
check_error "a stranger cannot alter the ST" "SELECT pgtrickle.alter_stream_table('shop.s', schedule => '1h')" 42501
check_error "a stranger cannot drop the ST" "SELECT pgtrickle.drop_stream_table('shop.s')" 42501
check_error "a stranger cannot refresh the ST" "SELECT pgtrickle.refresh_stream_table('shop.s')" 42501
check_error "a stranger cannot make an ST over another's table" "SELECT pgtrickle.create_stream_table('public.e', 'SELECT * FROM shop.t')" 42501
check_error "a stranger cannot call the consumer's functions" "SELECT * FROM pgtrickle._consumer_plan()" 42501
check_error "a stranger cannot change the catalog" "UPDATE pgtrickle.pgt_definitions SET schedule = '1s'" 42501
check_error "a stranger cannot move progress" "UPDATE pgtrickle_changes.progress SET applied_lsn = 'FFFF/0'" 42501
PGUSER=ann
check_error "the owner cannot read the buffers either" "SELECT * FROM $buffer" 42501
check "the owner drops it" as ann q "SELECT pgtrickle.drop_stream_table('shop.s')"
done_testing
