/*
 * deparse.c - SQL text of operator nodes: expressions by the server's own deparser, the rest by composition.
 *
 * Expressions are handed to deparse_expression over a made-up plan whose range table has one entry per input, columns c1..cn:
 * quoting, casts, collations and operator qualification are then PostgreSQL's business.
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#include "deparse.h"
#include "inner.h"
#include "part.h"
#include "template.h"

int
pgt_path_push(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
pgt_path_pop(int level)
{
	AtEOXact_GUC(true, level);
}

static List *
deparse_context(List *inputs)
{
	PlannedStmt *stmt = makeNode(PlannedStmt);
	List *names = NIL;
	ListCell *lc;

	foreach (lc, inputs)
	{
		PgtOp *op = lfirst(lc);
		RangeTblEntry *rte = makeNode(RangeTblEntry);
		char *alias = psprintf("a%d", foreach_current_index(lc) + 1);
		List *cols = NIL;

		for (int i = 1; i <= op->ncols; i++)
			cols = lappend(cols, makeString(psprintf("c%d", i)));
		rte->rtekind = RTE_VALUES;
		rte->eref = makeAlias(alias, cols);
		rte->inFromCl = true;
		stmt->rtable = lappend(stmt->rtable, rte);
		names = lappend(names, alias);
	}
	return deparse_context_for_plan_tree(stmt, names);
}

/* --- whole rows --- */

/* (SELECT r FROM (SELECT a AS x, b AS y) r): the only way to write a row whose columns have names. */
static Node *
named_row(RowExpr *row)
{
	SubLink *link = makeNode(SubLink);
	Query *outer = makeNode(Query);
	Query *inner = makeNode(Query);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell *a;
	ListCell *n;

	inner->commandType = outer->commandType = CMD_SELECT;
	inner->canSetTag = outer->canSetTag = true;
	inner->jointree = makeFromExpr(NIL, NULL);
	forboth(a, row->args, n, row->colnames)
	{
		Node *e = copyObject(lfirst(a));

		IncrementVarSublevelsUp(e, 2, 0);
		inner->targetList = lappend(inner->targetList, makeTargetEntry((Expr *) e, list_length(inner->targetList) + 1, strVal(lfirst(n)), false));
	}
	inner->hasSubLinks = true;
	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = inner;
	rte->alias = makeAlias("r", NIL);
	rte->eref = makeAlias("r", copyObject(row->colnames));
	rte->inFromCl = true;
	ref->rtindex = 1;
	outer->rtable = list_make1(rte);
	outer->jointree = makeFromExpr(list_make1(ref), NULL);
	outer->targetList = list_make1(makeTargetEntry((Expr *) makeVar(1, 0, RECORDOID, -1, InvalidOid, 0), 1, "r", false));
	link->subLinkType = EXPR_SUBLINK;
	link->subselect = (Node *) outer;
	link->location = -1;
	return (Node *) link;
}

static Node *
name_mutator(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, name_mutator, context, 0);
	node = expression_tree_mutator(node, name_mutator, context);
	if (IsA(node, RowExpr) && ((RowExpr *) node)->row_typeid == RECORDOID && ((RowExpr *) node)->row_format == COERCE_EXPLICIT_CAST)
		return named_row((RowExpr *) node);
	return node;
}

Node *
pgt_name_rows(Node *node)
{
	return name_mutator(node, NULL);
}

/* The deparser prefers the names a Var was written with; ours have been renumbered since. */
static bool
forget_syntax(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		((Var *) node)->varnosyn = 0;
		((Var *) node)->varattnosyn = 0;
		return false;
	}
	return expression_tree_walker(node, forget_syntax, context);
}

/* One expression; `context` is made when the first one needs it: that takes the square of the number of columns. */
static char *
expr_in_context(Node *expr, List *inputs, List **context)
{
	Var *v = (Var *) expr;

	if (IsA(v, Var) && v->varlevelsup == 0 && v->varattno > 0 && (int) v->varno <= list_length(inputs))
		return psprintf("a%d.c%d", (int) v->varno, v->varattno);
	if (*context == NIL)
		*context = deparse_context(inputs);
	expr = copyObject(expr);
	(void) forget_syntax(expr, NULL);
	expr = pgt_name_rows(expr);
	return deparse_expression(expr, *context, true, false);
}

char *
pgt_expr(Node *expr, List *inputs)
{
	List *context = NIL;

	return expr_in_context(expr, inputs, &context);
}

char *
pgt_quals(List *quals, List *inputs)
{
	List *context = NIL;
	StringInfoData s;
	ListCell *lc;

	if (quals == NIL)
		return NULL;
	initStringInfo(&s);
	foreach (lc, quals)
		appendStringInfo(&s, "%s(%s)", foreach_current_index(lc) > 0 ? " AND " : "", expr_in_context(lfirst(lc), inputs, &context));
	return s.data;
}

/*
 * The deparser leaves out casts that nobody wrote, since the parser adds them again.  But a column of ours stands alone, where nothing
 * else gives it its type: a part of a set operation, a row of VALUES, a merged column of JOIN ... USING.
 */
Node *
pgt_explicit_cast(Node *expr)
{
	Node *e = expr == NULL ? NULL : copyObject(expr);

	if (e == NULL)
		return NULL;
	if (IsA(e, FuncExpr) && ((FuncExpr *) e)->funcformat == COERCE_IMPLICIT_CAST)
		((FuncExpr *) e)->funcformat = COERCE_EXPLICIT_CAST;
	else if (IsA(e, RelabelType) && exprType((Node *) ((RelabelType *) e)->arg) != ((RelabelType *) e)->resulttype)
		((RelabelType *) e)->relabelformat = COERCE_EXPLICIT_CAST;
	else if (IsA(e, CoerceViaIO))
		((CoerceViaIO *) e)->coerceformat = COERCE_EXPLICIT_CAST;
	else if (IsA(e, ArrayCoerceExpr))
		((ArrayCoerceExpr *) e)->coerceformat = COERCE_EXPLICIT_CAST;
	else if (IsA(e, ConvertRowtypeExpr))
		((ConvertRowtypeExpr *) e)->convertformat = COERCE_EXPLICIT_CAST;
	else
		return expr;
	return e;
}

char *
pgt_targets(List *targets, List *inputs)
{
	List *context = NIL;
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, targets)
		appendStringInfo(&s, "%s%s AS c%d", foreach_current_index(lc) > 0 ? ", " : "",
						 expr_in_context(pgt_explicit_cast(lfirst(lc)), inputs, &context), foreach_current_index(lc) + 1);
	return s.data;
}

char *
pgt_columns(const char *alias, int n, int offset)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, "%s%s.c%d AS c%d", i > 1 ? ", " : "", alias, i, i + offset);
	return s.data;
}

char *
pgt_key_list(const char *alias, int n)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, "%s%s.c%d", i > 1 ? ", " : "", alias, i);
	return s.data;
}

char *
pgt_join2(const char *a, const char *b)
{
	if (a == NULL || a[0] == '\0')
		return pstrdup(b == NULL ? "" : b);
	if (b == NULL || b[0] == '\0')
		return pstrdup(a);
	return psprintf("%s, %s", a, b);
}

/* --- post state --- */

char *
pgt_self_rows(const PgtOp *self, const char *from)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, self->attnums)
		appendStringInfo(&s, "%sr.c%d AS c%d", foreach_current_index(lc) > 0 ? ", " : "", lfirst_int(lc), foreach_current_index(lc) + 1);
	return psprintf("SELECT %s FROM %s r", s.data, from);
}

char *
pgt_recursive_columns(const PgtOp *op, const char *alias)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < op->ncols; i++)
	{
		const PgtCol *col = &op->cols[i];

		appendStringInfo(&s, "%sCAST(%s.c%d AS %s)%s%s AS c%d", i > 0 ? ", " : "", alias, i + 1, pgt_type_name(col->type, col->typmod),
						 OidIsValid(col->collation) ? " COLLATE " : "", OidIsValid(col->collation) ? generate_collation_name(col->collation) : "",
						 i + 1);
	}
	return s.data;
}

static char *
post_scan(const PgtOp *op)
{
	StringInfoData s;
	ListCell *lc;

	if (pgt_op_is_self(op))
		return pgt_self_rows(op, "r");
	initStringInfo(&s);
	appendStringInfoString(&s, "SELECT ");
	foreach (lc, op->attnums)
		appendStringInfo(&s, "%st.%s AS c%d", foreach_current_index(lc) > 0 ? ", " : "",
						 quote_identifier(get_attname(op->relid, lfirst_int(lc), false)), foreach_current_index(lc) + 1);
	appendStringInfo(&s, " FROM %s t",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(op->relid)), get_rel_name(op->relid)));
	return s.data;
}

char *
pgt_post_select_over(const PgtOp *op, char **instead)
{
	StringInfoData s;
	char *quals = pgt_quals(op->quals, op->children);

	initStringInfo(&s);
	appendStringInfo(&s, "SELECT %s", pgt_targets(op->targets, op->children));
	for (int i = 1; i <= list_length(op->children); i++)
		appendStringInfo(&s, "%s(%s) a%d", i > 1 ? ", " : " FROM ", instead[i - 1] != NULL ? instead[i - 1] : pgt_post(pgt_op_child(op, i)), i);
	if (quals != NULL)
		appendStringInfo(&s, " WHERE %s", quals);
	return s.data;
}

char *
pgt_post_select(const PgtOp *op, int ordinal, const char *instead)
{
	const char **all = palloc0(sizeof(char *) * Max(list_length(op->children), 1));

	if (ordinal > 0)
		all[ordinal - 1] = instead;
	return pgt_post_select_over(op, (char **) all);
}

char *
pgt_outer_over(const PgtOp *op, const char *left, const char *right)
{
	char *quals = pgt_quals(op->quals, op->children);
	int nleft = pgt_op_child(op, 1)->ncols;

	return psprintf("SELECT %s FROM %s a1 %s JOIN %s a2 ON %s",
					pgt_join2(pgt_columns("a1", nleft, 0), pgt_columns("a2", pgt_op_child(op, 2)->ncols, nleft)), left, op->full ? "FULL" : "LEFT", right,
					quals == NULL ? "true" : quals);
}

char *
pgt_post_outer(const PgtOp *op, int ordinal, const char *instead)
{
	return pgt_outer_over(op, psprintf("(%s)", ordinal == 1 ? instead : pgt_post(pgt_op_child(op, 1))),
						  psprintf("(%s)", ordinal == 2 ? instead : pgt_post(pgt_op_child(op, 2))));
}

/*
 * Equal values may have several images (1.0 and 1.00), and which one a group shows is the plan's choice.  Below other operators
 * the same group is computed in several statements, whose rows have to cancel: so the least image, as text, is taken.
 */
char *
pgt_least_image(const PgtCol *col, int k)
{
	if (pgt_col_image_safe(col))
		return psprintf("a1.c%d", k);
	return psprintf("pg_catalog.min(a1.c%d::pg_catalog.text COLLATE \"C\")::%s%s%s", k, pgt_type_name(col->type, col->typmod),
					OidIsValid(col->collation) ? " COLLATE " : "",
					OidIsValid(col->collation) ? generate_collation_name(col->collation) : "");
}

/* A value equal to this one that is the same for all that are equal; NULL where we know none. */
static Node *
one_image(Node *arg)
{
	PgtCol col = {exprType(arg), exprTypmod(arg), exprCollation(arg), false};

	if (pgt_col_image_safe(&col))
		return arg;
	switch (col.type)
	{
		case FLOAT4OID: /* -0 + 0 is 0 */
			return (Node *) makeFuncExpr(F_FLOAT4PL, FLOAT4OID,
										 list_make2(arg, makeConst(FLOAT4OID, -1, InvalidOid, sizeof(float4), Float4GetDatum(0), false, true)),
										 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
		case FLOAT8OID:
			return (Node *) makeFuncExpr(F_FLOAT8PL, FLOAT8OID,
										 list_make2(arg, makeConst(FLOAT8OID, -1, InvalidOid, sizeof(float8), Float8GetDatum(0), false, FLOAT8PASSBYVAL)),
										 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
		case NUMERICOID:
			return (Node *) makeFuncExpr(F_TRIM_SCALE, NUMERICOID, list_make1(arg), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
		default:
			return NULL;
	}
}

/* percentile_disc(), array_agg(DISTINCT ...): the server sorts their arguments by value, and shows or counts any of equal ones. */
static bool
picks_one_of_equal(const Aggref *agg)
{
	return agg->aggkind == AGGKIND_ORDERED_SET || (agg->aggdistinct != NIL && agg->aggfnoid != F_COUNT_ANY);
}

bool
pgt_has_one_image(const Aggref *agg)
{
	ListCell *lc;

	if (picks_one_of_equal(agg))
		foreach (lc, agg->args)
			if (one_image((Node *) lfirst_node(TargetEntry, lc)->expr) == NULL)
				return false;
	return true;
}

static Aggref *
over_one_image(Aggref *agg)
{
	Aggref *copy = copyObject(agg);
	ListCell *lc;

	foreach (lc, copy->args)
		lfirst_node(TargetEntry, lc)->expr = (Expr *) one_image((Node *) lfirst_node(TargetEntry, lc)->expr);
	return copy;
}

static char *
nested_aggregate(const PgtOp *op, Aggref *agg, List **context)
{
	char *name = get_func_name(agg->aggfnoid);
	Node *arg = agg->args == NIL ? NULL : (Node *) linitial_node(TargetEntry, agg->args)->expr;
	PgtCol col;
	char *text;

	if (picks_one_of_equal(agg) && pgt_has_one_image(agg))
		return expr_in_context((Node *) over_one_image(agg), op->children, context);
	if (arg == NULL || (strcmp(name, "min") != 0 && strcmp(name, "max") != 0) ||
		get_func_namespace(agg->aggfnoid) != PG_CATALOG_NAMESPACE)
		return expr_in_context((Node *) agg, op->children, context);
	col = (PgtCol){exprType(arg), exprTypmod(arg), exprCollation(arg), false};
	if (pgt_col_image_safe(&col))
		return expr_in_context((Node *) agg, op->children, context);
	text = expr_in_context(arg, op->children, context);
	return psprintf("pg_catalog.%s(%s ORDER BY (%s)::pg_catalog.text COLLATE \"C\")%s", name, text, text,
					agg->aggfilter == NULL ? "" : psprintf(" FILTER (WHERE %s)", expr_in_context((Node *) agg->aggfilter, op->children, context)));
}

char *
pgt_aggregate(const PgtOp *op, const char *from, const char *more)
{
	List *context = NIL;
	StringInfoData s;
	ListCell *lc;
	int n = 0;

	initStringInfo(&s);
	for (int k = 1; k <= op->nkeys; k++)
		appendStringInfo(&s, "%s%s AS c%d", n++ > 0 ? ", " : "",
						 more == NULL ? pgt_least_image(&op->cols[k - 1], k) : psprintf("a1.c%d", k), k);
	foreach (lc, op->aggs)
	{
		char *agg = more == NULL ? nested_aggregate(op, lfirst(lc), &context) : expr_in_context(lfirst(lc), op->children, &context);

		appendStringInfo(&s, "%s%s AS c%d", n > 0 ? ", " : "", agg, n + 1);
		n++;
	}
	return psprintf("SELECT %s FROM %s a1%s%s%s", pgt_join2(s.data, more), from, op->nkeys > 0 ? " GROUP BY " : "",
					pgt_key_list("a1", op->nkeys),
					op->scalar && n == 0 && (more == NULL || more[0] == '\0') ? " GROUP BY ()" : "");
}

static char *
post_union(const PgtOp *op)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, op->children)
		appendStringInfo(&s, "%s(%s)", foreach_current_index(lc) > 0 ? " UNION ALL " : "", pgt_post(lfirst(lc)));
	return s.data;
}

static char *
post_apply(const PgtOp *op)
{
	char **froms = palloc(sizeof(char *) * list_length(op->children));
	ListCell *lc;

	foreach (lc, op->children)
		froms[foreach_current_index(lc)] = psprintf("(%s)", pgt_post(lfirst(lc)));
	return pgt_template_sql(op, froms, false);
}

/* A recursion inside this one hides the name: SELF is always that of the recursion directly around it. */
static char *
post_recursion(const PgtOp *op)
{
	char *cols = pgt_recursive_columns(op, "q");

	return psprintf("WITH RECURSIVE r AS (SELECT %s FROM (%s) q UNION %sSELECT %s FROM (%s) q) SELECT %s FROM r", cols, pgt_post(pgt_op_child(op, 1)),
					op->distinct ? "" : "ALL ", cols, pgt_post(pgt_op_child(op, 2)), pgt_columns("r", op->ncols, 0));
}

char *
pgt_post(const PgtOp *op)
{
	check_stack_depth();
	if (pgt_inner_bound(op))
		return pgt_inner_rows(op->inner);
	switch (op->kind)
	{
		case PGT_OP_SCAN:
			return post_scan(op);
		case PGT_OP_SELECT:
			return pgt_post_select(op, 0, NULL);
		case PGT_OP_OUTER:
			return pgt_post_outer(op, 0, NULL);
		case PGT_OP_AGG:
			return pgt_aggregate(op, psprintf("(%s)", pgt_post(pgt_op_child(op, 1))), NULL);
		case PGT_OP_UNION:
			return post_union(op);
		case PGT_OP_APPLY:
			return post_apply(op);
		case PGT_OP_PART:
			return pgt_part_sql(op, psprintf("(%s)", pgt_post(pgt_op_child(op, 1))));
		case PGT_OP_RECURSION:
			return post_recursion(op);
	}
	return NULL;
}

/* --- comparing rows --- */

/* A row of NULLs "IS NULL" although it is a value. */
char *
pgt_is_null(Oid type, const char *value)
{
	return psprintf(type_is_rowtype(type) ? "(pg_catalog.num_nulls(%s) > 0)" : "(%s IS NULL)", value);
}

char *
pgt_same(const PgtCol *col, const char *left, const char *right)
{
	char *eq;

	if (!pgt_type_has_eq(col->type))
		return psprintf("(%s::pg_catalog.text = %s::pg_catalog.text OR (%s AND %s))", left, right, pgt_is_null(col->type, left),
						pgt_is_null(col->type, right));
	eq = pgt_type_operator(col->type, true);
	if (col->notnull)
		return psprintf("%s %s %s", left, eq, right);
	if (type_is_rowtype(col->type))
		return psprintf("ARRAY[%s] OPERATOR(pg_catalog.=) ARRAY[%s]", left, right);
	return psprintf("(%s %s %s OR (%s IS NULL AND %s IS NULL))", left, eq, right, left, right);
}

/*
 * Equality that treats NULLs as equal and that a join can hash or merge.  A value is wrapped into an array of one, except that
 * ARRAY[] of arrays makes one array with a dimension more, where NULL, the empty array and lower bounds are lost.
 */
char *
pgt_same_key(const PgtCol *col, const char *left, const char *right)
{
	char *empty;

	if (col->notnull)
		return psprintf("%s %s %s", left, pgt_type_operator(col->type, true), right);
	if (!OidIsValid(get_element_type(col->type)))
		return psprintf("ARRAY[%s] OPERATOR(pg_catalog.=) ARRAY[%s]", left, right);
	empty = psprintf("%s::%s", col->type == OIDVECTOROID || col->type == INT2VECTOROID ? "''" : "'{}'", pgt_type_name(col->type, -1));
	return psprintf("coalesce(%s, %s) OPERATOR(pg_catalog.=) coalesce(%s, %s) AND (%s IS NULL) OPERATOR(pg_catalog.=) (%s IS NULL)",
					left, empty, right, empty, left, right);
}

/* What tells equal values apart: their text, which a collation that takes different texts as equal must not compare. */
char *
pgt_image(const PgtCol *col, const char *value)
{
	bool blurs = OidIsValid(col->collation) && !get_collation_isdeterministic(col->collation);

	return psprintf("%s::pg_catalog.text%s", value, blurs ? " COLLATE \"C\"" : "");
}

char *
pgt_image_keys(const PgtCol *cols, int ncols, const char *alias)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < ncols; i++)
	{
		if (i > 0)
			appendStringInfoString(&s, ", ");
		if (pgt_type_has_eq(cols[i].type))
			appendStringInfo(&s, "%s.c%d", alias, i + 1);
		if (!pgt_col_image_safe(&cols[i]))
			appendStringInfo(&s, "%s%s", pgt_type_has_eq(cols[i].type) ? ", " : "", pgt_image(&cols[i], psprintf("%s.c%d", alias, i + 1)));
	}
	return s.data;
}

char *
pgt_image_values(const PgtCol *cols, int ncols, const char *alias)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < ncols; i++)
	{
		if (i > 0)
			appendStringInfoString(&s, ", ");
		if (pgt_type_has_eq(cols[i].type))
			appendStringInfo(&s, "%s.c%d AS c%d", alias, i + 1, i + 1);
		else
			appendStringInfo(&s, "(%s.c%d::pg_catalog.text)::%s AS c%d", alias, i + 1, pgt_type_name(cols[i].type, cols[i].typmod),
							 i + 1);
	}
	return s.data;
}
