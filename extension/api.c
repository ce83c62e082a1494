/*
 * api.c - small SQL functions, and what the others share.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "api.h"
#include "schedule_check.h"

PG_FUNCTION_INFO_V1(pgt_version);
PG_FUNCTION_INFO_V1(pgt_version_check);
PG_FUNCTION_INFO_V1(pgt_migrate);
PG_FUNCTION_INFO_V1(pgt_parse_duration_seconds);

PgtStreamTable *
pgt_st_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name of the stream table must not be NULL")));
	return pgt_st_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

Oid
pgt_relation_owner(Oid relid)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tup))->relowner;
	ReleaseSysCache(tup);
	return owner;
}

Datum
pgt_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(PGT_VERSION));
}

static char *
installed_version(void)
{
	return pgt_catalog_value("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_trickle' AND $1 = 0", 0);
}

Datum
pgt_version_check(PG_FUNCTION_ARGS)
{
	char *installed = installed_version();
	char *server = pstrdup(GetConfigOption("server_version", false, false));
	bool same = installed != NULL && strcmp(installed, PGT_VERSION) == 0;

	PG_RETURN_TEXT_P(cstring_to_text(psprintf("library %s, extension %s, server %s: %s", PGT_VERSION, installed, server,
											  same ? "ok" : "run ALTER EXTENSION pg_trickle UPDATE")));
}

/* The schema changes with ALTER EXTENSION; this says whether that is due, in the words scripts of the predecessor expect. */
Datum
pgt_migrate(PG_FUNCTION_ARGS)
{
	char *installed = installed_version();

	if (installed != NULL && strcmp(installed, PGT_VERSION) == 0)
		PG_RETURN_TEXT_P(cstring_to_text(psprintf("schema is at version %s, nothing to do", installed)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the schema of pg_trickle is at version %s, the library at %s", installed, PGT_VERSION),
			 errhint("Run ALTER EXTENSION pg_trickle UPDATE.")));
}

/* Whole seconds, rounded up: '500ms' is a second, not none. */
Datum
pgt_parse_duration_seconds(PG_FUNCTION_ARGS)
{
	char *duration = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64_t millis;
	PgtComplaint why;

	if (!pgt_duration_check(duration, &millis, &why))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid duration \"%s\": %s", duration, why.text),
				 errhint("Write it like '30s', '5m' or '1h30m'.")));
	PG_RETURN_INT64((millis + 999) / 1000);
}
