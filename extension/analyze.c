/*
 * analyze.c - from text to an analysed, rewritten Query, and the refusals that hold for every stream table.
 *
 * PostgreSQL's own parser, analyser and rewriter do the work, so views are expanded and every name is resolved under the
 * search_path of the caller.  What is refused here can be no ST at all; what is merely not incremental is rules.c's business.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
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
	}
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
