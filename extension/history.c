/*
 * history.c - what a refresh leaves in the catalog (see history.h).
 *
 * All functions run inside an open SPI connection and a catalog scope.  Rows are final when written: a refresh that fails rolls
 * its own back, and the consumer writes the FAILED row in a transaction of its own.
 *
 * History is itself a source: stream tables may read it (self-monitoring does).  What a transaction has written is visible to its
 * own S1, and would arrive once more by capture.  So the rows of refreshes wait in memory until the transaction commits, when none
 * can follow, and so do the costs in pgt_costs; pgt_state and pgt_frontiers are written at once and cannot be sources.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "history.h"
#include "schedule_check.h"

/* Rows of the sources of ST $1, as the server knows them. */
#define SOURCE_ROWS                                                                              \
	"(SELECT pg_catalog.sum(GREATEST(c.reltuples, 0))::bigint FROM pgtrickle.pgt_dependencies d" \
	" JOIN pg_catalog.pg_class c ON c.oid = d.source_relid WHERE d.pgt_id = $1)"

static List *
oid_array_to_list(Datum array)
{
	ArrayType *arr = DatumGetArrayTypeP(array);
	Oid *oids = (Oid *) ARR_DATA_PTR(arr);
	int n = ArrayGetNItems(ARR_NDIM(arr), ARR_DIMS(arr));
	List *result = NIL;

	for (int i = 0; i < n; i++)
		result = lappend_oid(result, oids[i]);
	return result;
}

static Datum
list_to_oid_array(List *oids)
{
	Datum *elems = palloc(sizeof(Datum) * (list_length(oids) + 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, oids)
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(elems, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

List *
pgt_frontiers_read(int64 pgt_id)
{
	static SPIPlanPtr plan = NULL;
	Datum arg = Int64GetDatum(pgt_id);
	List *result = NIL;

	if (plan == NULL)
	{
		Oid type = INT8OID;

		plan = SPI_prepare("SELECT source_relid, snapshot::text, upstream_refresh, leaves FROM pgtrickle.pgt_frontiers WHERE pgt_id = $1",
						   1, &type);
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, &arg, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read frontiers");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		PgtSourceFrontier *frontier = palloc0(sizeof(PgtSourceFrontier));
		char *snapshot = SPI_getvalue(tuple, desc, 2);
		bool isnull;
		Datum value;

		frontier->relid = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
		frontier->snapshot = snapshot ? pgt_frontier_from_text(snapshot) : NULL;
		value = SPI_getbinval(tuple, desc, 3, &isnull);
		frontier->upstream = isnull ? -1 : DatumGetInt64(value);
		value = SPI_getbinval(tuple, desc, 4, &isnull);
		frontier->leaves = isnull ? NIL : oid_array_to_list(value);
		result = lappend(result, frontier);
	}
	return result;
}

void
pgt_frontiers_write(int64 pgt_id, List *frontiers)
{
	static SPIPlanPtr plan = NULL;
	ListCell *lc;

	if (plan == NULL)
	{
		Oid types[5] = {INT8OID, OIDOID, TEXTOID, INT8OID, OIDARRAYOID};

		plan = SPI_prepare("INSERT INTO pgtrickle.pgt_frontiers AS f (pgt_id, source_relid, snapshot, upstream_refresh, leaves)"
						   " VALUES ($1, $2, $3::pg_catalog.pg_snapshot, $4, $5)"
						   " ON CONFLICT (pgt_id, source_relid) DO UPDATE SET snapshot = EXCLUDED.snapshot,"
						   " upstream_refresh = EXCLUDED.upstream_refresh, leaves = EXCLUDED.leaves",
						   5, types);
		SPI_keepplan(plan);
	}
	foreach (lc, frontiers)
	{
		PgtSourceFrontier *frontier = lfirst(lc);
		Datum values[5];
		char nulls[5] = {' ', ' ', 'n', 'n', ' '};

		values[0] = Int64GetDatum(pgt_id);
		values[1] = ObjectIdGetDatum(frontier->relid);
		values[2] = values[3] = 0;
		if (frontier->snapshot)
		{
			values[2] = CStringGetTextDatum(pgt_frontier_to_text(frontier->snapshot));
			nulls[2] = ' ';
		}
		if (frontier->upstream >= 0)
		{
			values[3] = Int64GetDatum(frontier->upstream);
			nulls[3] = ' ';
		}
		values[4] = list_to_oid_array(frontier->leaves);
		if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not store a frontier");
	}
}

void
pgt_state_refreshed(const PgtStreamTable *st, const PgtRefreshResult *result, const PgtFrontier *s1, TimestampTz data)
{
	static SPIPlanPtr plan = NULL;
	bool changed = result->rows_inserted > 0 || result->rows_deleted > 0;
	Datum values[6] = {Int64GetDatum(st->id), Int64GetDatum(changed ? 1 : 0), TimestampTzGetDatum(data),
					   CStringGetTextDatum(result->action), CStringGetTextDatum(pgt_frontier_to_text(s1)),
					   Float8GetDatum(result->duration_ms)};

	if (plan == NULL)
	{
		Oid types[6] = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, FLOAT8OID};

		plan = SPI_prepare("UPDATE pgtrickle.pgt_state SET status = CASE WHEN status = 'SUSPENDED' THEN status ELSE 'ACTIVE' END,"
						   " is_populated = true, refresh_no = refresh_no + $2, data_timestamp = $3,"
						   " last_refresh_at = pg_catalog.clock_timestamp(), consecutive_errors = 0,"
						   " effective_refresh_mode = CASE WHEN $4 = 'DIFFERENTIAL' THEN $4 ELSE 'FULL' END,"
						   " needs_reinit = needs_reinit AND reinit_xid IS NOT NULL"
						   "   AND NOT pg_catalog.pg_visible_in_snapshot(reinit_xid, $5::pg_catalog.pg_snapshot),"
						   " last_full_ms = CASE WHEN $4 = 'DIFFERENTIAL' THEN last_full_ms ELSE $6 END,"
						   " last_diff_ms = CASE WHEN $4 = 'DIFFERENTIAL' THEN $6 ELSE last_diff_ms END"
						   " WHERE pgt_id = $1",
						   6, types);
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
		elog(ERROR, "could not store the state of stream table " INT64_FORMAT, st->id);
}

void
pgt_state_clock(int64 pgt_id, TimestampTz clock, TimestampTz next_crossing)
{
	static SPIPlanPtr plan = NULL;
	Datum values[3] = {Int64GetDatum(pgt_id), TimestampTzGetDatum(clock), TimestampTzGetDatum(next_crossing)};

	if (plan == NULL)
	{
		Oid types[3] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};

		plan = SPI_prepare("UPDATE pgtrickle.pgt_state SET clock = $2, next_crossing = $3 WHERE pgt_id = $1", 3, types);
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, next_crossing == DT_NOBEGIN ? "  n" : NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the clock of stream table " INT64_FORMAT, pgt_id);
}

/* ---------- history rows ---------- */

/* The row of one refresh of this transaction, until the transaction commits. */
typedef struct QueuedRow
{
	SubTransactionId subid; /* rolled back: the row goes too */
	int64 pgt_id;
	PgtRefreshResult result; /* its texts copied */
	char *initiated_by;
	TimestampTz started;
	TimestampTz ended;
	TimestampTz due;
	bool full_fallback;
} QueuedRow;

static List *queued_rows = NIL; /* TopTransactionContext */
static bool callbacks_registered = false;

static void
insert_row(const QueuedRow *row)
{
	static SPIPlanPtr plan = NULL;
	const PgtRefreshResult *result = &row->result;
	Datum values[12] = {Int64GetDatum(row->pgt_id), TimestampTzGetDatum(row->started), TimestampTzGetDatum(row->ended),
						CStringGetTextDatum(result->action), Int64GetDatum(result->rows_inserted),
						Int64GetDatum(result->rows_deleted), Int64GetDatum(result->delta_rows),
						CStringGetTextDatum(result->strategy), (Datum) 0, CStringGetTextDatum(row->initiated_by),
						TimestampTzGetDatum(row->due), BoolGetDatum(row->full_fallback)};
	char nulls[12] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', 'n', ' ', row->due ? ' ' : 'n', ' '};

	if (result->reason)
	{
		values[8] = CStringGetTextDatum(result->reason);
		nulls[8] = ' ';
	}
	if (plan == NULL)
	{
		Oid types[12] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT8OID, INT8OID,
						 INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, BOOLOID};

		plan = SPI_prepare("INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action,"
						   " rows_inserted, rows_deleted, delta_row_count, source_row_count, merge_strategy_used,"
						   " was_full_fallback, reason, status, initiated_by, freshness_deadline)"
						   " SELECT $1, $2, $2, $3, $4, $5, $6, $7, " SOURCE_ROWS ", $8, $12, $9, 'COMPLETED', $10, $11",
						   12, types);
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write refresh history");
}

/* What a recomputation costs: measured now, or scaled by rows that are not what they were. */
static void
note_cost(const QueuedRow *row)
{
	static SPIPlanPtr full = NULL;
	static SPIPlanPtr rows = NULL;
	bool measured = strcmp(row->result.action, "DIFFERENTIAL") != 0;
	Datum values[2] = {Int64GetDatum(row->pgt_id), Float8GetDatum(row->result.duration_ms)};

	if (full == NULL)
	{
		Oid types[2] = {INT8OID, FLOAT8OID};

		full = SPI_prepare("INSERT INTO pgtrickle.pgt_costs AS c (pgt_id, full_ms, full_rows, rows)"
						   " SELECT d.pgt_id, $2, n.rows, n.rows FROM pgtrickle.pgt_definitions d,"
						   " (SELECT coalesce(" SOURCE_ROWS ", 0) AS rows) n WHERE d.pgt_id = $1"
						   " ON CONFLICT (pgt_id) DO UPDATE SET full_ms = EXCLUDED.full_ms, full_rows = EXCLUDED.full_rows,"
						   " rows = EXCLUDED.rows",
						   2, types);
		rows = SPI_prepare("UPDATE pgtrickle.pgt_costs c SET rows = n.rows FROM (SELECT " SOURCE_ROWS " AS rows) n"
						   " WHERE c.pgt_id = $1 AND pg_catalog.abs(n.rows - c.rows) * 10 > c.rows",
						   1, types);
		SPI_keepplan(full);
		SPI_keepplan(rows);
	}
	if (SPI_execute_plan(measured ? full : rows, values, NULL, false, 0) != (measured ? SPI_OK_INSERT : SPI_OK_UPDATE))
		elog(ERROR, "could not store the cost of stream table " INT64_FORMAT, row->pgt_id);
}

static void
write_queued_rows(void)
{
	PgtCatalogScope scope;
	ListCell *lc;

	/* the same transaction may have dropped the extension since */
	if (!OidIsValid(get_relname_relid("pgt_refresh_history", get_namespace_oid("pgtrickle", true))))
		return;
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	scope = pgt_catalog_begin();
	foreach (lc, queued_rows)
	{
		insert_row(lfirst(lc));
		note_cost(lfirst(lc));
	}
	pgt_catalog_end(scope);
	PopActiveSnapshot();
	SPI_finish();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (queued_rows == NIL)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		write_queued_rows();
	queued_rows = NIL;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	List *kept = NIL;
	ListCell *lc;

	if (queued_rows == NIL || (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB))
		return;
	foreach (lc, queued_rows)
	{
		QueuedRow *row = lfirst(lc);
		MemoryContext caller;

		if (row->subid == subid && event == SUBXACT_EVENT_ABORT_SUB)
			continue;
		if (row->subid == subid)
			row->subid = parent;
		caller = MemoryContextSwitchTo(TopTransactionContext);
		kept = lappend(kept, row);
		MemoryContextSwitchTo(caller);
	}
	queued_rows = kept;
}

/* One schedule after the moment the refresh was due; other schedules than durations have no length.  0: nobody had it due. */
static TimestampTz
freshness_deadline(const PgtStreamTable *st, TimestampTz due)
{
	PgtComplaint why;
	int64_t millis = 0;

	if (due == 0 || st->schedule == NULL || pgt_schedule_check(st->schedule, &millis, &why) != PGT_SCHEDULE_DURATION)
		return due;
	return due + millis * 1000;
}

void
pgt_history_completed(const PgtStreamTable *st, const PgtRefreshResult *result, const char *initiated_by,
					  TimestampTz started, TimestampTz due)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	QueuedRow *row = palloc(sizeof(QueuedRow));

	if (!callbacks_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		callbacks_registered = true;
	}
	*row = (QueuedRow){.subid = GetCurrentSubTransactionId(), .pgt_id = st->id, .result = *result, .started = started, .ended = GetCurrentTimestamp(), .due = freshness_deadline(st, due)};
	row->result.strategy = pstrdup(result->strategy);
	row->result.reason = result->reason ? pstrdup(result->reason) : NULL;
	row->initiated_by = pstrdup(initiated_by);
	row->full_fallback = strcmp(result->action, "FULL") == 0 && strcmp(st->refresh_mode, "DIFFERENTIAL") == 0;
	queued_rows = lappend(queued_rows, row);
	MemoryContextSwitchTo(caller);
}
