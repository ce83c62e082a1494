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

#define FIXED_COLUMN 12			/* length word and at most eight bytes */

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

/* A field of any length; keeps room for the fixed columns that follow. */
static unsigned char *
put_bytes(PgtFrame *f, unsigned char *p, const void *data, Size len, Size rest)
{
	f->len = p - f->buf;
	if (f->len - f->row_start + len > PGT_ROW_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too large to be captured")));
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

/* Kind 'd' of a type passed by value, or a cstring. */
static unsigned char *
put_datum(PgtFrame *f, unsigned char *p, const PgtColumn *col, Datum value, Size rest)
{
	char		bytes[sizeof(Datum)];

	if (!col->typbyval)
		return put_bytes(f, p, DatumGetCString(value), strlen(DatumGetCString(value)), rest);
	store_att_byval(bytes, value, col->typlen);
	return put_bytes(f, p, bytes, col->typlen, rest);
}

static unsigned char *
put_sent(PgtFrame *f, unsigned char *p, PgtColumn *col, Datum value, Size rest)
{
	bytea	   *b = SendFunctionCall(&col->send, value);

	return put_bytes(f, p, VARDATA(b), VARSIZE(b) - VARHDRSZ, rest);
}

/* xid, op, changed_columns */
static unsigned char *
put_head(PgtSession *s, PgtTarget *t, const PgtRow *row, unsigned char *p)
{
	const PgtMask *mask = row->mask;

	p = put16(p, (uint16) (t->ncols + 3));
	p = put32(p, 8);
	p = put64(p, s->xid);
	p = put32(p, 1);
	*p++ = (unsigned char) row->op;
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

static unsigned char *
put_columns(PgtFrame *f, PgtTarget *t, const PgtRow *row, unsigned char *p)
{
	Size		rest = (Size) t->ncols * FIXED_COLUMN;

	for (PgtColumn *col = t->cols, *end = col + t->ncols; col < end; col++)
	{
		Datum		value;

		rest -= FIXED_COLUMN;
		if (row->values == NULL || row->nulls[col->att])
		{
			p = put32(p, (uint32) -1);
			continue;
		}
		value = row->values[col->att];
		switch (col->code)
		{
			case PGT_CODE_W1:
				p = put32(p, 1);
				*p++ = (unsigned char) value;
				break;
			case PGT_CODE_W2:
				p = put16(put32(p, 2), (uint16) value);
				break;
			case PGT_CODE_W4:
				p = put32(put32(p, 4), (uint32) value);
				break;
			case PGT_CODE_W8:
				p = put64(put32(p, 8), (uint64) value);
				break;
			case PGT_CODE_FIXED:
				p = put_bytes(f, p, DatumGetPointer(value), col->typlen, rest);
				break;
			case PGT_CODE_VARLENA:
				p = put_varlena(f, p, value, rest);
				break;
			case PGT_CODE_SEND:
				p = put_sent(f, p, col, value, rest);
				break;
			case PGT_CODE_DATUM:
				p = put_datum(f, p, col, value, rest);
				break;
		}
	}
	return p;
}

void
pgt_encode_row(PgtSession *s, PgtTarget *t, const PgtRow *row)
{
	PgtFrame   *f = &s->frame;
	Size		head = 2 + 12 + 5 + 12;
	unsigned char *p;

	if (row->mask != NULL && row->mask->bits != NULL)
		head += row->mask->natts / 8 + 1;
	pgt_frame_row_begin(f, t->root->relid, (uint32) t->gen);
	p = pgt_frame_room(f, head + (Size) t->ncols * FIXED_COLUMN);
	p = put_head(s, t, row, p);
	p = put_columns(f, t, row, p);
	f->len = p - f->buf;
	pgt_frame_row_end(f);
}

static bool
varlena_differ(struct varlena *a, struct varlena *b)
{
	Size		n;

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
