/*
 * recursion.h - how the rows of a RECURSION node change, given a table that holds them as they were.
 *
 * That table is the ST itself where its query is nothing but the recursion, else an inner table.  Its visible columns are the
 * node's, in order.
 */
#ifndef PGT_RECURSION_H
#define PGT_RECURSION_H

#include "postgres.h"
#include "delta.h"
#include "store.h"

/* The RECURSION that the root of a tree yields as it is, all columns in order; NULL when there is none (build_recursion.c). */
extern PgtOp *pgt_recursion_of(const PgtOp *root);

/* The netted change as a statement, from the table as it still is; helpers go into cxt. */
extern char *pgt_recursion_delta(PgtDeltaCtx *cxt, const PgtOp *op, PgtStore *store, const PgtTarget *target);

/* Columns of the node by which a step finds the rows it starts from: of int. */
extern List *pgt_recursion_lookups(const PgtOp *op);

/* An index on such a column of the table, as PgtView.indexes. */
extern char *pgt_recursion_index(const PgtStore *store, int column);

#endif /* PGT_RECURSION_H */
