/*
 * program.h - what the compiler hands to the engine: a list of SQL steps.
 *
 * A program maintains one ST for one set of changed sources.  The engine runs the steps in order, all under S1 with the
 * writes of earlier steps visible, as the ST's owner, with the ST's pinned settings and search_path "pg_catalog, pg_temp".
 * Ephemeral named relations (ENRs) available to every step:
 *
 *   __pgt_src<i>    the changes of source i (0-based index into PgtView.sources), one row per captured change, columns
 *                   w int4 (+1 / -1), then c<attnum> for each column in sources[i].attnums, ascending, in the table's current
 *                   types.  Present for changed sources only.  Updates that touch none of the ST's columns are already gone;
 *                   rows are not netted.
 *   <step name>     the result of an earlier PGT_STEP_ENR step.
 *
 * The clock (PgtView.clocked): every statement has two timestamptz parameters, $1 the clock of the ST's last refresh and $2 that of
 * this one, its S1's time.  No statement calls a clock function; load and diff programs and the verify statement know $2 only.
 *
 * Lifetime: a program lives in the memory context current when it was compiled.
 */
#ifndef PGT_PROGRAM_H
#define PGT_PROGRAM_H

#include "postgres.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

typedef enum PgtStepKind
{
	PGT_STEP_ENR,  /* SELECT; the result becomes the ENR `name` with its true row count */
	PGT_STEP_OUT,  /* SELECT w int4, then the ST's visible columns: the ST's own delta, run only when other STs read this one, and
				   * always before the first PGT_STEP_DML on the ST */
	PGT_STEP_TIME, /* SELECT of one timestamptz or NULL, for the engine: when time alone changes the ST */
	PGT_STEP_DML   /* INSERT, UPDATE, DELETE or MERGE on the ST, or (uncounted) on an inner table, which later steps read; rows are counted by `counts` */
} PgtStepKind;

typedef enum PgtStepCount
{
	PGT_COUNT_NONE,
	PGT_COUNT_INSERTED,
	PGT_COUNT_DELETED,
	PGT_COUNT_UPDATED
} PgtStepCount;

typedef struct PgtStep
{
	PgtStepKind kind;
	PgtStepCount counts;
	char *name; /* PGT_STEP_ENR: valid identifier, begins with __pgt_ */
	char *sql;
	List *needs;        /* of char *, names of earlier ENRs: when none of them has a row, the step has nothing to yield or to do, and is not even planned; NIL: it always runs */
	bool always;        /* needs are not known, and will not be: of the compiler */
	bool skip_if_empty; /* stop the whole program, with nothing changed, when this ENR has no rows */
	bool seqscan_off;   /* plan this step with enable_seqscan and enable_memoize off: an index finds each row of the delta once */
} PgtStep;

/* Numbers of the clock's parameters. */
#define PGT_CLOCK_OLD 1
#define PGT_CLOCK_NEW 2

/* Deltas of up to PGT_SMALL_DELTA rows, up to PGT_MEDIUM_DELTA rows, or more: plans are kept per class. */
#define PGT_SMALL_DELTA 100
#define PGT_MEDIUM_DELTA 10000

typedef struct PgtProgram
{
	const char *strategy; /* recorded in history: weights, groups, bag, diff, load */
	List *steps;          /* of PgtStep */
} PgtProgram;

#endif /* PGT_PROGRAM_H */
