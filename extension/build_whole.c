/*
 * build_whole.c - templates of subqueries that keep the shape of their FROM clause.
 *
 * build_apply.c takes FROM and the inner conditions of a subquery out of its template.  That cannot be done where FROM itself refers to
 * the outside: a set operation one of whose parts does, an outer join whose condition does, an item of FROM that does.  Here the
 * template keeps joins, set operations and such items, and only what is closed in itself (a table, a join, a subquery) becomes a
 * node.  Nodes see fewer conditions this way; that costs rows looked at, and is no matter of right or wrong.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "analyze.h"
#include "build.h"
#include "compat.h"

typedef struct Whole
{
	PgtBlock block; /* its maps lead from the subquery's entries to the template's */
	List *rtable;   /* of the template */
} Whole;

/* An entry that reads a correlated WITH query, as the subquery it stands for; other entries as they are. */
static RangeTblEntry *
resolved(Whole *w, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, w->block.level->query->rtable);
	PgtLevel *level;
	CommonTableExpr *cte;
	RangeTblEntry *out;

	if (rte->rtekind != RTE_CTE || rte->self_reference)
		return rte;
	cte = pgt_find_cte(w->block.level, rte, &level);
	if (cte->cterecursive || !pgt_is_correlated(cte->ctequery))
		return rte;
	out = copyObject(rte);
	out->rtekind = RTE_SUBQUERY;
	out->subquery = (Query *) copyObject(cte->ctequery);
	IncrementVarSublevelsUp((Node *) out->subquery, rte->ctelevelsup, 1);
	return out;
}

/* Does it refer to nothing beside it or outside the subquery? */
static bool
is_closed_item(Whole *w, Node *node)
{
	JoinExpr *join = (JoinExpr *) node;
	RangeTblEntry *rte;

	if (IsA(node, JoinExpr))
		return !pgt_is_correlated(join->quals) && is_closed_item(w, join->larg) && is_closed_item(w, join->rarg);
	if (!IsA(node, RangeTblRef))
		return false;
	rte = resolved(w, ((RangeTblRef *) node)->rtindex);
	if (rte->rtekind == RTE_SUBQUERY)
	{
		PgtFindings found = {NULL};

		pgt_rules_apply(rte->subquery, &found);
		return !pgt_is_correlated((Node *) rte->subquery) && found.full_reason == NULL;
	}
	return rte->rtekind == RTE_RELATION || rte->rtekind == RTE_CTE;
}

static Node *
append_entry(Whole *w, RangeTblEntry *rte)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	w->rtable = lappend(w->rtable, rte);
	ref->rtindex = list_length(w->rtable);
	return (Node *) ref;
}

static Node *
keep_closed(Whole *w, Node *node)
{
	PgtBlock side = {w->block.level};

	pgt_build_from(&side, node);
	return append_entry(w, pgt_placeholder_for(pgt_close_side(&side, &w->block, list_length(w->rtable) + 1, 0)));
}

static Node *
keep_entry(Whole *w, int rtindex)
{
	RangeTblEntry *rte = pgt_rebased_entry(&w->block, resolved(w, rtindex));
	List *columns;

	pgt_expand_rte(rte, list_length(w->rtable) + 1, &columns);
	pgt_add_lateral_entry(&w->block, rtindex, list_length(w->rtable) + 1, columns);
	return append_entry(w, rte);
}

/* FROM items in their order: what an item refers to has its map already. */
static Node *
keep_item(Whole *w, Node *node)
{
	JoinExpr *join;

	if (is_closed_item(w, node))
		return keep_closed(w, node);
	if (IsA(node, RangeTblRef))
		return keep_entry(w, ((RangeTblRef *) node)->rtindex);
	join = makeNode(JoinExpr);
	join->jointype = ((JoinExpr *) node)->jointype;
	join->larg = keep_item(w, ((JoinExpr *) node)->larg);
	join->rarg = keep_item(w, ((JoinExpr *) node)->rarg);
	join->quals = pgt_rebase(&w->block, ((JoinExpr *) node)->quals);
	return (Node *) join;
}

/* Each part is a template by itself; the tree of operations refers to them by their numbers, which stay. */
static Query *
keep_set_operation(PgtLevel *level)
{
	PgtBlock block = {level};
	Query *t = copyObject(level->query);
	ListCell *lc;

	foreach (lc, t->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind != RTE_SUBQUERY)
			continue;
		rte->subquery = pgt_make_template(level, rte->subquery, EXPR_SUBLINK);
	}
	t->cteList = NIL;
	t->limitCount = pgt_rebase(&block, t->limitCount);
	t->limitOffset = pgt_rebase(&block, t->limitOffset);
	pgt_forget_entries(t);
	return t;
}

Query *
pgt_whole_template(PgtLevel *level)
{
	Whole w = {{level}, NIL};
	List *items = NIL;
	Node *quals;
	Query *t;
	ListCell *lc;

	if (level->query->setOperations != NULL)
		return keep_set_operation(level);
	foreach (lc, level->query->jointree->fromlist)
		items = lappend(items, keep_item(&w, lfirst(lc)));
	quals = pgt_rebase(&w.block, level->query->jointree->quals);
	t = pgt_template_above(&w.block);
	t->jointree = makeFromExpr(items, quals);
	t = copyObject(t);
	t->rtable = w.rtable;
	pgt_canon_images(t);
	return t;
}
