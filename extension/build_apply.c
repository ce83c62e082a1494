/*
 * build_apply.c - subqueries in expressions, LATERAL items and functions in FROM: APPLY nodes.
 *
 * A subquery keeps its shape (aggregates, ORDER BY, LIMIT, ...) as part of a template that PostgreSQL itself runs for each row.
 * What it reads is split off: the largest part that refers to nothing outside becomes an operator node of its own, with a delta
 * of its own, and the template reads a placeholder for it.  Conditions that refer to the outer row stay in the template.
 * Templates first name nodes by number; when the block around them is closed, the nodes become children of an APPLY.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "analyze.h"
#include "build.h"
#include "compat.h"
#include "template.h"

/* Stands for the FROM item beside the first child until the template is made. */
#define BESIDE_VARNO 60000

/* A subquery seen before is the same template again, so that equal expressions stay equal (GROUP BY and SELECT list). */
typedef struct KnownTemplate
{
	Query *level;
	Query *subquery;
	SubLinkType type;
	Query *template;
} KnownTemplate;

static List *pending; /* of PgtOp: read by templates that have no APPLY yet, newest first */
static List *known;   /* of KnownTemplate */

void
pgt_apply_reset(void)
{
	pending = NIL;
	known = NIL;
}

/* --- what refers to what --- */

static bool
correlated_walker(Node *node, int *depth)
{
	bool result;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return (int) ((Var *) node)->varlevelsup > *depth;
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup > *depth)
		return true;
	if (IsA(node, Query))
	{
		(*depth)++;
		result = query_tree_walker((Query *) node, correlated_walker, depth, 0);
		(*depth)--;
		return result;
	}
	return expression_tree_walker(node, correlated_walker, depth);
}

bool
pgt_is_correlated(Node *node)
{
	int depth = 0;

	if (node != NULL && IsA(node, Query))
		return query_tree_walker((Query *) node, correlated_walker, &depth, 0);
	return correlated_walker(node, &depth);
}

static bool
reads_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		ListCell *lc;

		foreach (lc, ((Query *) node)->rtable)
			if (((RangeTblEntry *) lfirst(lc))->rtekind == RTE_RELATION || ((RangeTblEntry *) lfirst(lc))->rtekind == RTE_CTE)
				return true;
		return query_tree_walker((Query *) node, reads_walker, context, 0);
	}
	return expression_tree_walker(node, reads_walker, context);
}

bool
pgt_is_closed(PgtOp *op)
{
	ListCell *lc;

	if (pgt_is_correlated((Node *) op->targets) || pgt_is_correlated((Node *) op->quals) || pgt_is_correlated((Node *) op->aggs) ||
		pgt_is_correlated((Node *) op->query))
		return false;
	foreach (lc, op->children)
		if (!pgt_is_closed(lfirst(lc)))
			return false;
	return true;
}

/* Whatever could refer to the outside was made part of a template; so this finds what was forgotten. */
void
pgt_check_closed(PgtOp *op)
{
	if (!pgt_is_closed(op))
		pgt_not_built("a subquery that refers to a query around it in a way that is not known",
					  "Let every subquery refer to the tables of the query directly around it, in its WHERE clause.");
}

/* --- templates --- */

static bool
keeps_rows(Query *q)
{
	return !q->hasAggs && q->groupClause == NIL && q->groupingSets == NIL && q->havingQual == NULL && !q->hasTargetSRFs &&
		   q->setOperations == NULL;
}

static bool
limits(Query *q)
{
	return q->limitCount != NULL || q->limitOffset != NULL;
}

static bool
is_positive(Node *limit)
{
	Const *c = (Const *) eval_const_expressions(NULL, limit);

	return IsA(c, Const) && !c->constisnull && DatumGetInt64(c->constvalue) > 0;
}

static List *
one_column(void)
{
	Node *one = makeBoolConst(true, false);

	return list_make1(makeTargetEntry((Expr *) one, 1, pstrdup("c1"), false));
}

/* Whether there is a row does not depend on its columns or their order. */
static void
strip_exists(Query *q)
{
	if (q->limitOffset == NULL && q->limitCount != NULL && is_positive(q->limitCount))
		q->limitCount = NULL;
	if (!keeps_rows(q) || limits(q))
		return;
	q->distinctClause = NIL;
	q->hasDistinctOn = false;
	q->sortClause = NIL;
	q->windowClause = NIL;
	q->hasWindowFuncs = false;
	q->targetList = one_column();
}

RangeTblEntry *
pgt_placeholder_for(PgtOp *op)
{
	pending = lcons(op, pending);
	return pgt_placeholder(op->id, false);
}

static FromExpr *
from_first(List *quals)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = 1;
	return makeFromExpr(list_make1(ref), (Node *) (quals == NIL ? NULL : make_ands_explicit(quals)));
}

/* SELECT all columns of a node. */
static Query *
read_all(PgtOp *op)
{
	Query *t = makeNode(Query);

	t->commandType = CMD_SELECT;
	t->canSetTag = true;
	t->rtable = list_make1(pgt_placeholder_for(op));
	t->jointree = from_first(NIL);
	for (int i = 1; i <= op->ncols; i++)
		t->targetList = lappend(t->targetList, makeTargetEntry((Expr *) pgt_op_var(op, 1, i), i, psprintf("c%d", i), false));
	return t;
}

typedef struct GatherContext
{
	List *vars; /* distinct Vars over the inputs, in the order found */
	int depth;
} GatherContext;

/* The query's own Vars, which are over a block's inputs, become those of its first FROM item, a SELECT of `vars`.  In place. */
static bool
gather_walker(Node *node, GatherContext *cxt)
{
	bool result;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *v = (Var *) node;
		Var *key;
		ListCell *lc;
		int pos = 0;

		if ((int) v->varlevelsup != cxt->depth)
			return false;
		if (v->varno == BESIDE_VARNO)
		{
			v->varno = 2;
			return false;
		}
		foreach (lc, cxt->vars)
			if (((Var *) lfirst(lc))->varno == v->varno && ((Var *) lfirst(lc))->varattno == v->varattno)
				pos = foreach_current_index(lc) + 1;
		if (pos == 0)
		{
			key = copyObject(v);
			key->varlevelsup = 0;
			cxt->vars = lappend(cxt->vars, key);
			pos = list_length(cxt->vars);
		}
		v->varno = 1;
		v->varattno = pos;
		return false;
	}
	if (IsA(node, Query))
	{
		cxt->depth++;
		result = query_tree_walker((Query *) node, gather_walker, cxt, 0);
		cxt->depth--;
		return result;
	}
	return expression_tree_walker(node, gather_walker, cxt);
}

static List *
gather_vars(Query *q)
{
	GatherContext cxt = {NIL, 0};

	query_tree_walker(q, gather_walker, &cxt, 0);
	return cxt.vars;
}

/* The parts of a subquery above FROM and WHERE, over the block's inputs. */
Query *
pgt_template_above(PgtBlock *block)
{
	Query *q = block->level->query;
	Query *t = makeNode(Query);
	ListCell *lc;

	*t = *q;
	t->cteList = NIL;
	t->targetList = NIL;
	foreach (lc, q->targetList)
	{
		TargetEntry *tle = flatCopyTargetEntry(lfirst(lc));

		tle->expr = (Expr *) pgt_rebase(block, pgt_flatten_group_exprs(q, (Node *) tle->expr));
		tle->resname = tle->resjunk ? tle->resname : psprintf("c%d", tle->resno);
		t->targetList = lappend(t->targetList, tle);
	}
	t->havingQual = pgt_rebase(block, pgt_flatten_group_exprs(q, q->havingQual));
	t->limitCount = pgt_rebase(block, q->limitCount);
	t->limitOffset = pgt_rebase(block, q->limitOffset);
	t->rtable = NIL;
	pgt_forget_entries(t);
	return t;
}

/*
 * FROM and the conditions that refer to nothing outside become a node; all else stays.  NULL where FROM itself refers to the outside,
 * other than by conditions that can as well stand in WHERE.
 */
static Query *
split_template(PgtLevel *level)
{
	PgtBlock block = {level};
	const char *reason = pgt_build_reason();
	List *inner = NIL;
	List *outer = NIL;
	ListCell *lc;
	List *vars;
	Query *t;

	pgt_build_from(&block, (Node *) level->query->jointree);
	foreach (lc, block.inputs)
		if (!pgt_is_closed(lfirst(lc)) || reason != pgt_build_reason())
		{
			pgt_build_forgive(reason);
			return NULL;
		}
	foreach (lc, block.quals)
		if (pgt_is_correlated(lfirst(lc)))
			outer = lappend(outer, lfirst(lc));
		else
			inner = lappend(inner, lfirst(lc));
	t = pgt_template_above(&block);
	t->jointree = from_first(outer);
	t = copyObject(t);
	vars = gather_vars(t);
	t->rtable = list_make1(pgt_placeholder_for(pgt_make_projection(block.inputs, inner, vars)));
	pgt_canon_images(t);
	return t;
}

static bool
is_buildable(Query *q)
{
	PgtFindings found = {NULL};

	pgt_rules_apply(q, &found);
	return found.full_reason == NULL;
}

/* ARRAY(SELECT ...) shows the order of the rows, which a node does not have: so it yields the sort keys, too. */
static Query *
read_sorted(PgtLevel *level)
{
	Query *q = copyObject(level->query);
	Query *t;
	ListCell *lc;

	foreach (lc, q->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		tle->resjunk = false;
		if (tle->resname == NULL)
			tle->resname = psprintf("k%d", tle->resno);
	}
	t = read_all(pgt_build_query(q, level->up));
	foreach (lc, level->query->targetList)
	{
		TargetEntry *tle = list_nth(t->targetList, foreach_current_index(lc));

		tle->resjunk = ((TargetEntry *) lfirst(lc))->resjunk;
		tle->ressortgroupref = ((TargetEntry *) lfirst(lc))->ressortgroupref;
	}
	t->sortClause = copyObject(level->query->sortClause);
	return t;
}

Query *
pgt_make_template(PgtLevel *up, Query *q, SubLinkType type)
{
	PgtLevel level = {copyObject(q), up};
	Query *t;

	if (type == EXISTS_SUBLINK)
		strip_exists(level.query);
	if (!reads_walker((Node *) level.query, NULL))
		return level.query;
	if (!pgt_is_correlated((Node *) level.query) && is_buildable(level.query))
		return type == ARRAY_SUBLINK ? read_sorted(&level) : read_all(pgt_build_query(level.query, up));
	t = level.query->setOperations == NULL ? split_template(&level) : NULL;
	return t != NULL ? t : pgt_whole_template(&level);
}

static Query *
template_of(PgtLevel *level, Query *subquery, SubLinkType type)
{
	KnownTemplate *k;
	ListCell *lc;

	foreach (lc, known)
	{
		k = lfirst(lc);
		if (k->level == level->query && k->type == type && equal(k->subquery, subquery))
			return copyObject(k->template);
	}
	k = palloc(sizeof(KnownTemplate));
	k->level = level->query;
	k->subquery = copyObject(subquery);
	k->type = type;
	k->template = pgt_make_template(level, subquery, type);
	known = lappend(known, k);
	return copyObject(k->template);
}

static Node *
prepare_mutator(Node *node, PgtLevel *level)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return node; /* a template already */
	if (IsA(node, SubLink))
	{
		SubLink *s = (SubLink *) palloc(sizeof(SubLink));

		*s = *(SubLink *) node;
		s->testexpr = prepare_mutator(s->testexpr, level);
		s->subselect = (Node *) template_of(level, castNode(Query, s->subselect), s->subLinkType);
		return (Node *) s;
	}
	return expression_tree_mutator(node, prepare_mutator, level);
}

Node *
pgt_prepare_sublinks(PgtLevel *level, Node *expr)
{
	return prepare_mutator(expr, level);
}

/* --- closing a block that holds subqueries --- */

static PgtOp *
pending_op(int id)
{
	ListCell *lc;

	foreach (lc, pending)
		if (((PgtOp *) lfirst(lc))->id == id)
			return lfirst(lc);
	elog(ERROR, "operator node %d not found", id);
}

/* Every node that the template names becomes a child. */
static bool
adopt_walker(Node *node, PgtOp *op)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		foreach (lc, ((Query *) node)->rtable)
		{
			int id = pgt_placeholder_number(lfirst(lc), false);

			if (id == 0)
				continue;
			op->children = lappend(op->children, pgt_op_clone(pending_op(id)));
			lfirst(lc) = pgt_placeholder(list_length(op->children), true);
		}
		return query_tree_walker((Query *) node, adopt_walker, op, 0);
	}
	return expression_tree_walker(node, adopt_walker, op);
}

/* An argument whose column is proven not NULL: of the first child, or of the subquery's output. */
static bool
proven(PgtOp *op, Query *sub, Node *arg)
{
	int ordinal;
	Var *v;

	if (IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;
	if (IsA(arg, Const))
		return !((Const *) arg)->constisnull;
	if (IsA(arg, Var))
		return ((Var *) arg)->varno == 1 && pgt_op_child(op, 1)->cols[((Var *) arg)->varattno - 1].notnull;
	if (!IsA(arg, Param) || ((Param *) arg)->paramkind != PARAM_SUBLINK)
		return false;
	v = (Var *) list_nth_node(TargetEntry, sub->targetList, ((Param *) arg)->paramid - 1)->expr;
	ordinal = pgt_placeholder_number(linitial(sub->rtable), true);
	return IsA(v, Var) && v->varlevelsup == 0 && pgt_op_child(op, ordinal)->cols[v->varattno - 1].notnull;
}

static bool
test_is_never_null(PgtOp *op, Query *sub, Node *test)
{
	ListCell *lc;

	if (IsA(test, BoolExpr))
	{
		foreach (lc, ((BoolExpr *) test)->args)
			if (!test_is_never_null(op, sub, lfirst(lc)))
				return false;
		return true;
	}
	if (!IsA(test, OpExpr) || !op_strict(((OpExpr *) test)->opno))
		return false;
	foreach (lc, ((OpExpr *) test)->args)
		if (!proven(op, sub, lfirst(lc)))
			return false;
	return true;
}

static Node *
params_mutator(Node *node, List *targets)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return copyObject((Node *) list_nth_node(TargetEntry, targets, ((Param *) node)->paramid - 1)->expr);
	return expression_tree_mutator(node, params_mutator, targets);
}

/* x IN (SELECT y ...) as EXISTS (SELECT ... WHERE x = y), where NULL and false are the same or there is no NULL. */
static void
in_to_exists(SubLink *s)
{
	Query *sub = (Query *) s->subselect;
	Node *test = copyObject(s->testexpr);

	IncrementVarSublevelsUp(test, 1, 0);
	sub->jointree->quals = make_and_qual(sub->jointree->quals, params_mutator(test, sub->targetList));
	s->subLinkType = EXISTS_SUBLINK;
	s->testexpr = NULL;
	s->operName = NIL;
	strip_exists(sub);
}

static bool
reads_one_node(Query *sub)
{
	return list_length(sub->rtable) == 1 && pgt_placeholder_number(linitial(sub->rtable), true) > 0;
}

typedef struct SimplifyContext
{
	PgtOp *op;
	Query *level;
	bool condition; /* NULL is the same as false here */
} SimplifyContext;

static bool simplify_walker(Node *node, SimplifyContext *cxt);

static bool
simplify_part(Node *node, SimplifyContext *cxt, bool condition)
{
	SimplifyContext part = {cxt->op, cxt->level, condition};

	return simplify_walker(node, &part);
}

static void
simplify_any(SubLink *s, SimplifyContext *cxt)
{
	Query *sub = (Query *) s->subselect;

	if (reads_one_node(sub) && keeps_rows(sub) && !limits(sub) && !sub->hasWindowFuncs &&
		(cxt->condition || (cxt->level == cxt->op->query && test_is_never_null(cxt->op, sub, s->testexpr))))
		in_to_exists(s);
}

static bool
simplify_walker(Node *node, SimplifyContext *cxt)
{
	SimplifyContext below = {cxt->op, (Query *) node, false};
	ListCell *lc;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Query:
			return query_tree_walker(below.level, simplify_walker, &below, 0);
		case T_FromExpr:
			return simplify_part((Node *) ((FromExpr *) node)->fromlist, cxt, false) || simplify_part(((FromExpr *) node)->quals, cxt, true);
		case T_JoinExpr:
			return simplify_part(((JoinExpr *) node)->larg, cxt, false) || simplify_part(((JoinExpr *) node)->rarg, cxt, false) ||
				   simplify_part(((JoinExpr *) node)->quals, cxt, true);
		case T_CaseExpr:
			(void) simplify_part((Node *) ((CaseExpr *) node)->arg, cxt, false);
			foreach (lc, ((CaseExpr *) node)->args)
			{
				(void) simplify_part((Node *) lfirst_node(CaseWhen, lc)->expr, cxt, true);
				(void) simplify_part((Node *) lfirst_node(CaseWhen, lc)->result, cxt, false);
			}
			return simplify_part((Node *) ((CaseExpr *) node)->defresult, cxt, false);
		case T_List:
			return expression_tree_walker(node, simplify_walker, cxt);
		case T_BoolExpr:
			return simplify_part((Node *) ((BoolExpr *) node)->args, cxt, cxt->condition && ((BoolExpr *) node)->boolop != NOT_EXPR);
		case T_SubLink:
			if (((SubLink *) node)->subLinkType == ANY_SUBLINK)
				simplify_any((SubLink *) node, cxt);
			break;
		default:
			break;
	}
	below.level = cxt->level;
	return expression_tree_walker(node, simplify_walker, &below);
}

/* IN as EXISTS, where that is the same: then what it compares is a condition like others. */
static void
simplify_template(PgtOp *op)
{
	SimplifyContext cxt = {op, op->query, false};

	(void) query_tree_walker(op->query, simplify_walker, &cxt, 0);
}

static List *
target_entries(List *exprs)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, exprs)
	{
		int n = foreach_current_index(lc) + 1;

		out = lappend(out, makeTargetEntry(lfirst(lc), n, psprintf("c%d", n), false));
	}
	return out;
}

/* The second FROM item: beside the first, or joined to it by a LEFT JOIN on these conjuncts. */
static void
add_beside(Query *q, RangeTblEntry *rte, bool left, List *on)
{
	RangeTblRef *ref = makeNode(RangeTblRef);
	JoinExpr *join = makeNode(JoinExpr);

	q->rtable = lappend(q->rtable, rte);
	ref->rtindex = 2;
	if (!left)
	{
		q->jointree->fromlist = lappend(q->jointree->fromlist, ref);
		return;
	}
	join->jointype = JOIN_LEFT;
	join->larg = linitial(q->jointree->fromlist);
	join->rarg = (Node *) ref;
	join->quals = on == NIL ? makeBoolConst(true, false) : (Node *) make_ands_explicit(on);
	q->jointree->fromlist = list_make1(join);
}

static Query *new_template(List *targets);

/* A subquery that has to be run row by row: its value depends on the row. */
static bool
has_correlated_value(Node *node, void *context)
{
	SubLink *s = (SubLink *) node;

	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, SubLink) && s->subLinkType != EXISTS_SUBLINK && s->subLinkType != ANY_SUBLINK && pgt_is_correlated(s->subselect))
		return true;
	return expression_tree_walker(node, has_correlated_value, context);
}

/*
 * Conditions whose subqueries the planner can join come first, in a node of their own: so those that must be computed for each row are
 * computed, and their rows looked up, for the rows that are left.
 */
static PgtOp *
make_apply(List *inputs, List *quals, Query *q)
{
	PgtOp *op = pgt_build_op(PGT_OP_APPLY);
	List *plain = NIL;
	List *subs = NIL;
	List *late = NIL;
	List *vars;
	ListCell *lc;

	foreach (lc, quals)
		if (has_correlated_value(lfirst(lc), NULL))
			late = lappend(late, lfirst(lc));
		else if (checkExprHasSubLink(lfirst(lc)))
			subs = lappend(subs, lfirst(lc));
		else
			plain = lappend(plain, lfirst(lc));
	if (late != NIL || subs != NIL)
		q->jointree->quals = (Node *) make_ands_explicit(late != NIL ? late : subs);
	op->query = copyObject(q);
	op->query->hasSubLinks = true;
	vars = gather_vars(op->query);
	op->query->rtable = lcons(pgt_placeholder(1, true), list_delete_first(op->query->rtable));
	if (late != NIL && subs != NIL)
		op->children = list_make1(make_apply(inputs, list_concat(plain, subs), new_template(vars)));
	else
		op->children = list_make1(pgt_make_select(inputs, plain, vars));
	adopt_walker((Node *) op->query, op);
	simplify_template(op);
	pgt_template_touches(op);
	pgt_op_describe(op);
	return op;
}

static Query *
new_template(List *targets)
{
	Query *q = makeNode(Query);

	q->commandType = CMD_SELECT;
	q->canSetTag = true;
	q->rtable = list_make1(pgt_placeholder(1, true));
	q->jointree = from_first(NIL);
	q->targetList = target_entries(targets);
	return q;
}

PgtOp *
pgt_make_projection(List *inputs, List *quals, List *targets)
{
	if (!checkExprHasSubLink((Node *) quals) && !checkExprHasSubLink((Node *) targets) && !expression_returns_set((Node *) targets))
		return pgt_make_select(inputs, quals, targets);
	return make_apply(inputs, quals, new_template(targets));
}

/* --- FROM items that depend on those before them --- */

bool
pgt_is_dependent(RangeTblEntry *rte)
{
	switch (rte->rtekind)
	{
		case RTE_FUNCTION:
		case RTE_TABLEFUNC:
			return true;
		case RTE_SUBQUERY:
			return pgt_is_correlated((Node *) rte->subquery);
		case RTE_VALUES:
			return contain_vars_of_level((Node *) rte->values_lists, 0) || checkExprHasSubLink((Node *) rte->values_lists);
		default:
			return false;
	}
}

RangeTblEntry *
pgt_rebased_entry(PgtBlock *block, RangeTblEntry *rte)
{
	RangeTblEntry *out = copyObject(rte);

	switch (rte->rtekind)
	{
		case RTE_SUBQUERY:
			out->subquery = (Query *) pgt_rebase(block, (Node *) pgt_make_template(block->level, rte->subquery, EXPR_SUBLINK));
			out->alias = makeAlias("s", NIL);
			for (int i = 1; i <= list_length(rte->eref->colnames); i++)
				out->alias->colnames = lappend(out->alias->colnames, makeString(psprintf("c%d", i)));
			out->eref = copyObject(out->alias);
			break;
		case RTE_FUNCTION:
			out->functions = (List *) pgt_rebase(block, (Node *) rte->functions);
			break;
		case RTE_TABLEFUNC:
			out->tablefunc = (TableFunc *) pgt_rebase(block, (Node *) rte->tablefunc);
			break;
		default:
			out->values_lists = (List *) pgt_rebase(block, (Node *) rte->values_lists);
			break;
	}
	out->lateral = true;
	return out;
}

/* The columns of the item: of the entry it is, or, for one that build_side.c has made, of several entries in their order. */
static void
map_item(PgtBlock *block, RangeTblEntry *item, List *rtindexes, bool left, List *columns)
{
	Query *query = block->level->query;
	int from = 0;
	ListCell *lc;

	if (item == rt_fetch(linitial_int(rtindexes), query->rtable))
	{
		if (left)
			pgt_add_lateral_entry(block, linitial_int(rtindexes), BESIDE_VARNO, columns);
		else
			pgt_add_entry(block, linitial_int(rtindexes), columns);
		return;
	}
	foreach (lc, rtindexes)
	{
		int n = list_length(pgt_side_columns(query, lfirst_int(lc)));

		pgt_add_map(block, lfirst_int(lc), list_truncate(list_copy_tail(columns, from), n), pgt_is_read_whole(query, lfirst_int(lc)));
		from += n;
	}
}

/* The whole block, with the item beside it, becomes its only input. */
void
pgt_add_dependent(PgtBlock *block, RangeTblEntry *item, List *rtindexes, JoinExpr *left)
{
	RangeTblEntry *rte = pgt_rebased_entry(block, item);
	List *targets = NIL;
	List *columns;
	List *on = NIL;
	ListCell *lc;
	ListCell *le;
	Query *q;
	PgtOp *op;
	int pos = 1;

	pgt_expand_rte(rte, BESIDE_VARNO, &columns);
	map_item(block, item, rtindexes, left != NULL, columns);
	if (left != NULL && left->quals != NULL)
		on = make_ands_implicit((Expr *) pgt_rebase(block, left->quals));
	foreach (lc, block->maps)
		foreach (le, ((PgtEntryMap *) lfirst(lc))->exprs)
			if (lfirst(le) != NULL)
				targets = lappend(targets, lfirst(le));
	q = new_template(targets);
	add_beside(q, rte, left != NULL, on);
	op = make_apply(block->inputs, block->quals, q);
	foreach (lc, block->maps)
		foreach (le, ((PgtEntryMap *) lfirst(lc))->exprs)
			if (lfirst(le) != NULL)
				lfirst(le) = pgt_op_var(op, 1, pos++);
	block->inputs = list_make1(op);
	block->quals = NIL;
}

/* --- subqueries in the condition of an outer join --- */

typedef struct LowerContext
{
	PgtOp *sides[2];
	List *extra[2];
} LowerContext;

static Node *
lower_mutator(Node *node, LowerContext *cxt)
{
	Relids sides;
	int side;
	Node *column;

	if (node == NULL)
		return NULL;
	if (!IsA(node, SubLink))
		return expression_tree_mutator(node, lower_mutator, cxt);
	sides = pull_varnos(NULL, node);
	if (bms_num_members(sides) > 1)
	{
		pgt_not_built("a subquery in an outer join's condition that refers to both sides", "Move the condition to a subquery in FROM.");
		return makeBoolConst(false, true);
	}
	side = bms_is_member(2, sides) ? 2 : 1;
	column = copyObject(node);
	if (side == 2)
		ChangeVarNodes(column, 2, 1, 0);
	cxt->extra[side - 1] = lappend(cxt->extra[side - 1], column);
	return (Node *) makeVar(side, cxt->sides[side - 1]->ncols + list_length(cxt->extra[side - 1]), exprType(node), exprTypmod(node),
							exprCollation(node), 0);
}

Node *
pgt_lower_sublinks(Node *qual, PgtOp **left, PgtOp **right)
{
	LowerContext cxt = {{*left, *right}, {NIL, NIL}};

	if (qual == NULL || !checkExprHasSubLink(qual))
		return qual;
	qual = lower_mutator(qual, &cxt);
	for (int i = 0; i < 2; i++)
	{
		List *targets = NIL;

		if (cxt.extra[i] == NIL)
			continue;
		for (int col = 1; col <= cxt.sides[i]->ncols; col++)
			targets = lappend(targets, pgt_op_var(cxt.sides[i], 1, col));
		*(i == 0 ? left : right) = pgt_make_projection(list_make1(cxt.sides[i]), NIL, list_concat(targets, cxt.extra[i]));
	}
	return qual;
}
