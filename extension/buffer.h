/*
 * buffer.h - reading change buffers into deltas.
 */
#ifndef PGT_BUFFER_H
#define PGT_BUFFER_H

#include "postgres.h"
#include "access/tupdesc.h"
#include "frontier.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"
#include "view.h"

/* The changes of one source between two frontiers. */
typedef struct PgtDelta
{
	Tuplestorestate *store; /* rows (w int4, c<attnum> ...) */
	TupleDesc desc;
	int64 rows;        /* rows in store */
	bool seen;         /* the buffer held changes of this interval, even if none touches the ST's columns */
	bool leftover;     /* the buffer holds changes that S1 cannot see yet */
	uint64 max_xid;    /* newest transaction in the buffer, 0 when unknown */
	char *diff_reason; /* the interval cannot be described by rows: TRUNCATE, DDL ...; NULL if it can */
} PgtDelta;

/*
 * Changes of a captured table that are visible in `to` and not in `from`.  Reads under a snapshot of its own, newer than the
 * one `to` was made of.  The caller holds AccessShare on the source.  Result in the current memory context.
 */
extern PgtDelta *pgt_buffer_read(const PgtViewSource *source, const PgtFrontier *from, const PgtFrontier *to);

/*
 * Changes of another ST with refresh numbers above `from`, as the active snapshot sees them (own writes included).
 * diff_reason when one of them put the upstream right after somebody had written to it.
 * *last is set to the number of the upstream's newest refresh under that snapshot.
 */
extern PgtDelta *pgt_buffer_read_st(const PgtViewSource *source, int64 from, int64 *last);

/* The shape of a source's delta: w int4, then the used columns in the table's current types. */
extern TupleDesc pgt_delta_desc(const PgtViewSource *source);

extern void pgt_delta_free(PgtDelta *delta);

#endif /* PGT_BUFFER_H */
