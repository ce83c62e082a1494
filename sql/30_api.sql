-- The life of stream tables (extension/api*.c).  Argument names, order and defaults are those people know.

-- The analysed query of each ST: survives renames, but not a dump (OIDs) or another server version, and is not dumped.
CREATE TABLE pgtrickle.pgt_query_trees (
    pgt_id          bigint PRIMARY KEY REFERENCES pgtrickle.pgt_definitions ON DELETE CASCADE,
    catalog_version bigint NOT NULL,
    tree            text NOT NULL,
    indexes         text NOT NULL                               -- CREATE INDEX statements the table was made with
);

CREATE FUNCTION pgtrickle.create_stream_table(
        name text, query text, schedule text DEFAULT 'calculated', refresh_mode text DEFAULT 'AUTO', initialize bool DEFAULT true,
        diamond_consistency text DEFAULT NULL, diamond_schedule_policy text DEFAULT NULL, cdc_mode text DEFAULT NULL,
        append_only bool DEFAULT false, pooler_compatibility_mode bool DEFAULT false, partition_by text DEFAULT NULL,
        max_differential_joins int DEFAULT NULL, max_delta_fraction float8 DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_create_stream_table';
COMMENT ON FUNCTION pgtrickle.create_stream_table IS
'Create a table that keeps the result of a query fresh. The creator owns it, must be able to create tables in its schema, and to read the sources. Errors: 42P07 name taken, 22023 bad option, 0A000 unsupported, 42501 no permission, 55P03 a source was locked too long.';

CREATE FUNCTION pgtrickle.create_stream_table_if_not_exists(
        name text, query text, schedule text DEFAULT 'calculated', refresh_mode text DEFAULT 'AUTO', initialize bool DEFAULT true,
        diamond_consistency text DEFAULT NULL, diamond_schedule_policy text DEFAULT NULL, cdc_mode text DEFAULT NULL,
        append_only bool DEFAULT false, pooler_compatibility_mode bool DEFAULT false, partition_by text DEFAULT NULL,
        max_differential_joins int DEFAULT NULL, max_delta_fraction float8 DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_create_stream_table_if_not_exists';
COMMENT ON FUNCTION pgtrickle.create_stream_table_if_not_exists IS
'create_stream_table, or nothing when a stream table of this name exists, whatever its query.';

CREATE FUNCTION pgtrickle.create_or_replace_stream_table(
        name text, query text, schedule text DEFAULT 'calculated', refresh_mode text DEFAULT 'AUTO', initialize bool DEFAULT true,
        diamond_consistency text DEFAULT NULL, diamond_schedule_policy text DEFAULT NULL, cdc_mode text DEFAULT NULL,
        append_only bool DEFAULT false, pooler_compatibility_mode bool DEFAULT false, partition_by text DEFAULT NULL,
        max_differential_joins int DEFAULT NULL, max_delta_fraction float8 DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_create_or_replace_stream_table';
COMMENT ON FUNCTION pgtrickle.create_or_replace_stream_table IS
'create_stream_table, or alter_stream_table for what differs. Queries are compared to the letter; an unchanged definition is left alone.';

CREATE FUNCTION pgtrickle.bulk_create(definitions jsonb)
    RETURNS jsonb LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_bulk_create';
COMMENT ON FUNCTION pgtrickle.bulk_create(jsonb) IS
'Create several stream tables: an array of objects whose keys are the arguments of create_stream_table. All or nothing. Returns one object per item: name, status, pgt_id.';

CREATE FUNCTION pgtrickle.alter_stream_table(
        name text, query text DEFAULT NULL, schedule text DEFAULT NULL, refresh_mode text DEFAULT NULL, status text DEFAULT NULL,
        diamond_consistency text DEFAULT NULL, diamond_schedule_policy text DEFAULT NULL, cdc_mode text DEFAULT NULL,
        append_only bool DEFAULT NULL, pooler_compatibility_mode bool DEFAULT NULL, tier text DEFAULT NULL, fuse text DEFAULT NULL,
        fuse_ceiling bigint DEFAULT NULL, fuse_sensitivity int DEFAULT NULL, partition_by text DEFAULT NULL,
        max_differential_joins int DEFAULT NULL, max_delta_fraction float8 DEFAULT NULL, auto_threshold float8 DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_alter_stream_table';
COMMENT ON FUNCTION pgtrickle.alter_stream_table IS
'Change a stream table; NULL leaves as it is. A new query keeps the table, its grants and the views on columns that remain.';

CREATE FUNCTION pgtrickle.drop_stream_table(name text, cascade bool DEFAULT false)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_drop_stream_table';
COMMENT ON FUNCTION pgtrickle.drop_stream_table(text, bool) IS
'Drop a stream table, its buffers, and the capture of sources that nobody else reads. Refused (2BP01) while other stream tables or views read it, unless cascade.';

CREATE FUNCTION pgtrickle.suspend_stream_table(name text)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_suspend_stream_table';
COMMENT ON FUNCTION pgtrickle.suspend_stream_table(text) IS
'Stop refreshing a stream table until resume_stream_table. It keeps what it holds.';

CREATE FUNCTION pgtrickle.resume_stream_table(name text)
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_resume_stream_table';
COMMENT ON FUNCTION pgtrickle.resume_stream_table(text) IS
'Refresh a suspended or failed stream table again, with its error counters at zero.';

CREATE FUNCTION pgtrickle.export_definition(st_name text)
    RETURNS text LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'pgt_export_definition';
COMMENT ON FUNCTION pgtrickle.export_definition(text) IS
'A script that creates this stream table.';

CREATE FUNCTION pgtrickle.restore_stream_tables()
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_restore_stream_tables';
COMMENT ON FUNCTION pgtrickle.restore_stream_tables() IS
'After pg_restore: find the tables and sources of dumped stream tables by their names, and capture the sources again.';

CREATE FUNCTION pgtrickle.validate_query(query text, OUT check_name text, OUT result text, OUT severity text)
    RETURNS SETOF record LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'pgt_validate_query';
COMMENT ON FUNCTION pgtrickle.validate_query(text) IS
'What create_stream_table would say about this query, without creating anything.';

CREATE FUNCTION pgtrickle.version()
    RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_version';
CREATE FUNCTION pgtrickle.version_check()
    RETURNS text LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'pgt_version_check';
COMMENT ON FUNCTION pgtrickle.version_check() IS 'Do library, extension and server fit together?';
CREATE FUNCTION pgtrickle.migrate()
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pgt_migrate';
COMMENT ON FUNCTION pgtrickle.migrate() IS 'Says whether ALTER EXTENSION pg_trickle UPDATE is due.';
CREATE FUNCTION pgtrickle.parse_duration_seconds(duration text)
    RETURNS bigint LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_parse_duration_seconds';
COMMENT ON FUNCTION pgtrickle.parse_duration_seconds(text) IS 'Seconds of a duration such as ''1h30m'', rounded up; error 22023 when it is none.';
