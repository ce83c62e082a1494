/*
 * diag_analyze.c - explain_delta with analyze: what a refresh of the changes pending now does, and what it touches.
 *
 * A refresh by hand runs in a subtransaction that is rolled back (pgt_refresh_rehearse), with its steps watched (explain.h).  It takes a
 * refresh's locks for as long as it runs, waits for the barrier like one, and needs the same rights.  Only the ST's own steps
 * are shown; reading the change buffers and writing frontier and history are the same few rows for every ST.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "diag.h"
#include "explain.h"
#include "refresh.h"

typedef struct Totals
{
	double rows_read;
	int64 buffers;
	double duration_ms;
} Totals;

static Totals
add_up(List *steps)
{
	Totals totals = {0};
	ListCell *lc;

	foreach (lc, steps)
	{
		PgtExplainedStep *step = lfirst(lc);

		totals.rows_read += step->rows_read;
		totals.buffers += step->buffers;
		totals.duration_ms += step->duration_ms;
	}
	return totals;
}

static void
put_text_step(ReturnSetInfo *rsinfo, int number, PgtExplainedStep *step)
{
	pgt_diag_put(rsinfo, psprintf("-- step %d: %s%s%s: %.0f rows; read %.0f rows of tables, %lld buffers, %.3f ms", number,
								  pgt_diag_step_kind(step->kind), step->name != NULL ? " " : "", step->name != NULL ? step->name : "",
								  step->rows, step->rows_read, (long long) step->buffers, step->duration_ms));
	pgt_diag_put(rsinfo, step->sql);
	pgt_diag_put(rsinfo, step->plan);
}

static void
put_text(ReturnSetInfo *rsinfo, const PgtRefreshResult *result, List *steps)
{
	const char *strategy = NULL;
	Totals totals = add_up(steps);
	ListCell *lc;

	pgt_diag_put(rsinfo, psprintf("-- %s%s%s: %lld changes of sources, %lld rows inserted, %lld rows deleted; rolled back", result->action,
								  result->reason != NULL ? " because " : "", result->reason != NULL ? result->reason : "",
								  (long long) result->delta_rows, (long long) result->rows_inserted, (long long) result->rows_deleted));
	foreach (lc, steps)
	{
		PgtExplainedStep *step = lfirst(lc);

		if (strategy == NULL || strcmp(strategy, step->strategy) != 0)
			pgt_diag_put(rsinfo, psprintf("-- strategy %s", step->strategy));
		strategy = step->strategy;
		put_text_step(rsinfo, foreach_current_index(lc) + 1, step);
	}
	pgt_diag_put(rsinfo, psprintf("-- total: read %.0f rows of tables, %lld buffers, %.3f ms", totals.rows_read, (long long) totals.buffers,
								  totals.duration_ms));
}

static void
json_step(StringInfo buf, PgtExplainedStep *step)
{
	appendStringInfoChar(buf, '{');
	pgt_diag_json_field(buf, "strategy", step->strategy);
	appendStringInfoString(buf, ", ");
	pgt_diag_json_field(buf, "kind", pgt_diag_step_kind(step->kind));
	appendStringInfoString(buf, ", ");
	pgt_diag_json_field(buf, "name", step->name);
	appendStringInfoString(buf, ", ");
	pgt_diag_json_field(buf, "sql", step->sql);
	appendStringInfo(buf, ", \"rows\": %.0f, \"rows_read\": %.0f, \"buffers\": %lld, \"duration_ms\": %.3f, \"plan\": %s}", step->rows,
					 step->rows_read, (long long) step->buffers, step->duration_ms, step->plan);
}

static void
put_json(ReturnSetInfo *rsinfo, const PgtRefreshResult *result, List *steps)
{
	Totals totals = add_up(steps);
	StringInfoData buf;
	ListCell *lc;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	pgt_diag_json_field(&buf, "action", result->action);
	appendStringInfoString(&buf, ", ");
	pgt_diag_json_field(&buf, "strategy", result->strategy);
	appendStringInfoString(&buf, ", ");
	pgt_diag_json_field(&buf, "reason", result->reason);
	appendStringInfo(&buf, ", \"changes\": %lld, \"rows_inserted\": %lld, \"rows_deleted\": %lld", (long long) result->delta_rows,
					 (long long) result->rows_inserted, (long long) result->rows_deleted);
	appendStringInfo(&buf, ", \"rows_read\": %.0f, \"buffers\": %lld, \"duration_ms\": %.3f, \"steps\": [", totals.rows_read,
					 (long long) totals.buffers, totals.duration_ms);
	foreach (lc, steps)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(&buf, ", ");
		json_step(&buf, lfirst(lc));
	}
	appendStringInfoString(&buf, "]}");
	pgt_diag_put(rsinfo, buf.data);
}

void
pgt_diag_analyze(ReturnSetInfo *rsinfo, PgtStreamTable *st, bool json)
{
	PgtRefreshResult result;
	List *steps;

	pgt_st_check_owner(st);
	pgt_explain_begin(json);
	PG_TRY();
	{
		result = pgt_refresh_rehearse(st);
	}
	PG_FINALLY();
	{
		steps = pgt_explain_end();
	}
	PG_END_TRY();
	if (json)
		put_json(rsinfo, &result, steps);
	else
		put_text(rsinfo, &result, steps);
}
