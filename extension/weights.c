/*
 * weights.c - the program of an ST whose aggregates are invertible: cost follows the change, not the groups.
 *
 *   __pgt_g   changes per group: key, d<j>, e<j>           (from the netted delta of the AGG's input)
 *   __pgt_m   with the stored row and the new states n<j>, and whether the group must be recomputed
 *   __pgt_r   recomputed groups, from post rows of their keys   (only where some state can ask for it)
 *   __pgt_chg the change set
 */
#include "postgres.h"

#include <ctype.h>

#include "apply.h"
#include "weights.h"

static bool
any_redo(PgtStore *store)
{
	ListCell *lc;

	foreach (lc, store->states->list)
		if (((PgtState *) lfirst(lc))->redo != NULL)
			return true;
	return false;
}

static bool
any_extremum(PgtStore *store)
{
	ListCell *lc;

	foreach (lc, store->states->list)
		if (((PgtState *) lfirst(lc))->removed != NULL)
			return true;
	return false;
}

/* "<window> FILTER (...) OVER p AS <name><j>" of every extremum, for rows with sign `sign` ("a1.w > 0"), or all. */
static char *
extrema_over(PgtStore *store, const char *sign, char name)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, store->states->list)
	{
		PgtState *state = lfirst(lc);
		const char *filter = "";

		if (state->window == NULL)
			continue;
		if (state->filter != NULL && sign != NULL)
			filter = psprintf(" FILTER (WHERE %s AND (%s))", sign, state->filter);
		else if (state->filter != NULL || sign != NULL)
			filter = psprintf(" FILTER (WHERE %s)", sign != NULL ? sign : state->filter);
		appendStringInfo(&s, ", %s%s OVER p AS %c%d", state->window, filter, name, state->number);
	}
	return s.data;
}

static char *
window_of_keys(PgtStore *store)
{
	int nkeys = store->agg->nkeys;

	return psprintf("WINDOW p AS (%s%s)", nkeys > 0 ? "PARTITION BY " : "", pgt_key_list("a1", nkeys));
}

static char *
grouped_changes(PgtStore *store, const char *delta)
{
	StringInfoData s;
	ListCell *lc;
	int nkeys = store->agg->nkeys;
	const char *from = delta;

	initStringInfo(&s);
	if (any_extremum(store))
		from = psprintf("(SELECT a1.*%s%s FROM %s a1 %s)", extrema_over(store, "a1.w > 0", 'b'), extrema_over(store, "a1.w < 0", 'g'),
						delta, window_of_keys(store));
	foreach (lc, store->states->list)
	{
		PgtState *state = lfirst(lc);

		appendStringInfo(&s, "%s%s AS d%d", s.len > 0 ? ", " : "", state->delta, state->number);
		if (state->removed != NULL)
			appendStringInfo(&s, ", %s AS e%d", state->removed, state->number);
	}
	if (s.len == 0)
		appendStringInfoString(&s, "pg_catalog.count(*) AS d0");
	return psprintf("SELECT %s FROM %s a1%s%s", pgt_join2(pgt_columns("a1", nkeys, 0), s.data), from,
					nkeys > 0 ? " GROUP BY " : "", pgt_key_list("a1", nkeys));
}

/* Replaces %<number> by the stored value of that state. */
static char *
with_old(PgtStore *store, const char *text)
{
	StringInfoData s;

	initStringInfo(&s);
	for (const char *p = text; *p; p++)
	{
		if (p[0] == '%' && isdigit((unsigned char) p[1]))
		{
			char *end;
			PgtState *state = list_nth(store->states->list, strtol(p + 1, &end, 10) - 1);

			appendStringInfo(&s, "m.o%d", state->column);
			p = end - 1;
		}
		else
			appendStringInfoChar(&s, *p);
	}
	return s.data;
}

/*
 * levels[j]: how many SELECTs must stand around the merged row before state j can be computed, because its new value looks at the
 * new values of states before it in the list (a sum at its count and scale).  Returns the number of levels.
 */
static int
state_levels(PgtStore *store, int *levels)
{
	int nlevels = 0;
	ListCell *lc;

	foreach (lc, store->states->list)
	{
		PgtState *state = lfirst(lc);
		const char *p = state->merge;

		levels[state->number] = 0;
		while ((p = strstr(p, "m.n")) != NULL)
		{
			int other = atoi(p + 3);

			if (other > 0 && other < state->number)
				levels[state->number] = Max(levels[state->number], levels[other] + 1);
			p += 3;
		}
		nlevels = Max(nlevels, levels[state->number] + 1);
	}
	return nlevels;
}

/* New states in SELECTs around each other, as few as their dependencies allow: the planner flattens them, in cubic time. */
static char *
merged(PgtStore *store, const PgtTarget *target, const char *groups)
{
	char *sql = psprintf("SELECT k.*, s.* FROM %s k LEFT JOIN %s ON true", groups, pgt_stored_rows(store, target, "k"));
	int *levels = palloc0(sizeof(int) * (list_length(store->states->list) + 1));
	int nlevels = state_levels(store, levels);
	StringInfoData redo;
	ListCell *lc;

	initStringInfo(&redo);
	for (int level = 0; level < nlevels; level++)
	{
		StringInfoData s;

		initStringInfo(&s);
		foreach (lc, store->states->list)
		{
			PgtState *state = lfirst(lc);

			if (levels[state->number] == level)
				appendStringInfo(&s, state->number == store->states->rows ? ", pgtrickle._expect_count(%s) AS n%d" : ", %s AS n%d",
								 with_old(store, state->merge), state->number);
		}
		sql = psprintf("SELECT m.*%s FROM (%s) m", s.data, sql);
	}
	foreach (lc, store->states->list)
	{
		PgtState *state = lfirst(lc);

		if (state->redo != NULL)
			appendStringInfo(&redo, "%s%s", redo.len > 0 ? " OR " : "", with_old(store, state->redo));
	}
	if (redo.len > 0 && store->states->rows > 0)
		return psprintf("SELECT m.*, coalesce(m.n%d > 0 AND (%s), false) AS redo FROM (%s) m", store->states->rows, redo.data, sql);
	return psprintf("SELECT m.*, %s AS redo FROM (%s) m",
					redo.len > 0 ? psprintf("coalesce(%s, false)", redo.data) : "false", sql);
}

/* The groups that ask for it, from their rows: keys, aggregates, states.  Seldom there are some. */
static char *
recomputed(PgtStore *store, PgtDeltaCtx *cxt, const char *m)
{
	PgtOp *agg = store->agg;
	char *keys = pgt_enr_of(cxt, "k", psprintf("SELECT %s FROM %s m WHERE m.redo", agg->nkeys > 0 ? pgt_columns("m", agg->nkeys, 0) : "true AS redo", m), list_make1(pstrdup(m)));
	char *rows = pgt_post_of_keys(cxt, pgt_op_child(agg, 1), agg->nkeys, keys);

	if (any_extremum(store))
		rows = psprintf("(SELECT a1.*%s FROM %s a1 %s)", extrema_over(store, NULL, 'x'), rows, window_of_keys(store));
	return pgt_enr_of(cxt, "r", pgt_aggregate(agg, rows, pgt_store_inits(store, true)), list_make1(keys));
}

static char *
list_of(const char *format_prefix, int n)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, ", %s%d", format_prefix, i);
	return s.data;
}

/* Rows a1 of groups that exist now: tid, o*, the AGG's columns c*, states n*. */
static char *
merged_groups(PgtStore *store, const char *m)
{
	StringInfoData s;
	PgtOp *agg = store->agg;

	initStringInfo(&s);
	appendStringInfo(&s, "SELECT m.tid%s%s", list_of("m.o", store->ncols), list_of("m.n", list_length(store->states->list)));
	for (int k = 1; k <= agg->nkeys; k++)
		appendStringInfo(&s, ", CASE WHEN m.tid IS NULL THEN m.c%d ELSE m.o%d END AS c%d", k, store->keycols[k - 1], k);
	for (int i = 0; i < list_length(agg->aggs); i++)
		appendStringInfo(&s, ", %s AS c%d", store->states->finals[i], agg->nkeys + i + 1);
	appendStringInfo(&s, " FROM %s m WHERE NOT m.redo", m);
	if (store->states->rows > 0)
		appendStringInfo(&s, " AND m.n%d > 0", store->states->rows);
	return s.data;
}

static char *
recomputed_groups(PgtStore *store, const char *m, const char *r)
{
	StringInfoData on;
	PgtOp *agg = store->agg;

	initStringInfo(&on);
	for (int k = 1; k <= agg->nkeys; k++)
	{
		if (k > 1)
			appendStringInfoString(&on, " AND ");
		appendStringInfoString(&on, pgt_same_key(&agg->cols[k - 1], psprintf("m.c%d", k), psprintf("r.c%d", k)));
	}
	return psprintf("SELECT m.tid%s%s%s FROM %s m JOIN %s r ON %s WHERE m.redo", list_of("m.o", store->ncols),
					list_of("r.n", list_length(store->states->list)), list_of("r.c", agg->ncols), m, r, on.len > 0 ? on.data : "true");
}

/* The change set over m (and r): visible columns by the query's own targets, of groups that exist; the others are deletions. */
static char *
changes(PgtStore *store, const char *m, const char *r)
{
	PgtOp *root = store->root;
	char *olds = list_of("a1.o", store->ncols) + 2;
	char *live = merged_groups(store, m);
	char *rows;

	if (r != NULL)
		live = psprintf("%s UNION ALL %s", live, recomputed_groups(store, m, r));
	rows = psprintf("SELECT CASE WHEN a1.tid IS NULL THEN 'i' ELSE 'u' END::\"char\" AS op, a1.tid, %s, %s FROM (%s) a1",
					pgt_join2(pgt_targets(root->targets, root->children), pgt_store_hidden(store)), olds, live);
	if (store->states->rows > 0)
		rows = psprintf("%s UNION ALL SELECT 'd'::\"char\", a1.tid%s, %s FROM %s a1 WHERE a1.n%d <= 0 AND a1.tid IS NOT NULL", rows,
						pgt_null_columns(store), olds, m, store->states->rows);
	return pgt_changed_rows(store, rows, true);
}

char *
pgt_weights_changes(PgtStore *given, const PgtTarget *target, PgtDeltaCtx *cxt)
{
	PgtStore *store = pgt_probed_extrema(given);
	PgtOp *child = pgt_op_child(store->agg, 1);
	/* sums net by themselves; an extremum must not see a value that came and went */
	PgtFrom delta = any_extremum(store) ? pgt_delta_netted(cxt, child) : pgt_delta(cxt, child);
	List *needs = pgt_delta_needs(cxt, child);
	char *g = pgt_enr_of(cxt, "g", grouped_changes(store, delta), needs);
	char *m = pgt_enr_of(cxt, "m", merged(store, target, g), store->agg->nkeys > 0 ? list_make1(g) : needs);

	((PgtStep *) llast(cxt->steps))->seqscan_off = pgt_store_probed(store, target);
	return changes(store, m, any_redo(store) ? recomputed(store, cxt, m) : NULL);
}

PgtProgram *
pgt_weights_program(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt)
{
	PgtProgram *program = palloc(sizeof(PgtProgram));
	int before = list_length(cxt->steps);
	char *sql = pgt_weights_changes(store, target, cxt);
	List *apply;

	/* nothing of the ST's groups changed; what changed in inner stores is written by then */
	for (int i = before; store->agg->nkeys > 0 && i < list_length(cxt->steps); i++)
	{
		PgtStep *step = list_nth(cxt->steps, i);

		step->skip_if_empty = step->name != NULL && strncmp(step->name, "__pgt_g", 7) == 0;
	}
	program->strategy = "weights";
	apply = pgt_apply_keyed(store, target, sql);
	((PgtStep *) linitial(apply))->needs = pgt_delta_needs(cxt, pgt_op_child(store->agg, 1));
	program->steps = list_concat(cxt->steps, apply);
	return program;
}
