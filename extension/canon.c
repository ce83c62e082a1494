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
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_oper.h"
#include "utils/lsyscache.h"

#include "analyze.h"

/* pg_catalog aggregates whose result does not depend on the order of exact inputs. */
static bool
order_matters(Aggref *agg)
{
	static const char *const ordered[] = {"array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg",
		"jsonb_object_agg", "json_agg_strict", "jsonb_agg_strict", "json_object_agg_strict", "json_object_agg_unique",
		"json_object_agg_unique_strict", "jsonb_object_agg_strict", "jsonb_object_agg_unique",
		"jsonb_object_agg_unique_strict", "xmlagg", "any_value", "range_agg"};
	char	   *name = get_func_name(agg->aggfnoid);
	ListCell   *lc;

	if (agg->aggkind != AGGKIND_NORMAL || agg->aggdistinct != NIL || agg->args == NIL)
		return false;
	if (get_func_namespace(agg->aggfnoid) != PG_CATALOG_NAMESPACE)
		return true;
	for (int i = 0; i < lengthof(ordered); i++)
		if (strcmp(name, ordered[i]) == 0)
			return true;
	if (strcmp(name, "min") == 0 || strcmp(name, "max") == 0 || strcmp(name, "count") == 0)
		return false;
	foreach(lc, agg->aggargtypes)
		if (lfirst_oid(lc) == FLOAT4OID || lfirst_oid(lc) == FLOAT8OID)
			return true;
	return false;
}

/* Adds one argument as a last sort key, unless it is one already, is constant, or its type has no order. */
static bool
add_sort_key(Aggref *agg, TargetEntry *tle)
{
	Oid			sortop;
	Oid			eqop;
	bool		hashable;
	ListCell   *lc;
	Index		maxref = 0;
	SortGroupClause *clause;

	if (IsA(tle->expr, Const))
		return false;
	foreach(lc, agg->aggorder)
		if (((SortGroupClause *) lfirst(lc))->tleSortGroupRef == tle->ressortgroupref)
			return false;
	get_sort_group_operators(exprType((Node *) tle->expr), false, false, false, &sortop, &eqop, NULL, &hashable);
	if (!OidIsValid(sortop))
		return false;
	foreach(lc, agg->args)
		maxref = Max(maxref, ((TargetEntry *) lfirst(lc))->ressortgroupref);
	if (tle->ressortgroupref == 0)
		tle->ressortgroupref = maxref + 1;
	clause = makeNode(SortGroupClause);
	clause->tleSortGroupRef = tle->ressortgroupref;
	clause->eqop = eqop;
	clause->sortop = sortop;
	clause->hashable = hashable;
	agg->aggorder = lappend(agg->aggorder, clause);
	return true;
}

static bool
canon_walker(Node *node, PgtFindings *findings)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, canon_walker, findings, 0);
	if (IsA(node, Aggref) && order_matters((Aggref *) node))
	{
		Aggref	   *agg = (Aggref *) node;
		bool		added = false;
		ListCell   *lc;

		foreach(lc, agg->args)
			if (!((TargetEntry *) lfirst(lc))->resjunk)
				added |= add_sort_key(agg, lfirst(lc));
		if (added)
			findings->notices = lappend(findings->notices,
										psprintf("the result of aggregate %s depends on the order of its input, which is now sorted by its arguments",
												 get_func_name(agg->aggfnoid)));
	}
	return expression_tree_walker(node, canon_walker, findings);
}

void
pgt_canonicalise(Query *query, PgtFindings *findings)
{
	canon_walker((Node *) query, findings);
}
