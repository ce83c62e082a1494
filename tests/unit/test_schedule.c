/* link: consumer/schedule.c consumer/cron.c */
/*
 * test_schedule.c - the schedule grammar against schedule_vectors.txt, and due times.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "consumer/schedule.h"

#define VECTORS "tests/unit/schedule_vectors.txt"
#define SECOND INT64_C(1000000)

static void
describe(const char *text, char *out, size_t len)
{
	PgtSchedule s;
	char err[512] = "no message";

	if (!pgt_schedule_parse(text, &s, err, sizeof(err)))
		snprintf(out, len, "error %s", err);
	else if (s.kind == PGT_SCHEDULE_CALCULATED)
		snprintf(out, len, "calculated");
	else if (s.kind == PGT_SCHEDULE_CONTINUOUS)
		snprintf(out, len, "continuous");
	else if (s.kind == PGT_SCHEDULE_CRON)
		snprintf(out, len, "cron");
	else
		snprintf(out, len, "duration %lld", (long long) s.period_ms);
}

static void
vectors_hold(void **state)
{
	FILE *f = fopen(VECTORS, "r");
	char line[1024];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
	{
		char *end;
		char got[1024];

		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '|')
			continue;
		end = strstr(line + 1, "|\t");
		assert_non_null(end);
		*end = '\0';
		describe(line + 1, got, sizeof(got));
		if (strcmp(got, end + 2) != 0)
			fail_msg("schedule \"%s\": expected \"%s\", got \"%s\"", line + 1, end + 2, got);
		n++;
	}
	fclose(f);
	assert_true(n > 100);
}

static void
null_is_calculated(void **state)
{
	PgtSchedule s;

	assert_true(pgt_schedule_parse(NULL, &s, NULL, 0));
	assert_int_equal(s.kind, PGT_SCHEDULE_CALCULATED);
}

static PgtSchedule
parsed(const char *text)
{
	PgtSchedule s;
	char err[256];

	if (!pgt_schedule_parse(text, &s, err, sizeof(err)))
		fail_msg("%s: %s", text, err);
	return s;
}

static void
durations_count_from_the_last_start(void **state)
{
	PgtSchedule s = parsed("1m 30s");

	assert_int_equal(pgt_schedule_next(&s, 7, 1), 7 + 90 * SECOND);
	assert_int_equal(pgt_schedule_next(&s, 7, 10), 7 + 900 * SECOND);
	assert_int_equal(pgt_schedule_period(&s, 0), 90 * SECOND);
}

static void
continuous_is_due_at_once(void **state)
{
	PgtSchedule s = parsed("continuous");

	assert_int_equal(pgt_schedule_next(&s, 12345, 10), 12345);
	assert_int_equal(pgt_schedule_period(&s, 0), 0);
}

static void
tiers_leave_out_cron_occurrences(void **state)
{
	PgtSchedule s = parsed("@hourly");

	assert_int_equal(pgt_schedule_next(&s, 0, 1), 3600 * SECOND);
	assert_int_equal(pgt_schedule_next(&s, 0, 2), 7200 * SECOND);
	assert_int_equal(pgt_schedule_period(&s, 5), 3600 * SECOND);
}

/* Random bytes must neither crash nor be accepted with a senseless period. */
static void
garbage_is_survived(void **state)
{
	static const char alphabet[] = "0123456789 .:*,-/@smhdwSMonjafe\t";

	srand(42);
	for (int i = 0; i < 200000; i++)
	{
		char text[24];
		char err[256];
		int len = rand() % (int) sizeof(text);
		PgtSchedule s;

		for (int j = 0; j < len; j++)
			text[j] = alphabet[rand() % (int) (sizeof(alphabet) - 1)];
		text[len < (int) sizeof(text) ? len : len - 1] = '\0';
		err[0] = '\0';
		if (!pgt_schedule_parse(text, &s, err, sizeof(err)))
			assert_true(err[0] != '\0');
		else if (s.kind == PGT_SCHEDULE_DURATION)
			assert_in_range(s.period_ms, 1, PGT_SCHEDULE_MAX_MS);
		else if (s.kind == PGT_SCHEDULE_CRON)
			assert_true(pgt_schedule_next(&s, 1000, 1) > 1000);
	}
}

/* A message never overruns its buffer, whatever the text. */
static void
long_text_is_an_error(void **state)
{
	char text[5000];
	char err[40];
	PgtSchedule s;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(pgt_schedule_parse(text, &s, err, sizeof(err)));
	text[0] = '*';
	assert_false(pgt_schedule_parse(text, &s, err, sizeof(err)));
	memset(text, '9', sizeof(text) - 1);
	assert_false(pgt_schedule_parse(text, &s, err, sizeof(err)));
	memset(text, '*', sizeof(text) - 1);
	assert_false(pgt_schedule_parse(text, &s, err, sizeof(err)));
	assert_string_equal(err, "cron expression is longer than 255 char");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_hold),
		cmocka_unit_test(null_is_calculated),
		cmocka_unit_test(durations_count_from_the_last_start),
		cmocka_unit_test(continuous_is_due_at_once),
		cmocka_unit_test(tiers_leave_out_cron_occurrences),
		cmocka_unit_test(garbage_is_survived),
		cmocka_unit_test(long_text_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
