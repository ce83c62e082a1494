/*
 * cron.h - cron expressions: five fields, evaluated in UTC.
 *
 * UTC because the daemon, the server and the user may each live in another zone, and because UTC has no hour that comes twice or
 * not at all.  Pure: no clock, no allocation, libc only.
 *
 *   cron   = "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly"
 *          | minute hour day-of-month month day-of-week              (separated by blanks, tabs or newlines)
 *   field  = item { "," item }
 *   item   = ( "*" | value | value "-" value ) [ "/" step ]          ("5/10" means "5-<last>/10")
 *   value  = number, or in the last two fields a name: jan … dec, sun … sat (any case, three letters)
 *
 * minute 0-59, hour 0-23, day of month 1-31, month 1-12, day of week 0-7 (0 and 7 are Sunday; "sat-sun" is 6-7).
 * A range may not run backwards; a step is 1 or more and not larger than the field's last value.
 * As in Vixie cron: when neither of the two day fields begins with "*", a day that matches either is due; otherwise it must match both.
 * An expression that no day ever matches (31 February) is an error.
 */
#ifndef PGT_CRON_H
#define PGT_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PgtCron
{
	uint64_t minutes; /* bit n: minute n */
	uint32_t hours;
	uint32_t days;     /* bits 1-31 */
	uint32_t months;   /* bits 1-12 */
	uint32_t weekdays; /* bits 0-6, Sunday first */
	bool any_day;      /* day of month began with "*" */
	bool any_weekday;  /* day of week began with "*" */
} PgtCron;

/* False and a message (without a trailing period, as an errdetail would start) when `text` is no cron expression. */
extern bool pgt_cron_parse(const char *text, PgtCron *cron, char *err, size_t errlen);

/* The first minute after `after` (microseconds since 1970, UTC) that the expression names; strictly later than `after`. */
extern int64_t pgt_cron_next(const PgtCron *cron, int64_t after);

#endif /* PGT_CRON_H */
