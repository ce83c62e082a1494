/*
 * delta_rows.c - the post rows of given keys, of any node.
 *
 * PostgreSQL carries a join with the keys into joins of plain tables, but not below GROUP BY or a window.  Here the keys are taken
 * down through those nodes, by their own keys: a window partitioned by other columns is computed for every partition that has a
 * row of the wanted keys (one step more is read than is given), and the wanted rows are picked out of that.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"

#include "delta.h"
#include "inner.h"
#include "part.h"

/* "p.c3 = k.c1 AND ..."; nulls: in a form that takes NULLs as equal and can still be hashed. */
static char *
key_match(const PgtOp *op, List *cols, bool nulls)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, cols)
	{
		int c = lfirst_int(lc);
		int k = foreach_current_index(lc) + 1;

		appendStringInfoString(&s, k > 1 ? " AND " : "");
		if (nulls && !op->cols[c - 1].notnull)
			appendStringInfo(&s, "ARRAY[p.c%d] OPERATOR(pg_catalog.=) ARRAY[k.c%d]", c, k);
		else
			appendStringInfo(&s, "p.c%d %s k.c%d", c, pgt_type_operator(op->cols[c - 1].type, true), k);
	}
	return s.data;
}

/* "k.c1 IS NULL OR k.c3 IS NULL" over the columns that may be NULL; NULL when none may. */
static char *
null_test(const PgtOp *op, List *cols, bool of_keys)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, cols)
	{
		const PgtCol *col = &op->cols[lfirst_int(lc) - 1];

		if (!col->notnull)
			appendStringInfo(&s, "%s%s", s.len > 0 ? " OR " : "",
							 pgt_is_null(col->type, of_keys ? psprintf("k.c%d", foreach_current_index(lc) + 1) : psprintf("p.c%d", lfirst_int(lc))));
	}
	return s.len > 0 ? s.data : NULL;
}

/* Rows of a FROM item that has the node's columns. */
static PgtFrom
join_keys(PgtDeltaCtx *cxt, const PgtOp *op, PgtFrom from, List *cols, const char *keys)
{
	char *out = pgt_columns("p", op->ncols, 0);
	char *knull = null_test(op, cols, true);
	char *nulls;

	if (knull == NULL)
		return psprintf("(SELECT %s FROM %s k JOIN %s p ON %s)", out, keys, from, key_match(op, cols, false));
	nulls = pgt_rows_of_nulls(cxt, keys, knull, out, psprintf("%s p ON (%s) AND %s", from, null_test(op, cols, false), key_match(op, cols, true)));
	return psprintf("(SELECT %s FROM %s k JOIN %s p ON %s UNION ALL SELECT %s FROM %s p)", out, keys, from, key_match(op, cols, false), out, nulls);
}

static PgtFrom
plain_rows(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	return join_keys(cxt, op, psprintf("(%s)", pgt_post(op)), cols, keys);
}

/* The positions in `cols` of every member of `wanted`; NIL when one is missing. */
static List *
positions(List *wanted, List *cols)
{
	List *out = NIL;
	ListCell *w;
	ListCell *c;

	foreach (w, wanted)
	{
		int at = 0;

		foreach (c, cols)
			if (lfirst_int(c) == lfirst_int(w))
				at = foreach_current_index(c) + 1;
		if (at == 0)
			return NIL;
		out = lappend_int(out, at);
	}
	return out;
}

static char *
distinct_columns(PgtDeltaCtx *cxt, List *cols, const char *from)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, cols)
		appendStringInfo(&s, "%sd.c%d AS c%d", s.len > 0 ? ", " : "", lfirst_int(lc), foreach_current_index(lc) + 1);
	return pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s FROM %s d", s.data, from));
}

static PgtFrom
part_rows(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	PgtOp *child = pgt_op_child(op, 1);
	List *own = op->part->keys;
	List *at = positions(own, cols);
	ListCell *lc;
	char *rows;

	if (own == NIL)
		return plain_rows(cxt, op, cols, keys);
	foreach (lc, cols)
		if (lfirst_int(lc) > child->ncols)
			return plain_rows(cxt, op, cols, keys);
	if (at != NIL)
		keys = list_length(own) == list_length(cols) && equal(own, cols) ? keys : distinct_columns(cxt, at, keys);
	rows = pgt_enr(cxt, "p", pgt_select_of(pgt_rows_of(cxt, child, at != NIL ? own : cols, keys)));
	if (at == NIL)
		rows = pgt_enr(cxt, "p", pgt_select_of(pgt_rows_of(cxt, child, own, distinct_columns(cxt, own, rows))));
	return psprintf("(%s)", pgt_part_sql(op, rows));
}

static PgtFrom
agg_rows(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	ListCell *lc;

	foreach (lc, cols)
		if (lfirst_int(lc) > op->nkeys)
			return plain_rows(cxt, op, cols, keys);
	return psprintf("(%s)", pgt_aggregate(op, pgt_rows_of(cxt, pgt_op_child(op, 1), cols, keys), NULL));
}

/* All wanted columns must come from one child as they are. */
static PgtFrom
select_rows(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	List *below = NIL;
	int ordinal = 0;
	ListCell *lc;

	foreach (lc, cols)
	{
		Var *v = list_nth(op->targets, lfirst_int(lc) - 1);

		if (!IsA(v, Var) || (ordinal != 0 && (int) v->varno != ordinal))
			return plain_rows(cxt, op, cols, keys);
		ordinal = v->varno;
		below = lappend_int(below, v->varattno);
	}
	if (!pgt_op_is_opaque(pgt_op_child(op, ordinal), pgt_inner_bound))
		return plain_rows(cxt, op, cols, keys);
	return psprintf("(%s)", pgt_post_select(op, ordinal, pgt_select_of(pgt_rows_of(cxt, pgt_op_child(op, ordinal), below, keys))));
}

static PgtFrom
union_rows(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, op->children)
		appendStringInfo(&s, "%sSELECT * FROM %s u", s.len > 0 ? " UNION ALL " : "(", pgt_rows_of(cxt, lfirst(lc), cols, keys));
	appendStringInfoChar(&s, ')');
	return s.data;
}

PgtFrom
pgt_rows_of(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys)
{
	if (cols == NIL)
		return psprintf("(%s)", pgt_post(op));
	if (!pgt_op_is_opaque(op, pgt_inner_bound))
		return plain_rows(cxt, op, cols, keys);
	switch (op->kind)
	{
		case PGT_OP_PART:
			/* what was read beyond the wanted rows goes again; keys that cover the partition leave nothing to read beyond */
			if (op->part->keys != NIL && !equal(op->part->keys, cols))
				return join_keys(cxt, op, pgt_enr(cxt, "p", pgt_select_of(part_rows(cxt, op, cols, keys))), cols, keys);
			return part_rows(cxt, op, cols, keys);
		case PGT_OP_AGG:
			return agg_rows(cxt, op, cols, keys);
		case PGT_OP_SELECT:
			return select_rows(cxt, op, cols, keys);
		case PGT_OP_UNION:
			return union_rows(cxt, op, cols, keys);
		default:
			return plain_rows(cxt, op, cols, keys);
	}
}
