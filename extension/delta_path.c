/*
 * delta_path.c - which rows of an APPLY's first child a changed row of another child reaches, and which rows touched rows see.
 *
 * Both are joins under the touching conditions (touches.c).  Where these compare a child with the first one, it is one join.  Where
 * they lead through other children, as far as equalities lead (a join on anything else would cost more than it saves), the rows on
 * the way are joined first, and what of them the last condition names stands for them: a child made here, of distinct rows where that
 * leaves every image.  Touched rows are looked for from the changed rows through post states.  Rows that touched rows see are looked
 * for from the touched rows, through what these see now and what they saw.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "delta.h"
#include "template.h"

/* --- conditions --- */

/* What touching conditions say of these children and no other. */
static List *
quals_within(const PgtOp *op, Bitmapset *members)
{
	List *out = NIL;
	int m = 1;
	ListCell *lc;

	while ((m = bms_next_member(members, m)) >= 0)
		foreach (lc, (List *) list_nth(op->touches, m - 2))
			if (bms_is_subset(pull_varnos(NULL, lfirst(lc)), members))
				out = lappend(out, lfirst(lc));
	return out;
}

/* Those of them that mention `to`. */
static List *
quals_with(const PgtOp *op, Bitmapset *members, int to)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, quals_within(op, bms_add_member(bms_copy(members), to)))
		if (bms_is_member(to, pull_varnos(NULL, lfirst(lc))))
			out = lappend(out, lfirst(lc));
	return out;
}

/* Members of `wanted` that equalities lead to from `start`, and what equalities lead to from there. */
static Bitmapset *
reach(const PgtOp *op, int start, Bitmapset *wanted)
{
	Bitmapset *out = bms_make_singleton(start);
	bool grew = true;

	while (grew)
	{
		int j = -1;

		grew = false;
		while ((j = bms_next_member(wanted, j)) >= 0)
			if (!bms_is_member(j, out) && pgt_any_binds(quals_with(op, out, j), j, out))
			{
				out = bms_add_member(out, j);
				grew = true;
			}
	}
	return out;
}

/* Children that the touching conditions of child `ordinal` rely on, themselves or by others. */
static Bitmapset *
relied_on(const PgtOp *op, int ordinal)
{
	Bitmapset *vars = pull_varnos(NULL, (Node *) list_nth(op->touches, ordinal - 2));
	Bitmapset *out = bms_copy(vars);
	int j = 1;

	while ((j = bms_next_member(vars, j)) >= 0)
		if (j != ordinal)
			out = bms_join(out, relied_on(op, j));
	return bms_del_member(bms_del_member(out, 1), ordinal);
}

/* --- joins --- */

/* The node's children joined under what is said of child `ordinal` and the first one. */
static PgtOp
direct_join(const PgtOp *op, int ordinal)
{
	PgtOp join = {PGT_OP_SELECT};

	join.children = op->children;
	join.quals = quals_within(op, bms_add_member(bms_make_singleton(ordinal), 1));
	return join;
}

/* NOT IN, or IN where NULL is not false: the equality whose being NULL matters too, of something of `of` with something of `by`. */
static bool
binds_or_null(Node *qual, int of, int by, Node **column, Node **key)
{
	BooleanTest *test = (BooleanTest *) qual;
	Oid opno;

	if (!IsA(test, BooleanTest) || test->booltesttype != IS_NOT_FALSE)
		return false;
	opno = pgt_binds((Node *) test->arg, of, bms_make_singleton(by), column, key);
	return OidIsValid(opno) && op_strict(opno);
}

static bool
any_binds_or_null(List *quals, int of, int by)
{
	Node *column;
	Node *key;
	ListCell *lc;

	foreach (lc, quals)
		if (binds_or_null(lfirst(lc), of, by, &column, &key))
			return true;
	return false;
}

/*
 * As meeting() below, where only an equality that may be NULL binds both: rows of the same key, those whose own is NULL, and, should a row of
 * `rows` have none, all others too.  The last two are steps of their own, so that they are not looked for without need.
 */
static PgtFrom
meeting_or_null(PgtDeltaCtx *cxt, const PgtOp *join, int of, int by, PgtFrom rows)
{
	char *cols = pgt_columns(psprintf("a%d", of), pgt_op_child(join, of)->ncols, 0);
	char *post = pgt_post_near(cxt, join, of, by, rows);
	Node *column = NULL;
	Node *key = NULL;
	char *unknown;
	char *keys;
	char *null;
	char *usable;
	char *without;
	char *others;
	Oid opno;
	ListCell *lc;

	foreach (lc, join->quals)
		if (binds_or_null(lfirst(lc), of, by, &column, &key))
			break;
	unknown = pgt_is_null(exprType(column), psprintf("(%s)", pgt_expr(column, join->children)));
	keys = pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s AS c1 FROM %s a%d", pgt_expr(key, join->children), rows, by));
	null = pgt_enr_of(cxt, "k", psprintf("SELECT k.c1 FROM %s k WHERE %s", keys, pgt_is_null(exprType(key), "k.c1")), list_make1(keys));
	usable = pgt_enr_of(cxt, "k", psprintf("SELECT k.c1 FROM %s k WHERE (SELECT pg_catalog.count(*) FROM %s n) = 0", keys, null), list_make1(keys));
	without = pgt_enr_of(cxt, "p", psprintf("SELECT %s FROM (%s) a%d WHERE %s", cols, post, of, unknown), list_make1(keys));
	/* another child may need the same rows: so it is asked below whether these are wanted here */
	others = pgt_enr_of(cxt, "p", psprintf("SELECT %s FROM (%s) a%d WHERE NOT %s", cols, post, of, unknown), list_make1(null));
	opno = pgt_binds((Node *) ((BooleanTest *) lfirst(lc))->arg, of, bms_make_singleton(by), &column, &key);
	post = psprintf("SELECT %s FROM %s k JOIN (%s) a%d ON (%s) %s k.c1 UNION ALL SELECT * FROM %s p UNION ALL "
					"SELECT * FROM %s p WHERE (SELECT pg_catalog.count(*) FROM %s n) > 0",
					cols, usable, post, of, pgt_expr(column, join->children), pgt_operator_name(opno), without, others, null);
	if (list_length(join->quals) == 1)
		return psprintf("(%s)", post);
	return psprintf("(SELECT %s FROM (%s OFFSET 0) a%d WHERE EXISTS (SELECT 1 FROM %s a%d WHERE %s))", cols, post, of, rows, by,
					pgt_quals(join->quals, join->children));
}

/*
 * Post rows of child `of` of a join that meet a row of `rows`, which is of its child `by`.  Where conjuncts bind expressions of both by
 * equality, the distinct keys come first, so that the planner starts from them; the rest of the conditions is tested behind a
 * fence.
 */
static PgtFrom
meeting(PgtDeltaCtx *cxt, const PgtOp *join, int of, int by, PgtFrom rows)
{
	char *alias = psprintf("a%d", of);
	char *post = pgt_post_near(cxt, join, of, by, rows);
	char *cols = pgt_columns(alias, pgt_op_child(join, of)->ncols, 0);
	char *condition = join->quals == NIL ? "true" : pgt_quals(join->quals, join->children);
	StringInfoData keys;
	StringInfoData on;
	StringInfoData known;
	ListCell *lc;
	int n = 0;

	initStringInfo(&keys);
	initStringInfo(&on);
	initStringInfo(&known);
	foreach (lc, join->quals)
	{
		Node *column;
		Node *key;
		char *text;
		Oid opno = pgt_binds(lfirst(lc), of, bms_make_singleton(by), &column, &key);

		if (!OidIsValid(opno))
			continue;
		text = pgt_expr(key, join->children);
		appendStringInfo(&keys, "%s%s AS c%d", n > 0 ? ", " : "", text, n + 1);
		appendStringInfo(&known, "%s(%s) IS NOT NULL", n > 0 ? " AND " : "", text);
		appendStringInfo(&on, "%s(%s) %s k.c%d", n > 0 ? " AND " : "", pgt_expr(column, join->children), pgt_operator_name(opno), n + 1);
		n++;
	}
	if (n == 0 && any_binds_or_null(join->quals, of, by))
		return meeting_or_null(cxt, join, of, by, rows);
	if (n == 0)
		return psprintf("(SELECT %s FROM (%s) %s WHERE EXISTS (SELECT 1 FROM %s a%d WHERE %s))", cols, post, alias, rows, by, condition);
	post = psprintf("SELECT %s FROM %s k JOIN (%s) %s ON %s", cols,
					pgt_enr(cxt, "k", psprintf("SELECT DISTINCT %s FROM %s a%d WHERE %s", keys.data, rows, by, known.data)), post, alias,
					on.data);
	if (n == list_length(join->quals))
		return psprintf("(%s)", post);
	return psprintf("(SELECT %s FROM (%s OFFSET 0) %s WHERE EXISTS (SELECT 1 FROM %s a%d WHERE %s))", cols, post, alias, rows, by, condition);
}

typedef struct StandInContext
{
	const PgtOp *op;
	Bitmapset *members;
	List *vars; /* of the members, distinct, in the order found */
} StandInContext;

/* Vars of members become those of the child behind all others. */
static Node *
stand_in_mutator(Node *node, StandInContext *cxt)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && bms_is_member(((Var *) node)->varno, cxt->members))
	{
		Var *v = copyObject((Var *) node);
		int pos = 0;
		ListCell *lc;

		foreach (lc, cxt->vars)
			if (lfirst_node(Var, lc)->varno == v->varno && lfirst_node(Var, lc)->varattno == v->varattno)
				pos = foreach_current_index(lc) + 1;
		if (pos == 0)
		{
			cxt->vars = lappend(cxt->vars, node);
			pos = list_length(cxt->vars);
		}
		v->varno = list_length(cxt->op->children) + 1;
		v->varattno = pos;
		return (Node *) v;
	}
	return expression_tree_mutator(node, stand_in_mutator, cxt);
}

/* Does DISTINCT leave every image? */
static bool
is_image_safe(const PgtOp *op)
{
	for (int i = 0; i < op->ncols; i++)
		if (!pgt_type_has_eq(op->cols[i].type) || !pgt_col_image_safe(&op->cols[i]))
			return false;
	return true;
}

/* Post rows of child `to` that meet rows of the members, of which froms[ordinal - 1] is the FROM item, joined among each other. */
static PgtFrom
meeting_joined(PgtDeltaCtx *cxt, const PgtOp *op, int to, Bitmapset *members, PgtFrom *froms)
{
	StandInContext stand_in = {op, members, NIL};
	PgtOp join = {PGT_OP_SELECT};
	List *inside = quals_within(op, members);
	StringInfoData from;
	PgtOp *child;
	char *sql;
	int m = -1;
	ListCell *lc;

	join.quals = (List *) stand_in_mutator((Node *) quals_with(op, members, to), &stand_in);
	child = pgt_op_make(PGT_OP_SELECT, 0, list_length(stand_in.vars));
	foreach (lc, stand_in.vars)
	{
		Var *v = lfirst(lc);

		child->cols[foreach_current_index(lc)] = pgt_op_child(op, v->varno)->cols[v->varattno - 1];
	}
	join.children = lappend(list_copy(op->children), child);
	initStringInfo(&from);
	while ((m = bms_next_member(members, m)) >= 0)
		appendStringInfo(&from, "%s%s a%d", from.len > 0 ? ", " : "", froms[m - 1], m);
	sql = psprintf("SELECT %s%s FROM %s%s%s", is_image_safe(child) ? "DISTINCT " : "", pgt_targets(stand_in.vars, op->children), from.data,
				   inside == NIL ? "" : " WHERE ", inside == NIL ? "" : pgt_quals(inside, op->children));
	return meeting(cxt, &join, to, list_length(join.children), pgt_enr(cxt, "k", sql));
}

/* --- what delta_apply.c asks for --- */

/* Post rows of the first child that a row of `delta`, which is of child `ordinal`, can touch. */
PgtFrom
pgt_touched_by(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom delta)
{
	Bitmapset *members = reach(op, ordinal, relied_on(op, ordinal));
	PgtFrom *froms = palloc0(sizeof(PgtFrom) * list_length(op->children));
	PgtOp join = direct_join(op, ordinal);
	int m = 1;

	if (bms_num_members(members) == 1 || !pgt_any_binds(quals_with(op, members, 1), 1, members))
		return meeting(cxt, &join, 1, ordinal, delta);
	join.quals = quals_within(op, members);
	while ((m = bms_next_member(members, m)) >= 0)
		froms[m - 1] = m == ordinal ? delta : psprintf("(%s)", pgt_post_near(cxt, &join, m, ordinal, delta));
	return meeting_joined(cxt, op, 1, members, froms);
}

/* The children from whose rows those of child `ordinal` are found that touched rows see; the first: from these themselves. */
Bitmapset *
pgt_near_by(const PgtOp *op, int ordinal)
{
	List *quals = list_nth(op->touches, ordinal - 2);
	Bitmapset *all = NULL;
	Bitmapset *some;
	Node *column;
	Node *key;
	ListCell *lc;

	foreach (lc, quals)
		if (bms_is_member(ordinal, pull_varnos(NULL, lfirst(lc))))
			all = bms_join(all, pull_varnos(NULL, lfirst(lc)));
	all = bms_del_member(all, ordinal);
	if (!pgt_any_binds(quals, ordinal, all))
		return bms_make_singleton(1);
	if (bms_equal(reach(op, bms_next_member(all, -1), all), all))
		return all;
	foreach (lc, quals)
		if (OidIsValid(pgt_binds(lfirst(lc), ordinal, all, &column, &key)))
		{
			some = pull_varnos(NULL, key);
			if (bms_equal(reach(op, bms_next_member(some, -1), some), some))
				return some;
		}
	return bms_make_singleton(1);
}

/*
 * Would the template, run for changed rows of the first child over this child as it is, read it whole although its rows can be
 * found?  An aggregated child that is not found by the first one's columns; rows that an inner subquery leads to; NOT IN.
 */
bool
pgt_wants_bag(const PgtOp *op, int ordinal)
{
	Bitmapset *by = pgt_near_by(op, ordinal);
	PgtOp join = direct_join(op, ordinal);

	if (!bms_equal(by, bms_make_singleton(1)))
		return pgt_has_agg(pgt_op_child(op, ordinal)) || bms_next_member(by, ordinal) > 0;
	return !pgt_any_binds(join.quals, ordinal, by) && any_binds_or_null(join.quals, ordinal, 1);
}

/* Post rows of child `ordinal` that touched rows see; froms: the rows of those it is near by. */
PgtFrom
pgt_rows_near(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom *froms)
{
	Bitmapset *by = pgt_near_by(op, ordinal);
	PgtOp join = direct_join(op, ordinal);

	if (bms_equal(by, bms_make_singleton(1)))
		return meeting(cxt, &join, ordinal, 1, froms[0]);
	return meeting_joined(cxt, op, ordinal, by, froms);
}
