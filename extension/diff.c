/*
 * diff.c - comparing a bag with its query.
 *
 * Of the stored rows nothing is taken for granted: they may be older than a NOT NULL or a primary key that the query's rows fulfil today.
 * The query's own rows do fulfil it: a constraint cannot come or go while a refresh holds its sources, and it held them before it
 * took its snapshot.
 *
 *	row key		one full join by key; stored copies of a key are numbered, and only the first meets a row of the query
 *	otherwise	both sides in one bag, grouped by image; a group notes the ctid of its stored row, so that only surplus copies of
 *				rows that are stored more than once have to be looked for
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "apply.h"

/* op, tid and present, rn of both sides, vis, hid; some to spare */
#define CHANGE_EXTRAS 16

/* ---------- with a row key ---------- */

static char *
both_sides(int n)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, ", n.c%d", i);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, ", o.o%d", i);
	return s.data;
}

static char *
keyed_changes(PgtStore *store, const PgtTarget *target, const char *rows)
{
	StringInfoData on;
	StringInfoData keys;
	ListCell *lc;

	initStringInfo(&on);
	initStringInfo(&keys);
	foreach (lc, store->rowkey)
	{
		int col = lfirst_int(lc);

		/* a stored NULL meets nothing: it goes, and what belongs there comes */
		appendStringInfo(&on, "n.c%d %s o.o%d AND ", col, pgt_type_operator(store->cols[col - 1].type, true), col);
		appendStringInfo(&keys, "%ss.%s", keys.len > 0 ? ", " : "", store->names[col - 1]);
	}
	return psprintf("SELECT CASE WHEN o.tid IS NULL THEN 'i' WHEN n.present IS NULL THEN 'd' ELSE 'u' END::\"char\" AS op, o.tid%s"
					" FROM (SELECT q.*, true AS present, 1::pg_catalog.int8 AS rn FROM (%s) q) n FULL JOIN"
					" (SELECT s.ctid AS tid, %s, pg_catalog.row_number() OVER (PARTITION BY %s) AS rn FROM %s s) o ON %sn.rn = o.rn",
					both_sides(store->ncols), rows, pgt_store_row(store, "o"), keys.data, target->st, on.data);
}

/* ---------- without ---------- */

/* c1..cn, w: copies too few (or, negative, too many) in the ST; n: copies there; tid: of one of them */
static char *
difference(PgtStore *store, const PgtTarget *target, const char *rows)
{
	StringInfoData stored;
	char *keys = pgt_image_keys(store->cols, store->ncols, "a1");

	initStringInfo(&stored);
	for (int i = 0; i < store->nvisible; i++)
		appendStringInfo(&stored, "s.%s AS c%d, ", store->names[i], i + 1);
	return psprintf("SELECT %s FROM (SELECT q.*, NULL::pg_catalog.tid AS tid, 1 AS w FROM (%s) q UNION ALL SELECT %ss.ctid, -1 FROM %s s) a1"
					"%s%s HAVING pg_catalog.sum(a1.w) <> 0",
					pgt_join2(pgt_image_values(store->cols, store->ncols, "a1"),
							  "pg_catalog.sum(a1.w)::pg_catalog.int8 AS w, pg_catalog.count(a1.tid) AS n, pg_catalog.max(a1.tid) AS tid"),
					rows, stored.data, target->st, keys[0] ? " GROUP BY " : "", keys);
}

static PgtStep *
enr_step(const char *name, const char *sql)
{
	PgtStep *step = pgt_step(PGT_STEP_ENR, PGT_COUNT_NONE, name, sql);

	step->skip_if_empty = true;
	return step;
}

static List *
plain_diff(PgtStore *store, const PgtTarget *target, const char *rows)
{
	char *cols = pgt_columns("d", store->nvisible, 0);
	List *steps = list_make1(enr_step("__pgt_diff", difference(store, target, rows)));
	PgtStep *single;

	steps = lappend(steps, pgt_step(PGT_STEP_OUT, PGT_COUNT_NONE, NULL,
									psprintf("SELECT %s FROM __pgt_diff d", pgt_join2("d.w::pg_catalog.int4 AS w", cols))));
	single = pgt_step(PGT_STEP_DML, PGT_COUNT_DELETED, NULL,
					  psprintf("DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT d.tid FROM __pgt_diff d WHERE d.w < 0 AND d.n = 1))", target->st));
	single->seqscan_off = true;
	steps = lappend(steps, single);
	steps = lappend(steps, enr_step("__pgt_delta", psprintf("SELECT %s FROM __pgt_diff d WHERE d.w > 0 OR d.n > 1", pgt_join2(cols, "d.w"))));
	steps = lappend(steps, pgt_step(PGT_STEP_DML, PGT_COUNT_DELETED, NULL,
									psprintf("DELETE FROM %s WHERE %s", target->st, pgt_expected_victims(store, target))));
	return lappend(steps, pgt_step(PGT_STEP_DML, PGT_COUNT_INSERTED, NULL,
								   psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", target->st, pgt_store_columns(store, store->nvisible), cols,
											pgt_rows_coming("__pgt_delta"))));
}

List *
pgt_diff_bag(PgtStore *store, const PgtTarget *target, const char *rows)
{
	PgtStore *plain = pgt_store_unconstrained(store);

	if (store->rowkey == NIL || 2 * store->ncols + CHANGE_EXTRAS > MaxTupleAttributeNumber)
		return plain_diff(plain, target, rows);
	return pgt_apply_keyed(plain, target, pgt_changed_rows(plain, keyed_changes(store, target, rows), false));
}
