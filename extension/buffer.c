/*
 * buffer.c - reading change buffers into deltas (see buffer.h).
 *
 * A buffer consists of segments; a segment whose transactions are all consumed, or all invisible, is skipped by its
 * (min, max) transaction ids.  The rows of the others are filtered one by one: their transaction must be visible at S1 and must
 * not be at S0.  That alone makes replays harmless.  Segments are found by name through the snapshot that reads them, so a
 * segment that vanished meanwhile had been consumed by every ST, this one included.
 *
 * Segments of an older generation may have other columns.  A row that is needed and lacks a column turns the refresh into a diff.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varbit.h"
#include "utils/xid8.h"

#include "buffer.h"
#include "catalog.h"
#include "compat.h"
#include "layout.h"
#include "segment_read.h"

/* Fixed columns of a segment */
#define SEG_XID 1
#define SEG_OP 2

/* How one used column is taken from a segment's tuple. */
typedef struct ColumnReader
{
	AttrNumber attno; /* in the segment */
	char kind;
	bool notnull; /* today */
	bool byval;
	int16 len;
	FmgrInfo receive;
	Oid ioparam;
	int32 typmod;
} ColumnReader;

/* A segment being read. */
typedef struct SegmentReader
{
	Relation rel;
	ColumnReader *columns;
	char *missing;   /* why rows of this segment cannot be described, or NULL */
	AttrNumber mask; /* changed_columns: invalid in a segment of schema 0.19.0, behind the columns in one from before the update */
	bool mask_is_varbit;
} SegmentReader;

TupleDesc
pgt_delta_desc(const PgtViewSource *source)
{
	Relation rel = relation_open(source->relid, AccessShareLock);
	TupleDesc table = RelationGetDescr(rel);
	TupleDesc desc = CreateTemplateTupleDesc(list_length(source->attnums) + 1);
	AttrNumber n = 1;
	ListCell *lc;

	TupleDescInitEntry(desc, n++, "w", INT4OID, -1, 0);
	foreach (lc, source->attnums)
	{
		Form_pg_attribute attr = TupleDescAttr(table, lfirst_int(lc) - 1);

		TupleDescInitEntry(desc, n, psprintf("c%d", lfirst_int(lc)), attr->atttypid, attr->atttypmod, 0);
		TupleDescInitEntryCollation(desc, n, attr->attcollation);
		n++;
	}
	pgt_finalize_tupdesc(desc);
	relation_close(rel, AccessShareLock);
	return desc;
}

static PgtDelta *
delta_create(TupleDesc desc)
{
	PgtDelta *delta = palloc0(sizeof(PgtDelta));

	delta->desc = desc;
	delta->store = tuplestore_begin_heap(false, false, work_mem);
	return delta;
}

void
pgt_delta_free(PgtDelta *delta)
{
	if (delta && delta->store)
		tuplestore_end(delta->store);
	if (delta)
		delta->store = NULL;
}

/* Decide how a used column of type `attr` is stored in the segment: the rule of registration, read backwards. */
static void
column_reader_init(ColumnReader *reader, Form_pg_attribute attr, Form_pg_attribute seg, AttrNumber attno)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(attr->atttypid));
	Form_pg_type type;
	Oid receive;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", attr->atttypid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	reader->attno = attno;
	reader->byval = attr->attbyval;
	reader->len = attr->attlen;
	reader->typmod = attr->atttypmod;
	if (seg->atttypid != BYTEAOID || getBaseType(attr->atttypid) == BYTEAOID)
		reader->kind = PGT_KIND_NATIVE;
	else if (OidIsValid(type->typsend) && OidIsValid(type->typreceive))
	{
		reader->kind = PGT_KIND_SENT;
		getTypeBinaryInputInfo(attr->atttypid, &receive, &reader->ioparam);
		fmgr_info(receive, &reader->receive);
	}
	else
		reader->kind = PGT_KIND_DATUM;
	ReleaseSysCache(tuple);
}

/* Match the segment's columns with the source's; NULL when the segment has gone. */
static SegmentReader *
segment_open(const PgtViewSource *source, Oid segrelid)
{
	SegmentReader *reader;
	Relation rel = try_relation_open(segrelid, AccessShareLock);
	Relation table;
	TupleDesc desc;
	int i = 0;
	ListCell *lc;

	if (rel == NULL)
		return NULL;
	reader = palloc0(sizeof(SegmentReader));
	reader->rel = rel;
	reader->columns = palloc0(sizeof(ColumnReader) * list_length(source->attnums));
	desc = RelationGetDescr(rel);
	reader->mask = get_attnum(segrelid, "changed_columns");
	reader->mask_is_varbit = reader->mask != InvalidAttrNumber && TupleDescAttr(desc, reader->mask - 1)->atttypid == VARBITOID;
	table = relation_open(source->relid, NoLock);
	foreach (lc, source->attnums)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(table), lfirst_int(lc) - 1);
		AttrNumber attno = get_attnum(segrelid, psprintf("c%d", lfirst_int(lc)));

		if (attno == InvalidAttrNumber)
			reader->missing = psprintf("changes were captured before column \"%s\" was", NameStr(attr->attname));
		else
			column_reader_init(&reader->columns[i], attr, TupleDescAttr(desc, attno - 1), attno);
		reader->columns[i].notnull = pgt_attribute_notnull(RelationGetDescr(table), lfirst_int(lc) - 1);
		i++;
	}
	relation_close(table, NoLock);
	return reader;
}

/* The value of a column from its bytes in the buffer. */
static Datum
column_value(ColumnReader *reader, Datum stored)
{
	bytea *bytes;
	StringInfoData buf;
	Datum value = 0;

	if (reader->kind == PGT_KIND_NATIVE)
		return stored;
	bytes = DatumGetByteaPP(stored);
	if (reader->kind == PGT_KIND_SENT)
	{
		initStringInfo(&buf);
		appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
		return ReceiveFunctionCall(&reader->receive, &buf, reader->ioparam, reader->typmod);
	}
	if (!reader->byval)
		return PointerGetDatum(memcpy(palloc(VARSIZE_ANY_EXHDR(bytes)), VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)));
	memcpy(&value, VARDATA_ANY(bytes), Min(sizeof(Datum), VARSIZE_ANY_EXHDR(bytes)));
	return value;
}

/* Does an update with this mask touch one of the source's used columns? */
static bool
mask_touches(const PgtViewSource *source, Datum mask, bool is_varbit)
{
	ListCell *lc;

	foreach (lc, source->attnums)
	{
		int bit = lfirst_int(lc) - 1;

		if (is_varbit)
		{
			VarBit *bits = DatumGetVarBitP(mask);

			if (bit < VARBITLEN(bits) && (VARBITS(bits)[bit / 8] & (0x80 >> (bit % 8))))
				return true;
		}
		else if (DatumGetInt64(mask) & (INT64CONST(1) << bit))
			return true;
	}
	return false;
}

/* Put one buffer row, whose transaction belongs to the interval, into the delta. */
static void
delta_add_row(PgtDelta *delta, const PgtViewSource *source, SegmentReader *reader, TupleTableSlot *slot)
{
	Datum *values = palloc(sizeof(Datum) * delta->desc->natts);
	bool *nulls = palloc(sizeof(bool) * delta->desc->natts);
	bool isnull;
	char op = DatumGetChar(slot_getattr(slot, SEG_OP, &isnull));
	Datum mask = 0;

	delta->seen = true;
	if (op == 'T' || op == 'X')
	{
		delta->diff_reason = op == 'T' ? "TRUNCATE of a source" : "a change of a source could not be captured by value";
		return;
	}
	isnull = true;
	if (reader->mask != InvalidAttrNumber)
		mask = slot_getattr(slot, reader->mask, &isnull);
	if (!isnull && !mask_touches(source, mask, reader->mask_is_varbit))
		return;
	if (reader->missing)
	{
		delta->diff_reason = reader->missing;
		return;
	}
	values[0] = Int32GetDatum(op == '+' ? 1 : -1);
	nulls[0] = false;
	for (int i = 1; i < delta->desc->natts; i++)
	{
		values[i] = slot_getattr(slot, reader->columns[i - 1].attno, &nulls[i]);
		if (!nulls[i])
			values[i] = column_value(&reader->columns[i - 1], values[i]);
		else if (reader->columns[i - 1].notnull)
		{
			/* programs rely on NOT NULL, and this row is older than the constraint */
			delta->diff_reason = "a change from before a column of a source became NOT NULL";
			return;
		}
	}
	tuplestore_putvalues(delta->store, delta->desc, values, nulls);
	delta->rows++;
}

static void
segment_read(PgtDelta *delta, const PgtViewSource *source, SegmentReader *reader, Snapshot snapshot,
			 const PgtFrontier *interval[2])
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "pg_trickle buffer row", ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(reader->rel, NULL);
	TableScanDesc scan = table_beginscan(reader->rel, snapshot, 0, NULL);
	MemoryContext caller = MemoryContextSwitchTo(row);

	while (delta->diff_reason == NULL && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		uint64 xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot_getattr(slot, SEG_XID, &isnull)));

		CHECK_FOR_INTERRUPTS();
		if (!pgt_frontier_sees(interval[1], xid))
			delta->leftover = true;
		else if (!pgt_frontier_sees(interval[0], xid))
			delta_add_row(delta, source, reader, slot);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(caller);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(row);
}

PgtDelta *
pgt_buffer_read(const PgtViewSource *source, const PgtFrontier *from, const PgtFrontier *to)
{
	const PgtFrontier *interval[2] = {from, to};
	PgtDelta *delta = delta_create(pgt_delta_desc(source));
	Snapshot snapshot = pgt_buffer_snapshot();
	ListCell *lc;

	foreach (lc, pgt_segment_list(source->relid, snapshot))
	{
		PgtSegmentInfo *segment = lfirst(lc);
		SegmentReader *reader;

		if (segment->rows == 0 || segment->max_xid < from->xmin)
			continue;
		delta->max_xid = Max(delta->max_xid, segment->max_xid);
		if (segment->min_xid >= to->xmax)
		{
			delta->leftover = true;
			continue;
		}
		reader = segment_open(source, segment->relid);
		if (reader == NULL)
			continue;
		segment_read(delta, source, reader, snapshot, interval);
		relation_close(reader->rel, AccessShareLock);
		if (delta->diff_reason)
			break;
	}
	UnregisterSnapshot(snapshot);
	return delta;
}

/* A row without weight says that the upstream had to be put right: what it held before is not what its readers know (pgt_refresh_apply). */
static void
add_st_row(PgtDelta *delta, HeapTuple row, TupleDesc desc)
{
	bool isnull;

	if (DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull)) == 0)
	{
		delta->diff_reason = "a stream table that it reads had drifted";
		return;
	}
	tuplestore_puttuple(delta->store, row);
	delta->rows++;
}

PgtDelta *
pgt_buffer_read_st(const PgtViewSource *source, int64 from, int64 *last)
{
	PgtDelta *delta = delta_create(pgt_delta_desc(source));
	StringInfoData sql;
	SPIPlanPtr plan;
	Portal portal;
	Oid argtype = INT8OID;
	Datum arg = Int64GetDatum(from);
	ListCell *lc;

	*last = pgt_upstream_refresh_no(source->pgt_id);
	if (*last <= from)
		return delta;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT w");
	foreach (lc, source->attnums)
		appendStringInfo(&sql, ", c%d", lfirst_int(lc));
	appendStringInfo(&sql, " FROM pgtrickle_changes.st_" INT64_FORMAT " WHERE refresh_no > $1", source->pgt_id);
	plan = SPI_prepare(sql.data, 1, &argtype);
	if (plan == NULL)
		elog(ERROR, "could not read the buffer of stream table " INT64_FORMAT, source->pgt_id);
	portal = SPI_cursor_open(NULL, plan, &arg, NULL, true);
	do
	{
		SPI_cursor_fetch(portal, true, 1000);
		for (uint64 i = 0; i < SPI_processed; i++)
			add_st_row(delta, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	delta->seen = delta->rows > 0;
	return delta;
}
