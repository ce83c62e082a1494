/* link: extension/schedule_check.c extension/schedule_cron.c tests/unit/consumer_schedule_text.c tests/unit/schedule_vectors.c consumer/schedule.c consumer/cron.c */
/*
 * test_schedule_check.c - the extension's schedule grammar: the shared vectors, and agreement with the consumer's parser on
 * strings made at random from the pieces schedules are made of.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "extension/schedule_check.h"
#include "tests/unit/consumer_schedule_text.h"
#include "tests/unit/schedule_vectors.h"

static void
describe(const char *text, char *out, size_t len)
{
	static const char *const kinds[] = {"error", "calculated", "continuous", "duration", "cron"};
	PgtComplaint why = {"no message"};
	int64_t millis;
	PgtScheduleKind kind = pgt_schedule_check(text, &millis, &why);

	if (kind == PGT_SCHEDULE_BAD)
		snprintf(out, len, "error %s", why.text);
	else if (kind == PGT_SCHEDULE_DURATION)
		snprintf(out, len, "duration %lld", (long long) millis);
	else
		snprintf(out, len, "%s", kinds[kind]);
}

static void
vectors_hold(void **state)
{
	pgt_check_vectors(describe);
}

static void
random_text(char *out, size_t len)
{
	static const char *const pieces[] = {"1", "5", "30", "0", "59", "60", "7", "*", "/", "-", ",", ".", ":",
										 " ", " ", " ", " ", "h", "m", "s", "ms", "d", "w", "min", "hour", "mon",
										 "jan", "feb", "sun", "@hourly", "@", "2", "31", "29", "00", "continuous", "calculated", "y"};
	int n = 1 + rand() % 14;

	out[0] = '\0';
	for (int i = 0; i < n; i++)
		strncat(out, pieces[rand() % (sizeof(pieces) / sizeof(pieces[0]))], len - strlen(out) - 1);
}

static void
both_sides_agree(void **state)
{
	int accepted = 0;

	srand(20);
	for (int i = 0; i < 300000; i++)
	{
		char text[256];
		char mine[512];
		char theirs[512];

		random_text(text, sizeof(text));
		describe(text, mine, sizeof(mine));
		pgt_consumer_describe(text, theirs, sizeof(theirs));
		if (strcmp(mine, theirs) != 0)
			fail_msg("schedule \"%s\": extension says \"%s\", consumer says \"%s\"", text, mine, theirs);
		accepted += strncmp(mine, "error", 5) != 0;
	}
	assert_true(accepted > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_hold),
		cmocka_unit_test(both_sides_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
