/*
 * state.h - aggregates that are maintained by weights: what is kept per group and how a change is merged into it.
 *
 * All expressions are SQL text.  `init` and `delta` are over a1, rows of the AGG's input (with weights a1.w for `delta`);
 * `merge` is over one row m of (o<column> old stored values, d<j> and e<j> merged changes); `redo` tells when only the group's
 * rows can say.  State j of the list is called n<j>.
 */
#ifndef PGT_STATE_H
#define PGT_STATE_H

#include "postgres.h"
#include "optree.h"

typedef struct PgtState
{
	int number; /* 1-based position in the list */
	int column; /* storage column, 1-based */
	PgtCol col;
	int agg;  /* AGG output column whose value this state is, 0 when it is only a means */
	char *id; /* equal ids, equal states */
	char *init;
	char *recount; /* instead of init when a group is recomputed; NULL: init */
	char *delta;   /* AS d<j> */
	char *removed; /* AS e<j>: of what went away; NULL for most */
	char *merge;   /* the new value */
	char *redo;    /* condition; NULL: never */
	bool lazy;     /* NULL means "not known": no difference worth writing when the query is compared */
	char *window;  /* extrema: "pg_catalog.max(x)%s OVER p" whose value recount (x<j>), delta (b<j>) and removed (g<j>) see */
	char *filter;  /* of the aggregate, or NULL */
	int value;     /* extrema: the column of the AGG's input whose extremum it is, 0 when it is of an expression */
	bool max;      /* extrema: the greatest, not the least */
} PgtState;

typedef struct PgtStates
{
	List *list;    /* of PgtState */
	char **finals; /* per aggregate of the AGG: its value over the new states n<j> of alias m */
	int rows;      /* number of the state that counts the group's rows */
} PgtStates;

/* NULL when some aggregate cannot be maintained by weights. */
extern PgtStates *pgt_states_plan(const PgtOp *agg);

#endif /* PGT_STATE_H */
