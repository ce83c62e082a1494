-- pg_trickle: stream tables for PostgreSQL.  Concatenated from sql/NN_topic.sql; see docs/architecture.md.
\echo Use "CREATE EXTENSION pg_trickle" to load this file. \quit
-- update {
-- pg_trickle: from one version to the next.  Made from the marked parts of sql/NN_topic.sql (extension/scripts.awk).
\echo Use "ALTER EXTENSION pg_trickle UPDATE" to load this file. \quit
-- }

-- The consumer's rights.  Members of this role may run trickle-consumer; nobody is a member by default.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pgtrickle_consumer') THEN
        CREATE ROLE pgtrickle_consumer NOLOGIN;
    END IF;
END
$$;

CREATE SCHEMA pgtrickle;
CREATE SCHEMA pgtrickle_changes;
-- Not in a transaction that has just dropped an installation it had used (extension/uninstall.c).
CREATE FUNCTION pgtrickle._check_install() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_check_install';
SELECT pgtrickle._check_install();
DROP FUNCTION pgtrickle._check_install();

GRANT USAGE ON SCHEMA pgtrickle TO PUBLIC;
REVOKE ALL ON SCHEMA pgtrickle_changes FROM PUBLIC;
GRANT USAGE ON SCHEMA pgtrickle_changes TO pgtrickle_consumer;

-- since 0.20.0 {
-- Inner tables of stream tables (docs/compiler.md): each is granted to the owner of its stream table, and to nobody else.
CREATE SCHEMA pgtrickle_inner;
GRANT USAGE ON SCHEMA pgtrickle_inner TO PUBLIC;
-- }
