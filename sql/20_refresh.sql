-- Refreshing by hand, waiting, verifying.

CREATE FUNCTION pgtrickle.refresh_stream_table(name text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_refresh_stream_table';
COMMENT ON FUNCTION pgtrickle.refresh_stream_table(text) IS
'Bring a stream table to the present, in the caller''s transaction (READ COMMITTED). Owner only. Needs a running consumer. Errors: 42P01 unknown, 42501 not owner, 55000 suspended or consumer not answering within pg_trickle.barrier_timeout, 55006 this transaction has written a source, 0A000 wrong isolation level.';

CREATE FUNCTION pgtrickle.verify_stream_table(name text, OUT missing bigint, OUT extra bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_verify_stream_table';
COMMENT ON FUNCTION pgtrickle.verify_stream_table(text) IS
'Refresh a stream table, then compare it with its query as bags under the same snapshot: exact while writers write. missing: rows of the query that the stream table lacks; extra: rows it has and the query does not. Both are 0 unless there is a bug. Cost: the whole query.';

CREATE FUNCTION pgtrickle.wait_for(name text, timeout interval DEFAULT '10 seconds') RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_wait_for';
COMMENT ON FUNCTION pgtrickle.wait_for(text, interval) IS
'Return when the stream table contains everything that was committed before the call (read your writes). Refreshes it, and the stream tables it reads, when the schedule would take longer. Error 55000 after timeout.';

CREATE PROCEDURE pgtrickle.write_and_refresh(sql text, stream_table_name text)
    LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_write_and_refresh';
COMMENT ON PROCEDURE pgtrickle.write_and_refresh(text, text) IS
'Execute a statement, commit it, then refresh the stream table and those it reads. Not inside a transaction block (2D000).';
