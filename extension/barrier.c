/*
 * barrier.c - writing barriers and waiting for them (see barrier.h).
 *
 * Called by the engine with locks and S1 in hand (pgt_barrier_emit), and by refreshes that people start, which wait in SQL
 * for the consumer's progress row.  The consumer's own refreshes never wait here: it knows its progress.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/indexing.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/message.h"
#include "storage/latch.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "barrier.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"

#define PROGRESS_ATTR_NODE 1
#define PROGRESS_ATTR_APPLIED 2

XLogRecPtr
pgt_barrier_emit(bool sync)
{
	const char *payload = sync ? "sync" : "";
	XLogRecPtr lsn = pgt_log_message(PGT_BARRIER_PREFIX, payload, strlen(payload));

	/* Decoding reads flushed WAL only; and a crash must not undo what S1 saw finished. */
	XLogFlush(lsn);
	return lsn;
}

XLogRecPtr
pgt_barrier_progress(void)
{
	Oid relid = get_relname_relid("progress", pgt_changes_namespace());
	XLogRecPtr result = InvalidXLogRecPtr;
	Relation rel;
	Snapshot snapshot;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;

	if (!OidIsValid(relid))
		return InvalidXLogRecPtr;
	rel = table_open(relid, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&key, PROGRESS_ATTR_NODE, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(0));
	scan = systable_beginscan(rel, pgt_primary_key_index(rel), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		result = DatumGetLSN(heap_getattr(tuple, PROGRESS_ATTR_APPLIED, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return result;
}

void
pgt_barrier_wait(XLogRecPtr lsn)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pgt_guc_barrier_timeout);
	XLogRecPtr applied;
	int turns = 0;

	while ((applied = pgt_barrier_progress()) < lsn)
	{
		CHECK_FOR_INTERRUPTS();
		if (GetCurrentTimestamp() > deadline)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("timed out waiting for captured changes"),
					 errdetail("The consumer has applied changes up to %X/%X, the refresh needs %X/%X.",
							   LSN_FORMAT_ARGS(applied), LSN_FORMAT_ARGS(lsn)),
					 errhint("Check that trickle-consumer is running (trickle-consumer --check), or raise pg_trickle.barrier_timeout.")));
		/* longer than usual: perhaps nobody told the walsender */
		if (++turns % 8 == 0)
			pgt_wake_walsenders();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

void
pgt_barrier_flush_wal(void)
{
	XLogRecPtr lsn = GetXLogInsertRecPtr();
	uint32 offset = lsn % XLOG_BLCKSZ;

	/* The insert position may stand behind a page header that nobody has written yet: flush to the page's start then. */
	if (offset == SizeOfXLogShortPHD || offset == SizeOfXLogLongPHD)
		lsn -= offset;
	XLogFlush(lsn);
}
