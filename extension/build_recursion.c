/*
 * build_recursion.c - which recursive queries are maintained: those that yield the recursion's rows as they are.
 *
 * The rules (recursion.c) need the recursion's old rows, and the ST has them if it is nothing but the recursion: SELECT its
 * columns in order FROM it, no more.  Anything on top belongs into another ST over this one.  Both terms must be
 * plain: the base anything that is incremental by itself, the step an inner join of tables with the recursion.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"

#include "analyze.h"
#include "build.h"
#include "catalog/pg_collation.h"
#include "recursion.h"

#define ALONE_HINT "Make a stream table of the recursion alone (SELECT * FROM it), and another one over that."
#define STEP_HINT "Write the recursive term as an inner join of tables with the recursion; what it cannot say belongs into a view of its tables."

bool
pgt_is_recursive(Query *query)
{
	ListCell *lc;

	foreach (lc, query->cteList)
		if (((CommonTableExpr *) lfirst(lc))->cterecursive)
			return true;
	return false;
}

/* The level is nothing but SELECT columns FROM one CTE, in order; returns the CTE. */
static CommonTableExpr *
selected_cte(Query *query)
{
	RangeTblRef *ref = list_length(query->jointree->fromlist) == 1 ? linitial(query->jointree->fromlist) : NULL;
	CommonTableExpr *cte = list_length(query->cteList) == 1 ? linitial(query->cteList) : NULL;
	ListCell *lc;
	int n = 0;

	if (ref == NULL || cte == NULL || !IsA(ref, RangeTblRef) || rt_fetch(ref->rtindex, query->rtable)->rtekind != RTE_CTE ||
		query->jointree->quals != NULL || query->setOperations != NULL || query->hasAggs || query->groupClause != NIL ||
		query->groupingSets != NIL || query->havingQual != NULL || query->hasWindowFuncs || query->distinctClause != NIL ||
		query->sortClause != NIL || query->limitCount != NULL || query->limitOffset != NULL)
		return NULL;
	foreach (lc, query->targetList)
	{
		Var *v = (Var *) ((TargetEntry *) lfirst(lc))->expr;

		if (!IsA(v, Var) || v->varno != ref->rtindex || v->varattno != ++n)
			return NULL;
	}
	return n == list_length(cte->ctecolnames) ? cte : NULL;
}

/* Is it UNION [ALL] of two queries?  ORDER BY, LIMIT and the like have no place beside recursion in PostgreSQL. */
static SetOperationStmt *
recursive_union(CommonTableExpr *cte)
{
	Query *query = (Query *) cte->ctequery;
	SetOperationStmt *setop = IsA(query, Query) ? (SetOperationStmt *) query->setOperations : NULL;

	if (setop == NULL || !IsA(setop, SetOperationStmt) || setop->op != SETOP_UNION || !IsA(setop->larg, RangeTblRef) ||
		!IsA(setop->rarg, RangeTblRef) || query->cteList != NIL || cte->search_clause != NULL || cte->cycle_clause != NULL)
		return NULL;
	return setop;
}

static Query *
term_query(CommonTableExpr *cte, Node *arg)
{
	return rt_fetch(((RangeTblRef *) arg)->rtindex, ((Query *) cte->ctequery)->rtable)->subquery;
}

/* Columns of a term have the recursion's types, and compare in one way only. */
static bool
columns_fit(const PgtOp *op, SetOperationStmt *setop)
{
	if (op->ncols != list_length(setop->colTypes))
		return false;
	for (int i = 0; i < op->ncols; i++)
	{
		const PgtCol *col = &op->cols[i];

		if (col->type != list_nth_oid(setop->colTypes, i) || col->collation != list_nth_oid(setop->colCollations, i) ||
			(OidIsValid(col->collation) && col->collation != DEFAULT_COLLATION_OID) || !pgt_type_has_hash(col->type) ||
			!pgt_col_image_safe(col))
			return false;
	}
	return true;
}

/* The ordinal of the recursion's own rows, if all other inputs are tables; else 0. */
static int
self_of(const PgtOp *step)
{
	int self = 0;

	if (step->kind != PGT_OP_SELECT)
		return 0;
	for (int i = 1; i <= list_length(step->children); i++)
	{
		PgtOp *child = pgt_op_child(step, i);

		if (child->kind != PGT_OP_SCAN)
			return 0;
		if (!OidIsValid(child->relid))
			self = i;
	}
	return self;
}

PgtRecursion *
pgt_build_recursion(Query *query, PgtFindings *found)
{
	PgtRecursion *rec = palloc0(sizeof(PgtRecursion));
	CommonTableExpr *cte = selected_cte(query);
	SetOperationStmt *setop = cte == NULL ? NULL : recursive_union(cte);
	PgtLevel top = {query, NULL};
	PgtLevel level = {cte == NULL ? NULL : (Query *) cte->ctequery, &top};

	pgt_build_start(found);
	if (cte == NULL)
		pgt_not_built("WITH RECURSIVE below other operations", ALONE_HINT);
	else if (setop == NULL || found->clocked)
		pgt_not_built("WITH RECURSIVE of this form", "Use one UNION or UNION ALL, without SEARCH, CYCLE and clock functions.");
	if (found->full_reason != NULL)
		return NULL;
	rec->distinct = !setop->all;
	rec->base = pgt_build_term(term_query(cte, setop->larg), &level);
	rec->step = pgt_build_term(term_query(cte, setop->rarg), &level);
	if (found->full_reason != NULL)
		return NULL;
	rec->self = self_of(rec->step);
	if (rec->self == 0)
		pgt_not_built("a recursive term that is no inner join of tables", STEP_HINT);
	else if (!columns_fit(rec->base, setop) || !columns_fit(rec->step, setop))
		pgt_not_built("WITH RECURSIVE over values that are equal in more than one form",
					  "Cast to types such as integer, text, or numeric with a declared scale, the same in both terms.");
	if (found->full_reason != NULL)
		return NULL;
	rec->root = pgt_build_op(PGT_OP_UNION);
	rec->root->children = list_make2(rec->base, rec->step);
	return rec;
}
