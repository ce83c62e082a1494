/*
 * advice.h - what to do about what pg_trickle has learned of itself: the decisions of self-monitoring's policy.
 *
 * Pure: no clock, no connection.  selfmon.c reads the advice and carries out what is decided here; the extension checks every
 * change once more under a lock (_policy_apply), because what was read may be old by then.
 *
 * auto-apply  off             nothing is changed; what `full` had changed is put back
 *             threshold_only  auto_threshold follows advice of HIGH confidence that differs by more than 5 %
 *             full            besides, an ST that takes longer than its schedule allows goes one tier down until it fits again, and a
 *                             pair that slows each other down by half is refreshed one after the other until it no longer meets
 *
 * At most one change per ST in ten minutes; none of an ST that is not ACTIVE or whose fuse has blown; none of the df_* themselves.
 */
#ifndef PGT_ADVICE_H
#define PGT_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum PgtAutoApply
{
	PGT_AUTO_OFF,
	PGT_AUTO_THRESHOLD_ONLY,
	PGT_AUTO_FULL
} PgtAutoApply;

/* As the setting is spelled; anything else, and NULL, is off. */
extern PgtAutoApply pgt_auto_apply_of(const char *text);

/* Numbers that are not known are NAN. */
typedef struct PgtAdvice
{
	const char *status; /* NULL: the ST has gone since the advice was computed */
	bool fuse_blown;
	bool own;               /* one of the df_* */
	double since_change;    /* seconds since the policy changed this ST; NAN: not within the limit */
	const char *confidence; /* NULL: there is no advice, only something to put back */
	double threshold;       /* in force */
	double advised_from;    /* threshold that the advice was computed for */
	double recommended;
	double avg_diff_ms;
	double deadline_ms;       /* its schedule */
	const char *tier;         /* in force */
	const char *lowered_from; /* tier that the policy took it from, NULL: it did not */
	const char *lowered_to;
} PgtAdvice;

typedef struct PgtAdvicePair
{
	bool standing;       /* refreshed one after the other already */
	bool steady;         /* both ACTIVE, no fuse blown, neither a df_* */
	double since_change; /* the smaller one */
	double slowdown;     /* NAN: they did not meet often enough within the window */
} PgtAdvicePair;

typedef struct PgtChange
{
	const char *setting; /* auto_threshold, refresh_tier, sequence */
	char old_value[32];
	char new_value[32];
	const char *why;
	bool undo; /* of what the policy did; not subject to the ST's state */
} PgtChange;

/* True when `change` was filled in. */
extern bool pgt_advise_threshold(PgtAutoApply mode, const PgtAdvice *a, PgtChange *change);
extern bool pgt_advise_tier(PgtAutoApply mode, const PgtAdvice *a, PgtChange *change);
extern bool pgt_advise_sequence(PgtAutoApply mode, const PgtAdvicePair *p, PgtChange *change);

/* Do refreshes get in each other's way?  overlaps: the newest count, < 0: none known. */
extern bool pgt_advise_widening(bool enabled, int64_t overlaps);

#endif /* PGT_ADVICE_H */
