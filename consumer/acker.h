/*
 * acker.h - when horizons are asked for, when the slot is confirmed, when buffers are trimmed.
 *
 * confirm.h decides how far; this decides when.  Nothing is written on an idle server: a step is taken after ack-bytes of WAL, or after
 * ack-interval if transactions of ours were consumed since.  Every position is written to the database first
 * (_consumer_ack) and reported to the slot only once that is committed.
 */
#ifndef PGT_ACKER_H
#define PGT_ACKER_H

#include "consumer/confirm.h"
#include "consumer/conn.h"
#include "consumer/segments.h"

typedef struct PgtAcker PgtAcker;

typedef struct PgtAckerEvents
{
	void (*on_confirmed)(void *arg, uint64_t lsn);
	uint64_t (*safe_lsn)(void *arg); /* as pgt_confirm_position() wants it */
	uint64_t (*received_lsn)(void *arg);
	bool (*may_trim)(void *arg);                  /* no batch in flight names a segment that may be trimmed */
	void (*on_pinned)(void *arg, uint32_t relid); /* this source retains more WAL than a step: its readers should refresh when due */
} PgtAckerEvents;

extern PgtAcker *pgt_acker_create(PgtLoop *loop, const PgtOptions *options, PgtConfirm *confirm, PgtSegments *segments);
extern void pgt_acker_events(PgtAcker *a, const PgtAckerEvents *events, void *arg);
extern void pgt_acker_free(PgtAcker *a);

extern void pgt_acker_attach(PgtAcker *a, PgtConn *control); /* NULL: detached */
extern void pgt_acker_refresh_done(PgtAcker *a);             /* horizons may have moved */
extern void pgt_acker_applied(PgtAcker *a);                  /* there is something new to trim one day */
extern void pgt_acker_progress(PgtAcker *a);                 /* safe_lsn has moved */

/* end of the daemon: one last round and one last confirmation, then done */
extern void pgt_acker_drain(PgtAcker *a, void (*done)(void *arg), void *arg);

#endif /* PGT_ACKER_H */
