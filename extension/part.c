/*
 * part.c - PART nodes: description, pruning, and their SQL.
 *
 * The SQL of a window function is put together here, since PostgreSQL's deparser shows windows only as part of a whole query.
 * Keys, sort keys and functions refer to the child by column number; the child computes every expression they need.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "deparse.h"
#include "part.h"

List *
pgt_order_copy(List *order)
{
	List *copy = NIL;
	ListCell *lc;

	foreach (lc, order)
	{
		PgtSortKey *key = palloc(sizeof(PgtSortKey));

		*key = *(PgtSortKey *) lfirst(lc);
		key->more = list_copy(key->more);
		copy = lappend(copy, key);
	}
	return copy;
}

PgtPart *
pgt_part_clone(const PgtPart *part)
{
	PgtPart *copy;
	ListCell *lc;

	if (part == NULL)
		return NULL;
	copy = palloc(sizeof(PgtPart));
	*copy = *part;
	copy->keys = list_copy(part->keys);
	copy->order = pgt_order_copy(part->order);
	copy->images = list_copy(part->images);
	copy->count = copyObject(part->count);
	copy->offset = copyObject(part->offset);
	copy->windows = NIL;
	foreach (lc, part->windows)
	{
		PgtWindow *window = palloc(sizeof(PgtWindow));

		*window = *(PgtWindow *) lfirst(lc);
		window->func = copyObject(window->func);
		window->order = pgt_order_copy(window->order);
		window->start = copyObject(window->start);
		window->end = copyObject(window->end);
		copy->windows = lappend(copy->windows, window);
	}
	return copy;
}

void
pgt_part_describe(PgtOp *op)
{
	PgtOp *child = pgt_op_child(op, 1);
	ListCell *lc;
	int n = child->ncols;

	op->ncols = n + list_length(op->part->windows) - (op->part->kind == PGT_PART_SETOP ? 1 : 0);
	op->cols = palloc0(sizeof(PgtCol) * (op->ncols + 1));
	memcpy(op->cols, child->cols, sizeof(PgtCol) * Min(n, op->ncols));
	foreach (lc, op->part->windows)
	{
		WindowFunc *f = ((PgtWindow *) lfirst(lc))->func;

		op->cols[n++] = (PgtCol){f->wintype, -1, f->wincollid, false};
	}
}

/* --- pruning --- */

static Bitmapset *
add_order(Bitmapset *used, List *order)
{
	ListCell *lc;
	ListCell *lm;

	foreach (lc, order)
	{
		used = bms_add_member(used, ((PgtSortKey *) lfirst(lc))->col);
		foreach (lm, ((PgtSortKey *) lfirst(lc))->more)
			used = bms_add_member(used, lfirst_int(lm));
	}
	return used;
}

static Bitmapset *
used_columns(const PgtOp *op)
{
	PgtPart *part = op->part;
	Bitmapset *used = add_order(NULL, part->order);
	ListCell *lc;

	if (part->kind == PGT_PART_SETOP)
		return bms_add_range(NULL, 1, pgt_op_child(op, 1)->ncols);
	foreach (lc, part->keys)
		used = bms_add_member(used, lfirst_int(lc));
	foreach (lc, part->images)
		used = bms_add_member(used, lfirst_int(lc));
	foreach (lc, part->windows)
	{
		PgtWindow *w = lfirst(lc);
		List *vars = pull_var_clause((Node *) w->func, PVC_RECURSE_WINDOWFUNCS);
		ListCell *v;

		used = add_order(used, w->order);
		foreach (v, vars)
			used = bms_add_member(used, lfirst_node(Var, v)->varattno);
	}
	return used;
}

static List *
renumber_order(List *order, int *map)
{
	List *out = NIL;
	ListCell *lc;
	ListCell *lm;

	foreach (lc, order)
	{
		PgtSortKey *key = palloc(sizeof(PgtSortKey));

		*key = *(PgtSortKey *) lfirst(lc);
		key->col = map[key->col];
		key->more = list_copy(key->more);
		foreach (lm, key->more)
			lfirst_int(lm) = map[lfirst_int(lm)];
		out = lappend(out, key);
	}
	return out;
}

static Node *
renumber_vars(Node *node, int *map)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *v = (Var *) copyObject(node);

		v->varattno = map[v->varattno];
		return (Node *) v;
	}
	return expression_tree_mutator(node, renumber_vars, map);
}

static void
renumber(PgtPart *part, int *map)
{
	ListCell *lc;

	foreach (lc, part->keys)
		lfirst_int(lc) = map[lfirst_int(lc)];
	foreach (lc, part->images)
		lfirst_int(lc) = map[lfirst_int(lc)];
	part->order = renumber_order(part->order, map);
	foreach (lc, part->windows)
	{
		PgtWindow *w = lfirst(lc);

		w->func = (WindowFunc *) renumber_vars((Node *) w->func, map);
		w->order = renumber_order(w->order, map);
	}
}

Bitmapset *
pgt_part_prune(PgtOp *op, Bitmapset *needed)
{
	PgtOp *child = pgt_op_child(op, 1);
	int ncols = child->ncols;
	int *map = palloc0(sizeof(int) * (ncols + 1));
	List *windows = NIL;
	Bitmapset *used;
	Bitmapset *kept;
	ListCell *lc;
	int n = 0;

	foreach (lc, op->part->windows)
		if (bms_is_member(ncols + foreach_current_index(lc) + 1, needed))
			windows = lappend(windows, lfirst(lc));
	kept = op->part->windows == NIL ? NULL : bms_int_members(bms_add_range(NULL, ncols + 1, ncols + list_length(op->part->windows)), needed);
	op->part->windows = windows;
	used = used_columns(op);
	for (int i = 1; i <= ncols; i++)
		if (bms_is_member(i, needed))
			used = bms_add_member(used, i);
	used = pgt_op_prune(child, used);
	for (int i = 1; i <= ncols; i++)
		if (bms_is_member(i, used))
			map[i] = ++n;
	renumber(op->part, map);
	pgt_part_describe(op);
	/* the sides' column is no output */
	if (op->part->kind == PGT_PART_SETOP)
		used = bms_del_member(used, ncols);
	return bms_join(kept, used);
}

/* --- SQL --- */

static char *
key_list(List *keys)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, keys)
		appendStringInfo(&s, "%sa1.c%d", s.len > 0 ? ", " : "", lfirst_int(lc));
	return s.data;
}

static char *
operator_name(Oid opno)
{
	HeapTuple tup = SearchSysCache1(OPEROID, ObjectIdGetDatum(opno));
	char *result;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for operator %u", opno);
	result = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(((Form_pg_operator) GETSTRUCT(tup))->oprnamespace)),
					  NameStr(((Form_pg_operator) GETSTRUCT(tup))->oprname));
	ReleaseSysCache(tup);
	return result;
}

/* The records of arrays; what their columns are called makes no difference to their order. */
static char *
records(const PgtSortKey *key)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	appendStringInfoString(&s, "pgtrickle._records('{c0");
	for (int i = 1; i <= list_length(key->more); i++)
		appendStringInfo(&s, ",c%d", i);
	appendStringInfo(&s, "}', a1.c%d", key->col);
	foreach (lc, key->more)
		appendStringInfo(&s, ", a1.c%d", lfirst_int(lc));
	appendStringInfoChar(&s, ')');
	return s.data;
}

char *
pgt_part_order_list(List *order)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, order)
	{
		PgtSortKey *key = lfirst(lc);

		appendStringInfo(&s, "%s%s USING %s NULLS %s", s.len > 0 ? ", " : "", key->more == NIL ? psprintf("a1.c%d", key->col) : records(key),
						 operator_name(key->sortop), key->nulls_first ? "FIRST" : "LAST");
	}
	return s.data;
}

/* The end's option bits stand one place above the start's. */
static char *
frame_bound(int frame, bool is_end, Node *offset, List *inputs)
{
	int shift = is_end ? 1 : 0;

	if (frame & (is_end ? FRAMEOPTION_END_UNBOUNDED_FOLLOWING : FRAMEOPTION_START_UNBOUNDED_PRECEDING))
		return is_end ? "UNBOUNDED FOLLOWING" : "UNBOUNDED PRECEDING";
	if (frame & (FRAMEOPTION_START_CURRENT_ROW << shift))
		return "CURRENT ROW";
	return psprintf("(%s) %s", pgt_expr(offset, inputs),
					frame & (FRAMEOPTION_START_OFFSET_PRECEDING << shift) ? "PRECEDING" : "FOLLOWING");
}

static char *
frame_clause(const PgtWindow *w, List *inputs)
{
	char *exclude = "";

	if ((w->frame & FRAMEOPTION_NONDEFAULT) == 0)
		return "";
	if (w->frame & FRAMEOPTION_EXCLUDE_CURRENT_ROW)
		exclude = " EXCLUDE CURRENT ROW";
	else if (w->frame & FRAMEOPTION_EXCLUDE_GROUP)
		exclude = " EXCLUDE GROUP";
	else if (w->frame & FRAMEOPTION_EXCLUDE_TIES)
		exclude = " EXCLUDE TIES";
	return psprintf(" %s BETWEEN %s AND %s%s",
					w->frame & FRAMEOPTION_RANGE ? "RANGE" : w->frame & FRAMEOPTION_ROWS ? "ROWS"
																						 : "GROUPS",
					frame_bound(w->frame, false, w->start, inputs),
					frame_bound(w->frame, true, w->end, inputs), exclude);
}

static char *
window_sql(const PgtOp *op, const PgtWindow *w)
{
	WindowFunc *f = w->func;
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	appendStringInfo(&s, "%s(%s", quote_qualified_identifier(get_namespace_name(get_func_namespace(f->winfnoid)), get_func_name(f->winfnoid)), f->winstar ? "*" : "");
	foreach (lc, f->args)
		appendStringInfo(&s, "%s%s", foreach_current_index(lc) > 0 ? ", " : "", pgt_expr(lfirst(lc), op->children));
	appendStringInfoChar(&s, ')');
	if (f->aggfilter != NULL)
		appendStringInfo(&s, " FILTER (WHERE %s)", pgt_expr((Node *) f->aggfilter, op->children));
	appendStringInfo(&s, " OVER (%s%s%s%s%s)", op->part->keys == NIL ? "" : "PARTITION BY ", key_list(op->part->keys),
					 w->order == NIL ? "" : " ORDER BY ", pgt_part_order_list(w->order), frame_clause(w, op->children));
	return s.data;
}

/* The rows in the order in which the window functions are to see them: the server does not sort again what is sorted by more. */
static const char *
sorted_input(const PgtOp *op, const char *from)
{
	StringInfoData s;
	ListCell *lc;

	if (op->part->order == NIL)
		return from;
	initStringInfo(&s);
	appendStringInfoString(&s, pgt_part_order_list(op->part->order));
	foreach (lc, op->part->images)
		appendStringInfo(&s, ", a1.c%d::pg_catalog.text COLLATE \"C\"", lfirst_int(lc));
	return psprintf("(SELECT %s FROM %s a1 ORDER BY %s)", pgt_columns("a1", pgt_op_child(op, 1)->ncols, 0), from, s.data);
}

static char *
windows_sql(const PgtOp *op, const char *from)
{
	StringInfoData s;
	ListCell *lc;
	int n = pgt_op_child(op, 1)->ncols;

	initStringInfo(&s);
	foreach (lc, op->part->windows)
		appendStringInfo(&s, "%s%s AS c%d", s.len > 0 ? ", " : "", window_sql(op, lfirst(lc)), n + foreach_current_index(lc) + 1);
	return psprintf("SELECT %s FROM %s a1", pgt_join2(pgt_columns("a1", n, 0), s.data), sorted_input(op, from));
}

static char *
setop_sql(const PgtOp *op, const char *from)
{
	StringInfoData s;
	int side = op->ncols + 1;
	const char *rows;

	initStringInfo(&s);
	for (int k = 1; k <= op->ncols; k++)
		appendStringInfo(&s, "%s AS c%d, ", pgt_least_image(&op->cols[k - 1], k), k);
	if (op->part->all)
		rows = op->part->except ? ", pg_catalog.generate_series(1, g.l - g.r)" : ", pg_catalog.generate_series(1, CASE WHEN g.l < g.r THEN g.l ELSE g.r END)";
	else
		rows = op->part->except ? " WHERE g.l > 0 AND g.r = 0" : " WHERE g.l > 0 AND g.r > 0";
	return psprintf("SELECT %s FROM (SELECT %spg_catalog.count(*) FILTER (WHERE a1.c%d = 1) AS l, "
					"pg_catalog.count(*) FILTER (WHERE a1.c%d = 2) AS r FROM %s a1 GROUP BY %s) g%s",
					pgt_columns("g", op->ncols, 0), s.data, side, side, from, pgt_key_list("a1", op->ncols), rows);
}

char *
pgt_part_order(const PgtOp *op)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, pgt_part_order_list(op->part->order));
	for (int i = 1; op->part->by_image && i <= op->ncols; i++)
		if (!pgt_col_image_safe(&op->cols[i - 1]))
			appendStringInfo(&s, "%sa1.c%d::pg_catalog.text COLLATE \"C\"", s.len > 0 ? ", " : "", i);
	return s.len > 0 ? psprintf(" ORDER BY %s", s.data) : "";
}

static char *
limit_sql(const PgtOp *op, const char *from)
{
	PgtPart *part = op->part;
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "SELECT %s FROM %s a1%s", pgt_columns("a1", op->ncols, 0), from, pgt_part_order(op));
	if (part->offset != NULL)
		appendStringInfo(&s, " OFFSET (%s)", pgt_expr(part->offset, NIL));
	if (part->count != NULL)
		appendStringInfo(&s, part->ties ? " FETCH FIRST (%s) ROWS WITH TIES" : " LIMIT (%s)", pgt_expr(part->count, NIL));
	return s.data;
}

char *
pgt_part_sql(const PgtOp *op, const char *from)
{
	switch (op->part->kind)
	{
		case PGT_PART_WINDOW:
			return windows_sql(op, from);
		case PGT_PART_FIRST:
			return psprintf("SELECT DISTINCT ON (%s) %s FROM %s a1 ORDER BY %s", key_list(op->part->keys),
							pgt_columns("a1", op->ncols, 0), from, pgt_part_order_list(op->part->order));
		case PGT_PART_LIMIT:
			return limit_sql(op, from);
		case PGT_PART_SETOP:
			return setop_sql(op, from);
	}
	return NULL;
}
