/*
 * frame.c - building frames (wire.h) in memory.
 *
 * The payload grows in place behind a header that is filled in when the frame is closed, and so are the length and row count
 * of the open data message: no byte is moved twice.  A row that cannot be finished is cut off again, which leaves the frame
 * as it was before.  See frame.h for the rules of use.
 */
#include "plugin/frame.h"

#include <lz4.h>
#include <string.h>

#define DATA_HEADER (PGT_MSG_HEADER + 12)     /* relid, gen, nrows */
#define KEEP_CAPACITY (4u * PGT_FRAME_TARGET) /* buffers grown beyond this by a large row are given back */

void
pgt_frame_init(PgtFrame *f, uint16_t node, bool lz4, PgtRealloc realloc_fn, void *owner)
{
	memset(f, 0, sizeof(*f));
	f->node = node;
	f->lz4 = lz4;
	f->realloc_fn = realloc_fn;
	f->owner = owner;
	f->cap = PGT_FRAME_HEADER + PGT_FRAME_TARGET + 8192;
	f->buf = realloc_fn(owner, NULL, f->cap);
	f->len = PGT_FRAME_HEADER;
}

void
pgt_frame_grow(PgtFrame *f, size_t more)
{
	size_t cap = f->cap + f->cap / 2;

	if (cap < f->len + more)
		cap = f->len + more;
	f->buf = f->realloc_fn(f->owner, f->buf, cap);
	f->cap = cap;
}

static void
close_data(PgtFrame *f)
{
	unsigned char *p;

	if (f->data_start == 0)
		return;
	p = f->buf + f->data_start;
	if (f->nrows == 0)
		f->len = f->data_start;
	else
	{
		pgt_put32(p + 1, (uint32_t) (f->len - f->data_start - PGT_MSG_HEADER));
		pgt_put32(p + PGT_MSG_HEADER + 8, f->nrows);
	}
	f->data_start = 0;
}

/* A message of this body length, its header written and its length counted; the caller fills the body at the result. */
static unsigned char *
add_message(PgtFrame *f, PgtMsgType type, size_t body)
{
	unsigned char *p;

	close_data(f);
	p = pgt_frame_room(f, PGT_MSG_HEADER + body);
	p[0] = (unsigned char) type;
	pgt_put32(p + 1, (uint32_t) body);
	f->len += PGT_MSG_HEADER + body;
	return p + PGT_MSG_HEADER;
}

/* A buffer that one large row has blown up goes back to its usual size at the next transaction. */
static void
shrink(PgtFrame *f)
{
	if (f->cap > KEEP_CAPACITY)
	{
		f->cap = KEEP_CAPACITY;
		f->buf = f->realloc_fn(f->owner, f->buf, f->cap);
	}
	if (f->zcap > KEEP_CAPACITY)
	{
		f->zcap = KEEP_CAPACITY;
		f->zbuf = f->realloc_fn(f->owner, f->zbuf, f->zcap);
	}
}

void
pgt_frame_begin(PgtFrame *f, uint64_t xid)
{
	if (f->len == PGT_FRAME_HEADER)
		shrink(f);
	pgt_put64(add_message(f, PGT_MSG_BEGIN, 8), xid);
}

void
pgt_frame_relation(PgtFrame *f, const unsigned char *body, size_t len)
{
	memcpy(add_message(f, PGT_MSG_RELATION, len), body, len);
}

void
pgt_frame_commit(PgtFrame *f, uint64_t xid, uint64_t commit_lsn, uint64_t end_lsn, int64_t commit_time)
{
	unsigned char *p = add_message(f, PGT_MSG_COMMIT, 32);

	pgt_put64(p, xid);
	pgt_put64(p + 8, commit_lsn);
	pgt_put64(p + 16, end_lsn);
	pgt_put64(p + 24, (uint64_t) commit_time);
}

void
pgt_frame_barrier(PgtFrame *f, uint64_t end_lsn, bool sync)
{
	unsigned char *p = add_message(f, PGT_MSG_BARRIER, 9);

	pgt_put64(p, end_lsn);
	p[8] = sync ? 1 : 0;
}

void
pgt_frame_quarantine(PgtFrame *f, uint32_t relid, uint32_t gen, const char *reason)
{
	size_t n = strlen(reason) + 1;
	unsigned char *p = add_message(f, PGT_MSG_QUARANTINE, 8 + n);

	pgt_put32(p, relid);
	pgt_put32(p + 4, gen);
	memcpy(p + 8, reason, n);
}

void
pgt_frame_row_begin(PgtFrame *f, uint32_t relid, uint32_t gen)
{
	if (f->data_start == 0 || f->relid != relid || f->gen != gen)
	{
		unsigned char *p = add_message(f, PGT_MSG_DATA, 12);

		f->data_start = (size_t) (p - f->buf) - PGT_MSG_HEADER;
		f->relid = relid;
		f->gen = gen;
		f->nrows = 0;
		pgt_put32(p, relid);
		pgt_put32(p + 4, gen);
		pgt_put32(p + 8, 0);
	}
	f->row_start = f->len;
}

void
pgt_frame_row_end(PgtFrame *f)
{
	f->nrows++;
	f->row_start = 0;
}

void
pgt_frame_row_abort(PgtFrame *f)
{
	if (f->row_start != 0)
		f->len = f->row_start;
	f->row_start = 0;
}

/* The compressed frame in zbuf, or 0 when compression does not make it smaller. */
static size_t
compress_payload(PgtFrame *f, size_t raw)
{
	size_t bound = PGT_FRAME_HEADER + raw;
	int n;

	if (raw > LZ4_MAX_INPUT_SIZE)
		return 0;
	if (f->zcap < bound)
	{
		f->zbuf = f->realloc_fn(f->owner, f->zbuf, bound);
		f->zcap = bound;
	}
	n = LZ4_compress_default((const char *) f->buf + PGT_FRAME_HEADER, (char *) f->zbuf + PGT_FRAME_HEADER,
							 (int) raw, (int) raw - 1);
	return n > 0 ? (size_t) n : 0;
}

static void
fill_header(unsigned char *p, uint16_t node, unsigned char flags, size_t raw)
{
	memset(p, 0, PGT_FRAME_HEADER);
	p[0] = PGT_FRAME_MAGIC;
	p[1] = PGT_FRAME_VERSION;
	pgt_put16(p + 2, node);
	p[4] = flags;
	pgt_put32(p + 8, (uint32_t) raw);
}

size_t
pgt_frame_finish(PgtFrame *f, const unsigned char **out)
{
	size_t raw;
	size_t n = 0;

	close_data(f);
	raw = f->len - PGT_FRAME_HEADER;
	if (raw == 0)
		return 0;
	f->len = PGT_FRAME_HEADER;
	if (f->lz4 && raw > 64)
		n = compress_payload(f, raw);
	if (n > 0)
	{
		fill_header(f->zbuf, f->node, PGT_FRAME_LZ4, raw);
		*out = f->zbuf;
		return PGT_FRAME_HEADER + n;
	}
	fill_header(f->buf, f->node, 0, raw);
	*out = f->buf;
	return PGT_FRAME_HEADER + raw;
}
