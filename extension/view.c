/*
 * view.c - the compiler's surface: text -> PgtView, and the programs that maintain it.
 *
 * A view holds the operator tree and the storage plan made from it; both live as long as the view.  Programs are made on demand
 * for one set of changed sources.  Everything here runs under a pinned search_path once the text has been analysed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_relation.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "analyze.h"
#include "apply.h"
#include "catalog.h"
#include "clock.h"
#include "compat.h"
#include "inner.h"
#include "recursion.h"
#include "view.h"
#include "weights.h"

/* --- sources --- */

typedef struct SourceContext
{
	List *sources; /* of PgtViewSource */
} SourceContext;

static PgtViewSource *
source_of(SourceContext *cxt, Oid relid)
{
	ListCell *lc;
	PgtViewSource *src;

	foreach (lc, cxt->sources)
	{
		src = lfirst(lc);
		if (src->relid == relid)
			return src;
	}
	src = palloc0(sizeof(PgtViewSource));
	src->relid = relid;
	cxt->sources = lappend(cxt->sources, src);
	return src;
}

/* Exactly the columns that the pruned tree reads. */
static void
sources_of_tree(SourceContext *cxt, PgtOp *op)
{
	ListCell *lc;

	if (op->kind == PGT_OP_SCAN && OidIsValid(op->relid))
	{
		PgtViewSource *src = source_of(cxt, op->relid);

		foreach (lc, op->attnums)
			src->attnums = list_append_unique_int(src->attnums, lfirst_int(lc));
	}
	foreach (lc, op->children)
		sources_of_tree(cxt, lfirst(lc));
}

/* Without a tree: what the parser marked as read. */
static void
sources_of_entry(SourceContext *cxt, Query *query, RangeTblEntry *rte)
{
	PgtViewSource *src = source_of(cxt, rte->relid);
	Relation rel = table_open(rte->relid, AccessShareLock);
	Bitmapset *read = pgt_rte_selected_cols(query, rte);
	bool all = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, read);

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped && (all || bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, read)))
			src->attnums = list_append_unique_int(src->attnums, att->attnum);
	}
	table_close(rel, AccessShareLock);
}

static bool
sources_walker(Node *node, SourceContext *cxt)
{
	ListCell *lc;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query *query = (Query *) node;

		foreach (lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst(lc);

			/* views' subqueries keep entries for OLD and NEW that nothing reads */
			if (rte->rtekind == RTE_RELATION && get_rel_relkind(rte->relid) != RELKIND_VIEW)
				sources_of_entry(cxt, query, rte);
		}
		return query_tree_walker(query, sources_walker, cxt, 0);
	}
	return expression_tree_walker(node, sources_walker, cxt);
}

static int
compare_sources(const ListCell *a, const ListCell *b)
{
	Oid x = ((PgtViewSource *) lfirst(a))->relid;
	Oid y = ((PgtViewSource *) lfirst(b))->relid;

	return x < y ? -1 : x > y ? 1
							  : 0;
}

static int
first_live_column(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	int result = 1;

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
		{
			result = i + 1;
			break;
		}
	table_close(rel, AccessShareLock);
	return result;
}

static int
compare_ints(const ListCell *a, const ListCell *b)
{
	return lfirst_int(a) - lfirst_int(b);
}

static void
set_sources(PgtView *view, SourceContext *cxt)
{
	ListCell *lc;

	list_sort(cxt->sources, compare_sources);
	view->nsources = list_length(cxt->sources);
	view->sources = palloc0(sizeof(PgtViewSource) * Max(view->nsources, 1));
	foreach (lc, cxt->sources)
	{
		PgtViewSource *src = &view->sources[foreach_current_index(lc)];
		PgtStreamTable *st;

		*src = *(PgtViewSource *) lfirst(lc);
		if (src->attnums == NIL)
			src->attnums = list_make1_int(first_live_column(src->relid));
		list_sort(src->attnums, compare_ints);
		st = pgt_st_by_relid(src->relid);
		src->is_stream_table = st != NULL;
		src->pgt_id = st == NULL ? 0 : st->id;
	}
}

/* Scans learn their source's number, every node the sources below it. */
static void
number_sources(PgtView *view, PgtOp *op)
{
	ListCell *lc;

	if (op->kind == PGT_OP_SCAN && OidIsValid(op->relid))
	{
		for (int i = 0; i < view->nsources; i++)
			if (view->sources[i].relid == op->relid)
				op->source = i;
		op->sources = bms_make_singleton(op->source);
	}
	if (op->clock)
	{
		op->source = view->nsources;
		op->sources = bms_make_singleton(op->source);
	}
	foreach (lc, op->children)
	{
		number_sources(view, lfirst(lc));
		op->sources = bms_union(op->sources, ((PgtOp *) lfirst(lc))->sources);
	}
}

/* --- compile --- */

static PgtStore *
store_of(PgtView *view)
{
	return (PgtStore *) view->tree;
}

static List *
column_names(Query *query)
{
	List *names = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
		if (!((TargetEntry *) lfirst(lc))->resjunk)
			names = lappend(names, ((TargetEntry *) lfirst(lc))->resname);
	return names;
}

static PgtCol *
query_columns(Query *query)
{
	PgtCol *cols = palloc0(sizeof(PgtCol) * list_length(query->targetList));
	ListCell *lc;
	int n = 0;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		Node *e = (Node *) tle->expr;

		if (!tle->resjunk)
			cols[n++] = (PgtCol){exprType(e), exprTypmod(e), exprCollation(e), false};
	}
	return cols;
}

static void
set_columns(PgtView *view, PgtStore *store)
{
	view->ncolumns = store->ncols;
	view->columns = palloc0(sizeof(PgtViewColumn) * store->ncols);
	for (int i = 0; i < store->ncols; i++)
		view->columns[i] = (PgtViewColumn){store->plain_names[i], store->cols[i].type, store->cols[i].typmod, store->cols[i].collation,
										   i >= store->nvisible};
}

/* "SELECT c1.. " of the canonical query, by its own column names. */
static char *
query_rows(PgtView *view, PgtStore *store)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < store->nvisible; i++)
		appendStringInfo(&s, "%sq.%s AS c%d", i > 0 ? ", " : "", store->names[i], i + 1);
	return psprintf("SELECT %s FROM (%s) q", s.data, view->clock_query);
}

static void
note_clock(PgtView *view, PgtOp *root)
{
	ListCell *lc;

	view->crossing_sql = pgt_clock_crossing(root);
	foreach (lc, pgt_clock_missing_indexes(root))
		view->notices = lappend(view->notices,
								psprintf("rows that pass a moment in time are found by scanning the table; an index makes that cheap: %s",
										 (char *) lfirst(lc)));
	if (view->full_hint == NULL && pgt_clock_missing_indexes(root) != NIL)
		view->full_hint = psprintf("An index on the column that is compared with the clock makes refreshes cheap: %s",
								   (char *) linitial(pgt_clock_missing_indexes(root)));
}

/* The query is incremental all the same: nothing is said about it at creation. */
static void
note_extrema(PgtView *view, List *inners)
{
	List *missing = pgt_extrema_missing_indexes(store_of(view), NIL);
	StringInfoData s;
	ListCell *lc;

	foreach (lc, inners)
		missing = pgt_extrema_missing_indexes(((PgtInner *) lfirst(lc))->store, missing);
	if (missing == NIL)
		return;
	initStringInfo(&s);
	if (view->full_hint != NULL)
		appendStringInfo(&s, "%s. ", view->full_hint);
	appendStringInfoString(&s, "Groups are read again when their minimum or maximum goes; an index spares that:");
	foreach (lc, missing)
		appendStringInfo(&s, "%s %s", lc == list_head(missing) ? "" : ";", (char *) lfirst(lc));
	view->full_hint = s.data;
}

static void
compile_incremental(PgtView *view, PgtOp *root, Query *query)
{
	SourceContext cxt = {NIL};
	List *inners;

	sources_of_tree(&cxt, root);
	set_sources(view, &cxt);
	number_sources(view, root);
	inners = pgt_inner_plan(root);
	pgt_inner_describe(view, inners);
	view->tree = pgt_store_plan(root, column_names(query));
	store_of(view)->recursion = pgt_recursion_of(root);
	view->keyed = store_of(view)->kind != PGT_STORE_BAG;
	view->load_query = pgt_store_load(store_of(view));
	if (view->clocked)
		note_clock(view, root);
	note_extrema(view, inners);
}

/* Where the ST is what a recursion starts from. */
static List *
recursion_indexes(PgtStore *store)
{
	List *statements = NIL;
	ListCell *lc;

	if (store->recursion != NULL)
		foreach (lc, pgt_recursion_lookups(store->recursion))
			statements = lappend(statements, pgt_recursion_index(store, lfirst_int(lc)));
	return statements;
}

static void
compile_plain(PgtView *view, Query *query)
{
	SourceContext cxt = {NIL};

	sources_walker((Node *) query, &cxt);
	set_sources(view, &cxt);
	view->tree = pgt_store_plain(query_columns(query), column_names(query));
	view->load_query = query_rows(view, store_of(view));
}

PgtView *
pgt_view_compile(const char *text)
{
	PgtView *view = palloc0(sizeof(PgtView));
	PgtFindings found = {NULL};
	Query *query = pgt_analyze_text(text);
	Query *clocked;
	PgtOp *root = NULL;
	int level;

	pgt_rules_apply(query, &found);
	pgt_canonicalise(query, &found);
	level = pgt_path_push();
	clocked = found.clocked ? pgt_clock_as_parameter(query) : query;
	if (found.full_reason == NULL)
		root = pgt_build_tree(copyObject(clocked), &found);
	view->query = pg_get_querydef(pgt_qualified(copyObject(query)), false);
	view->clock_query = found.clocked ? pg_get_querydef(pgt_qualified(copyObject(clocked)), false) : view->query;
	view->clocked = found.clocked;
	view->full_reason = found.full_reason == NULL ? NULL : pstrdup(found.full_reason);
	view->full_hint = found.full_hint == NULL ? NULL : pstrdup(found.full_hint);
	view->notices = found.notices;
	view->functions = found.functions;
	view->time_dependent = found.full_reason != NULL && found.time_dependent;
	if (root != NULL)
		compile_incremental(view, root, query);
	else
		compile_plain(view, query);
	set_columns(view, store_of(view));
	view->indexes = list_concat(pgt_store_indexes(store_of(view)), recursion_indexes(store_of(view)));
	pgt_path_pop(level);
	return view;
}

void
pgt_view_without_inner(PgtView *view)
{
	ListCell *lc;

	view->ninners = 0;
	foreach (lc, view->inner_stores)
		if (((PgtInner *) lfirst(lc))->store->root->kind == PGT_OP_RECURSION && view->full_reason == NULL)
		{
			view->full_reason = "WITH RECURSIVE below other operations needs tables that this version of the extension's catalog does not have";
			view->full_hint = "ALTER EXTENSION pg_trickle UPDATE";
		}
}

/* --- programs --- */

static PgtProgram *
make_program(const char *strategy, List *steps)
{
	PgtProgram *program = palloc(sizeof(PgtProgram));

	program->strategy = strategy;
	program->steps = steps;
	return program;
}

/* The statement that nets a scan's change, where it is the only step so far and the query passes on just its columns. */
static char *
scan_delta(PgtOp *root, PgtDeltaCtx *cxt)
{
	PgtStep *net;

	if (root->quals != NIL || !pgt_passes_columns(pgt_op_child(root, 1), root->targets) || list_length(cxt->steps) != 1)
		return NULL;
	net = linitial(cxt->steps);
	cxt->steps = NIL;
	return net->sql;
}

static char *
netted_delta(PgtStore *store, PgtDeltaCtx *cxt)
{
	PgtOp *root = store->root;
	PgtFrom d = pgt_delta(cxt, root);
	char *scan;

	if (!pgt_delta_is_netted(root) || store->nvisible != root->ncols)
		return pgt_select_of(pgt_net(root->cols, store->nvisible, d));
	scan = scan_delta(root, cxt);
	return scan != NULL ? scan : pgt_select_of(d);
}

static PgtProgram *
bag_delta(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt)
{
	char *delta;
	List *apply;

	if (store->recursion != NULL)
		delta = pgt_recursion_delta(cxt, store->recursion, store, target);
	else
		delta = netted_delta(store, cxt);
	apply = pgt_apply_bag(store, target, delta);
	if (store->recursion == NULL)
		((PgtStep *) linitial(apply))->needs = pgt_delta_needs(cxt, store->root);
	return make_program("bag", list_concat(cxt->steps, apply));
}

/* Touched keys from the delta of AGG's input, their groups from post state, compared with the stored rows. */
static PgtProgram *
groups_delta(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt)
{
	PgtOp *agg = store->agg;
	PgtOp *child = pgt_op_child(agg, 1);
	char *keys = NULL;
	char *rows;
	char *first;
	List *apply;

	if (agg->nkeys > 0)
		first = keys = pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s FROM %s d", pgt_columns("d", agg->nkeys, 0), pgt_delta(cxt, child)));
	else
		first = pgt_delta_netted(cxt, child);
	/* a step that was there already may stand before others that must run: writes of inner stores */
	if (((PgtStep *) llast(cxt->steps))->name == first)
		((PgtStep *) llast(cxt->steps))->skip_if_empty = true;
	rows = pgt_enr(cxt, "g", pgt_store_rows(store, pgt_post_of_keys(cxt, child, agg->nkeys, keys)));
	apply = pgt_apply_keyed(store, target, pgt_change_set(store, rows, pgt_old_rows(store, target, keys)));
	((PgtStep *) linitial(apply))->seqscan_off = keys != NULL && pgt_store_probed(store, target);
	return make_program("groups", list_concat(cxt->steps, apply));
}

PgtProgram *
pgt_view_delta_program(PgtView *view, const PgtTarget *target, Bitmapset *changed)
{
	PgtStore *store = store_of(view);
	PgtDeltaCtx cxt = {changed};
	PgtProgram *program;
	int level;

	if (view->full_reason != NULL)
		elog(ERROR, "no delta program for a query that is not incremental: %s", view->full_reason);
	if (!pgt_op_changed(store->root, changed))
		return make_program("none", NIL);
	level = pgt_path_push();
	pgt_inner_bind(view->inner_stores, target);
	pgt_inner_maintain(&cxt, store->root);
	if (store->kind == PGT_STORE_BAG)
		program = bag_delta(store, target, &cxt);
	else if (store->kind == PGT_STORE_WEIGHTS)
		program = pgt_weights_program(store, target, &cxt);
	else
		program = groups_delta(store, target, &cxt);
	pgt_inner_unbind(view->inner_stores);
	pgt_path_pop(level);
	return program;
}

/* The query's storage rows, from inner tables where there are some. */
static char *
load_rows(PgtView *view)
{
	return store_of(view)->root == NULL ? view->load_query : pgt_store_load(store_of(view));
}

PgtProgram *
pgt_view_diff_program(PgtView *view, const PgtTarget *target)
{
	PgtStore *store = store_of(view);
	int level = pgt_path_push();
	List *inner;
	List *steps;
	char *rows;

	pgt_inner_bind(view->inner_stores, target);
	inner = pgt_inner_diff(view->inner_stores);
	rows = load_rows(view);
	if (store->kind == PGT_STORE_BAG)
		steps = pgt_diff_bag(store, target, rows);
	else
		steps = pgt_apply_keyed(store, target, pgt_change_set(store, psprintf("(%s)", rows), pgt_old_rows(store, target, NULL)));
	pgt_inner_unbind(view->inner_stores);
	pgt_path_pop(level);
	return make_program("diff", list_concat(inner, steps));
}

PgtProgram *
pgt_view_load_program(PgtView *view, const PgtTarget *target)
{
	PgtStore *store = store_of(view);
	int level = pgt_path_push();
	List *steps;

	pgt_inner_bind(view->inner_stores, target);
	steps = lappend(pgt_inner_load(view->inner_stores),
					pgt_step(PGT_STEP_DML, PGT_COUNT_INSERTED, NULL,
							 psprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) q", target->st, pgt_store_columns(store, store->ncols),
									  pgt_columns("q", store->ncols, 0), load_rows(view))));
	pgt_inner_unbind(view->inner_stores);
	pgt_path_pop(level);
	return make_program("load", steps);
}

PgtProgram *
pgt_view_crossing_program(PgtView *view)
{
	if (view->crossing_sql == NULL)
		return make_program("crossing", NIL);
	return make_program("crossing", list_make1(pgt_step(PGT_STEP_TIME, PGT_COUNT_NONE, NULL, view->crossing_sql)));
}

char *
pgt_view_verify_sql(PgtView *view, const PgtTarget *target)
{
	PgtStore *store = store_of(view);
	StringInfoData st;
	StringInfoData keys;

	initStringInfo(&st);
	initStringInfo(&keys);
	for (int i = 0; i < store->nvisible; i++)
	{
		appendStringInfo(&st, "s.%s AS c%d, ", store->names[i], i + 1);
		appendStringInfo(&keys, "%sb.c%d%s", i > 0 ? ", " : "", i + 1,
						 pgt_type_has_eq(store->cols[i].type) ? "" : "::pg_catalog.text");
	}
	return psprintf("SELECT coalesce(pg_catalog.sum(n.w) FILTER (WHERE n.w > 0), 0)::pg_catalog.int8 AS missing, "
					"coalesce(-pg_catalog.sum(n.w) FILTER (WHERE n.w < 0), 0)::pg_catalog.int8 AS extra FROM ("
					"SELECT pg_catalog.sum(b.w) AS w FROM (SELECT q.*, 1 AS w FROM (%s) q UNION ALL SELECT %s -1 AS w FROM %s s) b "
					"GROUP BY %s) n",
					query_rows(view, store), st.data, target->st, keys.data);
}
