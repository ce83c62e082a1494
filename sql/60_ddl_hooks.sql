-- What keeps stream tables and their sources together when somebody changes them by hand (extension/guard.c, ddl_hooks.c).

CREATE FUNCTION pgtrickle._refuse_dml() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_refuse_dml';
COMMENT ON FUNCTION pgtrickle._refuse_dml() IS 'Trigger on stream tables: only refreshes write them.';
