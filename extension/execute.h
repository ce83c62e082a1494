/*
 * execute.h - running a program's steps under S1.
 */
#ifndef PGT_EXECUTE_H
#define PGT_EXECUTE_H

#include "postgres.h"
#include "buffer.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "program.h"
#include "utils/snapshot.h"

/* A program with its prepared steps; kept per session (plancache.h). */
typedef struct PgtPrepared
{
	PgtProgram *program;
	SPIPlanPtr *plans; /* one per step, NULL until first run */
	MemoryContext context;
} PgtPrepared;

typedef struct PgtExecution
{
	PgtPrepared *prepared;
	Snapshot s1;
	int ndeltas;
	PgtDelta **deltas; /* by source index; NULL where the source did not change */
	int64 out_buffer;  /* pgt_id whose st_<id> buffer takes the OUT step's rows, 0 = nobody reads them */
	int64 refresh_no;  /* number those rows carry */
	bool dry_run;      /* run every step, whatever is empty */
	bool clocked;      /* the view's statements take $1 and $2 */
	TimestampTz old_clock;
	TimestampTz new_clock;
	struct HTAB *empty; /* names of ENRs without a row; pgt_execute's own */
	/* results */
	int64 inserted;
	int64 deleted;
	TimestampTz crossing; /* of a PGT_STEP_TIME; DT_NOEND when it yields NULL */
} PgtExecution;

/*
 * Run all steps.  Inside an open SPI connection, as the ST's owner with its settings; the result counts are added up in `ex`.
 * Returns false when a skip_if_empty step ended it with nothing changed.
 */
extern bool pgt_execute(PgtExecution *ex);

#endif /* PGT_EXECUTE_H */
