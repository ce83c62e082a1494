/*
 * advice.c - the policy's decisions (see advice.h).
 */
#include "consumer/advice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_SECONDS 600.0
#define MIN_DELTA 0.05 /* of the threshold in force */
#define THRESHOLD_MIN 0.01
#define THRESHOLD_MAX 0.80
#define SAME 1e-9
#define FITS_AGAIN 0.8 /* share of the schedule that a refresh may take before the tier is put back */
#define SLOWDOWN 1.5
#define SLOWDOWN_GONE 1.2
#define CONTENTION 2

PgtAutoApply
pgt_auto_apply_of(const char *text)
{
	if (text != NULL && strcmp(text, "threshold_only") == 0)
		return PGT_AUTO_THRESHOLD_ONLY;
	if (text != NULL && strcmp(text, "full") == 0)
		return PGT_AUTO_FULL;
	return PGT_AUTO_OFF;
}

static bool
limited(double since_change)
{
	return since_change < LIMIT_SECONDS; /* false for NAN */
}

/* Nothing is done to an ST that people or the fuse have stopped.  One that has gone passes: the attempt says so in the log. */
static bool
may_change(const PgtAdvice *a)
{
	if (a->own || limited(a->since_change))
		return false;
	return a->status == NULL || (strcmp(a->status, "ACTIVE") == 0 && !a->fuse_blown);
}

static bool
is_high(const PgtAdvice *a)
{
	return a->confidence != NULL && strcmp(a->confidence, "HIGH") == 0;
}

static void
set_change(PgtChange *change, const char *setting, const char *old_value, const char *new_value)
{
	memset(change, 0, sizeof(*change));
	change->setting = setting;
	snprintf(change->old_value, sizeof(change->old_value), "%s", old_value);
	snprintf(change->new_value, sizeof(change->new_value), "%s", new_value);
}

bool
pgt_advise_threshold(PgtAutoApply mode, const PgtAdvice *a, PgtChange *change)
{
	double from = isnan(a->threshold) ? a->advised_from : a->threshold;
	char old_value[32];
	char new_value[32];

	if (mode == PGT_AUTO_OFF || !is_high(a) || !may_change(a))
		return false;
	if (!(a->recommended >= THRESHOLD_MIN && a->recommended <= THRESHOLD_MAX))
		return false;
	/* somebody has set it since: that advice is about another threshold */
	if (!isnan(a->threshold) && !isnan(a->advised_from) && fabs(a->threshold - a->advised_from) > SAME)
		return false;
	if (!(fabs(a->recommended - from) > MIN_DELTA * from))
		return false;
	snprintf(old_value, sizeof(old_value), "%.15g", from);
	snprintf(new_value, sizeof(new_value), "%.15g", a->recommended);
	set_change(change, "auto_threshold", old_value, new_value);
	return true;
}

/* ---- tiers ---- */

/* Never to frozen: that would stop it. */
static const char *
tier_below(const char *tier)
{
	if (tier != NULL && strcmp(tier, "hot") == 0)
		return "warm";
	if (tier != NULL && strcmp(tier, "warm") == 0)
		return "cold";
	return NULL;
}

/* What the policy lowered goes back, unless somebody has chosen another tier meanwhile; then it is merely forgotten. */
static bool
raise_tier(PgtAutoApply mode, const PgtAdvice *a, PgtChange *change)
{
	bool fits = a->confidence != NULL && a->avg_diff_ms <= FITS_AGAIN * a->deadline_ms;

	if (mode == PGT_AUTO_FULL && (!fits || limited(a->since_change)))
		return false;
	set_change(change, "refresh_tier", a->lowered_to ? a->lowered_to : "", a->lowered_from);
	change->undo = true;
	change->why = mode == PGT_AUTO_FULL ? "refreshes fit into its schedule again" : "self_monitoring_auto_apply is not full any more";
	return true;
}

bool
pgt_advise_tier(PgtAutoApply mode, const PgtAdvice *a, PgtChange *change)
{
	const char *below = tier_below(a->tier);

	if (a->status == NULL)
		return false;
	if (a->lowered_from != NULL && raise_tier(mode, a, change))
		return true;
	if (mode != PGT_AUTO_FULL || below == NULL || !is_high(a) || !may_change(a))
		return false;
	if (!(a->avg_diff_ms > a->deadline_ms * (strcmp(a->tier, "warm") == 0 ? 2 : 1)))
		return false;
	set_change(change, "refresh_tier", a->tier, below);
	change->why = "its refreshes take longer than its schedule allows";
	return true;
}

/* ---- pairs ---- */

bool
pgt_advise_sequence(PgtAutoApply mode, const PgtAdvicePair *p, PgtChange *change)
{
	if (p->standing)
	{
		bool gone = !(p->slowdown >= SLOWDOWN_GONE);

		if (mode == PGT_AUTO_FULL && (!gone || limited(p->since_change)))
			return false;
		set_change(change, "sequence", "sequenced", "free");
		change->undo = true;
		change->why = mode == PGT_AUTO_FULL ? "they have not slowed each other down within the window" : "self_monitoring_auto_apply is not full any more";
		return true;
	}
	if (mode != PGT_AUTO_FULL || !p->steady || limited(p->since_change) || !(p->slowdown >= SLOWDOWN))
		return false;
	set_change(change, "sequence", "free", "sequenced");
	change->why = "they slow each other down";
	return true;
}

bool
pgt_advise_widening(bool enabled, int64_t overlaps)
{
	return enabled && overlaps >= CONTENTION;
}
