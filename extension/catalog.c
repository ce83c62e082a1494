/*
 * catalog.c - reading and writing the extension's own tables (sql/10_catalog.sql).
 *
 * Every statement on these tables runs as their owner under search_path "pg_catalog, pg_temp", whoever the caller is: callers
 * have checked rights before, and a definition must not depend on the session that touches it.  What pgt_catalog_begin changes
 * (user, settings) is state that the transaction machinery restores by itself on error.
 *
 * Lookups read under the latest snapshot plus this transaction's own commands, also in REPEATABLE READ: what they decide
 * (is this an ST, who reads this table) is about the present.  Their plans are kept, because DDL hooks run them for every DDL.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "catalog_row.h"
#include "compat.h"
#include "name.h"

#define ST_COLUMNS                                                                                                     \
	"SELECT d.pgt_id, d.pgt_relid, d.pgt_schema, d.pgt_name, d.defining_query, d.original_query, d.schedule,"          \
	" d.refresh_mode, d.full_reason, d.definition_version, s.status, s.is_populated, s.needs_reinit, s.reinit_reason," \
	" s.refresh_no, d.settings::text, d.xmin, coalesce(s.clock, '-infinity'), coalesce(s.next_crossing, '-infinity')," \
	" d.fuse_mode, s.fuse_state, coalesce(d.auto_threshold, -1), coalesce(d.max_delta_fraction, -1),"                  \
	" coalesce(s.last_full_ms, -1), d.pgt_owner"                                                                       \
	" FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id)"

/* ---------- where things are, and as whom we read them ---------- */

Oid
pgt_catalog_relid(const char *name)
{
	Oid nsp = get_namespace_oid("pgtrickle", true);
	Oid relid = OidIsValid(nsp) ? get_relname_relid(name, nsp) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"pg_trickle\" is not installed in this database"),
				 errdetail("Table pgtrickle.%s does not exist.", name),
				 errhint("Run CREATE EXTENSION pg_trickle.")));
	return relid;
}

Oid
pgt_changes_namespace(void)
{
	Oid nsp = get_namespace_oid("pgtrickle_changes", true);

	if (!OidIsValid(nsp))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"pg_trickle\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION pg_trickle.")));
	return nsp;
}

Oid
pgt_catalog_owner(void)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(pgt_catalog_relid("pgt_definitions")));
	Oid owner;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for the stream table catalog");
	owner = ((Form_pg_class) GETSTRUCT(tup))->relowner;
	ReleaseSysCache(tup);
	return owner;
}

PgtCatalogScope
pgt_catalog_begin(void)
{
	PgtCatalogScope scope;
	Oid owner = pgt_catalog_owner();

	GetUserIdAndSecContext(&scope.userid, &scope.sec_context);
	SetUserIdAndSecContext(owner, scope.sec_context | SECURITY_LOCAL_USERID_CHANGE);
	scope.guc_nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return scope;
}

void
pgt_catalog_end(PgtCatalogScope scope)
{
	AtEOXact_GUC(false, scope.guc_nest);
	SetUserIdAndSecContext(scope.userid, scope.sec_context);
}

uint64
pgt_catalog_exec(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int rc = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);

	if (rc < 0)
		elog(ERROR, "catalog statement failed (%s): %s", SPI_result_code_string(rc), sql);
	return SPI_processed;
}

void
pgt_catalog_notify(void)
{
	Async_Notify("pgtrickle_catalog", NULL);
}

/* ---------- names ---------- */

/*
 * Compiled statements mention types, operators and schemas by name.  Whoever renames something sends an invalidation of
 * pgt_definitions: all sessions get it at his commit, and no lock is needed.
 */
static uint64 names_epoch = 1;
static Oid definitions_relid = InvalidOid;

static void
definitions_invalidated(Datum arg, Oid relid)
{
	if (relid == definitions_relid || !OidIsValid(relid))
		names_epoch++;
}

static uint64
current_epoch(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(definitions_invalidated, (Datum) 0);
		registered = true;
	}
	definitions_relid = pgt_catalog_relid("pgt_definitions");
	return names_epoch;
}

void
pgt_names_changed(void)
{
	CacheInvalidateRelcacheByRelid(pgt_catalog_relid("pgt_definitions"));
}

/* ---------- lookups ---------- */

/*
 * Plans of lookups, kept for the session.  Keyed by the statement's address: there are few of them, all are literals, and DDL hooks
 * run them for every DDL.
 */
#define MAX_LOOKUPS 32

typedef struct Lookup
{
	const char *sql;
	SPIPlanPtr plan;
} Lookup;

static Lookup lookups[MAX_LOOKUPS];

static SPIPlanPtr
lookup_plan(const char *sql, Oid type)
{
	SPIPlanPtr plan;
	int i = 0;

	while (i < MAX_LOOKUPS && lookups[i].sql != NULL && lookups[i].sql != sql)
		i++;
	if (i < MAX_LOOKUPS && lookups[i].sql == sql)
		return lookups[i].plan;
	plan = SPI_prepare(sql, 1, &type);
	if (plan == NULL)
		elog(ERROR, "could not prepare catalog lookup (%s): %s", SPI_result_code_string(SPI_result), sql);
	if (i < MAX_LOOKUPS)
	{
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "could not keep catalog lookup: %s", sql);
		lookups[i].plan = plan;
		lookups[i].sql = sql;
	}
	return plan;
}

uint64
pgt_catalog_find(const char *sql, Oid type, Datum arg)
{
	SPIPlanPtr plan = lookup_plan(sql, type);
	int rc;

	/* the latest snapshot shows this transaction's finished commands only */
	CommandCounterIncrement();
	rc = SPI_execute_snapshot(plan, &arg, NULL, GetLatestSnapshot(), InvalidSnapshot, true, false, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "catalog lookup failed (%s): %s", SPI_result_code_string(rc), sql);
	return SPI_processed;
}

List *
pgt_catalog_rows(const char *sql, Oid type, Datum arg, PgtReadRow read)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *result = NIL;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_find(sql, type, arg);
	MemoryContextSwitchTo(cxt);
	for (uint64 i = 0; i < SPI_processed; i++)
		result = lappend(result, read(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}

static void *
read_id(HeapTuple row, TupleDesc desc)
{
	int64 *id = palloc(sizeof(int64));
	bool isnull;

	*id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
	return id;
}

List *
pgt_catalog_ids(const char *sql, Oid type, Datum arg)
{
	return pgt_catalog_rows(sql, type, arg, read_id);
}

static void *
read_oid(HeapTuple row, TupleDesc desc)
{
	Oid *oid = palloc(sizeof(Oid));
	bool isnull;

	*oid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
	return oid;
}

List *
pgt_catalog_oids(const char *sql, Oid type, Datum arg)
{
	List *rows = pgt_catalog_rows(sql, type, arg, read_oid);
	List *result = NIL;
	ListCell *lc;

	foreach (lc, rows)
		result = lappend_oid(result, *(Oid *) lfirst(lc));
	list_free_deep(rows);
	return result;
}

/* Column `col` of the first result row, copied to `cxt`; NULL for NULL. */
static char *
text_column(int col, MemoryContext cxt)
{
	char *v = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, col);

	return v ? MemoryContextStrdup(cxt, v) : NULL;
}

static Datum
plain_column(uint64 row, int col)
{
	bool isnull;
	Datum d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &isnull);

	Assert(!isnull);
	return d;
}

static PgtStreamTable *
read_stream_table(MemoryContext cxt)
{
	PgtStreamTable *st = MemoryContextAllocZero(cxt, sizeof(PgtStreamTable));

	st->id = DatumGetInt64(plain_column(0, 1));
	st->relid = DatumGetObjectId(plain_column(0, 2));
	st->schema = text_column(3, cxt);
	st->name = text_column(4, cxt);
	st->query = text_column(5, cxt);
	st->original_query = text_column(6, cxt);
	st->schedule = text_column(7, cxt);
	st->refresh_mode = text_column(8, cxt);
	st->full_reason = text_column(9, cxt);
	st->definition_version = DatumGetInt32(plain_column(0, 10));
	st->status = text_column(11, cxt);
	st->is_populated = DatumGetBool(plain_column(0, 12));
	st->needs_reinit = DatumGetBool(plain_column(0, 13));
	st->reinit_reason = text_column(14, cxt);
	st->refresh_no = DatumGetInt64(plain_column(0, 15));
	st->settings = text_column(16, cxt);
	st->definition_xmin = DatumGetTransactionId(plain_column(0, 17));
	st->names_epoch = current_epoch();
	st->clock = DatumGetTimestampTz(plain_column(0, 18));
	st->next_crossing = DatumGetTimestampTz(plain_column(0, 19));
	st->fuse_mode = text_column(20, cxt);
	st->fuse_state = text_column(21, cxt);
	st->auto_threshold = DatumGetFloat8(plain_column(0, 22));
	st->max_delta_fraction = DatumGetFloat8(plain_column(0, 23));
	st->last_full_ms = DatumGetFloat8(plain_column(0, 24));
	st->owner = text_column(25, cxt);
	return st;
}

static PgtStreamTable *
find_stream_table(const char *sql, Oid type, Datum arg)
{
	MemoryContext cxt = CurrentMemoryContext;
	PgtStreamTable *st = NULL;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_find(sql, type, arg);
	if (SPI_processed > 0)
		st = read_stream_table(cxt);
	SPI_finish();
	pgt_catalog_end(scope);
	return st;
}

PgtStreamTable *
pgt_st_by_id(int64 id)
{
	return find_stream_table(ST_COLUMNS " WHERE d.pgt_id = $1", INT8OID, Int64GetDatum(id));
}

PgtStreamTable *
pgt_st_by_relid(Oid relid)
{
	return find_stream_table(ST_COLUMNS " WHERE d.pgt_relid = $1", OIDOID, ObjectIdGetDatum(relid));
}

PgtStreamTable *
pgt_st_by_name(const char *name)
{
	PgtName parts = pgt_parse_name(name);
	Oid relid = RangeVarGetRelid(makeRangeVar(parts.schema, parts.name, -1), NoLock, true);
	PgtStreamTable *st;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table \"%s\" does not exist", name),
				 errhint("SELECT * FROM pgtrickle.pgt_status() lists the stream tables; names without a schema are looked up in search_path.")));
	st = pgt_st_by_relid(relid);
	if (st == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("\"%s\" is not a stream table", name),
				 errhint("SELECT * FROM pgtrickle.pgt_status() lists the stream tables.")));
	return st;
}

void
pgt_st_check_owner(const PgtStreamTable *st)
{
	if (!pgt_class_ownercheck(st->relid, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of stream table %s", quote_qualified_identifier(st->schema, st->name))));
}

List *
pgt_st_sources(int64 id)
{
	return pgt_catalog_oids("SELECT source_relid FROM pgtrickle.pgt_dependencies WHERE pgt_id = $1 ORDER BY 1",
							INT8OID, Int64GetDatum(id));
}

/* Edges without a state row come from a dump (api_restore.c): their OIDs mean nothing here. */
List *
pgt_st_readers(Oid relid)
{
	return pgt_catalog_ids("SELECT pgt_id FROM pgtrickle.pgt_dependencies JOIN pgtrickle.pgt_state USING (pgt_id)"
						   " WHERE source_relid = $1 ORDER BY 1",
						   OIDOID, ObjectIdGetDatum(relid));
}

/* ---------- changes ---------- */

void
pgt_catalog_forget(int64 id)
{
	(void) pgt_catalog_value("DELETE FROM pgtrickle.pgt_dependencies WHERE pgt_id = $1", id);
	(void) pgt_catalog_value("UPDATE pgtrickle.pgt_refresh_groups SET member_ids = pg_catalog.array_remove(member_ids, $1)"
							 " WHERE $1 = ANY (member_ids)",
							 id);
	(void) pgt_catalog_value("DELETE FROM pgtrickle.pgt_definitions WHERE pgt_id = $1", id);
}

void
pgt_st_mark_reinit(int64 id, const char *reason)
{
	Oid types[2] = {INT8OID, TEXTOID};
	Datum values[2] = {Int64GetDatum(id), CStringGetTextDatum(reason)};
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	/* reinit_xid always moves on: a refresh in flight clears the mark only if its snapshot sees who set it last */
	pgt_catalog_exec("UPDATE pgtrickle.pgt_state SET needs_reinit = true, reinit_xid = pg_catalog.pg_current_xact_id(),"
					 " reinit_reason = CASE WHEN needs_reinit THEN reinit_reason ELSE $2 END WHERE pgt_id = $1",
					 2, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
}
