/*
 * trim.c - removing what every stream table has consumed: segments, rows of ST buffers, DDL events.
 *
 * Trimming.  A segment may go when every ST that pins its source has consumed every transaction in it, and when nothing can arrive in
 * it any more: it is not the newest of its generation, or its generation ended before what has been applied.  ("Ended" is noted
 * by the first trim that sees it: the change of generation has committed by then, so its commit lies before the WAL position
 * of that moment.)  The newest segment is emptied in place when it is large enough to matter.
 *
 * Who pins: STs with a frontier that are not marked for a diff.  The others start anew from a snapshot of their own, and what is
 * trimmed while they do so might not be visible to it; so trimming takes their refresh lock (or, for an ST that is being
 * created, the source's entry lock), without waiting, and lets the source alone when it cannot have it.
 *
 * All locks are conditional: apply holds segments while it waits for the network, refreshes hold them while they wait for a
 * barrier, and a wait here could close a circle that the deadlock detector does not see.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/heap.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#include "catalog.h"
#include "compat.h"
#include "identity.h"
#include "segment.h"

/* Emptying something smaller is not worth a lock. */
#define WORTH_EMPTYING (128 * 1024)

PG_FUNCTION_INFO_V1(pgt_consumer_trim);
PG_FUNCTION_INFO_V1(pgt_consumer_floor);

/* ---------- who pins what ---------- */

typedef struct Reader
{
	int64 id;
	bool pins;
	uint64 floor; /* consumed: xids below, or refresh numbers up to */
} Reader;

/* The STs that read relid, under the latest snapshot. */
static List *
read_readers(Oid relid)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *readers = NIL;

	pgt_catalog_find("SELECT d.pgt_id, NOT s.needs_reinit AND s.is_populated AND (f.snapshot IS NOT NULL OR f.upstream_refresh IS NOT NULL),"
					 " COALESCE(f.upstream_refresh, pg_catalog.pg_snapshot_xmin(f.snapshot)::text::int8, 0)"
					 " FROM pgtrickle.pgt_dependencies d JOIN pgtrickle.pgt_state s USING (pgt_id)"
					 " LEFT JOIN pgtrickle.pgt_frontiers f ON f.pgt_id = d.pgt_id AND f.source_relid = d.source_relid"
					 " WHERE d.source_relid = $1 ORDER BY 1",
					 OIDOID, ObjectIdGetDatum(relid));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Reader *r = MemoryContextAlloc(cxt, sizeof(Reader));
		bool isnull;

		r->id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		r->pins = DatumGetBool(SPI_getbinval(row, desc, 2, &isnull));
		r->floor = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 3, &isnull));
		MemoryContextSwitchTo(cxt);
		readers = lappend(readers, r);
	}
	return readers;
}

/* The lock that a refresh of this ST holds; kept until we commit. */
static bool
try_lock_st(int64 id)
{
	return pgt_try_lock_object(pgt_catalog_relid("pgt_definitions"), (Oid) id, ShareLock);
}

/*
 * What all readers of relid have consumed (see Reader.floor); 0 = nothing is known to be, PG_UINT64_MAX = nobody pins anything.
 * First the refresh locks of those that pin nothing, then the truth under a newer snapshot.
 */
static uint64
consumed_floor(Oid relid)
{
	List *locked = NIL;
	uint64 floor = PG_UINT64_MAX;
	ListCell *lc;

	foreach (lc, read_readers(relid))
	{
		Reader *r = lfirst(lc);

		if (!r->pins)
		{
			if (!try_lock_st(r->id))
				return 0;
			locked = lappend_int(locked, (int) r->id);
		}
	}
	foreach (lc, read_readers(relid))
	{
		Reader *r = lfirst(lc);

		if (r->pins)
			floor = Min(floor, r->floor);
		else if (!list_member_int(locked, (int) r->id))
			return 0;
	}
	return floor;
}

/* ---------- segments ---------- */

typedef struct Segment
{
	int64 segno;
	Oid relid;
	bool newest;  /* of its generation */
	bool current; /* its generation is */
	bool end_noted;
	bool end_applied; /* what was applied lies beyond the end of its generation */
	bool consumed;
} Segment;

static uint64
segment_max_xid(Oid source, int64 segno)
{
	Oid types[2] = {OIDOID, INT8OID};
	Datum values[2] = {ObjectIdGetDatum(source), Int64GetDatum(segno)};
	bool isnull;

	if (pgt_catalog_exec("SELECT max_xid FROM pgtrickle_changes.segment_stats WHERE source_relid = $1 AND segno = $2",
						 2, types, values, NULL) == 0)
		return 0;
	return U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
}

static bool
bool_column(uint64 row, int col)
{
	bool isnull;
	Datum d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &isnull);

	return !isnull && DatumGetBool(d);
}

static List *
read_segments(Oid source, uint64 floor)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *segments = NIL;
	ListCell *lc;

	pgt_catalog_find("SELECT g.segno, g.relname, g.segno = pg_catalog.max(g.segno) OVER (PARTITION BY g.gen), g.gen = s.gen,"
					 " g.ended_lsn IS NOT NULL,"
					 " g.ended_lsn <= (SELECT applied_lsn FROM pgtrickle_changes.progress WHERE node = 0)"
					 " FROM pgtrickle.pgt_segments g JOIN pgtrickle.pgt_sources s ON s.relid = g.source_relid"
					 " WHERE g.source_relid = $1 ORDER BY g.segno",
					 OIDOID, ObjectIdGetDatum(source));
	MemoryContextSwitchTo(cxt);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Segment *seg = palloc0(sizeof(Segment));
		bool isnull;

		seg->segno = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		seg->relid = get_relname_relid(SPI_getvalue(row, desc, 2), pgt_changes_namespace());
		seg->newest = bool_column(i, 3);
		seg->current = bool_column(i, 4);
		seg->end_noted = bool_column(i, 5);
		seg->end_applied = bool_column(i, 6);
		segments = lappend(segments, seg);
	}
	foreach (lc, segments)
	{
		Segment *seg = lfirst(lc);

		seg->consumed = segment_max_xid(source, seg->segno) < floor;
	}
	return segments;
}

static void
note_end(Oid source, int64 segno)
{
	Oid types[2] = {OIDOID, INT8OID};
	Datum values[2] = {ObjectIdGetDatum(source), Int64GetDatum(segno)};

	pgt_catalog_exec("UPDATE pgtrickle.pgt_segments SET ended_lsn = pg_catalog.pg_current_wal_insert_lsn()"
					 " WHERE source_relid = $1 AND segno = $2",
					 2, types, values, NULL);
}

/* Lock out apply, then look again: what it committed before we got the lock is in the stats now. */
static bool
lock_consumed(Oid source, const Segment *seg, uint64 floor)
{
	return ConditionalLockRelationOid(seg->relid, AccessExclusiveLock) &&
		   segment_max_xid(source, seg->segno) < floor;
}

static int64
relation_bytes(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	int64 bytes = (int64) RelationGetNumberOfBlocks(rel) * BLCKSZ;

	table_close(rel, AccessShareLock);
	return bytes;
}

/*
 * Empty a table in place.  Not transactional, which is fine for what has been consumed, and unlike TRUNCATE it leaves the
 * catalogs alone.  The caller holds AccessExclusiveLock.
 */
static void
empty_table(Oid relid)
{
	Relation rel = table_open(relid, NoLock);

	heap_truncate_one_rel(rel);
	table_close(rel, NoLock);
}

static void
empty_segment(Oid source, const Segment *seg, uint64 floor)
{
	Oid types[2] = {OIDOID, INT8OID};
	Datum values[2] = {ObjectIdGetDatum(source), Int64GetDatum(seg->segno)};

	if (relation_bytes(seg->relid) < WORTH_EMPTYING || !lock_consumed(source, seg, floor))
		return;
	empty_table(seg->relid);
	pgt_catalog_exec("DELETE FROM pgtrickle_changes.segment_stats WHERE source_relid = $1 AND segno = $2", 2, types, values, NULL);
}

static int64
trim_segment(Oid source, const Segment *seg, uint64 floor)
{
	if (!OidIsValid(seg->relid))
		return pgt_segment_drop(source, seg->segno);
	if (seg->newest && !seg->current && !seg->end_noted)
		note_end(source, seg->segno);
	if (!seg->consumed)
		return 0;
	if (seg->newest && seg->current)
		empty_segment(source, seg, floor);
	else if ((!seg->newest || seg->end_applied) && lock_consumed(source, seg, floor))
		return pgt_segment_drop(source, seg->segno);
	return 0;
}

static void
trim_events(Oid source, uint64 floor)
{
	Oid types[2] = {OIDOID, XID8OID};
	Datum values[2] = {ObjectIdGetDatum(source), FullTransactionIdGetDatum(FullTransactionIdFromU64(floor))};

	pgt_catalog_exec("DELETE FROM pgtrickle.pgt_source_events WHERE source_relid = $1 AND xid < $2", 2, types, values, NULL);
}

static int64
trim_source(Oid source)
{
	int64 removed = 0;
	uint64 floor;
	ListCell *lc;

	if (!pgt_source_try_lock_entry(source, AccessExclusiveLock))
		return 0;
	if (pgt_source_get(source) == NULL)
	{
		/* released while its buffer was in use */
		return pgt_segment_drop_all(source) ? 1 : 0;
	}
	floor = consumed_floor(source);
	if (floor == 0)
		return 0;
	foreach (lc, read_segments(source, floor))
		removed += trim_segment(source, lfirst(lc), floor);
	trim_events(source, floor);
	return removed;
}

/* ---------- buffers of stream tables ---------- */

static bool
has_rows_above(const char *name, uint64 floor)
{
	Oid types[1] = {INT8OID};
	Datum values[1] = {Int64GetDatum((int64) Min(floor, (uint64) PG_INT64_MAX))};

	return pgt_catalog_exec(psprintf("SELECT 1 FROM pgtrickle_changes.%s WHERE refresh_no > $1 LIMIT 1", name),
							1, types, values, NULL) > 0;
}

/* An upstream that refreshes holds RowExclusive on its buffer until it commits, so what it writes is never missed. */
static void
trim_st_buffer(int64 id, Oid st_relid)
{
	char *name = psprintf("st_" INT64_FORMAT, id);
	Oid buffer = get_relname_relid(name, pgt_changes_namespace());
	uint64 floor;

	if (!OidIsValid(buffer) || relation_bytes(buffer) < WORTH_EMPTYING)
		return;
	floor = consumed_floor(st_relid);
	if (floor == 0 || has_rows_above(name, floor))
		return;
	if (ConditionalLockRelationOid(buffer, AccessExclusiveLock) && !has_rows_above(name, floor))
		empty_table(buffer);
}

/* ---------- what the slot may pass ---------- */

/*
 * For _consumer_horizon: every transaction below is consumed by every ST that pins the source; NULL when nothing pins it, 0 when
 * it cannot be told because a load or a diff is under way.  The same question as for trimming: after a crash the slot is the
 * buffer, and what it has passed is trimmed.
 */
Datum
pgt_consumer_floor(PG_FUNCTION_ARGS)
{
	Oid source = PG_GETARG_OID(0);
	uint64 floor = 0;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	/* logged buffers are durable when applied (the consumer commits synchronously then), so the slot need not wait for anybody */
	if (pgt_segment_logged())
		floor = PG_UINT64_MAX;
	else if (pgt_source_try_lock_entry(source, AccessExclusiveLock))
		floor = consumed_floor(source);
	SPI_finish();
	pgt_catalog_end(scope);
	if (floor == PG_UINT64_MAX)
		PG_RETURN_NULL();
	PG_RETURN_FULLTRANSACTIONID(FullTransactionIdFromU64(floor));
}

/* ---------- all of it ---------- */

/* First column of a query without parameters, as OIDs. */
static List *
oids_of(const char *sql)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *result = NIL;

	pgt_catalog_exec(sql, 0, NULL, NULL, NULL);
	MemoryContextSwitchTo(cxt);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;

		result = lappend_oid(result, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
	}
	return result;
}

Datum
pgt_consumer_trim(PG_FUNCTION_ARGS)
{
	int64 removed = 0;
	PgtCatalogScope scope = pgt_catalog_begin();
	ListCell *lc;

	SPI_connect();
	foreach (lc, oids_of("SELECT source_relid FROM pgtrickle.pgt_segments UNION SELECT relid FROM pgtrickle.pgt_sources ORDER BY 1"))
		removed += trim_source(lfirst_oid(lc));
	foreach (lc, oids_of("SELECT DISTINCT source_relid FROM pgtrickle.pgt_dependencies WHERE source_type = 'STREAM_TABLE' ORDER BY 1"))
	{
		PgtStreamTable *st = pgt_st_by_relid(lfirst_oid(lc));

		if (st != NULL)
			trim_st_buffer(st->id, st->relid);
	}
	pgt_identity_restore(InvalidOid);
	SPI_finish();
	pgt_catalog_end(scope);
	PG_RETURN_INT64(removed);
}
