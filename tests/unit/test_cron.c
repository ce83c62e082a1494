/* link: consumer/cron.c */
/*
 * test_cron.c - the next due minute: fixed examples, and a slow minute-by-minute oracle built on gmtime.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "consumer/cron.h"

#define SECOND INT64_C(1000000)

static PgtCron
parsed(const char *text)
{
	PgtCron c;
	char err[256];

	if (!pgt_cron_parse(text, &c, err, sizeof(err)))
		fail_msg("%s: %s", text, err);
	return c;
}

static int64_t
at(const char *text)
{
	struct tm tm = {0};

	assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec), 6);
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t) timegm(&tm) * SECOND;
}

static void
check_next(const char *cron, const char *after, const char *expected)
{
	PgtCron c = parsed(cron);
	time_t got = (time_t) (pgt_cron_next(&c, at(after)) / SECOND);
	char text[64];

	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime(&got));
	if (strcmp(text, expected) != 0)
		fail_msg("%s after %s: expected %s, got %s", cron, after, expected, text);
}

static void
examples(void **state)
{
	check_next("* * * * *", "2026-11-22 09:00:00", "2026-11-22 09:01:00");
	check_next("* * * * *", "2026-11-22 09:00:59", "2026-11-22 09:01:00");
	check_next("*/15 * * * *", "2026-11-22 09:46:00", "2026-11-22 10:00:00");
	check_next("@hourly", "2026-12-31 23:00:00", "2027-01-01 00:00:00");
	check_next("@daily", "2026-11-22 00:00:00", "2026-11-23 00:00:00");
	check_next("@weekly", "2026-11-22 00:00:00", "2026-11-29 00:00:00"); /* both Sundays */
	check_next("@monthly", "2026-01-31 12:00:00", "2026-02-01 00:00:00");
	check_next("@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00");
	check_next("30 4 * * mon-fri", "2026-11-20 04:30:00", "2026-11-23 04:30:00");
	check_next("0 0 * * 7", "2026-11-22 00:00:00", "2026-11-29 00:00:00");
	check_next("0 0 * * sat-sun", "2026-11-20 00:00:00", "2026-11-21 00:00:00");
	check_next("0 0 * * fri-sun", "2026-11-21 00:00:00", "2026-11-22 00:00:00");
	check_next("5/20 * * * *", "2026-11-22 09:25:00", "2026-11-22 09:45:00");
	check_next("0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00");   /* 2100 has none */
	check_next("0 0 13 * */7", "2026-11-14 00:00:00", "2026-12-13 00:00:00"); /* a star: both must match; a Sunday */
	check_next("0 0 13 * 5", "2026-11-14 00:00:00", "2026-11-20 00:00:00");   /* no star: either */
	check_next("0 0 31 * *", "2026-03-31 00:00:00", "2026-05-31 00:00:00");
	check_next("0 0 * * *", "1969-12-30 23:59:59", "1969-12-31 00:00:00");
}

/* ---- the oracle: another parser would only repeat mistakes, so it takes sets of numbers ---- */

typedef struct Sets
{
	bool in[5][64];
	bool star[5];
} Sets;

static bool
oracle_matches(const Sets *s, int64_t minute)
{
	time_t t = (time_t) minute * 60;
	struct tm tm;
	bool dom;
	bool dow;

	gmtime_r(&t, &tm);
	dom = s->in[2][tm.tm_mday];
	dow = s->in[4][tm.tm_wday] || (tm.tm_wday == 0 && s->in[4][7]);
	if (!s->in[0][tm.tm_min] || !s->in[1][tm.tm_hour] || !s->in[3][tm.tm_mon + 1])
		return false;
	return s->star[2] || s->star[4] ? dom && dow : dom || dow;
}

static void
random_field(Sets *s, int field, char *text)
{
	static const int min[] = {0, 0, 1, 1, 0};
	static const int max[] = {59, 23, 31, 12, 7};
	int n = 1 + rand() % 3;

	text[0] = '\0';
	memset(s->in[field], 0, sizeof(s->in[field]));
	s->star[field] = false;
	for (int i = 0; i < n; i++)
	{
		int a = min[field] + rand() % (max[field] - min[field] + 1);
		int b = a + rand() % (max[field] - a + 1);
		int step = 1 + rand() % max[field];
		char *end = text + strlen(text);

		if (i > 0)
			*end++ = ',';
		switch (rand() % 4)
		{
			case 0:
				sprintf(end, "%d", a);
				b = a;
				step = 1;
				break;
			case 1:
				sprintf(end, "%d-%d", a, b);
				step = 1;
				break;
			case 2:
				sprintf(end, "%d-%d/%d", a, b, step);
				break;
			default:
				sprintf(end, "*/%d", step);
				a = min[field];
				b = max[field];
				s->star[field] = s->star[field] || i == 0;
		}
		for (int v = a; v <= b; v += step)
			s->in[field][v] = true;
	}
}

static void
agrees_with_the_oracle(void **state)
{
	int compared = 0;

	srand(7);
	for (int round = 0; round < 3000; round++)
	{
		Sets s;
		char words[5][64];
		char text[400];
		char err[256];
		PgtCron c;
		int64_t start = 29000000 + rand() % 2000000; /* minutes, 2025 to 2028 */
		int64_t m;

		for (int i = 0; i < 5; i++)
			random_field(&s, i, words[i]);
		sprintf(text, "%s %s %s %s %s", words[0], words[1], words[2], words[3], words[4]);
		if (!pgt_cron_parse(text, &c, err, sizeof(err)))
		{
			assert_string_equal(err, "no day ever matches the day and month fields");
			continue;
		}
		for (m = start + 1; m < start + 60 * 24 * 3 && !oracle_matches(&s, m); m++)
			;
		if (m == start + 60 * 24 * 3)
			assert_true(pgt_cron_next(&c, start * 60 * SECOND + 3) >= m * 60 * SECOND);
		else
		{
			if (pgt_cron_next(&c, start * 60 * SECOND + 3) != m * 60 * SECOND)
				fail_msg("%s after minute %lld: expected %lld, got %lld", text, (long long) start, (long long) m,
						 (long long) (pgt_cron_next(&c, start * 60 * SECOND + 3) / 60 / SECOND));
			compared++;
		}
	}
	assert_true(compared > 500);
}

static void
is_strictly_later(void **state)
{
	PgtCron c = parsed("*/7 */5 * * *");
	int64_t t = at("2026-11-22 09:13:00");

	for (int i = 0; i < 10000; i++)
	{
		int64_t next = pgt_cron_next(&c, t);

		assert_true(next > t);
		assert_true(next % (60 * SECOND) == 0);
		t = next;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples),
		cmocka_unit_test(agrees_with_the_oracle),
		cmocka_unit_test(is_strictly_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
