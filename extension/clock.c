/*
 * clock.c - clock functions become parameters, and what depends on them moves into CLOCK nodes.
 *
 * A predicate of one input is tested right above that input: WHERE ts > now() - '1 hour' is a CLOCK node that filters the scan.
 * Comparisons inside other expressions (CASE, FILTER, HAVING, GROUP BY) become boolean columns of a CLOCK node.  The rules above see
 * ordinary rows that come and go; they need not know why.  A clock that is not inside a boolean expression over one input (SELECT
 * now(), a.ts + b.d > now()) would change every row or has no range: such queries are compared instead.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "build.h"
#include "clock.h"
#include "part.h"
#include "program.h"

/* --- functions --- */

bool
pgt_is_clock_function(Oid funcid)
{
	return funcid == F_NOW || funcid == F_STATEMENT_TIMESTAMP || funcid == F_TRANSACTION_TIMESTAMP ||
		   funcid == F_AGE_TIMESTAMPTZ || funcid == F_AGE_TIMESTAMP;
}

static Node *
clock_param(int param)
{
	Param *p = makeNode(Param);

	p->paramkind = PARAM_EXTERN;
	p->paramid = param;
	p->paramtype = TIMESTAMPTZOID;
	p->paramtypmod = -1;
	p->location = -1;
	return (Node *) p;
}

static Node *
cast(Oid funcid, Oid type, Node *arg)
{
	return (Node *) makeFuncExpr(funcid, type, list_make1(arg), InvalidOid, InvalidOid, COERCE_EXPLICIT_CAST);
}

/* CURRENT_TIME(2) and the like round. */
static Node *
with_precision(Oid funcid, Oid type, Node *arg, int32 typmod)
{
	Node *length = (Node *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(typmod), false, true);

	if (typmod < 0)
		return arg;
	return (Node *) makeFuncExpr(funcid, type, list_make2(arg, length), InvalidOid, InvalidOid, COERCE_EXPLICIT_CAST);
}

static Node *
value_function(SQLValueFunction *f)
{
	Node *now = clock_param(PGT_CLOCK_NEW);

	switch (f->op)
	{
		case SVFOP_CURRENT_DATE:
			return cast(F_DATE_TIMESTAMPTZ, DATEOID, now);
		case SVFOP_CURRENT_TIME:
		case SVFOP_CURRENT_TIME_N:
			return with_precision(F_TIMETZ_TIMETZ_INT4, TIMETZOID, cast(F_TIMETZ_TIMESTAMPTZ, TIMETZOID, now), f->typmod);
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
			return with_precision(F_TIMESTAMPTZ_TIMESTAMPTZ_INT4, TIMESTAMPTZOID, now, f->typmod);
		case SVFOP_LOCALTIME:
		case SVFOP_LOCALTIME_N:
			return with_precision(F_TIME_TIME_INT4, TIMEOID, cast(F_TIME_TIMESTAMPTZ, TIMEOID, now), f->typmod);
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			return with_precision(F_TIMESTAMP_TIMESTAMP_INT4, TIMESTAMPOID, cast(F_TIMESTAMP_TIMESTAMPTZ, TIMESTAMPOID, now),
								  f->typmod);
		default:
			return (Node *) f;
	}
}

/* age(x) is age(midnight of the current day, x). */
static Node *
age_of(FuncExpr *f, Node *arg)
{
	bool tz = f->funcid == F_AGE_TIMESTAMPTZ;
	Node *day = cast(F_DATE_TIMESTAMPTZ, DATEOID, clock_param(PGT_CLOCK_NEW));

	day = cast(tz ? F_TIMESTAMPTZ_DATE : F_TIMESTAMP_DATE, tz ? TIMESTAMPTZOID : TIMESTAMPOID, day);
	return (Node *) makeFuncExpr(tz ? F_AGE_TIMESTAMPTZ_TIMESTAMPTZ : F_AGE_TIMESTAMP_TIMESTAMP, INTERVALOID,
								 list_make2(day, arg), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

static Node *
parameter_mutator(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, parameter_mutator, context, 0);
	if (IsA(node, SQLValueFunction))
		return value_function((SQLValueFunction *) node);
	if (IsA(node, FuncExpr) && pgt_is_clock_function(((FuncExpr *) node)->funcid))
	{
		FuncExpr *f = (FuncExpr *) node;

		if (f->args == NIL)
			return clock_param(PGT_CLOCK_NEW);
		return age_of(f, parameter_mutator(linitial(f->args), context));
	}
	return expression_tree_mutator(node, parameter_mutator, context);
}

Query *
pgt_clock_as_parameter(Query *query)
{
	return (Query *) parameter_mutator((Node *) query, NULL);
}

static Node *
at_mutator(Node *node, int *param)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param))
		return clock_param(*param);
	return expression_tree_mutator(node, at_mutator, param);
}

Node *
pgt_clock_at(Node *node, int param)
{
	return at_mutator(node, &param);
}

static bool
clock_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXTERN;
	if (IsA(node, CaseWhen)) /* which the server's walker knows only inside its CASE */
		return clock_walker((Node *) ((CaseWhen *) node)->expr, context) ||
			   clock_walker((Node *) ((CaseWhen *) node)->result, context);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, clock_walker, context, 0);
	return expression_tree_walker(node, clock_walker, context);
}

bool
pgt_has_clock(Node *node)
{
	return clock_walker(node, NULL);
}

/* --- CLOCK nodes --- */

/* What moves from a node to its children. */
typedef struct LiftContext
{
	PgtOp *op;
	List **quals;   /* per child ordinal: conjuncts, over that child as input 1 */
	List **columns; /* per child ordinal: boolean expressions, likewise */
} LiftContext;

/* The only child an expression refers to; the first when it refers to none; 0 when there are several. */
static int
only_child(const PgtOp *op, Node *node)
{
	Bitmapset *children = pull_varnos(NULL, node);
	int child;

	if (bms_is_empty(children))
		return op->children == NIL ? 0 : 1;
	return bms_get_singleton_member(children, &child) ? child : 0;
}

static Node *
first_mutator(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *v = (Var *) copyObject(node);

		v->varno = 1;
		return (Node *) v;
	}
	return expression_tree_mutator(node, first_mutator, context);
}

static bool
is_condition(Node *node)
{
	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_BoolExpr:
		case T_ScalarArrayOpExpr:
		case T_BooleanTest:
		case T_NullTest:
		case T_DistinctExpr:
		case T_RowCompareExpr:
		case T_FuncExpr:
			return exprType(node) == BOOLOID;
		default:
			return false;
	}
}

/* Position of a column that the child's CLOCK node will have. */
static Node *
lifted_column(LiftContext *cxt, int child, Node *node)
{
	List **columns = &cxt->columns[child];
	ListCell *lc;
	int pos = 0;

	node = first_mutator(node, NULL);
	foreach (lc, *columns)
		if (equal(lfirst(lc), node))
			pos = foreach_current_index(lc) + 1;
	if (pos == 0)
	{
		*columns = lappend(*columns, node);
		pos = list_length(*columns);
	}
	return (Node *) makeVar(child, pgt_op_child(cxt->op, child)->ncols + pos, BOOLOID, -1, InvalidOid, 0);
}

/* Largest conditions first: one column then stands for as much as possible. */
static Node *
lift_mutator(Node *node, LiftContext *cxt)
{
	int child;

	if (node == NULL)
		return NULL;
	if (!pgt_has_clock(node))
		return copyObject(node);
	if (is_condition(node) && !pgt_has_open_placeholder(node) && (child = only_child(cxt->op, node)) > 0)
		return lifted_column(cxt, child, node);
	return expression_tree_mutator(node, lift_mutator, cxt);
}

static PgtOp *
make_clock(PgtOp *child, List *quals, List *columns)
{
	List *targets = NIL;
	PgtOp *op;

	/* the side that an outer join keeps is filtered below the join, so that its padding stays linear */
	if (columns == NIL && child->kind == PGT_OP_OUTER && !child->full)
	{
		PgtOp *left = pgt_op_child(child, 1);
		Bitmapset *attnos = NULL;
		int last = -1;

		pull_varattnos((Node *) quals, 1, &attnos);
		for (int i = bms_next_member(attnos, -1); i >= 0; i = bms_next_member(attnos, i))
			last = i + FirstLowInvalidHeapAttributeNumber;
		if (last > 0 && last <= left->ncols)
		{
			linitial(child->children) = make_clock(left, quals, NIL);
			pgt_op_describe(child);
			return child;
		}
	}
	for (int i = 1; i <= child->ncols; i++)
		targets = lappend(targets, pgt_op_var(child, 1, i));
	op = pgt_make_select(list_make1(child), quals, list_concat(targets, columns));
	op->clock = true;
	return op;
}

/* Conjuncts that need one child only go with the clock to that child: they narrow what has to be looked at. */
static void
lift_quals(LiftContext *cxt, bool all)
{
	List *kept = NIL;
	ListCell *lc;

	foreach (lc, cxt->op->quals)
	{
		int child = only_child(cxt->op, lfirst(lc));

		if (pgt_has_clock(lfirst(lc)) && child > 0 && (all || child == 2))
			cxt->quals[child] = lappend(cxt->quals[child], first_mutator(lfirst(lc), NULL));
		else
			kept = lappend(kept, lfirst(lc));
	}
	cxt->op->quals = NIL;
	foreach (lc, kept)
	{
		int child = pgt_has_clock(lfirst(lc)) ? 0 : only_child(cxt->op, lfirst(lc));

		if (all && child > 0 && cxt->quals[child] != NIL && !bms_is_empty(pull_varnos(NULL, lfirst(lc))))
			cxt->quals[child] = lappend(cxt->quals[child], first_mutator(lfirst(lc), NULL));
		else
			cxt->op->quals = lappend(cxt->op->quals, lfirst(lc));
	}
}

static void
wrap_children(LiftContext *cxt)
{
	ListCell *lc;

	foreach (lc, cxt->op->children)
	{
		int i = foreach_current_index(lc) + 1;

		if (cxt->quals[i] != NIL || cxt->columns[i] != NIL)
			lfirst(lc) = make_clock(lfirst(lc), cxt->quals[i], cxt->columns[i]);
	}
}

static void
refuse(const char *reason)
{
	pgt_not_built(reason, "Compare the columns of one table at a time with the clock, in WHERE, CASE, FILTER or HAVING.");
}

static void
lift_select(LiftContext *cxt)
{
	PgtOp *op = cxt->op;

	lift_quals(cxt, true);
	op->quals = (List *) lift_mutator((Node *) op->quals, cxt);
	op->targets = (List *) lift_mutator((Node *) op->targets, cxt);
	wrap_children(cxt);
	if (pgt_has_clock((Node *) op->quals))
		refuse("a clock function compared with columns of several tables");
	if (pgt_has_clock((Node *) op->targets))
		refuse("a clock function in the select list or GROUP BY");
}

/* Only the padded side may be narrowed below the join. */
static void
lift_outer(LiftContext *cxt)
{
	if (!cxt->op->full)
		lift_quals(cxt, false);
	wrap_children(cxt);
	pgt_op_describe(cxt->op);
	if (pgt_has_clock((Node *) cxt->op->quals))
		refuse("a clock function in the condition of an outer join, about a side that is kept");
}

/* The conditions in an expression over a SELECT, put in terms of its inputs. */
static Node *
through_mutator(Node *node, List *targets)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return copyObject(list_nth(targets, ((Var *) node)->varattno - 1));
	return expression_tree_mutator(node, through_mutator, targets);
}

/* Conditions in aggregates become columns of the input, which passes them on to its own inputs. */
static void
lift_agg(LiftContext *cxt)
{
	PgtOp *op = cxt->op;
	PgtOp *child = pgt_op_child(op, 1);

	op->aggs = (List *) lift_mutator((Node *) op->aggs, cxt);
	if (child->kind == PGT_OP_SELECT && !child->clock)
	{
		child->targets = list_concat(child->targets, (List *) through_mutator((Node *) cxt->columns[1], child->targets));
		cxt->columns[1] = NIL;
		pgt_op_describe(child);
	}
	wrap_children(cxt);
	if (pgt_has_clock((Node *) op->aggs))
		refuse("a clock function as the argument of an aggregate");
}

static bool
part_has_clock(const PgtPart *part)
{
	ListCell *lc;

	foreach (lc, part->windows)
	{
		PgtWindow *w = lfirst(lc);

		if (pgt_has_clock((Node *) w->func) || pgt_has_clock(w->start) || pgt_has_clock(w->end))
			return true;
	}
	return pgt_has_clock(part->count) || pgt_has_clock(part->offset);
}

void
pgt_clock_lift(PgtOp *op)
{
	int n = list_length(op->children);
	LiftContext cxt = {op, palloc0(sizeof(List *) * (n + 1)), palloc0(sizeof(List *) * (n + 1))};
	ListCell *lc;

	if (!op->clock && op->kind == PGT_OP_SELECT)
		lift_select(&cxt);
	else if (op->kind == PGT_OP_OUTER)
		lift_outer(&cxt);
	else if (op->kind == PGT_OP_AGG)
		lift_agg(&cxt);
	if (pgt_has_clock((Node *) op->query) || pgt_has_clock((Node *) op->touches))
		refuse("a clock function in a subquery that refers to the query around it");
	if (op->kind == PGT_OP_PART && part_has_clock(op->part))
		refuse("a clock function in a window function or in LIMIT");
	foreach (lc, op->children)
		pgt_clock_lift(lfirst(lc));
}
