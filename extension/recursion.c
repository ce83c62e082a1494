/*
 * recursion.c - how the rows of WITH RECURSIVE change: what was derived with something that went, what is derived with something new.
 *
 * R = base + step(R), where step is linear in R.  The ST holds R as it was.  For every table of the step: V, the values of changed
 * rows; minus, the old rows with such a value; plus, the new ones; kept, the rows of the post state with other values.  All copies
 * of a value count as changed together, so that no row has to be told from its equal.
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

/* What stands for a table of the step. */
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
	PgtStore *store;
	const PgtTarget *target;
	PgtDeltaCtx *cxt;
	PgtRecursion *rec;
	int n;                   /* columns of the recursion */
	PgtCol *cols;            /* theirs */
	PgtFrom (*from)[NROLES]; /* by ordinal of the step's inputs - 1 */
	bool *changed;
	PgtFrom base; /* netted delta, or NULL */
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

/* "CAST(alias.c1 AS type) AS c1, ...": both terms of a recursion must agree in every modifier. */
static char *
typed_columns(const Work *work, const char *alias)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < work->n; i++)
		appendStringInfo(&s, "%sCAST(%s.c%d AS %s) AS c%d", i > 0 ? ", " : "", alias, i + 1,
						 pgt_type_name(work->cols[i].type, work->cols[i].typmod), i + 1);
	return s.data;
}

/* The ST's rows s, as columns c1..cn. */
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
	PgtOp *step = work->rec->step;
	char *quals = pgt_quals(step->quals, step->children);
	StringInfoData from;

	initStringInfo(&from);
	for (int i = 0; i < list_length(step->children); i++)
	{
		appendStringInfoString(&from, i > 0 ? ", " : "");
		if (i + 1 == work->rec->self)
		{
			PgtOp *scan = pgt_op_child(step, i + 1);
			ListCell *lc;

			appendStringInfoString(&from, "(SELECT");
			foreach (lc, scan->attnums)
				appendStringInfo(&from, "%s r.c%d AS c%d", foreach_current_index(lc) > 0 ? "," : "", lfirst_int(lc), foreach_current_index(lc) + 1);
			appendStringInfo(&from, " FROM %s r)", self);
		}
		else
			appendStringInfoString(&from, work->from[i][roles[i]]);
		appendStringInfo(&from, " a%d", i + 1);
	}
	return psprintf("SELECT %s FROM %s%s%s", pgt_targets(step->targets, step->children), from.data, quals == NULL ? "" : " WHERE ",
					quals == NULL ? "" : quals);
}

/* All inputs in one role. */
static char *
step_all(const Work *work, PgtFrom self, Role role)
{
	Role *roles = palloc(sizeof(Role) * list_length(work->rec->step->children));

	for (int i = 0; i < list_length(work->rec->step->children); i++)
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
	int n = list_length(work->rec->step->children);
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
	if (work->base != NULL)
		appendStringInfo(buf, " UNION ALL SELECT %s FROM %s b WHERE b.w %s 0",
						 pgt_join2(pgt_columns("b", work->n, 0), came ? "b.w AS w" : "-b.w AS w"), work->base, came ? ">" : "<");
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

	return psprintf("WITH RECURSIVE r AS (SELECT %s FROM (%s) q%s UNION %sSELECT %s FROM (%s) q%s) SELECT %s FROM r",
					typed_columns(work, "q"), seeds, filter, work->rec->distinct ? "" : "ALL ", typed_columns(work, "q"),
					step_all(work, "r", role), filter, pgt_columns("r", work->n, 0));
}

/* --- tables of the step --- */

static PgtFrom
old_copies(const Work *work, const PgtOp *scan, PgtFrom plus, PgtFrom delta)
{
	char *cols = pgt_columns("u", scan->ncols, 0);
	PgtFrom both = psprintf("(SELECT %s FROM %s u UNION ALL SELECT %s FROM %s u)", pgt_join2(cols, "1::pg_catalog.int8 AS w"), plus,
							pgt_join2(cols, "-u.w AS w"), delta);

	return pgt_enr(work->cxt, "minus", psprintf("SELECT %s FROM %s u, pg_catalog.generate_series(1, u.w)", cols, pgt_net(scan->cols, scan->ncols, both)));
}

static void
roles_of_table(Work *work, int i)
{
	PgtOp *scan = pgt_op_child(work->rec->step, i + 1);
	PgtFrom *from = work->from[i];
	char *cols = pgt_columns("p", scan->ncols, 0);
	PgtFrom delta;
	List *all = NIL;
	char *values;

	from[ROLE_POST] = from[ROLE_KEPT] = from[ROLE_OLD] = psprintf("(%s)", pgt_post(scan));
	if (!pgt_op_changed(scan, work->cxt->changed))
		return;
	work->changed[i] = true;
	delta = pgt_delta_netted(work->cxt, scan);
	values = pgt_enr(work->cxt, "v", psprintf("SELECT DISTINCT %s FROM %s d", pgt_columns("d", scan->ncols, 0), delta));
	for (int c = 1; c <= scan->ncols; c++)
		all = lappend_int(all, c);
	from[ROLE_PLUS] = pgt_enr(work->cxt, "plus", pgt_select_of(pgt_rows_of(work->cxt, scan, all, values)));
	from[ROLE_MINUS] = old_copies(work, scan, from[ROLE_PLUS], delta);
	from[ROLE_KEPT] = psprintf("(SELECT %s FROM (%s) p WHERE NOT EXISTS (SELECT 1 FROM %s v WHERE %s))", cols, pgt_post(scan), values,
							   same_rows(scan->cols, scan->ncols, "p", "v"));
	from[ROLE_OLD] = psprintf("(SELECT * FROM %s k UNION ALL SELECT * FROM %s m)", from[ROLE_KEPT], from[ROLE_MINUS]);
}

/* --- the two rules --- */

/* The netted change as a statement. */
static char *
change(Work *work, const char *came, const char *went)
{
	char *cols = pgt_columns("x", work->n, 0);

	return pgt_select_of(pgt_net(work->store->cols, work->n,
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
	PgtCol *cols = palloc(sizeof(PgtCol) * work->n);
	StringInfoData same;

	memcpy(cols, work->store->cols, sizeof(PgtCol) * work->n);
	initStringInfo(&same);
	for (int i = 0; i < work->n; i++)
		appendStringInfo(&same, " AND %s", pgt_same(&cols[i], psprintf("s.%s", work->store->names[i]), psprintf("q.c%d", i + 1)));
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
					 pgt_rows_of(work->cxt, work->rec->base, all, lost));
	add_steps(&came, work, rest, ROLE_PLUS, 1);
	appendStringInfo(&came, " UNION ALL SELECT %s FROM (%s) q, %s x WHERE %s", pgt_join2(pgt_columns("q", work->n, 0), "1::pg_catalog.int8 AS w"),
					 step_all(work, rest, ROLE_POST), lost, same_rows(work->cols, work->n, "q", "x"));
	seeds = pgt_enr(work->cxt, "came", psprintf("SELECT DISTINCT %s FROM (%s) x", pgt_columns("x", work->n, 0), union_of(work, &came)));
	fresh = pgt_enr(work->cxt, "fresh", closure(work, psprintf("SELECT * FROM %s g", seeds), ROLE_POST, psprintf("NOT %s", survives(work, lost))));
	return change(work, fresh, lost);
}

/* --- surface --- */

PgtProgram *
pgt_recursion_program(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt)
{
	PgtRecursion *rec = store->recursion;
	int inputs = list_length(rec->step->children);
	Work work = {store, target, cxt, rec, rec->base->ncols};
	PgtProgram *program = palloc(sizeof(PgtProgram));
	char *delta;

	work.cols = palloc(sizeof(PgtCol) * work.n);
	for (int i = 0; i < work.n; i++)
	{
		work.cols[i] = rec->base->cols[i];
		work.cols[i].notnull &= rec->step->cols[i].notnull;
	}
	work.from = palloc0(sizeof(*work.from) * inputs);
	work.changed = palloc0(sizeof(bool) * inputs);
	for (int i = 0; i < inputs; i++)
		if (i + 1 != rec->self)
			roles_of_table(&work, i);
	if (pgt_op_changed(rec->base, cxt->changed))
		work.base = pgt_delta_netted(cxt, rec->base);
	delta = rec->distinct ? rederived(&work) : counted(&work);
	program->strategy = "bag";
	program->steps = list_concat(cxt->steps, pgt_apply_bag(store, target, delta));
	return program;
}

/* Columns of the recursion that the step compares for equality. */
List *
pgt_recursion_indexes(PgtStore *store)
{
	PgtRecursion *rec = store->recursion;
	PgtOp *self = pgt_op_child(rec->step, rec->self);
	List *columns = NIL;
	List *result = NIL;
	ListCell *lc;

	foreach (lc, rec->step->quals)
	{
		OpExpr *op = lfirst(lc);
		ListCell *la;

		if (!IsA(op, OpExpr) || list_length(op->args) != 2 || !op_mergejoinable(op->opno, exprType(linitial(op->args))))
			continue;
		foreach (la, op->args)
		{
			Var *v = lfirst(la);

			if (IsA(v, Var) && v->varno == rec->self)
				columns = list_append_unique_int(columns, list_nth_int(self->attnums, v->varattno - 1));
		}
	}
	foreach (lc, columns)
	{
		StringInfoData s;

		initStringInfo(&s);
		for (const char *p = store->names[lfirst_int(lc) - 1]; *p; p++)
		{
			if (*p == '%')
				appendStringInfoChar(&s, '%');
			appendStringInfoChar(&s, *p);
		}
		result = lappend(result, psprintf("CREATE INDEX ON %%s (%s)", s.data));
	}
	return result;
}
