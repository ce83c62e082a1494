/*
 * consumer.h - what the capture side (stream, apply, confirm) and the scheduling side (workers, schedule, policy) of the daemon
 * say to each other.  All calls happen on the loop's thread; hooks must not block and may queue queries on connections of
 * their own side only.
 *
 * Life: pgt_workers_start() once; then any number of  attached … detached  pairs as connections come and go; at the end
 * pgt_workers_drain().  Applied and progress hooks come only between attached and detached.
 */
#ifndef PGT_CONSUMER_H
#define PGT_CONSUMER_H

#include "consumer/err.h"
#include "consumer/loop.h"
#include "consumer/options.h"

typedef struct PgtEnv
{
	PgtLoop *loop;
	PgtOptions *options; /* stays valid; reloadable values may change between callbacks */
} PgtEnv;

/* ---- implemented by the scheduling side (workers.c), called by the capture side ---- */

extern bool pgt_workers_start(const PgtEnv *env, PgtErr *err);

/* the stream is running.  gap: why every ST was marked for a diff, or NULL */
extern void pgt_sched_on_attached(uint64_t applied_lsn, const char *gap);

/* the stream is down (reconnecting): no barrier will be answered until on_attached */
extern void pgt_sched_on_detached(void);

/* transactions touching these sources are committed in the buffers, or received and so small that a barrier brings them there at once */
extern void pgt_sched_on_applied(const uint32_t *relids, int nrelids, uint64_t end_lsn);

/* everything whose commit ends at or before lsn is in the buffers (called for barriers too) */
extern void pgt_sched_on_progress(uint64_t lsn);

/* NOTIFY pgtrickle_catalog came: _consumer_plan() may say something new */
extern void pgt_sched_on_catalog(void);

/* options were reloaded (SIGHUP) */
extern void pgt_sched_on_reload(void);

/* start no refresh any more; call done once no refresh is running (at once if none is) */
extern void pgt_workers_drain(void (*done)(void *arg), void *arg);

/* hard end: close everything, free everything */
extern void pgt_workers_stop(void);

/* ---- implemented by the capture side, called by the scheduling side ---- */

/* did the extension's schema have our version when we attached last?  An older one is served without the policy layer */
extern bool pgt_consumer_schema_is_current(void);

/* last LSN reported by on_progress; 0 while detached */
extern uint64_t pgt_consumer_applied_lsn(void);

/* how long the oldest received and not yet applied transaction has been waiting; 0: nothing waits */
extern int64_t pgt_consumer_lag_us(void);

/* a refresh has committed: horizons may have moved, segments may be consumed */
extern void pgt_consumer_refresh_done(void);

/* the barrier of a refresh that somebody waits for is on its way: flush what is there without lingering */
extern void pgt_consumer_expect_barrier(uint64_t lsn);

#endif /* PGT_CONSUMER_H */
