/*
 * delta.h - signed deltas of operator nodes, as SQL over the changes of the sources.
 *
 * A delta is a bag: columns c1..cn and a weight w (int8, never NULL; rows need not be netted).  Old states are never scanned:
 * everything is post state and changes.  Steps that materialise intermediate bags are collected in the context.
 */
#ifndef PGT_DELTA_H
#define PGT_DELTA_H

#include "postgres.h"
#include "deparse.h"
#include "optree.h"
#include "program.h"

/* Inclusion-exclusion has 2^k - 1 terms for k changed inputs of a join; with more of them one term each (delta_join.c). */
#define PGT_MAX_SUBSET_INPUTS 4

/* One-line SQL of a FROM item, "name" or "(SELECT ...)". */
typedef char *PgtFrom;

/* What has been made already: rules ask for a child's delta more than once. */
typedef struct PgtKnownDelta
{
	const PgtOp *op;
	PgtFrom from;
	char *netted; /* the ENR of pgt_delta_netted, NULL: not asked for */
} PgtKnownDelta;

typedef struct PgtDeltaCtx
{
	Bitmapset *changed; /* sources that have changes */
	List *steps;        /* of PgtStep, ENRs only */
	int next;           /* for names */
	List *known;        /* of PgtKnownDelta */
	List *reused;       /* of PgtStep: those that pgt_enr found to be there */
} PgtDeltaCtx;

/* The node's delta, or NULL when none of its sources changed. */
extern PgtFrom pgt_delta(PgtDeltaCtx *cxt, const PgtOp *op);

/* As pgt_delta, netted by row image into an ENR. */
extern PgtFrom pgt_delta_netted(PgtDeltaCtx *cxt, const PgtOp *op);
extern bool pgt_delta_is_netted(const PgtOp *op); /* what pgt_delta yields needs no netting */

/* "(SELECT ... GROUP BY image HAVING sum(w) <> 0)" */
extern PgtFrom pgt_net(const PgtCol *cols, int ncols, PgtFrom from);

/* A FROM item as a statement. */
extern char *pgt_select_of(PgtFrom from);

/* Make `sql` an ENR step, or reuse the step that has the same text; returns its name. */
extern char *pgt_enr(PgtDeltaCtx *cxt, const char *prefix, const char *sql);

/* The same for a step that yields nothing, or nothing that is wanted, when none of the ENRs `needs` (of char *, NIL: not known) has a row. */
extern char *pgt_enr_of(PgtDeltaCtx *cxt, const char *prefix, const char *sql, List *needs);

/* The ENRs without whose rows the node has no delta, NIL when that is not known.  After pgt_delta of the node. */
extern List *pgt_delta_needs(PgtDeltaCtx *cxt, const PgtOp *op);

/* Post rows of `op` whose first nkeys columns are among those of ENR `keys` (distinct rows c1..c<nkeys>). */
extern PgtFrom pgt_post_of_keys(PgtDeltaCtx *cxt, const PgtOp *op, int nkeys, const char *keys);

/* "SELECT cols FROM <keys with a NULL> k JOIN join" as a step: its name. */
extern char *pgt_rows_of_nulls(PgtDeltaCtx *cxt, const char *keys, const char *knull, const char *cols, const char *join);

/* Post state of a join's input, aggregated only where it can meet the rows `delta` of input `by` under the join's conjuncts. */
extern char *pgt_post_near(PgtDeltaCtx *cxt, const PgtOp *join, int ordinal, int by, PgtFrom delta);
extern List *pgt_own_quals(const PgtOp *join, int ordinal); /* of Node: conditions on that input alone */
extern bool pgt_has_agg(const PgtOp *op);                   /* does that make a difference */

/* per kind */
extern PgtFrom pgt_delta_select(PgtDeltaCtx *cxt, const PgtOp *op);
extern PgtFrom pgt_delta_outer(PgtDeltaCtx *cxt, const PgtOp *op);
extern PgtFrom pgt_delta_agg(PgtDeltaCtx *cxt, const PgtOp *op);
extern PgtFrom pgt_delta_apply(PgtDeltaCtx *cxt, const PgtOp *op);
extern PgtFrom pgt_delta_part(PgtDeltaCtx *cxt, const PgtOp *op);

/* delta_path.c: an APPLY's rows under its touching conditions */
extern PgtFrom pgt_touched_by(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom delta);
extern Bitmapset *pgt_near_by(const PgtOp *op, int ordinal);
extern bool pgt_wants_bag(const PgtOp *op, int ordinal);
extern PgtFrom pgt_rows_near(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom *froms);

/* What rows of the first child, an ENR, see of another under op->touches, and what an APPLY makes of them: now, or before the changes (delta_apply.c). */
extern PgtFrom pgt_rows_seen(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, char *touched, bool old);
extern char *pgt_apply_over(PgtDeltaCtx *cxt, const PgtOp *op, char *touched, bool old);

/* Post rows whose columns `cols` are among the distinct rows of ENR `keys`, NULLs as values (delta_rows.c). */
extern PgtFrom pgt_rows_of(PgtDeltaCtx *cxt, const PgtOp *op, List *cols, const char *keys);

#endif /* PGT_DELTA_H */
