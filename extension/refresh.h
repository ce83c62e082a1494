/*
 * refresh.h - the engine: begin (locks, S1, barrier), apply (read buffers, run a program, store the frontier).
 *
 * One refresh context per transaction; it ends with the transaction.
 */
#ifndef PGT_REFRESH_H
#define PGT_REFRESH_H

#include "postgres.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "utils/snapshot.h"
#include "catalog.h"

typedef struct PgtRefreshResult
{
	const char *action; /* NO_DATA, FULL, DIFFERENTIAL, REINITIALIZE */
	const char *strategy;
	const char *reason;
	int64 rows_inserted; /* an updated row counts in both */
	int64 rows_deleted;
	int64 delta_rows;
	double duration_ms;
	TimestampTz next_crossing; /* time alone changes nothing before; DT_NOBEGIN: no such time is known */
	bool leftover;             /* buffers hold changes S1 could not see */
} PgtRefreshResult;

/*
 * Lock these STs (pgt_id order) and their sources, take S1, write and flush a barrier.  Returns its LSN.  READ COMMITTED only;
 * refuses when this transaction has written one of the sources.  `sync`: ask the consumer to write progress at once; apply waits for it
 * before it reads a buffer.  Without, the caller waits.
 */
extern XLogRecPtr pgt_refresh_begin(List *sts, bool sync);

/* Bring one ST of the context to S1; an error with a hint when what it has to wait for takes longer than barrier_timeout. */
extern PgtRefreshResult pgt_refresh_apply(PgtStreamTable *st, const char *initiated_by, TimestampTz due);

/*
 * First load inside the creating transaction, after pgt_source_register: S1 now, load, store frontier.  No barrier needed: the
 * registration locks prove that no writer is in flight.
 */
extern PgtRefreshResult pgt_refresh_load(PgtStreamTable *st, const char *initiated_by);

/*
 * After pgt_refresh_load: run the delta program of each single source on an empty delta, so that what cannot work fails at
 * creation.  No-op when the view is not incremental.
 */
extern void pgt_refresh_dry_run(PgtStreamTable *st);

/* begin + wait + apply for `st` alone, as refresh_stream_table does. */
extern PgtRefreshResult pgt_refresh_now(PgtStreamTable *st, const char *initiated_by);

/*
 * pgt_refresh_now in a subtransaction that is rolled back: locks are given back, the ST, its frontier and the history are as before, and
 * so is this transaction's refresh context.  Dead rows, and refresh numbers nobody sees, are all that remains.
 */
extern PgtRefreshResult pgt_refresh_rehearse(PgtStreamTable *st);

/* S1 of this transaction's last refresh; error if there was none. */
extern Snapshot pgt_refresh_snapshot(void);

/* True while the engine itself writes an ST: the guard trigger lets it pass. */
extern bool pgt_refresh_writing(void);

#endif /* PGT_REFRESH_H */
