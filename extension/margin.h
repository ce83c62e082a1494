/*
 * margin.h - margins: the first rows of a node in the order of a LIMIT above it, and some more than that needs.
 *
 * Two inner tables (inner.h): the rows, and one row of state beside them.  The rows are all of the node's that sort at or before the
 * last one kept, every row that ties with it included; or, where the state says complete, all there are.
 */
#ifndef PGT_MARGIN_H
#define PGT_MARGIN_H

#include "postgres.h"
#include "delta.h"
#include "part.h"
#include "store.h"
#include "view.h"

typedef struct PgtMargin
{
	int id;       /* of the LIMIT's node */
	List *order;  /* of PgtSortKey over the node's columns */
	int64 needed; /* OFFSET + LIMIT; PGT_MARGIN_ALL: not known, or no limit */
} PgtMargin;

#define PGT_MARGIN_ALL INT64CONST(1000000000000000000)

/* Of the child of a LIMIT in some order; NULL where its order cannot be turned round. */
extern PgtMargin *pgt_margin_make(const PgtOp *limit);

/* What the table of state looks like. */
extern PgtInnerTable pgt_margin_state(const PgtMargin *margin);

/* A margin's tables while programs are made. */
typedef struct PgtMarginTables
{
	PgtStore *store;
	PgtTarget target;  /* the rows' */
	const char *state; /* qualified */
	const char *rows;  /* a statement: the node's post rows, from what lies below */
} PgtMarginTables;

/* Steps that bring the margin up to the node's netted delta; *applied: the ENR of what of it lies in the margin. */
extern List *pgt_margin_maintain(const PgtMargin *margin, const PgtMarginTables *tables, PgtFrom delta, char **applied);
extern List *pgt_margin_load(const PgtMargin *margin, const PgtMarginTables *tables);
extern List *pgt_margin_diff(const PgtMargin *margin, const PgtMarginTables *tables);

#endif /* PGT_MARGIN_H */
