/*
 * barrier.h - marks in the WAL: "everything committed before me is in the buffers once I am applied".
 */
#ifndef PGT_BARRIER_H
#define PGT_BARRIER_H

#include "postgres.h"
#include "access/xlogdefs.h"

#define PGT_BARRIER_PREFIX "pgtrickle.barrier"

/*
 * Write a barrier and flush WAL to it.  Returns the LSN of its end.  Assigns no transaction id.  `sync` asks the consumer to
 * write its progress row at once (somebody waits in SQL); only a hint, anybody can write such a message.
 */
extern XLogRecPtr pgt_barrier_emit(bool sync);

/* What the consumer has applied so far, by a fresh snapshot; InvalidXLogRecPtr when there is no progress row. */
extern XLogRecPtr pgt_barrier_progress(void);

/* Wait until progress has reached `lsn`, at most pg_trickle.barrier_timeout; then an error with a hint. */
extern void pgt_barrier_wait(XLogRecPtr lsn);

/* Flush WAL up to everything written so far. */
extern void pgt_barrier_flush_wal(void);

#endif /* PGT_BARRIER_H */
