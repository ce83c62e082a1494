/*
 * segment.c - change buffers and their segments: create, rotate, trim.
 *
 * A buffer is an empty parent table with segments as inheritance children; the consumer fills the newest segment of a generation.
 * Buffers are made by the owner of the extension and are its members: pg_dump leaves them out, users cannot drop them by
 * accident, and they go when it goes.
 *
 * All changes of segments of a source happen under its entry lock (source.c), except rotation: one consumer does that, and what
 * it adds is newer than anything that others look at.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "guc.h"
#include "identity.h"
#include "layout.h"
#include "segment.h"

PG_FUNCTION_INFO_V1(pgt_consumer_rotate);

/* ---------- names ---------- */

static Oid
changes_relid(const char *name)
{
	return get_relname_relid(name, pgt_changes_namespace());
}

static char *
parent_name(Oid relid)
{
	return psprintf("changes_%u", relid);
}

/* ---------- creation ---------- */

static void
run_ddl(const char *sql)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "could not run (%s): %s", SPI_result_code_string(rc), sql);
}

/* Make a table of pgtrickle_changes a member of the extension.  In a script of the extension it is one already. */
static void
adopt(const char *name)
{
	ObjectAddress table;
	ObjectAddress extension;

	if (creating_extension)
		return;
	ObjectAddressSet(table, RelationRelationId, changes_relid(name));
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("pg_trickle", false));
	recordDependencyOn(&table, &extension, DEPENDENCY_EXTENSION);
	/* else pg_dump would dump the grants of a table that it does not dump */
	recordExtObjInitPriv(table.objectId, RelationRelationId);
}

static const char *
mask_type(int natts)
{
	return natts <= PGT_MASK_INT8_MAX ? "int8" : "varbit";
}

bool
pgt_segment_logged(void)
{
	return get_rel_persistence(changes_relid("progress")) == RELPERSISTENCE_PERMANENT;
}

void
pgt_segment_set_persistence(void)
{
	bool logged = !pgt_guc_unlogged_buffers;

	if (logged == pgt_segment_logged())
		return;
	run_ddl(psprintf("ALTER TABLE pgtrickle_changes.progress SET %s", logged ? "LOGGED" : "UNLOGGED"));
	run_ddl(psprintf("ALTER TABLE pgtrickle_changes.segment_stats SET %s", logged ? "LOGGED" : "UNLOGGED"));
}

/* Columns of a segment beyond the parent's. */
static char *
segment_columns(const PgtSource *source)
{
	StringInfoData sql;
	ListCell *lc;

	initStringInfo(&sql);
	foreach (lc, source->attnums)
	{
		Oid buffer_type;
		HeapTuple tup;

		pgt_column_kind(get_atttype(source->relid, lfirst_int(lc)), &buffer_type);
		tup = SearchSysCache1(TYPEOID, ObjectIdGetDatum(buffer_type));
		if (!HeapTupleIsValid(tup))
			elog(ERROR, "cache lookup failed for type %u", buffer_type);
		/* by its catalog name: "character" or "bit" would get a length of 1 */
		appendStringInfo(&sql, "%sc%d pg_catalog.%s", sql.len > 0 ? ", " : "", lfirst_int(lc),
						 quote_identifier(NameStr(((Form_pg_type) GETSTRUCT(tup))->typname)));
		ReleaseSysCache(tup);
	}
	return sql.data;
}

static int64
next_segno(void)
{
	bool isnull;

	pgt_catalog_exec("SELECT pg_catalog.nextval('pgtrickle.pgt_segno_seq')", 0, NULL, NULL, NULL);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* A new segment whose own columns are `columns` (SQL text); recorded in pgt_segments. */
static int64
create_segment(Oid relid, int32 gen, const char *columns)
{
	int64 segno = next_segno();
	char *name = psprintf("changes_%u_" INT64_FORMAT, relid, segno);
	Oid types[4] = {OIDOID, INT8OID, INT4OID, TEXTOID};
	Datum values[4] = {ObjectIdGetDatum(relid), Int64GetDatum(segno), Int32GetDatum(gen), CStringGetTextDatum(name)};

	run_ddl(psprintf("CREATE %s TABLE pgtrickle_changes.%s (%s) INHERITS (pgtrickle_changes.%s)"
					 " WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)",
					 pgt_segment_logged() ? "" : "UNLOGGED", name, columns, parent_name(relid)));
	run_ddl(psprintf("REVOKE ALL ON pgtrickle_changes.%s FROM PUBLIC", name));
	run_ddl(psprintf("GRANT INSERT ON pgtrickle_changes.%s TO pgtrickle_consumer", name));
	adopt(name);
	pgt_catalog_exec("INSERT INTO pgtrickle.pgt_segments (source_relid, segno, gen, relname) VALUES ($1, $2, $3, $4)",
					 4, types, values, NULL);
	return segno;
}

/* Parents made when the table had 63 columns or fewer cannot carry the masks of a wider one. */
static bool
parent_fits(const PgtSource *source, Oid parent)
{
	AttrNumber attnum = get_attnum(parent, "changed_columns");

	if (attnum == InvalidAttrNumber) /* schema 0.19.0 */
		return true;
	return get_atttype(parent, attnum) == (source->natts <= PGT_MASK_INT8_MAX ? INT8OID : VARBITOID);
}

static void
create_parent(const PgtSource *source)
{
	char *name = parent_name(source->relid);

	char *masks = pgt_schema_has_masks() ? psprintf(", changed_columns pg_catalog.%s", mask_type(source->natts)) : "";

	run_ddl(psprintf("CREATE %s TABLE pgtrickle_changes.%s (xid pg_catalog.xid8, op pg_catalog.\"char\"%s)"
					 " WITH (autovacuum_enabled = off)",
					 pgt_segment_logged() ? "" : "UNLOGGED", name, masks));
	run_ddl(psprintf("REVOKE ALL ON pgtrickle_changes.%s FROM PUBLIC", name));
	adopt(name);
}

static void
mark_readers(Oid relid, const char *reason)
{
	ListCell *lc;

	foreach (lc, pgt_st_readers(relid))
		pgt_st_mark_reinit(*(int64 *) lfirst(lc), reason);
}

void
pgt_segment_begin(const PgtSource *source)
{
	Oid parent = changes_relid(parent_name(source->relid));

	if (pgt_catalog_exec("SELECT 1 FROM pgtrickle.pgt_sources LIMIT 1", 0, NULL, NULL, NULL) == 0)
		pgt_segment_set_persistence();
	if (OidIsValid(parent) && !parent_fits(source, parent))
	{
		mark_readers(source->relid, "the source has grown beyond 63 columns");
		if (!pgt_segment_drop_all(source->relid))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not replace the change buffer of \"%s\", which is in use", get_rel_name(source->relid)),
					 errhint("Try again.")));
		parent = InvalidOid;
	}
	if (!OidIsValid(parent))
		create_parent(source);
	create_segment(source->relid, source->gen, segment_columns(source));
}

/* ---------- rotation ---------- */

/* The newest segment of a generation, InvalidOid when there is none. */
static Oid
newest_segment(Oid relid, int32 gen)
{
	Oid types[2] = {OIDOID, INT4OID};
	Datum values[2] = {ObjectIdGetDatum(relid), Int32GetDatum(gen)};

	if (pgt_catalog_exec("SELECT relname FROM pgtrickle.pgt_segments WHERE source_relid = $1 AND gen = $2"
						 " ORDER BY segno DESC LIMIT 1",
						 2, types, values, NULL) == 0)
		return InvalidOid;
	return changes_relid(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
}

/* The own columns of an existing segment as SQL: the source's may be others by now. */
static char *
columns_like(Oid segment)
{
	Relation rel = table_open(segment, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attinhcount > 0)
			continue;
		appendStringInfo(&sql, "%s%s %s", sql.len > 0 ? ", " : "", quote_identifier(NameStr(att->attname)),
						 format_type_extended(att->atttypid, att->atttypmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	}
	table_close(rel, AccessShareLock);
	return sql.data;
}

int64
pgt_source_rotate(Oid relid, int32 gen)
{
	int64 segno = 0;
	Oid newest;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	newest = newest_segment(relid, gen);
	if (OidIsValid(newest))
		segno = create_segment(relid, gen, columns_like(newest));
	SPI_finish();
	pgt_catalog_end(scope);
	return segno;
}

Datum
pgt_consumer_rotate(PG_FUNCTION_ARGS)
{
	int64 segno = pgt_source_rotate(PG_GETARG_OID(0), PG_GETARG_INT32(1));

	if (segno == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(segno);
}

/* ---------- removal ---------- */

/* Drop a member of the extension without the question whether the extension needs it.  The caller has locked it. */
static void
drop_table(Oid relid)
{
	ObjectAddress table;

	ObjectAddressSet(table, RelationRelationId, relid);
	performDeletion(&table, DROP_RESTRICT,
					PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY | PERFORM_DELETION_SKIP_EXTENSIONS);
}

bool
pgt_segment_drop(Oid source, int64 segno)
{
	char *name = psprintf("changes_%u_" INT64_FORMAT, source, segno);
	Oid types[2] = {OIDOID, INT8OID};
	Datum values[2] = {ObjectIdGetDatum(source), Int64GetDatum(segno)};
	Oid relid = changes_relid(name);

	if (OidIsValid(relid))
	{
		if (!ConditionalLockRelationOid(relid, AccessExclusiveLock))
			return false;
		drop_table(relid);
	}
	pgt_catalog_exec("DELETE FROM pgtrickle.pgt_segments WHERE source_relid = $1 AND segno = $2", 2, types, values, NULL);
	pgt_catalog_exec("DELETE FROM pgtrickle_changes.segment_stats WHERE source_relid = $1 AND segno = $2", 2, types, values, NULL);
	return true;
}

bool
pgt_segment_drop_all(Oid source)
{
	bool complete = true;
	PgtCatalogScope scope = pgt_catalog_begin();
	Oid parent = changes_relid(parent_name(source));
	int64 *segnos;
	uint64 n;

	SPI_connect();
	n = pgt_catalog_find("SELECT segno FROM pgtrickle.pgt_segments WHERE source_relid = $1",
						 OIDOID, ObjectIdGetDatum(source));
	segnos = palloc(sizeof(int64) * (n + 1));
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;

		segnos[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	for (uint64 i = 0; i < n; i++)
		complete &= pgt_segment_drop(source, segnos[i]);
	if (complete && OidIsValid(parent))
	{
		CommandCounterIncrement();
		complete = ConditionalLockRelationOid(parent, AccessExclusiveLock);
		if (complete)
			drop_table(parent);
	}
	SPI_finish();
	pgt_catalog_end(scope);
	return complete;
}
