/*
 * template.h - the query of an APPLY node: PostgreSQL's own Query, whose subqueries read placeholders for the node's children.
 *
 * A placeholder is a range table entry of kind CTE with a name made here.  The first FROM item is the first child; the other
 * children stand alone in the FROM of some subquery, or of a LATERAL item that is the second FROM item.
 */
#ifndef PGT_TEMPLATE_H
#define PGT_TEMPLATE_H

#include "postgres.h"
#include "nodes/parsenodes.h"
#include "optree.h"

extern RangeTblEntry *pgt_placeholder(int number, bool of_child);
extern int pgt_placeholder_number(const RangeTblEntry *rte, bool of_child); /* 0: not one */

/* Calls visit for each Var of a child (its ordinal given), at any depth; it may change the Var. */
typedef void (*PgtVisitVar)(Var *var, int ordinal, void *arg);
extern void pgt_template_visit(Query *query, PgtVisitVar visit, void *arg);

/* Under which conditions a row of a child matters to a row of the first one: fills op->touches (touches.c). */
extern void pgt_template_touches(PgtOp *op);

/*
 * Is the conjunct an equality of something of child `of` with something of the children `by`, under which distinct keys find each row
 * once?  The operator, and the two sides.
 */
extern Oid pgt_binds(Node *qual, int of, Bitmapset *by, Node **column, Node **key);
extern bool pgt_any_binds(List *quals, int of, Bitmapset *by); /* does one of them? */

/* Are the subquery's rows those of its FROM and WHERE, each by itself? */
extern bool pgt_yields_its_rows(const Query *sub);

/* Is the child read by a subquery that PostgreSQL runs for each row, as it cannot make a join of it? */
extern bool pgt_template_by_row(const PgtOp *op, int ordinal);

/*
 * Where child `ordinal` is read by conjuncts that read no other child but the first: an APPLY of the first child's rows for which
 * these change; its children are those of op, then all but the first once more for their old bags.
 */
extern bool pgt_template_flips(const PgtOp *op, int ordinal, PgtOp *flips);

/* The statement over these FROM items, one per child; with a column w of the first carried along if weighted. */
extern char *pgt_template_sql(const PgtOp *op, char **froms, bool weighted);

#endif /* PGT_TEMPLATE_H */
