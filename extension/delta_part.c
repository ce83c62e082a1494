/*
 * delta_part.c - windows, DISTINCT ON, LIMIT, INTERSECT and EXCEPT: touched partitions, new and old.
 *
 * The partitions that the child's delta names, by rows of both signs, are computed from post rows; their old rows are the same
 * computation over (post rows - delta).  Several windows with different PARTITION BY are one node above the other: the delta of
 * the lower names the partitions of the upper, and reading the upper's partitions closes over the lower's (delta_rows.c).
 *
 * LIMIT has one partition, which is never read whole.  With m = OFFSET + LIMIT and i rows inserted, the first m old rows are among
 * the first m + i post rows without the inserted ones, and the deleted rows: at most i of the former are new.
 */
#include "postgres.h"

#include "delta.h"
#include "part.h"

/* How many rows a LIMIT reads beyond its own: the first of these that covers what was inserted, so that there are few plans. */
#define FEW_INSERTED 100
#define SOME_INSERTED 1000

static char *
as_bag(const PgtOp *op, const char *rows, const char *minus)
{
	char *cols = pgt_columns("r", op->ncols, 0);
	char *both = psprintf("(SELECT %s FROM %s r UNION ALL SELECT %s FROM %s r)", pgt_join2(cols, "1::pg_catalog.int8 AS w"), rows,
						  pgt_join2(cols, "-r.w AS w"), minus);

	return psprintf("(SELECT %s FROM %s r, pg_catalog.generate_series(1, r.w) g)", cols, pgt_net(op->cols, op->ncols, both));
}

static PgtFrom
difference(PgtDeltaCtx *cxt, const PgtOp *op, const char *rows, const char *old)
{
	return pgt_enr(cxt, "a", psprintf("SELECT * FROM %s a", pgt_net(op->cols, op->ncols, psprintf("(SELECT n.*, 1::pg_catalog.int8 AS w FROM (%s) n UNION ALL "
																								  "SELECT o.*, -1::pg_catalog.int8 AS w FROM (%s) o)",
																								  rows, old))));
}

static char *
touched_keys(PgtDeltaCtx *cxt, List *keys, const char *d)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, keys)
		appendStringInfo(&s, "%sd.c%d AS c%d", s.len > 0 ? ", " : "", lfirst_int(lc), foreach_current_index(lc) + 1);
	return pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s FROM %s d", s.data, d));
}

/* A number of rows to which others can be added; NULL is no limit, and no offset. */
static char *
bounded(Node *count)
{
	return psprintf("LEAST((%s)::pg_catalog.int8, 1000000000000000000)", pgt_expr(count, NIL));
}

/* The first `more` post rows beyond those that the LIMIT keeps. */
static char *
first_rows(const PgtOp *op, const char *more)
{
	PgtPart *part = op->part;
	PgtOp *child = pgt_op_child(op, 1);
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "SELECT %s FROM (%s) a1%s", pgt_columns("a1", child->ncols, 0), pgt_post(child), pgt_part_order(op));
	if (part->count == NULL)
		return s.data;
	appendStringInfo(&s, part->ties ? " FETCH FIRST (%s + %s + %s) ROWS WITH TIES" : " LIMIT (%s + %s + %s)",
					 bounded(part->count), part->offset == NULL ? "0" : bounded(part->offset), more);
	return s.data;
}

/* A constant limit lets the planner see that an index will do; a large delta takes the last branch. */
static PgtFrom
delta_limit(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtOp *child = pgt_op_child(op, 1);
	char *d = pgt_delta_netted(cxt, child);
	char *inserted = psprintf("(SELECT coalesce(pg_catalog.sum(i.w) FILTER (WHERE i.w > 0), 0)::pg_catalog.int8 FROM %s i)", d);
	char *cols = pgt_columns("f", child->ncols, 0);
	char *rows = psprintf("SELECT %s FROM (%s) f WHERE %s <= %d UNION ALL SELECT %s FROM (%s) f WHERE %s BETWEEN %d AND %d "
						  "UNION ALL SELECT %s FROM (%s) f WHERE %s > %d",
						  cols, first_rows(op, psprintf("%d", FEW_INSERTED)), inserted, FEW_INSERTED,
						  cols, first_rows(op, psprintf("%d", SOME_INSERTED)), inserted, FEW_INSERTED + 1, SOME_INSERTED,
						  cols, first_rows(op, inserted), inserted, SOME_INSERTED);

	rows = pgt_enr(cxt, "p", rows);
	return difference(cxt, op, pgt_part_sql(op, rows), pgt_part_sql(op, as_bag(child, rows, d)));
}

PgtFrom
pgt_delta_part(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtOp *child = pgt_op_child(op, 1);
	List *cols = op->part->keys;
	char *d;
	char *rows;

	if (op->part->kind == PGT_PART_LIMIT)
		return delta_limit(cxt, op);
	d = pgt_delta_netted(cxt, child);
	rows = pgt_enr(cxt, "p", pgt_select_of(pgt_rows_of(cxt, child, cols, cols == NIL ? NULL : touched_keys(cxt, cols, d))));
	return difference(cxt, op, pgt_part_sql(op, rows), pgt_part_sql(op, as_bag(child, rows, d)));
}
