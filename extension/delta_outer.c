/*
 * delta_outer.c - left and full joins: the inner part's delta, and padding by match counts.
 *
 * For a side L padded against R under condition P, with d = change and counts of matches per L row:
 *     padding change = L_post * ([new = 0] - [old = 0])  over L_post rows that match some dR row under the whole of P
 *                    + dL * [old = 0]
 * where new is counted by probing R_post and old = new - (weight of matching dR rows).  Nothing is assumed about P.  A left join
 * whose right side did not change is linear in its left side, and is simply that left join over dL.
 */
#include "postgres.h"

#include "delta.h"

/* The join seen from one side: which input is padded, and the aliases that P uses for the two inputs. */
typedef struct Side
{
	const PgtOp *op;
	PgtOp *l;
	PgtOp *r;
	const char *la; /* alias of l in P */
	const char *ra;
	int loffset; /* l's first column in the output, 0-based */
	int roffset;
	const char *on;
} Side;

static Side
make_side(const PgtOp *op, bool left)
{
	Side s = {op};
	PgtOp *l = pgt_op_child(op, 1);
	PgtOp *r = pgt_op_child(op, 2);
	char *quals = pgt_quals(op->quals, op->children);

	s.l = left ? l : r;
	s.r = left ? r : l;
	s.la = left ? "a1" : "a2";
	s.ra = left ? "a2" : "a1";
	s.loffset = left ? 0 : l->ncols;
	s.roffset = left ? l->ncols : 0;
	s.on = quals == NULL ? "true" : quals;
	return s;
}

/* Post state of the input with alias `of`, where it can meet rows of input `by`. */
static char *
near(PgtDeltaCtx *cxt, const Side *s, const char *of, const char *by, PgtFrom rows)
{
	return pgt_post_near(cxt, s->op, of[1] - '0', by[1] - '0', rows);
}

/* Rows of L whose padding may have changed: (c.., w of dL or NULL for post rows, id). */
static char *
touched_rows(PgtDeltaCtx *cxt, const Side *s, PgtFrom dl, PgtFrom dr)
{
	StringInfoData q;
	char *cols = pgt_columns(s->la, s->l->ncols, 0);

	initStringInfo(&q);
	if (dr != NULL)
		appendStringInfo(&q, "SELECT %s FROM (%s) %s WHERE EXISTS (SELECT 1 FROM %s %s WHERE %s)",
						 pgt_join2(cols, "NULL::pg_catalog.int8 AS w"), near(cxt, s, s->la, s->ra, dr), s->la, dr, s->ra, s->on);
	if (dl != NULL)
		appendStringInfo(&q, "%sSELECT %s FROM %s %s", dr != NULL ? " UNION ALL " : "",
						 pgt_join2(cols, psprintf("%s.w", s->la)), dl, s->la);
	return pgt_enr(cxt, "t", psprintf("SELECT %s FROM (%s) t", pgt_join2(pgt_columns("t", s->l->ncols, 0), "t.w, pg_catalog.row_number() OVER () AS id"), q.data));
}

/* NULLs for the side that is missing, in output order. */
static char *
padded_columns(const Side *s)
{
	StringInfoData q;
	int n = s->op->ncols;

	initStringInfo(&q);
	for (int i = 0; i < n; i++)
	{
		if (i >= s->loffset && i < s->loffset + s->l->ncols)
			appendStringInfo(&q, "%st.c%d AS c%d", i > 0 ? ", " : "", i - s->loffset + 1, i + 1);
		else
			appendStringInfo(&q, "%sNULL::%s AS c%d", i > 0 ? ", " : "", pgt_type_name(s->op->cols[i].type, s->op->cols[i].typmod),
							 i + 1);
	}
	return q.data;
}

static char *
padding(PgtDeltaCtx *cxt, const Side *s, PgtFrom dl, PgtFrom dr)
{
	char *t = touched_rows(cxt, s, dl, dr);
	char *counts;
	char *changes;

	counts = psprintf("SELECT %s.id, pg_catalog.count(*) AS n FROM %s %s JOIN (%s) %s ON %s GROUP BY %s.id",
					  s->la, t, s->la, near(cxt, s, s->ra, s->la, t), s->ra, s->on, s->la);
	changes = dr == NULL ? "SELECT 0::pg_catalog.int8 AS id, 0::pg_catalog.int8 AS n" : psprintf("SELECT %s.id, pg_catalog.sum(%s.w)::pg_catalog.int8 AS n FROM %s %s JOIN %s %s ON %s GROUP BY %s.id", s->la, s->ra, t, s->la, dr, s->ra, s->on, s->la);
	counts = pgt_enr(cxt, "n", psprintf("SELECT t.id, coalesce(n.n, 0) AS new, coalesce(n.n, 0) - coalesce(d.n, 0) AS old "
										"FROM %s t LEFT JOIN (%s) n ON n.id = t.id LEFT JOIN (%s) d ON d.id = t.id",
										t, counts, changes));
	return psprintf("SELECT %s FROM (SELECT t.*, CASE WHEN t.w IS NULL THEN (n.new = 0)::pg_catalog.int4 - (n.old = 0)::pg_catalog.int4 "
					"WHEN n.old = 0 THEN t.w ELSE 0 END AS pw FROM %s t JOIN %s n ON n.id = t.id) t WHERE t.pw <> 0",
					pgt_join2(padded_columns(s), "t.pw::pg_catalog.int8 AS w"), t, counts);
}

static PgtFrom
linear_left(PgtDeltaCtx *cxt, const PgtOp *op, const Side *s)
{
	PgtFrom dl = pgt_has_agg(s->r) ? pgt_delta_netted(cxt, s->l) : pgt_delta(cxt, s->l);

	return psprintf("(SELECT %s FROM %s a1 LEFT JOIN (%s) a2 ON %s)",
					pgt_join2(pgt_join2(pgt_columns("a1", s->l->ncols, 0), pgt_columns("a2", s->r->ncols, s->l->ncols)), "a1.w"),
					dl, near(cxt, s, "a2", "a1", dl), s->on);
}

/* The matched rows' delta: the inner join of both sides as a SELECT node. */
static PgtFrom
inner_part(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtOp *inner = pgt_op_make(PGT_OP_SELECT, 0, 0);

	inner->children = op->children;
	inner->quals = op->quals;
	inner->sources = op->sources;
	for (int ordinal = 1; ordinal <= 2; ordinal++)
		for (int col = 1; col <= pgt_op_child(op, ordinal)->ncols; col++)
			inner->targets = lappend(inner->targets, pgt_op_var(pgt_op_child(op, ordinal), ordinal, col));
	pgt_op_describe(inner);
	return pgt_delta_select(cxt, inner);
}

PgtFrom
pgt_delta_outer(PgtDeltaCtx *cxt, const PgtOp *op)
{
	Side left = make_side(op, true);
	Side right = make_side(op, false);
	PgtFrom dl;
	PgtFrom dr;
	StringInfoData s;

	if (!op->full && !pgt_op_changed(left.r, cxt->changed))
		return linear_left(cxt, op, &left);
	dl = pgt_delta_netted(cxt, left.l);
	dr = pgt_delta_netted(cxt, left.r);
	initStringInfo(&s);
	appendStringInfo(&s, "(SELECT * FROM %s i UNION ALL %s", inner_part(cxt, op), padding(cxt, &left, dl, dr));
	if (op->full)
		appendStringInfo(&s, " UNION ALL %s", padding(cxt, &right, dr, dl));
	appendStringInfoChar(&s, ')');
	return s.data;
}
