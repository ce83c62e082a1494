/*
 * segment_read.c - segments and upstream numbers, by index scans on the catalog (see segment_read.h).
 *
 * Every refresh asks for these, so there is no SPI and no plan here.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "catalog.h"
#include "compat.h"
#include "refresh.h"
#include "segment_read.h"

#define SEGMENTS_SOURCE 1
#define SEGMENTS_SEGNO 2
#define SEGMENTS_RELNAME 4
#define STATS_SOURCE 1
#define STATS_SEGNO 2
#define STATS_MIN 3
#define STATS_MAX 4
#define STATS_ROWS 5
#define STATE_PGT_ID 1

Snapshot
pgt_buffer_snapshot(void)
{
#ifdef PGT_BREAK_BUFFER_SNAPSHOT
	/* A deliberately broken build: the fire test must notice that changes applied after S1 are missed. */
	return RegisterSnapshot(pgt_refresh_snapshot());
#else
	return RegisterSnapshot(GetLatestSnapshot());
#endif
}

static Datum
required_attr(HeapTuple tuple, AttrNumber attno, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, attno, desc, &isnull);

	if (isnull)
		elog(ERROR, "unexpected NULL in column %d of a pg_trickle catalog", attno);
	return value;
}

static void
segment_fill_stats(PgtSegmentInfo *info, Oid source, int64 segno, Relation stats, Snapshot snapshot)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], STATS_SOURCE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(source));
	ScanKeyInit(&key[1], STATS_SEGNO, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(segno));
	scan = systable_beginscan(stats, pgt_primary_key_index(stats), true, snapshot, 2, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		TupleDesc desc = RelationGetDescr(stats);

		info->min_xid = U64FromFullTransactionId(DatumGetFullTransactionId(required_attr(tuple, STATS_MIN, desc)));
		info->max_xid = U64FromFullTransactionId(DatumGetFullTransactionId(required_attr(tuple, STATS_MAX, desc)));
		info->rows = DatumGetInt64(required_attr(tuple, STATS_ROWS, desc));
	}
	systable_endscan(scan);
}

List *
pgt_segment_list(Oid source, Snapshot snapshot)
{
	Oid changes = pgt_changes_namespace();
	Relation segments = table_open(pgt_catalog_relid("pgt_segments"), AccessShareLock);
	Relation stats = table_open(get_relname_relid("segment_stats", changes), AccessShareLock);
	List *result = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, SEGMENTS_SOURCE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(source));
	scan = systable_beginscan(segments, pgt_primary_key_index(segments), true, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		PgtSegmentInfo *info = palloc0(sizeof(PgtSegmentInfo));
		TupleDesc desc = RelationGetDescr(segments);

		info->relid = get_relname_relid(TextDatumGetCString(required_attr(tuple, SEGMENTS_RELNAME, desc)), changes);
		if (!OidIsValid(info->relid))
			continue;
		segment_fill_stats(info, source, DatumGetInt64(required_attr(tuple, SEGMENTS_SEGNO, desc)), stats, snapshot);
		result = lappend(result, info);
	}
	systable_endscan(scan);
	table_close(stats, AccessShareLock);
	table_close(segments, AccessShareLock);
	return result;
}

int64
pgt_upstream_refresh_no(int64 pgt_id)
{
	Relation state = table_open(pgt_catalog_relid("pgt_state"), AccessShareLock);
	AttrNumber attno = get_attnum(RelationGetRelid(state), "refresh_no");
	int64 result = 0;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, STATE_PGT_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(pgt_id));
	scan = systable_beginscan(state, pgt_primary_key_index(state), true, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = DatumGetInt64(required_attr(tuple, attno, RelationGetDescr(state)));
	systable_endscan(scan);
	table_close(state, AccessShareLock);
	return result;
}
