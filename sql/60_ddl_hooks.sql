-- What keeps stream tables and their sources together when somebody changes them by hand (extension/guard.c, ddl_hooks.c).

CREATE FUNCTION pgtrickle._refuse_dml() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_refuse_dml';
COMMENT ON FUNCTION pgtrickle._refuse_dml() IS 'Trigger on stream tables: only refreshes write them.';

-- DDL by hand.  ALWAYS: a session in replica mode changes tables no less than another.
CREATE FUNCTION pgtrickle._ddl_hook() RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_ddl_hook';
COMMENT ON FUNCTION pgtrickle._ddl_hook() IS 'Event triggers: keeps stream tables in line with DDL on their sources.';

CREATE EVENT TRIGGER pgtrickle_ddl_end ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'ALTER TABLE', 'ALTER FOREIGN TABLE', 'CREATE VIEW', 'ALTER VIEW', 'ALTER SCHEMA',
                 'ALTER TYPE', 'ALTER DOMAIN', 'CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'CREATE AGGREGATE',
                 'ALTER AGGREGATE', 'ALTER OPERATOR', 'ALTER COLLATION')
    EXECUTE FUNCTION pgtrickle._ddl_hook();
CREATE EVENT TRIGGER pgtrickle_ddl_drop ON sql_drop EXECUTE FUNCTION pgtrickle._ddl_hook();
CREATE EVENT TRIGGER pgtrickle_ddl_rewrite ON table_rewrite EXECUTE FUNCTION pgtrickle._ddl_hook();
-- until 0.20.0 {
CREATE EVENT TRIGGER pgtrickle_ddl_start ON ddl_command_start WHEN TAG IN ('DROP EXTENSION')
    EXECUTE FUNCTION pgtrickle._ddl_hook();
-- }
-- update {
DROP EVENT TRIGGER pgtrickle_ddl_start;
-- }
-- since 0.20.0 {
CREATE EVENT TRIGGER pgtrickle_ddl_start ON ddl_command_start WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
    EXECUTE FUNCTION pgtrickle._ddl_hook();
-- }
ALTER EVENT TRIGGER pgtrickle_ddl_end ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtrickle_ddl_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtrickle_ddl_rewrite ENABLE ALWAYS;
-- again {
ALTER EVENT TRIGGER pgtrickle_ddl_start ENABLE ALWAYS;
-- }
