/*
 * build_side.c - the side of an outer join that cannot be computed without the other: as a LATERAL subquery.
 *
 * Where a FROM item on the nullable side refers to the other side, or a subquery in the join's condition refers to both,
 *     A LEFT JOIN R ON q    is read as    A LEFT JOIN LATERAL (SELECT all columns FROM R WHERE q) s ON true
 * which build_apply.c knows.  A FULL JOIN R whose condition has such a subquery is that, and the rows of R that meet none of A:
 *     ... UNION ALL SELECT NULLs, all columns FROM R WHERE NOT EXISTS (SELECT FROM A WHERE q)
 * Range table indexes within R stay what they are; what refers to A, or further out, does so from one
 * level deeper.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "analyze.h"
#include "build.h"
#include "compat.h"

/* --- which sides --- */

/* Range table indexes of the item's entries, without those of joins. */
static Bitmapset *
entries_of(Node *item)
{
	Bitmapset *out = NULL;
	ListCell *lc;

	if (IsA(item, RangeTblRef))
		return bms_make_singleton(((RangeTblRef *) item)->rtindex);
	if (IsA(item, JoinExpr))
		return bms_join(entries_of(((JoinExpr *) item)->larg), entries_of(((JoinExpr *) item)->rarg));
	foreach (lc, ((FromExpr *) item)->fromlist)
		out = bms_join(out, entries_of(lfirst(lc)));
	return out;
}

/* What of the query's own level an entry refers to. */
static Bitmapset *
references_of(Query *query, RangeTblEntry *rte)
{
	Node *node;

	if (!pgt_is_dependent(rte))
		return NULL;
	node = rte->rtekind == RTE_FUNCTION    ? (Node *) rte->functions
		   : rte->rtekind == RTE_TABLEFUNC ? (Node *) rte->tablefunc
		   : rte->rtekind == RTE_VALUES    ? (Node *) rte->values_lists
										   : NULL;
	if (node != NULL)
		return pull_varnos(NULL, pgt_flatten_join_aliases(query, node));
	return pull_varnos_of_level(NULL, pgt_flatten_join_aliases(query, (Node *) rte->subquery), 1);
}

static bool
spans_walker(Node *node, Bitmapset *inside)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		Relids vars = pull_varnos(NULL, node);

		if (bms_overlap(vars, inside) && !bms_is_subset(vars, inside))
			return true;
	}
	return expression_tree_walker(node, spans_walker, inside);
}

/* Must the nullable side be read as a LATERAL subquery? */
bool
pgt_is_dependent_side(Query *query, Node *side, Node *quals)
{
	Bitmapset *inside = entries_of(side);
	int rtindex = -1;

	while ((rtindex = bms_next_member(inside, rtindex)) >= 0)
		if (!bms_is_subset(references_of(query, rt_fetch(rtindex, query->rtable)), inside))
			return true;
	return quals != NULL && checkExprHasSubLink(quals) && spans_walker(pgt_flatten_join_aliases(query, quals), inside);
}

/* --- making the subquery --- */

typedef struct SinkContext
{
	Bitmapset *inside;
	int depth;
} SinkContext;

/* In place: what refers to the outside does so from one level deeper. */
static bool
sink_walker(Node *node, SinkContext *cxt)
{
	ListCell *lc;
	bool result;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *v = (Var *) node;

		if ((int) v->varlevelsup > cxt->depth || ((int) v->varlevelsup == cxt->depth && !bms_is_member(v->varno, cxt->inside)))
			v->varlevelsup++;
		return false;
	}
	if (IsA(node, JoinExpr) && cxt->depth == 0)
	{
		/* its entry stays behind; nothing refers to that any more */
		((JoinExpr *) node)->rtindex = 0;
		((JoinExpr *) node)->alias = NULL;
		((JoinExpr *) node)->usingClause = NIL;
	}
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup > cxt->depth)
		((Aggref *) node)->agglevelsup++;
	if (IsA(node, Query))
	{
		foreach (lc, ((Query *) node)->rtable)
			if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_CTE && (int) lfirst_node(RangeTblEntry, lc)->ctelevelsup > cxt->depth)
				lfirst_node(RangeTblEntry, lc)->ctelevelsup++;
		cxt->depth++;
		result = query_tree_walker((Query *) node, sink_walker, cxt, 0);
		cxt->depth--;
		return result;
	}
	return expression_tree_walker(node, sink_walker, cxt);
}

static Node *
sunk(Query *query, Node *node, Bitmapset *inside)
{
	SinkContext cxt = {inside, 0};

	node = copyObject(pgt_flatten_join_aliases(query, node));
	(void) sink_walker(node, &cxt);
	return node;
}

static RangeTblEntry *
sunk_entry(Query *query, RangeTblEntry *rte, Bitmapset *inside)
{
	RangeTblEntry *out = copyObject(rte);

	out->functions = (List *) sunk(query, (Node *) rte->functions, inside);
	out->tablefunc = (TableFunc *) sunk(query, (Node *) rte->tablefunc, inside);
	out->values_lists = (List *) sunk(query, (Node *) rte->values_lists, inside);
	out->subquery = (Query *) sunk(query, (Node *) rte->subquery, inside);
	if (out->rtekind == RTE_CTE)
		out->ctelevelsup++;
	return out;
}

static RangeTblEntry *
nothing_here(void)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RESULT;
	rte->eref = makeAlias("nothing", NIL);
	return rte;
}

/* What the subquery yields of an entry: its columns, and whether there is a row, where the row is read whole. */
List *
pgt_side_columns(Query *query, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	NullTest *present = makeNode(NullTest);
	List *columns;

	pgt_expand_rte(rte, rtindex, &columns);
	if (!pgt_is_read_whole(query, rtindex))
		return columns;
	present->arg = (Expr *) makeWholeRowVar(rte, rtindex, 0, false);
	present->nulltesttype = IS_NOT_NULL;
	present->location = -1;
	return lappend(columns, present);
}

/* SELECT all columns of the side's entries FROM side WHERE quals. */
static Query *
side_query(Query *query, Node *side, Node *quals, Bitmapset *inside)
{
	Query *q = makeNode(Query);
	Node *where = quals == NULL ? NULL : sunk(query, quals, inside);
	ListCell *lc;
	ListCell *le;

	q->commandType = CMD_SELECT;
	q->canSetTag = true;
	q->hasSubLinks = true;
	foreach (lc, query->rtable)
	{
		int rtindex = foreach_current_index(lc) + 1;

		if (!bms_is_member(rtindex, inside))
		{
			q->rtable = lappend(q->rtable, nothing_here());
			continue;
		}
		q->rtable = lappend(q->rtable, sunk_entry(query, lfirst(lc), inside));
		foreach (le, pgt_side_columns(query, rtindex))
		{
			int n = list_length(q->targetList) + 1;

			q->targetList = lappend(q->targetList, makeTargetEntry(lfirst(le), n, psprintf("c%d", n), false));
		}
	}
	q->jointree = makeFromExpr(list_make1(sunk(query, side, inside)), where);
	return q;
}

/* The side's entries, as columns of the subquery that stands beside the block. */
void
pgt_add_dependent_side(PgtBlock *block, Node *side, Node *quals)
{
	Query *query = block->level->query;
	Bitmapset *inside = entries_of(side);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	JoinExpr always = {T_JoinExpr};
	List *rtindexes = NIL;
	int rtindex = -1;

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = side_query(query, side, quals, inside);
	rte->inFromCl = true;
	rte->eref = makeAlias("s", NIL);
	for (int i = 1; i <= list_length(rte->subquery->targetList); i++)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(psprintf("c%d", i)));
	while ((rtindex = bms_next_member(inside, rtindex)) >= 0)
		rtindexes = lappend_int(rtindexes, rtindex);
	pgt_add_dependent(block, rte, rtindexes, &always);
}

/* --- FULL joins --- */

bool
pgt_is_dependent_full(Query *query, JoinExpr *join)
{
	return join->jointype == JOIN_FULL && join->quals != NULL && checkExprHasSubLink(join->quals) &&
		   spans_walker(pgt_flatten_join_aliases(query, join->quals), entries_of(join->rarg));
}

static Node *
meets_none(Query *query, Node *side, Node *quals)
{
	SubLink *s = makeNode(SubLink);
	Query *q = side_query(query, side, quals, entries_of(side));

	q->targetList = list_make1(makeTargetEntry((Expr *) makeBoolConst(true, false), 1, pstrdup("c1"), false));
	s->subLinkType = EXISTS_SUBLINK;
	s->subselect = (Node *) q;
	s->location = -1;
	return (Node *) make_notclause((Expr *) s);
}

static PgtEntryMap *
map_of(PgtBlock *block, int rtindex)
{
	ListCell *lc;

	foreach (lc, block->maps)
		if (((PgtEntryMap *) lfirst(lc))->rtindex == rtindex)
			return lfirst(lc);
	return NULL;
}

/* What stands in the entry's columns where there are rows of one side only: its own, or NULLs. */
static List *
columns_alone(PgtEntryMap *like, PgtEntryMap *own)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, like->exprs)
	{
		int n = foreach_current_index(lc);
		Node *e = lfirst(lc);
		Node *have = NULL;

		if (e == NULL)
			continue;
		if (own != NULL && like->whole && n == list_length(like->exprs) - 1)
			have = llast(own->exprs);
		else if (own != NULL && n < list_length(own->exprs) - (own->whole ? 1 : 0))
			have = list_nth(own->exprs, n);
		out = lappend(out, have != NULL ? have : (Node *) makeNullConst(exprType(e), exprTypmod(e), exprCollation(e)));
	}
	return out;
}

void
pgt_add_dependent_full(PgtBlock *block, JoinExpr *join)
{
	PgtBlock left = {block->level};
	PgtBlock right = {block->level};
	PgtOp *both = pgt_build_op(PGT_OP_UNION);
	int ordinal = list_length(block->inputs) + 1;
	List *targets = NIL;
	ListCell *lc;

	pgt_build_from(&left, join->larg);
	pgt_add_dependent_side(&left, join->rarg, join->quals);
	pgt_build_from(&right, join->rarg);
	right.quals = lappend(right.quals, pgt_rebase(&right, meets_none(block->level->query, join->larg, join->quals)));
	foreach (lc, left.maps)
		targets = list_concat(targets, columns_alone(lfirst(lc), map_of(&right, ((PgtEntryMap *) lfirst(lc))->rtindex)));
	both->children = list_make2(pgt_as_select(pgt_close_side(&left, block, ordinal, 0)), pgt_as_select(pgt_make_projection(right.inputs, right.quals, targets)));
	pgt_op_describe(both);
	block->inputs = lappend(block->inputs, both);
}
