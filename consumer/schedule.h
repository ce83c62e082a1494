/*
 * schedule.h - what the `schedule` of a stream table may say, and when it comes due next.
 *
 * Pure: no clock, no allocation, libc only; times are injected as microseconds since 1970 (UTC).  The extension accepts exactly the
 * same strings when an ST is created; tests/unit/schedule_vectors.txt holds both sides to this grammar:
 *
 *   schedule = "calculated" | "continuous" | duration | cron         (blanks around it are ignored; letters in any case)
 *   duration = quantity { quantity } [ clock ] | clock
 *   quantity = number unit                                           (blanks between and around are optional)
 *   number   = digits [ "." 1-6 digits ]
 *   unit     = w week weeks | d day days | h hr hrs hour hours | m min mins minute minutes
 *            | s sec secs second seconds | ms msec msecs millisecond milliseconds
 *   clock    = hh ":" mm [ ":" ss [ "." 1-6 digits ] ]               (hh 1-4 digits; mm and ss two digits below 60)
 *   cron     = see cron.h
 *
 * Units get smaller from left to right and none comes twice; a clock follows only weeks and days.  The sum, rounded to milliseconds,
 * is between 1 ms and 365 days.  Months and years have no fixed length and are refused.
 * It is cron when it begins with "@", or when its first word is made of digits and "*,-/" only and either is not a plain number
 * or is followed by a word that begins with a digit or "*".
 */
#ifndef PGT_SCHEDULE_H
#define PGT_SCHEDULE_H

#include "consumer/cron.h"

#define PGT_SCHEDULE_MAX_MS (INT64_C(365) * 24 * 3600 * 1000)

typedef enum PgtScheduleKind
{
	PGT_SCHEDULE_CALCULATED, /* whenever an ST that reads this one is due */
	PGT_SCHEDULE_CONTINUOUS, /* as soon as something was applied */
	PGT_SCHEDULE_DURATION,
	PGT_SCHEDULE_CRON
} PgtScheduleKind;

typedef struct PgtSchedule
{
	PgtScheduleKind kind;
	int64_t period_ms; /* DURATION */
	PgtCron cron;      /* CRON */
} PgtSchedule;

/* NULL is "calculated".  False and a message without a trailing period when the text is no schedule. */
extern bool pgt_schedule_parse(const char *text, PgtSchedule *schedule, char *err, size_t errlen);

/* When a refresh that started at `last` is to be followed by the next one, with the period stretched `factor` times (tiers). */
extern int64_t pgt_schedule_next(const PgtSchedule *schedule, int64_t last, int factor);

/* Time between two due moments after `now`, in microseconds: 0 for continuous, -1 for calculated. */
extern int64_t pgt_schedule_period(const PgtSchedule *schedule, int64_t now);

#endif /* PGT_SCHEDULE_H */
