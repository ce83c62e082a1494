/*
 * history.h - what a refresh leaves in the catalog: frontiers, state, history row.
 */
#ifndef PGT_HISTORY_H
#define PGT_HISTORY_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "frontier.h"
#include "nodes/pg_list.h"
#include "refresh.h"

/* One row of pgt_frontiers. */
typedef struct PgtSourceFrontier
{
	Oid relid;
	PgtFrontier *snapshot; /* table sources; NULL = unknown */
	int64 upstream;        /* ST sources; -1 = unknown */
	List *leaves;          /* of Oid, sorted */
} PgtSourceFrontier;

/* All frontier rows of an ST, under the active snapshot: List of PgtSourceFrontier. */
extern List *pgt_frontiers_read(int64 pgt_id);
extern void pgt_frontiers_write(int64 pgt_id, List *frontiers);

/* State after a refresh that changed something or was a diff; clears needs_reinit if `s1` sees who set it. */
extern void pgt_state_refreshed(const PgtStreamTable *st, const PgtRefreshResult *result, const PgtFrontier *s1, TimestampTz data);

/* The clock of a refresh, and when time alone will change the ST (DT_NOBEGIN: not known). */
extern void pgt_state_clock(int64 pgt_id, TimestampTz clock, TimestampTz next_crossing);

/* One COMPLETED history row, written when the transaction commits: history may itself be a source of what it refreshes next. */
extern void pgt_history_completed(const PgtStreamTable *st, const PgtRefreshResult *result, const char *initiated_by,
								  TimestampTz started, TimestampTz due);

#endif /* PGT_HISTORY_H */
