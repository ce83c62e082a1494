/*
 * build_recursion.c - the operator node of WITH RECURSIVE, and which recursions are maintained.
 *
 * Both terms are built like any query; the step must be a chain of joins, outer joins that keep the recursion's rows, and subqueries run
 * for each row, so that it is linear in the recursion's rows.  All else may be anything that has a delta: tables, views, aggregations,
 * other recursions.
 *
 * The rules (recursion.c) need the recursion's old rows.  The ST has them if it is nothing but the recursion; else they are
 * kept in an inner table, whose columns cannot have every type.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "build.h"
#include "inner.h"
#include "recursion.h"

#define STEP_HINT "Leave DISTINCT and window functions out of the recursive term, and read the recursion in its FROM clause itself, not inside a " \
				  "LATERAL subquery."
#define TYPE_HINT "Cast to types such as integer, text, or numeric with a declared scale, the same in both terms, or use UNION ALL."

/* --- terms --- */

/* ORDER BY, LIMIT and the like have no place beside recursion in PostgreSQL. */
static SetOperationStmt *
recursive_union(CommonTableExpr *cte)
{
	Query *query = (Query *) cte->ctequery;
	SetOperationStmt *setop = IsA(query, Query) ? (SetOperationStmt *) query->setOperations : NULL;

	return setop != NULL && IsA(setop, SetOperationStmt) && setop->op == SETOP_UNION && IsA(setop->rarg, RangeTblRef) ? setop : NULL;
}

static PgtOp *
described(PgtOp *op)
{
	pgt_op_describe(op);
	return op;
}

static PgtOp *
build_base(CommonTableExpr *cte, PgtLevel *level, SetOperationStmt *setop)
{
	PgtOp *op;

	if (IsA(setop->larg, RangeTblRef))
		op = pgt_build_query(rt_fetch(((RangeTblRef *) setop->larg)->rtindex, level->query->rtable)->subquery, level);
	else
		op = pgt_build_setop(level, castNode(SetOperationStmt, setop->larg));
	op = pgt_as_select(op);
	op->targets = pgt_search_base(cte, pgt_coerce_columns(op->targets, setop));
	return described(op);
}

static PgtOp *
build_step(CommonTableExpr *cte, PgtLevel *level, SetOperationStmt *setop)
{
	Query *query = rt_fetch(castNode(RangeTblRef, setop->rarg)->rtindex, level->query->rtable)->subquery;
	List *columns;
	PgtOp *op;

	op = pgt_as_select(pgt_build_query(pgt_search_step_query(cte, query), level));
	columns = op->targets;
	op->targets = pgt_search_step(cte, pgt_coerce_columns(columns, setop), columns, &op->quals);
	return described(op);
}

/* How often a recursion's own rows are read at and below the node; a recursion in there reads its own. */
static int
count_self(const PgtOp *op)
{
	int n = pgt_op_is_self(op) ? 1 : 0;
	ListCell *lc;

	if (op->kind != PGT_OP_RECURSION)
		foreach (lc, op->children)
			n += count_self(lfirst(lc));
	return n;
}

static PgtOp *
find_self(PgtOp *step)
{
	while (!pgt_op_is_self(step))
		step = pgt_op_child(step, pgt_op_self(step));
	return step;
}

/* The nodes between SELF and the step, from there up. */
static void
describe_step(PgtOp *op)
{
	if (pgt_op_is_self(op))
		return;
	describe_step(pgt_op_child(op, pgt_op_self(op)));
	pgt_op_describe(op);
}

/*
 * A column is never NULL when the base's is not, and the step's is not if that holds of the rows it starts from.  Begins with what the
 * base says, and gives up columns until all that is left follows from itself.
 */
static void
prove_notnull(PgtOp *op)
{
	PgtOp *base = pgt_op_child(op, 1);
	PgtOp *step = pgt_op_child(op, 2);
	PgtOp *self = find_self(step);
	bool again = true;

	for (int i = 0; i < op->ncols; i++)
		self->cols[i].notnull = base->cols[i].notnull;
	while (again)
	{
		again = false;
		describe_step(step);
		for (int i = 0; i < op->ncols; i++)
		{
			again |= self->cols[i].notnull && !step->cols[i].notnull;
			self->cols[i].notnull &= step->cols[i].notnull;
		}
	}
	pgt_op_describe(op);
}

/* --- what is maintained --- */

/* UNION compares rows: what is equal must look equal.  UNION ALL only counts them.  n: columns of the query, behind which paths are. */
static bool
is_comparable(const PgtOp *op, int n)
{
	for (int i = 0; i < op->ncols; i++)
	{
		PgtCol col = op->cols[i];
		Oid element = i < n ? InvalidOid : get_element_type(col.type);

		if (OidIsValid(element))
			col.type = element;
		if (!pgt_type_has_hash(col.type) || (op->distinct && !pgt_col_image_safe(&col)))
			return false;
	}
	return true;
}

PgtOp *
pgt_build_recursion(CommonTableExpr *cte, PgtLevel *level)
{
	SetOperationStmt *setop = recursive_union(cte);
	PgtLevel own = {(Query *) cte->ctequery, level};
	PgtOp *op = pgt_build_op(PGT_OP_RECURSION);

	op->ncols = pgt_search_columns(cte, &op->cols);
	if (setop == NULL)
		pgt_not_built("a form of WITH RECURSIVE that is not known", NULL);
	if (setop == NULL || ((cte->search_clause != NULL || cte->cycle_clause != NULL) && !pgt_search_is_built(cte)))
		return op;
	if (pgt_is_correlated((Node *) own.query))
	{
		pgt_not_built("WITH RECURSIVE that refers to the query around it", "Recurse over all rows, and join the result with the query around it.");
		return op;
	}
	op->distinct = !setop->all;
	op->children = list_make2(build_base(cte, &own, setop), build_step(cte, &own, setop));
	if (pgt_op_self(pgt_op_child(op, 2)) == 0 || count_self(pgt_op_child(op, 2)) != 1 || count_self(pgt_op_child(op, 1)) != 0)
		pgt_not_built("a recursive term that is not computed row by row", STEP_HINT);
	else
		prove_notnull(op);
	if (!is_comparable(op, list_length(cte->ctecoltypes)))
		pgt_not_built("WITH RECURSIVE over values that are equal in more than one form", TYPE_HINT);
	return op;
}

PgtOp *
pgt_recursion_of(const PgtOp *root)
{
	PgtOp *op = list_length(root->children) == 1 ? pgt_op_child(root, 1) : NULL;
	ListCell *lc;

	if (op == NULL || op->kind != PGT_OP_RECURSION || root->quals != NIL || root->clock || root->ncols != op->ncols)
		return NULL;
	foreach (lc, root->targets)
	{
		Var *v = lfirst(lc);

		if (!IsA(v, Var) || v->varattno != foreach_current_index(lc) + 1)
			return NULL;
	}
	return op;
}

static void
check_below(const PgtOp *op, const PgtOp *own)
{
	ListCell *lc;

	if (op->kind == PGT_OP_RECURSION && op->children != NIL && pgt_op_self(pgt_op_child(op, 2)) == 0)
		pgt_not_built("a clock function compared with a recursion's own rows", "Compare with the clock outside the recursion.");
	for (int i = 0; op->kind == PGT_OP_RECURSION && op != own && i < op->ncols; i++)
		if (!pgt_inner_can_keep(&op->cols[i]))
			pgt_not_built("WITH RECURSIVE below other operations over columns of composite, domain or range types",
						  "Make a stream table of the recursion alone (SELECT * FROM it), and another one over that.");
	foreach (lc, op->children)
		check_below(lfirst(lc), own);
}

void
pgt_check_recursions(PgtOp *root)
{
	check_below(root, pgt_recursion_of(root));
}
