/*
 * delta_agg.c - aggregation and DISTINCT below other operators: touched groups, new and old.
 *
 * The groups that the child's delta names are recomputed from post rows; their old rows are the same aggregation over
 * (post rows - delta), expanded to a bag.  Keys come from both signs of the delta, so a group whose last row left is among them.
 */
#include "postgres.h"

#include "delta.h"

/* Conditions a.c<i> = b.c<i> for the first n columns, none of them NULL on side b. */
static char *
plain_keys(const PgtOp *op, int nkeys)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys; i++)
		appendStringInfo(&s, "%sp.c%d %s k.c%d", i > 1 ? " AND " : "", i, pgt_type_operator(op->cols[i - 1].type, true), i);
	return s.data;
}

/* The same where NULL equals NULL, in a form that can still be hashed. */
static char *
array_keys(const PgtOp *op, int nkeys)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys; i++)
	{
		if (i > 1)
			appendStringInfoString(&s, " AND ");
		appendStringInfoString(&s, pgt_same_key(&op->cols[i - 1], psprintf("p.c%d", i), psprintf("k.c%d", i)));
	}
	return s.data;
}

/* "p.c1 IS NULL OR p.c3 IS NULL" over the keys that may be NULL; NULL when none may. */
static char *
null_keys(const PgtOp *op, int nkeys, const char *alias)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys; i++)
		if (!op->cols[i - 1].notnull)
			appendStringInfo(&s, "%s%s", s.len > 0 ? " OR " : "", pgt_is_null(op->cols[i - 1].type, psprintf("%s.c%d", alias, i)));
	return s.len > 0 ? s.data : NULL;
}

/*
 * Keys with a NULL in them are rare, and a condition about them beside the join would keep the planner from indexes: they have steps of
 * their own, which seldom run.
 */
char *
pgt_rows_of_nulls(PgtDeltaCtx *cxt, const char *keys, const char *knull, const char *cols, const char *join)
{
	char *n = pgt_enr_of(cxt, "n", psprintf("SELECT * FROM %s k WHERE %s", keys, knull), list_make1(pstrdup(keys)));

	return pgt_enr_of(cxt, "n", psprintf("SELECT %s FROM %s k JOIN %s", cols, n, join), list_make1(n));
}

PgtFrom
pgt_post_of_keys(PgtDeltaCtx *cxt, const PgtOp *op, int nkeys, const char *keys)
{
	char *cols = pgt_columns("p", op->ncols, 0);
	char *post = pgt_post(op);
	char *knull = null_keys(op, nkeys, "k");
	char *nulls;

	if (nkeys == 0)
		return psprintf("(%s)", post);
	if (knull == NULL)
		return psprintf("(SELECT %s FROM %s k JOIN (%s) p ON %s)", cols, keys, post, plain_keys(op, nkeys));
	nulls = pgt_rows_of_nulls(cxt, keys, knull, cols, psprintf("(%s) p ON (%s) AND %s", post, null_keys(op, nkeys, "p"), array_keys(op, nkeys)));
	return psprintf("(SELECT %s FROM %s k JOIN (%s) p ON %s UNION ALL SELECT %s FROM %s p)", cols, keys, post, plain_keys(op, nkeys), cols, nulls);
}

PgtFrom
pgt_delta_agg(PgtDeltaCtx *cxt, const PgtOp *op)
{
	PgtOp *child = pgt_op_child(op, 1);
	char *d = pgt_delta_netted(cxt, child);
	char *keys = op->nkeys == 0 ? NULL : pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s FROM %s d", pgt_columns("d", op->nkeys, 0), d));
	char *rows;
	char *cols = pgt_columns("r", child->ncols, 0);
	char *old;
	char *both;

	rows = pgt_enr(cxt, "p", psprintf("SELECT * FROM %s p", pgt_post_of_keys(cxt, child, op->nkeys, keys)));
	old = psprintf("(SELECT %s FROM %s UNION ALL SELECT %s FROM %s r)", pgt_join2(cols, "1::pg_catalog.int8 AS w"),
				   psprintf("%s r", rows), pgt_join2(cols, "-r.w AS w"), d);
	old = psprintf("(SELECT %s FROM %s r, pg_catalog.generate_series(1, r.w) g)", cols[0] ? cols : "",
				   pgt_net(child->cols, child->ncols, old));
	both = psprintf("(SELECT n.*, 1::pg_catalog.int8 AS w FROM (%s) n UNION ALL SELECT o.*, -1::pg_catalog.int8 AS w FROM (%s) o)",
					pgt_aggregate(op, rows, NULL), pgt_aggregate(op, old, NULL));
	/* a scalar aggregate has its row before and after, so nothing more is to be said */
	return pgt_enr(cxt, "a", psprintf("SELECT * FROM %s a", pgt_net(op->cols, op->ncols, both)));
}
