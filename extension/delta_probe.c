/*
 * delta_probe.c - post state next to a delta: aggregation only of the groups that the delta can meet.
 *
 * The planner carries a join condition into plain tables by itself, but never below a GROUP BY: an aggregated input would be
 * computed whole for one changed row.  Where an equality binds its group keys to columns of a delta, the keys are collected first
 * and pushed down to the rows that are aggregated.  Contract: rows whose columns match a key are exact; others may be missing,
 * or be padded rows, which the equality (still part of the statement) removes.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "delta.h"
#include "inner.h"

bool
pgt_has_agg(const PgtOp *op)
{
	ListCell *lc;

	if (pgt_inner_bound(op))
		return false;
	if (op->kind == PGT_OP_AGG)
		return !op->scalar;
	foreach (lc, op->children)
		if (pgt_has_agg(lfirst(lc)))
			return true;
	return false;
}

static char *post_matching(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys);

static char *
matching_agg(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	PgtOp *child = pgt_op_child(op, 1);
	StringInfoData on;
	ListCell *lc;

	initStringInfo(&on);
	foreach (lc, cols)
	{
		if (lfirst_int(lc) > op->nkeys)
			return pgt_post(op);
		appendStringInfo(&on, "%sp.c%d %s k.c%d", on.len > 0 ? " AND " : "", lfirst_int(lc),
						 pgt_type_operator(op->cols[lfirst_int(lc) - 1].type, true), foreach_current_index(lc) + 1);
	}
	return pgt_aggregate(op, psprintf("(SELECT %s FROM %s k JOIN (%s) p ON %s)", pgt_columns("p", child->ncols, 0), keys, post_matching(cxt, child, cols, keys), on.data), NULL);
}

/* Rows of a FROM item with the node's columns that match a key, made once. */
static char *
rows_matching(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	StringInfoData on;
	ListCell *lc;

	initStringInfo(&on);
	foreach (lc, cols)
		appendStringInfo(&on, "%sp.c%d %s k.c%d", on.len > 0 ? " AND " : "", lfirst_int(lc),
						 pgt_type_operator(op->cols[lfirst_int(lc) - 1].type, true), foreach_current_index(lc) + 1);
	return pgt_enr(cxt, "p", psprintf("SELECT %s FROM %s k JOIN (%s) p ON %s", pgt_columns("p", op->ncols, 0), keys, post_matching(cxt, op, cols, keys), on.data));
}

/* All wanted columns must come from one child.  Aggregated inputs beside it are narrowed to what its rows can meet. */
static char *
matching_select(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	List *below = NIL;
	int ordinal = 0;
	char **instead = palloc0(sizeof(char *) * Max(list_length(op->children), 1));
	char *rows = NULL;
	ListCell *lc;

	foreach (lc, cols)
	{
		Var *v = list_nth(op->targets, lfirst_int(lc) - 1);

		if (!IsA(v, Var) || (ordinal != 0 && (int) v->varno != ordinal))
			return pgt_post(op);
		ordinal = v->varno;
		below = lappend_int(below, v->varattno);
	}
	for (int i = 1; i <= list_length(op->children); i++)
		if (i != ordinal && pgt_has_agg(pgt_op_child(op, i)))
		{
			if (rows == NULL)
				rows = rows_matching(cxt, pgt_op_child(op, ordinal), below, keys);
			instead[i - 1] = pgt_post_near(cxt, op, i, ordinal, rows);
		}
	instead[ordinal - 1] = rows != NULL ? psprintf("SELECT * FROM %s p", rows) : post_matching(cxt, pgt_op_child(op, ordinal), below, keys);
	return pgt_post_select_over(op, instead);
}

static char *
matching_outer(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	int nleft = pgt_op_child(op, 1)->ncols;
	bool left = linitial_int(cols) <= nleft;
	List *below = NIL;
	ListCell *lc;

	foreach (lc, cols)
	{
		if ((lfirst_int(lc) <= nleft) != left)
			return pgt_post(op);
		below = lappend_int(below, lfirst_int(lc) - (left ? 0 : nleft));
	}
	return pgt_post_outer(op, left ? 1 : 2, post_matching(cxt, pgt_op_child(op, left ? 1 : 2), below, keys));
}

static char *
matching_union(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, op->children)
		appendStringInfo(&s, "%s(%s)", foreach_current_index(lc) > 0 ? " UNION ALL " : "", post_matching(cxt, lfirst(lc), cols, keys));
	return s.data;
}

static char *
post_matching(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	if (!pgt_has_agg(op))
		return pgt_post(op);
	switch (op->kind)
	{
		case PGT_OP_AGG:
			return matching_agg(cxt, op, cols, keys);
		case PGT_OP_SELECT:
			return matching_select(cxt, op, cols, keys);
		case PGT_OP_OUTER:
			return matching_outer(cxt, op, cols, keys);
		case PGT_OP_UNION:
			return matching_union(cxt, op, cols, keys);
		default:
			return pgt_post(op);
	}
}

/* varchar is compared as text: the column below that, if it keeps its collation. */
static Node *
plain(Node *node)
{
	while (IsA(node, RelabelType) && exprCollation((Node *) ((RelabelType *) node)->arg) == ((RelabelType *) node)->resultcollid)
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The expression that the conjunct says to equal the column, by the type's own equality, if it does. */
static Node *
equal_to(Node *qual, const Var *column, Oid *collation)
{
	OpExpr *op = (OpExpr *) qual;

	if (!IsA(op, OpExpr) || list_length(op->args) != 2)
		return NULL;
	for (int i = 0; i < 2; i++)
	{
		Var *v = (Var *) plain(list_nth(op->args, i));
		Node *e = plain(list_nth(op->args, 1 - i));

		if (IsA(v, Var) && v->varno == column->varno && v->varattno == column->varattno && exprType(e) == v->vartype &&
			op->opno == lookup_type_cache(v->vartype, TYPECACHE_EQ_OPR)->eq_opr && (!OidIsValid(*collation) || *collation == op->inputcollid))
		{
			*collation = op->inputcollid;
			return e;
		}
	}
	return NULL;
}

/* An expression over input `by` that the column equals in every row of the join: by a conjunct, or by one after the other. */
static Node *
value_by(const PgtOp *join, const Var *column, int by, List *passed, Oid collation)
{
	ListCell *lc;

	if (list_member(passed, column))
		return NULL;
	passed = lappend(list_copy(passed), (void *) column);
	foreach (lc, join->quals)
	{
		Oid same = collation;
		Node *e = equal_to(lfirst(lc), column, &same);
		int only;

		if (e == NULL || !bms_get_singleton_member(pull_varnos(NULL, e), &only))
			continue;
		if (only != by && IsA(e, Var))
			e = value_by(join, (Var *) e, by, passed, same);
		else if (only != by)
			e = NULL;
		if (e != NULL)
			return e;
	}
	return NULL;
}

/* The columns of input `ordinal` that conjuncts mention by themselves. */
static List *
compared_columns(const PgtOp *join, int ordinal)
{
	List *columns = NIL;
	ListCell *lc;
	ListCell *arg;

	foreach (lc, join->quals)
	{
		if (!IsA(lfirst(lc), OpExpr))
			continue;
		foreach (arg, ((OpExpr *) lfirst(lc))->args)
		{
			Var *v = (Var *) plain(lfirst(arg));

			if (IsA(v, Var) && (int) v->varno == ordinal)
				columns = list_append_unique(columns, v);
		}
	}
	return columns;
}

List *
pgt_own_quals(const PgtOp *op, int ordinal)
{
	List *own = NIL;
	ListCell *lc;
	int only;

	foreach (lc, op->quals)
		if (bms_get_singleton_member(pull_varnos(NULL, lfirst(lc)), &only) && only == ordinal)
			own = lappend(own, lfirst(lc));
	return own;
}

char *
pgt_post_near(PgtDeltaCtx *cxt, const PgtOp *join, int ordinal, int by, PgtFrom delta)
{
	const PgtOp *op = pgt_op_child(join, ordinal);
	List *cols = NIL;
	StringInfoData values;
	StringInfoData where;
	ListCell *lc;

	if (delta == NULL || !pgt_has_agg(op))
		return pgt_post(op);
	initStringInfo(&values);
	initStringInfo(&where);
	foreach (lc, compared_columns(join, ordinal))
	{
		Var *column = lfirst(lc);
		Node *value = value_by(join, column, by, NIL, InvalidOid);
		char *text;

		if (value == NULL)
			continue;
		cols = lappend_int(cols, column->varattno);
		text = pgt_expr(value, join->children);
		appendStringInfo(&values, "%s%s AS c%d", values.len > 0 ? ", " : "", text, list_length(cols));
		appendStringInfo(&where, "%sNOT %s", where.len > 0 ? " AND " : "", pgt_is_null(exprType(value), psprintf("(%s)", text)));
	}
	if (cols == NIL)
		return pgt_post(op);
	if (pgt_own_quals(join, by) != NIL)
		appendStringInfo(&where, " AND %s", pgt_quals(pgt_own_quals(join, by), join->children));
	return post_matching(cxt, op, cols, pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s FROM %s a%d WHERE %s", values.data, delta, by, where.data)));
}
