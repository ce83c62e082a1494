/*
 * explain.h - watching a program run: plan, rows and buffers of each of its steps.
 */
#ifndef PGT_EXPLAIN_H
#define PGT_EXPLAIN_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "program.h"

/* One step that ran. */
typedef struct PgtExplainedStep
{
	const char *strategy; /* of its program */
	PgtStepKind kind;
	char *name; /* of an ENR, else NULL */
	char *sql;
	char *plan;         /* EXPLAIN's text or JSON */
	double rows;        /* result, or rows of the ST written */
	double rows_read;   /* rows of tables that scans looked at, those that a filter removed included; of deltas: not counted */
	int64 buffers;      /* pages of tables and indexes touched: shared and local, hit and read */
	double duration_ms; /* execution, planning excluded */
} PgtExplainedStep;

/*
 * From begin to end every step that pgt_execute runs is recorded, in the memory context current at begin.  One recording at a time;
 * after an error the caller ends it.  The result: List of PgtExplainedStep.
 */
extern void pgt_explain_begin(bool json);
extern List *pgt_explain_end(void);

/* For execute.c: the next statement that starts belongs to this step.  Costs nothing while nobody records. */
extern void pgt_explain_expect(const PgtProgram *program, const PgtStep *step);

#endif /* PGT_EXPLAIN_H */
