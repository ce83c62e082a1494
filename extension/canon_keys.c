/*
 * canon_keys.c - keys of groups and windows that cannot be built as they are: they become columns of an item of FROM.
 *
 *	SELECT 1 AS a, count(*) FROM t GROUP BY ROLLUP (1, (SELECT max(x) FROM s WHERE s.k = t.k))
 *	SELECT k.c1 AS a, count(*) FROM t, LATERAL (SELECT 1, (SELECT max(x) FROM s WHERE s.k = t.k)) k(c1, c2) GROUP BY ROLLUP (k.c1, k.c2)
 *
 * Constants and subqueries as keys of GROUPING SETS: they are NULL in other sets, and the server takes those that refer to nothing for
 * constants that need no sorting, before version 18.  Sets as keys of GROUPING SETS, and of windows or of groups below
 * one: they are computed before the groups, all of them side by side, as in one select list.  Subqueries as keys in a level that refers to
 * the outside: it runs as it is, where each occurrence of the subquery would read rows of its own.
 *
 * A constant key is itself everywhere but where it is an entry of the select list, as in the server up to version 17.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "build.h"
#include "canon.h"
#include "compat.h"

typedef struct KeyContext
{
	Query *query;
	int rtindex; /* of the new item */
	List *keys;  /* as the query has them, in the order of its columns */
	List *refs;  /* of int: their ressortgroupref */
} KeyContext;

static bool
is_constant(Node *key)
{
	return !contain_var_clause(key) && !checkExprHasSubLink(key) && !expression_returns_set(key);
}

static bool
moves(Query *query, Node *key, bool by_row)
{
	bool sub = checkExprHasSubLink(key);

	if (query->groupingSets != NIL)
		return sub || is_constant(key) || expression_returns_set(key);
	return (sub && by_row) || (query->windowClause != NIL && expression_returns_set(key));
}

static void
collect(KeyContext *cxt, List *clauses, bool sets_only)
{
	bool by_row = pgt_is_correlated((Node *) cxt->query);
	ListCell *lc;

	foreach (lc, clauses)
	{
		TargetEntry *tle = get_sortgroupclause_tle(lfirst(lc), cxt->query->targetList);
		Node *key = pgt_flatten_group_exprs(cxt->query, (Node *) tle->expr);

		if (list_member(cxt->keys, key) || !(sets_only ? expression_returns_set(key) : moves(cxt->query, key, by_row)))
			continue;
		cxt->keys = lappend(cxt->keys, copyObject(key));
		cxt->refs = lappend_int(cxt->refs, tle->ressortgroupref);
	}
}

/* Those of windows are keys of the groups below, where there are groups. */
static void
collect_window_keys(KeyContext *cxt)
{
	Query *query = cxt->query;
	ListCell *lc;

	if (!query->hasTargetSRFs || query->groupClause != NIL || query->hasAggs || query->havingQual != NULL)
		return;
	foreach (lc, query->windowClause)
	{
		collect(cxt, ((WindowClause *) lfirst(lc))->partitionClause, true);
		collect(cxt, ((WindowClause *) lfirst(lc))->orderClause, true);
	}
}

static Node *
column(KeyContext *cxt, int n)
{
	Node *key = list_nth(cxt->keys, n);

	return (Node *) makeVar(cxt->rtindex, n + 1, exprType(key), exprTypmod(key), exprCollation(key), 0);
}

/* The arguments of grouping() name keys. */
static Node *
replace_arguments(GroupingFunc *g, KeyContext *cxt)
{
	GroupingFunc *out = copyObject(g);
	ListCell *lc;
	ListCell *ref;

	forboth(lc, out->args, ref, out->refs)
	{
		ListCell *kc;

		foreach (kc, cxt->refs)
			if (lfirst_int(kc) == lfirst_int(ref))
				lfirst(lc) = column(cxt, foreach_current_index(kc));
	}
	return (Node *) out;
}

static Node *
replace_mutator(Node *node, KeyContext *cxt)
{
	ListCell *lc;

	if (node == NULL || IsA(node, Query))
		return node;
	if (IsA(node, Aggref) && ((Aggref *) node)->agglevelsup == 0)
		return node;
	if (IsA(node, GroupingFunc) && ((GroupingFunc *) node)->agglevelsup == 0)
		return replace_arguments((GroupingFunc *) node, cxt);
	foreach (lc, cxt->keys)
		if (!IsA(node, List) && !is_constant(lfirst(lc)) && equal(lfirst(lc), node))
			return column(cxt, foreach_current_index(lc));
	return expression_tree_mutator(node, replace_mutator, cxt);
}

/* SELECT the keys, without FROM. */
static RangeTblEntry *
make_item(KeyContext *cxt)
{
	Query *q = makeNode(Query);
	RangeTblEntry *rte;
	ListCell *lc;

	q->commandType = CMD_SELECT;
	q->canSetTag = true;
	q->jointree = makeFromExpr(NIL, NULL);
	foreach (lc, cxt->keys)
	{
		Node *key = copyObject(pgt_flatten_join_aliases(cxt->query, lfirst(lc)));
		int n = foreach_current_index(lc) + 1;

		IncrementVarSublevelsUp(key, 1, 0);
		q->targetList = lappend(q->targetList, makeTargetEntry((Expr *) key, n, psprintf("c%d", n), false));
	}
	q->hasSubLinks = checkExprHasSubLink((Node *) q->targetList);
	q->hasTargetSRFs = expression_returns_set((Node *) q->targetList);
	rte = pgt_subquery_entry(q, "k");
	rte->lateral = true;
	return rte;
}

static void
replace_entry(KeyContext *cxt, TargetEntry *tle)
{
	ListCell *lc;

	foreach (lc, cxt->refs)
		if (tle->ressortgroupref == (Index) lfirst_int(lc) && equal(tle->expr, list_nth(cxt->keys, foreach_current_index(lc))))
		{
			tle->expr = (Expr *) column(cxt, foreach_current_index(lc));
			return;
		}
	tle->expr = (Expr *) replace_mutator((Node *) tle->expr, cxt);
}

/* From version 18 on grouped expressions stand in a range table entry, and the select list refers to them there. */
static void
replace_grouped(KeyContext *cxt)
{
	ListCell *lc;
	ListCell *gc;
	ListCell *kc;

	foreach (lc, cxt->query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		(void) rte;
		foreach (gc, pgt_entry_group_exprs(rte))
			foreach (kc, cxt->keys)
				if (equal(lfirst(gc), lfirst(kc)))
				{
					lfirst(gc) = column(cxt, foreach_current_index(kc));
					break;
				}
	}
}

void
pgt_canon_group_keys(Query *query)
{
	KeyContext cxt = {query, list_length(query->rtable) + 1, NIL, NIL};
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell *lc;

	collect(&cxt, query->groupClause, false);
	collect_window_keys(&cxt);
	if (cxt.keys == NIL)
		return;
	foreach (lc, query->targetList)
		replace_entry(&cxt, lfirst(lc));
	query->havingQual = replace_mutator(query->havingQual, &cxt);
	replace_grouped(&cxt);
	query->rtable = lappend(query->rtable, make_item(&cxt));
	ref->rtindex = cxt.rtindex;
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
	query->hasTargetSRFs = expression_returns_set((Node *) query->targetList);
}
