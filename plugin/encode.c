/*
 * encode.c - rows as buffer tuples in COPY BINARY form.
 *
 * The hot path of the plugin.  Room for everything of known size is taken once per row; values whose binary form is the datum
 * itself are written without a function call, whatever the type is called (relation.c has looked at the send function).
 *
 * Must not be called with a value that is still on disk (an unchanged TOAST pointer): change.c has replaced those.  May raise
 * an error half way through a row; the caller takes the row back.
 */
#include "plugin/plugin.h"

#include "access/detoast.h"
#include "access/tupmacs.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#define FIXED_COLUMN 12 /* length word and at most eight bytes */

static inline unsigned char *
put16(unsigned char *p, uint16 v)
{
	v = pg_hton16(v);
	memcpy(p, &v, 2);
	return p + 2;
}

static inline unsigned char *
put32(unsigned char *p, uint32 v)
{
	v = pg_hton32(v);
	memcpy(p, &v, 4);
	return p + 4;
}

static inline unsigned char *
put64(unsigned char *p, uint64 v)
{
	v = pg_hton64(v);
	memcpy(p, &v, 8);
	return p + 8;
}

static void
too_large(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("row is too large to be captured")));
}

/* A field of any length; keeps room for the fixed columns that follow. */
static unsigned char *
put_bytes(PgtFrame *f, unsigned char *p, const void *data, Size len, Size rest)
{
	f->len = p - f->buf;
	if (f->len - f->row_start + len > PGT_ROW_MAX)
		too_large();
	p = pgt_frame_room(f, 4 + len + rest);
	p = put32(p, (uint32) len);
	memcpy(p, data, len);
	return p + len;
}

static unsigned char *
put_varlena(PgtFrame *f, unsigned char *p, Datum value, Size rest)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);

	if (unlikely(VARATT_IS_EXTERNAL(v) || VARATT_IS_COMPRESSED(v)))
	{
		if (VARATT_IS_EXTERNAL_ONDISK(v))
			elog(ERROR, "value on disk cannot be captured");
		v = pg_detoast_datum_packed(v);
	}
	return put_bytes(f, p, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), rest);
}

static unsigned char *
put_sent(PgtFrame *f, unsigned char *p, PgtColumn *col, Datum value, Size rest)
{
	bytea *b = SendFunctionCall(&col->send, value);

	return put_bytes(f, p, VARDATA(b), VARSIZE(b) - VARHDRSZ, rest);
}

/*
 * What numeric_send makes of a number, from its stored form: a header word (or two, in the long form) and base-10000 digits.
 * NaN and the infinities are left to numeric_send itself.
 */
static unsigned char *
put_numeric(PgtFrame *f, unsigned char *p, PgtColumn *col, Datum value, Size rest)
{
	struct varlena *v = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));
	const char *d = VARDATA_ANY(v);
	Size size = VARSIZE_ANY_EXHDR(v);
	bool is_short;
	uint16 head;
	uint16 weight;
	int ndigits;

	memcpy(&head, d, 2);
	if ((head & 0xC000) == 0xC000)
		return put_sent(f, p, col, value, rest);
	is_short = (head & 0x8000) != 0;
	if (is_short)
		weight = (head & 0x0040) ? (head | 0xFFC0) : (head & 0x003F);
	else
		memcpy(&weight, d + 2, 2);
	d += is_short ? 2 : 4;
	ndigits = (int) (size - (is_short ? 2 : 4)) / 2;
	f->len = p - f->buf;
	p = pgt_frame_room(f, 12 + 2 * ndigits + rest);
	p = put32(p, 8 + 2 * ndigits);
	p = put16(p, ndigits);
	p = put16(p, weight);
	p = put16(p, is_short ? ((head & 0x2000) << 1) : (head & 0xC000));
	p = put16(p, is_short ? ((head & 0x1F80) >> 7) : (head & 0x3FFF));
	for (int i = 0; i < ndigits; i++, d += 2)
	{
		uint16 digit;

		memcpy(&digit, d, 2);
		p = put16(p, digit);
	}
	return p;
}

/* Kind 'd' of a type passed by value, or a cstring. */
static unsigned char *
put_datum(PgtFrame *f, unsigned char *p, const PgtColumn *col, Datum value, Size rest)
{
	char bytes[sizeof(Datum)];

	if (!col->typbyval)
		return put_bytes(f, p, DatumGetCString(value), strlen(DatumGetCString(value)), rest);
	store_att_byval(bytes, value, col->typlen);
	return put_bytes(f, p, bytes, col->typlen, rest);
}

/* xid, op, and unless the buffers have none, changed_columns */
static unsigned char *
put_head(PgtSession *s, PgtTarget *t, const PgtRow *row, unsigned char *p)
{
	const PgtMask *mask = row->mask;

	p = put16(p, (uint16) (t->ncols + (s->opt.changed_columns ? 3 : 2)));
	p = put32(p, 8);
	p = put64(p, s->xid);
	p = put32(p, 1);
	*p++ = (unsigned char) row->op;
	if (!s->opt.changed_columns)
		return p;
	if (mask == NULL)
		return put32(p, (uint32) -1);
	if (mask->bits == NULL)
	{
		p = put32(p, 8);
		return put64(p, mask->low);
	}
	p = put32(p, 4 + (mask->natts + 7) / 8);
	p = put32(p, mask->natts);
	memcpy(p, mask->bits, (mask->natts + 7) / 8);
	return p + (mask->natts + 7) / 8;
}

/* One column; keeps room for `rest` more bytes. */
static inline unsigned char *
put_column(PgtFrame *f, PgtColumn *col, Datum value, unsigned char *p, Size rest)
{
	switch (col->code)
	{
		case PGT_CODE_W1:
			p = put32(p, 1);
			*p = (unsigned char) value;
			return p + 1;
		case PGT_CODE_W2:
			return put16(put32(p, 2), (uint16) value);
		case PGT_CODE_W4:
			return put32(put32(p, 4), (uint32) value);
		case PGT_CODE_W8:
			return put64(put32(p, 8), (uint64) value);
		case PGT_CODE_FIXED:
			return put_bytes(f, p, DatumGetPointer(value), col->typlen, rest);
		case PGT_CODE_VARLENA:
			return put_varlena(f, p, value, rest);
		case PGT_CODE_NUMERIC:
			return put_numeric(f, p, col, value, rest);
		case PGT_CODE_SEND:
			return put_sent(f, p, col, value, rest);
		case PGT_CODE_DATUM:
			return put_datum(f, p, col, value, rest);
	}
	return p;
}

/* All columns; remembers where each begins. */
static unsigned char *
put_columns(PgtSession *s, PgtTarget *t, const PgtRow *row, unsigned char *p)
{
	PgtFrame *f = &s->frame;
	Size rest = (Size) t->ncols * FIXED_COLUMN;
	size_t *offset = s->offsets;

	for (PgtColumn *col = t->cols, *end = col + t->ncols; col < end; col++)
	{
		*offset++ = p - f->buf;
		rest -= FIXED_COLUMN;
		if (row->values == NULL || row->nulls[col->att])
			p = put32(p, (uint32) -1);
		else
			p = put_column(f, col, row->values[col->att], p, rest);
	}
	*offset = p - f->buf;
	return p;
}

/* The new row of an UPDATE: columns that have not changed are copied from the old row, which stands before it in the frame. */
static unsigned char *
put_changed_columns(PgtSession *s, PgtTarget *t, const PgtRow *row, unsigned char *p)
{
	PgtFrame *f = &s->frame;
	const size_t *offset = s->offsets;
	int n = t->ncols;

	f->len = p - f->buf;
	p = pgt_frame_room(f, offset[n] - offset[0] + (Size) n * FIXED_COLUMN);
	for (int i = 0, j; i < n; i = j)
	{
		PgtColumn *col = &t->cols[i];

		for (j = i; j < n && !row->changed[j]; j++)
			;
		memcpy(p, f->buf + offset[i], offset[j] - offset[i]);
		p += offset[j] - offset[i];
		if (j == i)
		{
			Size rest = offset[n] - offset[i + 1] + (Size) (n - i) * FIXED_COLUMN;

			j = i + 1;
			if (row->nulls[col->att])
				p = put32(p, (uint32) -1);
			else
				p = put_column(f, col, row->values[col->att], p, rest);
		}
	}
	return p;
}

/* Space for the offsets of this target's columns. */
static void
need_offsets(PgtSession *s, int n)
{
	if (s->max_offsets > n)
		return;
	s->offsets = s->offsets == NULL ? MemoryContextAlloc(s->ctx->context, sizeof(size_t) * (n + 1))
									: repalloc(s->offsets, sizeof(size_t) * (n + 1));
	s->max_offsets = n + 1;
}

void
pgt_encode_row(PgtSession *s, PgtTarget *t, const PgtRow *row)
{
	PgtFrame *f = &s->frame;
	Size head = 2 + 12 + 5 + 12;
	bool old_row;
	unsigned char *p;

	if (row->mask != NULL && row->mask->bits != NULL)
		head += row->mask->natts / 8 + 1;
	need_offsets(s, t->ncols);
	old_row = row->changed != NULL && s->offsets_of == t;
	s->offsets_of = NULL;
	pgt_frame_row_begin(f, t->root->relid, (uint32) t->gen);
	p = pgt_frame_room(f, head + (Size) t->ncols * FIXED_COLUMN);
	p = put_head(s, t, row, p);
	p = old_row ? put_changed_columns(s, t, row, p) : put_columns(s, t, row, p);
	f->len = p - f->buf;
	if (f->len - f->row_start > PGT_ROW_MAX)
		too_large();
	pgt_frame_row_end(f);
	s->offsets_of = old_row ? NULL : t;
}

static bool
varlena_differ(struct varlena *a, struct varlena *b)
{
	Size n;

	if (VARATT_IS_EXTERNAL(a) || VARATT_IS_EXTERNAL(b) || VARATT_IS_COMPRESSED(a) || VARATT_IS_COMPRESSED(b))
	{
		if (toast_raw_datum_size(PointerGetDatum(a)) != toast_raw_datum_size(PointerGetDatum(b)))
			return true;
		a = pg_detoast_datum_packed(a);
		b = pg_detoast_datum_packed(b);
	}
	n = VARSIZE_ANY_EXHDR(a);
	return n != VARSIZE_ANY_EXHDR(b) || memcmp(VARDATA_ANY(a), VARDATA_ANY(b), n) != 0;
}

/* Whether two non-null values differ in their bytes: equal under the type's own '=' is not enough to be the same. */
bool
pgt_values_differ(const PgtColumn *col, Datum a, Datum b)
{
	if (col->typbyval)
		return a != b;
	if (col->typlen > 0)
		return memcmp(DatumGetPointer(a), DatumGetPointer(b), col->typlen) != 0;
	if (col->typlen == -1)
		return varlena_differ((struct varlena *) DatumGetPointer(a), (struct varlena *) DatumGetPointer(b));
	return strcmp(DatumGetCString(a), DatumGetCString(b)) != 0;
}
