/*
 * weights.h - programs that maintain aggregates by weights.
 */
#ifndef PGT_WEIGHTS_H
#define PGT_WEIGHTS_H

#include "postgres.h"
#include "delta.h"
#include "store.h"

extern PgtProgram *pgt_weights_program(PgtStore *store, const PgtTarget *target, PgtDeltaCtx *cxt);

#endif /* PGT_WEIGHTS_H */
