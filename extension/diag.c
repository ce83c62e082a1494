/*
 * diag.c - the diagnostics that SQL cannot do: resolving a name.
 *
 * Everything else is SQL (sql/50_diagnostics.sql).  These functions read and never change anything; pgt_definitions is readable by
 * everyone, so they need no privilege on the ST.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "catalog.h"

PG_FUNCTION_INFO_V1(pgt_diag_st_id);

static PgtStreamTable *
diag_st_arg(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("stream table name must not be null")));
	return pgt_st_by_name(text_to_cstring(PG_GETARG_TEXT_PP(argno)));
}

Datum
pgt_diag_st_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(diag_st_arg(fcinfo, 0)->id);
}
