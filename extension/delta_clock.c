/*
 * delta_clock.c - CLOCK nodes (clock.h): what moved because a table changed, and what moved because time passed.
 *
 *     change = (changes of the child, tested at the old clock) + (rows of the child's post state that flip between the clocks)
 *
 * In this order: with the changes tested at the new clock, a row inserted since would flip once more, and one that expired and was
 * deleted would stay for ever.  Nothing is assumed about how a bound f(clock) moves (months and daylight saving run backwards): a
 * comparison of e with f flips only rows with e between the lesser and the greater of f(old) and f(new), whichever is which.  All ranges
 * of a node are searched at once and its whole predicate is tested at both clocks, so that no row flips twice.
 *
 * Crossings: when will the next row flip?  Being early costs an empty refresh.  Exact for the clock itself, shifted by a fixed time;
 * any other bound is searched for within the next hour and looked at again then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "program.h"

/* "value op bound": the value is of a row, the bound of the clock. */
typedef struct Comparison
{
	Node *value;
	Node *bound;
	Oid family;
	Oid left; /* operand types of the family */
	Oid right;
	int strategy; /* BT...; ROWCOMPARE_NE for <> */
	Oid collation;
} Comparison;

typedef struct SearchContext
{
	List *found;    /* of Comparison */
	bool unbounded; /* the clock is used in another way too: any row may flip */
} SearchContext;

/* --- comparisons --- */

/* Can the bound be NULL, or anything but a function of the clock? */
static bool
unsafe_bound(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Const:
			return ((Const *) node)->constisnull;
		case T_Param:
		case T_List:
		case T_RelabelType:
			break;
		case T_OpExpr:
			if (!op_strict(((OpExpr *) node)->opno) ||
				get_func_namespace(get_opcode(((OpExpr *) node)->opno)) != PG_CATALOG_NAMESPACE)
				return true;
			break;
		case T_FuncExpr:
			if (!func_strict(((FuncExpr *) node)->funcid) ||
				get_func_namespace(((FuncExpr *) node)->funcid) != PG_CATALOG_NAMESPACE)
				return true;
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, unsafe_bound, context);
}

static bool
interpret(Comparison *c, Oid opno)
{
	PgtBtreeReading reading;

	if (!pgt_btree_reading(opno, &reading))
		return false;
	c->family = reading.family;
	c->left = reading.left;
	c->right = reading.right;
	c->strategy = reading.strategy;
	return true;
}

/* An interval without days and months, as a Const of microseconds; NULL when it is not one.  Interval comparison counts 30-day months. */
static Const *
fixed_interval(Node *node, bool as_compared)
{
	Const *c = (Const *) node;
	Interval *iv;
	Interval *copy;

	if (!IsA(node, Const) || c->consttype != INTERVALOID || c->constisnull)
		return NULL;
	iv = DatumGetIntervalP(c->constvalue);
	if (!as_compared && (iv->day != 0 || iv->month != 0))
		return NULL;
	copy = palloc0(sizeof(Interval));
	copy->time = iv->time + (iv->day + iv->month * INT64CONST(30)) * USECS_PER_DAY;
	return makeConst(INTERVALOID, -1, InvalidOid, sizeof(Interval), IntervalPGetDatum(copy), false, false);
}

/*
 * "clock - value < interval" as "value > clock - interval", and "value - clock < interval" as "value < clock + interval".
 * Differences of timestamps have no months, and compare by 24-hour days.
 */
static bool
turn_difference(Node *left, Node *right, Oid opno, Comparison *c)
{
	OpExpr *minus = (OpExpr *) left;
	Const *span = fixed_interval(right, true);
	Node *a;
	Node *b;
	bool tz;
	bool clock_first;
	Oid type;

	if (!IsA(left, OpExpr) || span == NULL || !interpret(c, opno))
		return false;
	tz = get_opcode(minus->opno) == F_TIMESTAMPTZ_MI;
	if (!tz && get_opcode(minus->opno) != F_TIMESTAMP_MI)
		return false;
	a = linitial(minus->args);
	b = lsecond(minus->args);
	clock_first = pgt_has_clock(a);
	if (clock_first == pgt_has_clock(b))
		return false;
	type = tz ? TIMESTAMPTZOID : TIMESTAMPOID;
	c->value = clock_first ? b : a;
	c->bound = (Node *) makeFuncExpr(clock_first ? (tz ? F_TIMESTAMPTZ_MI_INTERVAL : F_TIMESTAMP_MI_INTERVAL) : (tz ? F_TIMESTAMPTZ_PL_INTERVAL : F_TIMESTAMP_PL_INTERVAL),
									 type, list_make2(clock_first ? a : b, span), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	if (clock_first && c->strategy <= BTMaxStrategyNumber)
		c->strategy = BTMaxStrategyNumber + 1 - c->strategy;
	c->family = get_opclass_family(GetDefaultOpClass(type, BTREE_AM_OID));
	c->left = type;
	c->right = type;
	return true;
}

static bool
as_written(Comparison *c, Node *value, Node *bound, Oid opno)
{
	c->value = value;
	c->bound = bound;
	return OidIsValid(opno) && interpret(c, opno);
}

static Comparison *
as_comparison(OpExpr *op)
{
	Comparison *c = palloc0(sizeof(Comparison));
	Node *l;
	Node *r;
	Oid opno = op->opno;

	if (list_length(op->args) != 2)
		return NULL;
	l = linitial(op->args);
	r = lsecond(op->args);
	if (pgt_has_clock(l))
	{
		/* the clock to the right; differences are looked for on the left */
		if (!turn_difference(l, r, opno, c) && !as_written(c, r, l, get_commutator(opno)))
			return NULL;
	}
	else if (!turn_difference(r, l, get_commutator(opno), c) && !as_written(c, l, r, opno))
		return NULL;
	c->collation = op->inputcollid;
	if (pgt_has_clock(c->value) || pull_varnos(NULL, c->bound) != NULL || unsafe_bound(c->bound, NULL))
		return NULL;
	return c;
}

static bool
search_walker(Node *node, SearchContext *cxt)
{
	Comparison *c;

	if (node == NULL || !pgt_has_clock(node))
		return false;
	if (IsA(node, OpExpr) && (c = as_comparison((OpExpr *) node)) != NULL)
	{
		cxt->found = lappend(cxt->found, c);
		return false;
	}
	if (IsA(node, Param))
		cxt->unbounded = true;
	return expression_tree_walker(node, search_walker, cxt);
}

static SearchContext
comparisons_of(const PgtOp *op)
{
	SearchContext cxt = {NIL, false};

	search_walker((Node *) op->quals, &cxt);
	search_walker((Node *) op->targets, &cxt);
	return cxt;
}

/* --- the rows that may flip --- */

static Node *
compare(const Comparison *c, int strategy, Node *bound)
{
	Oid opno = get_opfamily_member(c->family, c->left, c->right, strategy);

	if (!OidIsValid(opno))
		elog(ERROR, "operator family %u has no operator %d", c->family, strategy);
	return (Node *) make_opclause(opno, BOOLOID, false, copyObject((Expr *) c->value), (Expr *) bound, InvalidOid, c->collation);
}

static Node *
extreme(Node *old, Node *new, MinMaxOp which)
{
	MinMaxExpr *m = makeNode(MinMaxExpr);

	m->minmaxtype = exprType(old);
	m->minmaxcollid = exprCollation(old);
	m->inputcollid = m->minmaxcollid;
	m->op = which;
	m->args = list_make2(copyObject(old), copyObject(new));
	m->location = -1;
	return (Node *) m;
}

static Node *
range_of(const Comparison *c)
{
	Node *old = pgt_clock_at(c->bound, PGT_CLOCK_OLD);
	Node *new = pgt_clock_at(c->bound, PGT_CLOCK_NEW);
	Node *least = extreme(old, new, IS_LEAST);
	Node *greatest = extreme(old, new, IS_GREATEST);

	switch (c->strategy)
	{
		case BTLessStrategyNumber:
		case BTGreaterEqualStrategyNumber:
			return make_and_qual(compare(c, BTGreaterEqualStrategyNumber, least), compare(c, BTLessStrategyNumber, greatest));
		case BTLessEqualStrategyNumber:
		case BTGreaterStrategyNumber:
			return make_and_qual(compare(c, BTGreaterStrategyNumber, least), compare(c, BTLessEqualStrategyNumber, greatest));
		default:
			return (Node *) make_orclause(list_make2(compare(c, BTEqualStrategyNumber, old), compare(c, BTEqualStrategyNumber, new)));
	}
}

/* Conjuncts that every row that flips satisfies; "true" at worst. */
static char *
candidates(const PgtOp *op)
{
	SearchContext cxt = comparisons_of(op);
	List *quals = NIL;
	List *ranges = NIL;
	ListCell *lc;
	char *text;

	foreach (lc, op->quals)
		if (!pgt_has_clock(lfirst(lc)))
			quals = lappend(quals, lfirst(lc));
	foreach (lc, cxt.found)
		ranges = lappend(ranges, range_of(lfirst(lc)));
	if (!cxt.unbounded && ranges != NIL)
		quals = lappend(quals, list_length(ranges) == 1 ? linitial(ranges) : (Node *) make_orclause(ranges));
	text = pgt_quals(quals, op->children);
	return text == NULL ? "true" : text;
}

/* --- the delta --- */

static List *
at(List *exprs, int param)
{
	return (List *) pgt_clock_at((Node *) exprs, param);
}

static char *
predicate(const PgtOp *op, int param)
{
	char *text = pgt_quals(at(op->quals, param), op->children);

	return text == NULL ? "true" : text;
}

static char *
flips(const PgtOp *op)
{
	char *post = pgt_post(pgt_op_child(op, 1));

	if (!pgt_has_clock((Node *) op->targets))
		return psprintf("SELECT %s FROM (SELECT %s FROM (%s) a1 WHERE %s) f WHERE f.w <> 0",
						pgt_join2(pgt_columns("f", op->ncols, 0), "f.w"),
						pgt_join2(pgt_targets(op->targets, op->children),
								  psprintf("((%s) IS TRUE)::pg_catalog.int4::pg_catalog.int8 - ((%s) IS TRUE)::pg_catalog.int4::pg_catalog.int8 AS w",
										   predicate(op, PGT_CLOCK_NEW), predicate(op, PGT_CLOCK_OLD))),
						post, candidates(op));
	return psprintf("SELECT %s FROM (%s) a1 CROSS JOIN LATERAL (SELECT %s WHERE %s UNION ALL SELECT %s WHERE %s) f WHERE %s",
					pgt_join2(pgt_columns("f", op->ncols, 0), "f.w"), post,
					pgt_join2(pgt_targets(op->targets, op->children), "1::pg_catalog.int8 AS w"), predicate(op, PGT_CLOCK_NEW),
					pgt_join2(pgt_targets(at(op->targets, PGT_CLOCK_OLD), op->children), "-1::pg_catalog.int8 AS w"),
					predicate(op, PGT_CLOCK_OLD), candidates(op));
}

/* Netted: a row that came and expired within one interval was never part of the query. */
PgtFrom
pgt_delta_clock(PgtDeltaCtx *cxt, const PgtOp *op)
{
	bool moves = bms_is_member(op->source, cxt->changed);
	int before = moves ? PGT_CLOCK_OLD : PGT_CLOCK_NEW;
	PgtFrom d = pgt_delta(cxt, pgt_op_child(op, 1));
	char *data = NULL;
	char *both;

	if (d != NULL)
		data = psprintf("SELECT %s FROM %s a1 WHERE %s",
						pgt_join2(pgt_targets(at(op->targets, before), op->children), "a1.w"), d, predicate(op, before));
	both = !moves ? data : data == NULL ? flips(op)
										: psprintf("%s UNION ALL %s", data, flips(op));
	return pgt_enr(cxt, "c", pgt_select_of(pgt_net(op->cols, op->ncols, psprintf("(%s)", both))));
}

/* --- crossings --- */

/* The condition that a row will flip as the bound grows. */
static Node *
beyond(const Comparison *c)
{
	bool inclusive = c->strategy == BTLessStrategyNumber || c->strategy == BTGreaterEqualStrategyNumber;

	return compare(c, inclusive ? BTGreaterEqualStrategyNumber : BTGreaterStrategyNumber, pgt_clock_at(c->bound, PGT_CLOCK_NEW));
}

static char *
next_value(const PgtOp *op, const Comparison *c)
{
	char *value = pgt_expr(c->value, op->children);

	return psprintf("SELECT %s AS c1 FROM (%s) a1 WHERE %s ORDER BY %s LIMIT 1", value, pgt_post(pgt_op_child(op, 1)),
					pgt_expr(beyond(c), op->children), value);
}

/* The time that a bound "clock", "clock - t" or "clock + t" lags behind the clock, as SQL to be added to a value; NULL if it is no such bound. */
static char *
fixed_lag(const Comparison *c)
{
	Oid funcid = InvalidOid;
	List *args = NIL;
	Const *span;

	if (c->left != TIMESTAMPTZOID || c->right != TIMESTAMPTZOID || c->strategy == BTEqualStrategyNumber ||
		c->strategy > BTMaxStrategyNumber)
		return NULL;
	if (IsA(c->bound, Param))
		return "";
	if (IsA(c->bound, OpExpr))
	{
		funcid = get_opcode(((OpExpr *) c->bound)->opno);
		args = ((OpExpr *) c->bound)->args;
	}
	else if (IsA(c->bound, FuncExpr))
	{
		funcid = ((FuncExpr *) c->bound)->funcid;
		args = ((FuncExpr *) c->bound)->args;
	}
	if ((funcid != F_TIMESTAMPTZ_MI_INTERVAL && funcid != F_TIMESTAMPTZ_PL_INTERVAL) || !IsA(linitial(args), Param))
		return NULL;
	span = fixed_interval(lsecond(args), false);
	if (span == NULL)
		return NULL;
	return psprintf(" %s %s", funcid == F_TIMESTAMPTZ_MI_INTERVAL ? "+" : "-", pgt_expr((Node *) span, NIL));
}

static PgtOp *
dummy_input(Oid type)
{
	PgtOp *op = pgt_op_make(PGT_OP_SCAN, 0, 1);

	op->cols[0] = (PgtCol){type, -1, get_typcollation(type), false};
	return op;
}

static Node *
clock_to_column(Node *node, void *input)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param))
		return (Node *) pgt_op_var(input, 1, 1);
	return expression_tree_mutator(node, clock_to_column, input);
}

/* Bisect the next hour for the time at which the comparison with the next value changes, or for an equality, the bound. */
static char *
searched_crossing(const PgtOp *op, const Comparison *c)
{
	bool order = c->strategy != BTEqualStrategyNumber && c->strategy <= BTMaxStrategyNumber;
	PgtOp *time = dummy_input(TIMESTAMPTZOID);
	PgtOp *value = dummy_input(exprType(c->value));
	List *inputs = list_make2(time, value);
	Comparison of_value = *c;
	char *then;
	char *now;

	of_value.value = (Node *) pgt_op_var(value, 2, 1);
	if (order)
	{
		then = pgt_expr(compare(&of_value, c->strategy, clock_to_column(c->bound, time)), inputs);
		now = pgt_expr(compare(&of_value, c->strategy, pgt_clock_at(c->bound, PGT_CLOCK_NEW)), inputs);
	}
	else
	{
		then = pgt_expr(clock_to_column(c->bound, time), inputs);
		now = pgt_expr(pgt_clock_at(c->bound, PGT_CLOCK_NEW), inputs);
	}
	return psprintf("(WITH RECURSIVE v AS (%s), b AS (SELECT 0 AS i, $2 AS lo, $2 + '01:00:00'::pg_catalog.interval AS hi UNION ALL "
					"SELECT m.i + 1, CASE WHEN m.hit THEN m.lo ELSE m.c1 END, CASE WHEN m.hit THEN m.c1 ELSE m.hi END FROM "
					"(SELECT a1.*, (%s) IS DISTINCT FROM (%s) AS hit FROM "
					"(SELECT b.*, b.lo + (b.hi - b.lo) / 2 AS c1 FROM b WHERE b.i < 32) a1 LEFT JOIN v a2 ON true) m) "
					"SELECT pg_catalog.min(b.hi) AS t FROM b)",
					order ? next_value(op, c) : "SELECT NULL AS c1", then, now);
}

static char *
crossing_of(const PgtOp *op, const Comparison *c)
{
	bool inclusive = c->strategy == BTLessStrategyNumber || c->strategy == BTGreaterEqualStrategyNumber;
	char *lag = fixed_lag(c);

	if (lag == NULL)
		return searched_crossing(op, c);
	return psprintf("(SELECT v.c1%s%s AS t FROM (%s) v)", lag, inclusive ? " + '00:00:00.000001'::pg_catalog.interval" : "",
					next_value(op, c));
}

static List *
crossings_below(const PgtOp *op, List *pieces)
{
	ListCell *lc;

	if (op->clock)
	{
		SearchContext cxt = comparisons_of(op);

		foreach (lc, cxt.found)
			pieces = lappend(pieces, crossing_of(op, lfirst(lc)));
		if (cxt.unbounded)
			pieces = lappend(pieces, "(SELECT $2 AS t)");
	}
	foreach (lc, op->children)
		pieces = crossings_below(lfirst(lc), pieces);
	return pieces;
}

char *
pgt_clock_crossing(const PgtOp *root)
{
	List *pieces = crossings_below(root, NIL);
	StringInfoData s;
	ListCell *lc;

	if (pieces == NIL)
		return NULL;
	initStringInfo(&s);
	foreach (lc, pieces)
		appendStringInfo(&s, "%s%s", foreach_current_index(lc) > 0 ? " UNION ALL " : "", (char *) lfirst(lc));
	return psprintf("SELECT pg_catalog.min(c.t) AS t FROM (%s) c", s.data);
}

/* --- indexes --- */

static bool
has_index_on(Oid relid, AttrNumber attnum)
{
	Relation rel = table_open(relid, AccessShareLock);
	List *indexes = RelationGetIndexList(rel);
	bool found = false;
	ListCell *lc;

	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		found |= index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid && index->rd_index->indkey.values[0] == attnum &&
				 RelationGetIndexPredicate(index) == NIL;
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return found;
}

static char *
missing_index(const PgtOp *op, Node *value)
{
	Var *v = (Var *) value;
	AttrNumber attnum;

	/* down to the table's column */
	while (IsA(v, Var) && op->kind == PGT_OP_SELECT)
	{
		op = pgt_op_child(op, v->varno);
		if (op->kind == PGT_OP_SELECT)
			v = list_nth(op->targets, v->varattno - 1);
	}
	if (!IsA(v, Var) || op->kind != PGT_OP_SCAN)
		return NULL;
	attnum = list_nth_int(op->attnums, v->varattno - 1);
	if (has_index_on(op->relid, attnum))
		return NULL;
	return psprintf("CREATE INDEX ON %s (%s)",
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(op->relid)), get_rel_name(op->relid)),
					quote_identifier(get_attname(op->relid, attnum, false)));
}

static List *
missing_below(const PgtOp *op, List *statements)
{
	ListCell *lc;
	ListCell *known;

	if (op->clock)
	{
		SearchContext cxt = comparisons_of(op);

		foreach (lc, cxt.found)
		{
			char *sql = missing_index(op, ((Comparison *) lfirst(lc))->value);
			bool seen = sql == NULL;

			foreach (known, statements)
				seen = seen || strcmp(lfirst(known), sql) == 0;
			if (!seen)
				statements = lappend(statements, sql);
		}
	}
	foreach (lc, op->children)
		statements = missing_below(lfirst(lc), statements);
	return statements;
}

List *
pgt_clock_missing_indexes(const PgtOp *root)
{
	return missing_below(root, NIL);
}
