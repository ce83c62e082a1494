/*
 * schedule.c - parse schedules and compute the next due time.
 */
#include "consumer/schedule.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MICRO INT64_C(1000000) /* numbers are read in millionths, so "0.5s" needs no floating point */
#define BLANKS " \t\r\n"

/* Largest first: a duration names them in this order. */
static const struct
{
	const char *names; /* separated by blanks */
	int64_t ms;
} units[] = {
	{"w week weeks", INT64_C(7) * 24 * 3600 * 1000},
	{"d day days", INT64_C(24) * 3600 * 1000},
	{"h hr hrs hour hours", 3600 * 1000},
	{"m min mins minute minutes", 60 * 1000},
	{"s sec secs second seconds", 1000},
	{"ms msec msecs millisecond milliseconds", 1},
};
#define N_UNITS ((int) (sizeof(units) / sizeof(units[0])))
#define UNIT_DAY 1
#define UNIT_HOUR 2
#define UNIT_MINUTE 3
#define UNIT_SECOND 4

typedef struct DurationParser
{
	const char *p;
	int64_t total; /* millionths of milliseconds */
	int last_unit; /* -1 before the first */
	char *err;
	size_t errlen;
} DurationParser;

typedef struct Number
{
	int64_t whole;
	int64_t micro; /* fraction in millionths */
	int digits;    /* of the whole part */
} Number;

static bool
too_long(DurationParser *d)
{
	snprintf(d->err, d->errlen, "duration is longer than 365 days");
	return false;
}

static int
find_unit(const char *word, size_t len)
{
	for (int i = 0; i < N_UNITS; i++)
	{
		for (const char *name = units[i].names; *name != '\0';)
		{
			size_t n = strcspn(name, " ");

			if (n == len && strncasecmp(name, word, len) == 0)
				return i;
			name += n + strspn(name + n, " ");
		}
	}
	return -1;
}

static bool
is_month_or_year(const char *word, size_t len)
{
	static const char *const names[] = {"mon", "mons", "month", "months", "y", "yr", "yrs", "year", "years"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (strlen(names[i]) == len && strncasecmp(names[i], word, len) == 0)
			return true;
	}
	return false;
}

static bool
read_fraction(DurationParser *d, Number *n)
{
	int64_t scale = MICRO / 10;

	n->micro = 0;
	if (*d->p != '.')
		return true;
	d->p++;
	if (!isdigit((unsigned char) *d->p))
	{
		snprintf(d->err, d->errlen, "expected a digit after the decimal point");
		return false;
	}
	for (; isdigit((unsigned char) *d->p); d->p++)
	{
		if (scale == 0)
		{
			snprintf(d->err, d->errlen, "more than six digits after the decimal point");
			return false;
		}
		n->micro += (*d->p - '0') * scale;
		scale /= 10;
	}
	return true;
}

static bool
read_whole(DurationParser *d, Number *n)
{
	n->whole = 0;
	n->digits = 0;
	if (!isdigit((unsigned char) *d->p))
	{
		if (*d->p == '\0')
			snprintf(d->err, d->errlen, "expected a number at the end");
		else
			snprintf(d->err, d->errlen, "expected a number at \"%s\"", d->p);
		return false;
	}
	for (; isdigit((unsigned char) *d->p); d->p++, n->digits++)
	{
		n->whole = n->whole * 10 + (*d->p - '0');
		if (n->whole > PGT_SCHEDULE_MAX_MS)
			return too_long(d);
	}
	return true;
}

static bool
add(DurationParser *d, const Number *n, int unit)
{
	if (n->whole > PGT_SCHEDULE_MAX_MS / units[unit].ms)
		return too_long(d);
	d->total += (n->whole * MICRO + n->micro) * units[unit].ms;
	d->last_unit = unit;
	return true;
}

/* Two digits below 60 behind a colon: minutes or seconds of a clock. */
static bool
read_sixtieth(DurationParser *d, Number *n)
{
	d->p++; /* the colon */
	if (!read_whole(d, n))
		return false;
	if (n->digits == 2 && n->whole < 60)
		return true;
	snprintf(d->err, d->errlen, "minutes and seconds of hh:mm:ss have two digits and are below 60");
	return false;
}

/* Behind "hh", at the colon. */
static bool
read_clock(DurationParser *d, const Number *hours)
{
	Number minutes = {0};
	Number seconds = {0};

	if (hours->digits > 4)
		return too_long(d);
	if (d->last_unit > UNIT_DAY)
	{
		snprintf(d->err, d->errlen, "hh:mm:ss may follow only weeks and days");
		return false;
	}
	if (!read_sixtieth(d, &minutes))
		return false;
	if (*d->p == ':' && (!read_sixtieth(d, &seconds) || !read_fraction(d, &seconds)))
		return false;
	d->p += strspn(d->p, BLANKS);
	if (*d->p != '\0')
	{
		snprintf(d->err, d->errlen, "unexpected \"%s\" after hh:mm:ss", d->p);
		return false;
	}
	return add(d, hours, UNIT_HOUR) && add(d, &minutes, UNIT_MINUTE) && add(d, &seconds, UNIT_SECOND);
}

static bool
read_unit(DurationParser *d, const Number *n)
{
	size_t len = 0;
	int unit;

	d->p += strspn(d->p, BLANKS);
	while (isalpha((unsigned char) d->p[len]))
		len++;
	if (len == 0)
	{
		snprintf(d->err, d->errlen, "a number needs a unit, such as 30s or 5m");
		return false;
	}
	unit = find_unit(d->p, len);
	if (unit < 0)
	{
		if (is_month_or_year(d->p, len))
			snprintf(d->err, d->errlen, "months and years have no fixed length; use days or a cron expression");
		else
			snprintf(d->err, d->errlen, "unknown unit \"%.*s\"", (int) len, d->p);
		return false;
	}
	if (unit <= d->last_unit)
	{
		snprintf(d->err, d->errlen, "unit \"%.*s\" must come before smaller ones, and only once", (int) len, d->p);
		return false;
	}
	d->p += len;
	return add(d, n, unit);
}

static bool
parse_duration(DurationParser *d, int64_t *ms)
{
	do
	{
		Number n = {0};

		if (!read_whole(d, &n))
			return false;
		if (*d->p == ':')
		{
			if (!read_clock(d, &n))
				return false;
			break;
		}
		if (!read_fraction(d, &n) || !read_unit(d, &n))
			return false;
		d->p += strspn(d->p, BLANKS);
	} while (*d->p != '\0');

	*ms = (d->total + MICRO / 2) / MICRO;
	if (*ms > PGT_SCHEDULE_MAX_MS)
		return too_long(d);
	if (*ms < 1)
	{
		snprintf(d->err, d->errlen, "duration is shorter than a millisecond");
		return false;
	}
	return true;
}

static bool
looks_like_cron(const char *text)
{
	size_t len = strcspn(text, BLANKS);
	size_t digits = strspn(text, "0123456789");
	const char *second = text + len + strspn(text + len, BLANKS);

	if (*text == '@')
		return true;
	if (strspn(text, "0123456789*,-/") < len)
		return false;
	return digits < len || isdigit((unsigned char) *second) || *second == '*';
}

static bool
is_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	return strncasecmp(text, word, len) == 0 && text[len + strspn(text + len, BLANKS)] == '\0';
}

bool
pgt_schedule_parse(const char *text, PgtSchedule *schedule, char *err, size_t errlen)
{
	DurationParser d = {.last_unit = -1, .err = err, .errlen = errlen};

	memset(schedule, 0, sizeof(*schedule));
	schedule->kind = PGT_SCHEDULE_CALCULATED;
	if (text == NULL)
		return true;
	text += strspn(text, BLANKS);
	if (*text == '\0')
	{
		snprintf(err, errlen, "schedule is empty");
		return false;
	}
	if (is_word(text, "calculated"))
		return true;
	if (is_word(text, "continuous"))
	{
		schedule->kind = PGT_SCHEDULE_CONTINUOUS;
		return true;
	}
	if (looks_like_cron(text))
	{
		schedule->kind = PGT_SCHEDULE_CRON;
		return pgt_cron_parse(text, &schedule->cron, err, errlen);
	}
	schedule->kind = PGT_SCHEDULE_DURATION;
	d.p = text;
	return parse_duration(&d, &schedule->period_ms);
}

int64_t
pgt_schedule_next(const PgtSchedule *schedule, int64_t last, int factor)
{
	switch (schedule->kind)
	{
		case PGT_SCHEDULE_CRON:
			/* a tier leaves out occurrences: the factor-th one is next */
			for (int i = 0; i < factor; i++)
				last = pgt_cron_next(&schedule->cron, last);
			return last;
		case PGT_SCHEDULE_DURATION:
			return last + schedule->period_ms * 1000 * factor;
		case PGT_SCHEDULE_CALCULATED:
		case PGT_SCHEDULE_CONTINUOUS:
			break;
	}
	return last;
}

int64_t
pgt_schedule_period(const PgtSchedule *schedule, int64_t now)
{
	int64_t first;

	switch (schedule->kind)
	{
		case PGT_SCHEDULE_CRON:
			first = pgt_cron_next(&schedule->cron, now);
			return pgt_cron_next(&schedule->cron, first) - first;
		case PGT_SCHEDULE_DURATION:
			return schedule->period_ms * 1000;
		case PGT_SCHEDULE_CONTINUOUS:
			return 0;
		case PGT_SCHEDULE_CALCULATED:
			break;
	}
	return -1;
}
