/*
 * segment.h - change buffers and their segments: create, rotate, trim.
 */
#ifndef PGT_SEGMENT_H
#define PGT_SEGMENT_H

#include "source.h"

/* Buffer parent (if missing) and a first segment for source->gen.  In catalog scope with SPI connected. */
extern void pgt_segment_begin(const PgtSource *source);

/* Drop the buffer of relid with all its segments.  false: some could not be locked in time; trimming will find them. */
extern bool pgt_segment_drop_all(Oid relid);

/* Drop one segment.  false: it is in use.  In catalog scope with SPI connected. */
extern bool pgt_segment_drop(Oid source, int64 segno);

/* Do buffers survive a crash (pg_trickle.unlogged_buffers = off)?  All of them do, or none, progress and stats included. */
extern bool pgt_segment_logged(void);

/* Before the first registration: give progress and stats the persistence that buffers are to have. */
extern void pgt_segment_set_persistence(void);

/* Serializes registration, release and trimming of one source; see source.c. */
extern void pgt_source_lock_entry(Oid relid, LOCKMODE mode);
extern bool pgt_source_try_lock_entry(Oid relid, LOCKMODE mode);

#endif /* PGT_SEGMENT_H */
