/*
 * identity.c - REPLICA IDENTITY FULL where capture needs it, and back again.
 *
 * An UPDATE or DELETE of a captured row must carry the old values of the captured columns.  An identity index gives those of its
 * key columns only (and an UPDATE that leaves the key alone logs no old row at all), so it is enough exactly when all captured columns
 * are key columns of it; otherwise the table needs FULL.  Each partition and inheritance child has an identity of its own.
 *
 * We set pg_class.relreplident ourselves instead of through ALTER TABLE.  ALTER TABLE takes ACCESS EXCLUSIVE, which in a transaction
 * that goes on to load a stream table would keep readers out until its end.  SHARE ROW EXCLUSIVE is enough: only writers look at the
 * identity, no writer can hold the table open while we hold that lock, and each has to accept our relcache invalidation when
 * he gets his lock afterwards.  VACUUM and index builds, which change pg_class rows in place, conflict with it too.
 *
 * What was there before is kept in pgt_source_identity.  It is put back when the last registration that needs it goes, unless the
 * user has changed it meanwhile; when the table is busy at that moment, trimming tries again later.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "compat.h"
#include "identity.h"

/* ---------- what an identity gives ---------- */

/* The leaf's number of a column of root: partitions may have their columns in another order. */
static AttrNumber
leaf_attnum(Oid leaf, Oid root, int attnum)
{
	if (leaf == root)
		return attnum;
	return get_attnum(leaf, get_attname(root, attnum, false));
}

bool
pgt_identity_covers(Oid leaf, Oid root, List *attnums)
{
	Relation rel = relation_open(leaf, NoLock);
	bool covers = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;

	if (!covers && rel->rd_rel->relreplident != REPLICA_IDENTITY_NOTHING)
	{
		Bitmapset *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
		ListCell *lc;

		covers = true;
		foreach (lc, attnums)
			covers &= bms_is_member(leaf_attnum(leaf, root, lfirst_int(lc)) - FirstLowInvalidHeapAttributeNumber, key);
	}
	relation_close(rel, NoLock);
	return covers;
}

/* ---------- setting it ---------- */

/* Mark `index` (InvalidOid: none) as the one index of rel that is its replica identity. */
static void
mark_index(Relation rel, Oid index)
{
	Relation pg_index = table_open(IndexRelationId, RowExclusiveLock);
	ListCell *lc;

	foreach (lc, RelationGetIndexList(rel))
	{
		HeapTuple tup = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index form;

		if (!HeapTupleIsValid(tup))
			elog(ERROR, "cache lookup failed for index %u", lfirst_oid(lc));
		form = (Form_pg_index) GETSTRUCT(tup);
		if (form->indisreplident != (lfirst_oid(lc) == index))
		{
			form->indisreplident = lfirst_oid(lc) == index;
			CatalogTupleUpdate(pg_index, &tup->t_self, tup);
			CacheInvalidateRelcacheByRelid(lfirst_oid(lc));
		}
		heap_freetuple(tup);
	}
	table_close(pg_index, RowExclusiveLock);
}

static void
set_identity(Oid relid, char identity, Oid index)
{
	Relation pg_class = table_open(RelationRelationId, RowExclusiveLock);
	Relation rel = table_open(relid, NoLock);
	HeapTuple tup = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	((Form_pg_class) GETSTRUCT(tup))->relreplident = identity;
	CatalogTupleUpdate(pg_class, &tup->t_self, tup);
	mark_index(rel, index);
	CacheInvalidateRelcache(rel);
	heap_freetuple(tup);
	table_close(rel, NoLock);
	table_close(pg_class, RowExclusiveLock);
	CommandCounterIncrement();
}

static void
check_owner_of(Oid relid)
{
	if (pgt_class_ownercheck(relid, GetUserId()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("\"%s\" needs REPLICA IDENTITY FULL to be read by this stream table", get_rel_name(relid)),
			 errdetail("Only its owner may cause that."),
			 errhint("Let the owner run ALTER TABLE %s REPLICA IDENTITY FULL, or create the stream table.", get_rel_name(relid))));
}

/* Remember relid's identity, once: what we set ourselves is never "before". */
static void
remember(Oid relid, Oid root, char identity, Oid index)
{
	Oid types[4] = {OIDOID, OIDOID, CHAROID, OIDOID};
	Datum values[4] = {ObjectIdGetDatum(relid), ObjectIdGetDatum(root), CharGetDatum(identity), ObjectIdGetDatum(index)};
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_exec("INSERT INTO pgtrickle.pgt_source_identity (relid, root, old_identity, old_index)"
					 " VALUES ($1, $2, $3, NULLIF($4, 0)) ON CONFLICT (relid) DO UPDATE SET root = $2",
					 4, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
}

void
pgt_identity_require(Oid leaf, const PgtSource *source, bool check_owner)
{
	Relation rel;
	char identity;
	Oid index = InvalidOid;

	if (pgt_identity_covers(leaf, source->relid, source->attnums))
		return;
	if (check_owner)
		check_owner_of(leaf);
	rel = table_open(leaf, NoLock);
	identity = rel->rd_rel->relreplident;
	if (identity == REPLICA_IDENTITY_INDEX)
		index = RelationGetReplicaIndex(rel);
	table_close(rel, NoLock);

	remember(leaf, source->relid, identity, index);
	set_identity(leaf, REPLICA_IDENTITY_FULL, InvalidOid);
	ereport(NOTICE,
			(errmsg("replica identity of table \"%s\" set to FULL", get_rel_name(leaf)),
			 errdetail("Stream tables need the old values of its updated and deleted rows.")));
}

/* ---------- putting it back ---------- */

typedef struct Remembered
{
	Oid relid;
	char identity;
	Oid index;
} Remembered;

static void *
read_one(HeapTuple row, TupleDesc desc)
{
	Remembered *r = palloc(sizeof(Remembered));
	bool isnull;

	r->relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
	r->identity = DatumGetChar(SPI_getbinval(row, desc, 2, &isnull));
	r->index = DatumGetObjectId(SPI_getbinval(row, desc, 3, &isnull));
	return r;
}

#define REMEMBERED "SELECT relid, old_identity, COALESCE(old_index, 0::oid) FROM pgtrickle.pgt_source_identity i"

static List *
read_remembered(Oid root)
{
	return pgt_catalog_rows(REMEMBERED " WHERE root = $1 OR ($1 = 0::oid AND NOT EXISTS"
									   " (SELECT FROM pgtrickle.pgt_sources s WHERE s.relid = i.root)) ORDER BY relid",
							OIDOID, ObjectIdGetDatum(root), read_one);
}

void
pgt_identity_forget(Oid relid)
{
	Oid types[1] = {OIDOID};
	Datum values[1] = {ObjectIdGetDatum(relid)};
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_exec("DELETE FROM pgtrickle.pgt_source_identity WHERE relid = $1", 1, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
}

/* A registration that still relies on FULL of this table, or InvalidOid. */
static Oid
needed_by(Oid relid)
{
	ListCell *lc;

	foreach (lc, pgt_source_roots(relid))
	{
		if (!pgt_source_get(lfirst_oid(lc))->insert_only)
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

void
pgt_identity_assign(Oid relid, Oid root)
{
	Oid types[2] = {OIDOID, OIDOID};
	Datum values[2] = {ObjectIdGetDatum(relid), ObjectIdGetDatum(root)};
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_exec("UPDATE pgtrickle.pgt_source_identity SET root = $2 WHERE relid = $1 AND root <> $2", 2, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
}

static void
put_back(const Remembered *r)
{
	Relation rel = table_open(r->relid, NoLock);
	bool ours = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	bool possible = r->identity != REPLICA_IDENTITY_INDEX ||
					list_member_oid(RelationGetIndexList(rel), r->index);

	table_close(rel, NoLock);
	if (ours && possible)
		set_identity(r->relid, r->identity, r->index);
	pgt_identity_forget(r->relid);
}

static void
put_back_if_free(Remembered *r)
{
	if (ConditionalLockRelationOid(r->relid, ShareRowExclusiveLock) && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(r->relid)))
		put_back(r);
}

void
pgt_identity_restore(Oid root)
{
	ListCell *lc;

	foreach (lc, read_remembered(root))
	{
		Remembered *r = lfirst(lc);
		bool exists = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(r->relid));
		Oid other = exists ? needed_by(r->relid) : InvalidOid;

		if (!exists)
			pgt_identity_forget(r->relid);
		else if (OidIsValid(other))
			pgt_identity_assign(r->relid, other);
		else
			put_back_if_free(r);
	}
}

void
pgt_identity_restore_all(void)
{
	ListCell *lc;

	foreach (lc, pgt_catalog_rows(REMEMBERED " WHERE $1 = 0::oid ORDER BY relid", OIDOID, ObjectIdGetDatum(InvalidOid), read_one))
	{
		Remembered *r = lfirst(lc);

		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(r->relid)))
			put_back_if_free(r);
		else
			pgt_identity_forget(r->relid);
	}
}
