/*
 * decode.c - frames to messages, with bounds.
 *
 * A frame is checked for size before anything is allocated for it: LZ4 cannot expand more than 255 times, so a header that
 * promises more is refused without believing it.  Relations live as long as the session: (relid, gen) -> field count, in a
 * small open-addressing table.
 */
#include "consumer/decode.h"

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/wire.h"

#define FIXED_FIELDS 3   /* xid, op, changed_columns */
#define MAX_COLUMNS 1600 /* PostgreSQL's limit */
#define LZ4_MAX_RATIO 255
#define XID_FIELD_LEN 8

typedef struct RelEntry
{
	uint32_t relid; /* 0: empty slot */
	uint32_t gen;
	uint16_t ncols;
} RelEntry;

struct PgtDecoder
{
	PgtDecodeOps ops;
	void *arg;
	unsigned char *raw; /* decompressed payload, kept between frames */
	size_t raw_size;
	RelEntry *rels;
	uint32_t nrels;
	uint32_t rels_size; /* power of two */
	uint16_t fixed_fields;
	bool in_xact;
	uint64_t xid;
};

/* what is left of the bytes being read */
typedef struct Cursor
{
	const unsigned char *p;
	size_t left;
} Cursor;

PgtDecoder *
pgt_decoder_create(const PgtDecodeOps *ops, void *arg)
{
	PgtDecoder *d = calloc(1, sizeof(PgtDecoder));

	if (d == NULL)
		abort();
	d->ops = *ops;
	d->fixed_fields = FIXED_FIELDS;
	d->arg = arg;
	return d;
}

void
pgt_decoder_without_masks(PgtDecoder *d)
{
	d->fixed_fields = FIXED_FIELDS - 1;
}

void
pgt_decoder_free(PgtDecoder *d)
{
	if (d == NULL)
		return;
	free(d->raw);
	free(d->rels);
	free(d);
}

bool
pgt_decoder_in_transaction(const PgtDecoder *d)
{
	return d->in_xact;
}

static bool
corrupt(PgtErr *err, const char *what)
{
	pgt_err_set(err, PGT_STATE_PROTOCOL, "invalid frame from the output plugin: %s", what);
	pgt_err_hint(err, "Plugin and consumer must be of the same version; otherwise please report this.");
	return false;
}

/* ---- relations ---- */

static RelEntry *
rel_slot(RelEntry *rels, uint32_t size, uint32_t relid, uint32_t gen)
{
	uint32_t i = (relid * 2654435761u ^ gen * 40503u) & (size - 1);

	while (rels[i].relid != 0 && (rels[i].relid != relid || rels[i].gen != gen))
		i = (i + 1) & (size - 1);
	return &rels[i];
}

static bool
rels_grow(PgtDecoder *d)
{
	uint32_t size = d->rels_size ? d->rels_size * 2 : 64;
	RelEntry *grown = calloc(size, sizeof(RelEntry));

	if (grown == NULL)
		return false;
	for (uint32_t i = 0; i < d->rels_size; i++)
	{
		if (d->rels[i].relid)
			*rel_slot(grown, size, d->rels[i].relid, d->rels[i].gen) = d->rels[i];
	}
	free(d->rels);
	d->rels = grown;
	d->rels_size = size;
	return true;
}

static const RelEntry *
rel_find(const PgtDecoder *d, uint32_t relid, uint32_t gen)
{
	RelEntry *e;

	if (d->rels_size == 0 || relid == 0)
		return NULL;
	e = rel_slot(d->rels, d->rels_size, relid, gen);
	return e->relid ? e : NULL;
}

static bool
decode_relation(PgtDecoder *d, Cursor c, PgtErr *err)
{
	uint32_t relid, gen;
	uint16_t ncols;
	RelEntry *e;
	const unsigned char *names;

	if (c.left < 12)
		return corrupt(err, "relation message is too short");
	relid = pgt_get32(c.p);
	gen = pgt_get32(c.p + 4);
	ncols = pgt_get16(c.p + 10);
	if (relid == 0 || ncols > MAX_COLUMNS || c.left - 12 < (size_t) ncols * 2)
		return corrupt(err, "relation message has an impossible column list");
	/* two strings, each with its end, and nothing more */
	names = c.p + 12 + (size_t) ncols * 2;
	c.left -= 12 + (size_t) ncols * 2;
	for (int i = 0; i < 2; i++)
	{
		const unsigned char *end = memchr(names, 0, c.left);

		if (end == NULL)
			return corrupt(err, "relation message has an unterminated name");
		c.left -= (size_t) (end + 1 - names);
		names = end + 1;
	}
	if (c.left != 0)
		return corrupt(err, "relation message is too long");
	if (d->nrels * 2 >= d->rels_size && !rels_grow(d))
		return corrupt(err, "out of memory");
	e = rel_slot(d->rels, d->rels_size, relid, gen);
	if (e->relid == 0)
		d->nrels++;
	*e = (RelEntry){relid, gen, ncols};
	return true;
}

/* ---- rows ---- */

/* the tuples must have the fields the relation promised and fill the message exactly; the first field is this transaction's xid */
static bool
check_tuples(const PgtDecoder *d, const PgtDataMsg *msg)
{
	Cursor c = {msg->tuples, msg->len};

	for (uint32_t row = 0; row < msg->nrows; row++)
	{
		if (c.left < 2 + 4 + XID_FIELD_LEN || pgt_get16(c.p) != msg->nfields || pgt_get32(c.p + 2) != XID_FIELD_LEN ||
			pgt_get64(c.p + 6) != d->xid)
			return false;
		c.p += 2;
		c.left -= 2;
		for (uint16_t f = 0; f < msg->nfields; f++)
		{
			uint32_t len;

			if (c.left < 4)
				return false;
			len = pgt_get32(c.p);
			c.p += 4;
			c.left -= 4;
			if (len == UINT32_MAX)
				continue; /* NULL */
			if (len > c.left)
				return false;
			c.p += len;
			c.left -= len;
		}
	}
	return c.left == 0;
}

static bool
decode_data(PgtDecoder *d, Cursor c, PgtErr *err)
{
	PgtDataMsg msg;
	const RelEntry *rel;

	if (c.left < 12)
		return corrupt(err, "data message is too short");
	if (!d->in_xact)
		return corrupt(err, "data message outside of a transaction");
	msg.relid = pgt_get32(c.p);
	msg.gen = pgt_get32(c.p + 4);
	msg.nrows = pgt_get32(c.p + 8);
	msg.tuples = c.p + 12;
	msg.len = c.left - 12;
	rel = rel_find(d, msg.relid, msg.gen);
	if (rel == NULL)
		return corrupt(err, "data message for a relation that was not announced");
	msg.nfields = (uint16_t) (d->fixed_fields + rel->ncols);
	if (!check_tuples(d, &msg))
		return corrupt(err, "data message whose rows do not match their relation");
	if (msg.nrows > 0)
		d->ops.data(d->arg, &msg);
	return true;
}

/* ---- transactions and the rest ---- */

static bool
decode_begin(PgtDecoder *d, Cursor c, PgtErr *err)
{
	if (c.left != 8)
		return corrupt(err, "begin message has a wrong length");
	if (d->in_xact)
		return corrupt(err, "begin message inside of a transaction");
	d->xid = pgt_get64(c.p);
	d->in_xact = true;
	d->ops.begin(d->arg, d->xid);
	return true;
}

static bool
decode_commit(PgtDecoder *d, Cursor c, PgtErr *err)
{
	PgtCommitMsg msg;

	if (c.left != 32)
		return corrupt(err, "commit message has a wrong length");
	msg.xid = pgt_get64(c.p);
	msg.commit_lsn = pgt_get64(c.p + 8);
	msg.end_lsn = pgt_get64(c.p + 16);
	msg.commit_time = (int64_t) pgt_get64(c.p + 24);
	if (!d->in_xact || msg.xid != d->xid)
		return corrupt(err, "commit message without its begin message");
	if (msg.end_lsn <= msg.commit_lsn)
		return corrupt(err, "commit message that ends before it begins");
	d->in_xact = false;
	d->ops.commit(d->arg, &msg);
	return true;
}

static bool
decode_barrier(PgtDecoder *d, Cursor c, PgtErr *err)
{
	if (c.left != 9)
		return corrupt(err, "barrier message has a wrong length");
	if (d->in_xact)
		return corrupt(err, "barrier message inside of a transaction");
	d->ops.barrier(d->arg, pgt_get64(c.p), c.p[8] == 1);
	return true;
}

static bool
decode_quarantine(PgtDecoder *d, Cursor c, PgtErr *err)
{
	if (c.left < 9 || memchr(c.p + 8, 0, c.left - 8) != c.p + c.left - 1)
		return corrupt(err, "quarantine message is malformed");
	d->ops.quarantine(d->arg, pgt_get32(c.p), pgt_get32(c.p + 4), (const char *) c.p + 8);
	return true;
}

static bool
decode_message(PgtDecoder *d, unsigned char type, Cursor body, PgtErr *err)
{
	switch ((PgtMsgType) type)
	{
		case PGT_MSG_BEGIN:
			return decode_begin(d, body, err);
		case PGT_MSG_RELATION:
			return decode_relation(d, body, err);
		case PGT_MSG_DATA:
			return decode_data(d, body, err);
		case PGT_MSG_COMMIT:
			return decode_commit(d, body, err);
		case PGT_MSG_BARRIER:
			return decode_barrier(d, body, err);
		case PGT_MSG_QUARANTINE:
			return decode_quarantine(d, body, err);
	}
	return corrupt(err, "unknown message type");
}

static bool
decode_payload(PgtDecoder *d, Cursor c, PgtErr *err)
{
	while (c.left > 0)
	{
		size_t len;

		if (c.left < PGT_MSG_HEADER)
			return corrupt(err, "message header is cut off");
		len = pgt_get32(c.p + 1);
		if (len > c.left - PGT_MSG_HEADER)
			return corrupt(err, "message is longer than its frame");
		if (!decode_message(d, c.p[0], (Cursor){c.p + PGT_MSG_HEADER, len}, err))
			return false;
		c.p += PGT_MSG_HEADER + len;
		c.left -= PGT_MSG_HEADER + len;
	}
	return true;
}

/* ---- frames ---- */

static bool
raw_reserve(PgtDecoder *d, size_t need)
{
	unsigned char *grown;

	/* one giant row must not keep its memory for ever */
	if (need <= d->raw_size && (d->raw_size <= 16 * PGT_FRAME_TARGET || need * 4 >= d->raw_size))
		return true;
	grown = realloc(d->raw, need);
	if (grown == NULL)
		return false;
	d->raw = grown;
	d->raw_size = need;
	return true;
}

static bool
decompress(PgtDecoder *d, Cursor c, size_t raw_len, PgtErr *err)
{
	int n;

	if (raw_len / LZ4_MAX_RATIO > c.left)
		return corrupt(err, "compressed frame promises more than it can hold");
	if (raw_len == 0 || !raw_reserve(d, raw_len))
		return corrupt(err, raw_len ? "out of memory" : "compressed frame is empty");
	n = LZ4_decompress_safe((const char *) c.p, (char *) d->raw, (int) c.left, (int) raw_len);
	if (n < 0 || (size_t) n != raw_len)
		return corrupt(err, "compressed frame cannot be decompressed");
	return decode_payload(d, (Cursor){d->raw, raw_len}, err);
}

bool
pgt_decode_frame(PgtDecoder *d, const unsigned char *frame, size_t len, PgtErr *err)
{
	Cursor payload;
	size_t raw_len;
	unsigned char flags;

	if (len < PGT_FRAME_HEADER)
		return corrupt(err, "frame is shorter than its header");
	if (frame[0] != PGT_FRAME_MAGIC)
		return corrupt(err, "frame does not begin with the magic byte");
	if (frame[1] != PGT_FRAME_VERSION)
		return corrupt(err, "frame is of another version");
	flags = frame[4];
	if ((flags & ~PGT_FRAME_LZ4) || frame[5] || frame[6] || frame[7])
		return corrupt(err, "frame has unknown flags");
	raw_len = pgt_get32(frame + 8);
	payload = (Cursor){frame + PGT_FRAME_HEADER, len - PGT_FRAME_HEADER};
	if (raw_len > PGT_FRAME_MAX_RAW || payload.left > PGT_FRAME_MAX_RAW)
		return corrupt(err, "frame is too large");
	if (flags & PGT_FRAME_LZ4)
		return decompress(d, payload, raw_len, err);
	if (raw_len != payload.left)
		return corrupt(err, "frame length does not match its header");
	return decode_payload(d, payload, err);
}
