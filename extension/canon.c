/*
 * canon.c - one answer where SQL leaves several: the input order of aggregates that depend on it.
 *
 * array_agg, string_agg, the json aggregates, user-defined aggregates, and every aggregate over floating point numbers get their
 * arguments appended to their ORDER BY, or their text where the type has no order (json), or both where equal values may look
 * different (1.0 and 1.00).  The bag of inputs then determines the result, bit for bit, whichever plan ran; an old
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
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

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

/* What a row without a named type is made of; NIL: not known. */
static List *
record_columns(Query *query, Node *expr)
{
	Var *v = (Var *) expr;
	List *columns = NIL;

	if (IsA(expr, RowExpr))
		return ((RowExpr *) expr)->args;
	if (IsA(v, Var) && v->varattno == 0 && v->varlevelsup == 0)
		pgt_expand_rte(rt_fetch(v->varno, query->rtable), v->varno, &columns);
	return columns;
}

/* Such a row can be compared if its columns can: the server finds out only when it compares. */
static bool
is_sortable_record(Query *query, Node *expr)
{
	List *columns = record_columns(query, expr);
	ListCell *lc;

	foreach (lc, columns)
		if (!pgt_is_sortable(query, lfirst(lc)))
			return false;
	return columns != NIL;
}

bool
pgt_is_sortable(Query *query, Node *expr)
{
	Oid sortop;
	Oid eqop;
	bool hashable;

	if (exprType(expr) == RECORDOID)
		return is_sortable_record(query, expr);
	get_sort_group_operators(exprType(expr), false, false, false, &sortop, &eqop, NULL, &hashable);
	return OidIsValid(sortop);
}

/* Are equal values the same bytes? */
static bool
is_image_safe(Query *query, const PgtCol *col, Node *expr)
{
	List *columns;
	TupleDesc desc;
	bool safe = true;
	ListCell *lc;

	if (col->type == RECORDOID)
	{
		columns = expr == NULL ? NIL : record_columns(query, expr);
		foreach (lc, columns)
		{
			PgtCol c = {exprType(lfirst(lc)), exprTypmod(lfirst(lc)), exprCollation(lfirst(lc)), false};

			safe &= is_image_safe(query, &c, lfirst(lc));
		}
		return safe && columns != NIL;
	}
	if (get_typtype(col->type) != TYPTYPE_COMPOSITE)
		return pgt_col_image_safe(col);
	desc = lookup_rowtype_tupdesc_copy(col->type, -1);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		PgtCol c = {att->atttypid, att->atttypmod, att->attcollation, false};

		safe &= att->attisdropped || is_image_safe(query, &c, NULL);
	}
	return safe;
}

static void
add_clause(Aggref *agg, TargetEntry *tle)
{
	SortGroupClause *clause = makeNode(SortGroupClause);
	Index maxref = 0;
	ListCell *lc;

	foreach (lc, agg->args)
		maxref = Max(maxref, ((TargetEntry *) lfirst(lc))->ressortgroupref);
	if (tle->ressortgroupref == 0)
		tle->ressortgroupref = maxref + 1;
	clause->tleSortGroupRef = tle->ressortgroupref;
	get_sort_group_operators(exprType((Node *) tle->expr), true, true, false, &clause->sortop, &clause->eqop, NULL,
							 &clause->hashable);
	agg->aggorder = lappend(agg->aggorder, clause);
}

/* The argument's text, compared byte by byte, as a last sort key. */
static bool
sort_by_image(Aggref *agg, Expr *arg)
{
	Node *bytes = pgt_image_of((Node *) arg);
	TargetEntry *key;
	ListCell *lc;

	if (bytes == NULL)
		return false;
	foreach (lc, agg->args)
		if (equal(((TargetEntry *) lfirst(lc))->expr, bytes))
			return false;
	key = makeTargetEntry((Expr *) bytes, list_length(agg->args) + 1, NULL, true);
	agg->args = lappend(agg->args, key);
	add_clause(agg, key);
	return true;
}

static bool
has_clause(Aggref *agg, TargetEntry *tle)
{
	ListCell *lc;

	foreach (lc, agg->aggorder)
		if (((SortGroupClause *) lfirst(lc))->tleSortGroupRef == tle->ressortgroupref)
			return true;
	return false;
}

/*
 * Adds one argument as a last sort key, unless it is one already or is constant.  Its text tells apart what has no order, and what is
 * equal in several forms if the aggregate shows them.
 */
static bool
add_sort_key(Query *query, Aggref *agg, TargetEntry *tle)
{
	Node *e = (Node *) tle->expr;
	PgtCol col = {exprType(e), exprTypmod(e), exprCollation(e), false};
	bool added = false;

	if (IsA(e, Const))
		return false;
	if (!pgt_is_sortable(query, e))
		return sort_by_image(agg, tle->expr);
	if (!has_clause(agg, tle))
	{
		add_clause(agg, tle);
		added = true;
	}
	if (pgt_order_matters(agg->aggfnoid, NIL) && !is_image_safe(query, &col, e))
		added |= sort_by_image(agg, tle->expr);
	return added;
}

static void
canon_aggregate(Query *query, Aggref *agg, PgtFindings *findings)
{
	bool added = false;
	List *args = list_copy(agg->args);
	ListCell *lc;

	foreach (lc, args)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			added |= add_sort_key(query, agg, lfirst(lc));
	if (added)
		findings->notices =
			lappend(findings->notices,
					psprintf("the result of aggregate %s depends on the order of its input, which is now sorted by its arguments",
							 get_func_name(agg->aggfnoid)));
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
			(void) sort_by_image(agg, (Expr *) arg);
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

typedef struct CanonContext
{
	Query *query; /* the level being walked */
	PgtFindings *findings;
} CanonContext;

static bool
canon_walker(Node *node, CanonContext *cxt)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		CanonContext level = {(Query *) node, cxt->findings};

		canon_keys((Query *) node);
		pgt_canon_group_keys((Query *) node);
		pgt_canon_limit((Query *) node);
		pgt_nest_tests((Query *) node);
		pgt_canon_windows((Query *) node, cxt->findings);
		pgt_canon_order((Query *) node, cxt->findings);
		return query_tree_walker((Query *) node, canon_walker, &level, 0);
	}
	if (IsA(node, SubLink) && ((SubLink *) node)->subLinkType == ARRAY_SUBLINK)
		pgt_canon_array(castNode(Query, ((SubLink *) node)->subselect), cxt->findings);
	if (IsA(node, Aggref) && order_matters((Aggref *) node))
		canon_aggregate(cxt->query, (Aggref *) node, cxt->findings);
	return expression_tree_walker(node, canon_walker, cxt);
}

void
pgt_canonicalise(Query *query, PgtFindings *findings)
{
	CanonContext cxt = {NULL, findings};

	canon_walker((Node *) query, &cxt);
}
