/*
 * state.c - the states of invertible aggregates.
 *
 * Sums are exact: integers and numeric only.  A numeric sum's display scale is the largest scale among its inputs; where the
 * expression does not fix it, it is kept like any other maximum.  NaN and infinities cannot be subtracted: such a group is
 * recomputed, and so is one whose last copy of the extremum went away without an equal or better one coming.  The copies are
 * counted when the group is first recomputed, not at load: until then their number is NULL, not known.
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "deparse.h"
#include "state.h"

/* One aggregate being planned. */
typedef struct AggPlan
{
	PgtStates *states;
	const PgtOp *agg;
	Aggref *ref;
	int column; /* of the AGG's output */
	char *arg;  /* text, NULL for count(*) */
	Node *expr;
	Oid type;     /* of arg */
	char *filter; /* text or NULL */
} AggPlan;

static char *
filter_clause(const AggPlan *p, const char *also)
{
	if (p->filter == NULL && also == NULL)
		return "";
	if (p->filter == NULL)
		return psprintf(" FILTER (WHERE %s)", also);
	if (also == NULL)
		return psprintf(" FILTER (WHERE %s)", p->filter);
	return psprintf(" FILTER (WHERE (%s) AND (%s))", also, p->filter);
}

static PgtState *
add_state(AggPlan *p, const PgtCol *col, char *id, bool *isnew)
{
	PgtState *state;
	ListCell *lc;

	foreach (lc, p->states->list)
	{
		state = lfirst(lc);
		if (strcmp(state->id, id) == 0)
		{
			*isnew = false;
			return state;
		}
	}
	state = palloc0(sizeof(PgtState));
	state->number = list_length(p->states->list) + 1;
	state->col = *col;
	state->id = state->init = id;
	state->filter = p->filter;
	p->states->list = lappend(p->states->list, state);
	*isnew = true;
	return state;
}

static const PgtCol int4_column = {INT4OID, -1, InvalidOid, false};
static const PgtCol int8_column = {INT8OID, -1, InvalidOid, false};
static const PgtCol numeric_column = {NUMERICOID, -1, InvalidOid, false};

/* Old values are named by storage columns, which are not known yet: %<number> stands for that of a state. */
static PgtState *
count_state(AggPlan *p, const char *condition)
{
	char *filter = filter_clause(p, condition);
	bool isnew;
	PgtState *state = add_state(p, &int8_column, psprintf("pg_catalog.count(*)%s", filter), &isnew);

	if (isnew)
	{
		state->delta = psprintf("coalesce(pg_catalog.sum(a1.w)%s, 0)::pg_catalog.int8", filter);
		state->merge = psprintf("(coalesce(%%%d, 0) + m.d%d)", state->number, state->number);
		state->col.notnull = true;
	}
	return state;
}

static PgtState *
not_null_count(AggPlan *p)
{
	return count_state(p, psprintf("(%s) IS NOT NULL", p->arg));
}

/*
 * How many rows have the extremum.  Changes count at the best value that came (b<j>) and the best that went (g<j>); what happens
 * at other values does not matter, since an old extremum is at least as good as anything that went.
 */
static void
copies_state(AggPlan *p, PgtState *ext, const char *arg, const char *better)
{
	bool isnew;
	int j = ext->number;
	PgtState *state = add_state(p, &int8_column, psprintf("copies of %s", ext->id), &isnew);
	int m = state->number;
	char *eq = pgt_type_operator(ext->col.type, true);

	state->init = "NULL::pg_catalog.int8";
	state->lazy = true;
	state->recount = psprintf("pg_catalog.count(*)%s", filter_clause(p, psprintf("(%s) %s a1.x%d", arg, eq, j)));
	state->delta = psprintf("coalesce(pg_catalog.sum(a1.w)%s, 0)::pg_catalog.int8",
							filter_clause(p, psprintf("a1.w > 0 AND (%s) %s a1.b%d", arg, eq, j)));
	state->removed = psprintf("coalesce(pg_catalog.sum(-a1.w)%s, 0)::pg_catalog.int8",
							  filter_clause(p, psprintf("a1.w < 0 AND (%s) %s a1.g%d", arg, eq, j)));
	state->merge = psprintf("CASE WHEN m.d%d IS NOT NULL AND (%%%d IS NULL OR %s) THEN m.d%d ELSE "
							"%%%d + CASE WHEN m.d%d %s %%%d THEN m.d%d ELSE 0 END - CASE WHEN m.e%d %s %%%d THEN m.e%d ELSE 0 END END",
							j, j, better, m, m, j, eq, j, m, j, eq, j, m);
}

/* Minimum or maximum of an expression of the arguments.  %<number> stands for a state's old value. */
static PgtState *
extremum_state(AggPlan *p, const char *arg, const PgtCol *col, bool max)
{
	const char *name = max ? "max" : "min";
	bool isnew;
	PgtState *state = add_state(p, col, psprintf("pg_catalog.%s(%s)%s", name, arg, filter_clause(p, NULL)), &isnew);
	char *lt;
	char *better;
	char *worse;
	char *kept;
	int j = state->number;

	if (!isnew)
		return state;
	lt = pgt_type_operator(col->type, false);
	better = max ? psprintf("%%%d %s m.d%d", j, lt, j) : psprintf("m.d%d %s %%%d", j, lt, j);
	worse = max ? psprintf("m.d%d %s %%%d", j, lt, j) : psprintf("%%%d %s m.d%d", j, lt, j);
	kept = max ? psprintf("m.e%d %s %%%d", j, lt, j) : psprintf("%%%d %s m.e%d", j, lt, j);
	state->delta = psprintf("pg_catalog.%s(%s)%s", name, arg, filter_clause(p, "a1.w > 0"));
	state->removed = psprintf("pg_catalog.%s(%s)%s", name, arg, filter_clause(p, "a1.w < 0"));
	state->merge = psprintf("%s(%%%d, m.d%d)", max ? "GREATEST" : "LEAST", j, j);
	state->window = psprintf("pg_catalog.%s(%s)", name, arg);
	copies_state(p, state, arg, better);
	/* the old extremum is among what went, nothing as good came, and no copy is known to be left */
	state->redo = psprintf("(m.e%d IS NOT NULL AND NOT (%s) AND (m.d%d IS NULL OR %s) AND coalesce(%%%d - m.e%d, 0) <= 0)",
						   j, kept, j, worse, j + 1, j + 1);
	return state;
}

/* --- scales of numeric expressions --- */

static int static_scale(Node *node);

static int
same_scale(int a, int b)
{
	return a == b ? a : -1;
}

static int
operator_scale(Oid funcid, List *args)
{
	int a = static_scale(linitial(args));
	int b = list_length(args) > 1 ? static_scale(lsecond(args)) : 0;

	if (a < 0 || b < 0)
		return -1;
	switch (funcid)
	{
		case F_NUMERIC_ADD:
		case F_NUMERIC_SUB:
			return Max(a, b);
		case F_NUMERIC_MUL:
			return a + b;
		case F_NUMERIC_UMINUS:
		case F_NUMERIC_UPLUS:
		case F_NUMERIC_ABS:
		case F_ABS_NUMERIC:
			return a;
		default:
			return -1;
	}
}

static int
const_scale(Const *c)
{
	Datum scale;
	LOCAL_FCINFO(fcinfo, 1);

	if (c->constisnull)
		return -1;
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = c->constvalue;
	fcinfo->args[0].isnull = false;
	scale = numeric_scale(fcinfo);
	return fcinfo->isnull ? -1 : DatumGetInt32(scale);
}

static int
case_scale(CaseExpr *c)
{
	int scale = c->defresult == NULL ? -2 : static_scale((Node *) c->defresult);
	ListCell *lc;

	foreach (lc, c->args)
	{
		int s = static_scale((Node *) ((CaseWhen *) lfirst(lc))->result);

		scale = scale == -2 ? s : same_scale(scale, s);
	}
	return scale;
}

/* The display scale that every value of a numeric expression has, or -1 when it is not fixed. */
static int
static_scale(Node *node)
{
	int32 typmod = exprTypmod(node);

	if (exprType(node) != NUMERICOID)
		return -1;
	if (typmod >= (int32) VARHDRSZ)
	{
		/* the 11 low bits hold the scale, in two's complement */
		int scale = ((typmod - VARHDRSZ) & 0x7ff);

		return scale > 1000 ? 0 : scale;
	}
	switch (nodeTag(node))
	{
		case T_Const:
			return const_scale((Const *) node);
		case T_OpExpr:
			return operator_scale(get_opcode(((OpExpr *) node)->opno), ((OpExpr *) node)->args);
		case T_FuncExpr:
			switch (((FuncExpr *) node)->funcid)
			{
				case F_NUMERIC_INT2:
				case F_NUMERIC_INT4:
				case F_NUMERIC_INT8:
					return 0;
				default:
					return operator_scale(((FuncExpr *) node)->funcid, ((FuncExpr *) node)->args);
			}
		case T_CaseExpr:
			return case_scale((CaseExpr *) node);
		default:
			return -1;
	}
}

/* --- aggregates --- */

static PgtState *
sum_state(AggPlan *p)
{
	bool isint = p->type == INT2OID || p->type == INT4OID;
	PgtState *n = not_null_count(p);
	PgtState *scale = NULL;
	PgtState *state;
	bool isnew;
	int j;
	char *value;

	if (p->type == NUMERICOID && static_scale(p->expr) < 0)
		scale = extremum_state(p, psprintf("pg_catalog.scale(%s)", p->arg), &int4_column, true);
	state = add_state(p, isint ? &int8_column : &numeric_column, psprintf("pg_catalog.sum(%s)%s", p->arg, filter_clause(p, NULL)),
					  &isnew);
	if (!isnew)
		return state;
	j = state->number;
	state->delta = psprintf("coalesce(pg_catalog.sum(a1.w%s * (%s))%s, 0)", isint ? "" : "::pg_catalog.numeric", p->arg,
							filter_clause(p, NULL));
	value = psprintf("(coalesce(%%%d, 0) + m.d%d)", j, j);
	if (scale != NULL)
		value = psprintf("pg_catalog.round(%s, coalesce(m.n%d, 0))", value, scale->number);
	state->merge = psprintf("CASE WHEN m.n%d > 0 THEN %s%s END", n->number, value, isint ? "::pg_catalog.int8" : "");
	if (p->type == NUMERICOID)
		state->redo = psprintf("(m.d%d IN ('NaN', 'Infinity', '-Infinity'))", j); /* finite changes leave what is not finite as it is */
	return state;
}

static bool
is_exact_number(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID;
}

/* Fills finals[i] and the states it needs; false when the aggregate is not one of ours. */
static bool
plan_named(AggPlan *p, const char *name, char **final)
{
	PgtState *state;

	if (strcmp(name, "min") == 0 || strcmp(name, "max") == 0)
	{
		if (!pgt_type_has_order(p->type) || type_is_rowtype(p->type) || p->ref->aggtype != p->type)
			return false;
		state = extremum_state(p, p->arg, &(PgtCol){p->type, -1, p->ref->aggcollid, false}, name[1] == 'a');
		state->max = name[1] == 'a';
		if (IsA(p->expr, Var) && exprCollation(p->expr) == p->ref->inputcollid)
			state->value = ((Var *) p->expr)->varattno;
		*final = psprintf("m.n%d", state->number);
	}
	else if (p->ref->aggdistinct != NIL)
		return false;
	else if (strcmp(name, "count") == 0)
	{
		if (p->arg != NULL && type_is_rowtype(p->type))
			return false;
		state = p->arg == NULL ? count_state(p, NULL) : not_null_count(p);
		*final = psprintf("m.n%d", state->number);
	}
	else if (strcmp(name, "sum") == 0 && is_exact_number(p->type))
	{
		state = sum_state(p);
		*final = psprintf("m.n%d", state->number);
	}
	else if (strcmp(name, "avg") == 0 && is_exact_number(p->type))
	{
		int s = sum_state(p)->number;
		int n = not_null_count(p)->number;

		*final = psprintf("CASE WHEN m.n%d > 0 THEN m.n%d::pg_catalog.numeric / m.n%d::pg_catalog.numeric END", n, s, n);
		return true;
	}
	else if (strcmp(name, "bool_and") == 0 || strcmp(name, "every") == 0 || strcmp(name, "bool_or") == 0)
	{
		int t = count_state(p, psprintf("(%s)", p->arg))->number;
		int f = count_state(p, psprintf("NOT (%s)", p->arg))->number;

		*final = psprintf("CASE WHEN m.n%d + m.n%d > 0 THEN %s END", t, f,
						  strcmp(name, "bool_or") == 0 ? psprintf("m.n%d > 0", t) : psprintf("m.n%d = 0", f));
		return true;
	}
	else
		return false;
	if (state->agg == 0)
		state->agg = p->column;
	return true;
}

static bool
plan_aggregate(PgtStates *states, const PgtOp *agg, int index)
{
	AggPlan p = {states, agg, list_nth_node(Aggref, agg->aggs, index), agg->nkeys + index + 1};

	if (get_func_namespace(p.ref->aggfnoid) != PG_CATALOG_NAMESPACE || p.ref->aggkind != AGGKIND_NORMAL ||
		list_length(p.ref->args) > 1)
		return false;
	if (p.ref->args != NIL)
	{
		p.expr = (Node *) linitial_node(TargetEntry, p.ref->args)->expr;
		p.arg = pgt_expr(p.expr, agg->children);
		p.type = getBaseType(exprType(p.expr));
	}
	if (p.ref->aggfilter != NULL)
		p.filter = pgt_expr((Node *) p.ref->aggfilter, agg->children);
	return plan_named(&p, get_func_name(p.ref->aggfnoid), &states->finals[index]);
}

PgtStates *
pgt_states_plan(const PgtOp *agg)
{
	PgtStates *states = palloc0(sizeof(PgtStates));
	AggPlan rows = {states, agg};

	states->finals = palloc0(sizeof(char *) * (list_length(agg->aggs) + 1));
	for (int i = 0; i < list_length(agg->aggs); i++)
		if (!plan_aggregate(states, agg, i))
			return NULL;
	if (!agg->scalar)
		states->rows = count_state(&rows, NULL)->number;
	return states;
}
