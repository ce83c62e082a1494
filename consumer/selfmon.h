/*
 * selfmon.h - self-monitoring's hand: reads what the df_* tables say and acts on it.
 *
 * The scheduler hands over every plan it reads and every refresh of a df_* table; without df_* tables in the plan nothing is open and
 * nothing happens.  With them there is one connection of its own ("trickle-consumer policy"), so that nothing here, however slow or
 * broken, delays a plan or a refresh.  What comes back to the scheduler are two hints, which it can do without: whether
 * refreshes get in each other's way, and which pairs are to be refreshed one after the other.
 */
#ifndef PGT_SELFMON_H
#define PGT_SELFMON_H

#include "consumer/conn.h"
#include "consumer/plan.h"

typedef struct PgtSelfmon PgtSelfmon;

typedef struct PgtSelfmonPair
{
	int64_t a; /* pgt_ids */
	int64_t b;
} PgtSelfmonPair;

typedef struct PgtSelfmonEvents
{
	void (*on_contention)(void *arg, bool contended);
	void (*on_pairs)(void *arg, const PgtSelfmonPair *pairs, int n); /* all of them */
} PgtSelfmonEvents;

extern PgtSelfmon *pgt_selfmon_create(PgtLoop *loop, const PgtOptions *options, const PgtSelfmonEvents *events, void *arg);
extern void pgt_selfmon_free(PgtSelfmon *m);

/* The plan was read (every max_poll_interval_ms at least): this is the tick.  It is not kept. */
extern void pgt_selfmon_on_plan(PgtSelfmon *m, const PgtPlan *plan);

/* The scheduler has refreshed this ST, and it changed. */
extern void pgt_selfmon_on_refreshed(PgtSelfmon *m, int64_t id);

#endif /* PGT_SELFMON_H */
