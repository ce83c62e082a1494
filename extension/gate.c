/*
 * gate.c - gates and watermarks of sources, and what asks them before a refresh.
 *
 * Rows of pgt_source_gates and pgt_watermarks change with the caller's transaction: until he commits, nobody else sees them.  The
 * scheduler hears of it by NOTIFY, and each scheduled refresh looks again under its own snapshot.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "coordination.h"
#include "name.h"

PG_FUNCTION_INFO_V1(pgt_gate_source);
PG_FUNCTION_INFO_V1(pgt_ungate_source);
PG_FUNCTION_INFO_V1(pgt_advance_watermark);

/* ---------- arguments ---------- */

Oid
pgt_own_source(const char *name)
{
	PgtName parts = pgt_parse_name(name);
	Oid relid = RangeVarGetRelid(makeRangeVar(parts.schema, parts.name, -1), AccessShareLock, true);
	char kind;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", name),
				 errhint("Names without a schema are looked up in search_path.")));
	kind = get_rel_relkind(relid);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", name),
				 errhint("Name the tables that the stream tables read; views have no rows of their own.")));
	if (!pgt_class_ownercheck(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
	return relid;
}

List *
pgt_text_list(Datum array)
{
	Datum *elems;
	bool *nulls;
	int n;
	List *result = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("names must not be NULL")));
		result = lappend(result, TextDatumGetCString(elems[i]));
	}
	return result;
}

/* A statement on the tables of sql/12_coordination.sql with the source as $1; returns the rows it touched. */
static uint64
source_statement(const char *sql, Oid source, Oid type, Datum value)
{
	Oid types[3] = {OIDOID, TEXTOID, type};
	Datum values[3] = {ObjectIdGetDatum(source), CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)), value};
	PgtCatalogScope scope = pgt_catalog_begin();
	uint64 rows;

	SPI_connect();
	rows = pgt_catalog_exec(sql, OidIsValid(type) ? 3 : 2, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
	return rows;
}

/* ---------- gates ---------- */

static char *
source_name(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the name of the source must not be NULL")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

void
pgt_coordination_forget(Oid relid)
{
	static const char *const statements[] = {
		"DELETE FROM pgtrickle.pgt_source_gates WHERE source_relid = $1",
		"DELETE FROM pgtrickle.pgt_watermarks WHERE source_relid = $1",
		"UPDATE pgtrickle.pgt_watermark_groups SET source_relids = pg_catalog.array_remove(source_relids, $1) WHERE $1 = ANY (source_relids)"};
	Oid type = REGCLASSOID;
	Datum value = ObjectIdGetDatum(relid);
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	for (int i = 0; i < lengthof(statements); i++)
		(void) pgt_catalog_exec(statements[i], 1, &type, &value, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
}

Datum
pgt_gate_source(PG_FUNCTION_ARGS)
{
	char *name = source_name(fcinfo);

	if (source_statement("INSERT INTO pgtrickle.pgt_source_gates AS g (source_relid, gated_by) VALUES ($1, $2)"
						 " ON CONFLICT (source_relid) DO UPDATE SET gated = true, gated_at = pg_catalog.now(), ungated_at = NULL,"
						 " gated_by = EXCLUDED.gated_by WHERE NOT g.gated",
						 pgt_own_source(name), InvalidOid, (Datum) 0) > 0)
		pgt_catalog_notify();
	PG_RETURN_VOID();
}

Datum
pgt_ungate_source(PG_FUNCTION_ARGS)
{
	char *name = source_name(fcinfo);

	if (source_statement("UPDATE pgtrickle.pgt_source_gates SET gated = false, ungated_at = pg_catalog.now()"
						 " WHERE source_relid = $1 AND gated AND $2 IS NOT NULL",
						 pgt_own_source(name), InvalidOid, (Datum) 0) > 0)
		pgt_catalog_notify();
	PG_RETURN_VOID();
}

/* ---------- watermarks ---------- */

/* The watermark of a source that this transaction has just written or waited for. */
static TimestampTz
current_watermark(Oid source)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	TimestampTz result = DT_NOBEGIN;
	bool isnull;

	SPI_connect();
	if (pgt_catalog_find("SELECT watermark FROM pgtrickle.pgt_watermarks WHERE source_relid = $1", OIDOID, ObjectIdGetDatum(source)) > 0)
		result = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}

Datum
pgt_advance_watermark(PG_FUNCTION_ARGS)
{
	TimestampTz watermark;
	TimestampTz now;
	char *name;
	Oid source;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("source and watermark must not be NULL")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	watermark = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(watermark))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("a watermark must be finite")));
	source = pgt_own_source(name);
	/* two who advance one watermark at a time: the second waits for the row and then compares with what the first left */
	if (source_statement("INSERT INTO pgtrickle.pgt_watermarks AS m (source_relid, watermark, advanced_by, wal_lsn_at_advance)"
						 " VALUES ($1, $3, $2, pg_catalog.pg_current_wal_insert_lsn()::text)"
						 " ON CONFLICT (source_relid) DO UPDATE SET watermark = EXCLUDED.watermark, updated_at = pg_catalog.now(),"
						 " advanced_by = EXCLUDED.advanced_by, wal_lsn_at_advance = EXCLUDED.wal_lsn_at_advance"
						 " WHERE m.watermark < EXCLUDED.watermark",
						 source, TIMESTAMPTZOID, TimestampTzGetDatum(watermark)) > 0)
	{
		pgt_catalog_notify();
		PG_RETURN_VOID();
	}
	now = current_watermark(source);
	if (watermark < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the watermark of \"%s\" cannot go back", name),
				 errdetail("It is %s.", timestamptz_to_str(now))));
	PG_RETURN_VOID();
}

/* ---------- before a refresh ---------- */

static SPIPlanPtr
kept_plan(SPIPlanPtr *plan, const char *sql, int nargs)
{
	Oid types[1] = {INT8OID};

	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, nargs, types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare: %s", sql);
	}
	return *plan;
}

/* Blown fuses are looked at by the caller, who has the ST's row: this is about the rest, which is rarely there at all. */
static bool
may_be_held(void)
{
	static SPIPlanPtr plan = NULL;
	bool isnull;

	if (SPI_execute_plan(kept_plan(&plan, "SELECT pgtrickle._may_be_held()", 0), NULL, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for gates");
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

char *
pgt_held_reason(int64 pgt_id)
{
	static SPIPlanPtr plan = NULL;
	Datum id = Int64GetDatum(pgt_id);

	if (!may_be_held())
		return NULL;
	if (SPI_execute_plan(kept_plan(&plan, "SELECT h.reason FROM pgtrickle._held() h WHERE h.pgt_id = $1", 1), &id, NULL, true, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not look for gates");
	return SPI_processed > 0 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : NULL;
}

void
pgt_check_groups(ArrayType *ids)
{
	Oid type = INT8ARRAYOID;
	Datum value = PointerGetDatum(ids);
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	if (pgt_catalog_find("SELECT g.group_name FROM pgtrickle.pgt_refresh_groups g WHERE g.member_ids && $1 AND NOT g.member_ids <@ $1 LIMIT 1",
						 type, value) > 0)
		ereport(ERROR,
				(errcode(PGT_ERRCODE_HELD),
				 errmsg("refresh group \"%s\" is refreshed whole", SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1))));
	SPI_finish();
	pgt_catalog_end(scope);
}

void
pgt_check_held(const PgtStreamTable *st)
{
	char *reason = pgt_held_reason(st->id);

	/* while this refresh waited for the lock of whoever suspended it */
	if (strcmp(st->status, "SUSPENDED") == 0)
		reason = "it is suspended";
	if (reason == NULL && strcmp(st->fuse_mode, "off") != 0 && strcmp(st->fuse_state, "blown") == 0)
		reason = "its fuse has blown";
	if (reason != NULL)
		ereport(ERROR,
				(errcode(PGT_ERRCODE_HELD),
				 errmsg("stream table %s is not refreshed now", quote_qualified_identifier(st->schema, st->name)),
				 errdetail("%s", reason)));
}
