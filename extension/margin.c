/*
 * margin.c - margins: the first rows below a LIMIT, kept (see margin.h).
 *
 * With m = OFFSET + LIMIT, a margin is filled with the first m + max(m, pg_trickle.topk_margin) rows and all that tie with the last of
 * them.  Of a delta, what sorts behind the last kept row is ignored, the rest is written; what the margin should hold and does not is
 * an error, as in every bag.  The last kept row is all there is of a boundary: when it goes, the boundary is the row before it, because
 * the margin held everything up to there.
 *
 *   kept        how many rows there are
 *   complete    nothing of the node lies behind them: the boundary does not count
 *   trim_above  more rows than this are too many
 *
 * When fewer than m rows are left and there are more behind, the margin is emptied and filled again from the node's post rows; the one
 * statement that can read the source does so under a condition on the state, which the executor tests once, before it.  Between refreshes
 * a margin holds m rows at least, or is complete: so it holds the LIMIT's old rows, and after the steps here its new ones and what is
 * left of the old, which the LIMIT's own delta (delta_part.c) wants to see.  A margin that has grown to twice its size is trimmed, and is
 * complete no more; that comes first, when it holds nothing but old rows.  Where so many rows tie that nothing can be trimmed, the
 * next attempt waits until there are twice as many.
 *
 * Everything goes by rank() in the LIMIT's order, as FETCH FIRST ... WITH TIES does: no comparison of rows is spelled out here, so
 * operators, NULLs and collations are the query's own.  That order may leave ties which the LIMIT then breaks by images: the
 * margin holds rows that tie together or not at all.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "apply.h"
#include "margin.h"

/* --- planning --- */

/* The value of a LIMIT or OFFSET that is known now; PGT_MARGIN_ALL for others, and for NULL. */
static int64
known_count(Node *expr)
{
	Const *c = (Const *) eval_const_expressions(NULL, copyObject(expr));

	if (!IsA(c, Const) || c->consttype != INT8OID || c->constisnull)
		return PGT_MARGIN_ALL;
	return Max(0, Min(DatumGetInt64(c->constvalue), PGT_MARGIN_ALL));
}

static int64
known_offset(Node *expr)
{
	/* OFFSET NULL is none */
	return expr == NULL || (IsA(expr, Const) && ((Const *) expr)->constisnull) ? 0 : known_count(expr);
}

/* The order from the other end; NIL when an operator has no counterpart. */
static List *
reversed(List *order)
{
	List *out = pgt_order_copy(order);
	ListCell *lc;

	foreach (lc, out)
	{
		PgtSortKey *key = lfirst(lc);

		key->sortop = get_commutator(key->sortop);
		key->nulls_first = !key->nulls_first;
		if (!OidIsValid(key->sortop) || !OidIsValid(get_equality_op_for_ordering_op(key->sortop, NULL)))
			return NIL;
	}
	return out;
}

PgtMargin *
pgt_margin_make(const PgtOp *limit)
{
	PgtMargin *margin;

	if (reversed(limit->part->order) == NIL)
		return NULL;
	margin = palloc(sizeof(PgtMargin));
	margin->id = limit->id;
	margin->order = limit->part->order;
	margin->needed = Min(known_count(limit->part->count) + known_offset(limit->part->offset), PGT_MARGIN_ALL);
	return margin;
}

/* A column bears the node's number: a state that belongs to another LIMIT of the query does not fit. */
PgtInnerTable
pgt_margin_state(const PgtMargin *margin)
{
	PgtInnerTable table = {3, palloc0(sizeof(PgtViewColumn) * 3), NIL};

	table.columns[0] = (PgtViewColumn){"kept", INT8OID, -1, InvalidOid, false};
	table.columns[1] = (PgtViewColumn){psprintf("complete_%d", margin->id), BOOLOID, -1, InvalidOid, false};
	table.columns[2] = (PgtViewColumn){"trim_above", INT8OID, -1, InvalidOid, false};
	return table;
}

/* --- SQL --- */

/* How many rows it is filled with.  Read at run time: a new setting needs no new programs. */
static char *
size_of(const PgtMargin *margin)
{
	return psprintf("(" INT64_FORMAT " + GREATEST(" INT64_FORMAT ", pg_catalog.current_setting('pg_trickle.topk_margin')::pg_catalog.int8))",
					margin->needed, margin->needed);
}

static char *
is_complete(const PgtMargin *margin, const char *alias)
{
	return psprintf("%s.complete_%d", alias, margin->id);
}

/* A condition on the state, tested once. */
static char *
state_says(const PgtMarginTables *tables, const char *condition)
{
	return psprintf("(SELECT %s FROM %s x)", condition, tables->state);
}

static char *
is_short_of_rows(const PgtMargin *margin, const char *alias)
{
	return psprintf("NOT %s AND %s.kept < " INT64_FORMAT, is_complete(margin, alias), alias, margin->needed);
}

/* The kept rows as c1..cn, of alias i. */
static char *
kept_columns(const PgtMarginTables *tables)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < tables->store->nvisible; i++)
		appendStringInfo(&s, "%si.%s AS c%d", i > 0 ? ", " : "", tables->store->names[i], i + 1);
	return s.data;
}

/* Do no two rows tie, by a key that the sources have?  Types may be sorted by operators that take different keys as equal. */
static bool
is_total(const PgtMargin *margin, const PgtStore *store)
{
	List *columns = NIL;
	ListCell *lc;

	foreach (lc, margin->order)
	{
		PgtSortKey *key = lfirst(lc);
		TypeCacheEntry *type = lookup_type_cache(store->cols[key->col - 1].type, TYPECACHE_LT_OPR | TYPECACHE_GT_OPR);

		if (key->sortop == type->lt_opr || key->sortop == type->gt_opr)
			columns = lappend_int(columns, key->col);
	}
	return store->rowkey != NIL && list_difference_int(store->rowkey, columns) == NIL;
}

/* What the margin is filled with.  WITH TIES sorts everything, where LIMIT keeps the first rows only: not without need. */
static char *
first_rows(const PgtMargin *margin, const PgtMarginTables *tables, const char *where)
{
	return psprintf("SELECT %s FROM (%s) a1%s%s ORDER BY %s %s", pgt_columns("a1", tables->store->nvisible, 0), tables->rows,
					where == NULL ? "" : " WHERE ", where == NULL ? "" : where, pgt_part_order_list(margin->order),
					psprintf(is_total(margin, tables->store) ? "LIMIT %s" : "FETCH FIRST %s ROWS WITH TIES", size_of(margin)));
}

/* What of the delta sorts at or before the last kept row, which stands among its rows with weight 0. */
static char *
delta_within(const PgtMargin *margin, const PgtMarginTables *tables, PgtFrom delta)
{
	int n = tables->store->nvisible;
	char *complete = state_says(tables, is_complete(margin, "x"));
	char *last = psprintf("(SELECT %s FROM (SELECT %s FROM %s i) a1 WHERE NOT %s ORDER BY %s LIMIT 1)",
						  pgt_join2(pgt_columns("a1", n, 0), "0::pg_catalog.int8 AS w"), kept_columns(tables), tables->target.st, complete,
						  pgt_part_order_list(reversed(margin->order)));

	return psprintf("SELECT %s FROM (SELECT u.*, pg_catalog.max(CASE WHEN u.w = 0 THEN u.r END) OVER () AS last FROM "
					"(SELECT a1.*, pg_catalog.rank() OVER (ORDER BY %s) AS r FROM (SELECT %s FROM %s d UNION ALL %s) a1) u) v "
					"WHERE v.w <> 0 AND (%s OR v.r <= v.last)",
					pgt_join2(pgt_columns("v", n, 0), "v.w"), pgt_part_order_list(margin->order),
					pgt_join2(pgt_columns("d", n, 0), "d.w"), delta, last, complete);
}

static PgtStep *
write_step(const char *sql)
{
	return pgt_step(PGT_STEP_DML, PGT_COUNT_NONE, NULL, sql);
}

static PgtStep *
fill_step(const PgtMargin *margin, const PgtMarginTables *tables, const char *where)
{
	PgtStore *store = tables->store;

	return write_step(psprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) q", tables->target.st, pgt_store_columns(store, store->nvisible),
							   pgt_columns("q", store->nvisible, 0), first_rows(margin, tables, where)));
}

/* What the state is set to from the number of rows x.n there are now. */
static PgtStep *
settle(const PgtMargin *margin, const PgtMarginTables *tables, const char *complete, const char *where)
{
	return write_step(psprintf("UPDATE %s s SET (kept, complete_%d, trim_above) = (SELECT x.n, %s, 2 * GREATEST(%s, x.n) FROM "
							   "(SELECT pg_catalog.count(*) AS n FROM %s) x) WHERE %s",
							   tables->state, margin->id, complete, size_of(margin), tables->target.st, where));
}

/* Too few rows: all anew. */
static List *
refill(const PgtMargin *margin, const PgtMarginTables *tables)
{
	char *where = state_says(tables, is_short_of_rows(margin, "x"));

	return list_make3(write_step(psprintf("DELETE FROM %s WHERE %s", tables->target.st, where)), fill_step(margin, tables, where),
					  settle(margin, tables, psprintf("x.n < %s", size_of(margin)), is_short_of_rows(margin, "s")));
}

/* Too many. */
static List *
trim(const PgtMargin *margin, const PgtMarginTables *tables)
{
	PgtStep *step = write_step(psprintf("DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT r.tid FROM (SELECT a1.tid, pg_catalog.rank() OVER (ORDER BY %s) AS r "
										"FROM (SELECT i.ctid AS tid, %s FROM %s i WHERE %s) a1) r WHERE r.r > %s))",
										tables->target.st, pgt_part_order_list(margin->order), kept_columns(tables), tables->target.st,
										state_says(tables, "x.kept > x.trim_above"), size_of(margin)));

	step->seqscan_off = true;
	return list_make2(step, settle(margin, tables, psprintf("%s AND x.n = s.kept", is_complete(margin, "s")), "s.kept > s.trim_above"));
}

/* --- programs --- */

List *
pgt_margin_maintain(const PgtMargin *margin, const PgtMarginTables *tables, PgtFrom delta, char **applied)
{
	List *steps = trim(margin, tables);
	List *apply = pgt_apply_bag(tables->store, &tables->target, delta_within(margin, tables, delta));

	*applied = ((PgtStep *) linitial(apply))->name;
	steps = list_concat(steps, apply);
	steps = lappend(steps, write_step(psprintf("UPDATE %s s SET kept = s.kept + x.n FROM (SELECT pg_catalog.sum(d.w)::pg_catalog.int8 AS n FROM %s d) x "
											   "WHERE x.n <> 0",
											   tables->state, *applied)));
	return list_concat(steps, refill(margin, tables));
}

/* The state of rows just filled in. */
static PgtStep *
begin_state(const PgtMargin *margin, const PgtMarginTables *tables)
{
	char *size = size_of(margin);

	return write_step(psprintf("INSERT INTO %s SELECT x.n, x.n < %s, 2 * GREATEST(%s, x.n) FROM (SELECT pg_catalog.count(*) AS n FROM %s) x",
							   tables->state, size, size, tables->target.st));
}

List *
pgt_margin_load(const PgtMargin *margin, const PgtMarginTables *tables)
{
	return list_make2(fill_step(margin, tables, NULL), begin_state(margin, tables));
}

/* What it would be filled with, whatever it holds. */
List *
pgt_margin_diff(const PgtMargin *margin, const PgtMarginTables *tables)
{
	List *steps = pgt_apply_bag(pgt_store_unconstrained(tables->store), &tables->target,
								pgt_bag_difference(tables->store, &tables->target, first_rows(margin, tables, NULL)));

	steps = lappend(steps, write_step(psprintf("DELETE FROM %s", tables->state)));
	return lappend(steps, begin_state(margin, tables));
}
