-- What the compiler makes of a query: for tests, and for people who want to see.  Reads catalogs only.
CREATE FUNCTION pgtrickle._compile(query text, target text, changed int[], OUT section text, OUT kind text, OUT name text, OUT sql text)
RETURNS SETOF record LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgt_compile';

-- Assertions inside generated statements.
CREATE FUNCTION pgtrickle._expect_rows(tids tid[], n bigint) RETURNS tid[]
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'pgt_expect_rows';
CREATE FUNCTION pgtrickle._expect_count(n bigint) RETURNS bigint
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'pgt_expect_count';

-- since 0.20.0 {
-- Inside generated statements: the records that SEARCH DEPTH FIRST and CYCLE show, out of the arrays in which their keys are kept.
CREATE FUNCTION pgtrickle._records(names text[], VARIADIC arrays "any") RETURNS record[]
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_records';
-- }
