#!/usr/bin/env bash
# Databases that are not UTF-8: frames carry text in the database's encoding, and so does the apply connection.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new
for enc in LATIN1 SQL_ASCII; do
	q "CREATE DATABASE \"d_$enc\" TEMPLATE template0 ENCODING '$enc' LC_COLLATE 'C' LC_CTYPE 'C'" -d postgres
	export PGDATABASE=d_$enc
	extension_new
	consumer_start "trickle_${enc,,}"
	q "CREATE TYPE pair AS (n int, t text)"
	q "CREATE TABLE words (id int PRIMARY KEY, w text, p pair, n name)"
	q "SELECT pgtrickle.create_stream_table('st', 'SELECT id, w, p, n FROM words', schedule => '1h', refresh_mode => 'DIFFERENTIAL')" > /dev/null
	assert_st_equal st "$enc: empty"
	PGCLIENTENCODING=$enc q "$(printf "INSERT INTO words VALUES (1, '\xe4\xf6\xfc', (1, '\xe9'), '\xe4')")"
	q "UPDATE words SET id = 2"
	assert_st_equal st "$enc: equal"
	check_sql "$enc: the bytes are the same" "SELECT encode(convert_to(w, '$enc'), 'hex') FROM st" e4f6fc
	check_sql "$enc: incremental" "SELECT action FROM pgtrickle.get_refresh_history('st', 1)" DIFFERENTIAL
	consumer_stop TERM
done
done_testing
