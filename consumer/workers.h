/*
 * workers.h - the pool of connections that run refreshes, and what one refresh transaction is.
 *
 * A job is one transaction that refreshes its members in order under one S1:
 *
 *   BEGIN; _refresh_begin(ids) -> X    locks, snapshot, barrier (at X)
 *   wait until everything up to X is applied, in memory; too long: ROLLBACK, and everybody tries again later
 *   per member: _refresh_apply         with several members, each in a savepoint: one that fails takes only those along that read it
 *   COMMIT
 *   per failed member: _refresh_failed in a transaction of its own (also for a blown fuse, PT020)
 *
 * The pool decides nothing: scheduler.c gives it jobs and hears how they ended.
 */
#ifndef PGT_WORKERS_H
#define PGT_WORKERS_H

#include "consumer/conn.h"

typedef struct PgtPool PgtPool;

typedef enum PgtOutcome
{
	PGT_OUTCOME_NONE,    /* not reached */
	PGT_OUTCOME_DONE,    /* refreshed and committed */
	PGT_OUTCOME_FAILED,  /* by its own fault; reported, status_after says what became of it */
	PGT_OUTCOME_SKIPPED, /* reads a member that failed, or shares a refresh group with one */
	PGT_OUTCOME_RETRY    /* lock, barrier, lost connection: nobody's fault, nothing recorded */
} PgtOutcome;

typedef struct PgtMember
{
	int64_t id;
	char *name;  /* owned; for the log */
	int64_t due; /* microseconds since 1970 */
	int *reads;  /* owned; earlier members that it reads */
	int nreads;
	int64_t group; /* refresh group, 0 = none: its members are committed together or not at all */
	/* result */
	PgtOutcome outcome;
	char action[16];
	int64_t rows_changed;
	bool leftover;
	int64_t crossing; /* microseconds since 1970, 0 = none */
	bool lost;        /* the connection went while this one was applied: it may be what crashes the backend */
	double cost_ms;
	PgtErr err;
	char status_after[16]; /* FAILED: ACTIVE, SUSPENDED, …; DROPPED; empty: could not be reported */
} PgtMember;

typedef struct PgtJob
{
	PgtMember *members; /* owned */
	int n;
	bool background;
	int worker;       /* preferred one, < 0: any; afterwards the one that ran it */
	uint64_t barrier; /* X, 0 before begin succeeded */
	bool barrier_timed_out;
	int64_t begun;      /* loop time */
	int64_t barrier_us; /* from X known to X applied */
} PgtJob;

typedef struct PgtPoolEvents
{
	void (*job_done)(void *arg, PgtJob *job); /* the job is the callee's again */
	void (*worker_ready)(void *arg);
} PgtPoolEvents;

extern PgtPool *pgt_pool_create(PgtLoop *loop, const PgtOptions *options, const PgtPoolEvents *events, void *arg);
extern void pgt_pool_free(PgtPool *pool); /* drops running jobs without a word */

/* Connect and keep that many workers; fewer: the surplus leaves as it becomes idle. */
extern void pgt_pool_resize(PgtPool *pool, int nworkers);
extern void pgt_pool_set_barrier_timeout(PgtPool *pool, int64_t us);

extern int pgt_pool_idle(const PgtPool *pool);
extern int pgt_pool_running(const PgtPool *pool); /* jobs, background included */
extern bool pgt_pool_background_idle(const PgtPool *pool);

/* Takes the job over.  Only while pgt_pool_idle() > 0, or pgt_pool_background_idle() for a background job. */
extern void pgt_pool_run(PgtPool *pool, PgtJob *job);

extern void pgt_pool_progress(PgtPool *pool, uint64_t applied_lsn);

/* No barrier will be answered: jobs that wait for one roll back and are to be tried again. */
extern void pgt_pool_give_up_barriers(PgtPool *pool);

extern void pgt_job_free(PgtJob *job);

#endif /* PGT_WORKERS_H */
