/*
 * weights.h - programs that maintain aggregates by weights.
 */
#ifndef PGT_WEIGHTS_H
#define PGT_WEIGHTS_H

#include "postgres.h"
#include "delta.h"
#include "store.h"

/* The change set of a store with states, as a statement (see apply.h), from the delta of its AGG's input; helpers go into cxt. */
extern char *pgt_weights_changes(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt);

/* The store, or a copy of it whose extrema are looked up in an index of the source where there is one (extrema.c). */
extern PgtStore *pgt_probed_extrema(PgtStore *store);

/* CREATE INDEX statements, behind `statements` and each once, of indexes by which extrema of the store could be looked up; of char *. */
extern List *pgt_extrema_missing_indexes(const PgtStore *store, List *statements);

extern PgtProgram *pgt_weights_program(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt);

#endif /* PGT_WEIGHTS_H */
