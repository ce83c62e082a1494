/*
 * recursion.c - how the rows of WITH RECURSIVE change: what was derived with something that went, what is derived with something new.
 *
 * R = base + step(R), where step is linear in R.  A table holds R as it was.  For every other input of the step: V, the values of changed
 * rows; minus, the old rows with such a value; plus, the new ones; kept, the rows of the post state with other values.  All copies
 * of a value count as changed together, so that no row has to be told from its equal; columns whose values cannot be compared are no
 * part of it.
 *
 * The step is a chain of nodes (levels), the lowest of which reads R.  A join is linear in its other inputs too, so each of them has these
 * four parts.  An outer join and an APPLY are not, but what they make of one row depends on those rows of the other inputs that meet
 * it: minus and plus are what a row that meets a changed one had made and makes, kept is what all other rows make.  A derivation
 * passes the levels one after the other, so "the first that changed" is one input of one level.
 *
 * UNION ALL counts derivations.  A lost one has a last element that went; before it anything old, behind it only what was kept:
 *     lost = closure under step(kept) of (base that went + step with a minus row, from R)
 * A new one has a first new element; before it a derivation that was not lost, behind it anything of today:
 *     new  = closure under step(post) of (base that came + step with a plus row, from R - lost)
 * Both are parts of finite results, so they end; a signed closure need not, where a cycle lies beyond what was cut off.
 *
 * UNION is delete-and-rederive: D, the closure under step(kept) of the same seeds as a set, may be too much, never too little.
 * Then N is the closure under step(post) of: base that came, D's rows that are in base, step with a plus row from R \ D, and D's
 * rows that a step from R \ D yields; rows that are in R \ D end it.  The change is N - D.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "recursion.h"
#include "template.h"

/* What stands for an input of the step. */
typedef enum Role
{
	ROLE_POST,
	ROLE_KEPT,
	ROLE_OLD,
	ROLE_MINUS,
	ROLE_PLUS,
	NROLES
} Role;

/* One node of the step. */
typedef struct Level
{
	const PgtOp *op;
	int self;                /* the child that is the level below, or R */
	PgtFrom (*from)[NROLES]; /* of the other children, by ordinal - 1 */
	PgtFrom *delta;          /* NULL where nothing changed */
} Level;

typedef struct Work
{
	PgtDeltaCtx *cxt;
	const PgtOp *op;
	PgtStore *store; /* of the table */
	const PgtTarget *target;
	const PgtOp *base;
	int n; /* columns */
	const PgtCol *cols;
	Level *levels; /* from R up to the step's own node */
	int nlevels;
	PgtFrom came; /* the base's netted delta, or NULL */
} Work;

/* --- pieces --- */

static char *
same_rows(const PgtCol *cols, int n, const char *l, const char *r)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < n; i++)
		appendStringInfo(&s, "%s%s", i > 0 ? " AND " : "", pgt_same(&cols[i], psprintf("%s.c%d", l, i + 1), psprintf("%s.c%d", r, i + 1)));
	return s.len == 0 ? "true" : s.data;
}

/* The same in a form that begins with something a join can hash: only where every type has a hash. */
static char *
hashed_rows(const PgtCol *cols, int n, const char *l, const char *r)
{
	return psprintf("pg_catalog.hash_record_extended(ROW(%s), 0) = pg_catalog.hash_record_extended(ROW(%s), 0) AND %s", pgt_key_list(l, n),
					pgt_key_list(r, n), same_rows(cols, n, l, r));
}

/* The table's rows s, as columns c1..cn. */
static PgtFrom
stored(const Work *work, const char *where)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < work->n; i++)
		appendStringInfo(&s, "%ss.%s AS c%d", i > 0 ? ", " : "", work->store->names[i], i + 1);
	return psprintf("(SELECT s.* FROM (SELECT %s FROM %s s) s%s%s)", s.data, work->target->st, where == NULL ? "" : " WHERE ",
					where == NULL ? "" : where);
}

/* Children that the touching conditions of child `ordinal` name, and what theirs name. */
static Bitmapset *
named_by(const List *touches, int ordinal, Bitmapset *known)
{
	Bitmapset *vars = pull_varnos(NULL, (Node *) list_nth(touches, ordinal - 2));
	int j = 1;

	known = bms_add_member(known, ordinal);
	while ((j = bms_next_member(vars, j)) >= 0)
		if (!bms_is_member(j, known))
			known = named_by(touches, j, known);
	return known;
}

/* Is there a changed row of child `ordinal` that row a1 can see?  It is seen through rows of other children as they are. */
static char *
sees_change(const Level *level, const List *touches, int ordinal)
{
	Bitmapset *members = named_by(touches, ordinal, NULL);
	Bitmapset *seen = bms_add_member(bms_copy(members), 1);
	List *quals = NIL;
	StringInfoData from;
	int m = 1;
	ListCell *lc;

	initStringInfo(&from);
	while ((m = bms_next_member(members, m)) >= 0)
	{
		appendStringInfo(&from, "%s%s a%d", from.len > 0 ? ", " : "", m == ordinal ? level->delta[m - 1] : level->from[m - 1][ROLE_POST], m);
		foreach (lc, (List *) list_nth(touches, m - 2))
			if (bms_is_subset(pull_varnos(NULL, lfirst(lc)), seen))
				quals = lappend(quals, lfirst(lc));
	}
	return psprintf("EXISTS (SELECT 1 FROM %s WHERE %s)", from.data, quals == NIL ? "true" : pgt_quals(quals, level->op->children));
}

/* The rows of the level below that meet a changed row of another child, or those that do not. */
static PgtFrom
meeting(const Level *level, PgtFrom rows, bool meet)
{
	const PgtOp *op = level->op;
	const List *touches = op->kind == PGT_OP_APPLY ? op->touches : list_make1(op->quals);
	StringInfoData any;

	initStringInfo(&any);
	for (int i = 2; i <= list_length(op->children); i++)
		if (level->delta[i - 1] != NULL)
			appendStringInfo(&any, "%s%s", any.len > 0 ? " OR " : "", sees_change(level, touches, i));
	return psprintf("(SELECT %s FROM %s a1 WHERE %s(%s))", pgt_columns("a1", pgt_op_child(op, level->self)->ncols, 0), rows, meet ? "" : "NOT ",
					any.data);
}

/* A join's own rows; each input in its role. */
static char *
join_over(const Level *level, PgtFrom rows, const Role *roles)
{
	const PgtOp *op = level->op;
	char *quals = pgt_quals(op->quals, op->children);
	StringInfoData from;

	initStringInfo(&from);
	for (int i = 1; i <= list_length(op->children); i++)
		appendStringInfo(&from, "%s%s a%d", i > 1 ? ", " : "", i == level->self ? rows : level->from[i - 1][roles[i - 1]], i);
	return psprintf("SELECT %s FROM %s%s%s", pgt_targets(op->targets, op->children), from.data, quals == NULL ? "" : " WHERE ",
					quals == NULL ? "" : quals);
}

/* What an outer join or an APPLY makes of the rows, which are few. */
static char *
row_by_row(const Work *work, const Level *level, PgtFrom rows, bool old)
{
	PgtOp op = *level->op;
	char *touched = pgt_enr(work->cxt, "t", pgt_select_of(rows));

	if (op.kind == PGT_OP_APPLY)
		return pgt_apply_over(work->cxt, &op, touched, old);
	op.touches = list_make1(op.quals);
	return pgt_outer_over(&op, touched, pgt_rows_seen(work->cxt, &op, 2, touched, old));
}

/* The same in one statement, over the post state. */
static char *
now_over(const Level *level, PgtFrom rows)
{
	const PgtOp *op = level->op;
	char **froms = palloc(sizeof(char *) * list_length(op->children));

	froms[0] = rows;
	for (int i = 2; i <= list_length(op->children); i++)
		froms[i - 1] = level->from[i - 1][ROLE_POST];
	return op->kind == PGT_OP_APPLY ? pgt_template_sql(op, froms, false) : pgt_outer_over(op, rows, froms[1]);
}

static bool
level_changed(const Level *level)
{
	for (int i = 0; i < list_length(level->op->children); i++)
		if (level->delta[i] != NULL)
			return true;
	return false;
}

/* A level over these rows, all its inputs in one role: POST, KEPT or OLD. */
static char *
level_over(const Work *work, const Level *level, PgtFrom rows, Role role)
{
	int n = list_length(level->op->children);
	Role *roles = palloc(sizeof(Role) * n);

	if (level->op->kind != PGT_OP_SELECT)
	{
		if (role == ROLE_OLD && level_changed(level))
			return row_by_row(work, level, rows, true);
		return now_over(level, role == ROLE_KEPT && level_changed(level) ? meeting(level, rows, false) : rows);
	}
	for (int i = 0; i < n; i++)
		roles[i] = role;
	return join_over(level, rows, roles);
}

/* With at least one changed row, of input j if the level is a join: the first that changed. */
static char *
changed_over(const Work *work, const Level *level, PgtFrom rows, Role role, int j)
{
	int n = list_length(level->op->children);
	Role *roles = palloc(sizeof(Role) * n);

	if (level->op->kind != PGT_OP_SELECT)
		return row_by_row(work, level, meeting(level, rows, true), role == ROLE_MINUS);
	for (int i = 0; i < n; i++)
		roles[i] = i < j ? ROLE_KEPT : i == j           ? role
								   : role == ROLE_MINUS ? ROLE_OLD
														: ROLE_POST;
	return join_over(level, rows, roles);
}

/* The recursion's rows, as the lowest level reads them. */
static PgtFrom
self_rows(const Work *work, PgtFrom from)
{
	return psprintf("(%s)", pgt_self_rows(pgt_op_child(work->levels[0].op, work->levels[0].self), from));
}

/* The levels from `first` on over these rows, in one role. */
static char *
levels_over(const Work *work, int first, char *sql, Role role)
{
	for (int i = first; i < work->nlevels; i++)
		sql = level_over(work, &work->levels[i], psprintf("(%s)", sql), role);
	return sql;
}

/* What the step makes of these rows, as a statement. */
static char *
step_all(const Work *work, PgtFrom self, Role role)
{
	return levels_over(work, 1, level_over(work, &work->levels[0], self_rows(work, self), role), role);
}

/*
 * Steps with at least one changed row in `role`, one term for each input of which it is the first; " UNION ALL SELECT ..." each, with
 * weight w.
 */
static void
add_steps(StringInfo buf, const Work *work, PgtFrom self, Role role, int weight)
{
	PgtFrom rows = self_rows(work, self);

	for (int i = 0; i < work->nlevels; i++)
	{
		const Level *level = &work->levels[i];
		bool done = false; /* an outer join or an APPLY changes as a whole */

		for (int j = 0; j < list_length(level->op->children) && !done; j++)
		{
			char *sql;

			if (level->delta[j] == NULL)
				continue;
			sql = levels_over(work, i + 1, changed_over(work, level, rows, role, j), role == ROLE_MINUS ? ROLE_OLD : ROLE_POST);
			appendStringInfo(buf, " UNION ALL SELECT %s FROM (%s) q",
							 pgt_join2(pgt_columns("q", work->n, 0), psprintf("(%d)::pg_catalog.int8 AS w", weight)), sql);
			done = level->op->kind != PGT_OP_SELECT;
		}
		rows = psprintf("(%s)", level_over(work, level, rows, ROLE_KEPT));
	}
}

/* Rows of the base that came or went: " UNION ALL SELECT ..." */
static void
add_base(StringInfo buf, const Work *work, bool came)
{
	if (work->came != NULL)
		appendStringInfo(buf, " UNION ALL SELECT %s FROM %s b WHERE b.w %s 0",
						 pgt_join2(pgt_columns("b", work->n, 0), came ? "b.w AS w" : "-b.w AS w"), work->came, came ? ">" : "<");
}

/* A statement of c1..cn, w out of such pieces; none: no rows. */
static char *
union_of(const Work *work, StringInfo pieces)
{
	StringInfoData s;

	if (pieces->len > 0)
		return pieces->data + strlen(" UNION ALL ");
	initStringInfo(&s);
	for (int i = 0; i < work->n; i++)
		appendStringInfo(&s, "NULL::%s AS c%d, ", pgt_type_name(work->cols[i].type, work->cols[i].typmod), i + 1);
	return psprintf("SELECT %s 0::pg_catalog.int8 AS w WHERE false", s.data);
}

/* Rows of weight w, w times. */
static char *
expanded(const Work *work, char *weighted)
{
	return psprintf("SELECT %s FROM (%s) x, pg_catalog.generate_series(1, x.w)", pgt_columns("x", work->n, 0), weighted);
}

/* The seeds and everything that follows from them, rows for which `ends` (over alias q) holds left out. */
static char *
closure(const Work *work, const char *seeds, Role role, const char *ends)
{
	char *filter = ends == NULL ? "" : psprintf(" WHERE %s", ends);
	char *cols = pgt_recursive_columns(work->op, "q");

	return psprintf("WITH RECURSIVE r AS (SELECT %s FROM (%s) q%s UNION %sSELECT %s FROM (%s) q%s) SELECT %s FROM r", cols, seeds, filter,
					work->op->distinct ? "" : "ALL ", cols, step_all(work, "r", role), filter, pgt_columns("r", work->n, 0));
}

/* --- inputs of the step --- */

/* The columns that tell changed rows from others. */
static List *
comparable_columns(const PgtOp *input)
{
	List *columns = NIL;

	for (int c = 1; c <= input->ncols; c++)
		if (pgt_type_has_eq(input->cols[c - 1].type))
			columns = lappend_int(columns, c);
	return columns;
}

static PgtFrom
old_copies(const Work *work, const PgtOp *input, PgtFrom plus, PgtFrom delta)
{
	char *cols = pgt_columns("u", input->ncols, 0);
	PgtFrom both = psprintf("(SELECT %s FROM %s u UNION ALL SELECT %s FROM %s u)", pgt_join2(cols, "1::pg_catalog.int8 AS w"), plus,
							pgt_join2(cols, "-u.w AS w"), delta);

	return pgt_enr(work->cxt, "minus", psprintf("SELECT %s FROM %s u, pg_catalog.generate_series(1, u.w)", cols, pgt_net(input->cols, input->ncols, both)));
}

/* The changed values, and the rows of the post state p that have others. */
static PgtFrom
kept_rows(const Work *work, const PgtOp *input, List *columns, PgtFrom delta, char **values)
{
	char *cols = pgt_columns("p", input->ncols, 0);
	StringInfoData list;
	StringInfoData same;
	ListCell *lc;

	if (columns == NIL)
		return psprintf("(SELECT %s FROM (%s) p WHERE false)", cols, pgt_post(input));
	initStringInfo(&list);
	initStringInfo(&same);
	foreach (lc, columns)
	{
		int c = lfirst_int(lc);
		int v = foreach_current_index(lc) + 1;

		appendStringInfo(&list, "%sd.c%d AS c%d", v > 1 ? ", " : "", c, v);
		appendStringInfo(&same, "%s%s", v > 1 ? " AND " : "", pgt_same(&input->cols[c - 1], psprintf("p.c%d", c), psprintf("v.c%d", v)));
	}
	*values = pgt_enr(work->cxt, "v", psprintf("SELECT DISTINCT %s FROM %s d", list.data, delta));
	return psprintf("(SELECT %s FROM (%s) p WHERE NOT EXISTS (SELECT 1 FROM %s v WHERE %s))", cols, pgt_post(input), *values, same.data);
}

static void
roles_of_input(Work *work, Level *level, int i)
{
	PgtOp *input = pgt_op_child(level->op, i + 1);
	PgtFrom *from = level->from[i];
	PgtFrom delta;
	List *columns;
	char *values = NULL;

	from[ROLE_POST] = from[ROLE_KEPT] = from[ROLE_OLD] = psprintf("(%s)", pgt_post(input));
	if (!pgt_op_changed(input, work->cxt->changed))
		return;
	delta = level->delta[i] = pgt_delta_netted(work->cxt, input);
	if (level->op->kind != PGT_OP_SELECT)
		return;
	columns = comparable_columns(input);
	from[ROLE_KEPT] = kept_rows(work, input, columns, delta, &values);
	from[ROLE_PLUS] = pgt_enr(work->cxt, "plus", pgt_select_of(pgt_rows_of(work->cxt, input, columns, values)));
	from[ROLE_MINUS] = old_copies(work, input, from[ROLE_PLUS], delta);
	from[ROLE_OLD] = psprintf("(SELECT * FROM %s k UNION ALL SELECT * FROM %s m)", from[ROLE_KEPT], from[ROLE_MINUS]);
}

/* --- the two rules --- */

/* The netted change as a statement. */
static char *
change(Work *work, const char *came, const char *went)
{
	char *cols = pgt_columns("x", work->n, 0);

	return pgt_select_of(pgt_net(work->cols, work->n,
								 psprintf("(SELECT %s FROM %s x UNION ALL SELECT %s FROM %s x)", pgt_join2(cols, "1::pg_catalog.int8 AS w"), came,
										  pgt_join2(cols, "(-1)::pg_catalog.int8 AS w"), went)));
}

static char *
counted(Work *work)
{
	StringInfoData went;
	StringInfoData came;
	char *lost;
	char *seeds;
	char *fresh;

	initStringInfo(&went);
	initStringInfo(&came);
	add_base(&went, work, false);
	add_steps(&went, work, stored(work, NULL), ROLE_MINUS, 1);
	seeds = pgt_enr(work->cxt, "gone", expanded(work, union_of(work, &went)));
	lost = pgt_enr(work->cxt, "lost", closure(work, psprintf("SELECT * FROM %s g", seeds), ROLE_KEPT, NULL));
	add_base(&came, work, true);
	add_steps(&came, work, stored(work, NULL), ROLE_PLUS, 1);
	add_steps(&came, work, lost, ROLE_PLUS, -1);
	seeds = pgt_enr(work->cxt, "came", expanded(work, pgt_select_of(pgt_net(work->cols, work->n, psprintf("(%s)", union_of(work, &came))))));
	fresh = pgt_enr(work->cxt, "fresh", closure(work, psprintf("SELECT * FROM %s g", seeds), ROLE_POST, NULL));
	return change(work, fresh, lost);
}

/* Row q is stored and not in D. */
static char *
survives(const Work *work, const char *lost)
{
	StringInfoData same;

	initStringInfo(&same);
	for (int i = 0; i < work->n; i++)
		appendStringInfo(&same, " AND %s", pgt_same(&work->cols[i], psprintf("s.%s", work->store->names[i]), psprintf("q.c%d", i + 1)));
	return psprintf("EXISTS (SELECT 1 FROM %s s WHERE %s%s AND NOT EXISTS (SELECT 1 FROM %s x WHERE %s))", work->target->st,
					pgt_store_hash(work->store, false, "s.", "q"), same.data, lost, hashed_rows(work->cols, work->n, "q", "x"));
}

static char *
rederived(Work *work)
{
	StringInfoData went;
	StringInfoData came;
	List *all = NIL;
	PgtFrom rest;
	char *lost;
	char *seeds;
	char *fresh;

	initStringInfo(&went);
	initStringInfo(&came);
	for (int c = 1; c <= work->n; c++)
		all = lappend_int(all, c);
	add_base(&went, work, false);
	add_steps(&went, work, stored(work, NULL), ROLE_MINUS, 1);
	seeds = pgt_enr(work->cxt, "gone", union_of(work, &went));
	lost = pgt_enr(work->cxt, "lost", closure(work, psprintf("SELECT * FROM %s g", seeds), ROLE_KEPT, NULL));
	rest = stored(work, psprintf("NOT EXISTS (SELECT 1 FROM %s x WHERE %s)", lost, hashed_rows(work->cols, work->n, "s", "x")));
	add_base(&came, work, true);
	appendStringInfo(&came, " UNION ALL SELECT %s FROM %s b", pgt_join2(pgt_columns("b", work->n, 0), "1::pg_catalog.int8 AS w"),
					 pgt_rows_of(work->cxt, work->base, all, lost));
	add_steps(&came, work, rest, ROLE_PLUS, 1);
	appendStringInfo(&came, " UNION ALL SELECT %s FROM (%s) q, %s x WHERE %s", pgt_join2(pgt_columns("q", work->n, 0), "1::pg_catalog.int8 AS w"),
					 step_all(work, rest, ROLE_POST), lost, same_rows(work->cols, work->n, "q", "x"));
	seeds = pgt_enr(work->cxt, "came", psprintf("SELECT DISTINCT %s FROM (%s) x", pgt_columns("x", work->n, 0), union_of(work, &came)));
	fresh = pgt_enr(work->cxt, "fresh", closure(work, psprintf("SELECT * FROM %s g", seeds), ROLE_POST, psprintf("NOT %s", survives(work, lost))));
	return change(work, fresh, lost);
}

/* --- surface --- */

/* The node and those below it down to R; `above`: how many are above it. */
static void
add_levels(Work *work, const PgtOp *node, int above)
{
	int inputs = list_length(node->children);
	int self = pgt_op_self(node);
	Level *level;

	if (pgt_op_is_self(pgt_op_child(node, self)))
		work->levels = palloc(sizeof(Level) * (above + 1));
	else
		add_levels(work, pgt_op_child(node, self), above + 1);
	level = &work->levels[work->nlevels++];
	*level = (Level){node, self, palloc0(sizeof(*level->from) * inputs), palloc0(sizeof(PgtFrom) * inputs)};
	for (int i = 0; i < inputs; i++)
		if (i + 1 != self)
			roles_of_input(work, level, i);
}

char *
pgt_recursion_delta(PgtDeltaCtx *cxt, const PgtOp *op, PgtStore *store, const PgtTarget *target)
{
	Work work = {cxt, op, store, target, pgt_op_child(op, 1), op->ncols, op->cols};

	add_levels(&work, pgt_op_child(op, 2), 0);
	if (pgt_op_changed(work.base, cxt->changed))
		work.came = pgt_delta_netted(cxt, work.base);
	return op->distinct ? rederived(&work) : counted(&work);
}

/* The recursion's column that a level's column of the rows below it is; 0: none. */
static int
self_column(const PgtOp *op, int col)
{
	Var *v = NULL;

	if (pgt_op_is_self(op))
		return list_nth_int(op->attnums, col - 1);
	if (op->kind == PGT_OP_OUTER)
		return col <= pgt_op_child(op, 1)->ncols ? self_column(pgt_op_child(op, 1), col) : 0;
	if (op->kind == PGT_OP_SELECT)
		v = list_nth(op->targets, col - 1);
	else if (op->kind == PGT_OP_APPLY)
		v = (Var *) list_nth_node(TargetEntry, op->query->targetList, col - 1)->expr;
	return v != NULL && IsA(v, Var) && v->varlevelsup == 0 && (int) v->varno == pgt_op_self(op) ? self_column(pgt_op_child(op, v->varno), v->varattno) : 0;
}

/* Columns of the recursion in equalities. */
static List *
compared_columns(const PgtOp *op, List *quals, List *columns)
{
	int self = pgt_op_self(op);
	ListCell *lc;

	foreach (lc, quals)
	{
		OpExpr *e = lfirst(lc);
		ListCell *la;

		if (!IsA(e, OpExpr) || list_length(e->args) != 2 || !op_mergejoinable(e->opno, exprType(linitial(e->args))))
			continue;
		foreach (la, e->args)
		{
			Var *v = lfirst(la);
			int col = IsA(v, Var) && v->varlevelsup == 0 && (int) v->varno == self ? self_column(pgt_op_child(op, self), v->varattno) : 0;

			if (col > 0)
				columns = list_append_unique_int(columns, col);
		}
	}
	return columns;
}

List *
pgt_recursion_lookups(const PgtOp *op)
{
	List *columns = NIL;
	ListCell *lc;

	for (op = pgt_op_child(op, 2); !pgt_op_is_self(op); op = pgt_op_child(op, pgt_op_self(op)))
	{
		columns = compared_columns(op, op->quals, columns);
		foreach (lc, op->touches)
			columns = compared_columns(op, lfirst(lc), columns);
	}
	return columns;
}

char *
pgt_recursion_index(const PgtStore *store, int column)
{
	bool fits = get_typlen(getBaseType(store->cols[column - 1].type)) > 0; /* else a value may be too long for a btree */
	StringInfoData s;

	initStringInfo(&s);
	for (const char *p = store->names[column - 1]; *p; p++)
	{
		if (*p == '%')
			appendStringInfoChar(&s, '%');
		appendStringInfoChar(&s, *p);
	}
	return psprintf("CREATE INDEX ON %%s %s(%s)", fits ? "" : "USING hash ", s.data);
}
