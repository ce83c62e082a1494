/*
 * template.c - templates of APPLY nodes: walking, what PostgreSQL runs for each row, flips, and their SQL.
 *
 * The server's own deparser writes the statement over the placeholders' names; these are then replaced by FROM items, which may
 * be post states, old states or materialised bags.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/ruleutils.h"

#include "deparse.h"
#include "template.h"

#define CHILD_NAME "__pgt_in"
#define OP_NAME "__pgt_op"

RangeTblEntry *
pgt_placeholder(int number, bool of_child)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_CTE;
	rte->ctename = psprintf("%s%d__", of_child ? CHILD_NAME : OP_NAME, number);
	rte->alias = makeAlias(psprintf("a%d", number), NIL);
	rte->eref = makeAlias(psprintf("a%d", number), NIL);
	rte->inFromCl = true;
	return rte;
}

int
pgt_placeholder_number(const RangeTblEntry *rte, bool of_child)
{
	const char *prefix = of_child ? CHILD_NAME : OP_NAME;

	if (rte->rtekind != RTE_CTE || strncmp(rte->ctename, prefix, strlen(prefix)) != 0)
		return 0;
	return atoi(rte->ctename + strlen(prefix));
}

/* --- walking --- */

typedef struct VisitContext
{
	List *levels; /* of Query, innermost first */
	PgtVisitVar visit;
	void *arg;
} VisitContext;

static bool
visit_walker(Node *node, VisitContext *cxt)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *v = (Var *) node;
		Query *q;
		int ordinal;

		if ((int) v->varlevelsup >= list_length(cxt->levels))
			return false;
		q = list_nth(cxt->levels, v->varlevelsup);
		ordinal = pgt_placeholder_number(rt_fetch(v->varno, q->rtable), true);
		if (ordinal > 0)
			cxt->visit(v, ordinal, cxt->arg);
		return false;
	}
	if (IsA(node, Query))
	{
		cxt->levels = lcons(node, cxt->levels);
		query_tree_walker((Query *) node, visit_walker, cxt, 0);
		cxt->levels = list_delete_first(cxt->levels);
		return false;
	}
	return expression_tree_walker(node, visit_walker, cxt);
}

void
pgt_template_visit(Query *query, PgtVisitVar visit, void *arg)
{
	VisitContext cxt = {NIL, visit, arg};

	visit_walker((Node *) query, &cxt);
}

/* --- what is run for each row --- */

/* Its rows are those of its FROM and WHERE, each by itself. */
bool
pgt_yields_its_rows(const Query *sub)
{
	return !sub->hasAggs && sub->groupClause == NIL && sub->groupingSets == NIL && !sub->hasWindowFuncs && !sub->hasTargetSRFs &&
		   sub->havingQual == NULL && sub->limitCount == NULL && sub->limitOffset == NULL && !sub->hasDistinctOn &&
		   sub->setOperations == NULL;
}

typedef struct ByRowContext
{
	int ordinal;
	int depth;
	bool simple; /* the planner makes a join of the query being walked */
} ByRowContext;

static bool
by_row_walker(Node *node, ByRowContext *cxt)
{
	ByRowContext below = *cxt;
	ListCell *lc;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		SubLink *s = (SubLink *) node;

		below.simple = s->subLinkType == EXISTS_SUBLINK || s->subLinkType == ANY_SUBLINK;
		return by_row_walker(s->testexpr, cxt) || by_row_walker(s->subselect, &below);
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, by_row_walker, cxt);
	below.depth++;
	if (cxt->depth > 1 || (cxt->depth == 1 && (!pgt_yields_its_rows((Query *) node) || ((Query *) node)->distinctClause != NIL)))
		below.simple = false;
	foreach (lc, ((Query *) node)->rtable)
		if (!below.simple && pgt_placeholder_number(lfirst(lc), true) == cxt->ordinal)
			return true;
	return query_tree_walker((Query *) node, by_row_walker, &below, 0);
}

bool
pgt_template_by_row(const PgtOp *op, int ordinal)
{
	ByRowContext cxt = {ordinal, 0, true};

	return by_row_walker((Node *) op->query, &cxt);
}

/* --- flips --- */

typedef struct CountContext
{
	Bitmapset *children; /* other than the first */
	int uses;            /* of child `ordinal` */
	int ordinal;
	int shift; /* > 0: renumber */
} CountContext;

static bool
count_walker(Node *node, CountContext *cxt)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		foreach (lc, ((Query *) node)->rtable)
		{
			int n = pgt_placeholder_number(lfirst(lc), true);

			if (n <= 1)
				continue;
			cxt->children = bms_add_member(cxt->children, n);
			cxt->uses += n == cxt->ordinal;
			if (cxt->shift > 0)
				lfirst(lc) = pgt_placeholder(n + cxt->shift, true);
		}
		return query_tree_walker((Query *) node, count_walker, cxt, 0);
	}
	return expression_tree_walker(node, count_walker, cxt);
}

static Expr *
truth(List *conjuncts, BoolTestType what)
{
	BooleanTest *b = makeNode(BooleanTest);

	b->arg = make_ands_explicit(copyObject(conjuncts));
	b->booltesttype = what;
	b->location = -1;
	return (Expr *) b;
}

static Query *
flip_query(const PgtOp *op, List *now, List *before)
{
	Query *q = makeNode(Query);
	PgtOp *left = pgt_op_child(op, 1);
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = 1;
	q->commandType = CMD_SELECT;
	q->canSetTag = true;
	q->hasSubLinks = true;
	q->rtable = list_make1(pgt_placeholder(1, true));
	for (int i = 1; i <= left->ncols; i++)
		q->targetList = lappend(q->targetList, makeTargetEntry((Expr *) pgt_op_var(left, 1, i), i, NULL, false));
	q->jointree =
		makeFromExpr(list_make1(ref),
					 (Node *) make_orclause(list_make2(make_andclause(list_make2(truth(now, IS_TRUE), truth(before, IS_NOT_TRUE))),
													   make_andclause(list_make2(truth(now, IS_NOT_TRUE), truth(before, IS_TRUE))))));
	return q;
}

bool
pgt_template_flips(const PgtOp *op, int ordinal, PgtOp *flips)
{
	CountContext all = {NULL, 0, ordinal, 0};
	CountContext some = {NULL, 0, ordinal, 0};
	List *now = NIL;
	List *before;
	ListCell *lc;

	foreach (lc, make_ands_implicit((Expr *) op->query->jointree->quals))
	{
		CountContext one = {NULL, 0, ordinal, 0};

		count_walker(lfirst(lc), &one);
		if (one.uses == 0)
			continue;
		now = lappend(now, lfirst(lc));
		some.uses += one.uses;
		some.children = bms_add_members(some.children, one.children);
	}
	count_walker((Node *) op->query, &all);
	if (all.uses != some.uses || bms_num_members(some.children) != 1)
		return false;
	before = copyObject(now);
	some.shift = list_length(op->children) - 1;
	count_walker((Node *) before, &some);
	*flips = *op;
	flips->children = list_concat_copy(op->children, list_copy_tail(op->children, 1));
	flips->query = flip_query(op, now, before);
	return true;
}

/* --- SQL --- */

static List *
column_names(int n, bool weighted)
{
	List *names = NIL;

	for (int i = 1; i <= n; i++)
		names = lappend(names, makeString(psprintf("c%d", i)));
	if (weighted)
		names = lappend(names, makeString(pstrdup("w")));
	return names;
}

typedef struct NameContext
{
	const PgtOp *op;
	bool weighted;
} NameContext;

/* Placeholders get the columns that their children have now; the deparser must not see names that Vars were written with. */
static bool
name_walker(Node *node, NameContext *cxt)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		((Var *) node)->varnosyn = 0;
		((Var *) node)->varattnosyn = 0;
		return false;
	}
	if (IsA(node, Query))
	{
		foreach (lc, ((Query *) node)->rtable)
		{
			RangeTblEntry *rte = lfirst(lc);
			int ordinal = pgt_placeholder_number(rte, true);

			if (ordinal > 0)
				rte->eref->colnames = column_names(pgt_op_child(cxt->op, ordinal)->ncols, cxt->weighted && ordinal == 1);
		}
		return query_tree_walker((Query *) node, name_walker, cxt, 0);
	}
	return expression_tree_walker(node, name_walker, cxt);
}

/* The entry of a FROM item; joins have theirs by now. */
static int
item_index(Node *item)
{
	return IsA(item, RangeTblRef) ? ((RangeTblRef *) item)->rtindex : ((JoinExpr *) item)->rtindex;
}

/* The deparser wants a range table entry for each join. */
static void
complete_join(Query *q, Node *node)
{
	JoinExpr *join = (JoinExpr *) node;
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	int n = 0;

	if (!IsA(join, JoinExpr) || join->rtindex > 0)
		return; /* or it is the parser's own, in a subquery that reads no table */
	complete_join(q, join->larg);
	complete_join(q, join->rarg);
	rte->rtekind = RTE_JOIN;
	rte->jointype = join->jointype;
	rte->eref = makeAlias("unnamed_join", NIL);
	rte->inFromCl = true;
	for (int side = 1; side <= 2; side++)
	{
		int item = item_index(side == 1 ? join->larg : join->rarg);
		int ncols = list_length(rt_fetch(item, q->rtable)->eref->colnames);

		for (int i = 1; i <= ncols; i++)
		{
			rte->joinaliasvars = lappend(rte->joinaliasvars, makeVar(item, i, INT4OID, -1, InvalidOid, 0));
			rte->eref->colnames = lappend(rte->eref->colnames, makeString(psprintf("j%d", ++n)));
			if (side == 1)
				rte->joinleftcols = lappend_int(rte->joinleftcols, i);
			else
				rte->joinrightcols = lappend_int(rte->joinrightcols, i);
		}
	}
	q->rtable = lappend(q->rtable, rte);
	join->rtindex = list_length(q->rtable);
}

static bool
join_walker(Node *node, void *context)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, join_walker, context);
	foreach (lc, ((Query *) node)->jointree->fromlist)
		complete_join((Query *) node, lfirst(lc));
	return query_tree_walker((Query *) node, join_walker, context, QTW_IGNORE_JOINALIASES);
}

static char *
fill_in(const char *text, const PgtOp *op, char **froms)
{
	StringInfoData s;
	size_t len = strlen(CHILD_NAME);

	initStringInfo(&s);
	while (*text != '\0')
	{
		char *end;
		long n;

		if (strncmp(text, CHILD_NAME, len) == 0 && (n = strtol(text + len, &end, 10)) > 0 && n <= list_length(op->children) &&
			strncmp(end, "__ ", 3) == 0)
		{
			appendStringInfoString(&s, froms[n - 1]);
			text = end + 2;
		}
		else
			appendStringInfoChar(&s, *text++);
	}
	return s.data;
}

char *
pgt_template_sql(const PgtOp *op, char **froms, bool weighted)
{
	Query *q = copyObject(op->query);
	NameContext cxt = {op, weighted};
	int n = 0;
	ListCell *lc;

	foreach (lc, q->targetList)
	{
		((TargetEntry *) lfirst(lc))->resno = ++n;
		((TargetEntry *) lfirst(lc))->resname = psprintf("c%d", n);
	}
	if (weighted)
		q->targetList = lappend(q->targetList,
								makeTargetEntry((Expr *) makeVar(1, pgt_op_child(op, 1)->ncols + 1, INT8OID, -1, InvalidOid, 0), n + 1,
												pstrdup("w"), false));
	name_walker((Node *) q, &cxt);
	(void) join_walker((Node *) q, NULL);
	return fill_in(pg_get_querydef((Query *) pgt_name_rows((Node *) q), false), op, froms);
}
