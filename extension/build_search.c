/*
 * build_search.c - SEARCH and CYCLE of a recursive query, as columns that a table can have.
 *
 * The server shows a record, ROW(depth, keys), for SEARCH BREADTH FIRST, and an array of records, the keys of all rows on the way, for
 * SEARCH DEPTH FIRST and for CYCLE's path.  No table has such columns.  So the RECURSION node has others, behind those of the query:
 *     SEARCH BREADTH FIRST  depth (the keys are columns of the row itself)
 *     SEARCH DEPTH FIRST    the path
 *     CYCLE                 the mark, the path
 * where a path is one array of the keys, row after row, if they are of one type, else an array for each key.  What the server shows
 * is an expression over these; rows that the arrays say are equal have equal records, and the other way round.
 *
 * To queries the node's own columns are there as well, behind what SEARCH and CYCLE declare: the step passes them on by these numbers.
 * ORDER BY of a window or a LIMIT that names what SEARCH declares is put in terms of them: depth and keys, or the one array; several arrays are
 * one sort key, whose records are made when rows are sorted (PgtSortKey.more).
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "build.h"
#include "inner.h"

/* --- which columns there are --- */

/* The keys of rows on the way. */
typedef struct KeyPath
{
	List *names; /* of String */
	List *keys;  /* of int: columns of the query */
	int first;   /* column of the node; 0: no path */
	bool one;    /* one array, else one for each key */
} KeyPath;

typedef struct Layout
{
	CommonTableExpr *cte;
	int n;         /* columns of the query */
	int shown;     /* the same with those that SEARCH and CYCLE declare */
	int depth;     /* column of the node, or 0 */
	KeyPath order; /* SEARCH; for BREADTH FIRST only the keys */
	int mark;      /* column of the node, or 0 */
	KeyPath cycle; /* CYCLE */
	int columns;   /* of the node */
	bool fits;     /* the types can be kept in arrays */
} Layout;

static PgtCol
column_of(CommonTableExpr *cte, int col)
{
	return (PgtCol){list_nth_oid(cte->ctecoltypes, col - 1), list_nth_int(cte->ctecoltypmods, col - 1), list_nth_oid(cte->ctecolcollations, col - 1), false};
}

static KeyPath
path_of(Layout *layout, List *names, bool kept)
{
	CommonTableExpr *cte = layout->cte;
	KeyPath path = {names, NIL, 0, true};
	ListCell *lc;

	foreach (lc, names)
		for (int i = 1; i <= layout->n; i++)
			if (strcmp(strVal(lfirst(lc)), strVal(list_nth(cte->ctecolnames, i - 1))) == 0)
			{
				PgtCol col = column_of(cte, i);
				PgtCol first = column_of(cte, path.keys == NIL ? i : linitial_int(path.keys));

				path.keys = lappend_int(path.keys, i);
				path.one &= col.type == first.type && col.collation == first.collation;
				layout->fits &= !kept || (OidIsValid(get_array_type(col.type)) && !OidIsValid(get_element_type(col.type)) && pgt_inner_can_keep(&col));
				break;
			}
	if (!kept)
		return path;
	path.first = layout->columns + 1;
	layout->columns += path.one ? 1 : list_length(path.keys);
	return path;
}

static Layout
layout_of(CommonTableExpr *cte)
{
	Layout layout = {cte, list_length(cte->ctecoltypes)};
	CTESearchClause *search = cte->search_clause;

	layout.shown = layout.n + (search != NULL ? 1 : 0) + (cte->cycle_clause != NULL ? 2 : 0);
	layout.columns = layout.n;
	layout.fits = true;
	if (search != NULL && search->search_breadth_first)
		layout.depth = ++layout.columns;
	if (search != NULL)
		layout.order = path_of(&layout, search->search_col_list, !search->search_breadth_first);
	if (cte->cycle_clause != NULL)
	{
		layout.mark = ++layout.columns;
		layout.cycle = path_of(&layout, cte->cycle_clause->cycle_col_list, true);
	}
	return layout;
}

static void
describe_path(const Layout *layout, const KeyPath *path, PgtCol *cols)
{
	ListCell *lc;

	foreach (lc, path->keys)
	{
		PgtCol key = column_of(layout->cte, lfirst_int(lc));

		if (foreach_current_index(lc) == 0 || !path->one)
			cols[path->first - 1 + foreach_current_index(lc)] = (PgtCol){get_array_type(key.type), -1, key.collation, false};
	}
}

int
pgt_search_columns(CommonTableExpr *cte, PgtCol **cols)
{
	Layout layout = layout_of(cte);
	CTECycleClause *cycle = cte->cycle_clause;

	*cols = palloc0(sizeof(PgtCol) * Max(layout.columns, 1));
	for (int i = 1; i <= layout.columns; i++)
		(*cols)[i - 1] = i <= layout.n ? column_of(cte, i) : (PgtCol){TEXTARRAYOID, -1, DEFAULT_COLLATION_OID, false};
	if (layout.depth > 0)
		(*cols)[layout.depth - 1] = (PgtCol){INT8OID, -1, InvalidOid, false};
	if (layout.mark > 0)
		(*cols)[layout.mark - 1] = (PgtCol){cycle->cycle_mark_type, cycle->cycle_mark_typmod, cycle->cycle_mark_collation, false};
	if (layout.fits && layout.order.first > 0)
		describe_path(&layout, &layout.order, *cols);
	if (layout.fits && layout.cycle.first > 0)
		describe_path(&layout, &layout.cycle, *cols);
	return layout.columns;
}

static Oid
records_function(void)
{
	Oid types[] = {TEXTARRAYOID, ANYOID};

	return LookupFuncName(list_make2(makeString("pgtrickle"), makeString("_records")), lengthof(types), types, true);
}

bool
pgt_search_is_built(CommonTableExpr *cte)
{
	if (!layout_of(cte).fits)
		pgt_not_built("SEARCH or CYCLE by columns of array, composite, domain or range types", "Search by columns such as integer or text.");
	else if (!OidIsValid(records_function()))
		pgt_not_built("SEARCH and CYCLE need a function that this version of the extension's catalog does not have", "ALTER EXTENSION pg_trickle UPDATE");
	else
		return true;
	return false;
}

/* --- what the query sees --- */

static List *
keys_among(const KeyPath *path, List *exprs)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, path->keys)
		out = lappend(out, copyObject(list_nth(exprs, lfirst_int(lc) - 1)));
	return out;
}

static RowExpr *
row_of(List *args, List *names)
{
	RowExpr *row = makeNode(RowExpr);

	row->args = args;
	row->row_typeid = RECORDOID;
	row->row_format = names == NIL ? COERCE_IMPLICIT_CAST : COERCE_EXPLICIT_CAST; /* the latter is deparsed with the names */
	row->colnames = names;
	row->location = -1;
	return row;
}

/* The path as the server has it; columns: of the node. */
static Node *
records_of(const KeyPath *path, List *columns)
{
	int k = list_length(path->keys);
	Datum *names = palloc(sizeof(Datum) * k);
	List *args;
	ListCell *lc;

	foreach (lc, path->names)
		names[foreach_current_index(lc)] = CStringGetTextDatum(strVal(lfirst(lc)));
	args = list_make1(makeConst(TEXTARRAYOID, -1, DEFAULT_COLLATION_OID, -1, PointerGetDatum(construct_array(names, k, TEXTOID, -1, false, TYPALIGN_INT)), false, false));
	for (int i = 0; i < (path->one ? 1 : k); i++)
		args = lappend(args, copyObject(list_nth(columns, path->first - 1 + i)));
	return (Node *) makeFuncExpr(records_function(), RECORDARRAYOID, args, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

List *
pgt_search_entry(CommonTableExpr *cte, List *columns)
{
	Layout layout = layout_of(cte);
	List *out = list_truncate(list_copy(columns), layout.n);

	if (layout.depth > 0)
		out = lappend(out, row_of(lcons(copyObject(list_nth(columns, layout.depth - 1)), keys_among(&layout.order, columns)),
								  lcons(makeString("*DEPTH*"), copyObject(layout.order.names))));
	else if (layout.order.first > 0)
		out = lappend(out, records_of(&layout.order, columns));
	if (layout.mark > 0)
		out = list_concat(out, list_make2(copyObject(list_nth(columns, layout.mark - 1)), records_of(&layout.cycle, columns)));
	return list_concat(out, list_copy_tail(columns, layout.n));
}

/* --- what the terms yield --- */

static Node *
keys_array(const Layout *layout, List *keys, int key)
{
	ArrayExpr *array = makeNode(ArrayExpr);
	PgtCol col = column_of(layout->cte, key);

	array->array_typeid = get_array_type(col.type);
	array->array_collid = col.collation;
	array->element_typeid = col.type;
	array->elements = keys;
	array->location = -1;
	return (Node *) array;
}

/* The path's arrays for one row. */
static List *
path_arrays(const Layout *layout, const KeyPath *path, List *exprs)
{
	List *keys = keys_among(path, exprs);
	List *out = NIL;
	ListCell *lc;

	if (path->one)
		return list_make1(keys_array(layout, keys, linitial_int(path->keys)));
	foreach (lc, keys)
		out = lappend(out, keys_array(layout, list_make1(lfirst(lc)), list_nth_int(path->keys, foreach_current_index(lc))));
	return out;
}

/* The path of the row before it, and this row. */
static List *
longer_path(const Layout *layout, const KeyPath *path, List *exprs, List *before)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, path_arrays(layout, path, exprs))
	{
		Node *array = lfirst(lc);

		out = lappend(out, makeFuncExpr(F_ARRAY_CAT, exprType(array), list_make2(copyObject(list_nth(before, path->first - 1 + foreach_current_index(lc))), array),
										exprCollation(array), exprCollation(array), COERCE_EXPLICIT_CALL));
	}
	return out;
}

/* Is the row on the path?  NULL is like itself, as within records. */
static Expr *
on_path(const Layout *layout, List *exprs, List *before)
{
	const KeyPath *path = &layout->cycle;
	List *keys = keys_among(path, exprs);
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);

	if (list_length(keys) == 1)
	{
		NullTest *found = makeNode(NullTest);
		Oid collation = column_of(layout->cte, linitial_int(path->keys)).collation;

		found->arg = (Expr *) makeFuncExpr(F_ARRAY_POSITION_ANYCOMPATIBLEARRAY_ANYCOMPATIBLE, INT4OID,
										   list_make2(copyObject(list_nth(before, path->first - 1)), linitial(keys)), InvalidOid, collation, COERCE_EXPLICIT_CALL);
		found->nulltesttype = IS_NOT_NULL;
		found->location = -1;
		return (Expr *) found;
	}
	any->opno = RECORD_EQ_OP;
	any->useOr = true;
	any->args = list_make2(row_of(keys, NIL), records_of(path, before));
	any->location = -1;
	return (Expr *) any;
}

/* A value of the mark, of its type: a text's was left open (analyze.c). */
static Node *
mark_value(CTECycleClause *cycle, Node *value)
{
	Const *c = castNode(Const, value);

	if (c->consttype != UNKNOWNOID)
		return copyObject(value);
	return (Node *) makeConst(TEXTOID, -1, cycle->cycle_mark_collation, -1, CStringGetTextDatum(DatumGetCString(c->constvalue)), false, false);
}

static Node *
mark_of(const Layout *layout, List *exprs, List *before)
{
	CTECycleClause *cycle = layout->cte->cycle_clause;
	CaseExpr *c = makeNode(CaseExpr);
	CaseWhen *when = makeNode(CaseWhen);

	when->expr = on_path(layout, exprs, before);
	when->result = (Expr *) mark_value(cycle, cycle->cycle_mark_value);
	when->location = -1;
	c->casetype = cycle->cycle_mark_type;
	c->casecollid = cycle->cycle_mark_collation;
	c->args = list_make1(when);
	c->defresult = (Expr *) mark_value(cycle, cycle->cycle_mark_default);
	c->location = -1;
	return (Node *) c;
}

List *
pgt_search_base(CommonTableExpr *cte, List *exprs)
{
	Layout layout = layout_of(cte);
	List *out = list_copy(exprs);

	if (layout.depth > 0)
		out = lappend(out, makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(0), false, FLOAT8PASSBYVAL));
	else if (layout.order.first > 0)
		out = list_concat(out, path_arrays(&layout, &layout.order, exprs));
	if (layout.mark > 0)
		out = list_concat(lappend(out, mark_value(cte->cycle_clause, cte->cycle_clause->cycle_mark_default)), path_arrays(&layout, &layout.cycle, exprs));
	return out;
}

List *
pgt_search_step(CommonTableExpr *cte, List *exprs, List *before, List **quals)
{
	Layout layout = layout_of(cte);
	CTECycleClause *cycle = cte->cycle_clause;
	List *out = list_copy(exprs);

	if (layout.depth > 0)
		out = lappend(out, makeFuncExpr(F_INT8INC, INT8OID, list_make1(copyObject(list_nth(before, layout.depth - 1))), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL));
	else if (layout.order.first > 0)
		out = list_concat(out, longer_path(&layout, &layout.order, exprs, before));
	if (layout.mark == 0)
		return out;
	*quals = lappend(*quals, make_opclause(cycle->cycle_mark_neop, BOOLOID, false, (Expr *) copyObject(list_nth(before, layout.mark - 1)),
										   (Expr *) mark_value(cycle, cycle->cycle_mark_value), InvalidOid, cycle->cycle_mark_collation));
	return list_concat(lappend(out, mark_of(&layout, exprs, before)), longer_path(&layout, &layout.cycle, exprs, before));
}

/* The step as a query that also yields the node's own columns of the row it starts from. */
Query *
pgt_search_step_query(CommonTableExpr *cte, Query *step)
{
	Layout layout = layout_of(cte);
	PgtCol *cols;
	int varno = 0;
	ListCell *lc;

	if (pgt_search_columns(cte, &cols) == layout.n)
		return step;
	step = copyObject(step);
	foreach (lc, step->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_CTE && rte->self_reference && strcmp(rte->ctename, cte->ctename) == 0)
			varno = foreach_current_index(lc) + 1;
	}
	if (varno == 0)
		pgt_not_built("SEARCH or CYCLE where the recursion is not read in the recursive term's own FROM clause", NULL); /* an error when it is run */
	for (int i = layout.n; i < layout.columns; i++)
	{
		Expr *e = varno == 0 ? (Expr *) makeNullConst(cols[i].type, cols[i].typmod, cols[i].collation)
							 : (Expr *) makeVar(varno, layout.shown + i - layout.n + 1, cols[i].type, cols[i].typmod, cols[i].collation, 0);

		step->targetList = lappend(step->targetList, makeTargetEntry(e, list_length(step->targetList) + 1, psprintf("__pgt_%d", i), false));
	}
	return step;
}

/* --- ORDER BY --- */

static SortGroupClause *
add_key(Query *query, Node *expr, SortGroupClause *like)
{
	TargetEntry *tle = makeTargetEntry((Expr *) expr, list_length(query->targetList) + 1, NULL, true);
	SortGroupClause *key = copyObject(like);
	TypeCacheEntry *of = lookup_type_cache(exprType(get_sortgroupclause_expr(like, query->targetList)), TYPECACHE_GT_OPR);
	TypeCacheEntry *type = lookup_type_cache(exprType(expr), TYPECACHE_LT_OPR | TYPECACHE_GT_OPR | TYPECACHE_EQ_OPR);
	bool down = like->sortop == of->gt_opr;

	query->targetList = lappend(query->targetList, tle);
	key->tleSortGroupRef = assignSortGroupRef(tle, query->targetList);
	key->sortop = down ? type->gt_opr : type->lt_opr;
	key->eqop = type->eq_opr;
	key->nulls_first = down; /* within a record NULL is greater than all else */
	return key;
}

/* NULL: a window's key that canon_nest.c has sorted by below the query. */
static Node *
sorted_by(Query *query, SortGroupClause *clause)
{
	ListCell *lc;

	foreach (lc, query->targetList)
		if (lfirst_node(TargetEntry, lc)->ressortgroupref == clause->tleSortGroupRef)
			return (Node *) lfirst_node(TargetEntry, lc)->expr;
	return NULL;
}

/* The keys that sort as this one does; NIL: it is nothing that SEARCH or CYCLE declares. */
static List *
keys_like(PgtLevel *level, SortGroupClause *clause)
{
	Query *query = level->query;
	Var *v = (Var *) sorted_by(query, clause);
	RangeTblEntry *rte = v != NULL && IsA(v, Var) && v->varlevelsup == 0 && v->varattno > 0 ? rt_fetch(v->varno, query->rtable) : NULL;
	PgtLevel *where;
	CommonTableExpr *cte;
	Layout layout;
	const KeyPath *path;
	TypeCacheEntry *type;
	PgtCol *cols;
	List *keys = NIL;
	ListCell *lc;

	if (rte == NULL || rte->rtekind != RTE_CTE || (v->vartype != RECORDOID && v->vartype != RECORDARRAYOID))
		return NIL;
	cte = pgt_find_cte(level, rte, &where);
	if (!cte->cterecursive || (cte->search_clause == NULL && cte->cycle_clause == NULL))
		return NIL;
	layout = layout_of(cte);
	type = lookup_type_cache(v->vartype, TYPECACHE_LT_OPR | TYPECACHE_GT_OPR);
	if (v->varattno <= layout.n || !layout.fits || (clause->sortop != type->lt_opr && clause->sortop != type->gt_opr))
		return NIL;
	path = cte->search_clause != NULL && v->varattno == layout.n + 1 ? &layout.order : &layout.cycle;
	(void) pgt_search_columns(cte, &cols);
	for (int i = 0; path->first > 0 && i < (path->one ? 1 : list_length(path->keys)); i++)
	{
		PgtCol *col = &cols[path->first - 1 + i];
		SortGroupClause *key = add_key(query, (Node *) makeVar(v->varno, layout.shown + path->first - layout.n + i, col->type, -1, col->collation, 0), clause);

		if (i > 0)
			key->sortop = InvalidOid; /* one key with the array before it: the records of both */
		keys = lappend(keys, key);
	}
	if (keys != NIL)
		return keys;
	keys = list_make1(add_key(query, (Node *) makeVar(v->varno, layout.shown + layout.depth - layout.n, INT8OID, -1, InvalidOid, 0), clause));
	foreach (lc, path->keys)
	{
		PgtCol *col = &cols[lfirst_int(lc) - 1];

		keys = lappend(keys, add_key(query, (Node *) makeVar(v->varno, lfirst_int(lc), col->type, col->typmod, col->collation, 0), clause));
	}
	return keys;
}

static List *
replaced_keys(PgtLevel *level, List *clauses)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, clauses)
	{
		List *keys = keys_like(level, lfirst(lc));

		out = keys == NIL ? lappend(out, lfirst(lc)) : list_concat(out, keys);
	}
	return out;
}

static bool
is_referred_to(Query *query, TargetEntry *tle)
{
	ListCell *lc;
	List *all = list_concat_copy(query->sortClause, query->distinctClause);

	all = list_concat(all, query->groupClause);
	foreach (lc, query->windowClause)
		all = list_concat(list_concat(all, ((WindowClause *) lfirst(lc))->orderClause), ((WindowClause *) lfirst(lc))->partitionClause);
	return get_sortgroupref_clause_noerr(tle->ressortgroupref, all) != NULL;
}

void
pgt_search_order(PgtLevel *level)
{
	Query *query = level->query;
	List *kept = NIL;
	ListCell *lc;

	if (query->distinctClause != NIL || query->groupClause != NIL || query->setOperations != NULL)
		return;
	query->sortClause = replaced_keys(level, query->sortClause);
	foreach (lc, query->windowClause)
		((WindowClause *) lfirst(lc))->orderClause = replaced_keys(level, ((WindowClause *) lfirst(lc))->orderClause);
	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk || tle->ressortgroupref == 0 || is_referred_to(query, tle))
			kept = lappend(kept, tle);
	}
	query->targetList = kept;
	foreach (lc, kept)
		((TargetEntry *) lfirst(lc))->resno = foreach_current_index(lc) + 1;
}
