/*
 * rules.c - the table of what is not (yet) maintained incrementally: predicate, name, hint.
 *
 * Two kinds of predicates: over one query level, and over one expression node.  The first rule that applies anywhere names the
 * reason; explain_st and the NOTICE at creation print it.  Functions are judged here too, since they hide in operators, casts and
 * views: VOLATILE ones are an error unless the policy says otherwise, clock functions and user-defined STABLE ones are rules.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "analyze.h"
#include "build.h"
#include "catalog.h"
#include "clock.h"
#include "compat.h"
#include "guc.h"

typedef struct QueryRule
{
	bool (*applies)(Query *query);
	const char *name;
	const char *hint;
	bool anywhere; /* also in subqueries that are run for each row as they are */
} QueryRule;

typedef struct EntryRule
{
	bool (*applies)(RangeTblEntry *rte);
	const char *name;
	const char *hint;
} EntryRule;

/* --- one query level --- */

/* Is one of them, which is no key of the groups as well, a set? */
static bool
any_set(Query *q, List *clauses)
{
	ListCell *lc;
	ListCell *gc;

	foreach (lc, clauses)
	{
		bool grouped = false;

		foreach (gc, q->groupClause)
			grouped |= ((SortGroupClause *) lfirst(gc))->tleSortGroupRef == ((SortGroupClause *) lfirst(lc))->tleSortGroupRef;
		if (!grouped && expression_returns_set(pgt_flatten_group_exprs(q, get_sortgroupclause_expr(lfirst(lc), q->targetList))))
			return true;
	}
	return false;
}

/* A set that is a key of a window comes before it.  Without groups it goes into FROM (canon_keys.c); with groups it is made of them. */
static bool
has_window_over_srf(Query *q)
{
	ListCell *lc;

	if (!q->hasTargetSRFs || (q->groupClause == NIL && !q->hasAggs && q->havingQual == NULL))
		return false;
	foreach (lc, q->windowClause)
		if (any_set(q, ((WindowClause *) lfirst(lc))->partitionClause) || any_set(q, ((WindowClause *) lfirst(lc))->orderClause))
			return true;
	return false;
}

static bool
has_row_marks(Query *q)
{
	return q->rowMarks != NIL;
}

static const QueryRule query_rules[] = {
	{has_window_over_srf, "a set-returning function as a key of a window over groups", "Compute the groups in a subquery in FROM."},
	{has_row_marks, "FOR UPDATE or FOR SHARE", "Remove the locking clause: a stream table's query locks no rows.", true},
};

/* --- one range table entry --- */

static bool
is_only(RangeTblEntry *rte)
{
	return rte->rtekind == RTE_RELATION && !rte->inh && has_subclass(rte->relid);
}

static bool
is_sampled(RangeTblEntry *rte)
{
	return rte->tablesample != NULL;
}

static bool
is_foreign_kind(RangeTblEntry *rte)
{
	return rte->rtekind == RTE_NAMEDTUPLESTORE;
}

static const EntryRule entry_rules[] = {
	{is_only, "ONLY on a table with children", "Read the whole inheritance tree, or accept full refreshes."},
	{is_sampled, "TABLESAMPLE", "A sample has no single answer; filter by a condition instead."},
	{is_foreign_kind, "a transition table", NULL},
};

/* --- the walk --- */

typedef struct RuleContext
{
	PgtFindings *findings;
	Query *query;           /* the level being walked */
	struct RuleContext *up; /* the level around it */
	bool sublink;           /* the next level is a subquery in an expression */
} RuleContext;

static void
not_incremental(RuleContext *cxt, const char *name, const char *hint)
{
	if (cxt->findings->full_reason != NULL)
		return;
	cxt->findings->full_reason = name;
	cxt->findings->full_hint = hint;
}

/* The same for what lets the result change although no table does. */
static void
not_only_tables(RuleContext *cxt, const char *name, const char *hint)
{
	cxt->findings->time_dependent = true;
	not_incremental(cxt, name, hint);
}

/* Where the clock may stand is clock.c's business. */
static void
note_clock(RuleContext *cxt)
{
	cxt->findings->clocked = true;
	cxt->findings->time_dependent = true;
}

/* pg_catalog's STABLE functions run under pinned settings, except those that look at the session or the catalogs. */
static bool
reads_session(const char *name, int nargs)
{
	static const char *const prefixes[] = {"pg_", "has_", "txid_", "inet_", "to_reg", "current_", "row_security_", "obj_desc",
										   "col_desc", "shobj_desc", "table_to_", "query_to_", "schema_to_", "database_to_", "cursor_to_", "ts_stat", "ts_rewrite"};

	if (nargs == 0)
		return strncmp(name, "json", strlen("json")) != 0; /* the empty array, the empty object */
	for (int i = 0; i < lengthof(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static void
refuse_volatile(RuleContext *cxt, const char *name)
{
	if (pgt_guc_volatile_function_policy == PGT_VOLATILE_REJECT)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("function %s is VOLATILE and cannot be used in a stream table", name),
						errdetail("Its result may change without any change of the tables that the query reads."),
						errhint("Use a function that is STABLE or IMMUTABLE, or see pg_trickle.volatile_function_policy.")));
	if (pgt_guc_volatile_function_policy == PGT_VOLATILE_WARN)
		cxt->findings->notices = lappend(cxt->findings->notices,
										 psprintf("function %s is VOLATILE: the stream table may differ from its query", name));
	not_only_tables(cxt, psprintf("VOLATILE function %s", name), "Use a function that is STABLE or IMMUTABLE.");
}

static bool
check_function(Oid funcid, void *context)
{
	RuleContext *cxt = context;
	HeapTuple tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc proc;
	char *name;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for function %u", funcid);
	proc = (Form_pg_proc) GETSTRUCT(tup);
	name = pstrdup(NameStr(proc->proname));
	cxt->findings->functions = list_append_unique_oid(cxt->findings->functions, funcid);
	if (proc->provolatile == PROVOLATILE_VOLATILE)
		refuse_volatile(cxt, name);
	else if (proc->provolatile == PROVOLATILE_STABLE)
	{
		if (pgt_is_clock_function(funcid))
			note_clock(cxt);
		else if (proc->pronamespace != PG_CATALOG_NAMESPACE && pgt_guc_volatile_function_policy == PGT_VOLATILE_REJECT)
			not_only_tables(cxt, psprintf("user-defined STABLE function %s", name),
							"Declare the function IMMUTABLE if it reads no table, or set pg_trickle.volatile_function_policy.");
		else if (proc->pronamespace == PG_CATALOG_NAMESPACE && reads_session(name, proc->pronargs))
			not_only_tables(cxt, psprintf("function %s, whose result depends on the session", name),
							"Call the function when reading the stream table.");
	}
	ReleaseSysCache(tup);
	return false;
}

static void
check_value_function(RuleContext *cxt, SQLValueFunction *f)
{
	if (f->op <= SVFOP_LOCALTIMESTAMP_N)
		note_clock(cxt);
	else if (f->op != SVFOP_CURRENT_CATALOG)
		not_only_tables(cxt, "a value that depends on the session", "Ask for user and schema when reading the stream table.");
}

static bool
is_datetime(Oid type)
{
	type = getBaseType(type);
	return type == DATEOID || type == TIMEOID || type == TIMETZOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/* Could the text be a word for a moment that moves? */
static bool
names_moving_time(Const *text)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
	Oid output;
	bool varlena;
	char *value;

	if (text->constisnull)
		return false;
	getTypeOutputInfo(text->consttype, &output, &varlena);
	value = OidOutputFunctionCall(output, text->constvalue);
	for (char *p = value; *p; p++)
		*p = pg_tolower((unsigned char) *p);
	for (int i = 0; i < lengthof(words); i++)
		if (strstr(value, words[i]) != NULL)
			return true;
	return false;
}

/* 'now' and its like are a clock when text is read as a time; literals of these types were read at analysis. */
static void
check_text_to_time(RuleContext *cxt, CoerceViaIO *cast)
{
	Node *text = (Node *) cast->arg;
	char *notice;
	ListCell *lc;

	if (!is_datetime(cast->resulttype))
		return;
	if (!contain_var_clause(text) && !checkExprHasSubLink(text))
	{
		text = eval_const_expressions(NULL, copyObject(text));
		if (!IsA(text, Const) || names_moving_time((Const *) text))
			not_only_tables(cxt, "a clock in a text that is read as a time", "Use now() or current_date.");
		return;
	}
	notice = psprintf("words such as 'now' and 'today' in text that is read as %s mean the moment of a refresh", format_type_be(cast->resulttype));
	foreach (lc, cxt->findings->notices)
		if (strcmp(lfirst(lc), notice) == 0)
			return;
	cxt->findings->notices = lappend(cxt->findings->notices, notice);
}

static bool
is_virtual_column(Oid relid, AttrNumber attnum)
{
	HeapTuple tup = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));
	bool result;

	if (!HeapTupleIsValid(tup))
		return false;
	result = pgt_attribute_is_virtual((Form_pg_attribute) GETSTRUCT(tup));
	ReleaseSysCache(tup);
	return result;
}

/* Columns of a stream table that its readers do not get to see. */
static bool
has_hidden_columns(Oid relid)
{
	Relation rel;
	bool result = false;

	if (pgt_st_by_relid(relid) == NULL)
		return false;
	rel = table_open(relid, AccessShareLock);
	for (int i = 0; i < RelationGetNumberOfAttributes(rel) && !result; i++)
		result = !TupleDescAttr(RelationGetDescr(rel), i)->attisdropped &&
				 strncmp(NameStr(TupleDescAttr(RelationGetDescr(rel), i)->attname), "__pgt_", 6) == 0;
	table_close(rel, AccessShareLock);
	return result;
}

static bool
has_virtual_column(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	bool result = false;

	for (int i = 0; i < RelationGetNumberOfAttributes(rel) && !result; i++)
		result = is_virtual_column(relid, i + 1);
	table_close(rel, AccessShareLock);
	return result;
}

static void
check_whole_row(RuleContext *cxt, RangeTblEntry *rte, Var *v)
{
	if (rte->rtekind == RTE_JOIN)
		not_incremental(cxt, "a whole-row reference to a join", "Name the columns.");
	else if (get_typtype(v->vartype) == TYPTYPE_DOMAIN)
		not_incremental(cxt, "a whole-row reference to a function that returns a domain", "Name the columns.");
	else if (rte->rtekind == RTE_RELATION && has_hidden_columns(rte->relid))
		not_incremental(cxt, "a whole-row reference to a stream table with hidden columns", "Name the columns.");
	else if (rte->rtekind == RTE_RELATION && has_virtual_column(rte->relid))
		not_incremental(cxt, "a virtual generated column", "Make the generated column STORED, or repeat its expression.");
}

static void
check_var(RuleContext *cxt, Var *v)
{
	RangeTblEntry *rte;

	for (Index up = v->varlevelsup; up > 0 && cxt != NULL; up--)
		cxt = cxt->up;
	if (cxt == NULL)
		return;
	rte = rt_fetch(v->varno, cxt->query->rtable);
	if (v->varattno == 0)
		check_whole_row(cxt, rte, v);
	else if (v->varattno < 0)
		not_incremental(cxt, "a system column", "System columns such as ctid or tableoid are no data; use a column of the table.");
	else if (rte->rtekind == RTE_RELATION && is_virtual_column(rte->relid, v->varattno))
		not_incremental(cxt, "a virtual generated column", "Make the generated column STORED, or repeat its expression.");
}

/* "x.*" where x names the columns of JOIN ... USING: a record of the names of those columns, which its text as ROW(...) has not. */
static void
refuse_named_record(RowExpr *row)
{
	ListCell *lc;

	/* those that SEARCH and CYCLE are made of are looked at as a whole */
	if (row->row_typeid != RECORDOID || row->row_format != COERCE_IMPLICIT_CAST)
		return;
	foreach (lc, row->colnames)
		if (strcmp(strVal(lfirst(lc)), psprintf("f%d", foreach_current_index(lc) + 1)) != 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("a record of the merged columns of JOIN ... USING cannot be used in a stream table"),
							errhint("Name the columns in a subquery and use its row.")));
}

static bool rule_walker(Node *node, RuleContext *cxt);

/* Rows without columns cannot be told from each other, nor captured. */
static void
refuse_without_columns(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	bool any = false;

	for (int i = 0; i < desc->natts; i++)
		any |= !TupleDescAttr(desc, i)->attisdropped;
	if (!any)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("\"%s\" cannot be a source of a stream table", RelationGetRelationName(rel)),
						errdetail("It has no columns."), errhint("Add a column to it.")));
	table_close(rel, AccessShareLock);
}

static void
check_level(RuleContext *cxt, Query *query, bool by_row)
{
	ListCell *lc;

	for (int i = 0; i < lengthof(query_rules); i++)
		if ((!by_row || query_rules[i].anywhere) && query_rules[i].applies(query))
			not_incremental(cxt, query_rules[i].name, query_rules[i].hint);
	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION && rte->relkind != RELKIND_VIEW)
			refuse_without_columns(rte->relid);
		for (int i = 0; i < lengthof(entry_rules); i++)
			if (entry_rules[i].applies(rte))
				not_incremental(cxt, entry_rules[i].name, entry_rules[i].hint);
	}
}

static bool
rule_walker(Node *node, RuleContext *cxt)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		RuleContext level = {cxt->findings, (Query *) node, cxt->query == (Query *) node ? cxt->up : cxt};

		check_level(&level, (Query *) node, cxt->sublink || pgt_is_correlated(node));
		return query_tree_walker((Query *) node, rule_walker, &level, 0);
	}
	if (IsA(node, RowExpr))
		refuse_named_record((RowExpr *) node);
	if (IsA(node, Var))
		check_var(cxt, (Var *) node);
	else if (IsA(node, SQLValueFunction))
		check_value_function(cxt, (SQLValueFunction *) node);
	else if (IsA(node, CoerceViaIO))
		check_text_to_time(cxt, (CoerceViaIO *) node);
	else if (IsA(node, NextValueExpr))
		refuse_volatile(cxt, "nextval");
	else if (IsA(node, SubLink))
	{
		RuleContext sub = {cxt->findings, cxt->query, cxt->up, true};

		rule_walker(((SubLink *) node)->subselect, &sub);
		return rule_walker(((SubLink *) node)->testexpr, cxt);
	}
	check_functions_in_node(node, check_function, cxt);
	return expression_tree_walker(node, rule_walker, cxt);
}

void
pgt_rules_apply(Query *query, PgtFindings *findings)
{
	RuleContext cxt = {findings, query};

	rule_walker((Node *) query, &cxt);
}
