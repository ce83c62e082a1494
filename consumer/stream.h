/*
 * stream.h - the replication connection: START_REPLICATION, frames and keepalives in, positions out.
 *
 * Knows nothing of what frames contain.  Reading can be paused (backpressure: the server's socket fills up); positions are sent
 * all the same, so that the server does not take us for dead.
 */
#ifndef PGT_STREAM_H
#define PGT_STREAM_H

#include "consumer/conn.h"

typedef struct PgtStream PgtStream;

typedef struct PgtStreamEvents
{
	void (*on_started)(void *arg);
	bool (*on_frame)(void *arg, const unsigned char *frame, size_t len); /* false: the stream was closed inside */
	void (*on_keepalive)(void *arg, uint64_t wal_end);
	void (*on_failed)(void *arg, const PgtErr *err);
} PgtStreamEvents;

extern PgtStream *pgt_stream_open(PgtLoop *loop, const PgtOptions *options);
extern void pgt_stream_events(PgtStream *s, const PgtStreamEvents *events, void *arg);
extern void pgt_stream_close(PgtStream *s);

/* begins at the slot's confirmed position, once the connection is there; masks: rows with the field changed_columns */
extern void pgt_stream_start(PgtStream *s, bool masks);
extern int pgt_stream_backend_pid(const PgtStream *s);

extern void pgt_stream_pause(PgtStream *s, bool pause);
extern bool pgt_stream_is_paused(const PgtStream *s);

extern uint64_t pgt_stream_received(const PgtStream *s);

/* positions to report from now on; confirmed moves the slot and is sent at once when it has changed */
extern void pgt_stream_positions(PgtStream *s, uint64_t applied, uint64_t confirmed);

#endif /* PGT_STREAM_H */
