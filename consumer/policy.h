/*
 * policy.h - which stream tables are to be refreshed now, and together with which others.
 *
 * Pure: plain structs, an injected clock, injected randomness.  Times are microseconds since 1970; positions are WAL positions.
 *
 * An ST is *pending* when there may be something to do: a commit that touched one of its tables ended after the barrier of its last
 * refresh, the clock has reached the next row of a sliding window, a refresh of an upstream ST changed rows since, changes were left over, a diff or the first load is asked for, nobody has
 * looked since the daemon started, or an upstream with schedule `calculated` is pending.  Nothing pending: no barrier, no SQL, no timer.
 * It is *due* when its schedule says so; `calculated` STs when one of their readers is due.  Pending and due: *wanted*.
 * Units (dag.h) are refreshed whole: an untouched member may be touched by a transaction that S1 sees and nobody here has heard of yet.
 * So all members are pending when one is, and the unit is due when one member is; or all of them, if one asks for "slowest".
 * An ST is *held* while it is suspended, failed, frozen, fused or cyclic, or while a member of its unit that it reads is.
 */
#ifndef PGT_POLICY_H
#define PGT_POLICY_H

#include "consumer/dag.h"
#include "consumer/schedule.h"

#define PGT_NEVER INT64_MAX

typedef struct PgtPolicySt
{
	/* from the plan */
	PgtSchedule schedule;
	int factor; /* tier: how much longer than the schedule says */
	bool enabled;
	bool populated;
	bool needs_reinit;
	bool large;       /* its first load runs in the background, alone */
	bool clocked;     /* time alone may change it: pending whenever due */
	int64_t crossing; /* time alone changes nothing before; 0 = it never does */
	bool slowest;     /* its diamond waits until all members are due */
	/* since the daemon started */
	bool fresh; /* not looked at, or the last refresh failed */
	bool leftover;
	bool upstream_changed;
	bool running;
	int failures;     /* in a row */
	int barren;       /* refreshes in a row that changed nothing and left something over */
	uint64_t barrier; /* X of the last refresh */
	int64_t last_start;
	int64_t due;
	int64_t retry_at;      /* backing off until then */
	int64_t widened_until; /* contention: not dispatched before while others run; 0 = not widened since its last start */
	int64_t pending_since; /* continuous: when it was first seen pending; 0 = it is not */
	double cost_ms;        /* of the last refresh; < 0: unknown */
} PgtPolicySt;

enum
{
	PGT_ST_PENDING = 1,
	PGT_ST_DUE = 2,
	PGT_ST_HELD = 4,
	PGT_ST_WANTED = 8
};

typedef struct PgtPair
{
	int a;
	int b;
} PgtPair;

typedef struct PgtPolicy
{
	const PgtDag *dag;
	PgtPolicySt *sts;          /* one per node */
	const uint64_t *table_lsn; /* one per dag table: end of the last commit that touched it */
	uint8_t *flags;            /* one per node: result of the tick */
	int64_t now;
	int64_t fallback_us; /* period of `calculated` without readers */
	int64_t coalesce_us; /* continuous: wait so long for more of the same burst */
	/* what pg_trickle has learned about itself; nothing of it is needed (selfmon.h) */
	bool contended;       /* refreshes overlap too much: see pgt_policy_next_job */
	int nrunning;         /* jobs under way, but for background ones */
	int64_t widen_max;    /* longest widening */
	int64_t widen_wake;   /* set by pgt_policy_next_job when it widened something: tick again then */
	const PgtPair *pairs; /* nodes that do not run at the same time */
	int npairs;
} PgtPolicy;

/* Sets flags; returns when to look again if nothing happens until then, PGT_NEVER if there is no such time. */
extern int64_t pgt_policy_tick(PgtPolicy *p);

/*
 * The next job: nodes in the order to refresh them in, or 0.  `idle` workers are free: when more units wait, quick ones share a job.
 * `background`: a large first load, which is alone in its job, or only such ones otherwise.  The caller starts the job, then asks again.
 * Contended: what would start while something runs is put off until nothing does, by a fifth of its interval at most (pgt_policy_widening); so
 * phases drift apart.
 */
extern int pgt_policy_next_job(PgtPolicy *p, int idle, bool background, int *nodes);

extern void pgt_policy_started(PgtPolicy *p, int node);

/* The refresh committed.  `in_job`: one flag per node, readers that were refreshed after it in the same transaction. */
typedef struct PgtRefreshed
{
	uint64_t barrier;
	bool changed; /* rows of the ST changed */
	bool leftover;
	int64_t crossing;
	double cost_ms;
} PgtRefreshed;

extern void pgt_policy_succeeded(PgtPolicy *p, int node, const PgtRefreshed *r, const bool *in_job);

/* It did not: try again after `delay`; `counts` when it is the ST's own failure. */
extern void pgt_policy_failed(PgtPolicy *p, int node, int64_t delay, bool counts);

/* Of an ST that comes into the plan, or whose schedule changed.  last_refresh: 0 = never. */
extern int64_t pgt_policy_first_due(const PgtPolicySt *st, int64_t last_refresh, int64_t now, int64_t fallback_us);

/* The wall clock was set: durations go on as they were, cron is asked again. */
extern void pgt_policy_clock_jumped(PgtPolicy *p, int64_t by);

/* By how much contention widens the interval of this ST: 20 % of it, at most `most`; nothing for cron. */
extern int64_t pgt_policy_widening(const PgtPolicySt *st, int64_t fallback_us, int64_t most);

/* Delay before attempt n + 1 after n failures: base * 2^(n-1), at most cap, ± 25 % by `random`. */
extern int64_t pgt_backoff(int failures, int64_t base, int64_t cap, uint32_t random);

/* 1, 2, 10; 0 for frozen and for names unknown here. */
extern int pgt_tier_factor(const char *tier);

#endif /* PGT_POLICY_H */
