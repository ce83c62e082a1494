/*
 * recursion.c - how the rows of WITH RECURSIVE change: what was derived with something that went, what is derived with something new.
 *
 * R = base + step(R), where step is linear in R.  A table holds R as it was.  For every other input of the step: V, the values of changed
 * rows; minus, the old rows with such a value; plus, the new ones; kept, the rows of the post state with other values.  All copies
 * of a value count as changed together, so that no row has to be told from its equal; columns whose values cannot be compared are no
 * part of it.
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

typedef struct Work
{
	PgtDeltaCtx *cxt;
	const PgtOp *op;
	PgtStore *store; /* of the table */
	const PgtTarget *target;
	const PgtOp *base;
	const PgtOp *step;
	int self;
	int n; /* columns */
	const PgtCol *cols;
	PgtFrom (*from)[NROLES]; /* by ordinal of the step's inputs - 1 */
	bool *changed;
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

/* SELECT of the step's targets with these rows as the recursion's and the inputs in these roles. */
static char *
step_over(const Work *work, PgtFrom self, const Role *roles)
{
	const PgtOp *step = work->step;
	char *quals = pgt_quals(step->quals, step->children);
	StringInfoData from;

	initStringInfo(&from);
	for (int i = 0; i < list_length(step->children); i++)
		appendStringInfo(&from, "%s%s a%d", i > 0 ? ", " : "",
						 i + 1 == work->self ? psprintf("(%s)", pgt_self_rows(pgt_op_child(step, i + 1), self)) : work->from[i][roles[i]], i + 1);
	return psprintf("SELECT %s FROM %s%s%s", pgt_targets(step->targets, step->children), from.data, quals == NULL ? "" : " WHERE ",
					quals == NULL ? "" : quals);
}

/* All inputs in one role. */
static char *
step_all(const Work *work, PgtFrom self, Role role)
{
	Role *roles = palloc(sizeof(Role) * list_length(work->step->children));

	for (int i = 0; i < list_length(work->step->children); i++)
		roles[i] = role;
	return step_over(work, self, roles);
}

/*
 * Steps with at least one changed row in `role`, one term for each table of which it is the first; " UNION ALL SELECT ..." each, with
 * weight w.
 */
static void
add_steps(StringInfo buf, const Work *work, PgtFrom self, Role role, int weight)
{
	int n = list_length(work->step->children);
	Role *roles = palloc(sizeof(Role) * n);

	for (int j = 0; j < n; j++)
	{
		if (!work->changed[j])
			continue;
		for (int i = 0; i < n; i++)
			roles[i] = i < j ? ROLE_KEPT : i == j           ? role
									   : role == ROLE_MINUS ? ROLE_OLD
															: ROLE_POST;
		appendStringInfo(buf, " UNION ALL SELECT %s FROM (%s) q",
						 pgt_join2(pgt_columns("q", work->n, 0), psprintf("(%d)::pg_catalog.int8 AS w", weight)), step_over(work, self, roles));
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
roles_of_input(Work *work, int i)
{
	PgtOp *input = pgt_op_child(work->step, i + 1);
	PgtFrom *from = work->from[i];
	PgtFrom delta;
	List *columns;
	char *values = NULL;

	from[ROLE_POST] = from[ROLE_KEPT] = from[ROLE_OLD] = psprintf("(%s)", pgt_post(input));
	if (!pgt_op_changed(input, work->cxt->changed))
		return;
	work->changed[i] = true;
	delta = pgt_delta_netted(work->cxt, input);
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

char *
pgt_recursion_delta(PgtDeltaCtx *cxt, const PgtOp *op, PgtStore *store, const PgtTarget *target)
{
	Work work = {cxt, op, store, target, pgt_op_child(op, 1), pgt_op_child(op, 2), pgt_op_self(op), op->ncols, op->cols};
	int inputs = list_length(work.step->children);

	work.from = palloc0(sizeof(*work.from) * inputs);
	work.changed = palloc0(sizeof(bool) * inputs);
	for (int i = 0; i < inputs; i++)
		if (i + 1 != work.self)
			roles_of_input(&work, i);
	if (pgt_op_changed(work.base, cxt->changed))
		work.came = pgt_delta_netted(cxt, work.base);
	return op->distinct ? rederived(&work) : counted(&work);
}

List *
pgt_recursion_lookups(const PgtOp *op)
{
	const PgtOp *step = pgt_op_child(op, 2);
	int self = pgt_op_self(op);
	List *columns = NIL;
	ListCell *lc;

	foreach (lc, step->quals)
	{
		OpExpr *e = lfirst(lc);
		ListCell *la;

		if (!IsA(e, OpExpr) || list_length(e->args) != 2 || !op_mergejoinable(e->opno, exprType(linitial(e->args))))
			continue;
		foreach (la, e->args)
		{
			Var *v = lfirst(la);

			if (IsA(v, Var) && (int) v->varno == self)
				columns = list_append_unique_int(columns, list_nth_int(pgt_op_child(step, self)->attnums, v->varattno - 1));
		}
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
