/*
 * session.h - connections of the capture side as a whole: connect, lock, attach, stream; tear down, pause, again.
 *
 * One failure policy: whatever fails, everything is closed and set up again from the progress row.  Nothing in memory is trusted
 * over a reconnect except the quarantine list.
 */
#ifndef PGT_SESSION_H
#define PGT_SESSION_H

#include "consumer/conn.h"

typedef struct PgtSession PgtSession;

typedef struct PgtSessionEvents
{
	/* before the first attach only: waiting would not mend it */
	void (*on_fatal)(void *arg, const PgtErr *err, PgtExit code);
	void (*on_drained)(void *arg);
} PgtSessionEvents;

extern PgtSession *pgt_session_start(PgtLoop *loop, const PgtOptions *options, const PgtSessionEvents *events, void *arg);
extern bool pgt_session_is_attached(const PgtSession *s);

/* apply what is received, confirm what is consumed, then on_drained */
extern void pgt_session_drain(PgtSession *s);
extern void pgt_session_stop(PgtSession *s);

#endif /* PGT_SESSION_H */
