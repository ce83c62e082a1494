/*
 * build.c - the operator tree of an analysed query.
 *
 * One query level becomes a block: a flat list of inputs joined by inner joins, the conjuncts over them, and for every range
 * table entry the expressions its columns stand for.  A subquery that is itself a plain block is merged into the block around it;
 * anything else (aggregation, outer join, UNION ALL) is one input.  Only queries that passed rules.c come here, so that what is
 * left over is an internal error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/rel.h"

#include "analyze.h"
#include "build.h"
#include "clock.h"
#include "compat.h"
#include "deparse.h"

static int next_id;

static PgtFindings *findings;

/* --- Vars of a block --- */

typedef struct RebaseContext
{
	PgtBlock *block;
	int depth; /* inside how many subqueries */
} RebaseContext;

static Node *
rebase_mutator(Node *node, RebaseContext *cxt)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Node *e;

		if ((int) ((Var *) node)->varlevelsup != cxt->depth)
			return copyObject(node);
		e = pgt_entry_expr(cxt->block, (Var *) node);
		if (cxt->depth > 0)
			IncrementVarSublevelsUp(e, cxt->depth, 0);
		return e;
	}
	if (IsA(node, Query))
	{
		Query *q;

		cxt->depth++;
		q = query_tree_mutator((Query *) node, rebase_mutator, cxt, 0);
		cxt->depth--;
		return (Node *) q;
	}
	return expression_tree_mutator(node, rebase_mutator, cxt);
}

/* An expression of the query level, in terms of the block's inputs; its subqueries become templates. */
Node *
pgt_rebase(PgtBlock *block, Node *node)
{
	RebaseContext cxt = {block, 0};

	node = pgt_flatten_join_aliases(block->level->query, node);
	return rebase_mutator(pgt_prepare_sublinks(block->level, node), &cxt);
}

/* Vars with varno i refer to ordinal i + shift from now on. */
static Node *
shift_varno(Node *node, int *shift)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *v = (Var *) copyObject(node);

		v->varno += *shift;
		return (Node *) v;
	}
	return expression_tree_mutator(node, shift_varno, shift);
}

static List *
vars_of(PgtOp *op, int ordinal)
{
	List *vars = NIL;

	for (int i = 1; i <= op->ncols; i++)
		vars = lappend(vars, pgt_op_var(op, ordinal, i));
	return vars;
}

PgtOp *
pgt_build_op(PgtOpKind kind)
{
	return pgt_op_make(kind, next_id++, 0);
}

void
pgt_not_built(const char *reason, const char *hint)
{
	if (findings->full_reason != NULL)
		return;
	findings->full_reason = reason;
	findings->full_hint = hint;
}

const char *
pgt_build_reason(void)
{
	return findings->full_reason;
}

void
pgt_build_forgive(const char *reason)
{
	if (reason == NULL)
		findings->full_hint = NULL;
	findings->full_reason = reason;
}

PgtOp *
pgt_make_select(List *inputs, List *quals, List *targets)
{
	PgtOp *op = pgt_op_make(PGT_OP_SELECT, next_id++, 0);

	op->children = inputs;
	op->quals = quals;
	op->targets = targets;
	pgt_op_describe(op);
	return op;
}

/* --- range table entries --- */

static PgtOp *
build_scan(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	PgtOp *op = pgt_op_make(PGT_OP_SCAN, next_id++, desc->natts);
	int n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		op->cols[n++] = (PgtCol){att->atttypid, att->atttypmod, att->attcollation, pgt_attribute_notnull(desc, i)};
		op->attnums = lappend_int(op->attnums, att->attnum);
	}
	op->ncols = n;
	op->relid = relid;
	table_close(rel, AccessShareLock);
	return op;
}

static void
add_scan(PgtBlock *block, int rtindex, RangeTblEntry *rte)
{
	PgtOp *op = build_scan(rte->relid);
	int ordinal = list_length(block->inputs) + 1;
	int last = llast_int(op->attnums);
	List *exprs = NIL;
	int col = 1;

	for (int att = 1; att <= last; att++)
	{
		if (list_nth_int(op->attnums, col - 1) == att)
			exprs = lappend(exprs, pgt_op_var(op, ordinal, col++));
		else
			exprs = lappend(exprs, NULL);
	}
	block->inputs = lappend(block->inputs, op);
	pgt_add_entry(block, rtindex, exprs);
}

/* A plain SELECT dissolves into the block; anything else is one input. */
static void
add_op(PgtBlock *block, int rtindex, PgtOp *op)
{
	int shift = list_length(block->inputs);

	if (op->kind == PGT_OP_SELECT)
	{
		block->inputs = list_concat(block->inputs, op->children);
		block->quals = list_concat(block->quals, (List *) shift_varno((Node *) op->quals, &shift));
		pgt_add_entry(block, rtindex, (List *) shift_varno((Node *) op->targets, &shift));
		return;
	}
	block->inputs = lappend(block->inputs, op);
	pgt_add_entry(block, rtindex, vars_of(op, shift + 1));
}

/* The WITH query that an entry reads, and the level that defines it. */
CommonTableExpr *
pgt_find_cte(PgtLevel *level, RangeTblEntry *rte, PgtLevel **where)
{
	ListCell *lc;

	for (Index up = 0; up < rte->ctelevelsup; up++)
		level = level->up;
	*where = level;
	foreach (lc, level->query->cteList)
		if (strcmp(lfirst_node(CommonTableExpr, lc)->ctename, rte->ctename) == 0)
			return lfirst(lc);
	elog(ERROR, "common table expression \"%s\" not found", rte->ctename);
}

/* Rows of a WITH query's columns, of no table: those of the recursion around it, or of what could not be built. */
static PgtOp *
build_self(CommonTableExpr *cte)
{
	PgtOp *op = pgt_op_make(PGT_OP_SCAN, next_id++, 0);

	op->ncols = pgt_search_columns(cte, &op->cols);
	for (int i = 1; i <= op->ncols; i++)
		op->attnums = lappend_int(op->attnums, i);
	return op;
}

static void
add_cte(PgtBlock *block, int rtindex, RangeTblEntry *rte)
{
	PgtLevel *level;
	CommonTableExpr *cte = pgt_find_cte(block->level, rte, &level);
	PgtOp *op;

	/* the template of the subquery that the WITH belongs to keeps it (build_whole.c); from further inside it cannot be reached */
	if (!cte->cterecursive && pgt_is_correlated(cte->ctequery))
	{
		pgt_not_built("WITH inside a subquery that refers to the query around it, read by a subquery of that", "Write the WITH query in its place.");
		op = build_self(cte);
	}
	else if (rte->self_reference)
		op = build_self(cte);
	else
		op = cte->cterecursive ? pgt_build_recursion(cte, level) : pgt_build_query((Query *) cte->ctequery, level);
	if (cte->search_clause == NULL && cte->cycle_clause == NULL)
	{
		add_op(block, rtindex, op);
		return;
	}
	block->inputs = lappend(block->inputs, op);
	pgt_add_entry(block, rtindex, pgt_search_entry(cte, vars_of(op, list_length(block->inputs))));
}

static PgtOp *
build_values(PgtBlock *block, RangeTblEntry *rte)
{
	PgtOp *op = pgt_op_make(PGT_OP_UNION, next_id++, 0);
	ListCell *lc;

	foreach (lc, rte->values_lists)
		op->children = lappend(op->children, pgt_make_select(NIL, NIL, (List *) lfirst(lc)));
	pgt_op_describe(op);
	return op;
}

static void
build_entry(PgtBlock *block, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, block->level->query->rtable);

	if (pgt_is_dependent(rte))
	{
		pgt_add_dependent(block, rte, list_make1_int(rtindex), NULL);
		return;
	}
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			add_scan(block, rtindex, rte);
			break;
		case RTE_SUBQUERY:
			add_op(block, rtindex, pgt_build_query(rte->subquery, block->level));
			break;
		case RTE_CTE:
			add_cte(block, rtindex, rte);
			break;
		case RTE_VALUES:
			add_op(block, rtindex, build_values(block, rte));
			break;
		case RTE_RESULT:
			break;
		default:
			pgt_not_built("a FROM item of an unknown kind", NULL);
			break;
	}
}

/* --- joins --- */

static void
add_quals(PgtBlock *block, Node *quals)
{
	if (quals != NULL)
		block->quals = list_concat(block->quals, make_ands_implicit((Expr *) pgt_rebase(block, quals)));
}

/*
 * Close a block into one node that yields all columns of its entries; the maps are rewritten to (ordinal, position) and moved to
 * `outer`.  Under an outer join this keeps computed columns below the join, where NULL extension has not happened yet.
 */
PgtOp *
pgt_close_side(PgtBlock *side, PgtBlock *outer, int ordinal, int offset)
{
	List *targets = NIL;
	PgtOp *op;
	int pos = 1;
	ListCell *lc;
	ListCell *le;

	foreach (lc, side->maps)
		foreach (le, ((PgtEntryMap *) lfirst(lc))->exprs)
			if (lfirst(le) != NULL)
				targets = lappend(targets, lfirst(le));
	if (list_length(side->inputs) == 1 && side->quals == NIL && pgt_passes_columns(linitial(side->inputs), targets))
		op = linitial(side->inputs);
	else
		op = pgt_make_projection(side->inputs, side->quals, targets);
	foreach (lc, side->maps)
	{
		PgtEntryMap *map = lfirst(lc);
		List *exprs = NIL;

		foreach (le, map->exprs)
		{
			Var *v = lfirst(le) == NULL ? NULL : pgt_op_var(op, ordinal, pos++);

			if (v != NULL)
				v->varattno += offset;
			exprs = lappend(exprs, v);
		}
		pgt_add_map(outer, map->rtindex, exprs, map->whole);
	}
	return op;
}

/* LEFT, RIGHT (as LEFT with sides swapped) and FULL joins: one input with the columns of both sides. */
static void
build_outer(PgtBlock *block, JoinExpr *join)
{
	PgtOp *op = pgt_op_make(PGT_OP_OUTER, next_id++, 0);
	PgtBlock l = {block->level};
	PgtBlock r = {block->level};
	PgtBlock on = {block->level};
	PgtBlock out = {block->level};
	int ordinal = list_length(block->inputs) + 1;
	PgtOp *lop;
	PgtOp *rop;
	PgtBlock *rside = join->jointype == JOIN_RIGHT ? &l : &r;
	Node *quals;

	pgt_build_from(&l, join->larg);
	pgt_build_from(&r, join->rarg);
	if (rside == &l)
	{
		PgtBlock swap = l;

		l = r;
		r = swap;
	}
	lop = pgt_close_side(&l, &on, 1, 0);
	rop = pgt_close_side(&r, &on, 2, 0);
	quals = pgt_lower_sublinks(pgt_rebase(&on, join->quals), &lop, &rop);
	(void) pgt_close_side(&l, &out, ordinal, 0);
	(void) pgt_close_side(&r, &out, ordinal, lop->ncols);
	op->full = join->jointype == JOIN_FULL;
	op->children = list_make2(lop, rop);
	if (join->quals != NULL)
		op->quals = make_ands_implicit((Expr *) quals);
	pgt_op_describe(op);
	block->inputs = lappend(block->inputs, op);
	block->maps = list_concat(block->maps, out.maps);
}

/* Joins whose nullable side needs the rows of the other. */
static bool
build_dependent(PgtBlock *block, JoinExpr *join)
{
	Query *query = block->level->query;
	Node *kept = join->jointype == JOIN_LEFT ? join->larg : join->rarg;
	Node *side = join->jointype == JOIN_LEFT ? join->rarg : join->larg;
	RangeTblEntry *item = IsA(side, RangeTblRef) ? rt_fetch(((RangeTblRef *) side)->rtindex, query->rtable) : NULL;

	if (pgt_is_dependent_full(query, join))
	{
		pgt_add_dependent_full(block, join);
		return true;
	}
	if (join->jointype == JOIN_FULL || join->jointype == JOIN_INNER)
		return false;
	if (item != NULL && pgt_is_dependent(item) && join->jointype == JOIN_LEFT)
	{
		pgt_build_from(block, kept);
		pgt_add_dependent(block, item, list_make1_int(((RangeTblRef *) side)->rtindex), join);
		return true;
	}
	if (!pgt_is_dependent_side(query, side, join->quals))
		return false;
	pgt_build_from(block, kept);
	pgt_add_dependent_side(block, side, join->quals);
	return true;
}

void
pgt_build_from(PgtBlock *block, Node *node)
{
	if (IsA(node, RangeTblRef))
		build_entry(block, ((RangeTblRef *) node)->rtindex);
	else if (IsA(node, FromExpr))
	{
		ListCell *lc;

		foreach (lc, ((FromExpr *) node)->fromlist)
			pgt_build_from(block, lfirst(lc));
		add_quals(block, ((FromExpr *) node)->quals);
	}
	else if (((JoinExpr *) node)->jointype == JOIN_INNER)
	{
		pgt_build_from(block, ((JoinExpr *) node)->larg);
		pgt_build_from(block, ((JoinExpr *) node)->rarg);
		add_quals(block, ((JoinExpr *) node)->quals);
	}
	else if (!build_dependent(block, (JoinExpr *) node))
		build_outer(block, (JoinExpr *) node);
}

/* --- aggregation --- */

typedef struct AggContext
{
	List *keys;    /* expressions over the block */
	List *columns; /* the child's targets: keys, then what aggregates read */
	List *aggs;    /* Aggrefs over the child */
	bool inside;   /* walking an aggregate's arguments */
	int depth;     /* inside how many subqueries */
} AggContext;

static Node *split_aggregates(Node *node, AggContext *cxt);

static Var *
column_var(List *columns, int index)
{
	Node *e = list_nth(columns, index);

	return makeVar(1, index + 1, exprType(e), exprTypmod(e), exprCollation(e), 0);
}

static int
find_or_add(List **list, Node *expr)
{
	ListCell *lc;

	foreach (lc, *list)
		if (equal(lfirst(lc), expr))
			return foreach_current_index(lc);
	*list = lappend(*list, expr);
	return list_length(*list) - 1;
}

/* The position among the keys of an expression found inside `depth` subqueries, or -1. */
static int
key_position(AggContext *cxt, Node *node)
{
	ListCell *lc;

	foreach (lc, cxt->keys)
	{
		Node *key = lfirst(lc);

		if (cxt->depth > 0)
		{
			key = copyObject(key);
			IncrementVarSublevelsUp(key, cxt->depth, 0);
		}
		if (equal(key, node))
			return foreach_current_index(lc);
	}
	return -1;
}

static Node *
outer_column(AggContext *cxt, Var *v)
{
	v->varlevelsup = cxt->depth;
	return (Node *) v;
}

static Node *
split_aggref(Node *node, AggContext *cxt)
{
	Aggref *agg;
	Var *v;

	cxt->inside = true;
	agg = (Aggref *) expression_tree_mutator(node, split_aggregates, cxt);
	cxt->inside = false;
	agg->location = -1;
	v = makeVar(1, find_or_add(&cxt->aggs, (Node *) agg) + 1, agg->aggtype, -1, agg->aggcollid, 0);
	v->varattno += list_length(cxt->keys);
	return (Node *) v;
}

/* An aggregate found inside `depth` subqueries: it belongs to this level, and the subqueries see its value. */
static Node *
outer_aggref(Node *node, AggContext *cxt)
{
	int depth = cxt->depth;
	Var *v;

	if (depth > 0)
		IncrementVarSublevelsUp(node = copyObject(node), -depth, depth);
	cxt->depth = 0;
	v = (Var *) split_aggref(node, cxt);
	cxt->depth = depth;
	return outer_column(cxt, v);
}

/*
 * First pass: every aggregate to its list, its inputs to the child's columns; positions of aggregates are fixed up afterwards.
 * A subquery in an aggregate's argument is a column of the child; one beside it sees the groups.
 */
static Node *
split_aggregates(Node *node, AggContext *cxt)
{
	int key;

	if (node == NULL)
		return NULL;
	if (!cxt->inside && !IsA(node, List) && !IsA(node, Query) && (key = key_position(cxt, node)) >= 0)
		return outer_column(cxt, column_var(cxt->columns, key));
	if (IsA(node, Query))
	{
		Query *q;

		cxt->depth++;
		q = query_tree_mutator((Query *) node, split_aggregates, cxt, 0);
		cxt->depth--;
		return (Node *) q;
	}
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup == cxt->depth)
	{
		return outer_aggref(node, cxt);
	}
	if (cxt->inside && cxt->depth == 0 && IsA(node, SubLink))
		return (Node *) column_var(cxt->columns, find_or_add(&cxt->columns, node));
	if (IsA(node, Var) && (int) ((Var *) node)->varlevelsup == cxt->depth)
	{
		if (cxt->depth > 0)
			IncrementVarSublevelsUp(node = copyObject(node), -cxt->depth, cxt->depth);
		return outer_column(cxt, column_var(cxt->columns, find_or_add(&cxt->columns, node)));
	}
	return expression_tree_mutator(node, split_aggregates, cxt);
}

/* Columns used outside aggregates that are no keys: functionally dependent on the keys, so they can be keys too. */
static bool
collect_dependent(Node *node, AggContext *cxt)
{
	bool result;

	if (node == NULL || (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup == cxt->depth))
		return false;
	if (IsA(node, Query))
	{
		cxt->depth++;
		result = query_tree_walker((Query *) node, collect_dependent, cxt, 0);
		cxt->depth--;
		return result;
	}
	if (!IsA(node, List) && key_position(cxt, node) >= 0)
		return false;
	if (IsA(node, Var))
	{
		if ((int) ((Var *) node)->varlevelsup != cxt->depth)
			return false;
		IncrementVarSublevelsUp(node = copyObject(node), -cxt->depth, cxt->depth);
		cxt->keys = lappend(cxt->keys, node);
		return false;
	}
	return expression_tree_walker(node, collect_dependent, cxt);
}

static PgtOp *
make_agg(PgtOp *child, int nkeys, List *aggs, bool scalar)
{
	PgtOp *op = pgt_op_make(PGT_OP_AGG, next_id++, 0);

	op->children = list_make1(child);
	op->nkeys = nkeys;
	op->aggs = aggs;
	op->scalar = scalar;
	pgt_op_describe(op);
	return op;
}

/* SELECT over AGG over SELECT for a level with GROUP BY or aggregates; targets and having are in terms of the block. */
static PgtOp *
build_grouped(PgtBlock *block, Query *query, List *targets, Node *having)
{
	AggContext cxt = {NIL};
	ListCell *lc;
	PgtOp *agg;
	List *quals;

	foreach (lc, query->groupClause)
	{
		Node *key = (Node *) get_sortgroupclause_tle(lfirst(lc), query->targetList)->expr;

		key = pgt_rebase(block, pgt_flatten_group_exprs(query, key));
		if (!list_member(cxt.keys, key))
			cxt.keys = lappend(cxt.keys, key);
	}
	collect_dependent((Node *) targets, &cxt);
	collect_dependent(having, &cxt);
	cxt.columns = list_copy(cxt.keys);
	targets = (List *) split_aggregates((Node *) targets, &cxt);
	quals = having == NULL ? NIL : (List *) split_aggregates((Node *) make_ands_implicit((Expr *) having), &cxt);
	agg = make_agg(pgt_make_projection(block->inputs, block->quals, cxt.columns), list_length(cxt.keys), cxt.aggs,
				   query->groupClause == NIL);
	return pgt_make_projection(list_make1(agg), quals, targets);
}

/* --- one level --- */

PgtOp *
pgt_as_select(PgtOp *op)
{
	if (op->kind == PGT_OP_SELECT)
		return op;
	return pgt_make_select(list_make1(op), NIL, vars_of(op, 1));
}

PgtOp *
pgt_make_distinct(PgtOp *child)
{
	if (child->kind != PGT_OP_UNION)
		child = pgt_as_select(child);
	return make_agg(child, child->ncols, NIL, false);
}

static Node *
with_collation(Node *e, Oid collation)
{
	CollateExpr *c = makeNode(CollateExpr);

	c->arg = (Expr *) e;
	c->collOid = collation;
	c->location = -1;
	return (Node *) c;
}

/* Expressions in the set operation's column types, as the planner will coerce them. */
List *
pgt_coerce_columns(List *exprs, SetOperationStmt *setop)
{
	List *targets = NIL;
	ListCell *le;
	ListCell *t;
	ListCell *c;

	forthree(le, exprs, t, setop->colTypes, c, setop->colCollations)
	{
		Node *e = lfirst(le);

		if (exprType(e) != lfirst_oid(t))
			e = coerce_to_common_type(NULL, e, lfirst_oid(t), "UNION");
		if (exprCollation(e) != lfirst_oid(c) && OidIsValid(lfirst_oid(c)))
			e = with_collation(e, lfirst_oid(c));
		else if (exprCollation(e) != lfirst_oid(c))
			e = (Node *) makeRelabelType((Expr *) e, exprType(e), exprTypmod(e), lfirst_oid(c), COERCE_IMPLICIT_CAST);
		targets = lappend(targets, e);
	}
	return targets;
}

PgtOp *
pgt_coerce_leaf(PgtOp *leaf, SetOperationStmt *setop)
{
	return pgt_make_select(list_make1(leaf), NIL, pgt_coerce_columns(vars_of(leaf, 1), setop));
}

static void
collect_union(PgtLevel *level, Node *node, SetOperationStmt *top, List **leaves)
{
	if (IsA(node, RangeTblRef))
	{
		RangeTblEntry *rte = rt_fetch(((RangeTblRef *) node)->rtindex, level->query->rtable);
		PgtBlock block = {level};
		PgtOp *op = pgt_coerce_leaf(pgt_build_query(rte->subquery, level), top);

		add_op(&block, 1, linitial(op->children));
		*leaves = lappend(*leaves, pgt_make_select(block.inputs, block.quals, (List *) pgt_rebase(&block, (Node *) op->targets)));
	}
	else
	{
		SetOperationStmt *setop = (SetOperationStmt *) node;

		if (setop->op != SETOP_UNION)
		{
			*leaves = lappend(*leaves, pgt_coerce_leaf(pgt_build_intersect(level, setop), top));
			return;
		}
		/* a UNION below a UNION ALL removes its own duplicates; a UNION ALL below a UNION need not be told apart */
		if (!setop->all && setop != top && top->all)
		{
			List *own = NIL;
			PgtOp *u = pgt_op_make(PGT_OP_UNION, next_id++, 0);

			collect_union(level, (Node *) setop, setop, &own);
			u->children = own;
			pgt_op_describe(u);
			*leaves = lappend(*leaves, pgt_coerce_leaf(pgt_make_distinct(u), top));
			return;
		}
		collect_union(level, setop->larg, top, leaves);
		collect_union(level, setop->rarg, top, leaves);
	}
}

PgtOp *
pgt_build_setop(PgtLevel *level, SetOperationStmt *setop)
{
	PgtOp *op;

	if (setop->op != SETOP_UNION)
		return pgt_build_intersect(level, setop);
	op = pgt_op_make(PGT_OP_UNION, next_id++, 0);
	collect_union(level, (Node *) setop, setop, &op->children);
	pgt_op_describe(op);
	return setop->all ? op : pgt_make_distinct(op);
}

PgtOp *
pgt_build_level(PgtLevel *level, List *exprs)
{
	PgtBlock block = {level};
	Query *query = level->query;
	Node *having;

	pgt_build_from(&block, (Node *) query->jointree);
	exprs = (List *) pgt_rebase(&block, (Node *) exprs);
	having = pgt_rebase(&block, pgt_flatten_group_exprs(query, query->havingQual));
	if (query->hasAggs || query->groupClause != NIL || query->havingQual != NULL)
		return build_grouped(&block, query, exprs, having);
	return pgt_make_projection(block.inputs, block.quals, exprs);
}

PgtOp *
pgt_build_query(Query *query, PgtLevel *up)
{
	PgtLevel level = {query, up};
	PgtWindowSplit *split;
	List *exprs;
	PgtOp *op;

	check_stack_depth();
	if (query->setOperations != NULL)
		return pgt_build_top(query, pgt_build_setop(&level, castNode(SetOperationStmt, query->setOperations)));
	pgt_search_order(&level);
	split = pgt_split_windows(query, pgt_target_exprs(query), &exprs);
	if (query->groupingSets != NIL)
		op = pgt_build_grouping_sets(&level, exprs);
	else
		op = pgt_build_level(&level, exprs);
	if (split != NULL)
		op = pgt_build_windows(op, split);
	return pgt_build_top(query, op);
}

/* Rows of every node may have to be stored somewhere for a while, and no table has a column of anonymous records. */
static bool
has_pseudo_column(const PgtOp *op)
{
	ListCell *lc;

	for (int i = 0; i < op->ncols; i++)
		if (get_typtype(op->cols[i].type) == TYPTYPE_PSEUDO)
			return true;
	foreach (lc, op->children)
		if (has_pseudo_column(lfirst(lc)))
			return true;
	return false;
}

/*
 * Groups below other operators are computed in several statements, whose rows have to cancel.  The query's own are compared with what is
 * stored instead.
 */
static bool
has_plan_dependent_group(const PgtOp *op)
{
	ListCell *lc;

	foreach (lc, op->aggs)
		if (!pgt_has_one_image(lfirst(lc)))
			return true;
	foreach (lc, op->children)
		if (has_plan_dependent_group(lfirst(lc)))
			return true;
	return false;
}

static bool
is_plan_dependent(const PgtOp *root)
{
	PgtOp *only = list_length(root->children) == 1 ? pgt_op_child(root, 1) : NULL;

	if (only == NULL || only->kind != PGT_OP_AGG)
		return has_plan_dependent_group(root);
	return has_plan_dependent_group(pgt_op_child(only, 1));
}

/* A merged column of JOIN ... USING stands for a column of one side, cast without a word; expressions take it as cast. */
static bool
cast_merged_columns(Node *node, void *context)
{
	ListCell *lc;
	ListCell *col;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, cast_merged_columns, context);
	foreach (lc, ((Query *) node)->rtable)
		foreach (col, lfirst_node(RangeTblEntry, lc)->joinaliasvars)
			lfirst(col) = pgt_explicit_cast(lfirst(col));
	return query_tree_walker((Query *) node, cast_merged_columns, context, 0);
}

/* NULL, and the reason in `found`, when the query turns out not to be incremental. */
PgtOp *
pgt_build_tree(Query *query, PgtFindings *found)
{
	PgtOp *op;

	next_id = 1;
	findings = found;
	pgt_apply_reset();
	(void) cast_merged_columns((Node *) query, NULL);
	op = pgt_as_select(pgt_build_query(query, NULL));
	pgt_check_closed(op);
	if (found->clocked)
		pgt_clock_lift(op);
	pgt_check_recursions(op);
	if (found->full_reason != NULL)
		return NULL;
	if (op->ncols > 0)
		pgt_op_prune(op, bms_add_range(NULL, 1, op->ncols));
	if (has_pseudo_column(op))
		pgt_not_built("a column of records inside the query", "Name the columns, or cast the record to jsonb or to a composite type.");
	else if (is_plan_dependent(op))
		pgt_not_built("an aggregate below other operations that picks one of several equal values that look different", "Cast its argument to text, or to a type whose values look one way only.");
	return found->full_reason == NULL ? op : NULL;
}
