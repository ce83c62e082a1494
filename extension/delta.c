/*
 * delta.c - dispatch over operator kinds, and the bag operations that all delta rules share.
 */
#include "postgres.h"

#include "clock.h"
#include "delta.h"
#include "inner.h"

char *
pgt_enr(PgtDeltaCtx *cxt, const char *prefix, const char *sql)
{
	PgtStep *step;
	ListCell *lc;

	foreach (lc, cxt->steps)
	{
		step = lfirst(lc);
		if (strcmp(step->sql, sql) == 0)
			return step->name;
	}
	step = palloc0(sizeof(PgtStep));
	step->kind = PGT_STEP_ENR;
	step->name = psprintf("__pgt_%s%d", prefix, ++cxt->next);
	step->sql = pstrdup(sql);
	cxt->steps = lappend(cxt->steps, step);
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

PgtFrom
pgt_delta_netted(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtFrom d = pgt_delta(cxt, op);

	if (d == NULL || pgt_inner_bound(op) || op->kind == PGT_OP_SCAN || op->kind == PGT_OP_AGG || op->kind == PGT_OP_PART || op->clock)
		return d; /* netted ENRs already */
	return pgt_enr(cxt, "d", pgt_select_of(pgt_net(op->cols, op->ncols, d)));
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
	return pgt_enr(cxt, "d", pgt_select_of(pgt_net(op->cols, op->ncols, s.data)));
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

PgtFrom
pgt_delta(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtKnownDelta *known;
	ListCell *lc;

	if (!pgt_op_changed(op, cxt->changed))
		return NULL;
	if (pgt_inner_bound(op))
		return op->inner->delta;
	foreach (lc, cxt->known)
	{
		known = lfirst(lc);
		if (known->op == op)
			return known->from;
	}
	known = palloc(sizeof(PgtKnownDelta));
	known->op = op;
	known->from = make_delta(cxt, op);
	cxt->known = lappend(cxt->known, known);
	return known->from;
}
