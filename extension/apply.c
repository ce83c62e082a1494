/*
 * apply.c - the last steps of a program: change the ST by a netted delta (bag) or by a change set (keyed).
 *
 * Rows are found through the ST's index, then deleted and updated by ctid: the ST is locked against other writers for the whole
 * refresh, so a ctid stays what it was.  ctid = ANY (ARRAY(...)) allows a TID scan whatever the planner thinks of row counts; that it is one,
 * and that small STs are not read whole, is a matter of seqscan_off: what a refresh touches must not depend on the ST's size.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_index.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "apply.h"

PgtStep *
pgt_step(PgtStepKind kind, PgtStepCount counts, const char *name, const char *sql)
{
	PgtStep *step = palloc0(sizeof(PgtStep));

	step->kind = kind;
	step->counts = counts;
	step->name = name == NULL ? NULL : pstrdup(name);
	step->sql = pstrdup(sql);
	return step;
}

static char *
numbered(const char *prefix, int n)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, "%s%s%d", i > 1 ? ", " : "", prefix, i);
	return s.data;
}

/* Equality by image of two columns, NULL-safe. */
static char *
same_image(const PgtCol *col, const char *l, const char *r)
{
	if (pgt_col_image_safe(col))
		return pgt_same(col, l, r);
	return psprintf("(%s IS NOT DISTINCT FROM %s)", pgt_image(col, l), pgt_image(col, r));
}

/* --- bags --- */

/* What is applied to the ST, or to an inner table: two ENRs of a program. */
static char *
delta_name(const PgtTarget *target)
{
	return target->number == 0 ? "__pgt_delta" : psprintf("__pgt_delta%d", target->number);
}

static char *
change_name(const PgtTarget *target)
{
	return target->number == 0 ? "__pgt_chg" : psprintf("__pgt_chg%d", target->number);
}

/* Storage columns (1-based) that an ordinary index on the ST must begin with; NIL: it is one on their hash. */
static List *
index_columns(PgtStore *store)
{
	List *columns = NIL;

	if (store->agg == NULL)
		return store->rowkey;
	for (int k = 0; store->unique && k < store->agg->nkeys; k++)
		columns = lappend_int(columns, store->keycols[k]);
	return columns;
}

static bool
index_serves(PgtStore *store, Oid relid, Form_pg_index index)
{
	List *columns = index_columns(store);
	ListCell *lc;

	if (!index->indisvalid)
		return false;
	if (columns == NIL)
		return index->indkey.values[0] == 0;
	if (index->indnkeyatts < list_length(columns))
		return false;
	foreach (lc, columns)
		if (index->indkey.values[foreach_current_index(lc)] != get_attnum(relid, store->plain_names[lfirst_int(lc) - 1]))
			return false;
	return true;
}

/*
 * What the ST has, not what it was made with: its indexes belong to its owner, and row keys and NOT NULL to the
 * constraints of the day.
 */
static bool
has_index(PgtStore *store, const PgtTarget *target)
{
	Relation rel;
	bool found = false;
	ListCell *lc;

	/* only looked at (_compile): as it will be made */
	if (!OidIsValid(target->relid))
		return pgt_store_indexes(store) != NIL;
	rel = relation_open(target->relid, AccessShareLock);
	foreach (lc, RelationGetIndexList(rel))
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		found |= index_serves(store, target->relid, (Form_pg_index) GETSTRUCT(tuple));
		ReleaseSysCache(tuple);
	}
	relation_close(rel, AccessShareLock);
	return found;
}

static bool
all_image_safe(PgtStore *store)
{
	for (int i = 0; i < store->nvisible; i++)
		if (!pgt_col_image_safe(&store->cols[i]))
			return false;
	return true;
}

/* Row s of the ST equals row d of the delta by value. */
static char *
value_match(PgtStore *store)
{
	StringInfoData s;
	char *hash = store->rowkey != NIL ? NULL : pgt_store_hash(store, false, "s.", "d");

	initStringInfo(&s);
	appendStringInfoString(&s, hash == NULL ? "true" : hash);
	for (int i = 0; i < store->nvisible; i++)
		appendStringInfo(&s, " AND %s", pgt_same(&store->cols[i], psprintf("s.%s", store->names[i]), psprintf("d.c%d", i + 1)));
	return s.data;
}

/* Row s has the image of row d. */
static char *
image_match(PgtStore *store)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, "true");
	for (int i = 0; i < store->nvisible; i++)
		if (!pgt_col_image_safe(&store->cols[i]))
			appendStringInfo(&s, " AND %s", same_image(&store->cols[i], psprintf("s.%s", store->names[i]), psprintf("d.c%d", i + 1)));
	return s.data;
}

static char *
value_keys(PgtStore *store)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < store->nvisible; i++)
		appendStringInfo(&s, "%sd.c%d%s", i > 0 ? ", " : "", i + 1,
						 pgt_type_has_eq(store->cols[i].type) ? "" : "::pg_catalog.text");
	return s.data;
}

/* Rows s of the ST that equal d by value; the index is pinned where there is one. */
static char *
matching_rows(PgtStore *store, const PgtTarget *target)
{
	return psprintf("LATERAL (SELECT s.ctid, s.* FROM %s s WHERE %s%s) s", target->st, value_match(store),
					has_index(store, target) ? " OFFSET 0" : "");
}

/*
 * Rows of the delta that go, d, each with the ctids of as many equal rows: found one by one by the ST's index, with no more read than
 * is taken.  Only where equal rows are equal in every byte, so that it does not matter which of them go.
 */
static char *
rows_taken(PgtStore *store, const PgtTarget *target)
{
	return psprintf("%s d CROSS JOIN LATERAL (SELECT s.ctid AS tid FROM %s s WHERE %s LIMIT -d.w) s WHERE d.w < 0",
					delta_name(target), target->st, value_match(store));
}

char *
pgt_rows_coming(const char *delta)
{
	return psprintf("(SELECT d.*, pg_catalog.generate_series(1, d.w) AS copy FROM %s d WHERE d.w > 0) d", delta);
}

/*
 * ctids to delete: per row value as many as the delta takes away.  Where values have several images, copies with the very image
 * come first; others only serve when a query's own choice of image was arbitrary (DISTINCT, group keys).
 */
static char *
victims(PgtStore *store, const PgtTarget *target)
{
	char *keys = value_keys(store);

	if (all_image_safe(store) && has_index(store, target))
		return psprintf("SELECT s.tid FROM %s", rows_taken(store, target));
	if (all_image_safe(store))
		return psprintf("SELECT v.tid FROM (SELECT s.ctid AS tid, d.n, pg_catalog.row_number() OVER (PARTITION BY d.id) AS rn "
						"FROM (SELECT d.*, -d.w AS n, pg_catalog.row_number() OVER () AS id FROM %s d WHERE d.w < 0) d "
						"CROSS JOIN %s) v WHERE v.rn <= v.n",
						delta_name(target), matching_rows(store, target));
	return psprintf("SELECT r.tid FROM (SELECT q.tid, q.n, pg_catalog.row_number() OVER (PARTITION BY q.cls ORDER BY q.pref DESC) AS rn "
					"FROM (SELECT v.tid, v.cls, pg_catalog.max(v.clsn) AS n, pg_catalog.max((v.image AND v.rn <= v.n)::pg_catalog.int4) AS pref "
					"FROM (SELECT s.ctid AS tid, d.cls, d.clsn, d.n, %s AS image, "
					"pg_catalog.row_number() OVER (PARTITION BY d.id, %s) AS rn "
					"FROM (SELECT d.*, -d.w AS n, d.rid AS id, pg_catalog.min(d.rid) OVER (PARTITION BY %s) AS cls, "
					"pg_catalog.sum(-d.w) OVER (PARTITION BY %s) AS clsn "
					"FROM (SELECT d.*, pg_catalog.row_number() OVER () AS rid FROM %s d WHERE d.w < 0) d) d "
					"CROSS JOIN %s) v GROUP BY v.tid, v.cls) q) r WHERE r.rn <= r.n",
					image_match(store), image_match(store), keys, keys, delta_name(target), matching_rows(store, target));
}

/* "(SELECT ...)": how many rows the delta takes away */
static char *
expected(const PgtTarget *target)
{
	return psprintf("(SELECT coalesce(-pg_catalog.sum(d.w), 0)::pg_catalog.int8 FROM %s d WHERE d.w < 0)", delta_name(target));
}

char *
pgt_expected_victims(PgtStore *store, const PgtTarget *target)
{
	return psprintf("ctid = ANY (pgtrickle._expect_rows(ARRAY(%s), %s))", victims(store, target), expected(target));
}

static char *
set_list(PgtStore *store, int n)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < n; i++)
		appendStringInfo(&s, "%s%s = h.c%d", i > 0 ? ", " : "", store->names[i], i + 1);
	return s.data;
}

/* "alias.<prefix>1, ..." of the row key's columns */
static char *
row_key_list(PgtStore *store, const char *alias)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, store->rowkey)
		appendStringInfo(&s, "%s%s.c%d", s.len > 0 ? ", " : "", alias, lfirst_int(lc));
	return s.data;
}

/* o: ctid and row key of the rows that go, numbered within the key; what they are is checked here, or where they are deleted. */
static char *
old_rows_numbered(PgtStore *store, const PgtTarget *target, bool *checked)
{
	StringInfoData key;
	ListCell *lc;

	*checked = !all_image_safe(store) || !has_index(store, target);
	if (!*checked)
		return psprintf("(SELECT s.tid, %s, pg_catalog.row_number() OVER (PARTITION BY %s) AS rn FROM %s) o",
						row_key_list(store, "d"), row_key_list(store, "d"), rows_taken(store, target));
	initStringInfo(&key);
	foreach (lc, store->rowkey)
		appendStringInfo(&key, ", s.%s AS c%d", store->names[lfirst_int(lc) - 1], lfirst_int(lc));
	return psprintf("(SELECT o.*, pg_catalog.row_number() OVER (PARTITION BY %s) AS rn FROM (SELECT s.ctid AS tid%s FROM %s s WHERE s.%s) o) o",
					row_key_list(store, "o"), key.data, target->st, pgt_expected_victims(store, target));
}

/*
 * Rows that go, paired with rows that come under the same row key: those become updates, which leave the index alone.  Which copy
 * meets which does not matter where a key is not unique after all.
 */
static char *
paired_rows(PgtStore *store, const PgtTarget *target, bool *checked)
{
	StringInfoData on;
	ListCell *lc;

	initStringInfo(&on);
	foreach (lc, store->rowkey)
	{
		int col = lfirst_int(lc);

		appendStringInfo(&on, "o.c%d %s n.c%d AND ", col, pgt_type_operator(store->cols[col - 1].type, true), col);
	}
	return psprintf("SELECT CASE WHEN n.rn IS NULL THEN 'd' WHEN o.tid IS NULL THEN 'i' ELSE 'u' END::\"char\" AS op, o.tid, %s FROM "
					"%s FULL JOIN (SELECT d.*, pg_catalog.row_number() OVER (PARTITION BY %s) AS rn FROM %s) n ON %so.rn = n.rn",
					pgt_columns("n", store->nvisible, 0), old_rows_numbered(store, target, checked), row_key_list(store, "d"),
					pgt_rows_coming(delta_name(target)), on.data);
}

/*
 * Deletes, updates and inserts of an ENR of (op, tid, c1..cn); every row with a tid is there once.  `expect`, an SQL expression: how
 * many these must be; NULL: it is known that they are all there.
 */
static List *
change_steps(PgtStore *store, const PgtTarget *target, const char *changes, int n, const char *expect)
{
	char *gone = psprintf("ARRAY(SELECT h.tid FROM %s h WHERE h.op = 'd'::\"char\")", changes);

	PgtStep *update = pgt_step(PGT_STEP_DML, PGT_COUNT_UPDATED, NULL,
							   psprintf("UPDATE %s s SET %s FROM %s h WHERE h.op = 'u'::\"char\" AND s.ctid = h.tid",
										target->st, set_list(store, n), changes));
	PgtStep *delete;

	if (expect != NULL)
		gone = psprintf("pgtrickle._expect_rows(%s, %s - (SELECT pg_catalog.count(*) FROM %s h WHERE h.op = 'u'::\"char\"))", gone, expect, changes);
	delete = pgt_step(PGT_STEP_DML, PGT_COUNT_DELETED, NULL, psprintf("DELETE FROM %s WHERE ctid = ANY (%s)", target->st, gone));
	/* the ST is reached by ctid only: reading all of it would look cheaper to the planner */
	update->seqscan_off = true;
	delete->seqscan_off = true;
	return list_make3(delete, update,
					  pgt_step(PGT_STEP_DML, PGT_COUNT_INSERTED, NULL,
							   psprintf("INSERT INTO %s (%s) SELECT %s FROM %s h WHERE h.op = 'i'::\"char\"", target->st,
										pgt_store_columns(store, n), pgt_columns("h", n, 0), changes)));
}

/* What brings the table up to date with the delta. */
static List *
bag_steps(PgtStore *store, const PgtTarget *target)
{
	PgtStep *take;
	bool checked;

	if (store->rowkey != NIL)
	{
		take = pgt_step(PGT_STEP_ENR, PGT_COUNT_NONE, change_name(target), paired_rows(store, target, &checked));
		take->seqscan_off = has_index(store, target);
		return lcons(take, change_steps(store, target, take->name, store->nvisible, checked ? NULL : expected(target)));
	}
	take = pgt_step(PGT_STEP_DML, PGT_COUNT_DELETED, NULL, psprintf("DELETE FROM %s WHERE %s", target->st, pgt_expected_victims(store, target)));
	take->seqscan_off = has_index(store, target);
	return list_make2(take, pgt_step(PGT_STEP_DML, PGT_COUNT_INSERTED, NULL,
									 psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", target->st, pgt_store_columns(store, store->nvisible),
											  pgt_columns("d", store->nvisible, 0), pgt_rows_coming(delta_name(target)))));
}

List *
pgt_apply_bag(PgtStore *store, const PgtTarget *target, const char *delta)
{
	PgtStep *net = pgt_step(PGT_STEP_ENR, PGT_COUNT_NONE, delta_name(target), delta);
	List *steps = bag_steps(store, target);
	ListCell *lc;

	if (target->number > 0)
	{
		foreach (lc, steps)
			((PgtStep *) lfirst(lc))->counts = PGT_COUNT_NONE;
		return lcons(net, steps);
	}
	net->skip_if_empty = true;
	steps = lcons(pgt_step(PGT_STEP_OUT, PGT_COUNT_NONE, NULL,
						   psprintf("SELECT %s FROM __pgt_delta d",
									pgt_join2("d.w::pg_catalog.int4 AS w", pgt_columns("d", store->nvisible, 0)))),
				  steps);
	return lcons(net, steps);
}

char *
pgt_bag_difference(PgtStore *store, const PgtTarget *target, const char *rows)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < store->nvisible; i++)
		appendStringInfo(&s, "s.%s AS c%d, ", store->names[i], i + 1);
	return pgt_select_of(pgt_net(store->cols, store->nvisible,
								 psprintf("(SELECT q.*, 1 AS w FROM (%s) q UNION ALL SELECT %s -1 AS w FROM %s s)",
										  rows, s.data, target->st)));
}

/* --- keyed --- */

bool
pgt_store_probed(PgtStore *store, const PgtTarget *target)
{
	return has_index(store, target);
}

/* Where there is an index for exactly this the probes are pinned: a hash join would read the whole ST. */
char *
pgt_stored_rows(PgtStore *store, const PgtTarget *target, const char *keys)
{
	return psprintf("LATERAL (SELECT s.ctid AS tid, %s FROM %s s WHERE %s%s) s", pgt_store_row(store, "o"), target->st,
					pgt_store_key_match(store, keys), has_index(store, target) ? " OFFSET 0" : "");
}

char *
pgt_old_rows(PgtStore *store, const PgtTarget *target, const char *keys)
{
	if (keys == NULL)
		return psprintf("(SELECT s.ctid AS tid, %s FROM %s s)", pgt_store_row(store, "o"), target->st);
	return psprintf("(SELECT s.* FROM %s k CROSS JOIN %s)", keys, pgt_stored_rows(store, target, "k"));
}

/* Keys of n and o are equal, in a form that a full join can hash or merge. */
static char *
key_join(PgtStore *store)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int k = 0; k < store->agg->nkeys; k++)
	{
		int col = store->keycols[k];

		appendStringInfoString(&s, k > 0 ? " AND " : "");
		appendStringInfoString(&s, pgt_same_key(&store->agg->cols[k], psprintf("n.c%d", col), psprintf("o.o%d", col)));
	}
	return s.len == 0 ? "true" : s.data;
}

/* Columns first+1..last have equal images in c and o; columns that may be not known count only when `lazy`. */
static char *
unchanged(PgtStore *store, int first, int last, bool lazy)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = first; i < last; i++)
		if (lazy || !pgt_store_is_lazy(store, i + 1))
			appendStringInfo(&s, "%s%s", s.len > 0 ? " AND " : "",
							 same_image(&store->cols[i], psprintf("c.c%d", i + 1), psprintf("c.o%d", i + 1)));
	return s.len == 0 ? "true" : s.data;
}

char *
pgt_changed_rows(PgtStore *store, const char *rows, bool lazy)
{
	return psprintf("SELECT * FROM (SELECT c.*, (%s) IS NOT TRUE AS vis, (%s) IS NOT TRUE AS hid FROM (%s) c) c "
					"WHERE c.op <> 'u'::\"char\" OR c.vis OR c.hid",
					unchanged(store, 0, store->nvisible, true), unchanged(store, store->nvisible, store->ncols, lazy), rows);
}

char *
pgt_change_set(PgtStore *store, const char *n, const char *o)
{
	return pgt_changed_rows(store, psprintf("SELECT CASE WHEN o.tid IS NULL THEN 'i' WHEN n.present IS NULL THEN 'd' ELSE 'u' END::\"char\" AS op, "
											"o.tid, %s, %s FROM (SELECT n.*, true AS present FROM %s n) n FULL JOIN %s o ON %s",
											numbered("c", store->ncols), numbered("o", store->ncols), n, o, key_join(store)),
							false);
}

char *
pgt_null_columns(PgtStore *store)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < store->ncols; i++)
		appendStringInfo(&s, ", NULL::%s", pgt_type_name(store->cols[i].type, store->cols[i].typmod));
	return s.data;
}

static char *
own_delta(PgtStore *store)
{
	StringInfoData o;

	initStringInfo(&o);
	for (int i = 1; i <= store->nvisible; i++)
		appendStringInfo(&o, ", h.o%d AS c%d", i, i);
	return psprintf("SELECT (-1)::pg_catalog.int4 AS w%s FROM __pgt_chg h WHERE h.op = 'd'::\"char\" OR (h.op = 'u'::\"char\" AND h.vis) "
					"UNION ALL SELECT 1, %s FROM __pgt_chg h WHERE h.op = 'i'::\"char\" OR (h.op = 'u'::\"char\" AND h.vis)",
					o.data, pgt_columns("h", store->nvisible, 0));
}

char *
pgt_change_delta(PgtStore *store, const char *changes)
{
	StringInfoData o;

	initStringInfo(&o);
	for (int i = 1; i <= store->nvisible; i++)
		appendStringInfo(&o, "h.o%d AS c%d, ", i, i);
	return psprintf("SELECT %s(-1)::pg_catalog.int8 AS w FROM %s h WHERE h.op = 'd'::\"char\" OR (h.op = 'u'::\"char\" AND h.vis) "
					"UNION ALL SELECT %s FROM %s h WHERE h.op = 'i'::\"char\" OR (h.op = 'u'::\"char\" AND h.vis)",
					o.data, changes, pgt_join2(pgt_columns("h", store->nvisible, 0), "1::pg_catalog.int8 AS w"), changes);
}

List *
pgt_apply_inner(PgtStore *store, const PgtTarget *target, const char *changes)
{
	List *steps = change_steps(store, target, changes, store->ncols, NULL);
	ListCell *lc;

	foreach (lc, steps)
		((PgtStep *) lfirst(lc))->counts = PGT_COUNT_NONE;
	return steps;
}

List *
pgt_apply_keyed(PgtStore *store, const PgtTarget *target, const char *changes)
{
	PgtStep *chg = pgt_step(PGT_STEP_ENR, PGT_COUNT_NONE, "__pgt_chg", changes);
	List *steps;

	chg->skip_if_empty = true;
	steps = list_make2(chg, pgt_step(PGT_STEP_OUT, PGT_COUNT_NONE, NULL, own_delta(store)));
	return list_concat(steps, change_steps(store, target, "__pgt_chg", store->ncols, NULL));
}
