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
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "utils/rel.h"

#include "analyze.h"
#include "compat.h"

/* The query levels around the one being built: where a CTE reference finds its query. */
typedef struct Level
{
	Query	   *query;
	struct Level *up;
} Level;

/* The expressions that one range table entry's columns stand for, over the block's inputs. */
typedef struct EntryMap
{
	int			rtindex;
	List	   *exprs; /* by attribute number; NULL where there is no such column */
} EntryMap;

typedef struct Block
{
	Level	   *level;
	List	   *inputs; /* of PgtOp */
	List	   *quals;	/* over the inputs */
	List	   *maps;	/* of EntryMap */
} Block;

static int	next_id;

static PgtOp *build_query(Query *query, Level *up);
static void build_from(Block *block, Node *node);

/* --- Vars of a block --- */

typedef struct RebaseContext
{
	Block	   *block;
} RebaseContext;

static Node *
rebase_mutator(Node *node, RebaseContext *cxt)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *v = (Var *) node;
		ListCell   *lc;

		foreach(lc, cxt->block->maps)
		{
			EntryMap   *map = lfirst(lc);

			if (map->rtindex == (int) v->varno)
				return copyObject(list_nth(map->exprs, v->varattno - 1));
		}
		elog(ERROR, "column %d of range table entry %d not found in its block", v->varattno, (int) v->varno);
	}
	return expression_tree_mutator(node, rebase_mutator, cxt);
}

/* An expression of the query level, in terms of the block's inputs. */
static Node *
rebase(Block *block, Node *node)
{
	RebaseContext cxt = {block};

	return rebase_mutator(pgt_flatten_join_aliases(block->level->query, node), &cxt);
}

/* Vars with varno i refer to ordinal i + shift from now on. */
static Node *
shift_varno(Node *node, int *shift)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *v = (Var *) copyObject(node);

		v->varno += *shift;
		return (Node *) v;
	}
	return expression_tree_mutator(node, shift_varno, shift);
}

static void
add_map(Block *block, int rtindex, List *exprs)
{
	EntryMap   *map = palloc(sizeof(EntryMap));

	map->rtindex = rtindex;
	map->exprs = exprs;
	block->maps = lappend(block->maps, map);
}

static List *
vars_of(PgtOp *op, int ordinal)
{
	List	   *vars = NIL;

	for (int i = 1; i <= op->ncols; i++)
		vars = lappend(vars, pgt_op_var(op, ordinal, i));
	return vars;
}

static PgtOp *
make_select(List *inputs, List *quals, List *targets)
{
	PgtOp	   *op = pgt_op_make(PGT_OP_SELECT, next_id++, 0);

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
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	PgtOp	   *op = pgt_op_make(PGT_OP_SCAN, next_id++, desc->natts);
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		op->cols[n++] = (PgtCol){att->atttypid, att->atttypmod, att->attcollation, att->attnotnull};
		op->attnums = lappend_int(op->attnums, att->attnum);
	}
	op->ncols = n;
	op->relid = relid;
	table_close(rel, AccessShareLock);
	return op;
}

static void
add_scan(Block *block, int rtindex, RangeTblEntry *rte)
{
	PgtOp	   *op = build_scan(rte->relid);
	int			ordinal = list_length(block->inputs) + 1;
	int			last = llast_int(op->attnums);
	List	   *exprs = NIL;
	int			col = 1;

	for (int att = 1; att <= last; att++)
	{
		if (list_nth_int(op->attnums, col - 1) == att)
			exprs = lappend(exprs, pgt_op_var(op, ordinal, col++));
		else
			exprs = lappend(exprs, NULL);
	}
	block->inputs = lappend(block->inputs, op);
	add_map(block, rtindex, exprs);
}

/* A plain SELECT dissolves into the block; anything else is one input. */
static void
add_op(Block *block, int rtindex, PgtOp *op)
{
	int			shift = list_length(block->inputs);

	if (op->kind == PGT_OP_SELECT)
	{
		block->inputs = list_concat(block->inputs, op->children);
		block->quals = list_concat(block->quals, (List *) shift_varno((Node *) op->quals, &shift));
		add_map(block, rtindex, (List *) shift_varno((Node *) op->targets, &shift));
		return;
	}
	block->inputs = lappend(block->inputs, op);
	add_map(block, rtindex, vars_of(op, shift + 1));
}

static PgtOp *
build_cte(Block *block, RangeTblEntry *rte)
{
	Level	   *level = block->level;
	ListCell   *lc;

	for (Index up = 0; up < rte->ctelevelsup; up++)
		level = level->up;
	foreach(lc, level->query->cteList)
	{
		CommonTableExpr *cte = lfirst(lc);

		if (strcmp(cte->ctename, rte->ctename) == 0)
			return build_query((Query *) cte->ctequery, level);
	}
	elog(ERROR, "common table expression \"%s\" not found", rte->ctename);
}

static PgtOp *
build_values(Block *block, RangeTblEntry *rte)
{
	PgtOp	   *op = pgt_op_make(PGT_OP_UNION, next_id++, 0);
	ListCell   *lc;

	foreach(lc, rte->values_lists)
		op->children = lappend(op->children, make_select(NIL, NIL, (List *) lfirst(lc)));
	pgt_op_describe(op);
	return op;
}

static void
build_entry(Block *block, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, block->level->query->rtable);

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			add_scan(block, rtindex, rte);
			break;
		case RTE_SUBQUERY:
			add_op(block, rtindex, build_query(rte->subquery, block->level));
			break;
		case RTE_CTE:
			add_op(block, rtindex, build_cte(block, rte));
			break;
		case RTE_VALUES:
			add_op(block, rtindex, build_values(block, rte));
			break;
		case RTE_RESULT:
			break;
		default:
			elog(ERROR, "range table entry of kind %d in an incremental query", (int) rte->rtekind);
	}
}

/* --- joins --- */

static void
add_quals(Block *block, Node *quals)
{
	if (quals != NULL)
		block->quals = list_concat(block->quals, make_ands_implicit((Expr *) rebase(block, quals)));
}

static bool
is_identity(PgtOp *input, List *targets)
{
	ListCell   *lc;

	if (list_length(targets) != input->ncols)
		return false;
	foreach(lc, targets)
	{
		Var		   *v = lfirst(lc);

		if (!IsA(v, Var) || v->varattno != foreach_current_index(lc) + 1)
			return false;
	}
	return true;
}

/*
 * Close a block into one node that yields all columns of its entries; the maps are rewritten to (ordinal, position) and moved to
 * `outer`.  Under an outer join this keeps computed columns below the join, where NULL extension has not happened yet.
 */
static PgtOp *
close_side(Block *side, Block *outer, int ordinal, int offset)
{
	List	   *targets = NIL;
	PgtOp	   *op;
	int			pos = 1;
	ListCell   *lc;
	ListCell   *le;

	foreach(lc, side->maps)
		foreach(le, ((EntryMap *) lfirst(lc))->exprs)
			if (lfirst(le) != NULL)
				targets = lappend(targets, lfirst(le));
	if (list_length(side->inputs) == 1 && side->quals == NIL && is_identity(linitial(side->inputs), targets))
		op = linitial(side->inputs);
	else
		op = make_select(side->inputs, side->quals, targets);
	foreach(lc, side->maps)
	{
		EntryMap   *map = lfirst(lc);
		List	   *exprs = NIL;

		foreach(le, map->exprs)
		{
			Var		   *v = lfirst(le) == NULL ? NULL : pgt_op_var(op, ordinal, pos++);

			if (v != NULL)
				v->varattno += offset;
			exprs = lappend(exprs, v);
		}
		add_map(outer, map->rtindex, exprs);
	}
	return op;
}

/* LEFT, RIGHT (as LEFT with sides swapped) and FULL joins: one input with the columns of both sides. */
static void
build_outer(Block *block, JoinExpr *join)
{
	PgtOp	   *op = pgt_op_make(PGT_OP_OUTER, next_id++, 0);
	Block		l = {block->level};
	Block		r = {block->level};
	Block		on = {block->level};
	Block		out = {block->level};
	int			ordinal = list_length(block->inputs) + 1;
	PgtOp	   *lop;
	PgtOp	   *rop;
	Block	   *rside = join->jointype == JOIN_RIGHT ? &l : &r;

	build_from(&l, join->larg);
	build_from(&r, join->rarg);
	if (rside == &l)
	{
		Block		swap = l;

		l = r;
		r = swap;
	}
	lop = close_side(&l, &on, 1, 0);
	rop = close_side(&r, &on, 2, 0);
	(void) close_side(&l, &out, ordinal, 0);
	(void) close_side(&r, &out, ordinal, lop->ncols);
	op->full = join->jointype == JOIN_FULL;
	op->children = list_make2(lop, rop);
	if (join->quals != NULL)
		op->quals = make_ands_implicit((Expr *) rebase(&on, join->quals));
	pgt_op_describe(op);
	block->inputs = lappend(block->inputs, op);
	block->maps = list_concat(block->maps, out.maps);
}

static void
build_from(Block *block, Node *node)
{
	if (IsA(node, RangeTblRef))
		build_entry(block, ((RangeTblRef *) node)->rtindex);
	else if (IsA(node, FromExpr))
	{
		ListCell   *lc;

		foreach(lc, ((FromExpr *) node)->fromlist)
			build_from(block, lfirst(lc));
		add_quals(block, ((FromExpr *) node)->quals);
	}
	else if (((JoinExpr *) node)->jointype == JOIN_INNER)
	{
		build_from(block, ((JoinExpr *) node)->larg);
		build_from(block, ((JoinExpr *) node)->rarg);
		add_quals(block, ((JoinExpr *) node)->quals);
	}
	else
		build_outer(block, (JoinExpr *) node);
}

/* --- aggregation --- */

typedef struct AggContext
{
	List	   *keys;	 /* expressions over the block */
	List	   *columns; /* the child's targets: keys, then what aggregates read */
	List	   *aggs;	 /* Aggrefs over the child */
	bool		inside;	 /* walking an aggregate's arguments */
} AggContext;

static Var *
column_var(List *columns, int index)
{
	Node	   *e = list_nth(columns, index);

	return makeVar(1, index + 1, exprType(e), exprTypmod(e), exprCollation(e), 0);
}

static int
find_or_add(List **list, Node *expr)
{
	ListCell   *lc;

	foreach(lc, *list)
		if (equal(lfirst(lc), expr))
			return foreach_current_index(lc);
	*list = lappend(*list, expr);
	return list_length(*list) - 1;
}

/* First pass: every aggregate to its list, its inputs to the child's columns; positions of aggregates are fixed up afterwards. */
static Node *
split_aggregates(Node *node, AggContext *cxt)
{
	ListCell   *lc;

	if (node == NULL)
		return NULL;
	if (!cxt->inside)
		foreach(lc, cxt->keys)
			if (equal(lfirst(lc), node))
				return (Node *) column_var(cxt->columns, foreach_current_index(lc));
	if (IsA(node, Aggref))
	{
		Aggref	   *agg;
		Var		   *v;

		cxt->inside = true;
		agg = (Aggref *) expression_tree_mutator(node, split_aggregates, cxt);
		cxt->inside = false;
		agg->location = -1;
		v = makeVar(1, find_or_add(&cxt->aggs, (Node *) agg) + 1, agg->aggtype, -1, agg->aggcollid, 0);
		v->varattno += list_length(cxt->keys);
		return (Node *) v;
	}
	if (IsA(node, Var))
		return (Node *) column_var(cxt->columns, find_or_add(&cxt->columns, node));
	return expression_tree_mutator(node, split_aggregates, cxt);
}

/* Columns used outside aggregates that are no keys: functionally dependent on the keys, so they can be keys too. */
static bool
collect_dependent(Node *node, AggContext *cxt)
{
	ListCell   *lc;

	if (node == NULL || IsA(node, Aggref))
		return false;
	foreach(lc, cxt->keys)
		if (equal(lfirst(lc), node))
			return false;
	if (IsA(node, Var))
	{
		cxt->keys = lappend(cxt->keys, node);
		return false;
	}
	return expression_tree_walker(node, collect_dependent, cxt);
}

static PgtOp *
make_agg(PgtOp *child, int nkeys, List *aggs, bool scalar)
{
	PgtOp	   *op = pgt_op_make(PGT_OP_AGG, next_id++, 0);

	op->children = list_make1(child);
	op->nkeys = nkeys;
	op->aggs = aggs;
	op->scalar = scalar;
	pgt_op_describe(op);
	return op;
}

/* SELECT over AGG over SELECT for a level with GROUP BY or aggregates; targets and having are in terms of the block. */
static PgtOp *
build_grouped(Block *block, Query *query, List *targets, Node *having)
{
	AggContext	cxt = {NIL};
	ListCell   *lc;
	PgtOp	   *agg;
	List	   *quals;

	foreach(lc, query->groupClause)
	{
		Node	   *key = (Node *) get_sortgroupclause_tle(lfirst(lc), query->targetList)->expr;

		key = rebase(block, pgt_flatten_group_exprs(query, key));
		if (!list_member(cxt.keys, key))
			cxt.keys = lappend(cxt.keys, key);
	}
	collect_dependent((Node *) targets, &cxt);
	collect_dependent(having, &cxt);
	cxt.columns = list_copy(cxt.keys);
	targets = (List *) split_aggregates((Node *) targets, &cxt);
	quals = having == NULL ? NIL : (List *) split_aggregates((Node *) make_ands_implicit((Expr *) having), &cxt);
	agg = make_agg(make_select(block->inputs, block->quals, cxt.columns), list_length(cxt.keys), cxt.aggs,
				   query->groupClause == NIL);
	return make_select(list_make1(agg), quals, targets);
}

/* --- one level --- */

static PgtOp *
as_select(PgtOp *op)
{
	if (op->kind == PGT_OP_SELECT)
		return op;
	return make_select(list_make1(op), NIL, vars_of(op, 1));
}

static PgtOp *
make_distinct(PgtOp *child)
{
	if (child->kind != PGT_OP_UNION)
		child = as_select(child);
	return make_agg(child, child->ncols, NIL, false);
}

/* The leaf's columns in the set operation's column types, as the planner will coerce them. */
static PgtOp *
coerce_leaf(PgtOp *leaf, SetOperationStmt *setop)
{
	List	   *targets = NIL;
	ListCell   *t;
	ListCell   *c;
	int			col = 1;

	forboth(t, setop->colTypes, c, setop->colCollations)
	{
		Node	   *e = (Node *) pgt_op_var(leaf, 1, col++);

		if (exprType(e) != lfirst_oid(t))
			e = coerce_to_common_type(NULL, e, lfirst_oid(t), "UNION");
		if (exprCollation(e) != lfirst_oid(c))
			e = (Node *) makeRelabelType((Expr *) e, exprType(e), exprTypmod(e), lfirst_oid(c), COERCE_IMPLICIT_CAST);
		targets = lappend(targets, e);
	}
	return make_select(list_make1(leaf), NIL, targets);
}

static void
collect_union(Level *level, Node *node, SetOperationStmt *top, List **leaves)
{
	if (IsA(node, RangeTblRef))
	{
		RangeTblEntry *rte = rt_fetch(((RangeTblRef *) node)->rtindex, level->query->rtable);
		Block		block = {level};
		PgtOp	   *op = coerce_leaf(build_query(rte->subquery, level), top);

		add_op(&block, 1, linitial(op->children));
		*leaves = lappend(*leaves, make_select(block.inputs, block.quals, (List *) rebase(&block, (Node *) op->targets)));
	}
	else
	{
		SetOperationStmt *setop = (SetOperationStmt *) node;

		/* a UNION below a UNION ALL removes its own duplicates; a UNION ALL below a UNION need not be told apart */
		if (!setop->all && setop != top && top->all)
		{
			List	   *own = NIL;
			PgtOp	   *u = pgt_op_make(PGT_OP_UNION, next_id++, 0);

			collect_union(level, (Node *) setop, setop, &own);
			u->children = own;
			pgt_op_describe(u);
			*leaves = lappend(*leaves, coerce_leaf(make_distinct(u), top));
			return;
		}
		collect_union(level, setop->larg, top, leaves);
		collect_union(level, setop->rarg, top, leaves);
	}
}

static PgtOp *
build_setop(Level *level)
{
	SetOperationStmt *top = castNode(SetOperationStmt, level->query->setOperations);
	PgtOp	   *op = pgt_op_make(PGT_OP_UNION, next_id++, 0);

	collect_union(level, (Node *) top, top, &op->children);
	pgt_op_describe(op);
	return top->all ? op : make_distinct(op);
}

static PgtOp *
build_query(Query *query, Level *up)
{
	Level		level = {query, up};
	Block		block = {&level};
	List	   *targets = NIL;
	ListCell   *lc;
	PgtOp	   *op;
	Node	   *having;

	if (query->setOperations != NULL)
		return build_setop(&level);
	build_from(&block, (Node *) query->jointree);
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk)
			targets = lappend(targets, rebase(&block, pgt_flatten_group_exprs(query, (Node *) tle->expr)));
	}
	having = rebase(&block, pgt_flatten_group_exprs(query, query->havingQual));
	if (query->hasAggs || query->groupClause != NIL || query->havingQual != NULL)
		op = build_grouped(&block, query, targets, having);
	else
		op = make_select(block.inputs, block.quals, targets);
	if (query->distinctClause != NIL)
		op = make_distinct(op);
	return op;
}

PgtOp *
pgt_build_tree(Query *query)
{
	PgtOp	   *op;

	next_id = 1;
	op = as_select(build_query(query, NULL));
	if (op->ncols > 0)
		pgt_op_prune(op, bms_add_range(NULL, 1, op->ncols));
	return op;
}
