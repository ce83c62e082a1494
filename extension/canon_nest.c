/*
 * canon_nest.c - window functions that depend on the order of peers.
 *
 * A running total of floating point numbers, array_agg(), last_value() and the like, in a frame of RANGE or GROUPS: no further sort key can
 * tell the peers apart, since then they were peers no more.  But the server's window node takes rows in the order in which they come,
 * and does not sort what is sorted already.  So the level is split in two: everything else becomes a subquery, sorted by the
 * window's keys and then by all its columns; above it stand only such windows that all have the same keys.
 *
 *	SELECT k, sum(x) OVER (PARTITION BY k ORDER BY d) FROM t
 *	SELECT q.c1, sum(q.c2) OVER (PARTITION BY q.c1 ORDER BY q.c3) FROM (SELECT k, x, d FROM t ORDER BY k, d, x) q
 *
 * What is left equal ties in everything the query knows of it, and its frames are computed from equal arguments.
 *
 * The same division serves windows that are compared with subqueries (pgt_nest_tests): there all windows go below.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "build.h"
#include "canon.h"
#include "compat.h"

typedef struct NestContext
{
	Query *query;
	WindowClause *wc; /* functions over its keys that depend on the order of peers stay above; NULL: comparisons with subqueries do */
	List *columns;    /* of the subquery */
	bool failed;
	int depth; /* inside how many subqueries that stay above */
} NestContext;

static bool
same_window(const WindowClause *a, const WindowClause *b)
{
	return equal(a->partitionClause, b->partitionClause) && equal(a->orderClause, b->orderClause);
}

static bool
is_test(Node *node)
{
	return IsA(node, SubLink) && contain_window_function(((SubLink *) node)->testexpr);
}

static bool
stays(Node *node, NestContext *cxt)
{
	WindowFunc *f = (WindowFunc *) node;
	WindowClause *wc;

	if (cxt->wc == NULL)
		return is_test(node);
	if (!IsA(node, WindowFunc))
		return false;
	wc = list_nth(cxt->query->windowClause, f->winref - 1);
	return pgt_window_orders_peers(f, wc) && same_window(wc, cxt->wc);
}

static bool
has_staying(Node *node, NestContext *cxt)
{
	if (node == NULL)
		return false;
	return stays(node, cxt) || expression_tree_walker(node, has_staying, cxt);
}

static Node *
column(NestContext *cxt, Node *node)
{
	ListCell *lc;
	int n = 0;

	foreach (lc, cxt->columns)
		if (equal(lfirst(lc), node))
			n = foreach_current_index(lc) + 1;
	if (n == 0)
	{
		cxt->columns = lappend(cxt->columns, copyObject(node));
		n = list_length(cxt->columns);
	}
	return (Node *) makeVar(1, n, exprType(node), exprTypmod(node), exprCollation(node), 0);
}

/* What a subquery that stays above refers to of this level: keys, aggregates, columns. */
static bool
belongs_here(Node *node, NestContext *cxt)
{
	ListCell *lc;
	Node *key;

	if ((IsA(node, Var) && (int) ((Var *) node)->varlevelsup == cxt->depth) ||
		(IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup == cxt->depth) ||
		(IsA(node, GroupingFunc) && (int) ((GroupingFunc *) node)->agglevelsup == cxt->depth))
		return true;
	foreach (lc, cxt->query->groupClause)
	{
		key = copyObject(get_sortgroupclause_expr(lfirst(lc), cxt->query->targetList));
		IncrementVarSublevelsUp(key, cxt->depth, 0);
		if (contain_vars_of_level(key, cxt->depth) && equal(key, node))
			return true;
	}
	return false;
}

static Node *
inside_mutator(Node *node, NestContext *cxt)
{
	Node *out;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		cxt->depth++;
		out = (Node *) query_tree_mutator((Query *) node, inside_mutator, cxt, 0);
		cxt->depth--;
		return out;
	}
	if (cxt->depth == 0 || IsA(node, List) || !belongs_here(node, cxt))
		return expression_tree_mutator(node, inside_mutator, cxt);
	out = copyObject(node);
	IncrementVarSublevelsUp(out, -cxt->depth, cxt->depth);
	out = column(cxt, out);
	((Var *) out)->varlevelsup = cxt->depth;
	return out;
}

static Node *nest_mutator(Node *node, NestContext *cxt);

static Node *
nest_test(SubLink *test, NestContext *cxt)
{
	SubLink *out = makeNode(SubLink);

	*out = *test;
	out->testexpr = nest_mutator(test->testexpr, cxt);
	out->subselect = inside_mutator(test->subselect, cxt);
	return (Node *) out;
}

static Node *
nest_mutator(Node *node, NestContext *cxt)
{
	if (node == NULL || IsA(node, Const) || pgt_is_placeholder(node))
		return node;
	if (IsA(node, CaseWhen))
		return expression_tree_mutator(node, nest_mutator, cxt);
	if (cxt->wc == NULL && is_test(node))
		return nest_test((SubLink *) node, cxt);
	if (IsA(node, SubLink) && has_staying(((SubLink *) node)->testexpr, cxt))
	{
		cxt->failed = true;
		return node;
	}
	if (IsA(node, List) || has_staying(node, cxt) || pgt_has_open_placeholder(node))
		return expression_tree_mutator(node, nest_mutator, cxt);
	return column(cxt, node);
}

static bool
refers(List *clauses, Index ref)
{
	ListCell *lc;

	foreach (lc, clauses)
		if (((SortGroupClause *) lfirst(lc))->tleSortGroupRef == ref)
			return true;
	return false;
}

static bool
is_window_key(WindowClause *wc, Index ref)
{
	return wc != NULL && (refers(wc->partitionClause, ref) || refers(wc->orderClause, ref));
}

/* The select list above: entries that only the subquery's clauses refer to are left out. */
static List *
outer_targets(NestContext *cxt)
{
	Query *q = cxt->query;
	List *out = NIL;
	ListCell *lc;

	foreach (lc, q->targetList)
	{
		TargetEntry *tle = flatCopyTargetEntry(lfirst(lc));

		if (tle->resjunk && !is_window_key(cxt->wc, tle->ressortgroupref) && !refers(q->distinctClause, tle->ressortgroupref) && !refers(q->sortClause, tle->ressortgroupref))
			continue;
		tle->expr = (Expr *) nest_mutator((Node *) tle->expr, cxt);
		tle->resno = list_length(out) + 1;
		out = lappend(out, tle);
	}
	return out;
}

/* The columns, and behind them what only GROUP BY and windows of the subquery refer to. */
static List *
inner_targets(NestContext *cxt)
{
	List *out = NIL;
	ListCell *lc;
	ListCell *t;

	foreach (lc, cxt->columns)
		out = lappend(out, makeTargetEntry(lfirst(lc), list_length(out) + 1, psprintf("c%d", list_length(out) + 1), false));
	foreach (lc, cxt->query->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		TargetEntry *found = NULL;

		if (tle->ressortgroupref == 0 || has_staying((Node *) tle->expr, cxt))
			continue;
		foreach (t, out)
			if (((TargetEntry *) lfirst(t))->ressortgroupref == 0 && equal(((TargetEntry *) lfirst(t))->expr, tle->expr))
				found = lfirst(t);
		if (found == NULL)
		{
			found = flatCopyTargetEntry(tle);
			found->resno = list_length(out) + 1;
			found->resjunk = true;
			out = lappend(out, found);
		}
		found->ressortgroupref = tle->ressortgroupref;
	}
	return out;
}

/* Clauses are named no more: the names' text would be that of the other level. */
static List *
unnamed(List *windows)
{
	List *out = copyObject(windows);
	ListCell *lc;

	foreach (lc, out)
	{
		WindowClause *wc = lfirst(lc);

		wc->name = NULL;
		wc->refname = NULL;
		wc->copiedOrder = false;
	}
	return out;
}

/* What rows are sorted by for the window: constants sort nothing. */
static List *
window_keys(Query *query, WindowClause *wc)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, list_concat_copy(wc->partitionClause, wc->orderClause))
		if (!refers(out, ((SortGroupClause *) lfirst(lc))->tleSortGroupRef) && !IsA(get_sortgroupclause_expr(lfirst(lc), query->targetList), Const))
			out = lappend(out, copyObject(lfirst(lc)));
	return out;
}

/* Everything up to the windows; then DISTINCT, ORDER BY and LIMIT, which are done above. */
static Query *
query_below(NestContext *cxt)
{
	Query *inner = copyObject(cxt->query);

	inner->targetList = inner_targets(cxt);
	inner->distinctClause = NIL;
	inner->hasDistinctOn = false;
	inner->limitCount = inner->limitOffset = NULL;
	inner->limitOption = LIMIT_OPTION_COUNT;
	inner->windowClause = unnamed(inner->windowClause);
	inner->hasWindowFuncs = contain_window_function((Node *) inner->targetList);
	if (!inner->hasWindowFuncs)
		inner->windowClause = NIL;
	inner->sortClause = NIL;
	return inner;
}

/* The subquery is brought into its own canonical form first: its sort keys have to be those of the form that it has in the end. */
static Query *
inner_query(NestContext *cxt, PgtFindings *findings)
{
	Query *inner = query_below(cxt);

	pgt_canon_windows(inner, findings);
	inner->sortClause = window_keys(cxt->query, cxt->wc);
	(void) pgt_sort_by_rows(inner);
	IncrementVarSublevelsUp((Node *) inner, 1, 1);
	return inner;
}

static RangeTblEntry *
entry_over(Query *inner)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	ListCell *lc;

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = inner;
	rte->alias = makeAlias("q", NIL);
	rte->eref = makeAlias("q", NIL);
	foreach (lc, inner->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup(((TargetEntry *) lfirst(lc))->resname)));
	rte->inFromCl = true;
	return rte;
}

bool
pgt_nest_window(Query *query, WindowClause *wc, PgtFindings *findings)
{
	PgtFindings inner = {findings->full_reason, findings->full_hint};
	NestContext cxt = {query, wc, NIL, false};
	RangeTblRef *ref = makeNode(RangeTblRef);
	Query *outer;
	List *targets;
	ListCell *lc;

	if (query->setOperations != NULL || query->hasTargetSRFs || contain_var_clause(wc->startOffset) ||
		checkExprHasSubLink(query->limitCount) || checkExprHasSubLink(query->limitOffset))
		return false;
	targets = outer_targets(&cxt);
	if (cxt.failed)
		return false;
	outer = makeNode(Query);
	*outer = *query;
	outer->targetList = targets;
	outer->windowClause = unnamed(query->windowClause);
	/* the others' keys stay below, with their functions */
	foreach (lc, outer->windowClause)
		if (!same_window(lfirst(lc), wc))
			((WindowClause *) lfirst(lc))->partitionClause = ((WindowClause *) lfirst(lc))->orderClause = NIL;
	outer->rtable = list_make1(entry_over(inner_query(&cxt, &inner)));
	ref->rtindex = 1;
	outer->jointree = makeFromExpr(list_make1(ref), NULL);
	outer->groupClause = outer->groupingSets = outer->cteList = NIL;
	outer->havingQual = NULL;
	outer->groupDistinct = outer->hasAggs = outer->hasSubLinks = outer->hasRecursive = false;
	pgt_forget_entries(outer);
	*query = *outer;
	findings->full_reason = inner.full_reason;
	findings->full_hint = inner.full_hint;
	return true;
}

/*
 *	SELECT rank() OVER (ORDER BY d) IN (SELECT n FROM s WHERE s.k = t.k) FROM t
 *	SELECT q.c1 IN (SELECT n FROM s WHERE s.k = q.c2) FROM (SELECT rank() OVER (ORDER BY d), k FROM t) q
 */
void
pgt_nest_tests(Query *query)
{
	NestContext cxt = {query, NULL, NIL, false, 0};
	Query *outer;
	Query *inner;
	List *targets;

	if (!query->hasWindowFuncs || !query->hasSubLinks || query->hasTargetSRFs || !has_staying((Node *) query->targetList, &cxt))
		return;
	targets = outer_targets(&cxt);
	inner = query_below(&cxt);
	inner->cteList = NIL;
	inner->hasRecursive = false;
	pgt_sink_level(inner);
	outer = pgt_level_above(query, inner);
	outer->targetList = targets;
	outer->distinctClause = query->distinctClause;
	outer->hasDistinctOn = query->hasDistinctOn;
	outer->sortClause = query->sortClause;
	outer->limitCount = query->limitCount;
	outer->limitOffset = query->limitOffset;
	outer->limitOption = query->limitOption;
	outer->hasSubLinks = true;
	*query = *outer;
}

Query *
pgt_sorted_input(Query *query, WindowClause *wc)
{
	RangeTblRef *ref = list_length(query->jointree->fromlist) == 1 ? linitial(query->jointree->fromlist) : NULL;
	RangeTblEntry *rte = ref == NULL || !IsA(ref, RangeTblRef) ? NULL : rt_fetch(ref->rtindex, query->rtable);
	List *keys = window_keys(query, wc);
	ListCell *lc;

	if (rte == NULL || rte->rtekind != RTE_SUBQUERY || query->jointree->quals != NULL || query->groupClause != NIL || query->hasAggs ||
		rte->subquery->setOperations != NULL || rte->subquery->limitCount != NULL || rte->subquery->limitOffset != NULL ||
		list_length(rte->subquery->sortClause) < list_length(keys) || pgt_sort_by_rows(copyObject(rte->subquery)))
		return NULL;
	foreach (lc, keys)
	{
		SortGroupClause *key = lfirst(lc);
		SortGroupClause *sort = list_nth(rte->subquery->sortClause, foreach_current_index(lc));
		Var *v = (Var *) get_sortgroupclause_expr(key, query->targetList);

		if (!IsA(v, Var) || v->varattno != get_sortgroupclause_tle(sort, rte->subquery->targetList)->resno || key->sortop != sort->sortop ||
			key->nulls_first != sort->nulls_first)
			return NULL;
	}
	return rte->subquery;
}
