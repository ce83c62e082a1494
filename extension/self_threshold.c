/*
 * self_threshold.c - the rule of DF-3 (see self_threshold.h).
 *
 * Where differential refreshes are much cheaper than full ones, more change may be taken incrementally, and the other way round;
 * in between nothing moves, so that a threshold does not swing.  One step at a time: the next hour's averages judge it.
 */
#include <math.h>

#include "self_threshold.h"

#define CHEAP 0.30 /* differential ÷ full at or below: raise */
#define DEAR 0.80  /* at or above: lower */
#define RAISE 1.2
#define LOWER 0.7

static double
clamp(double threshold)
{
	if (threshold < PGT_THRESHOLD_MIN)
		return PGT_THRESHOLD_MIN;
	return threshold > PGT_THRESHOLD_MAX ? PGT_THRESHOLD_MAX : threshold;
}

double
pgt_recommended_threshold(double avg_diff_ms, double avg_full_ms, double current)
{
	double start = clamp(isnan(current) ? PGT_THRESHOLD_DEFAULT : current);
	double ratio;

	if (!isfinite(avg_diff_ms) || !isfinite(avg_full_ms) || avg_diff_ms < 0 || avg_full_ms <= 0)
		return start;
	ratio = avg_diff_ms / avg_full_ms;
	if (ratio <= CHEAP)
		return clamp(start * RAISE);
	if (ratio >= DEAR)
		return clamp(start * LOWER);
	return start;
}
