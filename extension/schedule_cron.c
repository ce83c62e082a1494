/*
 * schedule_cron.c - the cron part of the schedule grammar (see schedule_check.h and consumer/cron.h).
 *
 * Pure.  Of the values of a field only the days and months are kept, to refuse an expression that no day ever matches.
 */
#include "schedule_check.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BLANK " \t\r\n"
#define MAX_TEXT 256

typedef struct Field
{
	const char *what;
	int low;
	int high;
	const char *names; /* three letters each */
	int first;         /* value of the first name */
} Field;

enum
{
	MINUTE,
	HOUR,
	DAY,
	MONTH,
	WEEKDAY,
	NFIELDS
};

static const Field fields[NFIELDS] = {
	[MINUTE] = {"minute", 0, 59, NULL, 0},
	[HOUR] = {"hour", 0, 23, NULL, 0},
	[DAY] = {"day of month", 1, 31, NULL, 0},
	[MONTH] = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
	[WEEKDAY] = {"day of week", 0, 7, "sunmontuewedthufrisat", 0},
};

static const char *const nicknames[] = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};

/* 29 February exists in some year, and falls on every day of the week in some year. */
static const int month_days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

/* One field being read. */
typedef struct Cursor
{
	const Field *field;
	const char *text; /* the whole field, for complaints */
	const char *at;
	uint64_t values;
	PgtComplaint *why;
} Cursor;

static bool
field_complaint(Cursor *c, const char *what)
{
	return pgt_complain(c->why, "%s field \"%s\": %s", c->field->what, c->text, what);
}

static int
number(Cursor *c)
{
	int value = 0;

	for (; isdigit((unsigned char) *c->at); c->at++)
	{
		/* five digits are absurd enough, and can be told back */
		if (value < 10000)
			value = value * 10 + (*c->at - '0');
	}
	return value;
}

/* A number or a name, checked against the field's bounds. */
static bool
value(Cursor *c, int *result)
{
	const char *names = c->field->names;

	if (isdigit((unsigned char) *c->at))
	{
		char what[64];

		*result = number(c);
		if (*result >= c->field->low && *result <= c->field->high)
			return true;
		snprintf(what, sizeof(what), "%d is not between %d and %d", *result, c->field->low, c->field->high);
		return field_complaint(c, what);
	}
	for (int i = 0; names && names[3 * i]; i++)
	{
		if (strncasecmp(c->at, names + 3 * i, 3) == 0 && !isalpha((unsigned char) c->at[3]))
		{
			c->at += 3;
			*result = c->field->first + i;
			return true;
		}
	}
	return field_complaint(c, names ? "expected *, a number or a name" : "expected * or a number");
}

/* "*", a value, or a range of values; a value with a step reaches to the field's end. */
static bool
range(Cursor *c, int *from, int *to)
{
	*from = c->field->low;
	*to = c->field->high;
	if (*c->at == '*')
	{
		c->at++;
		return true;
	}
	if (!value(c, from))
		return false;
	if (*c->at != '-')
	{
		*to = *c->at == '/' ? *to : *from;
		return true;
	}
	c->at++;
	if (!value(c, to))
		return false;
	if (c->field == &fields[WEEKDAY] && *to == 0 && *from > 0)
		*to = 7; /* to Sunday */
	return *from <= *to || field_complaint(c, "range runs backwards");
}

static bool
step(Cursor *c, int *by)
{
	*by = 1;
	if (*c->at != '/')
		return true;
	c->at++;
	if (!isdigit((unsigned char) *c->at))
		return field_complaint(c, "expected a number after \"/\"");
	*by = number(c);
	return (*by > 0 && *by <= c->field->high) || field_complaint(c, "step is out of range");
}

static bool
read_field(Cursor *c)
{
	for (;; c->at++)
	{
		int from,
			to,
			by;

		if (!range(c, &from, &to) || !step(c, &by))
			return false;
		for (; from <= to; from += by)
			c->values |= UINT64_C(1) << from;
		if (*c->at == '\0')
			return true;
		if (*c->at != ',')
			return field_complaint(c, "expected \",\", \"-\" or \"/\"");
	}
}

/* Is there a date of these days and months?  When both day fields are restricted, a weekday suffices, and there always is one. */
static bool
ever_matches(char *const *words, uint64_t days, uint64_t months)
{
	if (words[DAY][0] != '*' && words[WEEKDAY][0] != '*')
		return true;
	for (int m = 1; m <= 12; m++)
	{
		for (int d = 1; d <= month_days[m]; d++)
			if ((months >> m & 1) && (days >> d & 1))
				return true;
	}
	return false;
}

static bool
nickname(const char *word, PgtComplaint *why)
{
	for (size_t i = 0; i < sizeof(nicknames) / sizeof(nicknames[0]); i++)
		if (strcasecmp(word, nicknames[i]) == 0)
			return true;
	return pgt_complain(why, "unknown cron name \"%s\"", word);
}

/* Cuts `text` at blanks; the number of words, of which NFIELDS are stored. */
static int
cut(char *text, char **words)
{
	int n = 0;

	for (text += strspn(text, BLANK); *text != '\0'; text += strspn(text, BLANK))
	{
		if (n < NFIELDS)
			words[n] = text;
		n++;
		text += strcspn(text, BLANK);
		if (*text != '\0')
			*text++ = '\0';
	}
	return n;
}

bool
pgt_cron_check(const char *text, PgtComplaint *why)
{
	char copy[MAX_TEXT];
	char *words[NFIELDS];
	uint64_t values[NFIELDS];
	int n;

	if (strlen(text) >= sizeof(copy))
		return pgt_complain(why, "cron expression is longer than %d characters", MAX_TEXT - 1);
	strcpy(copy, text);
	n = cut(copy, words);
	if (n == 1 && words[0][0] == '@')
		return nickname(words[0], why);
	if (n != NFIELDS)
		return pgt_complain(why, "cron expression has %d field%s, expected 5", n, n == 1 ? "" : "s");
	for (int i = 0; i < NFIELDS; i++)
	{
		Cursor c = {&fields[i], words[i], words[i], 0, why};

		if (!read_field(&c))
			return false;
		values[i] = c.values;
	}
	return ever_matches(words, values[DAY], values[MONTH]) || pgt_complain(why, "no day ever matches the day and month fields");
}
