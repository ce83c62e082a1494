/*
 * clock.h - the clock as an input of a query: what depends on it stands in nodes of its own, with a delta of their own.
 *
 * now() and its relatives are one value that has an old and a new state, as a table has.  A CLOCK node is a SELECT over one child
 * (op->clock) whose quals and boolean targets compare that child's columns with the clock; nothing else in the tree mentions it.
 */
#ifndef PGT_CLOCK_H
#define PGT_CLOCK_H

#include "postgres.h"
#include "delta.h"
#include "optree.h"

/* Functions that are parameters (rules.c). */
extern bool pgt_is_clock_function(Oid funcid);

/* The query with every clock function written as $2 (program.h).  A copy. */
extern Query *pgt_clock_as_parameter(Query *query);

/* Make CLOCK nodes of what depends on the clock; what cannot be one is reported by pgt_not_built. */
extern void pgt_clock_lift(PgtOp *op);

extern Node *pgt_clock_at(Node *node, int param); /* the same expression at another clock; a copy */
extern bool pgt_has_clock(Node *node);

/* delta_clock.c */
extern PgtFrom pgt_delta_clock(PgtDeltaCtx *cxt, const PgtOp *op);

/* SELECT of one timestamptz: when time alone will next change a node's rows after $2 (or earlier); NULL: never. */
extern char *pgt_clock_crossing(const PgtOp *root);

/* CREATE INDEX statements that flips and probes would use and that do not exist; of char *. */
extern List *pgt_clock_missing_indexes(const PgtOp *root);

#endif /* PGT_CLOCK_H */
