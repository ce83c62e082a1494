/*
 * rowkey.c - deriving a row key from primary keys (see rowkey.h).
 *
 * SCAN: the primary key.  SELECT: an input is determined when equalities bind all its key columns to determined inputs or to
 * constants; the keys of a few inputs that determine the others make the key, if all their columns are output.  Left join: the left
 * side's key, when the join condition binds the right side's.  AGG: the grouping columns.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "rowkey.h"

static List *
key_of_scan(const PgtOp *op)
{
	Relation rel = table_open(op->relid, NoLock);
	/* rows of inheritance children are read too, and the key is not theirs */
	Oid index = rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relhassubclass ? pgt_primary_key_index(rel) : InvalidOid;
	List *result = NIL;
	HeapTuple tuple;
	Form_pg_index form;

	table_close(rel, NoLock);
	if (!OidIsValid(index))
		return NIL;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return NIL;
	form = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		ListCell *lc;
		int position = 0;

		foreach (lc, op->attnums)
			if (lfirst_int(lc) == form->indkey.values[i])
				position = foreach_current_index(lc) + 1;
		if (position == 0)
		{
			result = NIL;
			break;
		}
		result = lappend_int(result, position);
	}
	ReleaseSysCache(tuple);
	return result;
}

/* Does this conjunct bind column `col` of input `input` to something that the inputs in `known`, or nothing at all, determine? */
static bool
binds(Node *qual, int input, int col, Bitmapset *known)
{
	OpExpr *op = (OpExpr *) qual;

	if (!IsA(qual, OpExpr) || list_length(op->args) != 2 || !op_mergejoinable(op->opno, exprType(linitial(op->args))))
		return false;
	/* several keys may be equal to one value then */
	if (OidIsValid(op->inputcollid) && !get_collation_isdeterministic(op->inputcollid))
		return false;
	for (int side = 0; side < 2; side++)
	{
		Var *v = list_nth(op->args, side);
		Node *other = list_nth(op->args, 1 - side);

		if (!IsA(v, Var) || (int) v->varno != input || v->varattno != col)
			continue;
		if (IsA(other, Const) || (IsA(other, Var) && bms_is_member(((Var *) other)->varno, known)))
			return true;
	}
	return false;
}

static bool
determined(List *quals, List *key, int input, Bitmapset *known)
{
	ListCell *lk;
	ListCell *lq;

	if (key == NIL)
		return false;
	foreach (lk, key)
	{
		bool bound = false;

		foreach (lq, quals)
			bound |= binds(lfirst(lq), input, lfirst_int(lk), known);
		if (!bound)
			return false;
	}
	return true;
}

/* All inputs that `known` determines, itself included. */
static Bitmapset *
closure(List *quals, List **keys, int n, Bitmapset *known)
{
	bool grew = true;

	while (grew)
	{
		grew = false;
		for (int i = 1; i <= n; i++)
			if (!bms_is_member(i, known) && determined(quals, keys[i], i, known))
			{
				known = bms_add_member(known, i);
				grew = true;
			}
	}
	return known;
}

/* Where the targets output column `col` of input `input`; 0: nowhere. */
static int
output_position(List *targets, int input, int col)
{
	ListCell *lc;

	foreach (lc, targets)
	{
		Var *v = lfirst(lc);

		if (IsA(v, Var) && (int) v->varno == input && v->varattno == col)
			return foreach_current_index(lc) + 1;
	}
	return 0;
}

static List *
output_key(const PgtOp *op, List *key, int input)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, key)
	{
		int position = output_position(op->targets, input, lfirst_int(lc));

		if (position == 0)
			return NIL;
		result = lappend_int(result, position);
	}
	return result;
}

/* Inputs are taken in an order that prefers those which determine most; each must output its key. */
static List *
key_of_select(const PgtOp *op)
{
	int n = list_length(op->children);
	List **keys = palloc0(sizeof(List *) * (n + 1));
	Bitmapset *known = NULL;
	List *result = NIL;

	for (int i = 1; i <= n; i++)
		keys[i] = pgt_row_key(pgt_op_child(op, i));
	while (bms_num_members(known) < n)
	{
		int best = 0;
		int best_size = 0;

		for (int i = 1; i <= n; i++)
		{
			int size;

			if (bms_is_member(i, known) || output_key(op, keys[i], i) == NIL)
				continue;
			size = bms_num_members(closure(op->quals, keys, n, bms_add_member(bms_copy(known), i)));
			if (size > best_size)
			{
				best = i;
				best_size = size;
			}
		}
		if (best == 0)
			return NIL;
		result = list_concat(result, output_key(op, keys[best], best));
		known = closure(op->quals, keys, n, bms_add_member(known, best));
	}
	return result;
}

List *
pgt_row_key(const PgtOp *op)
{
	List *result = NIL;

	switch (op->kind)
	{
		case PGT_OP_SCAN:
			return key_of_scan(op);
		case PGT_OP_SELECT:
			return op->children == NIL ? NIL : key_of_select(op);
		case PGT_OP_OUTER:
			if (!op->full && determined(op->quals, pgt_row_key(pgt_op_child(op, 2)), 2, bms_make_singleton(1)))
				return pgt_row_key(pgt_op_child(op, 1));
			return NIL;
		case PGT_OP_AGG:
			for (int i = 1; i <= op->nkeys; i++)
				result = lappend_int(result, i);
			return result;
		default:
			return NIL;
	}
}
