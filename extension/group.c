/*
 * group.c - refresh groups and watermark groups: made and dropped by those who own what they bind.
 *
 * The scheduler takes a refresh group from its plan (consumer/dag.c: one unit, one transaction, one S1) and commits it only whole.
 * READ COMMITTED or REPEATABLE READ makes no difference to that: S1 belongs to the transaction, not to its statements.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "api.h"
#include "compat.h"
#include "coordination.h"

PG_FUNCTION_INFO_V1(pgt_create_watermark_group);
PG_FUNCTION_INFO_V1(pgt_drop_watermark_group);
PG_FUNCTION_INFO_V1(pgt_create_refresh_group);
PG_FUNCTION_INFO_V1(pgt_drop_refresh_group);

static char *
text_argument(FunctionCallInfo fcinfo, int i, const char *what)
{
	char *value = PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));

	if (value == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", what)));
	if (*value == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", what)));
	return value;
}

static List *
names_argument(FunctionCallInfo fcinfo, int i, const char *what)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", what)));
	return pgt_text_list(PG_GETARG_DATUM(i));
}

/* One statement that returns at most one row; its first column as bigint, `none` without a row. */
static int64
group_statement(const char *sql, int nargs, Oid *types, Datum *values, int64 none)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	int64 result = none;
	bool isnull;

	SPI_connect();
	if (pgt_catalog_exec(sql, nargs, types, values, NULL) > 0 && SPI_tuptable != NULL)
		result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}

/* insert: a statement with the group's name as $1 that returns group_id, or nothing when the name is taken. */
static Datum
create_group(const char *kind, const char *insert, Oid *types, Datum *values)
{
	int64 id = group_statement(insert, 3, types, values, -1);

	if (id < 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("%s group \"%s\" already exists", kind, TextDatumGetCString(values[0]))));
	pgt_catalog_notify();
	return Int32GetDatum((int32) id);
}

/* Who may drop a group: the owner of everything in it.  `members`: the OIDs of its relations that still exist. */
static Datum
drop_group(FunctionCallInfo fcinfo, const char *kind, const char *members, const char *drop)
{
	char *name = text_argument(fcinfo, 0, "the name of the group");
	MemoryContext cxt = CurrentMemoryContext;
	Oid type = TEXTOID;
	Datum value = CStringGetTextDatum(name);
	List *relids = NIL;
	PgtCatalogScope scope = pgt_catalog_begin();
	ListCell *lc;
	bool isnull;

	SPI_connect();
	(void) pgt_catalog_exec(members, 1, &type, &value, NULL);
	MemoryContextSwitchTo(cxt);
	for (uint64 i = 0; i < SPI_processed; i++)
		relids = lappend_oid(relids, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
	SPI_finish();
	pgt_catalog_end(scope);

	foreach (lc, relids)
	{
		if (!pgt_class_ownercheck(lfirst_oid(lc), GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(lfirst_oid(lc)));
	}
	if (group_statement(drop, 1, &type, &value, -1) < 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("%s group \"%s\" does not exist", kind, name)));
	pgt_catalog_notify();
	PG_RETURN_VOID();
}

/* ---------- watermark groups ---------- */

Datum
pgt_create_watermark_group(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0, "the name of the group");
	double tolerance = PG_ARGISNULL(2) ? 0 : PG_GETARG_FLOAT8(2);
	List *sources = NIL;
	Oid types[3] = {TEXTOID, OIDARRAYOID, FLOAT8OID};
	Datum values[3];
	Datum *relids;
	int n = 0;
	ListCell *lc;

	foreach (lc, names_argument(fcinfo, 1, "sources"))
		sources = list_append_unique_oid(sources, pgt_own_source(lfirst(lc)));
	if (list_length(sources) < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a watermark group needs at least two different tables")));
	if (isnan(tolerance) || isinf(tolerance) || tolerance < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tolerance_secs must be a finite number from 0 up")));
	relids = palloc(sizeof(Datum) * list_length(sources));
	foreach (lc, sources)
		relids[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	values[0] = CStringGetTextDatum(name);
	values[1] = PointerGetDatum(construct_array(relids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	values[2] = Float8GetDatum(tolerance);
	return create_group("watermark",
						"INSERT INTO pgtrickle.pgt_watermark_groups (group_name, source_relids, tolerance_secs)"
						" VALUES ($1, $2::pg_catalog.regclass[], $3) ON CONFLICT (group_name) DO NOTHING RETURNING group_id::bigint",
						types, values);
}

Datum
pgt_drop_watermark_group(PG_FUNCTION_ARGS)
{
	return drop_group(fcinfo, "watermark",
					  "SELECT c.oid FROM pgtrickle.pgt_watermark_groups g JOIN pg_catalog.pg_class c ON c.oid = ANY (g.source_relids)"
					  " WHERE g.group_name = $1",
					  "DELETE FROM pgtrickle.pgt_watermark_groups WHERE group_name = $1 RETURNING group_id::bigint");
}

/* ---------- refresh groups ---------- */

/* The ids of the named STs, of which the caller owns all and none is in a group. */
static ArrayType *
free_members(List *names)
{
	Datum *ids = palloc(sizeof(Datum) * Max(1, list_length(names)));
	int n = 0;
	ListCell *lc;

	foreach (lc, names)
	{
		PgtStreamTable *st = pgt_st_by_name(lfirst(lc));
		Oid type = INT8OID;
		Datum id = Int64GetDatum(st->id);
		bool known = false;

		pgt_st_check_owner(st);
		/* keeps a second group from taking it at the same time, and refreshes of it alone out */
		st = pgt_st_lock(st);
		for (int i = 0; i < n; i++)
			known |= DatumGetInt64(ids[i]) == st->id;
		if (group_statement("SELECT group_id::bigint FROM pgtrickle.pgt_refresh_groups WHERE $1 = ANY (member_ids)", 1, &type, &id, -1) >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("stream table %s belongs to a refresh group already", pgt_st_label(st)),
					 errhint("SELECT * FROM pgtrickle.pgt_refresh_groups lists them; pgtrickle.drop_refresh_group() dissolves one.")));
		if (!known)
			ids[n++] = id;
	}
	if (n < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a refresh group needs at least two different stream tables")));
	return construct_array(ids, n, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE);
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

Datum
pgt_create_refresh_group(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0, "the name of the group");
	List *names = names_argument(fcinfo, 1, "members");
	char *isolation = text_argument(fcinfo, 2, "isolation");
	Oid types[3] = {TEXTOID, INT8ARRAYOID, TEXTOID};
	Datum values[3];

	if (strcmp(isolation, "read_committed") != 0 && strcmp(isolation, "repeatable_read") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown isolation \"%s\"", isolation),
				 errhint("It is read_committed or repeatable_read; a group is refreshed from one snapshot with either.")));
	list_sort(names, compare_names);
	values[0] = CStringGetTextDatum(name);
	values[1] = PointerGetDatum(free_members(names));
	values[2] = CStringGetTextDatum(isolation);
	return create_group("refresh",
						"INSERT INTO pgtrickle.pgt_refresh_groups (group_name, member_ids, isolation) VALUES ($1, $2, $3)"
						" ON CONFLICT (group_name) DO NOTHING RETURNING group_id::bigint",
						types, values);
}

Datum
pgt_drop_refresh_group(PG_FUNCTION_ARGS)
{
	return drop_group(fcinfo, "refresh",
					  "SELECT c.oid FROM pgtrickle.pgt_refresh_groups g JOIN pgtrickle.pgt_definitions d ON d.pgt_id = ANY (g.member_ids)"
					  " JOIN pg_catalog.pg_class c ON c.oid = d.pgt_relid WHERE g.group_name = $1",
					  "DELETE FROM pgtrickle.pgt_refresh_groups WHERE group_name = $1 RETURNING group_id::bigint");
}
