/*
 * inner.h - inner stores: results inside a query that are kept, in hidden tables of the ST, whole or (margin.h) their first rows.
 *
 * A node of the operator tree with an inner store is maintained first, by its own delta; everything above it reads the table
 * (pgt_post) and gets the rows that changed (pgt_delta), and never computes the node again.  Tables are named by the target
 * (PgtTarget.inner, then the number), so a tree reads them only between pgt_inner_bind and pgt_inner_unbind.
 */
#ifndef PGT_INNER_H
#define PGT_INNER_H

#include "postgres.h"
#include "delta.h"
#include "margin.h"
#include "store.h"
#include "view.h"

typedef struct PgtInner
{
	int number;        /* 1-based */
	PgtStore *store;   /* its visible columns are the node's */
	PgtMargin *margin; /* only the first rows, for a LIMIT above; its state is in the next table.  NULL: all of them */
	char *text;        /* the rows from the sources, the LIMIT's for a margin: equal texts share a store */
	List *order;       /* of PgtSortKey: what a LIMIT above sorts by, as far as an index can serve it */
	List *lookups;     /* of int: columns that joins and steps look for */
	char *table;       /* NULL: not bound */
	char *state;       /* of a margin */
	PgtFrom delta;     /* while a delta program is made */
} PgtInner;

/* Can an inner table have such a column? */
extern bool pgt_inner_can_keep(const PgtCol *col);

/* Decide which nodes below `root` are kept: sets their `inner`, returns all stores, every one behind those it reads. */
extern List *pgt_inner_plan(PgtOp *root);

/* What the tables look like, for the engine. */
extern void pgt_inner_describe(PgtView *view, List *inners);

/* No inner table is read when target->inner is NULL: everything is computed from the sources then. */
extern void pgt_inner_bind(List *inners, const PgtTarget *target);
extern void pgt_inner_unbind(List *inners);
extern bool pgt_inner_bound(const PgtOp *op);

extern char *pgt_inner_rows(const PgtInner *inner); /* SELECT c1..cn */

/* Steps of programs; nothing for stores that are not bound. */
extern void pgt_inner_maintain(PgtDeltaCtx *cxt, PgtOp *op); /* of all stores at and below the node */
extern List *pgt_inner_load(List *inners);
extern List *pgt_inner_diff(List *inners);

#endif /* PGT_INNER_H */
