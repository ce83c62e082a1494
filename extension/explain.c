/*
 * explain.c - watching a program run (see explain.h).
 *
 * The engine runs its steps as always, with the plans the session keeps; only executor hooks, put in on first use and idle otherwise, ask
 * for instrumentation and print the plan before the statement ends.  So what is shown is what ran, once, and not a
 * second execution under EXPLAIN.  Statements that run inside a step (functions of the query) are part of it.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/instrument.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "utils/memutils.h"

#include "compat.h"
#include "explain.h"
#include "commands/explain.h"
#include PGT_EXPLAIN_STATE_H
#include PGT_EXPLAIN_FORMAT_H

static bool recording = false;
static bool as_json = false;
static MemoryContext memory = NULL;
static List *steps = NIL;

static PgtExplainedStep *expected = NULL; /* waits for its statement */
static QueryDesc *watched = NULL;         /* the statement of the step that runs */
static PgtExplainedStep *running = NULL;

static bool installed = false;
static ExecutorStart_hook_type next_start = NULL;
static ExecutorEnd_hook_type next_end = NULL;

static void
explain_start(QueryDesc *desc, int eflags)
{
	bool mine = recording && expected != NULL;

	if (mine)
	{
		watched = desc;
		running = expected;
		expected = NULL;
		desc->instrument_options |= INSTRUMENT_ALL;
	}
	if (next_start)
		next_start(desc, eflags);
	else
		standard_ExecutorStart(desc, eflags);
	if (mine && desc->totaltime == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(desc->estate->es_query_cxt);

		desc->totaltime = InstrAlloc(1, INSTRUMENT_ALL, false);
		MemoryContextSwitchTo(caller);
	}
}

/* Rows of tables that this node looked at; scans of deltas, subqueries and functions read nothing new. */
static bool
add_rows_read(PlanState *state, void *arg)
{
	double *rows = arg;

	switch (nodeTag(state))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			if (state->instrument != NULL)
				*rows += state->instrument->ntuples + state->instrument->nfiltered1 + state->instrument->nfiltered2;
			break;
		default:
			break;
	}
	return planstate_tree_walker(state, add_rows_read, arg);
}

static char *
plan_text(QueryDesc *desc)
{
	ExplainState *es = NewExplainState();

	es->analyze = true;
	es->buffers = true;
	es->timing = true;
	es->format = as_json ? EXPLAIN_FORMAT_JSON : EXPLAIN_FORMAT_TEXT;
	ExplainBeginOutput(es);
	ExplainPrintPlan(es, desc);
	ExplainPrintTriggers(es, desc);
	ExplainEndOutput(es);
	if (es->str->len > 0 && es->str->data[es->str->len - 1] == '\n')
		es->str->data[--es->str->len] = '\0';
	if (as_json)
	{
		/* an array of statements to EXPLAIN, one object here */
		es->str->data[0] = '{';
		es->str->data[es->str->len - 1] = '}';
	}
	return es->str->data;
}

static void
record(QueryDesc *desc)
{
	BufferUsage *usage = &desc->totaltime->bufusage;
	MemoryContext caller = MemoryContextSwitchTo(memory);

	InstrEndLoop(desc->totaltime);
	running->plan = plan_text(desc); /* ends the loops of all nodes: their counters are totals from here on */
	(void) add_rows_read(desc->planstate, &running->rows_read);
	running->rows = desc->estate->es_processed;
	running->buffers = usage->shared_blks_hit + usage->shared_blks_read + usage->local_blks_hit + usage->local_blks_read;
	running->duration_ms = desc->totaltime->total * 1000.0;
	steps = lappend(steps, running);
	MemoryContextSwitchTo(caller);
}

static void
explain_end(QueryDesc *desc)
{
	if (recording && desc == watched)
	{
		watched = NULL;
		record(desc);
	}
	if (next_end)
		next_end(desc);
	else
		standard_ExecutorEnd(desc);
}

void
pgt_explain_begin(bool json)
{
	if (!installed)
	{
		next_start = ExecutorStart_hook;
		ExecutorStart_hook = explain_start;
		next_end = ExecutorEnd_hook;
		ExecutorEnd_hook = explain_end;
		installed = true;
	}
	recording = true;
	as_json = json;
	memory = CurrentMemoryContext;
	steps = NIL;
	expected = NULL;
	watched = NULL;
}

List *
pgt_explain_end(void)
{
	List *result = steps;

	recording = false;
	steps = NIL;
	return result;
}

void
pgt_explain_expect(const PgtProgram *program, const PgtStep *step)
{
	MemoryContext caller;

	if (!recording || step->kind == PGT_STEP_TIME)
		return;
	caller = MemoryContextSwitchTo(memory);
	expected = palloc0(sizeof(PgtExplainedStep));
	expected->strategy = pstrdup(program->strategy);
	expected->kind = step->kind;
	expected->name = step->name != NULL ? pstrdup(step->name) : NULL;
	expected->sql = pstrdup(step->sql);
	MemoryContextSwitchTo(caller);
}
