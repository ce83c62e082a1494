/*
 * analyze.c - from text to an analysed, rewritten Query, and the refusals that hold for every stream table.
 *
 * SEARCH and CYCLE stay as they were typed, in the query and in the views that it reads: what the rewriter makes of them has no SQL text.
 *
 * PostgreSQL's own parser, analyser and rewriter do the work, so views are expanded and every name is resolved under the
 * search_path of the caller.  What is refused here can be no ST at all; what is merely not incremental is rules.c's business.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "analyze.h"
#include "catalog.h"

static void
refuse_modifying_cte(Query *query)
{
	ListCell *lc;

	foreach (lc, query->cteList)
	{
		Query *q = castNode(Query, ((CommonTableExpr *) lfirst(lc))->ctequery);

		if (q->commandType != CMD_SELECT)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("the defining query of a stream table must not modify data"),
							errdetail("WITH query \"%s\" is not a SELECT.", ((CommonTableExpr *) lfirst(lc))->ctename)));
	}
}

static void
check_column(TargetEntry *tle, List **names)
{
	Oid type = exprType((Node *) tle->expr);
	ListCell *lc;

	if (strncmp(tle->resname, "__pgt_", 6) == 0)
		ereport(ERROR, (errcode(ERRCODE_RESERVED_NAME),
						errmsg("column name \"%s\" is reserved", tle->resname),
						errdetail("Names that begin with \"__pgt_\" are those of a stream table's hidden columns."),
						errhint("Give the column another name with AS.")));
	foreach (lc, *names)
		if (strcmp(lfirst(lc), tle->resname) == 0)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
							errmsg("column name \"%s\" appears twice in the defining query", tle->resname),
							errhint("Give one of the columns another name with AS.")));
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("column \"%s\" has pseudo-type %s", tle->resname, format_type_be(type)),
						errhint("Cast the expression to an ordinary type.")));
	*names = lappend(*names, tle->resname);
}

/* A column that "*" brought along from another ST's hidden ones. */
static bool
is_hidden_column(Query *query, Node *expr)
{
	Var *v = (Var *) expr;
	RangeTblEntry *rte;

	if (!IsA(v, Var) || v->varattno <= 0 || v->varlevelsup > 0)
		return false;
	rte = rt_fetch(v->varno, query->rtable);
	if (rte->rtekind == RTE_JOIN)
		return is_hidden_column(query, list_nth(rte->joinaliasvars, v->varattno - 1));
	if (rte->rtekind == RTE_SUBQUERY)
		return is_hidden_column(rte->subquery, (Node *) get_tle_by_resno(rte->subquery->targetList, v->varattno)->expr);
	return rte->rtekind == RTE_RELATION && pgt_st_by_relid(rte->relid) != NULL;
}

static void
drop_hidden_columns(Query *query)
{
	List *kept = NIL;
	ListCell *lc;
	int resno = 1;

	if (query->setOperations != NULL)
		return;
	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk && tle->ressortgroupref == 0 && strncmp(tle->resname, "__pgt_", 6) == 0 &&
			is_hidden_column(query, (Node *) tle->expr))
			continue;
		tle->resno = resno++;
		kept = lappend(kept, tle);
	}
	query->targetList = kept;
}

static void
check_columns(Query *query)
{
	List *names = NIL;
	ListCell *lc;

	drop_hidden_columns(query);

	foreach (lc, query->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			check_column(lfirst(lc), &names);
	if (names == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("the defining query yields no column")));
}

/* SEARCH and CYCLE of a recursive query. */
typedef struct Clauses
{
	CommonTableExpr *cte;
	CTESearchClause *search;
	CTECycleClause *cycle;
} Clauses;

static bool
collect_clauses(Node *node, List **clauses)
{
	CommonTableExpr *cte = (CommonTableExpr *) node;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_clauses, clauses, 0);
	if (IsA(node, CommonTableExpr) && (cte->search_clause != NULL || cte->cycle_clause != NULL))
	{
		Clauses *c = palloc(sizeof(Clauses));

		*c = (Clauses){cte, cte->search_clause, cte->cycle_clause};
		cte->search_clause = NULL;
		cte->cycle_clause = NULL;
		*clauses = lappend(*clauses, c);
	}
	return expression_tree_walker(node, collect_clauses, clauses);
}

/*
 * The server writes a constant of CYCLE with its type behind it, 'Y'::text, and then does not read that.  What it reads is a constant
 * without: a boolean, an integer or a numeric as they are, and a text as a string whose type is open (build_search.c knows).
 */
static Node *
readable_mark(Node *mark)
{
	Const *c = (Const *) mark;

	if (IsA(c, Const) && !c->constisnull)
		switch (c->consttype)
		{
			case BOOLOID:
			case INT4OID:
			case NUMERICOID:
			case UNKNOWNOID:
				return mark;
			case TEXTOID:
				return (Node *) makeConst(UNKNOWNOID, -1, InvalidOid, -2, CStringGetDatum(TextDatumGetCString(c->constvalue)), false, false);
			default:
				break;
		}
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("a CYCLE mark of type %s cannot be part of a stream table's query", format_type_be(exprType(mark))),
					errdetail("PostgreSQL does not read such a constant as it writes it."),
					errhint("Mark the rows with true and false, a number or a string.")));
}

static void
make_readable(CTECycleClause *cycle)
{
	if (cycle == NULL)
		return;
	cycle->cycle_mark_value = readable_mark(cycle->cycle_mark_value);
	cycle->cycle_mark_default = readable_mark(cycle->cycle_mark_default);
}

/* The rewriter writes the columns out and leaves the clauses where they are: the query's text would then have both. */
static void
put_back_clauses(List *clauses)
{
	ListCell *lc;

	foreach (lc, clauses)
	{
		Clauses *c = lfirst(lc);

		c->cte->search_clause = c->search;
		c->cte->cycle_clause = c->cycle;
		make_readable(c->cycle);
	}
}

/* The term that the rewriter has wrapped into a query with more than its n columns. */
static void
unwrap_term(Query *query, Node *term, int n)
{
	RangeTblEntry *rte = rt_fetch(castNode(RangeTblRef, term)->rtindex, query->rtable);
	Query *inside = linitial_node(RangeTblEntry, rte->subquery->rtable)->subquery;

	IncrementVarSublevelsUp((Node *) inside, -1, 2);
	inside->targetList = list_truncate(inside->targetList, n);
	rte->subquery = inside;
	rte->eref->colnames = list_truncate(list_copy(rte->eref->colnames), n);
}

/* A view's query comes with the columns written out; takes them back.  Only clauses of views are still in the tree. */
static bool
restore_walker(Node *node, void *context)
{
	CommonTableExpr *cte = (CommonTableExpr *) node;
	int more;
	int n;
	Query *query;
	SetOperationStmt *setop;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, restore_walker, context, 0);
	if (!IsA(node, CommonTableExpr) || (cte->search_clause == NULL && cte->cycle_clause == NULL))
		return expression_tree_walker(node, restore_walker, context);
	more = (cte->search_clause != NULL ? 1 : 0) + (cte->cycle_clause != NULL ? 2 : 0);
	n = list_length(cte->ctecoltypes) - more;
	query = castNode(Query, cte->ctequery);
	setop = castNode(SetOperationStmt, query->setOperations);
	unwrap_term(query, setop->larg, n);
	unwrap_term(query, setop->rarg, n);
	query->targetList = list_truncate(query->targetList, n);
	setop->colTypes = list_truncate(setop->colTypes, n);
	setop->colTypmods = list_truncate(setop->colTypmods, n);
	setop->colCollations = list_truncate(setop->colCollations, n);
	setop->groupClauses = list_truncate(setop->groupClauses, setop->all ? 0 : n);
	cte->ctecolnames = list_truncate(cte->ctecolnames, n);
	cte->ctecoltypes = list_truncate(cte->ctecoltypes, n);
	cte->ctecoltypmods = list_truncate(cte->ctecoltypmods, n);
	cte->ctecolcollations = list_truncate(cte->ctecolcollations, n);
	make_readable(cte->cycle_clause);
	return expression_tree_walker(node, restore_walker, context);
}

static bool
readable_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CommonTableExpr))
		make_readable(((CommonTableExpr *) node)->cycle_clause);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, readable_walker, context, 0);
	return expression_tree_walker(node, readable_walker, context);
}

void
pgt_make_readable(Query *query)
{
	(void) readable_walker((Node *) query, NULL);
}

Query *
pgt_analyze_text(const char *text)
{
	List *raw = pg_parse_query(text);
	List *queries;
	List *clauses = NIL;
	Query *query;

	if (list_length(raw) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("a stream table is defined by exactly one query, found %d", list_length(raw))));
	if (!IsA(linitial_node(RawStmt, raw)->stmt, SelectStmt))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the defining query of a stream table must be a SELECT")));
	query = parse_analyze_fixedparams(linitial_node(RawStmt, raw), text, NULL, 0, NULL);
	(void) collect_clauses((Node *) query, &clauses);
	queries = pg_rewrite_query(query);
	(void) restore_walker((Node *) queries, NULL);
	put_back_clauses(clauses);
	query = list_length(queries) == 1 ? linitial_node(Query, queries) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || query->utilityStmt != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the defining query of a stream table must be a SELECT")));
	if (((SelectStmt *) linitial_node(RawStmt, raw)->stmt)->intoClause != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the defining query of a stream table must not have an INTO clause")));
	if (query->rowMarks != NIL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the defining query of a stream table must not lock rows"),
						errhint("Leave out FOR UPDATE and its relatives.")));
	refuse_modifying_cte(query);
	check_columns(query);
	return query;
}
