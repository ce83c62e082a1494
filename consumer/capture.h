/*
 * capture.h - from frames to applied batches: what is gathered, when it is flushed, how far everything is applied.
 *
 * Sits between the stream (which it pauses when apply is behind) and apply.  Feeds every transaction to the confirm rule, also
 * those that a restart makes the slot send again and that are not applied twice.
 */
#ifndef PGT_CAPTURE_H
#define PGT_CAPTURE_H

#include "consumer/apply.h"
#include "consumer/confirm.h"
#include "consumer/segments.h"
#include "consumer/stream.h"

typedef struct PgtCapture PgtCapture;

typedef struct PgtCaptureEvents
{
	/* committed in the buffers: these sources, up to lsn */
	void (*on_applied)(void *arg, const uint32_t *relids, int n, uint64_t lsn);
	/* received whole, perhaps not applied yet: a small transaction, which a barrier would flush at once */
	void (*on_received)(void *arg, const uint32_t *relids, int n, uint64_t lsn);
	/* everything that ends at or before lsn is in the buffers */
	void (*on_progress)(void *arg, uint64_t lsn);
	/* nothing can go on: reconnect.  culprit as in apply.h */
	void (*on_failed)(void *arg, const PgtErr *err, const PgtRows *culprit);
} PgtCaptureEvents;

extern PgtCapture *pgt_capture_create(PgtLoop *loop, const PgtOptions *options, PgtSegments *segments, PgtConfirm *confirm);
extern void pgt_capture_events(PgtCapture *c, const PgtCaptureEvents *events, void *arg);
extern void pgt_capture_free(PgtCapture *c);

/* a new session: apply and stream stay the caller's; masks: rows have the field changed_columns */
extern void pgt_capture_attach(PgtCapture *c, PgtApply *apply, PgtStream *stream, uint64_t applied_lsn, bool masks);
extern void pgt_capture_detach(PgtCapture *c);

extern bool pgt_capture_frame(PgtCapture *c, const unsigned char *frame, size_t len, PgtErr *err);
extern void pgt_capture_keepalive(PgtCapture *c, uint64_t wal_end);

/* this source's rows cannot be applied: from now on each of its transactions leaves one marker row instead */
extern void pgt_capture_quarantine(PgtCapture *c, uint32_t relid, uint32_t gen);

extern void pgt_capture_flush(PgtCapture *c); /* now, without waiting for company */
/* read no more, apply what ended; what has not ended comes again.  on_progress is called when that changes is_drained. */
extern void pgt_capture_drain(PgtCapture *c);
extern bool pgt_capture_is_drained(const PgtCapture *c); /* everything received is applied */
extern uint64_t pgt_capture_applied(const PgtCapture *c);
extern uint64_t pgt_capture_safe(const PgtCapture *c); /* received in this session and applied: the confirm rule may start from here */
extern int64_t pgt_capture_lag_us(const PgtCapture *c);
extern size_t pgt_capture_queued(const PgtCapture *c);

#endif /* PGT_CAPTURE_H */
