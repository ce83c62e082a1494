/*
 * choose.h - incremental or diff: the decision of one refresh, and its reason.
 */
#ifndef PGT_CHOOSE_H
#define PGT_CHOOSE_H

#include "postgres.h"
#include "catalog.h"
#include "view.h"

typedef struct PgtChoice
{
	bool full;
	char *reason; /* for the history; NULL: there was nothing to weigh */
} PgtChoice;

/*
 * How to consume so many changes that rows describe.  Needs an open SPI connection and a catalog scope; reads the ST's history when
 * the delta is not small.
 */
extern PgtChoice pgt_choose(const PgtStreamTable *st, const PgtView *view, int64 delta_rows);

#endif /* PGT_CHOOSE_H */
