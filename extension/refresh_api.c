/*
 * refresh_api.c - SQL functions by which people refresh, wait and verify (sql/20_refresh.sql).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "barrier.h"
#include "compat.h"
#include "coordination.h"
#include "history.h"
#include "plancache.h"
#include "refresh.h"
#include "settings.h"

PG_FUNCTION_INFO_V1(pgt_refresh_stream_table);
PG_FUNCTION_INFO_V1(pgt_verify_stream_table);
PG_FUNCTION_INFO_V1(pgt_wait_for);
PG_FUNCTION_INFO_V1(pgt_write_and_refresh);

static PgtStreamTable *
refreshable(const char *name)
{
	PgtStreamTable *st = pgt_st_by_name(name);

	pgt_st_check_owner(st);
	if (strcmp(st->status, "SUSPENDED") == 0 || strcmp(st->status, "ERROR") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream table %s is %s", quote_qualified_identifier(st->schema, st->name), st->status),
				 errhint("Call pgtrickle.resume_stream_table('%s') after removing the cause.", name)));
	pgt_refuse_blown(st);
	return st;
}

Datum
pgt_refresh_stream_table(PG_FUNCTION_ARGS)
{
	(void) pgt_refresh_now(refreshable(text_to_cstring(PG_GETARG_TEXT_PP(0))), "MANUAL");
	PG_RETURN_VOID();
}

/* Compare the ST, as just refreshed, with its query under the same snapshot. */
Datum
pgt_verify_stream_table(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = refreshable(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PgtTarget target = {quote_qualified_identifier(st->schema, st->name), st->relid};
	Datum values[2];
	bool nulls[2] = {false, false};
	TupleDesc desc;
	Oid clock_types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	PgtView *view;
	PgtOwnerScope scope;
	Snapshot s1;
	int rc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	(void) pgt_refresh_now(st, "MANUAL");
	st = pgt_st_by_id(st->id);
	s1 = pgt_refresh_snapshot();

	SPI_connect();
	scope = pgt_owner_begin(st);
	CommandCounterIncrement();
	PushCopiedSnapshot(s1);
	UpdateActiveSnapshotCommandId();
	view = pgt_cached_view(st);
	/* the ST is the query as of its clock, which stands still while no row crosses it */
	for (int i = 0; i < 2; i++)
		values[i] = TimestampTzGetDatum(st->clock);
	rc = SPI_execute_with_args(pgt_view_verify_sql(view, &target), view->clocked ? 2 : 0, clock_types, values, NULL, true, 2);
	if (rc != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not verify stream table: %s", SPI_result_code_string(rc));
	for (int i = 0; i < 2; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
	PopActiveSnapshot();
	pgt_owner_end(scope);
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---------- waiting ---------- */

/* Upstream STs before the STs that read them, `st` last; iterative, chains may be long. */
static List *
with_upstream(PgtStreamTable *st)
{
	List *result = list_make1(st);
	List *seen = NIL;

	for (int i = 0; i < list_length(result); i++)
	{
		PgtStreamTable *reader = list_nth(result, i);
		ListCell *lc;

		foreach (lc, pgt_st_sources(reader->id))
		{
			PgtStreamTable *upstream = pgt_st_by_relid(lfirst_oid(lc));

			if (upstream)
				result = lappend(result, upstream);
		}
	}
	/* Keep the last mention of each, then turn round: an ST stands behind everything that reads it. */
	for (int i = list_length(result) - 1; i >= 0; i--)
	{
		PgtStreamTable *candidate = list_nth(result, i);
		bool known = false;
		ListCell *lc;

		foreach (lc, seen)
			known |= ((PgtStreamTable *) lfirst(lc))->id == candidate->id;
		if (!known)
			seen = lappend(seen, candidate);
	}
	return seen;
}

/*
 * Has this ST, as committed by now, consumed all that `goal` sees of its tables and all that its upstreams have become?  These were
 * asked before: what they are at the moment contains the goal, or will be asked for again.
 */
static bool
covers(int64 pgt_id, const PgtFrontier *goal)
{
	PgtStreamTable *st = pgt_st_by_id(pgt_id);
	List *frontiers = pgt_frontiers_read(pgt_id);
	ListCell *lc;

	if (st == NULL || !st->is_populated || st->needs_reinit || list_length(frontiers) < list_length(pgt_st_sources(pgt_id)))
		return false;
	foreach (lc, frontiers)
	{
		PgtSourceFrontier *frontier = lfirst(lc);
		PgtStreamTable *upstream = frontier->snapshot ? NULL : pgt_st_by_relid(frontier->relid);

		if (frontier->snapshot ? !pgt_frontier_covers(frontier->snapshot, goal)
							   : upstream == NULL || frontier->upstream < upstream->refresh_no)
			return false;
	}
	return true;
}

/* `sts` upstream first. */
static bool
all_cover(List *sts, const PgtFrontier *goal)
{
	bool covered = true;
	PgtCatalogScope scope;
	ListCell *lc;

	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	scope = pgt_catalog_begin();
	foreach (lc, sts)
		covered = covered && covers(((PgtStreamTable *) lfirst(lc))->id, goal);
	pgt_catalog_end(scope);
	PopActiveSnapshot();
	SPI_finish();
	return covered;
}

/* How long the consumer is given to do it, ms: it is about to where all schedules are `continuous`. */
static int
patience(List *sts)
{
	ListCell *lc;

	foreach (lc, sts)
	{
		PgtStreamTable *st = lfirst(lc);

		if (st->schedule == NULL || pg_strcasecmp(st->schedule, "continuous") != 0)
			return 0;
	}
	return 50;
}

/*
 * wait_for(st, timeout): the consumer may be about to do it; give it a moment, then do it ourselves.
 */
Datum
pgt_wait_for(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = refreshable(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Interval *timeout = PG_GETARG_INTERVAL_P(1);
	double timeout_ms = timeout->time / 1000.0 + timeout->day * 86400000.0;
	List *chain = with_upstream(st);
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), patience(chain));
	PgtFrontier *goal = pgt_frontier_from_snapshot(GetLatestSnapshot());
	int nest;
	ListCell *lc;

	if (timeout_ms <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout must be positive")));
	for (;;)
	{
		if (all_cover(chain, goal))
			PG_RETURN_VOID();
		if (GetCurrentTimestamp() >= until)
			break;
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 2, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	nest = NewGUCNestLevel();
	(void) set_config_option("pg_trickle.barrier_timeout", psprintf("%d", (int) Min(timeout_ms, 2000000000.0)), PGC_SUSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	foreach (lc, chain)
		(void) pgt_refresh_now(lfirst(lc), "MANUAL");
	AtEOXact_GUC(false, nest);
	PG_RETURN_VOID();
}

/* A procedure: the statement must be committed before its changes can be captured. */
Datum
pgt_write_and_refresh(PG_FUNCTION_ARGS)
{
	bool atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext) && !castNode(CallContext, fcinfo->context)->atomic);
	char *sql;
	char *name;
	ListCell *lc;

	/* a procedure cannot be STRICT */
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the statement and the name of the stream table must not be NULL")));
	sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("write_and_refresh cannot run inside a transaction block"),
				 errdetail("It commits the statement before it refreshes."),
				 errhint("Use CALL pgtrickle.write_and_refresh(...) outside of BEGIN, or commit and call pgtrickle.wait_for(name).")));
	(void) refreshable(name);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	if (SPI_execute(sql, false, 0) < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("write_and_refresh cannot run this statement")));
	SPI_commit();
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach (lc, with_upstream(refreshable(name)))
		(void) pgt_refresh_now(lfirst(lc), "MANUAL");
	PopActiveSnapshot();
	SPI_finish();
	PG_RETURN_VOID();
}
