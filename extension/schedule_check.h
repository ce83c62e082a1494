/*
 * schedule_check.h - is this text a schedule?  Pure; the grammar is that of consumer/schedule.h, and both are held to
 * tests/unit/schedule_vectors.txt.
 */
#ifndef PGT_SCHEDULE_CHECK_H
#define PGT_SCHEDULE_CHECK_H

#include <stddef.h>
#include <stdint.h>

typedef enum PgtScheduleKind
{
	PGT_SCHEDULE_BAD,
	PGT_SCHEDULE_CALCULATED,
	PGT_SCHEDULE_CONTINUOUS,
	PGT_SCHEDULE_DURATION,
	PGT_SCHEDULE_CRON
} PgtScheduleKind;

/*
 * Classify `text`.  *millis is set for durations.  For PGT_SCHEDULE_BAD, `why` (at least 128 bytes) says what is wrong, as the
 * detail of an error message.
 */
extern PgtScheduleKind pgt_schedule_check(const char *text, int64_t *millis, char *why, size_t why_len);

/* The duration part alone ("1h30m", "500ms"); false and `why` when it is none. */
extern int	pgt_duration_check(const char *text, int64_t *millis, char *why, size_t why_len);

#endif /* PGT_SCHEDULE_CHECK_H */
