/*
 * extrema.c - the next minimum or maximum from an index, when the last one left its group.
 *
 * Otherwise the group is read again, which costs as much as the group is large.  Where the AGG reads one table and a btree on it
 * begins with the group's keys, all NOT NULL, followed by the value, the next extremum is its first entry from one end.  The number
 * of its copies is then not known, and need not be: the next removal looks again.  An index that would serve and does not exist is
 * named to whoever asks (explain_st); nothing else is made of it, since it costs writers what it spares the refresh.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_index.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "deparse.h"
#include "weights.h"

/* The table's column that column `col` of the node is, if the node is one table, filtered and projected; else 0. */
static AttrNumber
table_column(const PgtOp *op, int col, Oid *relid)
{
	while (op->kind == PGT_OP_SELECT && !op->clock && list_length(op->children) == 1)
	{
		Var *v = list_nth(op->targets, col - 1);

		if (!IsA(v, Var))
			return 0;
		col = v->varattno;
		op = linitial(op->children);
	}
	if (op->kind != PGT_OP_SCAN || !OidIsValid(op->relid))
		return 0;
	*relid = op->relid;
	return list_nth_int(op->attnums, col - 1);
}

/* A btree whose first columns are the keys in any order, and then the value. */
static bool
index_fits(Form_pg_index index, HeapTuple tuple, List *keys, AttrNumber value)
{
	int nkeys = list_length(keys);

	if (!index->indisvalid || index->indnkeyatts <= nkeys || index->indkey.values[nkeys] != value ||
		!heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < nkeys; i++)
		if (!list_member_int(keys, index->indkey.values[i]))
			return false;
	return true;
}

static bool
is_btree(Oid indexrelid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(indexrelid));
	bool result = HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

static bool
has_index(Oid relid, List *keys, AttrNumber value)
{
	Relation rel = relation_open(relid, AccessShareLock);
	bool found = false;
	ListCell *lc;

	foreach (lc, RelationGetIndexList(rel))
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		found |= is_btree(lfirst_oid(lc)) && index_fits((Form_pg_index) GETSTRUCT(tuple), tuple, keys, value);
		ReleaseSysCache(tuple);
	}
	relation_close(rel, AccessShareLock);
	return found;
}

/* What an index must have: the table's columns of the group's keys, then that of the value. */
typedef struct Lookup
{
	Oid relid;
	List *keys; /* of int, without duplicates */
	AttrNumber value;
} Lookup;

/* Could an index find the next extremum? */
static bool
find_lookup(const PgtStore *store, const PgtState *state, Lookup *lookup)
{
	const PgtOp *agg = store->agg;
	const PgtOp *child = linitial(agg->children);

	*lookup = (Lookup){InvalidOid, NIL, 0};
	if (state->value == 0 || state->redo == NULL)
		return false;
	for (int k = 1; k <= agg->nkeys; k++)
	{
		AttrNumber key = table_column(child, k, &lookup->relid);

		if (key == 0 || !child->cols[k - 1].notnull)
			return false;
		lookup->keys = list_append_unique_int(lookup->keys, key);
	}
	lookup->value = table_column(child, state->value, &lookup->relid);
	return lookup->value != 0 && !has_subclass(lookup->relid);
}

static bool
can_probe(const PgtStore *store, const PgtState *state)
{
	Lookup lookup;

	return find_lookup(store, state, &lookup) && has_index(lookup.relid, lookup.keys, lookup.value);
}

/* The extremum of the rows there are in the group of m. */
static char *
probe(const PgtStore *store, const PgtState *state)
{
	const PgtOp *child = linitial(store->agg->children);
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "SELECT a1.c%d FROM (%s) a1 WHERE a1.c%d IS NOT NULL", state->value, pgt_post(child), state->value);
	for (int k = 1; k <= store->agg->nkeys; k++)
		appendStringInfo(&s, " AND %s", pgt_same(&child->cols[k - 1], psprintf("a1.c%d", k), psprintf("m.c%d", k)));
	if (state->filter != NULL)
		appendStringInfo(&s, " AND (%s)", state->filter);
	appendStringInfo(&s, " ORDER BY a1.c%d %s LIMIT 1", state->value, state->max ? "DESC" : "ASC");
	return s.data;
}

PgtStore *
pgt_probed_extrema(PgtStore *store)
{
	PgtStore *copy = palloc(sizeof(PgtStore));
	bool any = false;

	*copy = *store;
	copy->states = palloc(sizeof(PgtStates));
	*copy->states = *store->states;
	copy->states->list = NIL;
	for (int i = 0; i < list_length(store->states->list); i++)
	{
		PgtState *state = palloc(sizeof(PgtState));
		PgtState *copies = i + 1 < list_length(store->states->list) ? palloc(sizeof(PgtState)) : NULL;

		*state = *(PgtState *) list_nth(store->states->list, i);
		copy->states->list = lappend(copy->states->list, state);
		if (copies == NULL || !can_probe(store, state))
			continue;
		*copies = *(PgtState *) list_nth(store->states->list, ++i);
		copies->merge = psprintf("CASE WHEN %s THEN NULL::pg_catalog.int8 ELSE %s END", state->redo, copies->merge);
		state->merge = psprintf("CASE WHEN %s THEN (%s) ELSE %s END", state->redo, probe(store, state), state->merge);
		state->redo = NULL;
		copy->states->list = lappend(copy->states->list, copies);
		any = true;
	}
	return any ? copy : store;
}

/* ---------- indexes that are not there ---------- */

static char *
create_index(const Lookup *lookup)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	appendStringInfo(&s, "CREATE INDEX ON %s (",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(lookup->relid)), get_rel_name(lookup->relid)));
	foreach (lc, lookup->keys)
		appendStringInfo(&s, "%s, ", quote_identifier(get_attname(lookup->relid, lfirst_int(lc), false)));
	appendStringInfo(&s, "%s)", quote_identifier(get_attname(lookup->relid, lookup->value, false)));
	return s.data;
}

/* A value that is a key too is the same in all of its group: nothing to look up. */
static bool
index_would_serve(const Lookup *lookup)
{
	return !list_member_int(lookup->keys, lookup->value) && pgt_type_has_order(get_atttype(lookup->relid, lookup->value)) &&
		   !has_index(lookup->relid, lookup->keys, lookup->value);
}

List *
pgt_extrema_missing_indexes(const PgtStore *store, List *statements)
{
	ListCell *lc;

	if (store->states == NULL)
		return statements;
	foreach (lc, store->states->list)
	{
		Lookup lookup;
		ListCell *known;
		bool seen = false;
		char *sql;

		if (!find_lookup(store, lfirst(lc), &lookup) || !index_would_serve(&lookup))
			continue;
		sql = create_index(&lookup);
		foreach (known, statements)
			seen |= strcmp(lfirst(known), sql) == 0;
		if (!seen)
			statements = lappend(statements, sql);
	}
	return statements;
}
