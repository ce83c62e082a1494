/*
 * build_entry.c - what the columns of FROM items stand for, whole rows included.
 *
 * A whole row (`t`, `q.*` as a value) is the row of what its columns stand for.  NULL-extended by an outer join it is NULL, and not a
 * row of NULLs: so an item that is read whole has one column more, which is true where there is a row.  Like the item's other
 * columns it is computed below the join and NULL-extended by it.  Rows of named types are deparsed as ROW(...)::type, those without
 * (subqueries, functions) as pgt_name_rows makes them, since their columns' names matter to to_jsonb() and its like.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "build.h"

typedef struct WholeContext
{
	int rtindex;
	int depth;
} WholeContext;

static bool
whole_walker(Node *node, WholeContext *cxt)
{
	bool result;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *v = (Var *) node;

		return v->varattno == 0 && (int) v->varno == cxt->rtindex && (int) v->varlevelsup == cxt->depth;
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, whole_walker, cxt);
	cxt->depth++;
	result = query_tree_walker((Query *) node, whole_walker, cxt, 0);
	cxt->depth--;
	return result;
}

bool
pgt_is_read_whole(Query *query, int rtindex)
{
	WholeContext cxt = {rtindex, 0};

	return query_tree_walker(query, whole_walker, &cxt, 0);
}

void
pgt_add_map(PgtBlock *block, int rtindex, List *exprs, bool whole)
{
	PgtEntryMap *map = palloc(sizeof(PgtEntryMap));

	map->rtindex = rtindex;
	map->exprs = exprs;
	map->whole = whole;
	block->maps = lappend(block->maps, map);
}

void
pgt_add_entry(PgtBlock *block, int rtindex, List *exprs)
{
	bool whole = pgt_is_read_whole(block->level->query, rtindex);

	pgt_add_map(block, rtindex, whole ? lappend(exprs, makeBoolConst(true, false)) : exprs, whole);
}

/* A LATERAL item, seen from above the join to it: where it is the right side of a LEFT JOIN, only its row itself tells. */
void
pgt_add_lateral_entry(PgtBlock *block, int rtindex, int varno, List *exprs)
{
	RangeTblEntry *rte = rt_fetch(rtindex, block->level->query->rtable);
	NullTest *present = makeNode(NullTest);

	if (!pgt_is_read_whole(block->level->query, rtindex))
	{
		pgt_add_map(block, rtindex, exprs, false);
		return;
	}
	if (rte->rtekind != RTE_SUBQUERY && rte->rtekind != RTE_VALUES)
		pgt_not_built("a whole-row reference to a function that an outer join may leave out", "Name the columns.");
	present->arg = (Expr *) makeVar(varno, 0, RECORDOID, -1, InvalidOid, 0);
	present->nulltesttype = IS_NOT_NULL;
	present->argisrow = false;
	present->location = -1;
	pgt_add_map(block, rtindex, lappend(exprs, present), true);
}

static Node *
whole_row(PgtBlock *block, PgtEntryMap *map, Var *v)
{
	RangeTblEntry *rte = rt_fetch(map->rtindex, block->level->query->rtable);
	Node *present = llast(map->exprs);
	RowExpr *row = makeNode(RowExpr);
	CaseExpr *c = makeNode(CaseExpr);
	CaseWhen *when = makeNode(CaseWhen);

	for (int i = 0; i < list_length(map->exprs) - 1; i++)
	{
		Node *e = list_nth(map->exprs, i);

		row->args = lappend(row->args, e == NULL ? (Node *) makeNullConst(INT4OID, -1, InvalidOid) : copyObject(e));
	}
	row->row_typeid = v->vartype;
	row->row_format = COERCE_EXPLICIT_CAST;
	row->colnames = v->vartype == RECORDOID ? copyObject(rte->eref->colnames) : NIL;
	row->location = -1;
	if (v->vartype == RECORDOID && list_length(row->colnames) != list_length(row->args))
		pgt_not_built("a whole-row reference to columns without a name", "Name the columns.");
	if (IsA(present, Const))
		return (Node *) row;
	when->expr = copyObject((Expr *) present);
	when->result = (Expr *) row;
	when->location = -1;
	c->casetype = v->vartype;
	c->args = list_make1(when);
	c->defresult = (Expr *) makeNullConst(v->vartype, -1, InvalidOid);
	c->location = -1;
	return (Node *) c;
}

/* What a Var of the block's level stands for, over the block's inputs. */
Node *
pgt_entry_expr(PgtBlock *block, Var *v)
{
	ListCell *lc;

	foreach (lc, block->maps)
	{
		PgtEntryMap *map = lfirst(lc);

		if (map->rtindex != (int) v->varno)
			continue;
		if (v->varattno == 0 && map->whole)
			return whole_row(block, map, v);
		if (v->varattno > 0 && v->varattno <= list_length(map->exprs))
			return copyObject(list_nth(map->exprs, v->varattno - 1));
	}
	pgt_not_built("LATERAL below an outer join", "Put the LATERAL item directly behind the tables it refers to.");
	return (Node *) makeNullConst(v->vartype, v->vartypmod, v->varcollid);
}
