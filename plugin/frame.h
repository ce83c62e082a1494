/*
 * frame.h - building frames (wire.h) in memory.
 *
 * Pure: no server header, so that tests/unit/test_wire.c can drive it.  Memory comes from the realloc the owner gives; it
 * never returns NULL (the server's raises an error).  One message is open at a time at most, and only a data message stays
 * open between calls: rows of one (relid, gen) share it until another message or the end of the frame closes it.
 */
#ifndef PGT_FRAME_H
#define PGT_FRAME_H

#include <stdbool.h>

#include "plugin/wire.h"

typedef void *(*PgtRealloc)(void *owner, void *old, size_t size);

typedef struct PgtFrame
{
	unsigned char *buf; /* header and payload; [0, len) is used */
	size_t len;
	size_t cap;
	size_t data_start; /* offset of the open data message, 0: none is open */
	size_t row_start;  /* where the unfinished row begins */
	uint32_t relid;    /* of the open data message */
	uint32_t gen;
	uint32_t nrows;
	uint16_t node;
	bool lz4;
	unsigned char *zbuf; /* compressed copy */
	size_t zcap;
	PgtRealloc realloc_fn;
	void *owner;
} PgtFrame;

extern void pgt_frame_init(PgtFrame *f, uint16_t node, bool lz4, PgtRealloc realloc_fn, void *owner);
extern void pgt_frame_grow(PgtFrame *f, size_t more);

/* messages; each closes an open data message */
extern void pgt_frame_begin(PgtFrame *f, uint64_t xid);
extern void pgt_frame_relation(PgtFrame *f, const unsigned char *body, size_t len);
extern void pgt_frame_commit(PgtFrame *f, uint64_t xid, uint64_t commit_lsn, uint64_t end_lsn, int64_t commit_time);
extern void pgt_frame_barrier(PgtFrame *f, uint64_t end_lsn, bool sync);
extern void pgt_frame_quarantine(PgtFrame *f, uint32_t relid, uint32_t gen, const char *reason);

/* rows: row_begin, bytes through pgt_frame_room and len, then row_end, or row_abort to take the bytes back */
extern void pgt_frame_row_begin(PgtFrame *f, uint32_t relid, uint32_t gen);
extern void pgt_frame_row_end(PgtFrame *f);
extern void pgt_frame_row_abort(PgtFrame *f);

/* Close the frame: *out and the result are the bytes to send, valid until the next call.  0: there is nothing to send. */
extern size_t pgt_frame_finish(PgtFrame *f, const unsigned char **out);

static inline bool
pgt_frame_full(const PgtFrame *f)
{
	return f->len >= PGT_FRAME_HEADER + PGT_FRAME_TARGET;
}

/* Room for n more bytes; the caller writes at the result and then adds what it used to f->len. */
static inline unsigned char *
pgt_frame_room(PgtFrame *f, size_t n)
{
	if (f->cap - f->len < n)
		pgt_frame_grow(f, n);
	return f->buf + f->len;
}

#endif /* PGT_FRAME_H */
