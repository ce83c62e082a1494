/*
 * delta.c - dispatch over operator kinds, and the bag operations that all delta rules share.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "clock.h"
#include "delta.h"
#include "inner.h"

static PgtStep *
enr_step(PgtDeltaCtx *cxt, const char *prefix, const char *sql, bool *found)
{
	PgtStep *step;
	ListCell *lc;

	*found = true;
	foreach (lc, cxt->steps)
	{
		step = lfirst(lc);
		if (strcmp(step->sql, sql) == 0)
			return step;
	}
	*found = false;
	step = palloc0(sizeof(PgtStep));
	step->kind = PGT_STEP_ENR;
	step->name = psprintf("__pgt_%s%d", prefix, ++cxt->next);
	step->sql = pstrdup(sql);
	cxt->steps = lappend(cxt->steps, step);
	return step;
}

char *
pgt_enr(PgtDeltaCtx *cxt, const char *prefix, const char *sql)
{
	bool found;
	PgtStep *step = enr_step(cxt, prefix, sql, &found);

	if (found)
		cxt->reused = lappend(cxt->reused, step);
	return step->name;
}

/* Two that share a step both have their say; one that does not know makes it run always. */
static void
share_needs(PgtStep *step, List *needs)
{
	ListCell *lc;

	if (step->needs == NIL || needs == NIL)
	{
		step->needs = NIL;
		step->always = true;
		return;
	}
	foreach (lc, needs)
		step->needs = lappend(step->needs, lfirst(lc));
}

char *
pgt_enr_of(PgtDeltaCtx *cxt, const char *prefix, const char *sql, List *needs)
{
	bool found;
	PgtStep *step = enr_step(cxt, prefix, sql, &found);

	if (found)
		share_needs(step, needs);
	else
		step->needs = needs;
	return step->name;
}

PgtFrom
pgt_net(const PgtCol *cols, int ncols, PgtFrom from)
{
	char *keys = pgt_image_keys(cols, ncols, "a1");

	return psprintf("(SELECT %s FROM %s a1%s%s HAVING pg_catalog.sum(a1.w) <> 0)",
					pgt_join2(pgt_image_values(cols, ncols, "a1"), "pg_catalog.sum(a1.w)::pg_catalog.int8 AS w"), from,
					keys[0] ? " GROUP BY " : "", keys);
}

char *
pgt_select_of(PgtFrom from)
{
	int len = strlen(from);

	return from[0] == '(' ? pnstrdup(from + 1, len - 2) : psprintf("SELECT * FROM %s", from);
}

static PgtKnownDelta *
known_delta(PgtDeltaCtx *cxt, const PgtOp *op)
{
	ListCell *lc;

	foreach (lc, cxt->known)
		if (((PgtKnownDelta *) lfirst(lc))->op == op)
			return lfirst(lc);
	return NULL;
}

PgtFrom
pgt_delta_netted(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtFrom d = pgt_delta(cxt, op);
	PgtKnownDelta *known;

	if (d == NULL || pgt_inner_bound(op) || op->kind == PGT_OP_SCAN || op->kind == PGT_OP_AGG || op->kind == PGT_OP_PART || op->clock)
		return d; /* netted ENRs already */
	known = known_delta(cxt, op);
	if (known->netted == NULL)
		known->netted = pgt_enr_of(cxt, "d", pgt_select_of(pgt_net(op->cols, op->ncols, d)), pgt_delta_needs(cxt, op));
	return known->netted;
}

/* Is the change of this node netted without more?  So it is where every column of one scan is passed on, as it is: rows that differ stay so. */
bool
pgt_delta_is_netted(const PgtOp *op)
{
	Bitmapset *passed = NULL;
	ListCell *lc;

	if (op->kind != PGT_OP_SELECT || op->clock || op->inner != NULL || list_length(op->children) != 1 || pgt_op_child(op, 1)->kind != PGT_OP_SCAN)
		return false;
	foreach (lc, op->targets)
		if (IsA(lfirst(lc), Var))
			passed = bms_add_member(passed, lfirst_node(Var, lc)->varattno);
	return bms_num_members(passed) == pgt_op_child(op, 1)->ncols;
}

/*
 * A captured change may be undone by a later one of the same interval; a row that never was in any post state must not meet the
 * query's expressions (1/x).  So sources are netted before anything is computed.
 */
static PgtFrom
delta_scan(PgtDeltaCtx *cxt, const PgtOp *op)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	appendStringInfoString(&s, "(SELECT ");
	foreach (lc, op->attnums)
		appendStringInfo(&s, "s.c%d AS c%d, ", lfirst_int(lc), foreach_current_index(lc) + 1);
	appendStringInfo(&s, "s.w FROM __pgt_src%d s)", op->source);
	return pgt_enr_of(cxt, "d", pgt_select_of(pgt_net(op->cols, op->ncols, s.data)), list_make1(psprintf("__pgt_src%d", op->source)));
}

static PgtFrom
delta_union(PgtDeltaCtx *cxt, const PgtOp *op)
{
	StringInfoData s;
	ListCell *lc;
	int n = 0;

	initStringInfo(&s);
	foreach (lc, op->children)
	{
		PgtOp *child = lfirst(lc);
		PgtFrom d = pgt_delta(cxt, child);

		if (d == NULL)
			continue;
		appendStringInfo(&s, "%sSELECT %s FROM %s d", n++ > 0 ? " UNION ALL " : "(",
						 pgt_join2(pgt_columns("d", op->ncols, 0), "d.w"), d);
	}
	appendStringInfoChar(&s, ')');
	return s.data;
}

static PgtFrom
make_delta(PgtDeltaCtx *cxt, const PgtOp *op)
{
	check_stack_depth();
	switch (op->kind)
	{
		case PGT_OP_SCAN:
			return delta_scan(cxt, op);
		case PGT_OP_SELECT:
			return op->clock ? pgt_delta_clock(cxt, op) : pgt_delta_select(cxt, op);
		case PGT_OP_OUTER:
			return pgt_delta_outer(cxt, op);
		case PGT_OP_AGG:
			return pgt_delta_agg(cxt, op);
		case PGT_OP_UNION:
			return delta_union(cxt, op);
		case PGT_OP_APPLY:
			return pgt_delta_apply(cxt, op);
		case PGT_OP_PART:
			return pgt_delta_part(cxt, op);
		case PGT_OP_RECURSION:
			break; /* always kept: its old rows are needed */
	}
	elog(ERROR, "a recursion whose rows are not kept has no delta");
}

/*
 * Without a change of its children no node changes, but for one that looks at the clock.  So what it is made of is wanted only
 * when one of their deltas, or of the nearest ENRs below, has rows.
 */
static bool
add_needs(PgtDeltaCtx *cxt, const PgtOp *op, List **needs)
{
	Bitmapset *own = bms_intersect(op->sources, cxt->changed);
	ListCell *lc;

	foreach (lc, op->children)
		own = bms_del_members(own, pgt_op_child(op, foreach_current_index(lc) + 1)->sources);
	if (op->clock || op->kind == PGT_OP_RECURSION || !bms_is_empty(own))
		return false;
	foreach (lc, op->children)
	{
		const PgtOp *child = lfirst(lc);
		PgtKnownDelta *known = known_delta(cxt, child);
		PgtFrom from = pgt_inner_bound(child) ? child->inner->delta : known == NULL       ? NULL
																  : known->netted != NULL ? known->netted
																						  : known->from;

		if (!pgt_op_changed(child, cxt->changed))
			continue;
		if (from == NULL)
			return false;
		if (from[0] != '(')
			*needs = lappend(*needs, from);
		else if (!add_needs(cxt, child, needs))
			return false;
	}
	return true;
}

List *
pgt_delta_needs(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtKnownDelta *known = known_delta(cxt, op);
	List *needs = NIL;

	if (pgt_inner_bound(op) && op->inner->delta != NULL)
		return list_make1(op->inner->delta);
	if (known != NULL && known->netted != NULL)
		return list_make1(known->netted);
	if (known != NULL && known->from != NULL && known->from[0] != '(')
		return list_make1(known->from);
	return add_needs(cxt, op, &needs) ? needs : NIL;
}

/* The steps that a node's rule has added, or found, serve its delta alone; those of its children's rules are settled. */
static void
set_needs(PgtDeltaCtx *cxt, const PgtOp *op, int added, int reused)
{
	List *needs = NIL;

	if (!add_needs(cxt, op, &needs))
		needs = NIL;
	for (int i = reused; i < list_length(cxt->reused); i++)
		share_needs(list_nth(cxt->reused, i), needs);
	cxt->reused = list_truncate(cxt->reused, reused);
	for (int i = added; i < list_length(cxt->steps); i++)
	{
		PgtStep *step = list_nth(cxt->steps, i);

		if (step->needs != NIL || step->always)
			continue;
		step->needs = list_copy(needs);
		step->always = needs == NIL;
	}
}

PgtFrom
pgt_delta(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtKnownDelta *known;
	int added = list_length(cxt->steps);
	int reused = list_length(cxt->reused);

	if (!pgt_op_changed(op, cxt->changed))
		return NULL;
	if (pgt_inner_bound(op))
		return op->inner->delta;
	known = known_delta(cxt, op);
	if (known != NULL)
		return known->from;
	known = palloc0(sizeof(PgtKnownDelta));
	known->op = op;
	known->from = make_delta(cxt, op);
	cxt->known = lappend(cxt->known, known);
	set_needs(cxt, op, added, reused);
	return known->from;
}
