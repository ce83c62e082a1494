/*
 * refresh.c - the engine: from a frontier S0 to a snapshot S1, exactly (see refresh.h; DESIGN: docs/architecture.md).
 *
 *	begin	lock the STs (in pgt_id order) and their sources, take S1, write a barrier at X and flush WAL to it.
 *	wait	until the consumer has applied X: every transaction that S1 sees is in the buffers now.
 *	apply	per ST, upstream first: read what S1 sees and S0 does not, run the delta program with sources as of S1, store S1.
 *
 * S1 and the locks belong to the transaction.  Several applies share them, so groups and diamonds are consistent.  A second
 * begin in one transaction replaces S1 by a newer one.
 *
 * Locks, in this order: the ST's own lock (an object lock on its pgt_id, ExclusiveLock: one refresh at a time; autovacuum of
 * the ST's table is not disturbed by it), RowExclusive on the ST's table, AccessShare on every source and its leaves (TRUNCATE
 * and rewrites do not respect snapshots).  All of them before S1.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "attempt.h"
#include "barrier.h"
#include "buffer.h"
#include "choose.h"
#include "compat.h"
#include "coordination.h"
#include "execute.h"
#include "frontier.h"
#include "guc.h"
#include "history.h"
#include "plancache.h"
#include "refresh.h"
#include "segment_read.h"
#include "settings.h"
#include "source.h"
#include "storage.h"

/* What this transaction's refreshes share; lives in TopTransactionContext. */
typedef struct RefreshContext
{
	Snapshot s1; /* registered with the transaction's resource owner */
	PgtFrontier *frontier;
	TimestampTz taken_at;
	XLogRecPtr await; /* must be applied before buffers are read; invalid: the caller sees to that (the consumer knows its progress) */
} RefreshContext;

/* One ST on its way to S1. */
typedef struct Refresh
{
	PgtStreamTable *st;
	PgtView *view;
	List *old_frontiers; /* of PgtSourceFrontier */
	List *new_frontiers;
	PgtDelta **deltas; /* by source index */
	Bitmapset *changed;
	int64 delta_rows;
	bool seen;             /* some buffer held changes of the interval */
	bool stale;            /* frontier should move although nothing is to be done */
	TimestampTz old_clock; /* of the ST's contents */
	bool timed;            /* time alone may have changed the result */
	bool clock_moves;      /* the contents are of this refresh's clock now */
	bool made_inner;       /* inner tables are new */
	bool drifted;          /* the ST did not hold what it should have held */
	char *diff_reason;     /* rows cannot bring this ST to S1: diff, and why */
	char *unknown;         /* a source changed in a way that rows do not describe */
	PgtRefreshResult result;
} Refresh;

static RefreshContext *context = NULL;
static bool callback_registered = false;
static bool writing = false;

Snapshot
pgt_refresh_snapshot(void)
{
	if (context == NULL)
		elog(ERROR, "no refresh in this transaction");
	return context->s1;
}

bool
pgt_refresh_writing(void)
{
	return writing;
}

/* ---------- begin ---------- */

static void
forget_context(XactEvent event, void *arg)
{
	if (context == NULL)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		UnregisterSnapshotFromOwner(context->s1, TopTransactionResourceOwner);
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_PARALLEL_COMMIT)
	{
		context = NULL;
		writing = false;
	}
}

static void
start_context(void)
{
	if (!callback_registered)
	{
		RegisterXactCallback(forget_context, NULL);
		callback_registered = true;
	}
	if (context)
		UnregisterSnapshotFromOwner(context->s1, TopTransactionResourceOwner);
	else
		context = MemoryContextAllocZero(TopTransactionContext, sizeof(RefreshContext));

	/* Own finished commands belong to the present. */
	CommandCounterIncrement();
	context->s1 = RegisterSnapshotOnOwner(GetLatestSnapshot(), TopTransactionResourceOwner);
	context->taken_at = GetCurrentTimestamp();
	context->await = InvalidXLogRecPtr;
	{
		MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

		context->frontier = pgt_frontier_from_snapshot(context->s1);
		MemoryContextSwitchTo(caller);
	}
}

static void
check_transaction(void)
{
	PreventCommandIfReadOnly("refresh of a stream table");
	PreventCommandDuringRecovery("refresh of a stream table");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a stream table can only be refreshed in READ COMMITTED transactions"),
				 errdetail("A transaction with an older snapshot would see two versions of refreshed rows."),
				 errhint("Use BEGIN ISOLATION LEVEL READ COMMITTED.")));
}

/* Has this transaction written the table?  Whoever did still holds the lock that writing takes. */
static bool
written_by_us(List *family)
{
	ListCell *lc;

	foreach (lc, family)
	{
		LOCKTAG tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, lfirst_oid(lc));
		if (pgt_lock_held_by_me(&tag, RowExclusiveLock))
			return true;
	}
	return false;
}

static void
lock_sources(PgtStreamTable *st)
{
	ListCell *lc;

	foreach (lc, pgt_st_sources(st->id))
	{
		Oid relid = lfirst_oid(lc);
		List *family = pgt_source_family(relid, AccessShareLock);
		PgtStreamTable *upstream = pgt_st_by_relid(relid);

		if (upstream == NULL && written_by_us(family))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("cannot refresh stream table %s: this transaction has written its source %s",
							quote_qualified_identifier(st->schema, st->name),
							quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid))),
					 errdetail("Changes reach the change buffers when their transaction commits."),
					 errhint("Commit first, or use CALL pgtrickle.write_and_refresh(sql, name), which commits in between.")));
	}
}

static void
lock_stream_table(PgtStreamTable *st)
{
	LockDatabaseObject(pgt_catalog_relid("pgt_definitions"), (Oid) st->id, 0, ExclusiveLock);
	LockRelationOid(st->relid, RowExclusiveLock);
	if (!OidIsValid(get_rel_namespace(st->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table %s was dropped", quote_qualified_identifier(st->schema, st->name))));
}

static int
compare_by_id(const ListCell *a, const ListCell *b)
{
	int64 x = ((PgtStreamTable *) lfirst(a))->id;
	int64 y = ((PgtStreamTable *) lfirst(b))->id;

	return x < y ? -1 : x > y;
}

XLogRecPtr
pgt_refresh_begin(List *sts, bool sync)
{
	List *ordered = list_copy(sts);
	XLogRecPtr barrier;
	ListCell *lc;

	check_transaction();
	list_sort(ordered, compare_by_id);
	foreach (lc, ordered)
		lock_stream_table(lfirst(lc));
	foreach (lc, ordered)
		lock_sources(lfirst(lc));
	start_context();
	barrier = pgt_barrier_emit(sync);
	if (sync)
		context->await = barrier;
	return barrier;
}

/* ---------- what has changed ---------- */

static PgtSourceFrontier *
find_frontier(List *frontiers, Oid relid)
{
	ListCell *lc;

	foreach (lc, frontiers)
		if (((PgtSourceFrontier *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

/* DDL of the interval that no row event shows. */
static char *
ddl_between(Oid relid, const PgtFrontier *from, const PgtFrontier *to)
{
	static SPIPlanPtr plan = NULL;
	Datum arg = ObjectIdGetDatum(relid);
	Snapshot latest;

	if (plan == NULL)
	{
		Oid type = OIDOID;

		plan = SPI_prepare("SELECT xid, kind, detail FROM pgtrickle.pgt_source_events WHERE source_relid = $1", 1, &type);
		SPI_keepplan(plan);
	}
	latest = RegisterSnapshot(GetLatestSnapshot());
	if (SPI_execute_snapshot(plan, &arg, NULL, latest, InvalidSnapshot, true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read source events");
	UnregisterSnapshot(latest);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		uint64 xid = U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(tuple, desc, 1, &isnull)));
		char *detail = SPI_getvalue(tuple, desc, 3);

		if (pgt_frontier_sees(to, xid) && !pgt_frontier_sees(from, xid) &&
			strcmp(SPI_getvalue(tuple, desc, 2), PGT_EVENT_BORN) != 0)
			return psprintf("%s%s%s", SPI_getvalue(tuple, desc, 2), detail ? ": " : "", detail ? detail : "");
	}
	return NULL;
}

static void
collect_table(Refresh *r, int i, PgtSourceFrontier *old, PgtSourceFrontier *new)
{
	PgtViewSource *source = &r->view->sources[i];
	PgtDelta *delta;

	new->snapshot = context->frontier;
	new->upstream = -1;
	new->leaves = pgt_source_leaves(source->relid);
	if (r->diff_reason)
		return;
	if (old == NULL || old->snapshot == NULL)
		r->diff_reason = "no frontier";
	else if (old->snapshot->xmax > context->frontier->xmax)
		r->diff_reason = "frontier lies in the future of this server";
	else if (!equal(old->leaves, new->leaves) && !pgt_source_leaves_grew(source->relid, old->leaves, new->leaves))
		r->diff_reason = "partitions or children of a source changed";
	else
		r->diff_reason = ddl_between(source->relid, old->snapshot, context->frontier);
	if (r->diff_reason)
		return;

	/* not before: until the locks were there, the refresh before this one may have been the diff that this one expected to be */
	if (!XLogRecPtrIsInvalid(context->await))
		pgt_barrier_wait(context->await);
	delta = r->deltas[i] = pgt_buffer_read(source, old->snapshot, context->frontier);
	r->result.leftover |= delta->leftover;
	r->diff_reason = r->unknown = delta->diff_reason;
	if (delta->max_xid >= old->snapshot->xmin && context->frontier->xmin > old->snapshot->xmin)
		r->stale = true;
}

static void
collect_stream_table(Refresh *r, int i, PgtSourceFrontier *old, PgtSourceFrontier *new)
{
	PgtViewSource *source = &r->view->sources[i];
	int64 last;

	if (r->diff_reason || old == NULL || old->upstream < 0)
	{
		if (r->diff_reason == NULL)
			r->diff_reason = "no frontier";
		new->upstream = pgt_upstream_refresh_no(source->pgt_id);
		return;
	}
	r->deltas[i] = pgt_buffer_read_st(source, old->upstream, &last);
	r->diff_reason = r->deltas[i]->diff_reason;
	new->upstream = last;
	if (last > old->upstream)
		r->stale = true;
}

/* Read the buffers of all sources, or find out why they do not suffice. */
static void
collect_deltas(Refresh *r)
{
	r->deltas = palloc0(sizeof(PgtDelta *) * Max(1, r->view->nsources));
	for (int i = 0; i < r->view->nsources; i++)
	{
		PgtViewSource *source = &r->view->sources[i];
		PgtSourceFrontier *old = find_frontier(r->old_frontiers, source->relid);
		PgtSourceFrontier *new = palloc0(sizeof(PgtSourceFrontier));

		new->relid = source->relid;
		if (source->is_stream_table)
			collect_stream_table(r, i, old, new);
		else
			collect_table(r, i, old, new);
		r->new_frontiers = lappend(r->new_frontiers, new);
		if (r->deltas[i] && r->deltas[i]->rows > 0)
		{
			r->changed = bms_add_member(r->changed, i);
			r->delta_rows += r->deltas[i]->rows;
		}
		r->seen |= r->deltas[i] && r->deltas[i]->seen;
	}
}

/* ---------- which way ---------- */

/*
 * Has the clock passed the next row?  Whoever refreshes by hand is not kept waiting for a moment that could only be estimated.
 */
static void
check_clock(Refresh *r, const PgtStreamTable *now, const char *initiated_by)
{
	r->result.next_crossing = DT_NOBEGIN;
	if (!r->view->clocked)
		return;
	r->old_clock = now->clock;
	r->result.next_crossing = now->next_crossing;
	if (r->view->full_reason != NULL)
		return;
	r->timed = now->next_crossing <= context->taken_at || strcmp(initiated_by, "SCHEDULER") != 0;
	if (r->diff_reason == NULL && now->clock == DT_NOBEGIN)
		r->diff_reason = "no clock";
}

/* What kept this ST from being maintained so far, as of now: somebody may have marked it after S1 was taken. */
static void
check_marks(Refresh *r, const char *initiated_by)
{
	PgtStreamTable *now = pgt_st_by_id(r->st->id);

	if (now == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table %s was dropped", quote_qualified_identifier(r->st->schema, r->st->name))));
	if (!now->is_populated)
		r->diff_reason = "first load";
	else if (now->needs_reinit)
		r->diff_reason = now->reinit_reason ? now->reinit_reason : "marked for a full refresh";
	check_clock(r, now, initiated_by);
}

/* ---------- doing it ---------- */

static void
set_clock(Refresh *r, PgtExecution *ex)
{
	ex->clocked = r->view->clocked;
	ex->old_clock = r->old_clock;
	ex->new_clock = context->taken_at;
	r->clock_moves |= ex->clocked;
}

/* When will time alone change the ST next?  As its owner: the query's expressions are evaluated. */
static TimestampTz
next_crossing(Refresh *r)
{
	PgtOwnerScope scope;
	PgtExecution ex = {0};

	if (r->view->crossing_sql == NULL)
		return DT_NOBEGIN;
	scope = pgt_owner_begin(r->st);
	ex.prepared = pgt_cached_program(r->st, PGT_PROGRAM_CROSSING, NULL, 0);
	ex.s1 = context->s1;
	set_clock(r, &ex);
	pgt_execute(&ex);
	pgt_owner_end(scope);
	return ex.crossing;
}

/* Stream tables that are never maintained incrementally need no inner tables. */
static bool
uses_inner(Refresh *r)
{
	return r->view->ninners > 0 && strcmp(r->st->refresh_mode, "FULL") != 0;
}

/* Before everything is computed: inner tables as the view wants them, or none. */
static PgtProgramKind
prepare_inner(Refresh *r, PgtProgramKind kind)
{
	PgtProgramKind plain = kind == PGT_PROGRAM_LOAD ? PGT_PROGRAM_LOAD_PLAIN : PGT_PROGRAM_DIFF_PLAIN;

	if (kind == PGT_PROGRAM_DELTA)
		return kind;
	if (!uses_inner(r))
	{
		pgt_storage_drop_inner(r->st->id);
		return plain;
	}
	r->made_inner = pgt_storage_make_inner(r->st->id, r->st->relid, r->view, kind == PGT_PROGRAM_LOAD);
	return kind;
}

static void
run_program(Refresh *r, PgtProgramKind wanted)
{
	PgtProgramKind kind = prepare_inner(r, wanted);
	PgtOwnerScope scope = pgt_owner_begin(r->st);
	PgtExecution ex = {0};
	Bitmapset *changed = r->changed;

	if (r->view->clocked && kind == PGT_PROGRAM_DELTA)
		changed = bms_add_member(bms_copy(changed), r->view->nsources);
	ex.prepared = pgt_cached_program(r->st, kind, changed, r->delta_rows);
	ex.s1 = context->s1;
	set_clock(r, &ex);
	if (kind == PGT_PROGRAM_DELTA)
	{
		ex.ndeltas = r->view->nsources;
		ex.deltas = r->deltas;
	}
	if (pgt_st_readers(r->st->relid) != NIL)
		ex.out_buffer = r->st->id;
	ex.refresh_no = r->st->refresh_no + 1;
	writing = true;
	PG_TRY();
	{
		pgt_execute(&ex);
	}
	PG_FINALLY();
	{
		writing = false;
	}
	PG_END_TRY();
	pgt_owner_end(scope);
	if (r->made_inner)
		pgt_storage_analyze_inner(r->st->id, r->view);
	r->result.strategy = ex.prepared->program->strategy;
	r->result.rows_inserted = ex.inserted;
	r->result.rows_deleted = ex.deleted;
}

static bool
is_empty(PgtStreamTable *st)
{
	int rc;

	rc = SPI_execute(psprintf("SELECT 1 FROM %s LIMIT 1", quote_qualified_identifier(st->schema, st->name)), true, 1);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not look into stream table %s", st->name);
	return SPI_processed == 0;
}

/* A load is cheaper than a diff, but nobody must have read the ST's delta stream yet. */
static PgtProgramKind
full_program(Refresh *r)
{
	PgtCatalogScope scope;
	bool empty;

	if (r->st->is_populated || pgt_st_readers(r->st->relid) != NIL)
		return PGT_PROGRAM_DIFF;
	scope = pgt_catalog_begin();
	empty = is_empty(r->st);
	pgt_catalog_end(scope);
	return empty ? PGT_PROGRAM_LOAD : PGT_PROGRAM_DIFF;
}

/* ATTACH PARTITION takes no lock that we would meet, and what it brings is visible to S1 at once. */
static void
check_leaves(Refresh *r)
{
	ListCell *lc;

	foreach (lc, r->new_frontiers)
	{
		PgtSourceFrontier *frontier = lfirst(lc);

		if (frontier->snapshot && !equal(frontier->leaves, pgt_source_leaves(frontier->relid)))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("partitions of a source changed during the refresh of stream table %s",
							quote_qualified_identifier(r->st->schema, r->st->name)),
					 errhint("The refresh can be tried again.")));
	}
}

/*
 * Some errors speak against the delta, not against the query: an expression may meet an old row beside a new one that never stood
 * together (1 / (a.x - b.y)), and a program notices when the ST does not hold what is to be removed.
 */
static bool
diff_may_help(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_DATA_EXCEPTION || sqlerrcode == ERRCODE_DATA_CORRUPTED;
}

static void
run_delta(void *refresh)
{
	SPI_connect();
	run_program(refresh, PGT_PROGRAM_DELTA);
	SPI_finish();
}

/* Run the delta program.  NULL, or why it cannot be used. */
static char *
try_delta(Refresh *r)
{
	ErrorData *error = pgt_attempt(run_delta, r);

	if (error == NULL)
		return NULL;
	if (!diff_may_help(error->sqlerrcode))
		ReThrowError(error);
	/* what is stored is not what was stored: nobody should have to look for this in the history */
	r->drifted = error->sqlerrcode == ERRCODE_DATA_CORRUPTED;
	if (r->drifted)
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stream table %s is compared with its query: %s",
						quote_qualified_identifier(r->st->schema, r->st->name), error->message)));
	return psprintf("the delta program failed: %s", error->message);
}

/* False: the ST is as it was, and diff_reason says why. */
static bool
refresh_differential(Refresh *r, char *why)
{
	r->result.action = "DIFFERENTIAL";
	r->result.reason = why;
	r->diff_reason = try_delta(r);
	r->result.delta_rows = r->delta_rows;
	/* time alone, and it changed nothing */
	if (r->diff_reason == NULL && r->delta_rows == 0 && r->result.rows_inserted == 0 && r->result.rows_deleted == 0)
		r->result.action = "NO_DATA";
	return r->diff_reason == NULL;
}

static void
refresh_full(Refresh *r, char *reason, bool reinit)
{
	r->result.action = reinit && r->st->is_populated ? "REINITIALIZE" : "FULL";
	r->result.reason = reason;
	if (!r->st->is_populated)
		pgstat_report_activity(STATE_RUNNING, psprintf("pg_trickle: first load of %s", quote_qualified_identifier(r->st->schema, r->st->name)));
	run_program(r, full_program(r));
	r->result.delta_rows = r->delta_rows;
	/* Whatever the buffers hold that S1 sees is contained. */
}

/* Our delta leads from what was found to what is right; readers have seen neither what was there before nor its change. */
static void
tell_readers(Refresh *r)
{
	Oid type = INT8OID;
	Datum refresh_no = Int64GetDatum(r->st->refresh_no + 1);
	PgtCatalogScope scope;

	if (pgt_st_readers(r->st->relid) == NIL)
		return;
	scope = pgt_catalog_begin();
	pgt_catalog_exec(psprintf("INSERT INTO pgtrickle_changes.st_" INT64_FORMAT " (refresh_no, w) VALUES ($1, 0)", r->st->id), 1, &type, &refresh_no, NULL);
	pgt_catalog_end(scope);
}

static void
store_result(Refresh *r, const char *initiated_by, TimestampTz started, TimestampTz due)
{
	TimestampTz crossing = r->clock_moves ? next_crossing(r) : DT_NOBEGIN;
	PgtCatalogScope scope = pgt_catalog_begin();

	pgt_frontiers_write(r->st->id, r->new_frontiers);
	if (r->clock_moves)
	{
		pgt_state_clock(r->st->id, context->taken_at, crossing);
		r->result.next_crossing = crossing;
	}
	pgt_fuse_passed(r->st);
	if (strcmp(r->result.action, "NO_DATA") != 0)
	{
		pgt_state_refreshed(r->st, &r->result, context->frontier, context->taken_at);
		pgt_history_completed(r->st, &r->result, initiated_by, started, due);
	}
	pgt_catalog_end(scope);
}

static void
load_refresh(Refresh *r, int64 pgt_id)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	PgtOwnerScope owner;

	r->st = pgt_st_by_id(pgt_id);
	if (r->st == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("stream table %lld does not exist", (long long) pgt_id)));
	if (pgt_storage_follow_owner(r->st))
		r->st = pgt_st_by_id(pgt_id);
	r->old_frontiers = pgt_frontiers_read(pgt_id);
	pgt_catalog_end(scope);

	owner = pgt_owner_begin(r->st);
	r->view = pgt_cached_view(r->st);
	pgt_owner_end(owner);
}

static void
apply_one(Refresh *r, const char *initiated_by, TimestampTz started, TimestampTz due)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	bool scheduled = strcmp(initiated_by, "SCHEDULER") == 0;
	PgtChoice choice = {0};
	bool nothing;

	if (scheduled)
		pgt_check_held(r->st);
	check_marks(r, initiated_by);
	collect_deltas(r);
	check_marks(r, initiated_by);
	if (r->diff_reason == NULL && (r->view->ninners == 0 || uses_inner(r)) && !pgt_storage_inner_ready(r->st->id, r->view))
		r->diff_reason = "its inner tables are not those of its query";
	if (scheduled)
		pgt_check_fuse(r->st, r->delta_rows, r->unknown);

	nothing = r->diff_reason == NULL && r->delta_rows == 0;
	if (r->diff_reason == NULL && (!nothing || r->timed))
		choice = pgt_choose(r->st, r->view, r->delta_rows);
	else if (nothing && r->view->time_dependent)
		choice = (PgtChoice){r->view->full_reason != NULL, r->view->full_reason}; /* time passes without any change of a source */
	pgt_catalog_end(scope);

	if (r->diff_reason)
		refresh_full(r, r->diff_reason, true);
	else if (choice.full)
		refresh_full(r, choice.reason, false);
	else if (nothing && !r->timed)
		r->result.action = "NO_DATA";
	else if (!refresh_differential(r, choice.reason))
		refresh_full(r, r->diff_reason, true);
	if (r->drifted)
		tell_readers(r);
	if (strcmp(r->result.action, "NO_DATA") != 0)
		check_leaves(r);
	r->result.duration_ms = (GetCurrentTimestamp() - started) / 1000.0;
	if (strcmp(r->result.action, "NO_DATA") != 0 || r->seen || r->stale || r->clock_moves)
		store_result(r, initiated_by, started, due);
	for (int i = 0; i < r->view->nsources; i++)
		pgt_delta_free(r->deltas[i]);
}

PgtRefreshResult
pgt_refresh_apply(PgtStreamTable *st, const char *initiated_by, TimestampTz due)
{
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz started = GetCurrentTimestamp();
	Refresh r = {0};

	if (context == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no refresh has begun in this transaction"),
				 errhint("Call pgtrickle._refresh_begin first, in the same transaction.")));
	SPI_connect();
	CommandCounterIncrement();
	PushCopiedSnapshot(context->s1);
	UpdateActiveSnapshotCommandId();
	load_refresh(&r, st->id);
	apply_one(&r, initiated_by, started, due);
	PopActiveSnapshot();
	if (r.result.reason)
		r.result.reason = MemoryContextStrdup(caller, r.result.reason);
	if (r.result.strategy)
		r.result.strategy = MemoryContextStrdup(caller, r.result.strategy);
	SPI_finish();
	return r.result;
}

PgtRefreshResult
pgt_refresh_load(PgtStreamTable *st, const char *initiated_by)
{
	PgtRefreshResult result;
	bool own_writes = false;
	ListCell *lc;

	check_transaction();
	foreach (lc, pgt_st_sources(st->id))
		own_writes |= pgt_st_by_relid(lfirst_oid(lc)) == NULL && written_by_us(pgt_source_family(lfirst_oid(lc), NoLock));
	lock_stream_table(st);
	start_context();
	result = pgt_refresh_apply(st, initiated_by, 0);

	/* S1 shows our own changes, and the capture of an already registered source will deliver them once more. */
	if (own_writes)
		pgt_st_mark_reinit(st->id, "the creating transaction had written a source");
	return result;
}

static void
dry_run_source(Refresh *r, int i)
{
	PgtExecution ex = {0};
	PgtDelta empty = {0};
	Bitmapset *changed;

	r->deltas = palloc0(sizeof(PgtDelta *) * r->view->nsources);
	empty.desc = pgt_delta_desc(&r->view->sources[i]);
	empty.store = tuplestore_begin_heap(false, false, work_mem);
	r->deltas[i] = &empty;
	changed = bms_make_singleton(i);
	if (r->view->clocked)
		changed = bms_add_member(changed, r->view->nsources);
	ex.prepared = pgt_cached_program(r->st, PGT_PROGRAM_DELTA, changed, 0);
	ex.s1 = context->s1;
	r->old_clock = context->taken_at;
	set_clock(r, &ex);
	ex.ndeltas = r->view->nsources;
	ex.deltas = r->deltas;
	ex.dry_run = true;
	writing = true;
	PG_TRY();
	{
		pgt_execute(&ex);
	}
	PG_FINALLY();
	{
		writing = false;
	}
	PG_END_TRY();
	tuplestore_end(empty.store);
	if (ex.inserted != 0 || ex.deleted != 0)
		elog(ERROR, "an empty delta changed stream table %s", r->st->name);
}

void
pgt_refresh_dry_run(PgtStreamTable *st)
{
	Refresh r = {0};
	PgtOwnerScope scope;

	if (context == NULL)
		elog(ERROR, "dry run without a load");
	SPI_connect();
	load_refresh(&r, st->id);
	if (r.view->full_reason == NULL && (r.view->ninners == 0 || uses_inner(&r)))
	{
		scope = pgt_owner_begin(r.st);
		for (int i = 0; i < r.view->nsources; i++)
			dry_run_source(&r, i);
		pgt_owner_end(scope);
	}
	SPI_finish();
}

PgtRefreshResult
pgt_refresh_now(PgtStreamTable *st, const char *initiated_by)
{
	bool by_diff = st->needs_reinit || !st->is_populated;
	XLogRecPtr lsn;

	check_transaction();
	pgt_refuse_blown(st);
	/* A barrier behind a large commit takes long: let it pass before anything is locked. */
	if (!by_diff)
		pgt_barrier_wait(pgt_barrier_emit(true));
	lsn = pgt_refresh_begin(list_make1(st), true);
	/* waiting is no part of what a refresh costs; where this turns out to be no diff, apply waits */
	if (!by_diff)
		pgt_barrier_wait(lsn);
	return pgt_refresh_apply(st, initiated_by, 0);
}

/* A refresh and its result. */
typedef struct Rehearsal
{
	PgtStreamTable *st;
	PgtRefreshResult result;
} Rehearsal;

static void
refresh_now(void *arg)
{
	Rehearsal *r = arg;

	r->result = pgt_refresh_now(r->st, "MANUAL");
}

PgtRefreshResult
pgt_refresh_rehearse(PgtStreamTable *st)
{
	RefreshContext *before = context;
	Rehearsal rehearsal = {.st = st};
	ErrorData *error;

	check_transaction();
	context = NULL;
	error = pgt_rehearse(refresh_now, &rehearsal);
	if (context != NULL)
		UnregisterSnapshotFromOwner(context->s1, TopTransactionResourceOwner);
	context = before;
	if (error != NULL)
		ReThrowError(error);
	return rehearsal.result;
}
