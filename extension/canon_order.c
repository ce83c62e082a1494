/*
 * canon_order.c - one answer where ORDER BY leaves several: LIMIT, DISTINCT ON, ARRAY() and window functions over ties.
 *
 * Rows that tie are told apart by everything that the query shows of them, by value and where equal values have several images
 * by the image as text: what still ties is interchangeable.  LIMIT, DISTINCT ON and ARRAY() get the other columns as last sort keys.
 *
 * A window gets them only where that changes no frame and no peers: row_number, ntile, lag and lead (which look at neither), and
 * ROWS frames.  A function over the whole partition in no order gets an order and a ROWS frame of everything.  A function that
 * depends on the order of peers in a RANGE or GROUPS frame has no such form: canon_nest.c sorts its input.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_oper.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "build.h"
#include "canon.h"

#define WHOLE_PARTITION                                                                                        \
	(FRAMEOPTION_NONDEFAULT | FRAMEOPTION_ROWS | FRAMEOPTION_BETWEEN | FRAMEOPTION_START_UNBOUNDED_PRECEDING | \
	 FRAMEOPTION_END_UNBOUNDED_FOLLOWING)
#define UP_TO_ROW                                                                                              \
	(FRAMEOPTION_NONDEFAULT | FRAMEOPTION_ROWS | FRAMEOPTION_BETWEEN | FRAMEOPTION_START_UNBOUNDED_PRECEDING | \
	 FRAMEOPTION_END_CURRENT_ROW)
#define FROM_ROW                                                                                       \
	(FRAMEOPTION_NONDEFAULT | FRAMEOPTION_ROWS | FRAMEOPTION_BETWEEN | FRAMEOPTION_START_CURRENT_ROW | \
	 FRAMEOPTION_END_UNBOUNDED_FOLLOWING)

/* --- sort keys --- */

static TargetEntry *
entry_of(Query *query, Node *expr)
{
	ListCell *lc;
	TargetEntry *tle;

	foreach (lc, query->targetList)
		if (equal(((TargetEntry *) lfirst(lc))->expr, expr))
			return lfirst(lc);
	tle = makeTargetEntry((Expr *) copyObject(expr), list_length(query->targetList) + 1, NULL, true);
	query->targetList = lappend(query->targetList, tle);
	return tle;
}

static bool
has_key(List *clauses, TargetEntry *tle)
{
	return tle->ressortgroupref != 0 && targetIsInSortList(tle, InvalidOid, clauses);
}

static bool
add_key(Query *query, List **order, List *others, TargetEntry *tle)
{
	SortGroupClause *clause;

	if (has_key(*order, tle) || has_key(others, tle))
		return false;
	clause = makeNode(SortGroupClause);
	clause->tleSortGroupRef = assignSortGroupRef(tle, query->targetList);
	get_sort_group_operators(exprType((Node *) tle->expr), true, true, false, &clause->sortop, &clause->eqop, NULL,
							 &clause->hashable);
	*order = lappend(*order, clause);
	return true;
}

static bool
contain_grouping(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, GroupingFunc) || expression_tree_walker(node, contain_grouping, context);
}

static bool
needs_image(Node *expr)
{
	PgtCol col = {exprType(expr), exprTypmod(expr), exprCollation(expr), false};

	return !pgt_col_image_safe(&col);
}

/* The value's text, compared byte by byte. */
Node *
pgt_image_of(Node *expr)
{
	CollateExpr *c = makeNode(CollateExpr);

	c->arg = (Expr *) coerce_to_target_type(NULL, copyObject(expr), exprType(expr), TEXTOID, -1, COERCION_EXPLICIT,
											COERCE_EXPLICIT_CAST, -1);
	c->collOid = C_COLLATION_OID;
	c->location = -1;
	/* as in the parsed form of the canonical text: the same key must not be added once more */
	assign_expr_collations(NULL, (Node *) c->arg);
	return c->arg == NULL ? NULL : (Node *) c;
}

/* The same in all rows of the query: nothing to sort by, and an integer would be taken for a column's number. */
static bool
is_constant(Node *expr)
{
	return !contain_var_clause(expr) && !contain_agg_clause(expr) && !contain_window_function(expr) && !expression_returns_set(expr) &&
		   !checkExprHasSubLink(expr) && !contain_grouping(expr, NULL);
}

/* Sort also by these expressions; `others` are sorted or grouped by anyway. */
static bool
add_keys(Query *query, List **order, List *others, List *exprs, bool images)
{
	bool added = false;
	ListCell *lc;

	foreach (lc, exprs)
		if (!is_constant(lfirst(lc)) && pgt_is_sortable(query, lfirst(lc)))
			added |= add_key(query, order, others, entry_of(query, lfirst(lc)));
	if (!images)
		return added;
	foreach (lc, exprs)
	{
		Node *image = !is_constant(lfirst(lc)) && !checkExprHasSubLink(lfirst(lc)) && needs_image(lfirst(lc)) ? pgt_image_of(lfirst(lc)) : NULL;

		if (image != NULL)
			added |= add_key(query, order, others, entry_of(query, image));
	}
	return added;
}

/* --- LIMIT and DISTINCT ON --- */

static List *
shown_exprs(Query *query)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk && !IsA(((TargetEntry *) lfirst(lc))->expr, Const))
			out = lappend(out, ((TargetEntry *) lfirst(lc))->expr);
	return out;
}

static List *
sorted_exprs(Query *query)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, query->sortClause)
		out = lappend(out, get_sortgroupclause_expr(lfirst(lc), query->targetList));
	return out;
}

/* DISTINCT ON wants its keys first. */
static void
sort_by_distinct(Query *query)
{
	ListCell *lc;

	foreach (lc, query->distinctClause)
		if (!has_key(query->sortClause, get_sortgroupclause_tle(lfirst(lc), query->targetList)))
			query->sortClause = lappend(query->sortClause, copyObject(lfirst(lc)));
}

static bool
canon_rows(Query *query, bool images)
{
	ListCell *lc;
	bool added = false;

	/* a set operation can be sorted by its columns only */
	if (query->setOperations == NULL)
		return add_keys(query, &query->sortClause, NIL, shown_exprs(query), images);
	foreach (lc, query->targetList)
		if (pgt_is_sortable(query, (Node *) ((TargetEntry *) lfirst(lc))->expr))
			added |= add_key(query, &query->sortClause, NIL, lfirst(lc));
	return added;
}

bool
pgt_sort_by_rows(Query *query)
{
	return canon_rows(query, true);
}

void
pgt_canon_order(Query *query, PgtFindings *findings)
{
	bool limited = (query->limitCount != NULL || query->limitOffset != NULL) &&
				   query->limitOption != LIMIT_OPTION_WITH_TIES;
	bool added;

	/* which of the tied rows are skipped, or are first, has no answer that further sort keys could give */
	if (query->limitOption == LIMIT_OPTION_WITH_TIES && (query->limitOffset != NULL || query->hasDistinctOn))
	{
		if (findings->full_reason == NULL)
			findings->full_reason = "WITH TIES beside OFFSET or DISTINCT ON";
	}
	else if (query->hasDistinctOn)
	{
		sort_by_distinct(query);
		added = canon_rows(query, true);
		if (limited)
			(void) add_keys(query, &query->sortClause, NIL, sorted_exprs(query), true); /* they go up with the row, hidden */
		if (added)
			findings->notices = lappend(findings->notices, "DISTINCT ON without a total order is ambiguous: the rows are now also sorted by their other columns");
	}
	else if (limited && canon_rows(query, query->distinctClause == NIL))
		findings->notices = lappend(findings->notices, "LIMIT without a total order is ambiguous: the rows are now also sorted by their other columns");
}

/* The order of the rows is shown, so it must be one. */
void
pgt_canon_array(Query *query, PgtFindings *findings)
{
	if (query->limitOption == LIMIT_OPTION_WITH_TIES)
		return;
	if (query->hasDistinctOn)
		sort_by_distinct(query);
	if (canon_rows(query, query->distinctClause == NIL || query->hasDistinctOn))
		findings->notices = lappend(findings->notices, "ARRAY(SELECT ...) without a total order is ambiguous: the rows are now also sorted by their values");
}

/* --- windows --- */

typedef enum TieEffect
{
	TIES_HARMLESS,      /* the result does not depend on the order of ties */
	TIES_BREAK,         /* more sort keys make it unique, without a change of frame */
	TIES_BREAK_DEFAULT, /* the same; the function ignores the frame */
	TIES_BREAK_WHOLE,   /* the same with a ROWS frame of the whole partition */
	TIES_BREAK_UP_TO,   /* the same with a ROWS frame from the start of the partition */
	TIES_BREAK_FROM,    /* the same with a ROWS frame to the end of the partition */
	TIES_HARMFUL
} TieEffect;

static bool
is_named(WindowFunc *f, const char *const *names)
{
	char *name = get_func_name(f->winfnoid);

	if (get_func_namespace(f->winfnoid) != PG_CATALOG_NAMESPACE)
		return false;
	for (; *names != NULL; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

static bool
is_whole(WindowClause *wc)
{
	int frame = wc->frameOptions;
	bool peers = (frame & FRAMEOPTION_ROWS) == 0 && wc->orderClause == NIL;

	if (frame & FRAMEOPTION_EXCLUSION)
		return false;
	return ((frame & FRAMEOPTION_START_UNBOUNDED_PRECEDING) || (peers && (frame & FRAMEOPTION_START_CURRENT_ROW))) &&
		   ((frame & FRAMEOPTION_END_UNBOUNDED_FOLLOWING) || (peers && (frame & FRAMEOPTION_END_CURRENT_ROW)));
}

/* First and last of a frame that reaches the partition's edge on their side and holds the row itself. */
static TieEffect
edge_effect(WindowFunc *f, int frame)
{
	static const char *const first[] = {"first_value", NULL};
	static const char *const last[] = {"last_value", NULL};

	if (frame & FRAMEOPTION_EXCLUSION)
		return TIES_HARMFUL;
	if (is_named(f, first) && (frame & FRAMEOPTION_START_UNBOUNDED_PRECEDING) &&
		(frame & (FRAMEOPTION_END_CURRENT_ROW | FRAMEOPTION_END_UNBOUNDED_FOLLOWING)))
		return TIES_BREAK_UP_TO;
	if (is_named(f, last) && (frame & FRAMEOPTION_END_UNBOUNDED_FOLLOWING) &&
		(frame & (FRAMEOPTION_START_CURRENT_ROW | FRAMEOPTION_START_UNBOUNDED_PRECEDING)))
		return TIES_BREAK_FROM;
	return TIES_HARMFUL;
}

static TieEffect
tie_effect(WindowFunc *f, WindowClause *wc)
{
	static const char *const by_peers[] = {"rank", "dense_rank", "percent_rank", "cume_dist", NULL};
	static const char *const by_row[] = {"row_number", "ntile", "lag", "lead", NULL};
	bool rows = (wc->frameOptions & FRAMEOPTION_ROWS) != 0;
	bool peers = (wc->frameOptions & (FRAMEOPTION_EXCLUDE_GROUP | FRAMEOPTION_EXCLUDE_TIES)) != 0;
	bool exact = f->winagg && !pgt_order_matters(f->winfnoid, f->args);

	if (is_named(f, by_peers))
		return TIES_HARMLESS;
	if (is_named(f, by_row))
		return TIES_BREAK_DEFAULT;
	if (exact && (is_whole(wc) || !rows))
		return TIES_HARMLESS;
	if (is_whole(wc))
		return TIES_BREAK_WHOLE;
	if (rows)
		return peers ? TIES_HARMFUL : TIES_BREAK;
	return edge_effect(f, wc->frameOptions);
}

bool
pgt_window_breaks_ties(WindowFunc *f, WindowClause *wc)
{
	TieEffect effect = tie_effect(f, wc);

	return effect != TIES_HARMLESS && effect != TIES_HARMFUL;
}

bool
pgt_window_orders_peers(WindowFunc *f, WindowClause *wc)
{
	return tie_effect(f, wc) == TIES_HARMFUL;
}

typedef struct WindowContext
{
	Query *query;
	List *exprs; /* largest parts of the target list without window functions */
	bool added;
	WindowFunc *open; /* the first that depends on the order of peers */
} WindowContext;

static bool
collect_exprs(Node *node, WindowContext *cxt)
{
	if (node == NULL || IsA(node, Const) || IsA(node, Query) || pgt_is_placeholder(node))
		return false;
	if (IsA(node, TargetEntry) || pgt_is_divided(node))
		return expression_tree_walker(node, collect_exprs, cxt);
	cxt->exprs = list_append_unique(cxt->exprs, node);
	return false;
}

/* The clause with a total order; one is shared by all functions that want the same. */
static Index
refined_clause(WindowContext *cxt, WindowClause *wc, TieEffect effect)
{
	static const int frames[] = {[TIES_BREAK_DEFAULT] = FRAMEOPTION_DEFAULTS, [TIES_BREAK_WHOLE] = WHOLE_PARTITION, [TIES_BREAK_UP_TO] = UP_TO_ROW, [TIES_BREAK_FROM] = FROM_ROW};
	WindowClause *own = copyObject(wc);
	Index max = 0;
	ListCell *lc;

	if (!add_keys(cxt->query, &own->orderClause, own->partitionClause, cxt->exprs, true))
		return wc->winref;
	own->name = NULL;
	own->refname = NULL;
	own->copiedOrder = false;
	if (effect != TIES_BREAK)
	{
		own->frameOptions = frames[effect];
		own->startOffset = own->endOffset = NULL;
		own->startInRangeFunc = own->endInRangeFunc = InvalidOid;
	}
	foreach (lc, cxt->query->windowClause)
	{
		WindowClause *other = lfirst(lc);

		max = Max(max, other->winref);
		own->winref = other->winref;
		if (other->name == NULL && equal(own, other))
			return other->winref;
	}
	own->winref = max + 1;
	cxt->query->windowClause = lappend(cxt->query->windowClause, own);
	cxt->added = true;
	return own->winref;
}

static bool
is_total(WindowContext *cxt, WindowClause *wc)
{
	List *order = list_copy(wc->orderClause);
	Query *query = copyObject(cxt->query);

	return !add_keys(query, &order, wc->partitionClause, cxt->exprs, true);
}

static bool
canon_window(Node *node, WindowContext *cxt)
{
	WindowFunc *f = (WindowFunc *) node;
	WindowClause *wc;
	TieEffect effect;

	if (node == NULL)
		return false;
	if (!IsA(node, WindowFunc))
		return expression_tree_walker(node, canon_window, cxt);
	wc = list_nth(cxt->query->windowClause, f->winref - 1);
	effect = tie_effect(f, wc);
	if (effect == TIES_HARMLESS)
		return false;
	if (effect != TIES_HARMFUL)
		f->winref = refined_clause(cxt, wc, effect);
	else if (cxt->open == NULL && !is_total(cxt, wc) && pgt_sorted_input(cxt->query, wc) == NULL)
		cxt->open = f;
	return false;
}

void
pgt_canon_windows(Query *query, PgtFindings *findings)
{
	WindowContext cxt = {query, NIL, false, NULL};

	if (!query->hasWindowFuncs)
		return;
	collect_exprs((Node *) query->targetList, &cxt);
	canon_window((Node *) query->targetList, &cxt);
	if (cxt.open != NULL && pgt_nest_window(query, list_nth(query->windowClause, cxt.open->winref - 1), findings))
		cxt.added = true;
	else if (cxt.open != NULL && findings->full_reason == NULL)
	{
		findings->full_reason = psprintf("window function %s, which depends on the order of rows that tie",
										 get_func_name(cxt.open->winfnoid));
		findings->full_hint = "Write a ROWS frame without EXCLUDE GROUP or EXCLUDE TIES, or order by more columns.";
	}
	if (cxt.added)
		findings->notices = lappend(findings->notices,
									"a window function without a total order is ambiguous: ties are now also sorted by the other columns of the query");
}

/* --- deparsing --- */

static bool
qualify_walker(Node *node, void *context)
{
	Query *query = (Query *) node;
	RangeTblEntry *rte;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, qualify_walker, context);
	(void) query_tree_walker(query, qualify_walker, context, 0);
	if (query->sortClause != NIL && list_length(query->rtable) == 1)
	{
		rte = makeNode(RangeTblEntry);
		rte->rtekind = RTE_RESULT;
		rte->eref = makeAlias("__pgt_none", NIL);
		query->rtable = lappend(query->rtable, rte);
	}
	return false;
}

/*
 * PostgreSQL leaves out the table's name where a level reads one table only; in ORDER BY and DISTINCT ON the bare name then means the
 * output column of that name, if there is one.  An entry that nothing refers to makes it write the table's name.
 */
Query *
pgt_qualified(Query *query)
{
	(void) qualify_walker((Node *) query, NULL);
	return query;
}
