/*
 * diag.h - what the files of the diagnostics share.
 */
#ifndef PGT_DIAG_H
#define PGT_DIAG_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "catalog.h"
#include "program.h"

/* One row of a result of one text column. */
extern void pgt_diag_put(ReturnSetInfo *rsinfo, const char *line);

/* "key": "value", or null, escaped. */
extern void pgt_diag_json_field(StringInfo buf, const char *key, const char *value);

/* The step's kind in words for people. */
extern const char *pgt_diag_step_kind(PgtStepKind kind);

/* explain_delta(..., "analyze" => true): a refresh that is rolled back, with what its steps did (diag_analyze.c).  Owner only. */
extern void pgt_diag_analyze(ReturnSetInfo *rsinfo, PgtStreamTable *st, bool json);

#endif /* PGT_DIAG_H */
