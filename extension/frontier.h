/*
 * frontier.h - which transactions a refresh has consumed: a set of visible top-level transactions with 64-bit ids.
 *
 * The same information as a pg_snapshot, in a form that can be asked a million times a second.
 */
#ifndef PGT_FRONTIER_H
#define PGT_FRONTIER_H

#include "postgres.h"
#include "utils/snapshot.h"

typedef struct PgtFrontier
{
	uint64 xmin; /* every id below is visible */
	uint64 xmax; /* no id at or above is visible */
	int nxip;
	uint64 *xip; /* sorted ids in between that are not visible */
} PgtFrontier;

/*
 * The transactions that `snapshot` sees.  This backend's own transaction counts as invisible: its changes reach the buffers
 * only after it has committed, so a later refresh must still consume them.
 */
extern PgtFrontier *pgt_frontier_from_snapshot(Snapshot snapshot);

extern bool pgt_frontier_sees(const PgtFrontier *frontier, uint64 xid);

/* True when everything visible in `part` is visible in `whole`. */
extern bool pgt_frontier_covers(const PgtFrontier *whole, const PgtFrontier *part);

/* To and from the text form of pg_snapshot ("xmin:xmax:xip,xip"). */
extern char *pgt_frontier_to_text(const PgtFrontier *frontier);
extern PgtFrontier *pgt_frontier_from_text(const char *text);

#endif /* PGT_FRONTIER_H */
