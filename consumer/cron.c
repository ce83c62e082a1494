/*
 * cron.c - cron expressions as bit masks, and the next minute that matches.
 *
 * Every field becomes a mask at parse time; the search walks days (never minutes), so even "29 February on a Sunday" is found in
 * microseconds.  The Gregorian calendar repeats after 400 years, which bounds the search and proves "never".
 */
#include "consumer/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define USECS_PER_MINUTE INT64_C(60000000)
#define MINUTES_PER_DAY 1440
#define DAYS_PER_CYCLE 146097 /* 400 Gregorian years, a whole number of weeks */
#define MAX_EXPRESSION 256

typedef struct CronField
{
	const char *what; /* for messages */
	int min;
	int max;
	const char *names; /* three letters each, the first is value `first_name`; NULL: numbers only */
	int first_name;
} CronField;

enum
{
	FIELD_MINUTE,
	FIELD_HOUR,
	FIELD_DAY,
	FIELD_MONTH,
	FIELD_WEEKDAY,
	N_FIELDS
};

static const CronField fields[N_FIELDS] = {
	[FIELD_MINUTE] = {"minute", 0, 59, NULL, 0},
	[FIELD_HOUR] = {"hour", 0, 23, NULL, 0},
	[FIELD_DAY] = {"day of month", 1, 31, NULL, 0},
	[FIELD_MONTH] = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
	[FIELD_WEEKDAY] = {"day of week", 0, 7, "sunmontuewedthufrisat", 0},
};

static const struct
{
	const char *name;
	const char *expression;
} macros[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

/* A number or a name at *p; moves *p behind it.  Returns -1 when there is neither, or the number is absurd. */
static int
parse_value(const CronField *field, const char **p)
{
	int value = 0;

	if (isdigit((unsigned char) **p))
	{
		for (; isdigit((unsigned char) **p); (*p)++)
		{
			if (value < 10000)
				value = value * 10 + (**p - '0');
		}
		return value;
	}
	for (int i = 0; field->names != NULL && field->names[i] != '\0'; i += 3)
	{
		if (strncasecmp(*p, field->names + i, 3) == 0 && !isalpha((unsigned char) (*p)[3]))
		{
			*p += 3;
			return field->first_name + i / 3;
		}
	}
	return -1;
}

static bool
bad_field(const CronField *field, const char *text, const char *why, char *err, size_t errlen)
{
	snprintf(err, errlen, "%s field \"%s\": %s", field->what, text, why);
	return false;
}

static bool
check_value(const CronField *field, const char *text, int value, char *err, size_t errlen)
{
	char why[96];

	if (value >= field->min && value <= field->max)
		return true;
	if (value < 0)
		return bad_field(field, text, field->names ? "expected *, a number or a name" : "expected * or a number", err, errlen);
	snprintf(why, sizeof(why), "%d is not between %d and %d", value, field->min, field->max);
	return bad_field(field, text, why, err, errlen);
}

/* "a", "a-b" or "*" at *p, as its first and last value; *single when it was a bare value. */
static bool
parse_range(const CronField *field, const char *text, const char **p, int range[2], char *err, size_t errlen)
{
	range[0] = field->min;
	range[1] = field->max;
	if (**p == '*')
	{
		(*p)++;
		return true;
	}
	range[0] = parse_value(field, p);
	if (!check_value(field, text, range[0], err, errlen))
		return false;
	if (**p != '-')
	{
		if (**p != '/')
			range[1] = range[0];
		return true;
	}
	(*p)++;
	range[1] = parse_value(field, p);
	if (!check_value(field, text, range[1], err, errlen))
		return false;
	if (field == &fields[FIELD_WEEKDAY] && range[1] == 0 && range[0] > 0)
		range[1] = 7; /* "fri-sun" */
	if (range[1] < range[0])
		return bad_field(field, text, "range runs backwards", err, errlen);
	return true;
}

static bool
parse_step(const CronField *field, const char *text, const char **p, int *step, char *err, size_t errlen)
{
	*step = 1;
	if (**p != '/')
		return true;
	(*p)++;
	if (!isdigit((unsigned char) **p))
		return bad_field(field, text, "expected a number after \"/\"", err, errlen);
	*step = parse_value(field, p);
	if (*step < 1 || *step > field->max)
		return bad_field(field, text, "step is out of range", err, errlen);
	return true;
}

static bool
parse_field(const CronField *field, const char *text, uint64_t *mask, char *err, size_t errlen)
{
	const char *p = text;

	*mask = 0;
	for (;;)
	{
		int range[2];
		int step;

		if (!parse_range(field, text, &p, range, err, errlen) ||
			!parse_step(field, text, &p, &step, err, errlen))
			return false;
		for (int v = range[0]; v <= range[1]; v += step)
			*mask |= UINT64_C(1) << v;
		if (*p == '\0')
			return true;
		if (*p != ',')
			return bad_field(field, text, "expected \",\", \"-\" or \"/\"", err, errlen);
		p++;
	}
}

/* Splits `copy` in place; returns the number of words, of which at most `max` are stored. */
static int
split_words(char *copy, char **words, int max)
{
	int n = 0;
	char *save = NULL;

	for (char *word = strtok_r(copy, " \t\r\n", &save); word != NULL; word = strtok_r(NULL, " \t\r\n", &save))
	{
		if (n < max)
			words[n] = word;
		n++;
	}
	return n;
}

/* Howard Hinnant's era arithmetic in our words: days since 1970-01-01 to year, month, day, without tables or loops. */
static void
civil_from_days(int64_t days, int *month, int *day)
{
	int64_t z = days + 719468; /* days since 0000-03-01: leap days come last in such a year */
	int64_t era = (z >= 0 ? z : z - (DAYS_PER_CYCLE - 1)) / DAYS_PER_CYCLE;
	int doe = (int) (z - era * DAYS_PER_CYCLE);
	int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int mp = (5 * doy + 2) / 153;

	*day = doy - (153 * mp + 2) / 5 + 1;
	*month = mp < 10 ? mp + 3 : mp - 9;
}

static bool
day_matches(const PgtCron *cron, int64_t days)
{
	int month;
	int day;
	int weekday = (int) ((days % 7 + 7 + 4) % 7); /* 1970-01-01 was a Thursday */
	bool by_day;
	bool by_weekday;

	civil_from_days(days, &month, &day);
	if ((cron->months & (UINT32_C(1) << month)) == 0)
		return false;
	by_day = (cron->days & (UINT32_C(1) << day)) != 0;
	by_weekday = (cron->weekdays & (UINT32_C(1) << weekday)) != 0;
	if (!cron->any_day && !cron->any_weekday)
		return by_day || by_weekday;
	return by_day && by_weekday;
}

/* First matching minute of a day at or after `from`, or -1. */
static int
next_minute(const PgtCron *cron, int from)
{
	for (int m = from; m < MINUTES_PER_DAY; m++)
	{
		if ((cron->hours & (UINT32_C(1) << (m / 60))) == 0)
			m += 59 - m % 60;
		else if ((cron->minutes & (UINT64_C(1) << (m % 60))) != 0)
			return m;
	}
	return -1;
}

/* First matching day at or after `days`; -1 when there is none in a whole cycle of the calendar. */
static int64_t
next_day(const PgtCron *cron, int64_t days)
{
	for (int64_t d = days; d <= days + DAYS_PER_CYCLE; d++)
	{
		if (day_matches(cron, d))
			return d;
	}
	return -1;
}

static bool
parse_fields(char **words, PgtCron *cron, char *err, size_t errlen)
{
	uint64_t masks[N_FIELDS];

	for (int i = 0; i < N_FIELDS; i++)
	{
		if (!parse_field(&fields[i], words[i], &masks[i], err, errlen))
			return false;
	}
	cron->minutes = masks[FIELD_MINUTE];
	cron->hours = (uint32_t) masks[FIELD_HOUR];
	cron->days = (uint32_t) masks[FIELD_DAY];
	cron->months = (uint32_t) masks[FIELD_MONTH];
	cron->weekdays = (uint32_t) ((masks[FIELD_WEEKDAY] | masks[FIELD_WEEKDAY] >> 7) & 0x7f);
	cron->any_day = words[FIELD_DAY][0] == '*';
	cron->any_weekday = words[FIELD_WEEKDAY][0] == '*';
	if (next_day(cron, 0) < 0)
	{
		snprintf(err, errlen, "no day ever matches the day and month fields");
		return false;
	}
	return true;
}

bool
pgt_cron_parse(const char *text, PgtCron *cron, char *err, size_t errlen)
{
	char copy[MAX_EXPRESSION];
	char *words[N_FIELDS];
	int n;

	if (strlen(text) >= sizeof(copy))
	{
		snprintf(err, errlen, "cron expression is longer than %d characters", MAX_EXPRESSION - 1);
		return false;
	}
	strcpy(copy, text);
	n = split_words(copy, words, N_FIELDS);
	if (n == 1 && words[0][0] == '@')
	{
		for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		{
			if (strcasecmp(words[0], macros[i].name) == 0)
				return pgt_cron_parse(macros[i].expression, cron, err, errlen);
		}
		snprintf(err, errlen, "unknown cron name \"%s\"", words[0]);
		return false;
	}
	if (n != N_FIELDS)
	{
		snprintf(err, errlen, "cron expression has %d field%s, expected 5", n, n == 1 ? "" : "s");
		return false;
	}
	return parse_fields(words, cron, err, errlen);
}

int64_t
pgt_cron_next(const PgtCron *cron, int64_t after)
{
	int64_t usecs_per_day = USECS_PER_MINUTE * MINUTES_PER_DAY;
	int64_t minutes = (after >= 0 ? after : after - (USECS_PER_MINUTE - 1)) / USECS_PER_MINUTE + 1;
	int64_t days = (minutes >= 0 ? minutes : minutes - (MINUTES_PER_DAY - 1)) / MINUTES_PER_DAY;
	int minute = -1;

	if (day_matches(cron, days))
		minute = next_minute(cron, (int) (minutes - days * MINUTES_PER_DAY));
	if (minute < 0)
	{
		days = next_day(cron, days + 1); /* parse has proved that there is one */
		minute = next_minute(cron, 0);
	}
	return days * usecs_per_day + minute * USECS_PER_MINUTE;
}
