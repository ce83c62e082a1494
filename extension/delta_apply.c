/*
 * delta_apply.c - subqueries, LATERAL items and functions in FROM, by looking again at the rows that a change can touch.
 *
 * Rows of the first child that a change of another child can touch are those that meet one of its changed rows under the
 * conditions the subquery has on both, or through rows of children around it (all of them, where there is none).  For these and for the first child's own changes,
 *     delta = n * (template over new bags) + (w - n) * (template over old bags)
 * where n is the number of copies of the row now, if it is touched, and w its change.  A bag is what such rows can see of a
 * child: its post rows near them, and for the old state these minus the child's delta.  Old states are never scanned.
 *
 * A subquery that the planner cannot join would read its bag from end to end for each touched row.  So that the costs do not grow with
 * the square of their number, each touched row carries the rows it can see as an array, found once for all by the keys.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "delta.h"
#include "template.h"

/* The first child and child `ordinal` joined under its touching conditions, for pgt_post_near. */
static PgtOp
touching_join(const PgtOp *op, int ordinal)
{
	PgtOp join = {PGT_OP_SELECT};

	join.children = op->children;
	join.quals = list_nth(op->touches, ordinal - 2);
	return join;
}

/* Bags of the children, as far as they are known already. */
typedef struct Bags
{
	PgtFrom *deltas;
	char **new;
	char **old;
} Bags;

static char *
old_rows(PgtDeltaCtx *cxt, const PgtOp *child, char *near, PgtFrom delta)
{
	char *cols = pgt_columns("r", child->ncols, 0);
	char *both;
	char *keys = pgt_image_keys(child->cols, child->ncols, "a1");

	both = psprintf("(SELECT %s FROM %s r UNION ALL SELECT %s FROM %s r)", pgt_join2(cols, "1::pg_catalog.int8 AS w"), near,
					pgt_join2(cols, "-r.w AS w"), delta);
	both = psprintf("(SELECT %s FROM %s a1%s%s HAVING pg_catalog.sum(a1.w) > 0)",
					pgt_join2(pgt_image_values(child->cols, child->ncols, "a1"), "pg_catalog.sum(a1.w)::pg_catalog.int8 AS w"), both,
					keys[0] ? " GROUP BY " : "", keys);
	return pgt_enr(cxt, "o", psprintf("SELECT %s FROM %s r, pg_catalog.generate_series(1, r.w) g", cols, both));
}

/*
 * A subquery that refers to nothing outside touches all rows, but where it stands alone in a condition only those for which the
 * condition changes matter: they are looked for in one scan, which is not made when the subquery's rows did not change.
 */
static PgtFrom
flipping(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, Bags *bags)
{
	int n = list_length(op->children);
	PgtOp flips;
	char **froms = palloc0(sizeof(char *) * (2 * n - 1));

	if (list_nth(op->touches, ordinal - 2) != NIL || !pgt_template_flips(op, ordinal, &flips))
		return NULL;
	bags->new[ordinal - 1] = pgt_enr(cxt, "p", psprintf("SELECT * FROM (%s) p", pgt_post(pgt_op_child(op, ordinal))));
	bags->old[ordinal - 1] =
		old_rows(cxt, pgt_op_child(op, ordinal), bags->new[ordinal - 1], bags->deltas[ordinal - 1]);
	froms[0] = psprintf("(%s)", pgt_post(pgt_op_child(op, 1)));
	froms[ordinal - 1] = bags->new[ordinal - 1];
	froms[n + ordinal - 2] = bags->old[ordinal - 1];
	return psprintf("(SELECT f.* FROM (%s) f WHERE (SELECT pg_catalog.count(*) FROM %s d) > 0)",
					pgt_template_sql(&flips, froms, false), bags->deltas[ordinal - 1]);
}

/* Rows of the first child by image, with n copies where they are touched, and their change w. */
static char *
touched_rows(PgtDeltaCtx *cxt, const PgtOp *op, Bags *bags)
{
	PgtFrom *deltas = bags->deltas;
	PgtOp *left = pgt_op_child(op, 1);
	StringInfoData q;
	char *keys = pgt_image_keys(left->cols, left->ncols, "a1");
	char *values = pgt_image_values(left->cols, left->ncols, "a1");
	char *group = keys[0] == '\0' ? " HAVING pg_catalog.count(*) > 0" : psprintf(" GROUP BY %s", keys);

	initStringInfo(&q);
	for (int i = 2; i <= list_length(op->children); i++)
	{
		PgtFrom rows;

		if (deltas[i - 1] == NULL)
			continue;
		rows = flipping(cxt, op, i, bags);
		appendStringInfo(&q, "%sSELECT %s FROM %s a1%s", q.len > 0 ? " UNION ALL " : "",
						 pgt_join2(values, "pg_catalog.count(*) AS n, NULL::pg_catalog.int8 AS w"),
						 rows != NULL ? rows : pgt_touched_by(cxt, op, i, deltas[i - 1]), group);
	}
	if (deltas[0] != NULL)
		appendStringInfo(&q, "%sSELECT %s FROM %s a1", q.len > 0 ? " UNION ALL " : "",
						 pgt_join2(pgt_columns("a1", left->ncols, 0), "NULL::pg_catalog.int8 AS n, a1.w"), deltas[0]);
	return pgt_enr(cxt, "t", psprintf("SELECT %s FROM (%s) a1%s", pgt_join2(values, "coalesce(pg_catalog.max(a1.n), 0)::pg_catalog.int8 AS n, "
																					"coalesce(pg_catalog.sum(a1.w), 0)::pg_catalog.int8 AS w"),
									  q.data, group));
}

/* What touched rows see of a child, now or before. */
static PgtFrom
both_bags(const PgtOp *op, int ordinal, Bags *bags)
{
	char *cols = pgt_columns("r", pgt_op_child(op, ordinal)->ncols, 0);

	if (bags->old[ordinal - 1] == bags->new[ordinal - 1])
		return bags->new[ordinal - 1];
	return psprintf("(SELECT %s FROM %s r UNION ALL SELECT %s FROM %s r)", cols, bags->new[ordinal - 1], cols, bags->old[ordinal - 1]);
}

/* The bags of a child; those of children that its rows are found by come first. */
static void
make_bags(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, char *touched, Bags *bags)
{
	PgtFrom *froms = palloc0(sizeof(PgtFrom) * list_length(op->children));
	Bitmapset *by = pgt_near_by(op, ordinal);
	int j = 1;

	froms[0] = touched;
	while (bags->new[ordinal - 1] == NULL && (j = bms_next_member(by, j)) >= 0)
	{
		make_bags(cxt, op, j, touched, bags);
		froms[j - 1] = both_bags(op, j, bags);
	}
	if (bags->new[ordinal - 1] == NULL)
		bags->new[ordinal - 1] = pgt_enr(cxt, "p", psprintf("SELECT * FROM %s p", pgt_rows_near(cxt, op, ordinal, froms)));
	if (bags->old[ordinal - 1] == NULL && bags->deltas[ordinal - 1] == NULL)
		bags->old[ordinal - 1] = bags->new[ordinal - 1];
	else if (bags->old[ordinal - 1] == NULL)
		bags->old[ordinal - 1] = old_rows(cxt, pgt_op_child(op, ordinal), bags->new[ordinal - 1], bags->deltas[ordinal - 1]);
}

/* Only the first child changed: each of its changed rows, once. */
static PgtFrom
linear(PgtDeltaCtx *cxt, const PgtOp *op)
{
	int n = list_length(op->children);
	char **froms = palloc(sizeof(char *) * n);

	froms[0] = pgt_delta_netted(cxt, pgt_op_child(op, 1));
	for (int i = 2; i <= n; i++)
	{
		PgtOp join = touching_join(op, i);

		froms[i - 1] = psprintf("(%s)", pgt_post_near(cxt, &join, i, 1, froms[0]));
	}
	return psprintf("(%s)", pgt_template_sql(op, froms, true));
}

/* --- rows by their keys --- */

/* A key whose rows take more bytes than this has no array; a row of that key reads the bag. */
#define MAX_ARRAY_BYTES (32 * 1024 * 1024)

static bool
fits_array(const PgtOp *child)
{
	for (int i = 0; i < child->ncols; i++)
		if (get_typtype(child->cols[i].type) == TYPTYPE_PSEUDO)
			return false;
	return child->ncols > 0;
}

/* "c1 type, c2 type COLLATE ..." */
static char *
column_definitions(const PgtOp *child)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < child->ncols; i++)
	{
		const PgtCol *col = &child->cols[i];

		appendStringInfo(&s, "%sc%d %s", i > 0 ? ", " : "", i + 1, pgt_type_name(col->type, -1));
		if (OidIsValid(col->collation))
			appendStringInfo(&s, " COLLATE %s", generate_collation_name(col->collation));
	}
	return s.data;
}

/* What the arrays of all children add to the first child's bag. */
typedef struct Carried
{
	StringInfoData columns;
	StringInfoData joins;
} Carried;

/* The keys of a child, by which a row of the first child finds its rows. */
typedef struct Keys
{
	StringInfoData named; /* "expression AS k1, ..." */
	StringInfoData list;  /* "1, ..." */
	StringInfoData known; /* none is NULL */
	StringInfoData large; /* they are those of l */
	List *operators;      /* of text: "OPERATOR(x) (expression of the first child)" */
} Keys;

static bool
keys_of(const PgtOp *op, int ordinal, Keys *keys)
{
	ListCell *lc;

	initStringInfo(&keys->named);
	initStringInfo(&keys->list);
	initStringInfo(&keys->known);
	initStringInfo(&keys->large);
	keys->operators = NIL;
	foreach (lc, (List *) list_nth(op->touches, ordinal - 2))
	{
		Node *column;
		Node *key;
		char *text;
		Oid opno = pgt_binds(lfirst(lc), ordinal, bms_make_singleton(1), &column, &key);
		int n = list_length(keys->operators);

		if (!OidIsValid(opno))
			continue;
		text = pgt_expr(column, op->children);
		appendStringInfo(&keys->named, "%s%s AS k%d", n > 0 ? ", " : "", text, n + 1);
		appendStringInfo(&keys->list, "%s%d", n > 0 ? ", " : "", n + 1);
		appendStringInfo(&keys->known, "%s(%s) IS NOT NULL", n > 0 ? " AND " : "", text);
		appendStringInfo(&keys->large, "%sl.k%d %s (%s)", n > 0 ? " AND " : "", n + 1, pgt_type_operator(exprType(column), true), text);
		keys->operators = lappend(keys->operators, psprintf("%s (%s)", pgt_operator_name(opno), pgt_expr(key, op->children)));
	}
	return keys->operators != NIL;
}

static char *
keys_match(Keys *keys, const char *alias)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, keys->operators)
		appendStringInfo(&s, "%s%s.k%d %s", s.len > 0 ? " AND " : "", alias, foreach_current_index(lc) + 1, (char *) lfirst(lc));
	return s.data;
}

/* The child's bag as its subquery sees it: the array of the row at hand. */
static PgtFrom
from_array(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom bag, Carried *carried)
{
	const PgtOp *child = pgt_op_child(op, ordinal);
	char *row = psprintf("ROW(%s)", pgt_key_list(psprintf("a%d", ordinal), child->ncols));
	Keys keys;
	char *large;

	if (!fits_array(child) || !pgt_template_by_row(op, ordinal) || !keys_of(op, ordinal, &keys))
		return bag;
	large = pgt_enr(cxt, "l", psprintf("SELECT %s FROM %s a%d WHERE %s GROUP BY %s HAVING pg_catalog.sum(pg_catalog.pg_column_size(%s)) > %d", keys.named.data, bag, ordinal, keys.known.data, keys.list.data, row, MAX_ARRAY_BYTES));
	appendStringInfo(&carried->columns, ", g%d.r AS g%d, l%d.k1 IS NOT NULL AS l%d", ordinal, ordinal, ordinal, ordinal);
	appendStringInfo(&carried->joins, " LEFT JOIN (SELECT %s, pg_catalog.array_agg(%s) AS r FROM %s a%d WHERE %s AND NOT EXISTS (SELECT 1 FROM %s l WHERE %s) GROUP BY %s) g%d ON %s LEFT JOIN %s l%d ON %s",
					 keys.named.data, row, bag, ordinal, keys.known.data, large, keys.large.data, keys.list.data, ordinal, keys_match(&keys, psprintf("g%d", ordinal)),
					 large, ordinal, keys_match(&keys, psprintf("l%d", ordinal)));
	return psprintf("(SELECT u.* FROM pg_catalog.unnest(a1.g%d) u(%s) UNION ALL SELECT %s FROM %s b WHERE a1.l%d)", ordinal,
					column_definitions(child), pgt_columns("b", child->ncols, 0), bag, ordinal);
}

/* The template over the touched rows, as often as `weight` says. */
static char *
over_touched(PgtDeltaCtx *cxt, const PgtOp *op, const char *touched, const char *weight, char **bags)
{
	int n = list_length(op->children);
	char **froms = palloc(sizeof(char *) * n);
	char *cols = pgt_columns("a1", pgt_op_child(op, 1)->ncols, 0);
	Carried carried;

	initStringInfo(&carried.columns);
	initStringInfo(&carried.joins);
	for (int i = 2; i <= n; i++)
		froms[i - 1] = from_array(cxt, op, i, bags[i - 1], &carried);
	froms[0] = psprintf("(SELECT %s%s FROM %s a1%s WHERE %s <> 0)", pgt_join2(cols, psprintf("%s AS w", weight)), carried.columns.data,
						touched, carried.joins.data, weight);
	return pgt_template_sql(op, froms, true);
}

static char **
bags_of(PgtDeltaCtx *cxt, const PgtOp *op, char *touched, bool old)
{
	int n = list_length(op->children);
	Bags bags = {palloc0(sizeof(PgtFrom) * n), palloc0(sizeof(char *) * n), palloc0(sizeof(char *) * n)};

	for (int i = 2; i <= n; i++)
		bags.deltas[i - 1] = pgt_delta_netted(cxt, pgt_op_child(op, i));
	for (int i = 2; i <= n; i++)
		make_bags(cxt, op, i, touched, &bags);
	return old ? bags.old : bags.new;
}

PgtFrom
pgt_rows_seen(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, char *touched, bool old)
{
	return bags_of(cxt, op, touched, old)[ordinal - 1];
}

char *
pgt_apply_over(PgtDeltaCtx *cxt, const PgtOp *op, char *touched, bool old)
{
	return psprintf("SELECT %s FROM (%s) q", pgt_columns("q", op->ncols, 0),
					over_touched(cxt, op, touched, "1::pg_catalog.int8", bags_of(cxt, op, touched, old)));
}

PgtFrom
pgt_delta_apply(PgtDeltaCtx *cxt, const PgtOp *op)
{
	int n = list_length(op->children);
	Bags bags = {palloc0(sizeof(PgtFrom) * n), palloc0(sizeof(char *) * n), palloc0(sizeof(char *) * n)};
	char *touched;
	bool inner = false;

	for (int i = 2; i <= n; i++)
		inner |= pgt_op_changed(pgt_op_child(op, i), cxt->changed) || pgt_wants_bag(op, i);
	if (!inner)
		return linear(cxt, op);
	for (int i = 1; i <= n; i++)
		bags.deltas[i - 1] = pgt_delta_netted(cxt, pgt_op_child(op, i));
	touched = touched_rows(cxt, op, &bags);
	for (int i = 2; i <= n; i++)
		make_bags(cxt, op, i, touched, &bags);
	return psprintf("(%s UNION ALL %s)", over_touched(cxt, op, touched, "a1.n", bags.new),
					over_touched(cxt, op, touched, "(a1.w - a1.n)", bags.old));
}
