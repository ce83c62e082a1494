/*
 * self_threshold.h - the rule by which self-monitoring advises a change threshold (DF-3).  Pure: no server.
 */
#ifndef PGT_SELF_THRESHOLD_H
#define PGT_SELF_THRESHOLD_H

#define PGT_THRESHOLD_MIN 0.01
#define PGT_THRESHOLD_MAX 0.80
#define PGT_THRESHOLD_DEFAULT 0.15 /* of pg_trickle.differential_max_change_ratio */

/*
 * The threshold to use from now on, always in [PGT_THRESHOLD_MIN, PGT_THRESHOLD_MAX].  Costs in milliseconds; NaN stands for what is not
 * known.  Costs that say nothing (unknown, infinite, negative, a full refresh that costs nothing) leave the threshold alone.
 */
extern double pgt_recommended_threshold(double avg_diff_ms, double avg_full_ms, double current);

#endif /* PGT_SELF_THRESHOLD_H */
