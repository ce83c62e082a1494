/*
 * schedule_check.c - the grammar of schedules, for validation at creation.
 *
 *   schedule := 'calculated' | 'continuous' | duration | cron
 *   duration := (digits unit)+            units w d h m s ms, each at most once, in that order: 1h30m, 500ms
 *   cron     := '@' alias | 5 or 6 fields (seconds first when there are 6)
 *   field    := item (',' item)*          item := ('*' | value ['-' value]) ['/' step]
 *
 * Words and units are accepted in any case; blanks around the whole are ignored.  A text with a blank inside or a leading '@'
 * is meant as cron, everything else that begins with a digit as a duration: that decides which complaint the user reads.
 *
 * Pure: no server, no clock, no allocation.  The consumer has its own parser, which also computes due times; the shared test
 * vectors keep the two from drifting apart.
 */
#include "schedule_check.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Longer than this (100 years) is a typing error, and keeps sums far from overflow. */
#define MAX_MILLIS (INT64_C(36525) * 86400 * 1000)

typedef struct Unit
{
	const char *name;
	int64_t		millis;
} Unit;

static const Unit units[] = {{"w", INT64_C(604800000)}, {"d", INT64_C(86400000)}, {"h", INT64_C(3600000)}, {"m", INT64_C(60000)},
							 {"s", INT64_C(1000)},		{"ms", INT64_C(1)}};

#define NUNITS ((int) (sizeof(units) / sizeof(units[0])))

typedef struct Field
{
	const char *name;
	int			min;
	int			max;
	const char *const *words; /* names of the values from `min` on, or NULL */
	int			nwords;
} Field;

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

/* Seconds first: five-field expressions begin at index 1. */
static const Field fields[] = {{"second", 0, 59, NULL, 0},		 {"minute", 0, 59, NULL, 0}, {"hour", 0, 23, NULL, 0},
							   {"day of month", 1, 31, NULL, 0}, {"month", 1, 12, months, 12}, {"day of week", 0, 7, days, 7}};

#define NFIELDS ((int) (sizeof(fields) / sizeof(fields[0])))

static const char *const aliases[] = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};

/* A piece of the text, not terminated. */
typedef struct Span
{
	const char *at;
	int			len;
} Span;

static Span
trim(const char *text)
{
	Span		s = {text, (int) strlen(text)};

	while (s.len > 0 && isspace((unsigned char) s.at[0]))
		s.at++, s.len--;
	while (s.len > 0 && isspace((unsigned char) s.at[s.len - 1]))
		s.len--;
	return s;
}

static int
span_is(Span s, const char *word)
{
	return s.len == (int) strlen(word) && strncasecmp(s.at, word, s.len) == 0;
}

/* Digits at the start of *s; -1 when there are none or too many.  Advances *s. */
static int64_t
take_number(Span *s)
{
	int64_t		n = 0;
	int			digits = 0;

	while (s->len > 0 && isdigit((unsigned char) s->at[0]))
	{
		if (++digits > 15)
			return -1;
		n = n * 10 + (s->at[0] - '0');
		s->at++, s->len--;
	}
	return digits == 0 ? -1 : n;
}

static int
take_unit(Span *s)
{
	Span		word = {s->at, 0};

	while (word.len < s->len && isalpha((unsigned char) word.at[word.len]))
		word.len++;
	for (int i = 0; i < NUNITS; i++)
	{
		if (span_is(word, units[i].name))
		{
			s->at += word.len;
			s->len -= word.len;
			return i;
		}
	}
	return -1;
}

static int
check_duration(Span s, int64_t *millis, char *why, size_t why_len)
{
	int			last_unit = -1;
	int64_t		total = 0;

	if (s.len == 0)
		return snprintf(why, why_len, "The duration is empty."), 0;
	while (s.len > 0)
	{
		int64_t		n = take_number(&s);
		int			unit;

		if (n < 0)
			return snprintf(why, why_len, "A number was expected at \"%.*s\".", s.len > 40 ? 40 : s.len, s.at), 0;
		unit = take_unit(&s);
		if (unit < 0)
			return snprintf(why, why_len, "A unit (ms, s, m, h, d or w) was expected after the number."), 0;
		if (unit <= last_unit)
			return snprintf(why, why_len, "Units must go from the largest to the smallest, each at most once."), 0;
		last_unit = unit;
		if (n > MAX_MILLIS / units[unit].millis || (total += n * units[unit].millis) > MAX_MILLIS)
			return snprintf(why, why_len, "The duration is longer than 100 years."), 0;
	}
	if (total == 0)
		return snprintf(why, why_len, "The duration is zero."), 0;
	*millis = total;
	return 1;
}

/* A number or a name of the field; -1 when it is neither or out of range.  Advances *s. */
static int
take_value(Span *s, const Field *f)
{
	int64_t		n;

	for (int i = 0; i < f->nwords; i++)
	{
		if (s->len >= 3 && strncasecmp(s->at, f->words[i], 3) == 0)
		{
			s->at += 3;
			s->len -= 3;
			return f->min + i;
		}
	}
	n = take_number(s);
	return n < f->min || n > f->max ? -1 : (int) n;
}

/* One list element: a star or a value or a range, perhaps with a step. */
static int
check_item(Span s, const Field *f)
{
	int			low,
				high;

	if (s.len > 0 && s.at[0] == '*')
		s.at++, s.len--;
	else
	{
		if ((low = take_value(&s, f)) < 0)
			return 0;
		if (s.len > 0 && s.at[0] == '-')
		{
			s.at++, s.len--;
			if ((high = take_value(&s, f)) < low)
				return 0;
		}
	}
	if (s.len > 0 && s.at[0] == '/')
	{
		int64_t		step;

		s.at++, s.len--;
		step = take_number(&s);
		if (step < 1 || step > f->max)
			return 0;
	}
	return s.len == 0;
}

static int
check_field(Span s, const Field *f)
{
	for (;;)
	{
		const char *comma = memchr(s.at, ',', s.len);
		Span		item = {s.at, comma ? (int) (comma - s.at) : s.len};

		if (!check_item(item, f))
			return 0;
		if (comma == NULL)
			return 1;
		s.len -= item.len + 1;
		s.at = comma + 1;
	}
}

/* Split at blanks; returns the number of fields, which may be more than `max`. */
static int
split_fields(Span s, Span *out, int max)
{
	int			n = 0;

	while (s.len > 0)
	{
		Span		f = {s.at, 0};

		while (f.len < s.len && !isspace((unsigned char) f.at[f.len]))
			f.len++;
		if (n < max)
			out[n] = f;
		n++;
		s.at += f.len;
		s.len -= f.len;
		while (s.len > 0 && isspace((unsigned char) s.at[0]))
			s.at++, s.len--;
	}
	return n;
}

static int
check_cron(Span s, char *why, size_t why_len)
{
	Span		parts[NFIELDS];
	int			n;

	if (s.at[0] == '@')
	{
		for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
			if (span_is(s, aliases[i]))
				return 1;
		return snprintf(why, why_len, "\"%.*s\" is not one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.",
						s.len > 20 ? 20 : s.len, s.at), 0;
	}
	n = split_fields(s, parts, NFIELDS);
	if (n != NFIELDS && n != NFIELDS - 1)
		return snprintf(why, why_len, "A cron expression has five fields, or six with seconds first; this one has %d.", n), 0;
	for (int i = 0; i < n; i++)
	{
		const Field *f = &fields[i + NFIELDS - n];

		if (!check_field(parts[i], f))
			return snprintf(why, why_len, "\"%.*s\" is no valid %s (%d to %d).", parts[i].len > 40 ? 40 : parts[i].len, parts[i].at,
							f->name, f->min, f->max), 0;
	}
	return 1;
}

static int
has_blank(Span s)
{
	for (int i = 0; i < s.len; i++)
		if (isspace((unsigned char) s.at[i]))
			return 1;
	return 0;
}

int
pgt_duration_check(const char *text, int64_t *millis, char *why, size_t why_len)
{
	return check_duration(trim(text), millis, why, why_len);
}

PgtScheduleKind
pgt_schedule_check(const char *text, int64_t *millis, char *why, size_t why_len)
{
	Span		s = trim(text);

	*millis = 0;
	if (s.len == 0)
		return snprintf(why, why_len, "The schedule is empty."), PGT_SCHEDULE_BAD;
	if (span_is(s, "calculated"))
		return PGT_SCHEDULE_CALCULATED;
	if (span_is(s, "continuous"))
		return PGT_SCHEDULE_CONTINUOUS;
	if (s.at[0] == '@' || has_blank(s))
		return check_cron(s, why, why_len) ? PGT_SCHEDULE_CRON : PGT_SCHEDULE_BAD;
	return check_duration(s, millis, why, why_len) ? PGT_SCHEDULE_DURATION : PGT_SCHEDULE_BAD;
}
