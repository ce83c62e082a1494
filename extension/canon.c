/*
 * canon.c - one answer where SQL leaves several: the input order of aggregates that depend on it.
 *
 * array_agg, string_agg, the json aggregates, user-defined aggregates, and every aggregate over floating point numbers get their
 * arguments appended to their ORDER BY.  The bag of inputs then determines the result, bit for bit, whichever plan ran; an old
 * value can be recomputed, and the oracle compares with this canonical query.  The columns stay as typed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_oper.h"
#include "utils/lsyscache.h"

#include "canon.h"
#include "compat.h"

/* pg_catalog aggregates whose result does not depend on the order of exact inputs. */
bool
pgt_order_matters(Oid aggregate, List *args)
{
	static const char *const ordered[] = {"array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg",
										  "jsonb_object_agg", "json_agg_strict", "jsonb_agg_strict", "json_object_agg_strict", "json_object_agg_unique",
										  "json_object_agg_unique_strict", "jsonb_object_agg_strict", "jsonb_object_agg_unique",
										  "jsonb_object_agg_unique_strict", "xmlagg", "any_value", "range_agg"};
	char *name = get_func_name(aggregate);
	ListCell *lc;

	if (get_func_namespace(aggregate) != PG_CATALOG_NAMESPACE)
		return true;
	for (int i = 0; i < lengthof(ordered); i++)
		if (strcmp(name, ordered[i]) == 0)
			return true;
	if (strcmp(name, "min") == 0 || strcmp(name, "max") == 0 || strcmp(name, "count") == 0)
		return false;
	foreach (lc, args)
		if (exprType(lfirst(lc)) == FLOAT4OID || exprType(lfirst(lc)) == FLOAT8OID)
			return true;
	return false;
}

static bool
order_matters(Aggref *agg)
{
	List *args = NIL;
	ListCell *lc;

	if (agg->aggkind != AGGKIND_NORMAL || agg->aggdistinct != NIL || agg->args == NIL)
		return false;
	foreach (lc, agg->args)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			args = lappend(args, ((TargetEntry *) lfirst(lc))->expr);
	return pgt_order_matters(agg->aggfnoid, args);
}

bool
pgt_is_sortable(Node *expr)
{
	Oid sortop;
	Oid eqop;
	bool hashable;

	get_sort_group_operators(exprType(expr), false, false, false, &sortop, &eqop, NULL, &hashable);
	return OidIsValid(sortop);
}

/* Adds one argument as a last sort key, unless it is one already, is constant, or its type has no order. */
static bool
add_sort_key(Aggref *agg, TargetEntry *tle)
{
	ListCell *lc;
	Index maxref = 0;
	SortGroupClause *clause;

	if (IsA(tle->expr, Const) || !pgt_is_sortable((Node *) tle->expr))
		return false;
	foreach (lc, agg->aggorder)
		if (((SortGroupClause *) lfirst(lc))->tleSortGroupRef == tle->ressortgroupref)
			return false;
	foreach (lc, agg->args)
		maxref = Max(maxref, ((TargetEntry *) lfirst(lc))->ressortgroupref);
	if (tle->ressortgroupref == 0)
		tle->ressortgroupref = maxref + 1;
	clause = makeNode(SortGroupClause);
	clause->tleSortGroupRef = tle->ressortgroupref;
	get_sort_group_operators(exprType((Node *) tle->expr), true, true, false, &clause->sortop, &clause->eqop, NULL,
							 &clause->hashable);
	agg->aggorder = lappend(agg->aggorder, clause);
	return true;
}

static void
canon_aggregate(Aggref *agg, PgtFindings *findings)
{
	bool added = false;
	char *name = get_func_name(agg->aggfnoid);
	ListCell *lc;

	foreach (lc, agg->args)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk)
			continue;
		added |= add_sort_key(agg, tle);
		if (!IsA(tle->expr, Const) && !pgt_is_sortable((Node *) tle->expr) && findings->full_reason == NULL)
		{
			findings->full_reason = psprintf("aggregate %s over a type without an order", name);
			findings->full_hint = "Cast the argument to a type that can be sorted, such as jsonb or text.";
		}
	}
	if (added)
		findings->notices =
			lappend(findings->notices,
					psprintf("the result of aggregate %s depends on the order of its input, which is now sorted by its arguments", name));
}

/* One row's text decides which of equal values the aggregate shows. */
static void
sort_by_image(Aggref *agg)
{
	TargetEntry *arg = linitial(agg->args);
	CoerceViaIO *text = makeNode(CoerceViaIO);
	CollateExpr *bytes = makeNode(CollateExpr);
	SortGroupClause *clause = makeNode(SortGroupClause);
	TargetEntry *key;

	text->arg = copyObject(arg->expr);
	text->resulttype = TEXTOID;
	text->resultcollid = DEFAULT_COLLATION_OID;
	text->coerceformat = COERCE_EXPLICIT_CAST;
	text->location = -1;
	bytes->arg = (Expr *) text;
	bytes->collOid = C_COLLATION_OID;
	bytes->location = -1;
	key = makeTargetEntry((Expr *) bytes, 2, NULL, true);
	key->ressortgroupref = 1;
	clause->tleSortGroupRef = 1;
	get_sort_group_operators(TEXTOID, true, true, false, &clause->sortop, &clause->eqop, NULL, &clause->hashable);
	agg->args = lappend(agg->args, key);
	agg->aggorder = list_make1(clause);
}

/* min() and max() of values that are equal in several forms. */
static bool
image_walker(Node *node, void *context)
{
	Aggref *agg = (Aggref *) node;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, image_walker, context, 0);
	if (IsA(node, Aggref) && agg->aggkind == AGGKIND_NORMAL && agg->aggorder == NIL && agg->aggdistinct == NIL && list_length(agg->args) == 1 &&
		get_func_namespace(agg->aggfnoid) == PG_CATALOG_NAMESPACE && !pgt_order_matters(agg->aggfnoid, NIL))
	{
		Node *arg = (Node *) ((TargetEntry *) linitial(agg->args))->expr;
		PgtCol col = {exprType(arg), exprTypmod(arg), exprCollation(arg), false};
		char *name = get_func_name(agg->aggfnoid);

		if ((strcmp(name, "min") == 0 || strcmp(name, "max") == 0) && pgt_type_has_order(col.type) && !pgt_col_image_safe(&col))
			sort_by_image(agg);
	}
	return expression_tree_walker(node, image_walker, context);
}

void
pgt_canon_images(Query *subquery)
{
	image_walker((Node *) subquery, NULL);
}

/* The minus of a constant, computed. */
static Expr *
fold_minus(Expr *expr)
{
	OpExpr *op = (OpExpr *) expr;

	if (!IsA(op, OpExpr) || list_length(op->args) != 1 || !IsA(linitial(op->args), Const))
		return expr;
	return (Expr *) eval_const_expressions(NULL, (Node *) expr);
}

/*
 * A key -(7.5) is deparsed as (- 7.5), which the parser reads as the constant -7.5: a column number, or an error.  As a Const it is
 * deparsed with its type.
 */
static void
canon_keys(Query *query)
{
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->ressortgroupref != 0)
			tle->expr = fold_minus(tle->expr);
	}
	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		ListCell *gc;

		(void) rte;
		foreach (gc, pgt_entry_group_exprs(rte))
			lfirst(gc) = fold_minus(lfirst(gc));
	}
}

static bool
canon_walker(Node *node, PgtFindings *findings)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		canon_keys((Query *) node);
		pgt_canon_windows((Query *) node, findings);
		pgt_canon_order((Query *) node, findings);
		return query_tree_walker((Query *) node, canon_walker, findings, 0);
	}
	if (IsA(node, Aggref) && order_matters((Aggref *) node))
		canon_aggregate((Aggref *) node, findings);
	return expression_tree_walker(node, canon_walker, findings);
}

void
pgt_canonicalise(Query *query, PgtFindings *findings)
{
	canon_walker((Node *) query, findings);
}
