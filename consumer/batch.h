/*
 * batch.h - rows on their way into the buffers, gathered per (relid, gen).
 *
 * Holds COPY BINARY tuples as they came, in blocks, with the figures that segment_stats wants.  A batch is complete when it
 * ends with a commit; of a transaction larger than memory the earlier batches are not.  Pure.
 */
#ifndef PGT_BATCH_H
#define PGT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PgtBlock
{
	struct PgtBlock *next;
	size_t used;
	size_t size;
	char data[];
} PgtBlock;

typedef struct PgtRows
{
	uint32_t relid;
	uint32_t gen;
	uint64_t nrows;
	uint64_t min_xid;
	uint64_t max_xid;
	size_t bytes;
	PgtBlock *first;
	PgtBlock *last;
} PgtRows;

typedef struct PgtBatch
{
	PgtRows *rows; /* one per (relid, gen), in order of arrival */
	int nrows;
	int capacity;
	int *index; /* hash: position in rows + 1 */
	int index_size;
	size_t bytes;
	int ntxns; /* commits inside */
	bool complete;
	uint64_t end_lsn;    /* of the last commit */
	int64_t received_us; /* when the first row came */
} PgtBatch;

extern PgtBatch *pgt_batch_create(void);
extern void pgt_batch_free(PgtBatch *b);
extern bool pgt_batch_is_empty(const PgtBatch *b);
extern void pgt_batch_add(PgtBatch *b, uint32_t relid, uint32_t gen, uint64_t xid, uint32_t nrows, const void *tuples, size_t len);

/* one marker row (op 'X', all else NULL): a change of this source that could not be kept */
extern void pgt_batch_add_unknown(PgtBatch *b, uint32_t relid, uint32_t gen, uint64_t xid, uint16_t nfields);
extern void pgt_batch_commit(PgtBatch *b, uint64_t end_lsn);

#endif /* PGT_BATCH_H */
