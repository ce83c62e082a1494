/*
 * inner.c - inner stores: which results inside a query are kept, and the steps that maintain them (see inner.h).
 *
 * Kept is an AGG node that can be maintained by weights and is either scalar (a value that conditions above compare with: its old and
 * its new value are then known without reading its input) or read whole by something above: ORDER BY with LIMIT, windows over all
 * rows, a condition with a subquery that refers to nothing outside, HAVING, extrema of groups.  Elsewhere touched groups are
 * recomputed, which needs no storage.  Of the rows below a LIMIT the first are kept (margin.h), where neither such an AGG nor an index
 * of a table gives them in its order.  Kept whole is every RECURSION, whose old rows its rules need, unless the ST has them; and what a recursive step
 * joins with, where the planner would compute all of it for one row.
 *
 * A program maintains its stores first, innermost first, and writes each one's table at once: whatever comes later reads the post
 * state there.  Group keys have one image per value, so that a group's row is the same bytes in every statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "apply.h"
#include "inner.h"
#include "part.h"
#include "recursion.h"
#include "weights.h"

/* --- what can be kept --- */

/* Types that a hidden column may have without standing in the way of DDL on the type. */
bool
pgt_inner_can_keep(const PgtCol *col)
{
	Oid element = get_element_type(col->type);
	char kind = get_typtype(OidIsValid(element) ? element : col->type);

	return (kind == TYPTYPE_BASE || kind == TYPTYPE_ENUM) &&
		   (OidIsValid(col->collation) || !OidIsValid(get_typcollation(col->type)));
}

/* The states, if an AGG can be kept; NULL if not. */
static PgtStates *
storable_states(const PgtOp *agg)
{
	for (int i = 0; i < agg->ncols; i++)
		if (!pgt_inner_can_keep(&agg->cols[i]))
			return NULL;
	for (int k = 0; k < agg->nkeys; k++)
		if (!pgt_type_has_order(agg->cols[k].type) || !pgt_type_has_hash(agg->cols[k].type) || !pgt_col_image_safe(&agg->cols[k]))
			return NULL;
	return pgt_states_plan(agg);
}

static bool
any_extremum(const PgtStates *states)
{
	ListCell *lc;

	foreach (lc, states->list)
		if (((PgtState *) lfirst(lc))->removed != NULL)
			return true;
	return false;
}

/* --- planning --- */

/* How a node's rows are read by those above it. */
typedef struct Use
{
	bool whole;  /* all of them, whatever changed */
	List *order; /* of PgtSortKey, over its columns: the first of them in this order */
} Use;

static void plan_node(PgtOp *op, Use use, List **inners);

static void
plan_children(PgtOp *op, Use use, List **inners)
{
	ListCell *lc;

	foreach (lc, op->children)
		plan_node(lfirst(lc), use, inners);
}

static bool
is_short(const PgtCol *col)
{
	return get_typlen(col->type) > 0 || col->type == NUMERICOID || (col->typmod > 0 && col->typmod < 300 * 65536 && type_is_collatable(col->type) && col->typmod < 300);
}

/* Sort keys in terms of the only child's columns, up to the first that is computed. */
static List *
order_below(const PgtOp *select, List *order)
{
	List *below = NIL;
	ListCell *lc;

	if (list_length(select->children) != 1)
		return NIL;
	foreach (lc, order)
	{
		PgtSortKey *key = palloc(sizeof(PgtSortKey));
		Var *v;

		*key = *(PgtSortKey *) lfirst(lc);
		v = list_nth(select->targets, key->col - 1);
		if (!IsA(v, Var))
			break;
		key->col = v->varattno;
		below = lappend(below, key);
	}
	return below;
}

/* The SELECT that an inner store's rows are. */
static PgtOp *
all_columns(PgtOp *op)
{
	PgtOp *select = pgt_op_make(PGT_OP_SELECT, 0, 0);

	select->children = list_make1(op);
	select->sources = op->sources;
	for (int i = 1; i <= op->ncols; i++)
		select->targets = lappend(select->targets, pgt_op_var(op, 1, i));
	pgt_op_describe(select);
	return select;
}

/* How many tables there are behind these stores. */
static int
tables_of(List *inners)
{
	PgtInner *last = inners == NIL ? NULL : llast(inners);

	return last == NULL ? 0 : last->number + (last->margin != NULL ? 1 : 0);
}

static List *
column_names(const PgtOp *op)
{
	List *names = NIL;

	for (int i = 1; i <= op->ncols; i++)
		names = lappend(names, psprintf("c%d", i));
	return names;
}

/* The node's rows, or those of a LIMIT above it, are `text`: is that kept already? */
static bool
share(PgtOp *op, const char *text, List *order, List *inners)
{
	ListCell *lc;

	foreach (lc, inners)
	{
		PgtInner *inner = lfirst(lc);

		if (strcmp(inner->text, text) != 0)
			continue;
		inner->order = inner->order == NIL ? order : inner->order;
		op->inner = inner;
		return true;
	}
	return false;
}

static void
add_inner(PgtOp *op, PgtInner inner, List **inners)
{
	op->inner = palloc(sizeof(PgtInner));
	*op->inner = inner;
	op->inner->number = tables_of(*inners) + 1;
	*inners = lappend(*inners, op->inner);
}

/* All rows: of an AGG with its states, or of any node as a bag. */
static void
keep(PgtOp *op, List *order, bool bag, List **inners)
{
	PgtInner inner = {.text = pgt_post(op), .order = order};

	if (share(op, inner.text, order, *inners))
		return;
	inner.store = bag ? pgt_store_bag(op, column_names(op)) : pgt_store_plan(all_columns(op), column_names(op));
	if (bag || inner.store->kind == PGT_STORE_WEIGHTS) /* else too wide */
		add_inner(op, inner, inners);
}

/* The first rows of a LIMIT's input; `text` is the LIMIT's. */
static void
keep_margin(PgtOp *op, PgtMargin *margin, char *text, List **inners)
{
	PgtInner inner = {.text = text, .order = margin->order, .margin = margin};

	if (share(op, text, margin->order, *inners))
		return;
	inner.store = pgt_store_bag(op, column_names(op));
	add_inner(op, inner, inners);
}

/* Does an index of a table have this column first, so that rows come in its order? */
static bool
index_leads(Oid relid, int attnum)
{
	Relation rel = table_open(relid, NoLock);
	bool found = false;
	ListCell *lc;

	foreach (lc, RelationGetIndexList(rel))
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		found |= ((Form_pg_index) GETSTRUCT(tuple))->indkey.values[0] == attnum;
		ReleaseSysCache(tuple);
	}
	table_close(rel, NoLock);
	return found;
}

/* Can the first rows of the node in the order of this column be had without all of them? */
static bool
order_served(const PgtOp *op, int col)
{
	Var *v;

	switch (op->kind)
	{
		case PGT_OP_SCAN:
			return index_leads(op->relid, list_nth_int(op->attnums, col - 1));
		case PGT_OP_SELECT:
			v = list_nth(op->targets, col - 1);
			return IsA(v, Var) && order_served(pgt_op_child(op, v->varno), v->varattno);
		case PGT_OP_OUTER:
			return !op->full && col <= pgt_op_child(op, 1)->ncols && order_served(pgt_op_child(op, 1), col);
		case PGT_OP_APPLY:
			v = (Var *) list_nth_node(TargetEntry, op->query->targetList, col - 1)->expr;
			return IsA(v, Var) && v->varno == 1 && v->varlevelsup == 0 && order_served(pgt_op_child(op, 1), v->varattno);
		case PGT_OP_AGG:
			return storable_states(op) != NULL; /* it will be kept, with an index */
		case PGT_OP_RECURSION:
			return true;
		default:
			return false;
	}
}

/* A LIMIT of more rows over one table is left to reading the table: a margin would be a copy of much of it. */
#define MAX_ROWS_OF_ONE_TABLE 100000

/* A row must fit into a page, and it holds sort keys beside what the query shows; a toasted value takes 18 bytes. */
#define MAX_MARGIN_COLUMNS 400

/* Are a row's bytes made of the sources' bytes in a way that does not depend on other rows? */
static bool
images_stay(const PgtOp *op)
{
	ListCell *lc;

	if (op->kind != PGT_OP_SCAN && op->kind != PGT_OP_SELECT && op->kind != PGT_OP_OUTER && op->kind != PGT_OP_UNION)
		return false;
	foreach (lc, op->children)
		if (!images_stay(lfirst(lc)))
			return false;
	return true;
}

static bool
of_one_table(const PgtOp *op)
{
	while (op->kind == PGT_OP_SELECT && list_length(op->children) == 1)
		op = pgt_op_child(op, 1);
	return op->kind == PGT_OP_SCAN;
}

static bool
sorts_by_records(List *order)
{
	ListCell *lc;

	foreach (lc, order)
		if (((PgtSortKey *) lfirst(lc))->more != NIL)
			return true;
	return false;
}

/* Rows below a LIMIT, all of which every refresh would compute and sort; NULL where that is not so, or cannot be helped. */
static PgtMargin *
margin_below(const PgtOp *op)
{
	const PgtPart *limit = op->part;
	const PgtOp *child = pgt_op_child(op, 1);
	PgtMargin *margin;

	if (limit->kind != PGT_PART_LIMIT || limit->count == NULL || limit->order == NIL || child->ncols == 0 || child->ncols > MAX_MARGIN_COLUMNS ||
		bms_is_empty(child->sources) || sorts_by_records(limit->order) || order_served(child, ((PgtSortKey *) linitial(limit->order))->col))
		return NULL;
	for (int i = 0; i < child->ncols; i++)
		if (!pgt_inner_can_keep(&child->cols[i]) || (!pgt_col_image_safe(&child->cols[i]) && !images_stay(child)))
			return NULL;
	margin = pgt_margin_make(op);
	return margin == NULL || (margin->needed > MAX_ROWS_OF_ONE_TABLE && of_one_table(child)) ? NULL : margin;
}

static void
plan_part(PgtOp *op, Use use, List **inners)
{
	PgtOp *child = pgt_op_child(op, 1);
	bool limit = op->part->kind == PGT_PART_LIMIT;
	PgtMargin *margin = margin_below(op);
	char *text;

	if (margin != NULL)
	{
		text = pgt_post(op);
		plan_node(child, (Use){false, NIL}, inners);
		keep_margin(child, margin, text, inners);
	}
	else
		plan_node(child, (Use){use.whole || op->part->keys == NIL, limit && !sorts_by_records(op->part->order) ? op->part->order : NIL}, inners);
}

static void
plan_agg(PgtOp *op, Use use, List **inners)
{
	PgtStates *states = storable_states(op);
	bool kept = states != NULL && op->ncols > 0 && (op->scalar || use.whole);

	/* recomputed groups look into a nested aggregation by keys that the planner does not carry below its GROUP BY */
	plan_children(op, (Use){!kept || any_extremum(states), NIL}, inners);
	if (kept)
		keep(op, use.order, false, inners);
}

static bool
is_kept(const PgtOp *op)
{
	return op->inner != NULL;
}

/* An input that every step looks into. */
static void
plan_input(PgtOp *op, List **inners)
{
	plan_node(op, (Use){true, NIL}, inners);
	if (!pgt_op_is_opaque(op, is_kept) || op->ncols == 0 || op->clock)
		return;
	for (int i = 0; i < op->ncols; i++)
		if (!pgt_inner_can_keep(&op->cols[i]) || !pgt_col_image_safe(&op->cols[i]))
			return;
	keep(op, NIL, true, inners);
}

/* Below a recursion.  UNION asks the base for rows that were lost. */
static void
plan_terms(PgtOp *op, List **inners)
{
	PgtOp *step = pgt_op_child(op, 2);

	plan_node(pgt_op_child(op, 1), (Use){op->distinct, NIL}, inners);
	while (!pgt_op_is_self(step))
	{
		int self = pgt_op_self(step);

		for (int i = 1; i <= list_length(step->children); i++)
			if (i != self)
				plan_input(pgt_op_child(step, i), inners);
		step = pgt_op_child(step, self);
	}
}

static void
plan_apply(PgtOp *op, Use use, List **inners)
{
	bool all = use.whole;
	ListCell *lc;

	foreach (lc, op->touches)
		all |= lfirst(lc) == NIL;
	foreach (lc, op->children)
	{
		int i = foreach_current_index(lc);

		plan_node(lfirst(lc), (Use){i == 0 ? all : use.whole || list_nth(op->touches, i - 1) == NIL, NIL}, inners);
	}
}

static void
plan_node(PgtOp *op, Use use, List **inners)
{
	switch (op->kind)
	{
		case PGT_OP_AGG:
			plan_agg(op, use, inners);
			break;
		case PGT_OP_APPLY:
			plan_apply(op, use, inners);
			break;
		case PGT_OP_PART:
			plan_part(op, use, inners);
			break;
		case PGT_OP_SELECT:
			plan_children(op, (Use){use.whole, order_below(op, use.order)}, inners);
			break;
		case PGT_OP_RECURSION:
			plan_terms(op, inners);
			keep(op, use.order, true, inners);
			break;
		default:
			plan_children(op, (Use){use.whole, NIL}, inners);
			break;
	}
}

/* --- by what kept rows are looked up --- */

#define MAX_LOOKUPS 4

/* Groups are found by all their keys anyway. */
static bool
wants_lookup(const PgtOp *op, int col)
{
	PgtStore *store = op->inner->store;

	if (op->inner->margin != NULL || !pgt_type_has_hash(op->cols[col - 1].type) || list_length(op->inner->lookups) >= MAX_LOOKUPS)
		return false;
	return store->kind == PGT_STORE_BAG || (col <= op->nkeys && (!store->unique || col > 1));
}

/* Column `col` of the node is compared with something: note that for the kept rows it comes from, if there are such. */
static void
note_lookup(PgtOp *op, int col)
{
	PgtOp *left;
	ListCell *lc;
	Var *v;

	if (op->inner != NULL)
	{
		if (wants_lookup(op, col))
			op->inner->lookups = list_append_unique_int(op->inner->lookups, col);
		return;
	}
	switch (op->kind)
	{
		case PGT_OP_UNION:
			foreach (lc, op->children)
				note_lookup(lfirst(lc), col);
			break;
		case PGT_OP_SELECT:
			v = list_nth(op->targets, col - 1);
			if (IsA(v, Var))
				note_lookup(pgt_op_child(op, v->varno), v->varattno);
			break;
		case PGT_OP_OUTER:
			left = pgt_op_child(op, 1);
			note_lookup(col <= left->ncols ? left : pgt_op_child(op, 2), col <= left->ncols ? col : col - left->ncols);
			break;
		case PGT_OP_PART:
			if (col <= pgt_op_child(op, 1)->ncols)
				note_lookup(pgt_op_child(op, 1), col);
			break;
		default:
			break;
	}
}

static void
note_equalities(PgtOp *op, List *quals)
{
	ListCell *lc;

	foreach (lc, quals)
	{
		OpExpr *e = lfirst(lc);

		if (!IsA(e, OpExpr) || list_length(e->args) != 2 || !op_mergejoinable(e->opno, exprType(linitial(e->args))))
			continue;
		for (int i = 0; i < 2; i++)
		{
			Var *v = list_nth(e->args, i);

			if (IsA(v, Var) && v->varlevelsup == 0 && contain_var_clause(list_nth(e->args, 1 - i)))
				note_lookup(pgt_op_child(op, v->varno), v->varattno);
		}
	}
}

/* Joins look for rows that meet a change of the other side, groups and partitions for those of a key. */
static void
find_lookups(PgtOp *op)
{
	ListCell *lc;

	note_equalities(op, op->quals);
	foreach (lc, op->touches)
		note_equalities(op, lfirst(lc));
	for (int k = 1; op->kind == PGT_OP_AGG && k <= op->nkeys; k++)
		note_lookup(pgt_op_child(op, 1), k);
	foreach (lc, op->part == NULL ? NIL : op->part->keys)
		note_lookup(pgt_op_child(op, 1), lfirst_int(lc));
	foreach (lc, op->children)
		find_lookups(lfirst(lc));
	if (op->kind == PGT_OP_RECURSION && op->inner != NULL)
		op->inner->lookups = list_union_int(pgt_recursion_lookups(op), op->inner->lookups);
}

List *
pgt_inner_plan(PgtOp *root)
{
	PgtOp *agg = list_length(root->children) == 1 ? pgt_op_child(root, 1) : NULL;
	List *inners = NIL;
	PgtStates *states;

	if (pgt_recursion_of(root) != NULL)
		plan_terms(pgt_recursion_of(root), &inners); /* the ST itself keeps the rows */
	else if (agg == NULL || agg->kind != PGT_OP_AGG)
		plan_node(root, (Use){false, NIL}, &inners);
	else if (root->quals != NIL)
		plan_node(agg, (Use){true, NIL}, &inners); /* groups that HAVING hides */
	else
	{
		/* the ST itself keeps the groups */
		states = pgt_states_plan(agg);
		plan_children(agg, (Use){states == NULL || any_extremum(states), NIL}, &inners);
	}
	find_lookups(root);
	return inners;
}

/* --- tables --- */

/* Further sort keys decide between few rows. */
#define MAX_ORDER_KEYS 3

/* An index on what a LIMIT sorts by; NULL where none can serve. */
static char *
order_index(const PgtInner *inner)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, inner->order)
	{
		PgtSortKey *key = lfirst(lc);
		const PgtCol *col = &inner->store->cols[key->col - 1];
		TypeCacheEntry *type = lookup_type_cache(col->type, TYPECACHE_LT_OPR | TYPECACHE_GT_OPR);

		if (!is_short(col) || (key->sortop != type->lt_opr && key->sortop != type->gt_opr) || foreach_current_index(lc) == MAX_ORDER_KEYS)
			break;
		appendStringInfo(&s, "%s%s%s NULLS %s", s.len > 0 ? ", " : "", inner->store->names[key->col - 1],
						 key->sortop == type->gt_opr ? " DESC" : "", key->nulls_first ? "FIRST" : "LAST");
	}
	return s.len == 0 ? NULL : psprintf("CREATE INDEX ON %%s (%s)", s.data);
}

static PgtInnerTable
table_of(const PgtInner *inner)
{
	PgtStore *store = inner->store;
	PgtInnerTable table = {store->ncols, palloc0(sizeof(PgtViewColumn) * Max(1, store->ncols)), pgt_store_indexes(store)};
	char *order = order_index(inner);
	ListCell *lc;

	for (int i = 0; i < store->ncols; i++)
		table.columns[i] = (PgtViewColumn){store->plain_names[i], store->cols[i].type, store->cols[i].typmod, store->cols[i].collation,
										   i >= store->nvisible};
	if (order != NULL)
		table.indexes = lappend(table.indexes, order);
	foreach (lc, inner->lookups)
		table.indexes = lappend(table.indexes, pgt_recursion_index(store, lfirst_int(lc)));
	return table;
}

void
pgt_inner_describe(PgtView *view, List *inners)
{
	ListCell *lc;

	view->ninners = tables_of(inners);
	view->inners = palloc0(sizeof(PgtInnerTable) * Max(1, view->ninners));
	view->inner_stores = inners;
	foreach (lc, inners)
	{
		PgtInner *inner = lfirst(lc);

		view->inners[inner->number - 1] = table_of(inner);
		if (inner->margin != NULL)
			view->inners[inner->number] = pgt_margin_state(inner->margin);
	}
}

void
pgt_inner_bind(List *inners, const PgtTarget *target)
{
	ListCell *lc;

	foreach (lc, inners)
	{
		PgtInner *inner = lfirst(lc);

		inner->table = target->inner == NULL ? NULL : psprintf("%s%d", target->inner, inner->number);
		inner->state = target->inner == NULL ? NULL : psprintf("%s%d", target->inner, inner->number + 1);
		inner->delta = NULL;
	}
}

void
pgt_inner_unbind(List *inners)
{
	pgt_inner_bind(inners, &(PgtTarget){0});
}

bool
pgt_inner_bound(const PgtOp *op)
{
	return op->inner != NULL && op->inner->table != NULL;
}

char *
pgt_inner_rows(const PgtInner *inner)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < inner->store->nvisible; i++)
		appendStringInfo(&s, "%si.%s AS c%d", i > 0 ? ", " : "", inner->store->names[i], i + 1);
	return psprintf("SELECT %s FROM %s i", s.data, inner->table);
}

/* --- programs --- */

static PgtTarget
target_of(const PgtInner *inner)
{
	return (PgtTarget){.st = inner->table, .number = inner->number};
}

/* The rows from what lies below, not from their own table. */
static char *
rows_below(PgtInner *inner)
{
	char *table = inner->table;
	char *sql;

	if (inner->store->kind != PGT_STORE_BAG)
		return pgt_store_load(inner->store);
	inner->table = NULL;
	sql = pgt_post(inner->store->root);
	inner->table = table;
	return sql;
}

static PgtMarginTables
margin_tables(PgtInner *inner)
{
	return (PgtMarginTables){.store = inner->store, .target = target_of(inner), .state = inner->state, .rows = rows_below(inner)};
}

static void
maintain_margin(PgtDeltaCtx *cxt, PgtInner *inner)
{
	PgtMarginTables tables = margin_tables(inner);
	char *table = inner->table;
	PgtFrom delta;
	List *steps;

	inner->table = NULL;
	delta = pgt_delta_netted(cxt, inner->store->root);
	inner->table = table;
	steps = pgt_margin_maintain(inner->margin, &tables, delta, &inner->delta);
	cxt->steps = list_concat(cxt->steps, steps);
}

static void
when_rows(List *steps, const char *changes)
{
	ListCell *lc;

	foreach (lc, steps)
		((PgtStep *) lfirst(lc))->needs = list_make1(pstrdup(changes));
}

static void
maintain_bag(PgtDeltaCtx *cxt, PgtInner *inner)
{
	PgtStore *store = inner->store;
	PgtTarget target = target_of(inner);
	char *table = inner->table;
	char *change;
	List *steps;
	List *needs = NIL;

	inner->table = NULL;
	if (store->root->kind == PGT_OP_RECURSION)
		change = pgt_recursion_delta(cxt, store->root, store, &target);
	else
	{
		change = pgt_select_of(pgt_net(store->cols, store->nvisible, pgt_delta(cxt, store->root)));
		needs = pgt_delta_needs(cxt, store->root);
	}
	inner->table = table;
	steps = pgt_apply_bag(store, &target, change);
	inner->delta = ((PgtStep *) linitial(steps))->name;
	when_rows(list_copy_tail(steps, 1), inner->delta);
	if (store->root->kind != PGT_OP_RECURSION)
		((PgtStep *) linitial(steps))->needs = needs;
	cxt->steps = list_concat(cxt->steps, steps);
}

static void
maintain_one(PgtDeltaCtx *cxt, PgtInner *inner)
{
	PgtTarget target = target_of(inner);
	char *changes;
	List *steps;

	if (inner->margin != NULL)
	{
		maintain_margin(cxt, inner);
		return;
	}
	if (inner->store->kind == PGT_STORE_BAG)
	{
		maintain_bag(cxt, inner);
		return;
	}
	changes = pgt_weights_changes(inner->store, &target, cxt);
	changes = pgt_enr_of(cxt, "c", changes, pgt_delta_needs(cxt, pgt_op_child(inner->store->agg, 1)));
	inner->delta = pgt_enr_of(cxt, "i", pgt_change_delta(inner->store, changes), list_make1(changes));
	steps = pgt_apply_inner(inner->store, &target, changes);
	when_rows(steps, changes);
	cxt->steps = list_concat(cxt->steps, steps);
}

void
pgt_inner_maintain(PgtDeltaCtx *cxt, PgtOp *op)
{
	ListCell *lc;

	foreach (lc, op->children)
		pgt_inner_maintain(cxt, lfirst(lc));
	if (pgt_inner_bound(op) && op->inner->delta == NULL && pgt_op_changed(op, cxt->changed))
		maintain_one(cxt, op->inner);
}

static List *
load_one(PgtInner *inner)
{
	PgtStore *store = inner->store;
	PgtMarginTables tables;

	if (inner->margin != NULL)
	{
		tables = margin_tables(inner);
		return pgt_margin_load(inner->margin, &tables);
	}
	return list_make1(pgt_step(PGT_STEP_DML, PGT_COUNT_NONE, NULL,
							   psprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) q", inner->table, pgt_store_columns(store, store->ncols),
										pgt_columns("q", store->ncols, 0), rows_below(inner))));
}

List *
pgt_inner_load(List *inners)
{
	List *steps = NIL;
	ListCell *lc;

	foreach (lc, inners)
		if (((PgtInner *) lfirst(lc))->table != NULL)
			steps = list_concat(steps, load_one(lfirst(lc)));
	return steps;
}

static List *
diff_one(PgtInner *inner)
{
	PgtTarget target = target_of(inner);
	char *name = psprintf("__pgt_inner%d", inner->number);
	PgtMarginTables tables;
	PgtStep *changes;

	if (inner->margin != NULL)
	{
		tables = margin_tables(inner);
		return pgt_margin_diff(inner->margin, &tables);
	}
	if (inner->store->kind == PGT_STORE_BAG)
		return pgt_apply_bag(pgt_store_unconstrained(inner->store), &target, pgt_bag_difference(inner->store, &target, rows_below(inner)));
	changes = pgt_step(PGT_STEP_ENR, PGT_COUNT_NONE, name,
					   pgt_change_set(inner->store, psprintf("(%s)", rows_below(inner)), pgt_old_rows(inner->store, &target, NULL)));
	return lcons(changes, pgt_apply_inner(inner->store, &target, name));
}

List *
pgt_inner_diff(List *inners)
{
	List *steps = NIL;
	ListCell *lc;

	foreach (lc, inners)
		if (((PgtInner *) lfirst(lc))->table != NULL)
			steps = list_concat(steps, diff_one(lfirst(lc)));
	return steps;
}
