/*
 * build_part.c - the operator nodes above a block: windows, DISTINCT ON, ORDER BY with LIMIT, INTERSECT and EXCEPT.
 *
 * Windows: every largest part of the select list without a window function becomes a column of the node below; then one PART node
 * per distinct PARTITION BY, one above the other, each passing on all columns; then the select list over those.  ORDER BY and
 * PARTITION BY refer to entries of the target list, hidden ones included, so that queries with any of this keep all entries
 * until the end.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"

#include "analyze.h"
#include "build.h"
#include "compat.h"
#include "part.h"

/* A set that is only sorted by makes rows all the same. */
static bool
has_hidden_set(Query *query)
{
	ListCell *lc;

	if (query->hasTargetSRFs)
		foreach (lc, query->targetList)
			if (((TargetEntry *) lfirst(lc))->resjunk && expression_returns_set((Node *) ((TargetEntry *) lfirst(lc))->expr))
				return true;
	return false;
}

static bool
keeps_hidden_targets(Query *query)
{
	if (has_hidden_set(query))
		return true;
	return query->setOperations == NULL && (query->distinctClause == NIL || query->hasDistinctOn) &&
		   (query->hasWindowFuncs || query->hasDistinctOn || query->limitCount != NULL || query->limitOffset != NULL);
}

List *
pgt_target_exprs(Query *query)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		/* a window refers to hidden entries even below DISTINCT */
		if (!tle->resjunk || query->hasWindowFuncs || keeps_hidden_targets(query))
			out = lappend(out, pgt_flatten_group_exprs(query, (Node *) tle->expr));
	}
	return out;
}

static PgtOp *
make_part(PgtOp *child, PgtPartKind kind)
{
	PgtOp *op = pgt_build_op(PGT_OP_PART);

	op->children = list_make1(child);
	op->part = palloc0(sizeof(PgtPart));
	op->part->kind = kind;
	return op;
}

/* Sort keys by the column that each entry of the target list has become. */
static List *
sort_keys(List *clauses, int *column_of)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, clauses)
	{
		SortGroupClause *clause = lfirst(lc);
		PgtSortKey *key = palloc(sizeof(PgtSortKey));

		*key = (PgtSortKey){column_of[clause->tleSortGroupRef], clause->sortop, clause->nulls_first};
		if (OidIsValid(clause->sortop))
			out = lappend(out, key);
		else
			((PgtSortKey *) llast(out))->more = lappend_int(((PgtSortKey *) llast(out))->more, key->col);
	}
	return out;
}

static List *
group_keys(List *clauses, int *column_of)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, clauses)
		out = list_append_unique_int(out, column_of[((SortGroupClause *) lfirst(lc))->tleSortGroupRef]);
	return out;
}

/* Column of each ressortgroupref; entries stand at their position among the kept ones, or where `at` says. */
static int *
columns_of_refs(Query *query, bool hidden, List *at)
{
	Index max = 0;
	int *map;
	int n = 0;
	ListCell *lc;

	foreach (lc, query->targetList)
		max = Max(max, ((TargetEntry *) lfirst(lc))->ressortgroupref);
	map = palloc0(sizeof(int) * (max + 1));
	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk && !hidden)
			continue;
		n++;
		map[tle->ressortgroupref] = at == NIL ? n : list_nth_int(at, n - 1);
	}
	return map;
}

/* --- windows --- */

struct PgtWindowSplit
{
	Query *query;
	List *columns; /* of the node below: parts without window functions */
	List *funcs;   /* of WindowFunc, over the columns */
	List *targets; /* the target list over the columns; window functions still as such */
	List *at;      /* of int: the column that an entry is as a whole, 0 if it is none */
};

static Node *split_mutator(Node *node, PgtWindowSplit *split);

static int
column_for(PgtWindowSplit *split, Node *expr)
{
	ListCell *lc;

	foreach (lc, split->columns)
		if (equal(lfirst(lc), expr))
			return foreach_current_index(lc) + 1;
	split->columns = lappend(split->columns, expr);
	return list_length(split->columns);
}

static Node *
column_var(PgtWindowSplit *split, Node *expr)
{
	return (Node *) makeVar(1, column_for(split, expr), exprType(expr), exprTypmod(expr), exprCollation(expr), 0);
}

static bool
has_window(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, WindowFunc) || expression_tree_walker(node, has_window, context);
}

static bool
is_open(Node *node, void *context)
{
	if (node == NULL || IsA(node, SubLink))
		return false;
	if (pgt_is_placeholder(node))
		return true;
	if (IsA(node, CaseExpr) && ((CaseExpr *) node)->arg != NULL)
		return is_open((Node *) ((CaseExpr *) node)->arg, context);
	if (IsA(node, ArrayCoerceExpr))
		return is_open((Node *) ((ArrayCoerceExpr *) node)->arg, context);
	return expression_tree_walker(node, is_open, context);
}

bool
pgt_is_placeholder(Node *node)
{
	return IsA(node, CaseTestExpr) || (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK);
}

bool
pgt_has_open_placeholder(Node *node)
{
	return is_open(node, NULL);
}

bool
pgt_is_divided(Node *node)
{
	/* sets of the select list are computed above windows */
	return IsA(node, List) || has_window(node, NULL) || is_open(node, NULL) || expression_returns_set(node);
}

static Node *
split_window(WindowFunc *func, PgtWindowSplit *split)
{
	WindowFunc *f = palloc(sizeof(WindowFunc));
	ListCell *lc;

	*f = *func;
	f->args = (List *) split_mutator((Node *) f->args, split);
	f->aggfilter = (Expr *) split_mutator((Node *) f->aggfilter, split);
	f->location = -1;
	foreach (lc, split->funcs)
		if (equal(lfirst(lc), f))
			return lfirst(lc);
	split->funcs = lappend(split->funcs, f);
	return (Node *) f;
}

static Node *
split_mutator(Node *node, PgtWindowSplit *split)
{
	if (node == NULL || IsA(node, Const) || pgt_is_placeholder(node))
		return node;
	if (IsA(node, WindowFunc))
		return split_window((WindowFunc *) node, split);
	if (IsA(node, CaseWhen)) /* no expression, and the server's walker does not know it */
		return expression_tree_mutator(node, split_mutator, split);
	if (IsA(node, SubLink) && has_window(((SubLink *) node)->testexpr, NULL))
	{
		pgt_not_built("a window function that is compared with a subquery", "Compute the window function in a subquery in FROM.");
		return node;
	}
	if (pgt_is_divided(node))
		return expression_tree_mutator(node, split_mutator, split);
	return column_var(split, node);
}

PgtWindowSplit *
pgt_split_windows(Query *query, List *exprs, List **columns)
{
	PgtWindowSplit *split;
	ListCell *lc;

	*columns = exprs;
	if (!query->hasWindowFuncs)
		return NULL;
	split = palloc0(sizeof(PgtWindowSplit));
	split->query = query;
	foreach (lc, exprs)
	{
		bool whole = !has_window(lfirst(lc), NULL) && !expression_returns_set(lfirst(lc));

		split->at = lappend_int(split->at, whole ? column_for(split, lfirst(lc)) : 0);
		split->targets = lappend(split->targets, whole ? column_var(split, lfirst(lc)) : split_mutator(lfirst(lc), split));
	}
	*columns = split->columns;
	return split;
}

static PgtWindow *
make_window(WindowFunc *f, WindowClause *wc, int *column_of)
{
	PgtWindow *w = palloc0(sizeof(PgtWindow));

	w->func = f;
	w->order = sort_keys(wc->orderClause, column_of);
	w->frame = wc->frameOptions;
	w->start = wc->startOffset;
	w->end = wc->endOffset;
	return w;
}

typedef struct PlaceContext
{
	List *placed; /* of PgtWindow, in output order */
	int offset;
} PlaceContext;

static Node *
place_mutator(Node *node, PlaceContext *cxt)
{
	ListCell *lc;

	if (node == NULL)
		return NULL;
	if (IsA(node, WindowFunc))
		foreach (lc, cxt->placed)
			if (((PgtWindow *) lfirst(lc))->func == (WindowFunc *) node || equal(((PgtWindow *) lfirst(lc))->func, node))
				return (Node *) makeVar(1, cxt->offset + foreach_current_index(lc) + 1, exprType(node), -1, exprCollation(node), 0);
	return expression_tree_mutator(node, place_mutator, cxt);
}

static bool
same_keys(List *a, List *b)
{
	return list_length(a) == list_length(b) && list_difference_int(a, b) == NIL;
}

static WindowClause *
clause_of(PgtWindowSplit *split, WindowFunc *f)
{
	return list_nth(split->query->windowClause, f->winref - 1);
}

/*
 * Rows that are equal in all columns tie even in a total order.  That shows where two windows number them: which number goes with
 * which is open.  The first window that breaks ties then also yields its row number, the others sort by it last.  Moves that
 * window's functions to the front; NULL when there are no two such windows.
 */
static WindowFunc *
settle_pairs(PgtWindowSplit *split)
{
	WindowFunc *first = NULL;
	bool several = false;
	List *front = NIL;
	ListCell *lc;

	foreach (lc, split->funcs)
	{
		WindowFunc *f = lfirst(lc);

		if (!pgt_window_breaks_ties(f, clause_of(split, f)))
			continue;
		several |= first != NULL && first->winref != f->winref;
		first = first == NULL ? f : first;
	}
	if (!several)
		return NULL;
	foreach (lc, split->funcs)
		if (((WindowFunc *) lfirst(lc))->winref == first->winref)
			front = lappend(front, lfirst(lc));
	split->funcs = list_concat(front, list_difference_ptr(split->funcs, front));
	return first;
}

static WindowFunc *
row_number_of(Index winref)
{
	WindowFunc *f = makeNode(WindowFunc);

	f->winfnoid = F_ROW_NUMBER;
	f->wintype = INT8OID;
	f->winref = winref;
	f->location = -1;
	return f;
}

static int
column_of_input(PgtWindowSplit *split, AttrNumber attno)
{
	ListCell *lc;

	foreach (lc, split->columns)
	{
		Var *v = lfirst(lc);

		if (IsA(v, Var) && v->varlevelsup == 0 && v->varattno == attno)
			return foreach_current_index(lc) + 1;
	}
	return 0;
}

/* The node's input in the order of the subquery that canon_nest.c made. */
static void
sort_input(PgtPart *part, PgtWindowSplit *split, Query *input)
{
	ListCell *lc;

	foreach (lc, input->sortClause)
	{
		SortGroupClause *clause = lfirst(lc);
		TargetEntry *tle = get_sortgroupclause_tle(clause, input->targetList);
		PgtSortKey *key = palloc(sizeof(PgtSortKey));

		*key = (PgtSortKey){column_of_input(split, tle->resno), clause->sortop, clause->nulls_first};
		if (!tle->resjunk && key->col > 0)
			part->order = lappend(part->order, key);
	}
	foreach (lc, input->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		PgtCol col = {exprType((Node *) tle->expr), exprTypmod((Node *) tle->expr), exprCollation((Node *) tle->expr), false};
		int n = tle->resjunk || pgt_col_image_safe(&col) ? 0 : column_of_input(split, tle->resno);

		if (n > 0)
			part->images = lappend_int(part->images, n);
	}
}

/* Takes the functions of one node off `todo`. */
static PgtOp *
build_window_node(PgtOp *op, PgtWindowSplit *split, List **todo, WindowFunc *first, int tiebreak)
{
	PgtOp *part = make_part(op, PGT_PART_WINDOW);
	int *column_of = columns_of_refs(split->query, true, split->at);
	List *rest = NIL;
	Query *input;
	ListCell *lc;

	part->part->keys = group_keys(clause_of(split, linitial(*todo))->partitionClause, column_of);
	foreach (lc, *todo)
	{
		WindowFunc *f = lfirst(lc);
		WindowClause *wc = clause_of(split, f);
		bool ordered = first != NULL && f->winref != first->winref && pgt_window_breaks_ties(f, wc);
		PgtWindow *w = make_window(f, wc, column_of);

		if (!same_keys(part->part->keys, group_keys(wc->partitionClause, column_of)) || (ordered && tiebreak == 0))
		{
			rest = lappend(rest, f);
			continue;
		}
		if (ordered)
		{
			PgtSortKey *key = palloc(sizeof(PgtSortKey));

			*key = (PgtSortKey){tiebreak, Int8LessOperator, false};
			w->order = lappend(w->order, key);
		}
		part->part->windows = lappend(part->part->windows, w);
		if (pgt_window_orders_peers(f, wc) && part->part->order == NIL && (input = pgt_sorted_input(split->query, wc)) != NULL)
			sort_input(part->part, split, input);
	}
	if (first != NULL && tiebreak == 0)
		part->part->windows = lappend(part->part->windows,
									  make_window(row_number_of(first->winref), clause_of(split, first), column_of));
	pgt_op_describe(part);
	*todo = rest;
	return part;
}

/* The nodes for all windows above `op`, which yields the split's columns; then the target list. */
PgtOp *
pgt_build_windows(PgtOp *op, PgtWindowSplit *split)
{
	WindowFunc *first = settle_pairs(split);
	List *todo = split->funcs;
	PlaceContext place = {NIL, op->ncols};
	int tiebreak = 0;

	while (todo != NIL)
	{
		op = build_window_node(op, split, &todo, first, tiebreak);
		place.placed = list_concat(place.placed, op->part->windows);
		if (tiebreak == 0)
			tiebreak = op->ncols;
	}
	return pgt_make_projection(list_make1(op), NIL, (List *) place_mutator((Node *) split->targets, &place));
}

/* --- above the select list --- */

static bool
depends_on_rows(Node *node)
{
	return node != NULL && (contain_var_clause(node) || checkExprHasSubLink(node));
}

static PgtOp *
build_limit(Query *query, PgtOp *op, bool hidden)
{
	PgtOp *part = make_part(op, PGT_PART_LIMIT);

	if (depends_on_rows(query->limitCount) || depends_on_rows(query->limitOffset))
		pgt_not_built("LIMIT or OFFSET by a subquery", "Write the number of rows as a constant.");
	part->part->order = sort_keys(query->sortClause, columns_of_refs(query, hidden, NIL));
	part->part->count = query->limitCount;
	part->part->offset = query->limitOffset;
	part->part->ties = query->limitOption == LIMIT_OPTION_WITH_TIES;
	/* elsewhere the images are among the query's sort keys */
	part->part->by_image = !part->part->ties && (query->setOperations != NULL || query->distinctClause != NIL);
	pgt_op_describe(part);
	return part;
}

static PgtOp *
build_distinct_on(Query *query, PgtOp *op)
{
	PgtOp *part = make_part(op, PGT_PART_FIRST);
	int *column_of = columns_of_refs(query, true, NIL);

	part->part->keys = group_keys(query->distinctClause, column_of);
	part->part->order = sort_keys(query->sortClause, column_of);
	pgt_op_describe(part);
	return part;
}

static PgtOp *
without_hidden(Query *query, PgtOp *op)
{
	List *targets = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			targets = lappend(targets, pgt_op_var(op, 1, foreach_current_index(lc) + 1));
	if (list_length(targets) == op->ncols)
		return op;
	return pgt_make_select(list_make1(op), NIL, targets);
}

PgtOp *
pgt_build_top(Query *query, PgtOp *op)
{
	bool limited = query->limitCount != NULL || query->limitOffset != NULL;
	bool hidden = keeps_hidden_targets(query);

	if (query->hasDistinctOn)
		op = build_distinct_on(query, op);
	else if (query->distinctClause != NIL)
	{
		op = pgt_make_distinct(query->hasWindowFuncs || hidden ? without_hidden(query, op) : op);
		hidden = false;
	}
	if (limited)
		op = build_limit(query, op, hidden);
	return hidden ? without_hidden(query, op) : op;
}

/* --- INTERSECT and EXCEPT --- */

/* One side's rows, with the number of the side as last column. */
static PgtOp *
build_side(PgtLevel *level, Node *node, SetOperationStmt *setop, int side)
{
	PgtOp *op = pgt_coerce_leaf(IsA(node, RangeTblRef) ? pgt_build_query(rt_fetch(((RangeTblRef *) node)->rtindex, level->query->rtable)->subquery, level) : pgt_build_setop(level, castNode(SetOperationStmt, node)), setop);

	op->targets = lappend(op->targets, makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(side), false, true));
	pgt_op_describe(op);
	return op;
}

PgtOp *
pgt_build_intersect(PgtLevel *level, SetOperationStmt *setop)
{
	PgtOp *both = pgt_build_op(PGT_OP_UNION);
	PgtOp *part;

	both->children = list_make2(build_side(level, setop->larg, setop, 1), build_side(level, setop->rarg, setop, 2));
	pgt_op_describe(both);
	part = make_part(both, PGT_PART_SETOP);
	part->part->except = setop->op == SETOP_EXCEPT;
	part->part->all = setop->all;
	for (int i = 1; i < both->ncols; i++)
		part->part->keys = lappend_int(part->part->keys, i);
	pgt_op_describe(part);
	return part;
}
