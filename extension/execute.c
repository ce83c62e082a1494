/*
 * execute.c - running a program's steps under S1 (see execute.h, program.h).
 *
 * Every step sees S1 plus what earlier steps of this transaction wrote: a copy of S1 with the current command id is made
 * active for each.  Deltas and the results of ENR steps are tuplestores, registered as ephemeral named relations with their true
 * row counts, because the planner knows nothing else about them.
 *
 * Plans are prepared on first use and kept by the caller; each belongs to one size class of deltas (plancache.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "optimizer/geqo.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "execute.h"
#include "explain.h"
#include "guc.h"

static void
register_enr(const char *name, Tuplestorestate *store, TupleDesc desc, int64 rows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));
	int rc;

	/* The descriptor is given directly: with reliddesc the planner would look at the relation's dropped columns. */
	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = rows;
	enr->reldata = store;
	rc = SPI_register_relation(enr);
	if (rc != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"%s\": %s", name, SPI_result_code_string(rc));
}

static void
push_s1(PgtExecution *ex)
{
	CommandCounterIncrement();
#ifdef PGT_BREAK_SOURCE_SNAPSHOT
	/* A deliberately broken build: the fire test must notice that sources are newer than their deltas. */
	PushCopiedSnapshot(GetLatestSnapshot());
#else
	PushCopiedSnapshot(ex->s1);
#endif
	UpdateActiveSnapshotCommandId();
}

static SPIPlanPtr
step_plan(PgtExecution *ex, int i)
{
	PgtStep *step = list_nth(ex->prepared->program->steps, i);
	SPIPlanPtr *plan = &ex->prepared->plans[i];

	if (*plan == NULL)
	{
		Oid types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
		SPIPlanPtr fresh = SPI_prepare_cursor(step->sql, ex->clocked ? 2 : 0, types, CURSOR_OPT_PARALLEL_OK);

		if (fresh == NULL)
			elog(ERROR, "could not prepare a refresh step: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not keep the plan of a refresh step");
		*plan = fresh;
	}
	return *plan;
}

static ParamListInfo
clock_params(PgtExecution *ex)
{
	ParamListInfo params;

	if (!ex->clocked)
		return NULL;
	params = makeParamList(2);
	for (int i = 0; i < 2; i++)
		params->params[i] = (ParamExternData){TimestampTzGetDatum(i + 1 == PGT_CLOCK_OLD ? ex->old_clock : ex->new_clock), false,
											  PARAM_FLAG_CONST, TIMESTAMPTZOID};
	return params;
}

/* Run a SELECT under S1 into a tuplestore; returns the number of rows. */
static int64
run_select(PgtExecution *ex, SPIPlanPtr plan, Tuplestorestate *store)
{
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);
	SPIExecuteOptions options = {0};
	int rc;

	SetTuplestoreDestReceiverParams(dest, store, CurrentMemoryContext, false, NULL, NULL);
	options.params = clock_params(ex);
	options.read_only = true;
	options.dest = dest;
	push_s1(ex);
	rc = SPI_execute_plan_extended(plan, &options);
	PopActiveSnapshot();
	if (rc < 0)
		elog(ERROR, "a refresh step failed: %s", SPI_result_code_string(rc));
	dest->rDestroy(dest);
	return tuplestore_tuple_count(store);
}

static TupleDesc
plan_desc(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	return CreateTupleDescCopy(source->resultDesc);
}

/* The ST's own delta goes into its buffer, written as the extension's owner: nobody else may touch buffers. */
static void
run_out(PgtExecution *ex, SPIPlanPtr plan)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	PgtCatalogScope scope;
	Oid argtype = INT8OID;
	Datum arg = Int64GetDatum(ex->refresh_no);

	run_select(ex, plan, store);
	register_enr("__pgt_out", store, plan_desc(plan), tuplestore_tuple_count(store));
	scope = pgt_catalog_begin();
	pgt_catalog_exec(psprintf("INSERT INTO pgtrickle_changes.st_" INT64_FORMAT " SELECT $1, o.* FROM __pgt_out o WHERE o.w <> 0",
							  ex->out_buffer),
					 1, &argtype, &arg, NULL);
	pgt_catalog_end(scope);
	SPI_unregister_relation("__pgt_out");
	tuplestore_end(store);
}

static void
run_time(PgtExecution *ex, SPIPlanPtr plan)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	TupleTableSlot *slot;
	bool isnull = true;
	Datum value = (Datum) 0;

	run_select(ex, plan, store);
	slot = MakeSingleTupleTableSlot(plan_desc(plan), &TTSOpsMinimalTuple);
	if (tuplestore_gettupleslot(store, true, false, slot))
		value = slot_getattr(slot, 1, &isnull);
	ex->crossing = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
}

static void
run_dml(PgtExecution *ex, PgtStep *step, SPIPlanPtr plan)
{
	Datum clock[2] = {TimestampTzGetDatum(ex->old_clock), TimestampTzGetDatum(ex->new_clock)};
	int rc = SPI_execute_snapshot(plan, clock, NULL, ex->s1, InvalidSnapshot, false, true, 0);

	if (rc < 0)
		elog(ERROR, "a refresh step failed: %s", SPI_result_code_string(rc));
	if (step->counts == PGT_COUNT_INSERTED || step->counts == PGT_COUNT_UPDATED)
		ex->inserted += SPI_processed;
	if (step->counts == PGT_COUNT_DELETED || step->counts == PGT_COUNT_UPDATED)
		ex->deleted += SPI_processed;
}

/* What an index probe of a delta program costs at most, in pages read in order. */
#define DELTA_RANDOM_PAGE_COST 1.1

/* Tables in one join from which on a dry run does not look at all orders. */
#define DRY_RUN_GEQO_THRESHOLD 7

static void
set_for_step(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Planner settings of one step, for planning and running it. */
static int
step_settings(PgtExecution *ex, PgtStep *step)
{
	int nest = NewGUCNestLevel();

	/* JIT costs more than it gives at the sizes refreshes have, and its trigger is the estimate we cannot give well. */
	set_for_step("jit", "off");
	/* a delta looks at pages that were just written, or that the refresh before looked at: they are in memory */
	if (ex->deltas != NULL && random_page_cost > DELTA_RANDOM_PAGE_COST)
		set_for_step("random_page_cost", psprintf("%g", DELTA_RANDOM_PAGE_COST));
	/* a dry run asks whether there is a plan, not for a good one: looking for that is most of what creating a join of many tables costs */
	if (ex->dry_run && geqo_threshold > DRY_RUN_GEQO_THRESHOLD)
		set_for_step("geqo_threshold", psprintf("%d", DRY_RUN_GEQO_THRESHOLD));
	if (ex->dry_run)
		set_for_step("geqo_effort", "1");
	if (step->seqscan_off)
	{
		set_for_step("enable_seqscan", "off");
		/* rows of a netted delta differ: nothing is looked up twice */
		set_for_step("enable_memoize", "off");
	}
	return nest;
}

static void
is_empty(PgtExecution *ex, const char *name)
{
	(void) hash_search(ex->empty, name, HASH_ENTER, NULL);
}

static bool
is_needed(PgtExecution *ex, const PgtStep *step)
{
	ListCell *lc;

	foreach (lc, step->needs)
		if (hash_search(ex->empty, lfirst(lc), HASH_FIND, NULL) == NULL)
			return true;
	return step->needs == NIL || ex->dry_run;
}

static int64
run_enr(PgtExecution *ex, PgtStep *step, SPIPlanPtr plan, List **stores, bool needed)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	int64 rows = needed ? run_select(ex, plan, store) : 0;

	*stores = lappend(*stores, store);
	register_enr(step->name, store, plan_desc(plan), rows);
	if (rows == 0)
		is_empty(ex, step->name);
	return rows;
}

/* Returns false when the program is over because the step's result is empty. */
static bool
run_step(PgtExecution *ex, int i, List **stores)
{
	PgtStep *step = list_nth(ex->prepared->program->steps, i);
	bool needed = is_needed(ex, step);
	bool go_on = true;
	SPIPlanPtr plan;
	int nest;

	/* of an ENR that is not needed others want to know the columns: for that it is prepared, which is before it is planned */
	if ((step->kind == PGT_STEP_OUT && ex->out_buffer == 0) || (step->kind != PGT_STEP_ENR && !needed))
		return true;
	nest = step_settings(ex, step);
	plan = step_plan(ex, i);
	if (pgt_guc_log_delta_sql && needed)
		ereport(LOG, (errmsg("refresh step %d of %d: %s", i + 1, list_length(ex->prepared->program->steps), step->sql), errhidestmt(true)));
	if (needed)
		pgt_explain_expect(ex->prepared->program, step);
	if (step->kind == PGT_STEP_ENR)
		go_on = run_enr(ex, step, plan, stores, needed) > 0 || !step->skip_if_empty || ex->dry_run;
	else if (step->kind == PGT_STEP_OUT)
		run_out(ex, plan);
	else if (step->kind == PGT_STEP_TIME)
		run_time(ex, plan);
	else
		run_dml(ex, step, plan);
	AtEOXact_GUC(false, nest);
	return go_on;
}

static HTAB *
no_names(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = NAMEDATALEN;
	ctl.entrysize = NAMEDATALEN;
	ctl.hcxt = CurrentMemoryContext;
	return hash_create("empty deltas", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

bool
pgt_execute(PgtExecution *ex)
{
	List *stores = NIL;
	bool go_on = true;
	ListCell *lc;
	int nsteps = list_length(ex->prepared->program->steps);

	ex->empty = no_names();
	for (int i = 0; i < ex->ndeltas; i++)
	{
		PgtDelta *delta = ex->deltas[i];

		if (delta == NULL)
			continue;
		register_enr(psprintf("__pgt_src%d", i), delta->store, delta->desc, delta->rows);
		if (delta->rows == 0)
			is_empty(ex, psprintf("__pgt_src%d", i));
	}
	for (int i = 0; i < nsteps && go_on; i++)
		go_on = run_step(ex, i, &stores);

	/* Unregister by closing the SPI connection; the tuplestores are ours to end. */
	for (int i = 0; i < ex->ndeltas; i++)
		if (ex->deltas[i])
			SPI_unregister_relation(psprintf("__pgt_src%d", i));
	for (int i = 0; i < nsteps; i++)
	{
		PgtStep *step = list_nth(ex->prepared->program->steps, i);

		if (step->kind == PGT_STEP_ENR)
			SPI_unregister_relation(step->name);
	}
	foreach (lc, stores)
		tuplestore_end(lfirst(lc));
	hash_destroy(ex->empty);
	return go_on;
}
