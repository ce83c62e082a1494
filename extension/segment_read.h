/*
 * segment_read.h - what the engine needs to know of a buffer's segments, read straight from the catalog.
 */
#ifndef PGT_SEGMENT_READ_H
#define PGT_SEGMENT_READ_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

typedef struct PgtSegmentInfo
{
	Oid relid;
	int64 rows; /* 0: nothing was ever applied to it, or a crash has emptied it */
	uint64 min_xid;
	uint64 max_xid;
} PgtSegmentInfo;

/* A registered snapshot taken now, for reading buffers; unregister it afterwards. */
extern Snapshot pgt_buffer_snapshot(void);

/* Segments of a source that exist under `snapshot`, oldest first: List of PgtSegmentInfo. */
extern List *pgt_segment_list(Oid source, Snapshot snapshot);

/* Number of the last refresh that changed an ST, under the active snapshot. */
extern int64 pgt_upstream_refresh_no(int64 pgt_id);

#endif /* PGT_SEGMENT_READ_H */
