/*
 * canon_limit.c - forms of LIMIT that the operators do not know, as levels one above the other that they do know.
 *
 * WITH TIES beside OFFSET: which of the tied rows are skipped has an answer once all rows have a place, but WITH TIES wants them to tie.
 * So the rows up to the last are taken below, with those that tie, and the first are skipped above:
 *
 *	SELECT a FROM t ORDER BY k OFFSET 2 FETCH FIRST 3 ROWS WITH TIES
 *	SELECT q.c1 FROM (SELECT a, k FROM t ORDER BY k FETCH FIRST 5 ROWS WITH TIES) q ORDER BY q.c2, q.c1 OFFSET 2
 *
 * WITH TIES beside DISTINCT ON: the first rows of the groups below, without a limit; the limit above.
 *
 * A number of rows that is a subquery: the rows are numbered, and the number is compared.  NULL is no limit, as in LIMIT; a negative
 * number yields no rows, where the server raises an error.
 *
 *	SELECT a FROM t ORDER BY k LIMIT (SELECT n FROM cfg)
 *	SELECT q.c1 FROM (SELECT q.c1, row_number() OVER (ORDER BY q.c2, q.c1) AS c3 FROM (SELECT a, k FROM t) q) q
 *	 WHERE q.c3 <= COALESCE((SELECT n FROM cfg), 9223372036854775807)
 *
 * The other levels' canonical forms follow when they are reached, inner ones later than outer ones.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_oper.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"

#include "build.h"
#include "canon.h"
#include "compat.h"

/* --- levels --- */

/* What refers to the outside of the level, or to its WITH queries, which stay above, does so from one level deeper.  In place. */
static bool
sink_walker(Node *node, int *depth)
{
	bool result;

	if (node == NULL)
		return false;
	if (IsA(node, Var) && (int) ((Var *) node)->varlevelsup > *depth)
		((Var *) node)->varlevelsup++;
	else if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup > *depth)
		((Aggref *) node)->agglevelsup++;
	else if (IsA(node, GroupingFunc) && (int) ((GroupingFunc *) node)->agglevelsup > *depth)
		((GroupingFunc *) node)->agglevelsup++;
	else if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_CTE && (int) rte->ctelevelsup >= *depth)
			rte->ctelevelsup++;
		return false;
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, sink_walker, depth);
	(*depth)++;
	result = query_tree_walker((Query *) node, sink_walker, depth, QTW_EXAMINE_RTES_BEFORE);
	(*depth)--;
	return result;
}

void
pgt_sink_level(Query *query)
{
	int depth = 0;

	Assert(query->cteList == NIL);
	(void) query_tree_walker(query, sink_walker, &depth, QTW_EXAMINE_RTES_BEFORE);
}

RangeTblEntry *
pgt_subquery_entry(Query *inner, const char *name)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	ListCell *lc;

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = inner;
	rte->alias = makeAlias(name, NIL);
	foreach (lc, inner->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			rte->alias->colnames = lappend(rte->alias->colnames, makeString(psprintf("c%d", list_length(rte->alias->colnames) + 1)));
	rte->eref = copyObject(rte->alias);
	rte->inFromCl = true;
	return rte;
}

/* SELECT ... FROM inner, with the query's WITH queries; nothing else. */
Query *
pgt_level_above(Query *query, Query *inner)
{
	Query *outer = makeNode(Query);
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = 1;
	outer->commandType = CMD_SELECT;
	outer->querySource = query->querySource;
	outer->canSetTag = query->canSetTag;
	outer->cteList = query->cteList;
	outer->hasRecursive = query->hasRecursive;
	outer->rtable = list_make1(pgt_subquery_entry(inner, "q"));
	outer->jointree = makeFromExpr(list_make1(ref), NULL);
	return outer;
}

/* A level without limit below: it yields all entries of the target list, hidden ones too.  In place; the level above keeps order and limit. */
static Query *
push_down(Query *query)
{
	Query *inner = copyObject(query);
	Query *outer = pgt_level_above(query, inner);
	ListCell *lc;

	inner->cteList = NIL;
	inner->hasRecursive = false;
	inner->limitCount = inner->limitOffset = NULL;
	inner->limitOption = LIMIT_OPTION_COUNT;
	if (!inner->hasDistinctOn)
		inner->sortClause = NIL;
	foreach (lc, inner->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		TargetEntry *above = flatCopyTargetEntry(tle);
		Node *e = (Node *) tle->expr;

		above->expr = (Expr *) makeVar(1, tle->resno, exprType(e), exprTypmod(e), exprCollation(e), 0);
		outer->targetList = lappend(outer->targetList, above);
		tle->resjunk = false;
		tle->resname = psprintf("c%d", tle->resno);
	}
	pgt_sink_level(inner);
	linitial(outer->rtable) = pgt_subquery_entry(inner, "q");
	outer->sortClause = copyObject(query->sortClause);
	outer->limitCount = query->limitCount;
	outer->limitOffset = query->limitOffset;
	outer->limitOption = query->limitOption;
	outer->hasSubLinks = checkExprHasSubLink(outer->limitCount) || checkExprHasSubLink(outer->limitOffset);
	*query = *outer;
	return inner;
}

/* --- WITH TIES beside OFFSET --- */

static Const *
int8_const(int64 value)
{
	return makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(value), false, FLOAT8PASSBYVAL);
}

/* A number of rows that is known now. */
static bool
is_known(Node *count, bool *null, int64 *value)
{
	Const *c = (Const *) eval_const_expressions(NULL, copyObject(count));

	if (!IsA(c, Const) || c->consttype != INT8OID)
		return false;
	*null = c->constisnull;
	*value = c->constisnull ? 0 : DatumGetInt64(c->constvalue);
	return *value >= 0;
}

static void
skip_above(Query *query)
{
	bool no_offset;
	bool no_count;
	int64 offset;
	int64 count;
	int64 both;
	Query *inner;
	List *order = query->sortClause;

	if (!is_known(query->limitOffset, &no_offset, &offset) || !is_known(query->limitCount, &no_count, &count))
		return;
	if (no_offset || offset == 0)
	{
		query->limitOffset = NULL;
		return;
	}
	if (no_count || count == 0 || pg_add_s64_overflow(offset, count, &both))
	{
		/* all rows to the end, or none */
		query->limitOption = LIMIT_OPTION_COUNT;
		return;
	}
	inner = push_down(query);
	inner->sortClause = order;
	inner->limitCount = (Node *) int8_const(both);
	inner->limitOption = LIMIT_OPTION_WITH_TIES;
	query->limitCount = NULL;
	query->limitOption = LIMIT_OPTION_COUNT;
}

/* --- a number of rows that is a subquery --- */

/* Adds a function over the rows in the order of the level; the column's number. */
static int
add_window(Query *query, Oid function)
{
	WindowFunc *f = makeNode(WindowFunc);
	WindowClause *wc = makeNode(WindowClause);
	int n = list_length(query->targetList) + 1;

	wc->orderClause = copyObject(query->sortClause);
	wc->frameOptions = FRAMEOPTION_DEFAULTS;
	wc->winref = list_length(query->windowClause) + 1;
	f->winfnoid = function;
	f->wintype = INT8OID;
	f->winref = wc->winref;
	f->location = -1;
	query->windowClause = lappend(query->windowClause, wc);
	query->targetList = lappend(query->targetList, makeTargetEntry((Expr *) f, n, psprintf("c%d", n), false));
	query->hasWindowFuncs = true;
	return n;
}

static Node *
compare(const char *op, Node *left, Node *right)
{
	return (Node *) make_op(NULL, list_make2(makeString(pstrdup("pg_catalog")), makeString(pstrdup(op))), left, right, NULL, -1);
}

static Node *
number_or(Node *count, int64 otherwise)
{
	CoalesceExpr *c = makeNode(CoalesceExpr);

	if (count == NULL)
		return (Node *) int8_const(otherwise);
	if (IsA(count, Const))
		return ((Const *) count)->constisnull ? (Node *) int8_const(otherwise) : count;
	c->coalescetype = INT8OID;
	c->args = list_make2(count, int8_const(otherwise));
	c->location = -1;
	return (Node *) c;
}

/* Which rows a limit keeps, by their number and, with ties, their rank. */
static List *
kept_rows(Node *count, Node *offset, Node *number, Node *rank)
{
	Node *place = rank != NULL ? rank : number;
	List *quals = NIL;

	if (offset != NULL)
	{
		Node *skipped = number_or(offset, 0);

		quals = lappend(quals, compare(">", number, skipped));
		place = compare("-", place, copyObject(skipped));
	}
	if (count != NULL)
		quals = lappend(quals, compare("<=", place, number_or(count, PG_INT64_MAX)));
	/* the last row skipped may tie with others */
	if (count != NULL && offset != NULL && rank != NULL)
		quals = lappend(quals, compare(">", number_or(copyObject(count), PG_INT64_MAX), (Node *) int8_const(0)));
	return quals;
}

/* The select list without what was there to sort by, and without the numbers. */
static List *
shown_targets(Query *query, int number)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		tle->ressortgroupref = 0;
		if (!tle->resjunk && tle->resno < number)
			out = lappend(out, tle);
	}
	return out;
}

static void
compare_numbers(Query *query)
{
	Node *count = query->limitCount;
	Node *offset = query->limitOffset;
	bool ties = query->limitOption == LIMIT_OPTION_WITH_TIES;
	int number;
	int rank;
	List *quals;

	query->limitCount = query->limitOffset = NULL;
	query->limitOption = LIMIT_OPTION_COUNT;
	(void) push_down(query);
	number = add_window(query, F_ROW_NUMBER);
	rank = ties ? add_window(query, F_RANK_) : 0;
	query->sortClause = NIL;
	(void) push_down(query);
	quals = kept_rows(count, offset, (Node *) makeVar(1, number, INT8OID, -1, InvalidOid, 0),
					  ties ? (Node *) makeVar(1, rank, INT8OID, -1, InvalidOid, 0) : NULL);
	query->targetList = shown_targets(query, number);
	query->jointree->quals = (Node *) make_ands_explicit(quals);
	query->hasSubLinks = true;
}

void
pgt_canon_limit(Query *query)
{
	bool ties = query->limitOption == LIMIT_OPTION_WITH_TIES;

	/* one that refers to the outside is run as it is, for each row */
	if ((checkExprHasSubLink(query->limitCount) || checkExprHasSubLink(query->limitOffset)) && !pgt_is_correlated((Node *) query))
	{
		compare_numbers(query);
		return;
	}
	if (ties && query->hasDistinctOn)
		(void) push_down(query);
	if (ties && query->limitOffset != NULL)
		skip_above(query);
}
