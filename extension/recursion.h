/*
 * recursion.h - WITH RECURSIVE: the query is one linear recursion, and the ST holds its rows.
 */
#ifndef PGT_RECURSION_H
#define PGT_RECURSION_H

#include "postgres.h"
#include "apply.h"
#include "optree.h"

struct PgtFindings;

typedef struct PgtRecursion
{
	PgtOp *root;   /* the two terms as children: for what asks about sources */
	PgtOp *base;   /* the term without self-reference */
	PgtOp *step;   /* the other: an inner join of tables and the recursion's own rows */
	int self;      /* ordinal of these among its children */
	bool distinct; /* UNION, not UNION ALL */
} PgtRecursion;

/*
 * The recursion of a query in which pgt_is_recursive found one, or NULL and the reason in `found` (build_recursion.c).  Its
 * columns are the query's.
 */
extern PgtRecursion *pgt_build_recursion(Query *query, struct PgtFindings *found);

/* Has the level a query that refers to itself?  WITH RECURSIVE alone says little. */
extern bool pgt_is_recursive(Query *query);

/* Plain indexes on the ST by which a step finds the rows it starts from: of char *, as PgtView.indexes. */
extern List *pgt_recursion_indexes(PgtStore *store);

extern PgtProgram *pgt_recursion_program(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt);

#endif /* PGT_RECURSION_H */
