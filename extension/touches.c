/*
 * touches.c - which rows of an APPLY node's first child a row of another child can touch: the conditions it must fulfil.
 *
 * For each child: conjuncts that one of its rows must fulfil to be more than a row that is not there.  They compare it with the row of the
 * first child, or with rows of children that stand around it or beside it: in EXISTS (b WHERE b.x = a.x AND EXISTS (c WHERE c.y = b.y))
 * a row of c matters to those rows of a only that a row of b leads to.  delta_path.c follows such paths.
 *
 * Why a path through the *present* rows of b is enough, whatever changed: b is asked before c, always (a child's conditions name children of
 * lower numbers only, and those around a child and to its left have lower numbers).  Take a row of a that no changed row of b touches.  The rows
 * of b that can matter to it are then the same now as before, so all of them are there now.  If it differs in what it sees of c, then below one
 * of these rows of b, and a changed row of c meets that row and this.  So the rows touched through present rows, together with those that the
 * changed rows of b touch themselves, are all that can differ; by induction along the numbers, at any depth.
 *
 * A row of another child may be relied on (it is `solid`) only where the subquery at hand is computed for a row of it that is there: not on
 * the nullable side of an outer join, where a padded row has none, and not above grouping sets, which replace values by NULL.  A conjunct
 * that cannot be used is left out; that touches more rows than it must, and never fewer.  So does a child whose place was not found.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "template.h"

/* A query level of the template, as seen from the place in it that is being walked. */
typedef struct TouchLevel
{
	Query *query;
	Bitmapset *solid; /* range table indexes */
} TouchLevel;

typedef struct TouchContext
{
	PgtOp *op;
	List *levels;    /* of TouchLevel, innermost first; the template itself is the last */
	Bitmapset *seen; /* children whose place is known */
	List *required;  /* of Required */
} TouchContext;

/* Rows of child `of` matter only where EXISTS finds rows of child `by` with them. */
typedef struct Required
{
	int of;
	int by;
} Required;

/* --- one conjunct --- */

Oid
pgt_binds(Node *qual, int of, Bitmapset *by, Node **column, Node **key)
{
	OpExpr *op = (OpExpr *) qual;

	if (!IsA(op, OpExpr) || list_length(op->args) != 2)
		return InvalidOid;
	for (int i = 0; i < 2; i++)
	{
		int left;
		Bitmapset *right;
		Oid opno = i == 0 ? op->opno : get_commutator(op->opno);

		*column = list_nth(op->args, i);
		*key = list_nth(op->args, 1 - i);
		right = pull_varnos(NULL, *key);
		if (bms_get_singleton_member(pull_varnos(NULL, *column), &left) && left == of && !bms_is_empty(right) && bms_is_subset(right, by) &&
			exprCollation(*column) == op->inputcollid && exprCollation(*key) == op->inputcollid &&
			get_op_opfamily_strategy(opno, lookup_type_cache(exprType(*key), TYPECACHE_BTREE_OPFAMILY)->btree_opf) ==
				BTEqualStrategyNumber)
			return opno;
	}
	return InvalidOid;
}

bool
pgt_any_binds(List *quals, int of, Bitmapset *by)
{
	Node *column;
	Node *key;
	ListCell *lc;

	foreach (lc, quals)
		if (OidIsValid(pgt_binds(lfirst(lc), of, by, &column, &key)))
			return true;
	return false;
}

typedef struct FlattenContext
{
	List *levels;
	int rtindex;         /* of the child in the innermost level */
	int ordinal;         /* of the child */
	Bitmapset *mentions; /* ordinals */
	bool failed;
} FlattenContext;

/* The child that a Var of the template is of, as far as the conjunct may say something of it; 0: it may not. */
static int
flat_ordinal(const Var *v, const FlattenContext *cxt)
{
	TouchLevel *level;
	int ordinal;

	if ((int) v->varlevelsup >= list_length(cxt->levels))
		return 0;
	level = list_nth(cxt->levels, v->varlevelsup);
	ordinal = pgt_placeholder_number(rt_fetch(v->varno, level->query->rtable), true);
	if (v->varlevelsup == 0 && (int) v->varno == cxt->rtindex)
		return ordinal;
	if (ordinal == 1)
		return 1;
	return bms_is_member(v->varno, level->solid) && ordinal < cxt->ordinal ? ordinal : 0;
}

/* A conjunct as one over children. */
static Node *
flatten_mutator(Node *node, FlattenContext *cxt)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *v = copyObject((Var *) node);

		v->varno = flat_ordinal(v, cxt);
		v->varlevelsup = 0;
		cxt->failed |= v->varno == 0;
		cxt->mentions = bms_add_member(cxt->mentions, v->varno);
		return (Node *) v;
	}
	if (IsA(node, SubLink) || IsA(node, Aggref) || IsA(node, GroupingFunc) || IsA(node, WindowFunc) || IsA(node, Query))
	{
		cxt->failed = true;
		return node;
	}
	return expression_tree_mutator(node, flatten_mutator, cxt);
}

/* A child's place: what its rows must fulfil of `conjuncts`. */
static void
touches_of_child(TouchContext *cxt, int rtindex, int ordinal, List *conjuncts)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, conjuncts)
	{
		FlattenContext flatten = {cxt->levels, rtindex, ordinal, NULL, false};
		Node *flat = flatten_mutator(lfirst(lc), &flatten);

		/* what is about other children alone is among their own conditions */
		if (!flatten.failed && (bms_is_member(ordinal, flatten.mentions) || bms_is_subset(flatten.mentions, bms_make_singleton(1))))
			out = lappend(out, flat);
	}
	if (bms_is_member(ordinal, cxt->seen))
		out = NIL; /* read in two places: either may matter */
	cxt->seen = bms_add_member(cxt->seen, ordinal);
	lfirst(list_nth_cell(cxt->op->touches, ordinal - 2)) = out;
}

/* --- the places --- */

static bool touches_walker(Node *node, TouchContext *cxt);
static void touches_of_query(TouchContext *cxt, Query *q, List *conjuncts);

/* Walk what is computed where rows of these entries of the innermost level are there. */
static void
touches_among(TouchContext *cxt, Node *node, Bitmapset *solid)
{
	TouchLevel *level = linitial(cxt->levels);
	Bitmapset *saved = level->solid;

	level->solid = solid;
	(void) touches_walker(node, cxt);
	level->solid = saved;
}

/* Entries that have a row wherever the item has one. */
static Bitmapset *
solid_entries(Node *item)
{
	JoinExpr *join = (JoinExpr *) item;
	Bitmapset *out = NULL;
	ListCell *lc;

	if (IsA(item, RangeTblRef))
		return bms_make_singleton(((RangeTblRef *) item)->rtindex);
	if (IsA(item, FromExpr))
	{
		foreach (lc, ((FromExpr *) item)->fromlist)
			out = bms_join(out, solid_entries(lfirst(lc)));
		return out;
	}
	if (join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT)
		out = solid_entries(join->larg);
	if (join->jointype == JOIN_INNER || join->jointype == JOIN_RIGHT)
		out = bms_join(out, solid_entries(join->rarg));
	return out;
}

static void touches_of_item(TouchContext *cxt, Node *item, List *conjuncts, Bitmapset *solid);

static void
touches_of_entry(TouchContext *cxt, int rtindex, List *conjuncts, Bitmapset *solid)
{
	TouchLevel *level = linitial(cxt->levels);
	RangeTblEntry *rte = rt_fetch(rtindex, level->query->rtable);
	int ordinal = pgt_placeholder_number(rte, true);
	Bitmapset *saved = level->solid;

	level->solid = solid;
	if (ordinal > 1)
		touches_of_child(cxt, rtindex, ordinal, conjuncts);
	else if (rte->rtekind == RTE_SUBQUERY)
		touches_of_query(cxt, rte->subquery, NIL);
	else
	{
		(void) touches_walker((Node *) rte->functions, cxt);
		(void) touches_walker((Node *) rte->tablefunc, cxt);
		(void) touches_walker((Node *) rte->values_lists, cxt);
	}
	level->solid = saved;
}

/*
 * A row that an outer join pads with NULLs is there whatever the join's condition says of it, and then gone through WHERE or not: so its
 * side has to fulfil what stands above the join, the other side only the join's own condition.
 */
static void
touches_of_join(TouchContext *cxt, JoinExpr *join, List *conjuncts, Bitmapset *solid)
{
	List *on = make_ands_implicit((Expr *) join->quals);
	List *both = list_concat_copy(conjuncts, on);
	Bitmapset *left = solid_entries(join->larg);
	Bitmapset *right = solid_entries(join->rarg);
	Bitmapset *inside = bms_union(left, right);

	switch (join->jointype)
	{
		case JOIN_INNER:
			touches_of_item(cxt, join->larg, both, bms_union(solid, right));
			touches_of_item(cxt, join->rarg, both, bms_union(solid, left));
			break;
		case JOIN_LEFT:
			touches_of_item(cxt, join->larg, conjuncts, solid);
			touches_of_item(cxt, join->rarg, on, bms_union(solid, left));
			break;
		case JOIN_RIGHT:
			touches_of_item(cxt, join->larg, on, bms_union(solid, right));
			touches_of_item(cxt, join->rarg, conjuncts, solid);
			break;
		default:
			touches_of_item(cxt, join->larg, NIL, NULL);
			touches_of_item(cxt, join->rarg, NIL, NULL);
			break;
	}
	/* computed for pairs of rows that are both there */
	touches_among(cxt, join->quals, join->jointype == JOIN_FULL ? NULL : inside);
}

/* `conjuncts`: what a row of the item must fulfil; `solid`: which entries beside it have rows where it is looked at. */
static void
touches_of_item(TouchContext *cxt, Node *item, List *conjuncts, Bitmapset *solid)
{
	FromExpr *from = (FromExpr *) item;
	ListCell *lc;
	ListCell *other;

	if (IsA(item, RangeTblRef))
		touches_of_entry(cxt, ((RangeTblRef *) item)->rtindex, conjuncts, solid);
	else if (IsA(item, JoinExpr))
		touches_of_join(cxt, (JoinExpr *) item, conjuncts, solid);
	else
	{
		conjuncts = list_concat_copy(conjuncts, make_ands_implicit((Expr *) from->quals));
		foreach (lc, from->fromlist)
		{
			Bitmapset *beside = bms_copy(solid);

			foreach (other, from->fromlist)
				if (lfirst(other) != lfirst(lc))
					beside = bms_join(beside, solid_entries(lfirst(other)));
			touches_of_item(cxt, lfirst(lc), conjuncts, beside);
		}
	}
}

/* Children that have a row wherever the level has one. */
static Bitmapset *
solid_children(Query *q)
{
	Bitmapset *entries = solid_entries((Node *) q->jointree);
	Bitmapset *out = NULL;
	int rtindex = -1;

	while ((rtindex = bms_next_member(entries, rtindex)) >= 0)
		out = bms_add_member(out, pgt_placeholder_number(rt_fetch(rtindex, q->rtable), true));
	return bms_del_member(bms_del_member(out, 0), 1);
}

/* Does it yield a row only where FROM and WHERE do? */
static bool
needs_rows(Query *q)
{
	return q->setOperations == NULL && q->groupingSets == NIL && (!q->hasAggs || q->groupClause != NIL) && (q->havingQual == NULL || q->groupClause != NIL);
}

/* Conditions of the level that say: there are such rows. */
static void
note_required(TouchContext *cxt, Query *q)
{
	Bitmapset *outer = solid_children(q);
	ListCell *lc;

	foreach (lc, make_ands_implicit((Expr *) q->jointree->quals))
	{
		SubLink *s = lfirst(lc);
		Bitmapset *inner;
		int of = -1;
		int by;

		if (!IsA(s, SubLink) || s->subLinkType != EXISTS_SUBLINK || !needs_rows((Query *) s->subselect))
			continue;
		inner = solid_children((Query *) s->subselect);
		while ((of = bms_next_member(outer, of)) >= 0)
			for (by = -1; (by = bms_next_member(inner, by)) >= 0;)
			{
				Required *r = palloc(sizeof(Required));

				r->of = of;
				r->by = by;
				cxt->required = lappend(cxt->required, r);
			}
	}
}

static void
touches_of_query(TouchContext *cxt, Query *q, List *conjuncts)
{
	TouchLevel level = {q, NULL};
	Bitmapset *rows = solid_entries((Node *) q->jointree);
	Bitmapset *above = q->groupingSets != NIL ? NULL : rows;
	ListCell *lc;

	cxt->levels = lcons(&level, cxt->levels);
	touches_of_item(cxt, (Node *) q->jointree, conjuncts, NULL);
	touches_among(cxt, q->jointree->quals, rows);
	note_required(cxt, q);
	touches_among(cxt, (Node *) q->targetList, above);
	touches_among(cxt, q->havingQual, above);
	touches_among(cxt, (Node *) q->windowClause, above);
	touches_among(cxt, q->limitOffset, NULL);
	touches_among(cxt, q->limitCount, NULL);
	if (q->setOperations != NULL)
		foreach (lc, q->rtable)
			if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_SUBQUERY)
				touches_of_query(cxt, lfirst_node(RangeTblEntry, lc)->subquery, NIL);
	cxt->levels = list_delete_first(cxt->levels);
}

static Node *
test_mutator(Node *node, Query *sub)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return copyObject((Node *) list_nth_node(TargetEntry, sub->targetList, ((Param *) node)->paramid - 1)->expr);
	return expression_tree_mutator(node, test_mutator, sub);
}

/* Rows of the subquery under which x op ANY is certainly not decided differently are those where the test is false; ALL: true. */
static Node *
test_condition(SubLink *s, Query *sub)
{
	Node *test = copyObject(s->testexpr);
	BooleanTest *b = makeNode(BooleanTest);

	IncrementVarSublevelsUp(test, 1, 0);
	b->arg = (Expr *) test_mutator(test, sub);
	b->booltesttype = s->subLinkType == ALL_SUBLINK ? IS_NOT_TRUE : IS_NOT_FALSE;
	b->location = -1;
	return (Node *) b;
}

static bool
touches_walker(Node *node, TouchContext *cxt)
{
	SubLink *s = (SubLink *) node;
	List *conjuncts = NIL;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		if ((s->subLinkType == ANY_SUBLINK || s->subLinkType == ALL_SUBLINK) && pgt_yields_its_rows((Query *) s->subselect))
			conjuncts = list_make1(test_condition(s, (Query *) s->subselect));
		touches_of_query(cxt, (Query *) s->subselect, conjuncts);
		return touches_walker(s->testexpr, cxt);
	}
	if (IsA(node, Query))
	{
		touches_of_query(cxt, (Query *) node, NIL);
		return false;
	}
	return expression_tree_walker(node, touches_walker, cxt);
}

/* Those that mention the child (0: whichever) and no children but these. */
static List *
conjuncts_about(List *conjuncts, int child, Bitmapset *among)
{
	List *out = NIL;
	ListCell *lc;

	foreach (lc, conjuncts)
	{
		Bitmapset *vars = pull_varnos(NULL, lfirst(lc));

		if (bms_is_subset(vars, among) && (child == 0 || bms_is_member(child, vars)))
			out = lappend(out, lfirst(lc));
	}
	return out;
}

/*
 * EXISTS (c WHERE EXISTS (b WHERE b.y = c.y AND b.x = a.x)): no equality leads from c outwards, but one leads inwards to b, and from there to
 * the first child.  So here b is asked first, by what it has in common with the first child alone, and c after it.  Whatever else is around is
 * left out of the conditions of b, so that the order has no circle.
 */
static void
turn_around(TouchContext *cxt)
{
	List *touches = list_copy(cxt->op->touches);
	ListCell *lc;

	foreach (lc, cxt->required)
	{
		Required *r = lfirst(lc);
		List *of = list_nth(touches, r->of - 2);
		List *by = list_nth(touches, r->by - 2);
		Bitmapset *first = bms_make_singleton(1);
		Bitmapset *both = bms_add_member(bms_make_singleton(r->by), 1);
		List *shared = conjuncts_about(by, r->of, bms_add_member(bms_copy(both), r->of));

		if (pgt_any_binds(of, r->of, bms_add_range(NULL, 1, r->of - 1)) || !pgt_any_binds(by, r->by, first) || !pgt_any_binds(shared, r->of, both))
			continue;
		lfirst(list_nth_cell(cxt->op->touches, r->by - 2)) = conjuncts_about(by, 0, both);
		lfirst(list_nth_cell(cxt->op->touches, r->of - 2)) = list_concat_copy(list_nth(cxt->op->touches, r->of - 2), shared);
	}
}

void
pgt_template_touches(PgtOp *op)
{
	TouchContext cxt = {op};

	op->touches = NIL;
	for (int i = 2; i <= list_length(op->children); i++)
		op->touches = lappend(op->touches, NIL);
	touches_of_query(&cxt, op->query, NIL);
	turn_around(&cxt);
}
