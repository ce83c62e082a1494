/* consumer_schedule_text.c - see consumer_schedule_text.h. */
#include <stdio.h>

#include "consumer/schedule.h"
#include "tests/unit/consumer_schedule_text.h"

void
pgt_consumer_describe(const char *text, char *out, size_t len)
{
	static const char *const kinds[] = {
		[PGT_SCHEDULE_CALCULATED] = "calculated", [PGT_SCHEDULE_CONTINUOUS] = "continuous", [PGT_SCHEDULE_CRON] = "cron"};
	PgtSchedule schedule;
	char err[512] = "no message";

	if (!pgt_schedule_parse(text, &schedule, err, sizeof(err)))
		snprintf(out, len, "error %.400s", err);
	else if (schedule.kind == PGT_SCHEDULE_DURATION)
		snprintf(out, len, "duration %lld", (long long) schedule.period_ms);
	else
		snprintf(out, len, "%s", kinds[schedule.kind]);
}
