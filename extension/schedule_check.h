/*
 * schedule_check.h - is this text a schedule?  Pure; the grammar is that of consumer/schedule.h and cron.h, and both sides are
 * held to tests/unit/schedule_vectors.txt, messages included.
 */
#ifndef PGT_SCHEDULE_CHECK_H
#define PGT_SCHEDULE_CHECK_H

#include <stdbool.h>
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

/* Where a complaint goes: what is wrong, without a period at the end. */
typedef struct PgtComplaint
{
	char text[256];
} PgtComplaint;

/* Classify `text`.  *millis is set for durations, `why` for PGT_SCHEDULE_BAD. */
extern PgtScheduleKind pgt_schedule_check(const char *text, int64_t *millis, PgtComplaint *why);

/* A duration alone ("1h30m", "500ms"). */
extern bool pgt_duration_check(const char *text, int64_t *millis, PgtComplaint *why);

/* A cron expression alone (schedule_cron.c). */
extern bool pgt_cron_check(const char *text, PgtComplaint *why);

/* Fill in the complaint; always false. */
extern bool pgt_complain(PgtComplaint *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif /* PGT_SCHEDULE_CHECK_H */
