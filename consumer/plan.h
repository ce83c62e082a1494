/*
 * plan.h - what the extension tells the scheduler about the stream tables.
 *
 * The rows of pgtrickle._consumer_plan() as structs.  Columns are found by name, so that the extension may add some; those named
 * "optional" below may be missing.  No connection, no clock.
 */
#ifndef PGT_PLAN_H
#define PGT_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <libpq-fe.h>

#include "consumer/err.h"

typedef struct PgtPlanSt
{
	int64_t id;
	char *name;     /* schema.name, for people */
	char *schedule; /* NULL = calculated */
	char *status;
	uint32_t *tables; /* sorted */
	int ntables;
	int64_t *upstreams;
	int nupstreams;
	int64_t last_refresh;  /* microseconds since 1970, 0 = never */
	int64_t refresh_group; /* optional refresh_group */
	int factor;            /* of the tier; 0 = frozen */
	bool populated;
	bool needs_reinit;
	bool fuse_blown;
	bool gated; /* optional gated: a gate, a watermark or its refresh group holds it */
	bool large;
	bool atomic;
	bool slowest;          /* optional diamond_schedule_policy */
	bool clocked;          /* optional time_dependent */
	int64_t crossing;      /* optional next_crossing: microseconds since 1970, 0 = time alone changes nothing */
	bool upstream_pending; /* optional: an upstream ST has a refresh that this one has not consumed */
} PgtPlanSt;

typedef struct PgtPlan
{
	PgtPlanSt *sts; /* sorted by id */
	int n;
	bool enabled;               /* pg_trickle.enabled */
	int64_t fallback_us;        /* pg_trickle.default_schedule_seconds */
	int64_t poll_us;            /* pg_trickle.max_poll_interval_ms */
	int64_t barrier_timeout_us; /* pg_trickle.barrier_timeout */
	int max_jobs;               /* pg_trickle.max_concurrent_refreshes */
} PgtPlan;

/* One statement; its result is what pgt_plan_read expects.  Some C function of the extension must have been called before. */
extern const char *const pgt_plan_sql;

/* NULL and an error when the result has not the expected shape (another version of the extension). */
extern PgtPlan *pgt_plan_read(const PGresult *res, PgtErr *err);
extern void pgt_plan_free(PgtPlan *plan);

/* Position of an ST, or -1. */
extern int pgt_plan_find(const PgtPlan *plan, int64_t id);

/* Why the scheduler leaves this ST alone, or NULL.  The schedule is not looked at. */
extern const char *pgt_plan_held(const PgtPlanSt *st);

/* Does the ST read something else than before? */
extern bool pgt_plan_same_sources(const PgtPlanSt *a, const PgtPlanSt *b);

#endif /* PGT_PLAN_H */
