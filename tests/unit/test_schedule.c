/* link: consumer/schedule.c consumer/cron.c tests/unit/consumer_schedule_text.c tests/unit/schedule_vectors.c */
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
#include "tests/unit/consumer_schedule_text.h"
#include "tests/unit/schedule_vectors.h"

#define SECOND INT64_C(1000000)

static void
vectors_hold(void **state)
{
	pgt_check_vectors(pgt_consumer_describe);
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
