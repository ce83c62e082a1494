/*
 * store.c - deciding an ST's storage and its access paths.
 *
 * Rows of a bag are looked up by the columns that tell them apart, if primary keys give such (the index is not unique: nothing
 * depends on it).  Otherwise rows are looked up by a unique index where the key columns are proven NOT NULL and of bounded width, else by an index on
 * hash_record_extended(ROW(...), 0) with a recheck by value: that is NULL-safe, has no width limit, and can be hash-joined,
 * which IS NOT DISTINCT FROM cannot.  Types without hash support stay out of the hash and are left to the recheck.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "deparse.h"
#include "rowkey.h"
#include "store.h"

/* Columns of a change of a group beside the visible ones and keys, per old and new: tid, flags. */
#define GROUP_EXTRAS 4

static void
add_column(PgtStore *store, const PgtCol *col, const char *name)
{
	store->cols = store->cols == NULL ? palloc(sizeof(PgtCol)) : repalloc(store->cols, sizeof(PgtCol) * (store->ncols + 1));
	store->names = store->names == NULL ? palloc(sizeof(char *)) : repalloc(store->names, sizeof(char *) * (store->ncols + 1));
	store->plain_names =
		store->plain_names == NULL ? palloc(sizeof(char *)) : repalloc(store->plain_names, sizeof(char *) * (store->ncols + 1));
	store->plain_names[store->ncols] = pstrdup(name);
	store->cols[store->ncols] = *col;
	store->names[store->ncols++] = pstrdup(quote_identifier(name));
}

/* The first visible column that is exactly the AGG's column `col`, 1-based; 0 when there is none. */
static int
visible_position(PgtStore *store, int col)
{
	ListCell *lc;

	foreach (lc, store->root->targets)
	{
		Var *v = lfirst(lc);

		if (IsA(v, Var) && v->varattno == col)
			return foreach_current_index(lc) + 1;
	}
	return 0;
}

/* Bounded width, so that a btree entry always fits. */
static bool
is_short(const PgtCol *col)
{
	Oid type = getBaseType(col->type);

	if (get_typlen(type) > 0)
		return true;
	return (type == VARCHAROID || type == BPCHAROID || type == NUMERICOID) && col->typmod > 0 && col->typmod < 300 * 65536 &&
		   (type == NUMERICOID || col->typmod < 300);
}

static void
plan_keys(PgtStore *store)
{
	int hidden = 0;

	store->keycols = palloc0(sizeof(int) * (store->agg->nkeys + 1));
	store->unique = store->agg->nkeys > 0 && store->agg->nkeys <= 16;
	for (int k = 1; k <= store->agg->nkeys; k++)
	{
		PgtCol *col = &store->agg->cols[k - 1];

		store->keycols[k - 1] = visible_position(store, k);
		if (store->keycols[k - 1] == 0)
		{
			add_column(store, col, psprintf("__pgt_k%d", ++hidden));
			store->keycols[k - 1] = store->ncols;
		}
		if (!col->notnull || !is_short(col) || !pgt_type_has_order(col->type))
			store->unique = false;
	}
}

/* The row key of a bag, if an ordinary index can serve it. */
static List *
indexable_row_key(const PgtOp *root)
{
	List *key = pgt_row_key(root);
	ListCell *lc;

	if (list_length(key) > 16)
		return NIL;
	foreach (lc, key)
	{
		const PgtCol *col = &root->cols[lfirst_int(lc) - 1];

		if (!col->notnull || !is_short(col) || !pgt_type_has_order(col->type))
			return NIL;
	}
	return key;
}

/* Every state gets a column: a visible one that shows exactly this value, or a hidden one. */
static void
place_states(PgtStore *store)
{
	ListCell *lc;

	foreach (lc, store->states->list)
	{
		PgtState *state = lfirst(lc);

		if (state->agg > 0)
			state->column = visible_position(store, state->agg);
		if (state->column > 0)
			continue;
		add_column(store, &state->col, state->number == store->states->rows ? "__pgt_n" : psprintf("__pgt_s%d", state->number));
		state->column = store->ncols;
	}
}

/* States of min and max are computed in windows over a group, and windows sort: xid and its like can only be grouped by hash. */
static bool
keys_have_order(const PgtOp *agg)
{
	for (int k = 0; k < agg->nkeys; k++)
		if (!pgt_type_has_order(agg->cols[k].type))
			return false;
	return true;
}

/* The widest rows of the program are those that are merged: keys, changes (two for an extremum), the stored row, new states. */
static bool
states_fit(const PgtStore *store, const PgtStates *states)
{
	int width = store->agg->nkeys + store->ncols + 2;
	ListCell *lc;

	foreach (lc, states->list)
		width += ((PgtState *) lfirst(lc))->removed != NULL ? 4 : 3;
	return width <= MaxTupleAttributeNumber;
}

PgtStore *
pgt_store_plan(PgtOp *root, List *names)
{
	PgtStore *store = palloc0(sizeof(PgtStore));
	PgtStates *states;
	ListCell *lc;

	store->root = root;
	store->kind = PGT_STORE_BAG;
	foreach (lc, names)
		add_column(store, &root->cols[foreach_current_index(lc)], lfirst(lc));
	store->nvisible = store->ncols;
	/*
	 * A change of a group is one row of old and new values (apply.c); where that is too wide, groups are rows like others, and so are those
	 * that an inner table keeps.
	 */
	if (list_length(root->children) == 1 && pgt_op_child(root, 1)->kind == PGT_OP_AGG && pgt_op_child(root, 1)->inner == NULL &&
		2 * (store->ncols + pgt_op_child(root, 1)->nkeys + GROUP_EXTRAS) <= MaxTupleAttributeNumber)
	{
		store->agg = pgt_op_child(root, 1);
		store->kind = PGT_STORE_GROUPS;
		plan_keys(store);
		states = store->root->quals == NIL && keys_have_order(store->agg) ? pgt_states_plan(store->agg) : NULL;
		if (states != NULL && states_fit(store, states))
		{
			store->states = states;
			store->kind = PGT_STORE_WEIGHTS;
			place_states(store);
		}
	}
	else
		store->rowkey = indexable_row_key(root);
	return store;
}

PgtStore *
pgt_store_bag(PgtOp *root, List *names)
{
	PgtStore *store = pgt_store_plain(root->cols, names);

	store->root = root;
	store->rowkey = indexable_row_key(root);
	return store;
}

/*
 * For a comparison nothing is known of the stored rows: they may be older than a NOT NULL or a primary key that the query's rows
 * fulfil today.
 */
PgtStore *
pgt_store_unconstrained(const PgtStore *store)
{
	PgtStore *copy = palloc(sizeof(PgtStore));

	*copy = *store;
	copy->rowkey = NIL;
	copy->cols = palloc(sizeof(PgtCol) * store->ncols);
	for (int i = 0; i < store->ncols; i++)
	{
		copy->cols[i] = store->cols[i];
		copy->cols[i].notnull = false;
	}
	return copy;
}

PgtStore *
pgt_store_plain(PgtCol *cols, List *names)
{
	PgtStore *store = palloc0(sizeof(PgtStore));
	ListCell *lc;

	store->kind = PGT_STORE_BAG;
	foreach (lc, names)
		add_column(store, &cols[foreach_current_index(lc)], lfirst(lc));
	store->nvisible = store->ncols;
	return store;
}

/* Hidden keys and states as columns of alias a1, numbered as storage columns. */
char *
pgt_store_hidden(PgtStore *store)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	for (int k = 1; k <= store->agg->nkeys; k++)
		if (store->keycols[k - 1] > store->nvisible)
			appendStringInfo(&s, "%sa1.c%d AS c%d", s.len > 0 ? ", " : "", k, store->keycols[k - 1]);
	foreach (lc, store->states == NULL ? NIL : store->states->list)
	{
		PgtState *state = lfirst(lc);

		if (state->column > store->nvisible)
			appendStringInfo(&s, "%sa1.n%d AS c%d", s.len > 0 ? ", " : "", state->number, state->column);
	}
	return s.data;
}

char *
pgt_store_inits(PgtStore *store, bool recount)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, store->states == NULL ? NIL : store->states->list)
	{
		PgtState *state = lfirst(lc);

		appendStringInfo(&s, "%s%s AS n%d", s.len > 0 ? ", " : "", recount && state->recount != NULL ? state->recount : state->init,
						 state->number);
	}
	return s.data;
}

/* Is the storage column (1-based) one whose value may be not known? */
bool
pgt_store_is_lazy(PgtStore *store, int column)
{
	ListCell *lc;

	foreach (lc, store->states == NULL ? NIL : store->states->list)
		if (((PgtState *) lfirst(lc))->lazy && ((PgtState *) lfirst(lc))->column == column)
			return true;
	return false;
}

char *
pgt_store_rows(PgtStore *store, const char *from)
{
	PgtOp *root = store->root;
	char *quals = pgt_quals(root->quals, root->children);

	return psprintf("SELECT %s FROM (%s) a1%s%s",
					pgt_join2(pgt_targets(root->targets, root->children), pgt_store_hidden(store)),
					pgt_aggregate(store->agg, from, pgt_store_inits(store, false)), quals == NULL ? "" : " WHERE ", quals == NULL ? "" : quals);
}

char *
pgt_store_load(PgtStore *store)
{
	if (store->kind == PGT_STORE_BAG)
		return pgt_post(store->root);
	return pgt_store_rows(store, psprintf("(%s)", pgt_post(pgt_op_child(store->agg, 1))));
}

char *
pgt_store_columns(PgtStore *store, int n)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < n; i++)
		appendStringInfo(&s, "%s%s", i > 0 ? ", " : "", store->names[i]);
	return s.data;
}

char *
pgt_store_row(PgtStore *store, const char *prefix)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < store->ncols; i++)
		appendStringInfo(&s, "%ss.%s AS %s%d", i > 0 ? ", " : "", store->names[i], prefix, i + 1);
	return s.data;
}

/* Columns in a hash: the index's expression has to fit into a row of pg_index.  The others are left to the recheck. */
#define MAX_HASHED 64

/*
 * ROW(...) over the hashable columns among the keys, or among all columns: of the ST (alias s, or "" in an index), or of a row
 * c1..cn that has the columns in the same order.
 */
static char *
hash_of(PgtStore *store, bool of_keys, const char *st_alias, const char *row_alias)
{
	StringInfoData s;
	int n = of_keys ? store->agg->nkeys : store->nvisible;
	int nhashed = 0;

	initStringInfo(&s);
	for (int i = 1; i <= n && nhashed < MAX_HASHED; i++)
	{
		int col = of_keys ? store->keycols[i - 1] : i;

		if (!pgt_type_has_hash(store->cols[col - 1].type))
			continue;
		nhashed++;
		appendStringInfoString(&s, s.len > 0 ? ", " : "");
		if (st_alias != NULL)
			appendStringInfo(&s, "%s%s", st_alias, store->names[col - 1]);
		else
			appendStringInfo(&s, "%s.c%d", row_alias, i);
	}
	return s.len == 0 ? NULL : psprintf("pg_catalog.hash_record_extended(ROW(%s), 0)", s.data);
}

char *
pgt_store_hash(PgtStore *store, bool of_keys, const char *st_alias, const char *row_alias)
{
	char *st = hash_of(store, of_keys, st_alias, NULL);

	return st == NULL ? NULL : psprintf("%s = %s", st, hash_of(store, of_keys, NULL, row_alias));
}

char *
pgt_store_key_match(PgtStore *store, const char *row_alias)
{
	StringInfoData s;
	char *hash = store->unique ? NULL : pgt_store_hash(store, true, "s.", row_alias);

	initStringInfo(&s);
	appendStringInfoString(&s, hash == NULL ? "" : hash);
	for (int k = 1; k <= store->agg->nkeys; k++)
		appendStringInfo(&s, "%s%s", s.len > 0 ? " AND " : "",
						 pgt_same(&store->agg->cols[k - 1], psprintf("s.%s", store->names[store->keycols[k - 1] - 1]),
								  psprintf("%s.c%d", row_alias, k)));
	return s.len == 0 ? "true" : s.data;
}

/* The statement is a pattern (see PgtView.indexes): a percent sign in a user's name is doubled. */
static char *
double_percent(const char *text)
{
	StringInfoData s;

	initStringInfo(&s);
	for (; *text != '\0'; text++)
	{
		if (*text == '%')
			appendStringInfoChar(&s, '%');
		appendStringInfoChar(&s, *text);
	}
	return s.data;
}

List *
pgt_store_indexes(PgtStore *store)
{
	StringInfoData s;
	char *hash;

	if (store->root == NULL || (store->agg != NULL && store->agg->nkeys == 0))
		return NIL;
	initStringInfo(&s);
	if (store->unique)
	{
		for (int k = 0; k < store->agg->nkeys; k++)
			appendStringInfo(&s, "%s%s", k > 0 ? ", " : "", store->names[store->keycols[k] - 1]);
		return list_make1(psprintf("CREATE UNIQUE INDEX ON %%s (%s)", double_percent(s.data)));
	}
	if (store->rowkey != NIL)
	{
		ListCell *lc;

		foreach (lc, store->rowkey)
			appendStringInfo(&s, "%s%s", s.len > 0 ? ", " : "", store->names[lfirst_int(lc) - 1]);
		return list_make1(psprintf("CREATE INDEX ON %%s (%s)", double_percent(s.data)));
	}
	hash = hash_of(store, store->agg != NULL, "", NULL);
	if (hash == NULL)
		return NIL;
	return list_make1(psprintf("CREATE INDEX ON %%s ((%s))", double_percent(hash)));
}
