/*
 * build_grouping.c - GROUPING SETS, ROLLUP and CUBE: one query per set, joined by UNION ALL.
 *
 * Each set becomes the query with an ordinary GROUP BY, in which the keys of other sets are NULL and grouping() is a constant.
 * Two sets may yield equal rows (a NULL in the data, a set named twice): a bag keeps both.  The empty set is an aggregation
 * without GROUP BY, which has its row even when there is no input.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_agg.h"
#include "rewrite/rewriteManip.h"

#include "build.h"
#include "compat.h"

typedef struct SetContext
{
	List *refs;  /* of int: the set */
	List *keys;  /* its expressions */
	List *nulls; /* those of other sets */
	int depth;   /* inside how many subqueries */
} SetContext;

static Const *
grouping_value(GroupingFunc *g, List *refs)
{
	int32 value = 0;
	ListCell *lc;

	foreach (lc, g->refs)
		value = (value << 1) | (list_member_int(refs, lfirst_int(lc)) ? 0 : 1);
	return makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(value), false, true);
}

/*
 * Is it one of these expressions, seen from inside the subqueries?  There the server knows grouped columns only: of ROLLUP (f(a), a) a subquery
 * that says f(a) computes f of the set's a, which may be NULL.
 */
static bool
is_one_of(List *exprs, Node *node, int depth)
{
	ListCell *lc;

	if (depth == 0)
		return list_member(exprs, node);
	if (!IsA(node, Var) || (int) ((Var *) node)->varlevelsup != depth)
		return false;
	foreach (lc, exprs)
		if (IsA(lfirst(lc), Var) && lfirst_node(Var, lc)->varno == ((Var *) node)->varno && lfirst_node(Var, lc)->varattno == ((Var *) node)->varattno)
			return true;
	return false;
}

static Node *
set_mutator(Node *node, SetContext *cxt)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query *q;

		cxt->depth++;
		q = query_tree_mutator((Query *) node, set_mutator, cxt, 0);
		cxt->depth--;
		return (Node *) q;
	}
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup == cxt->depth)
		return copyObject(node);
	if (IsA(node, GroupingFunc) && (int) ((GroupingFunc *) node)->agglevelsup == cxt->depth)
		return (Node *) grouping_value((GroupingFunc *) node, cxt->refs);
	if (!IsA(node, List) && is_one_of(cxt->keys, node, cxt->depth))
		return copyObject(node);
	if (!IsA(node, List) && is_one_of(cxt->nulls, node, cxt->depth))
		return (Node *) makeNullConst(exprType(node), exprTypmod(node), exprCollation(node));
	return expression_tree_mutator(node, set_mutator, cxt);
}

static SetContext
make_context(Query *query, List *refs)
{
	SetContext cxt = {refs, NIL, NIL, 0};
	ListCell *lc;

	foreach (lc, query->groupClause)
	{
		SortGroupClause *clause = lfirst(lc);
		Node *key = pgt_flatten_group_exprs(query, (Node *) get_sortgroupclause_tle(clause, query->targetList)->expr);

		if (list_member_int(refs, clause->tleSortGroupRef))
			cxt.keys = lappend(cxt.keys, key);
		else
			cxt.nulls = lappend(cxt.nulls, key);
	}
	return cxt;
}

static PgtOp *
build_set(PgtLevel *level, List *exprs, List *refs)
{
	Query *q = copyObject(level->query);
	PgtLevel own = {q, level->up};
	SetContext cxt = make_context(q, refs);
	List *clauses = NIL;
	ListCell *lc;

	foreach (lc, q->groupClause)
		if (list_member_int(refs, ((SortGroupClause *) lfirst(lc))->tleSortGroupRef))
			clauses = lappend(clauses, lfirst(lc));
	q->groupClause = clauses;
	q->groupingSets = NIL;
	q->hasAggs = true;
	q->havingQual = set_mutator(pgt_flatten_group_exprs(q, q->havingQual), &cxt);
	return pgt_build_level(&own, (List *) set_mutator((Node *) exprs, &cxt));
}

PgtOp *
pgt_build_grouping_sets(PgtLevel *level, List *exprs)
{
	PgtOp *op = pgt_build_op(PGT_OP_UNION);
	List *sets = expand_grouping_sets(level->query->groupingSets, level->query->groupDistinct, -1);
	ListCell *lc;

	foreach (lc, sets)
		op->children = lappend(op->children, build_set(level, exprs, lfirst(lc)));
	pgt_op_describe(op);
	return op;
}
