/*
 * batch.c - gathering rows.
 *
 * Blocks instead of one growing array: growing by copying would need twice the memory at the worst moment.  The first block of a
 * source is small, since most batches hold a few rows each of a few sources.
 */
#include "consumer/batch.h"

#include <stdlib.h>
#include <string.h>

#include "consumer/alloc.h"

#include "plugin/wire.h"

#define BLOCK_FIRST (8 * 1024)
#define BLOCK_MAX (256 * 1024)

PgtBatch *
pgt_batch_create(void)
{
	return pgt_alloc(1, sizeof(PgtBatch));
}

void
pgt_batch_free(PgtBatch *b)
{
	if (b == NULL)
		return;
	for (int i = 0; i < b->nrows; i++)
	{
		for (PgtBlock *block = b->rows[i].first, *next; block; block = next)
		{
			next = block->next;
			free(block);
		}
	}
	free(b->rows);
	free(b->index);
	free(b);
}

bool
pgt_batch_is_empty(const PgtBatch *b)
{
	return b->nrows == 0;
}

static unsigned
hash_of(uint32_t relid, uint32_t gen)
{
	return relid * 2654435761u ^ gen * 40503u;
}

static void
index_insert(PgtBatch *b, int at)
{
	unsigned mask = (unsigned) b->index_size - 1;
	unsigned i = hash_of(b->rows[at].relid, b->rows[at].gen) & mask;

	while (b->index[i] != 0)
		i = (i + 1) & mask;
	b->index[i] = at + 1;
}

static PgtRows *
new_rows(PgtBatch *b, uint32_t relid, uint32_t gen)
{
	PgtRows *r;

	if (b->nrows == b->capacity)
	{
		b->capacity = b->capacity ? b->capacity * 2 : 8;
		b->rows = realloc(b->rows, sizeof(PgtRows) * (size_t) b->capacity);
		free(b->index);
		b->index_size = b->capacity * 2;
		b->index = pgt_alloc(1, sizeof(int) * (size_t) b->index_size);
		if (b->rows == NULL)
			abort();
		for (int i = 0; i < b->nrows; i++)
			index_insert(b, i);
	}
	r = &b->rows[b->nrows++];
	memset(r, 0, sizeof(*r));
	r->relid = relid;
	r->gen = gen;
	r->min_xid = UINT64_MAX;
	index_insert(b, b->nrows - 1);
	return r;
}

static PgtRows *
find_rows(PgtBatch *b, uint32_t relid, uint32_t gen)
{
	unsigned mask = (unsigned) b->index_size - 1;

	if (b->index_size == 0)
		return new_rows(b, relid, gen);
	for (unsigned i = hash_of(relid, gen) & mask; b->index[i] != 0; i = (i + 1) & mask)
	{
		PgtRows *r = &b->rows[b->index[i] - 1];

		if (r->relid == relid && r->gen == gen)
			return r;
	}
	return new_rows(b, relid, gen);
}

/* room for len bytes in one piece, or a block of its own for them */
static PgtBlock *
block_for(PgtRows *r, size_t len)
{
	size_t size = r->last ? r->last->size * 4 : BLOCK_FIRST;
	PgtBlock *block;

	if (r->last && r->last->size - r->last->used >= len)
		return r->last;
	if (size > BLOCK_MAX)
		size = BLOCK_MAX;
	if (size < len)
		size = len;
	block = malloc(sizeof(PgtBlock) + size);
	if (block == NULL)
		abort();
	block->next = NULL;
	block->used = 0;
	block->size = size;
	if (r->last)
		r->last->next = block;
	else
		r->first = block;
	r->last = block;
	return block;
}

void
pgt_batch_add(PgtBatch *b, uint32_t relid, uint32_t gen, uint64_t xid, uint32_t nrows, const void *tuples, size_t len)
{
	PgtRows *r = find_rows(b, relid, gen);
	PgtBlock *block = block_for(r, len);

	memcpy(block->data + block->used, tuples, len);
	block->used += len;
	r->bytes += len;
	b->bytes += len;
	r->nrows += nrows;
	if (xid < r->min_xid)
		r->min_xid = xid;
	if (xid > r->max_xid)
		r->max_xid = xid;
	b->complete = false;
}

void
pgt_batch_add_unknown(PgtBatch *b, uint32_t relid, uint32_t gen, uint64_t xid, uint16_t nfields)
{
	size_t len = 2 + (4 + 8) + (4 + 1) + (size_t) (nfields - 2) * 4;
	unsigned char *tuple = pgt_alloc(1, len);
	unsigned char *p = tuple;

	pgt_put16(p, nfields);
	pgt_put32(p + 2, 8);
	pgt_put64(p + 6, xid);
	pgt_put32(p + 14, 1);
	p[18] = PGT_OP_UNKNOWN;
	memset(p + 19, 0xff, len - 19); /* NULLs */
	pgt_batch_add(b, relid, gen, xid, 1, tuple, len);
	free(tuple);
}

void
pgt_batch_commit(PgtBatch *b, uint64_t end_lsn)
{
	b->ntxns++;
	b->complete = true;
	b->end_lsn = end_lsn;
}
