/*
 * apply.h - batches into the buffers, one transaction after another.
 *
 * One batch at a time: submit only when pgt_apply_is_free().  An incomplete batch leaves the database transaction open for
 * the next one; the complete batch that ends it moves the progress row by compare-and-swap and commits.  Any failure is
 * final for this connection: the owner closes it and starts over from the progress row.
 */
#ifndef PGT_APPLY_H
#define PGT_APPLY_H

#include "consumer/batch.h"
#include "consumer/conn.h"
#include "consumer/segments.h"

typedef struct PgtApply PgtApply;

typedef struct PgtApplyEvents
{
	/* batch is NULL for a mere progress write or roll-back; lsn is 0 unless the transaction was committed.  The batch is freed afterwards. */
	void (*on_done)(void *arg, const PgtBatch *batch, uint64_t lsn);

	/* culprit: the rows the server refused to take, or NULL */
	void (*on_failed)(void *arg, const PgtErr *err, const PgtRows *culprit);
} PgtApplyEvents;

extern PgtApply *pgt_apply_open(PgtLoop *loop, const PgtOptions *options, PgtSegments *segments);
extern void pgt_apply_events(PgtApply *a, const PgtApplyEvents *events, void *arg);
extern void pgt_apply_close(PgtApply *a);

/* the progress row's value, as _consumer_attach() told it; nothing is applied before */
extern void pgt_apply_start(PgtApply *a, uint64_t applied_lsn);

extern bool pgt_apply_is_free(const PgtApply *a);
extern bool pgt_apply_in_transaction(const PgtApply *a);
extern size_t pgt_apply_bytes(const PgtApply *a);        /* of the batch in flight */
extern int64_t pgt_apply_received_us(const PgtApply *a); /* its received_us, 0 without one */

/* takes the batch over; lsn is the progress to write when it is complete.  Every generation in it must be in segments. */
extern void pgt_apply_batch(PgtApply *a, PgtBatch *batch, uint64_t lsn);
extern void pgt_apply_progress(PgtApply *a, uint64_t lsn);
extern void pgt_apply_rollback(PgtApply *a);

#endif /* PGT_APPLY_H */
