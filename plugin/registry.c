/*
 * registry.c - reading pgtrickle.pgt_sources under the historic snapshot.
 *
 * The registry is an ordinary table with user_catalog_table = true, so what it says is what held when the change at hand was
 * made.  Its data, however, are read from today's files, and it may have been dropped since: every look takes a lock, asks
 * today's pg_class whether the table still stands, and answers "nothing is tracked" when it does not.  An index is reached by
 * the historic file number, which REINDEX gives away: without that file the table is read from end to end, it is small.
 *
 * Nobody vouches for the schema's name: where the extension is not installed, anyone allowed to create schemas may have made
 * a table of this name.  So its shape is checked before a value is trusted, and every value after that.  Two shapes are ours:
 * schema 0.19.0 had no column `mask`, and WAL from before an update is read with it: no masks then.
 */
#include "plugin/registry.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "extension/layout.h"

#define REGISTRY_SCHEMA "pgtrickle"
#define REGISTRY_TABLE "pgt_sources"

enum
{
	REG_RELID,
	REG_GEN,
	REG_ATTNUMS,
	REG_KINDS,
	REG_LAYOUT,
	REG_NATTS,
	REG_INSERT_ONLY,
	REG_IGNORE_OLD,
	REG_MASK,
	REG_COLUMNS
};

static const struct
{
	const char *name;
	Oid type;
} registry_columns[REG_COLUMNS] = {
	{"relid", OIDOID}, {"gen", INT4OID}, {"attnums", INT2ARRAYOID}, {"kinds", TEXTOID}, {"layout", INT4OID}, {"natts", INT2OID}, {"insert_only", BOOLOID}, {"ignore_old", BOOLOID}, {"mask", BOOLOID}};

/* Where the registry is; found again after an invalidation.  Nothing here points into memory that could go away. */
static struct
{
	bool resolved;
	Oid relid; /* InvalidOid: there is none */
	Oid index;
	AttrNumber attnums[REG_COLUMNS];
} registry;

bool
pgt_registry_invalidate(Oid relid)
{
	bool ours = !OidIsValid(relid) || relid == registry.relid;

	/* while there is none, any new table might be it */
	if (ours || !OidIsValid(registry.relid))
		registry.resolved = false;
	return ours;
}

/* File number that today's pg_class gives; InvalidOid when it does not know the relation. */
static Oid
file_of_today(Oid relid)
{
	Relation pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tup;
	Oid result;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true, GetNonHistoricCatalogSnapshot(RelationRelationId), 1, &key);
	tup = systable_getnext(scan);
	result = HeapTupleIsValid(tup) ? ((Form_pg_class) GETSTRUCT(tup))->relfilenode : InvalidOid;
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

/*
 * Open with a lock, or NULL.  The lock keeps the file from going away while we read.  Opening a dropped catalog table under a
 * historic snapshot would be an error.
 */
static Relation
open_registry(Oid relid)
{
	Relation rel;

	LockRelationOid(relid, AccessShareLock);
	rel = OidIsValid(file_of_today(relid)) ? RelationIdGetRelation(relid) : NULL;
	if (rel == NULL)
		UnlockRelationOid(relid, AccessShareLock);
	return rel;
}

static void
close_registry(Relation rel)
{
	Oid relid = RelationGetRelid(rel);

	RelationClose(rel);
	UnlockRelationOid(relid, AccessShareLock);
}

/* Is this our registry, by its shape?  Fills the attribute numbers. */
static bool
check_shape(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION || !RelationIsUsedAsCatalogTable(rel))
		return false;
	for (int c = 0; c < REG_COLUMNS; c++)
	{
		registry.attnums[c] = InvalidAttrNumber;
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped && att->atttypid == registry_columns[c].type &&
				strcmp(NameStr(att->attname), registry_columns[c].name) == 0)
				registry.attnums[c] = att->attnum;
		}
		if (registry.attnums[c] == InvalidAttrNumber && c != REG_MASK)
			return false;
	}
	return true;
}

/* The primary key, when it is what we would search by. */
static Oid
find_index(Relation rel)
{
	Oid result;
	Relation index;

	list_free(RelationGetIndexList(rel));
	result = rel->rd_pkindex;
	if (!OidIsValid(result))
		return InvalidOid;
	index = RelationIdGetRelation(result);
	if (index == NULL)
		return InvalidOid;
	if (index->rd_index->indnkeyatts != 1 || index->rd_index->indkey.values[0] != registry.attnums[REG_RELID])
		result = InvalidOid;
	RelationClose(index);
	return result;
}

static void
resolve_registry(void)
{
	Oid nsp;
	Oid relid;
	Relation rel;

	registry.resolved = true;
	registry.relid = InvalidOid;
	nsp = get_namespace_oid(REGISTRY_SCHEMA, true);
	relid = OidIsValid(nsp) ? get_relname_relid(REGISTRY_TABLE, nsp) : InvalidOid;
	if (!OidIsValid(relid))
		return;
	rel = open_registry(relid);
	if (rel == NULL)
		return;
	if (check_shape(rel))
	{
		registry.index = find_index(rel);
		registry.relid = relid;
	}
	close_registry(rel);
}

/* Whether the index can be read: its historic file may be gone.  When true, it is locked. */
static bool
index_readable(Oid index)
{
	Relation rel;
	bool ok = false;

	if (!OidIsValid(index))
		return false;
	LockRelationOid(index, AccessShareLock);
	rel = RelationIdGetRelation(index);
	if (rel != NULL)
	{
		ok = rel->rd_index->indisvalid && file_of_today(index) == rel->rd_rel->relfilenode;
		RelationClose(rel);
	}
	if (!ok)
		UnlockRelationOid(index, AccessShareLock);
	return ok;
}

static void
corrupt(Oid relid, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("invalid %s in %s.%s for relation %u", what, REGISTRY_SCHEMA, REGISTRY_TABLE, relid),
			 errhint("Only the extension pg_trickle may write this table.")));
}

static Datum
registry_value(HeapTuple tuple, TupleDesc desc, int column, Oid relid)
{
	bool isnull;
	Datum d = heap_getattr(tuple, registry.attnums[column], desc, &isnull);

	if (isnull)
		corrupt(relid, registry_columns[column].name);
	return d;
}

static void
read_columns(PgtRoot *root, Datum attnums, Datum kinds)
{
	ArrayType *a = DatumGetArrayTypeP(attnums);
	int16 *v = (int16 *) ARR_DATA_PTR(a);
	int n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));

	if (ARR_NDIM(a) > 1 || ARR_HASNULL(a) || ARR_ELEMTYPE(a) != INT2OID || n > MaxHeapAttributeNumber)
		corrupt(root->relid, "attnums");
	for (int i = 0; i < n; i++)
		if (v[i] < 1 || v[i] > root->natts || (i > 0 && v[i] <= v[i - 1]))
			corrupt(root->relid, "attnums");
	root->kinds = TextDatumGetCString(kinds);
	if (strlen(root->kinds) != n || strspn(root->kinds, "nsd") != n)
		corrupt(root->relid, "kinds");
	root->ncols = n;
	root->attnums = palloc(sizeof(int16) * Max(n, 1));
	memcpy(root->attnums, v, sizeof(int16) * n);
}

static void
read_row(PgtRoot *root, HeapTuple tuple, TupleDesc desc)
{
	Oid relid = root->relid;

	root->gen = DatumGetInt32(registry_value(tuple, desc, REG_GEN, relid));
	root->layout = (uint32) DatumGetInt32(registry_value(tuple, desc, REG_LAYOUT, relid));
	root->natts = DatumGetInt16(registry_value(tuple, desc, REG_NATTS, relid));
	root->mask = registry.attnums[REG_MASK] != InvalidAttrNumber && DatumGetBool(registry_value(tuple, desc, REG_MASK, relid));
	root->insert_only = DatumGetBool(registry_value(tuple, desc, REG_INSERT_ONLY, relid));
	root->ignore_old = DatumGetBool(registry_value(tuple, desc, REG_IGNORE_OLD, relid));
	if (root->natts < 0 || root->natts > MaxHeapAttributeNumber)
		corrupt(relid, "natts");
	read_columns(root, registry_value(tuple, desc, REG_ATTNUMS, relid), registry_value(tuple, desc, REG_KINDS, relid));
	root->tracked = true;
}

void
pgt_registry_load(PgtRoot *root, MemoryContext parent)
{
	Relation rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool use_index;

	root->tracked = false;
	if (!registry.resolved)
		resolve_registry();
	if (!OidIsValid(registry.relid))
		return;
	rel = open_registry(registry.relid);
	if (rel == NULL)
		return;
	use_index = index_readable(registry.index);
	ScanKeyInit(&key, registry.attnums[REG_RELID], BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(root->relid));
	scan = systable_beginscan(rel, use_index ? registry.index : InvalidOid, use_index, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		MemoryContext old;

		root->context = AllocSetContextCreate(parent, "pgtrickle registered relation", ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(root->context);
		read_row(root, tuple, RelationGetDescr(rel));
		MemoryContextSwitchTo(old);
	}
	systable_endscan(scan);
	if (use_index)
		UnlockRelationOid(registry.index, AccessShareLock);
	close_registry(rel);
}
