/*
 * segments.h - which buffer segment the rows of a generation go to, and when a new one begins.
 *
 * The catalog of segments is the extension's; this is a cache of _consumer_segments(), loaded again whenever a generation turns
 * up that it does not know.  A generation that is not there either is remembered as missing: its rows are dropped (the DDL that
 * ended it has marked its stream tables).
 */
#ifndef PGT_SEGMENTS_H
#define PGT_SEGMENTS_H

#include "consumer/batch.h"
#include "consumer/conn.h"

typedef struct PgtSegment
{
	uint32_t relid;
	uint32_t gen;
	int64_t segno;
	int64_t bytes; /* estimate */
	int nsegments; /* of this source, as of the last load */
	bool missing;
	bool rotating;
	char relname[64];
} PgtSegment;

typedef struct PgtSegments PgtSegments;

/* err is NULL when the cache is loaded */
typedef void (*PgtSegmentsFn)(void *arg, const PgtErr *err);

extern PgtSegments *pgt_segments_create(const PgtOptions *options);
extern void pgt_segments_free(PgtSegments *s);

/* a connection to ask on, or NULL when there is none any more; forgets everything */
extern void pgt_segments_attach(PgtSegments *s, PgtConn *control);

extern PgtSegment *pgt_segments_find(PgtSegments *s, uint32_t relid, uint32_t gen);

/* are all of the batch's generations known (or known to be missing)? */
extern bool pgt_segments_cover(PgtSegments *s, const PgtBatch *batch);

/* loads; generations of batch (may be NULL) that are not found become missing */
extern void pgt_segments_load(PgtSegments *s, const PgtBatch *batch, PgtSegmentsFn fn, void *arg);

/* a batch was committed: counts its bytes and begins new segments where one has become large */
extern void pgt_segments_grew(PgtSegments *s, const PgtBatch *batch);

/* removes what every stream table has consumed */
extern void pgt_segments_trim(PgtSegments *s);

#endif /* PGT_SEGMENTS_H */
