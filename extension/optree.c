/*
 * optree.c - making, describing and pruning operator nodes, and what types mean for comparing rows.
 *
 * Pruning runs once, top down, after the tree is built: a node learns which of its columns anybody above uses, drops the
 * others and renumbers the Vars of its own expressions by what its children kept.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "optree.h"
#include "part.h"
#include "template.h"

PgtOp *
pgt_op_make(PgtOpKind kind, int id, int ncols)
{
	PgtOp *op = palloc0(sizeof(PgtOp));

	op->kind = kind;
	op->id = id;
	op->ncols = ncols;
	op->cols = palloc0(sizeof(PgtCol) * Max(ncols, 1));
	return op;
}

PgtOp *
pgt_op_clone(const PgtOp *op)
{
	PgtOp *copy = palloc(sizeof(PgtOp));
	ListCell *lc;

	*copy = *op;
	copy->cols = palloc(sizeof(PgtCol) * Max(op->ncols, 1));
	memcpy(copy->cols, op->cols, sizeof(PgtCol) * op->ncols);
	copy->targets = copyObject(op->targets);
	copy->quals = copyObject(op->quals);
	copy->aggs = copyObject(op->aggs);
	copy->query = copyObject(op->query);
	copy->touches = copyObject(op->touches);
	copy->part = pgt_part_clone(op->part);
	copy->children = NIL;
	foreach (lc, op->children)
		copy->children = lappend(copy->children, pgt_op_clone(lfirst(lc)));
	return copy;
}

PgtOp *
pgt_op_child(const PgtOp *op, int ordinal)
{
	return (PgtOp *) list_nth(op->children, ordinal - 1);
}

bool
pgt_op_is_opaque(const PgtOp *op, bool (*kept)(const PgtOp *))
{
	ListCell *lc;

	if (kept(op))
		return false;
	if (op->kind == PGT_OP_AGG || op->kind == PGT_OP_PART)
		return true;
	foreach (lc, op->children)
		if (pgt_op_is_opaque(lfirst(lc), kept))
			return true;
	return false;
}

bool
pgt_passes_columns(const PgtOp *input, List *targets)
{
	ListCell *lc;

	if (list_length(targets) != input->ncols)
		return false;
	foreach (lc, targets)
	{
		Var *v = lfirst(lc);

		if (!IsA(v, Var) || v->varattno != foreach_current_index(lc) + 1)
			return false;
	}
	return true;
}

Var *
pgt_op_var(const PgtOp *child, int ordinal, int col)
{
	const PgtCol *c = &child->cols[col - 1];

	return makeVar(ordinal, col, c->type, c->typmod, c->collation, 0);
}

bool
pgt_op_changed(const PgtOp *op, Bitmapset *changed)
{
	return bms_overlap(op->sources, changed);
}

bool
pgt_op_is_self(const PgtOp *op)
{
	return op->kind == PGT_OP_SCAN && !OidIsValid(op->relid);
}

int
pgt_op_self(const PgtOp *op)
{
	int last = op->kind == PGT_OP_SELECT && !op->clock                               ? list_length(op->children)
			   : (op->kind == PGT_OP_OUTER && !op->full) || op->kind == PGT_OP_APPLY ? 1
																					 : 0;

	for (int i = 1; i <= last; i++)
		if (pgt_op_is_self(pgt_op_child(op, i)) || pgt_op_self(pgt_op_child(op, i)) > 0)
			return i;
	return 0;
}

/* Columns that a conjunct proves not NULL: direct arguments of strict operators. */
static bool
quals_prove_notnull(List *quals, const Var *var)
{
	ListCell *lc;

	foreach (lc, quals)
	{
		OpExpr *op = lfirst(lc);
		ListCell *arg;

		if (!IsA(op, OpExpr) || !op_strict(op->opno))
			continue;
		foreach (arg, op->args)
		{
			Var *v = (Var *) lfirst(arg);

			if (IsA(v, RelabelType))
				v = (Var *) ((RelabelType *) v)->arg;
			if (IsA(v, Var) && v->varno == var->varno && v->varattno == var->varattno)
				return true;
		}
	}
	return false;
}

static bool
expr_notnull(const PgtOp *op, Node *expr)
{
	if (IsA(expr, Const))
		return !((Const *) expr)->constisnull;
	if (IsA(expr, Var))
	{
		Var *v = (Var *) expr;

		return pgt_op_child(op, v->varno)->cols[v->varattno - 1].notnull || quals_prove_notnull(op->quals, v);
	}
	return false;
}

static void
describe_expr(PgtCol *col, Node *expr, bool notnull)
{
	col->type = exprType(expr);
	col->typmod = exprTypmod(expr);
	col->collation = exprCollation(expr);
	col->notnull = notnull;
}

static void
describe_select(PgtOp *op)
{
	ListCell *lc;
	int i = 0;

	op->ncols = list_length(op->targets);
	op->cols = palloc0(sizeof(PgtCol) * Max(op->ncols, 1));
	foreach (lc, op->targets)
		describe_expr(&op->cols[i++], lfirst(lc), expr_notnull(op, lfirst(lc)));
}

static void
describe_outer(PgtOp *op)
{
	PgtOp *l = pgt_op_child(op, 1);
	PgtOp *r = pgt_op_child(op, 2);

	op->ncols = l->ncols + r->ncols;
	op->cols = palloc0(sizeof(PgtCol) * Max(op->ncols, 1));
	memcpy(op->cols, l->cols, sizeof(PgtCol) * l->ncols);
	memcpy(op->cols + l->ncols, r->cols, sizeof(PgtCol) * r->ncols);
	for (int i = op->full ? 0 : l->ncols; i < op->ncols; i++)
		op->cols[i].notnull = false;
}

static void
describe_agg(PgtOp *op)
{
	PgtOp *child = pgt_op_child(op, 1);
	ListCell *lc;
	int i = op->nkeys;

	op->ncols = op->nkeys + list_length(op->aggs);
	op->cols = palloc0(sizeof(PgtCol) * Max(op->ncols, 1));
	memcpy(op->cols, child->cols, sizeof(PgtCol) * op->nkeys);
	foreach (lc, op->aggs)
		describe_expr(&op->cols[i++], lfirst(lc), false);
}

static void
describe_union(PgtOp *op)
{
	ListCell *lc;
	PgtOp *first = pgt_op_child(op, 1);

	op->ncols = first->ncols;
	op->cols = palloc0(sizeof(PgtCol) * Max(op->ncols, 1));
	memcpy(op->cols, first->cols, sizeof(PgtCol) * op->ncols);
	foreach (lc, op->children)
	{
		PgtOp *child = lfirst(lc);

		for (int i = 0; i < op->ncols; i++)
		{
			op->cols[i].notnull &= child->cols[i].notnull;
			if (op->cols[i].typmod != child->cols[i].typmod)
				op->cols[i].typmod = -1;
		}
	}
}

static void
describe_apply(PgtOp *op)
{
	ListCell *lc;
	int i = 0;

	op->ncols = list_length(op->query->targetList);
	op->cols = palloc0(sizeof(PgtCol) * Max(op->ncols, 1));
	foreach (lc, op->query->targetList)
	{
		Var *v = (Var *) ((TargetEntry *) lfirst(lc))->expr;

		describe_expr(&op->cols[i++], (Node *) v,
					  IsA(v, Var) && v->varno == 1 && pgt_op_child(op, 1)->cols[v->varattno - 1].notnull);
	}
}

/* Types are those of the recursion's declaration. */
static void
describe_recursion(PgtOp *op)
{
	for (int i = 0; i < op->ncols; i++)
		op->cols[i].notnull = pgt_op_child(op, 1)->cols[i].notnull && pgt_op_child(op, 2)->cols[i].notnull;
}

void
pgt_op_describe(PgtOp *op)
{
	switch (op->kind)
	{
		case PGT_OP_SCAN:
			break;
		case PGT_OP_SELECT:
			describe_select(op);
			break;
		case PGT_OP_OUTER:
			describe_outer(op);
			break;
		case PGT_OP_AGG:
			describe_agg(op);
			break;
		case PGT_OP_UNION:
			describe_union(op);
			break;
		case PGT_OP_APPLY:
			describe_apply(op);
			break;
		case PGT_OP_PART:
			pgt_part_describe(op);
			break;
		case PGT_OP_RECURSION:
			describe_recursion(op);
			break;
	}
}

/* --- pruning --- */

typedef struct PruneContext
{
	Bitmapset **used; /* per child ordinal: columns used */
	int **newcol;     /* per child ordinal: old column -> new column */
} PruneContext;

static bool
collect_vars(Node *node, PruneContext *cxt)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *v = (Var *) node;

		cxt->used[v->varno] = bms_add_member(cxt->used[v->varno], v->varattno);
		return false;
	}
	return expression_tree_walker(node, collect_vars, cxt);
}

static Node *
renumber_vars(Node *node, PruneContext *cxt)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *v = (Var *) copyObject(node);

		v->varattno = cxt->newcol[v->varno][v->varattno];
		return (Node *) v;
	}
	return expression_tree_mutator(node, renumber_vars, cxt);
}

static int *
kept_numbers(Bitmapset *kept, int ncols)
{
	int *map = palloc0(sizeof(int) * (ncols + 1));
	int n = 0;

	for (int i = 1; i <= ncols; i++)
		if (bms_is_member(i, kept))
			map[i] = ++n;
	return map;
}

/* The members of list whose 1-based position, plus offset, is needed. */
static List *
keep_needed(List *list, Bitmapset *needed, int offset)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, list)
		if (bms_is_member(offset + foreach_current_index(lc) + 1, needed))
			out = lappend(out, lfirst(lc));
	return out;
}

static void
prune_scan(PgtOp *op, Bitmapset *needed)
{
	PgtCol *cols = palloc0(sizeof(PgtCol) * Max(op->ncols, 1));
	List *attnums = NIL;
	int n = 0;

	for (int i = 1; i <= op->ncols; i++)
		if (bms_is_member(i, needed))
		{
			cols[n++] = op->cols[i - 1];
			attnums = lappend_int(attnums, list_nth_int(op->attnums, i - 1));
		}
	op->attnums = attnums;
	op->cols = cols;
	op->ncols = n;
}

static void
collect_template_var(Var *v, int ordinal, void *arg)
{
	PruneContext *cxt = arg;

	cxt->used[ordinal] = bms_add_member(cxt->used[ordinal], v->varattno);
}

static void
renumber_template_var(Var *v, int ordinal, void *arg)
{
	v->varattno = ((PruneContext *) arg)->newcol[ordinal][v->varattno];
}

static void
collect_node(PgtOp *op, PruneContext *cxt)
{
	collect_vars((Node *) op->targets, cxt);
	collect_vars((Node *) op->quals, cxt);
	collect_vars((Node *) op->aggs, cxt);
	collect_vars((Node *) op->touches, cxt);
	if (op->query != NULL)
		pgt_template_visit(op->query, collect_template_var, cxt);
}

static void
renumber_node(PgtOp *op, PruneContext *cxt)
{
	op->targets = (List *) renumber_vars((Node *) op->targets, cxt);
	op->quals = (List *) renumber_vars((Node *) op->quals, cxt);
	op->aggs = (List *) renumber_vars((Node *) op->aggs, cxt);
	op->touches = (List *) renumber_vars((Node *) op->touches, cxt);
	if (op->query != NULL)
		pgt_template_visit(op->query, renumber_template_var, cxt);
}

/* Narrow what the node keeps of its own output; children are told afterwards what the rest uses. */
static void
prune_own(PgtOp *op, Bitmapset *needed)
{
	if (op->kind == PGT_OP_SELECT)
		op->targets = keep_needed(op->targets, needed, 0);
	else if (op->kind == PGT_OP_AGG)
		op->aggs = keep_needed(op->aggs, needed, op->nkeys);
	else if (op->kind == PGT_OP_APPLY)
		op->query->targetList = keep_needed(op->query->targetList, needed, 0);
}

static Bitmapset *
child_needs(PgtOp *op, int ordinal, Bitmapset *needed, Bitmapset *used)
{
	int offset = 0;
	PgtOp *child = pgt_op_child(op, ordinal);

	if (op->kind == PGT_OP_UNION)
		return needed;
	if (op->kind == PGT_OP_AGG && op->nkeys > 0)
		return bms_add_range(used, 1, op->nkeys);
	if (op->kind == PGT_OP_OUTER)
	{
		if (ordinal == 2)
			offset = pgt_op_child(op, 1)->ncols;
		for (int i = 1; i <= child->ncols; i++)
			if (bms_is_member(offset + i, needed))
				used = bms_add_member(used, i);
	}
	return used;
}

/* Every column decides what follows from a row. */
static Bitmapset *
prune_recursion(PgtOp *op)
{
	Bitmapset *all = bms_add_range(NULL, 1, op->ncols);
	ListCell *lc;

	foreach (lc, op->children)
		pgt_op_prune(lfirst(lc), all);
	pgt_op_describe(op);
	return all;
}

/*
 * After this the node yields the needed columns only, in their old order.  The caller renumbers its references by the same rule,
 * with one exception: an AGG keeps all its keys, an OUTER all columns its own quals use.
 */
static Bitmapset *
prune_rec(PgtOp *op, Bitmapset *needed)
{
	int nchildren = list_length(op->children);
	PruneContext cxt;
	Bitmapset *kept = needed;
	int offset = 0;

	if (op->kind == PGT_OP_PART)
		return pgt_part_prune(op, needed);
	if (op->kind == PGT_OP_RECURSION)
		return prune_recursion(op);
	if (op->kind == PGT_OP_SCAN)
	{
		prune_scan(op, needed);
		return kept;
	}
	if (op->kind == PGT_OP_AGG && op->nkeys > 0)
		kept = bms_add_range(bms_copy(needed), 1, op->nkeys);
	if (op->kind == PGT_OP_APPLY && expression_returns_set((Node *) op->query->targetList))
		kept = bms_add_range(NULL, 1, op->ncols); /* a set decides how many rows there are */
	prune_own(op, kept);
	cxt.used = palloc0(sizeof(Bitmapset *) * (nchildren + 1));
	cxt.newcol = palloc0(sizeof(int *) * (nchildren + 1));
	collect_node(op, &cxt);
	if (op->kind == PGT_OP_OUTER)
		kept = NULL;
	for (int i = 1; i <= nchildren; i++)
		cxt.used[i] = child_needs(op, i, needed, cxt.used[i]);
	for (int i = 1; i <= nchildren; i++)
	{
		PgtOp *child = pgt_op_child(op, i);
		int ncols = child->ncols;
		Bitmapset *left = prune_rec(child, cxt.used[i]);

		cxt.newcol[i] = kept_numbers(left, ncols);
		if (op->kind == PGT_OP_OUTER)
			for (int c = 1; c <= ncols; c++)
				if (bms_is_member(c, left))
					kept = bms_add_member(kept, offset + c);
		offset += ncols;
	}
	renumber_node(op, &cxt);
	pgt_op_describe(op);
	return kept;
}

Bitmapset *
pgt_op_prune(PgtOp *op, Bitmapset *needed)
{
	return prune_rec(op, needed);
}

/* --- types --- */

/* Types that can only be hashed (xid) count as without: one GROUP BY cannot mix them with types that can only be sorted. */
bool
pgt_type_has_eq(Oid type)
{
	TypeCacheEntry *tc = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR);

	return OidIsValid(tc->eq_opr) && OidIsValid(tc->lt_opr);
}

bool
pgt_type_has_hash(Oid type)
{
	return pgt_type_has_eq(type) &&
		   OidIsValid(lookup_type_cache(type, TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc);
}

bool
pgt_type_has_order(Oid type)
{
	return OidIsValid(lookup_type_cache(type, TYPECACHE_LT_OPR)->lt_opr);
}

/* The btree opclass says whether equal values are bitwise equal; without one, they may not be. */
bool
pgt_col_image_safe(const PgtCol *col)
{
	TypeCacheEntry *tc = lookup_type_cache(col->type, TYPECACHE_BTREE_OPFAMILY);
	Oid proc;

	/* a declared scale is every value's display scale */
	if (col->type == NUMERICOID && col->typmod >= (int32) VARHDRSZ)
		return true;
	/* and blanks that do not count are there in every value of a declared length */
	if (col->type == BPCHAROID && col->typmod >= (int32) VARHDRSZ && OidIsValid(col->collation) && get_collation_isdeterministic(col->collation))
		return true;
	if (!OidIsValid(tc->btree_opf))
		return false;
	proc = get_opfamily_proc(tc->btree_opf, tc->btree_opintype, tc->btree_opintype, BTEQUALIMAGE_PROC);
	return OidIsValid(proc) &&
		   DatumGetBool(OidFunctionCall1Coll(proc, col->collation, ObjectIdGetDatum(tc->btree_opintype)));
}

char *
pgt_operator_name(Oid opr)
{
	HeapTuple tup = SearchSysCache1(OPEROID, ObjectIdGetDatum(opr));
	char *result;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for operator %u", opr);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(((Form_pg_operator) GETSTRUCT(tup))->oprnamespace)),
					  NameStr(((Form_pg_operator) GETSTRUCT(tup))->oprname));
	ReleaseSysCache(tup);
	return result;
}

char *
pgt_type_operator(Oid type, bool equality)
{
	TypeCacheEntry *tc = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR);
	Oid opr = equality ? tc->eq_opr : tc->lt_opr;

	if (!OidIsValid(opr))
		elog(ERROR, "type %u has no default %s operator", type, equality ? "equality" : "ordering");
	return pgt_operator_name(opr);
}

char *
pgt_type_name(Oid type, int32 typmod)
{
	return format_type_extended(type, typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}
