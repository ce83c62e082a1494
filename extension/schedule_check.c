/*
 * schedule_check.c - the grammar of schedules, for validation when an ST is created or altered.
 *
 * The consumer has a parser of its own, which also computes due times; the two share no code (extension and consumer meet only
 * through SQL) but the same test vectors.  This one only says yes, or no and why.
 *
 * Pure: no server, no clock, no allocation.  Amounts are kept in millionths of a millisecond, so decimal fractions are exact.
 */
#include "schedule_check.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BLANK " \t\r\n"
#define DIGITS "0123456789"
#define MILLION INT64_C(1000000)
#define LONGEST (INT64_C(365) * 86400000) /* ms */

/* Largest first, the order in which a duration must use them. */
typedef enum UnitRank
{
	RANK_NONE = -1,
	RANK_WEEK,
	RANK_DAY,
	RANK_HOUR,
	RANK_MINUTE,
	RANK_SECOND,
	RANK_MILLI,
	RANK_CALENDAR /* months and years: known, and refused */
} UnitRank;

static const int64_t unit_millis[] = {604800000, 86400000, 3600000, 60000, 1000, 1};

static const struct
{
	const char *word;
	UnitRank rank;
} unit_words[] = {
	{"w", RANK_WEEK},
	{"week", RANK_WEEK},
	{"weeks", RANK_WEEK},
	{"d", RANK_DAY},
	{"day", RANK_DAY},
	{"days", RANK_DAY},
	{"h", RANK_HOUR},
	{"hr", RANK_HOUR},
	{"hrs", RANK_HOUR},
	{"hour", RANK_HOUR},
	{"hours", RANK_HOUR},
	{"m", RANK_MINUTE},
	{"min", RANK_MINUTE},
	{"mins", RANK_MINUTE},
	{"minute", RANK_MINUTE},
	{"minutes", RANK_MINUTE},
	{"s", RANK_SECOND},
	{"sec", RANK_SECOND},
	{"secs", RANK_SECOND},
	{"second", RANK_SECOND},
	{"seconds", RANK_SECOND},
	{"ms", RANK_MILLI},
	{"msec", RANK_MILLI},
	{"msecs", RANK_MILLI},
	{"millisecond", RANK_MILLI},
	{"milliseconds", RANK_MILLI},
	{"mon", RANK_CALENDAR},
	{"mons", RANK_CALENDAR},
	{"month", RANK_CALENDAR},
	{"months", RANK_CALENDAR},
	{"y", RANK_CALENDAR},
	{"yr", RANK_CALENDAR},
	{"yrs", RANK_CALENDAR},
	{"year", RANK_CALENDAR},
	{"years", RANK_CALENDAR},
};

#define NUNITWORDS ((int) (sizeof(unit_words) / sizeof(unit_words[0])))

bool
pgt_complain(PgtComplaint *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return false;
}

/* ---------- durations ---------- */

/* A duration being read: `at` moves on, `sum` grows, `rank` is that of the last unit. */
typedef struct Reader
{
	const char *at;
	int64_t sum;
	UnitRank rank;
	PgtComplaint *why;
} Reader;

static bool
longer_than_a_year(Reader *r)
{
	return pgt_complain(r->why, "duration is longer than 365 days");
}

/* Digits before the point or colon; *len counts them. */
static bool
whole_number(Reader *r, int64_t *value, size_t *len)
{
	*value = 0;
	*len = strspn(r->at, DIGITS);
	if (*len == 0 && *r->at == '\0')
		return pgt_complain(r->why, "expected a number at the end");
	if (*len == 0)
		return pgt_complain(r->why, "expected a number at \"%s\"", r->at);
	for (size_t i = 0; i < *len; i++)
	{
		*value = *value * 10 + (r->at[i] - '0');
		if (*value > LONGEST)
			return longer_than_a_year(r);
	}
	r->at += *len;
	return true;
}

/* An optional ".digits", in millionths. */
static bool
fraction(Reader *r, int64_t *millionths)
{
	size_t len;
	int64_t unit = MILLION;

	*millionths = 0;
	if (*r->at != '.')
		return true;
	r->at++;
	len = strspn(r->at, DIGITS);
	if (len == 0)
		return pgt_complain(r->why, "expected a digit after the decimal point");
	if (len > 6)
		return pgt_complain(r->why, "more than six digits after the decimal point");
	for (; len > 0; len--)
	{
		unit /= 10;
		*millionths += (*r->at++ - '0') * unit;
	}
	return true;
}

static bool
add_amount(Reader *r, int64_t whole, int64_t millionths, UnitRank rank)
{
	if (whole > LONGEST / unit_millis[rank])
		return longer_than_a_year(r);
	r->sum += (whole * MILLION + millionths) * unit_millis[rank];
	r->rank = rank;
	return true;
}

/* The word after a number. */
static bool
unit_word(Reader *r, UnitRank *rank)
{
	int len = 0;

	r->at += strspn(r->at, BLANK);
	while (isalpha((unsigned char) r->at[len]))
		len++;
	if (len == 0)
		return pgt_complain(r->why, "a number needs a unit, such as 30s or 5m");
	*rank = RANK_NONE;
	for (int i = 0; i < NUNITWORDS; i++)
	{
		if ((int) strlen(unit_words[i].word) == len && strncasecmp(unit_words[i].word, r->at, len) == 0)
			*rank = unit_words[i].rank;
	}
	if (*rank == RANK_NONE)
		return pgt_complain(r->why, "unknown unit \"%.*s\"", len, r->at);
	if (*rank == RANK_CALENDAR)
		return pgt_complain(r->why, "months and years have no fixed length; use days or a cron expression");
	if (*rank <= r->rank)
		return pgt_complain(r->why, "unit \"%.*s\" must come before smaller ones, and only once", len, r->at);
	r->at += len;
	return true;
}

/* ":mm" or ":ss". */
static bool
sixtieths(Reader *r, int64_t *value)
{
	size_t len;

	r->at++;
	if (!whole_number(r, value, &len))
		return false;
	if (len != 2 || *value > 59)
		return pgt_complain(r->why, "minutes and seconds of hh:mm:ss have two digits and are below 60");
	return true;
}

/* What follows the hours of hh:mm[:ss[.f]]: it ends the text. */
static bool
clock_part(Reader *r, int64_t hours, size_t hour_digits)
{
	int64_t minutes;
	int64_t seconds = 0;
	int64_t millionths = 0;

	if (hour_digits > 4)
		return longer_than_a_year(r);
	if (r->rank > RANK_DAY)
		return pgt_complain(r->why, "hh:mm:ss may follow only weeks and days");
	if (!sixtieths(r, &minutes))
		return false;
	if (*r->at == ':' && !(sixtieths(r, &seconds) && fraction(r, &millionths)))
		return false;
	r->at += strspn(r->at, BLANK);
	if (*r->at != '\0')
		return pgt_complain(r->why, "unexpected \"%s\" after hh:mm:ss", r->at);
	return add_amount(r, hours, 0, RANK_HOUR) && add_amount(r, minutes, 0, RANK_MINUTE) &&
		   add_amount(r, seconds, millionths, RANK_SECOND);
}

/* One quantity, or the clock. */
static bool
amount(Reader *r)
{
	int64_t whole;
	int64_t millionths;
	size_t len;
	UnitRank rank = RANK_NONE;

	if (!whole_number(r, &whole, &len))
		return false;
	if (*r->at == ':')
		return clock_part(r, whole, len);
	if (!fraction(r, &millionths) || !unit_word(r, &rank) || !add_amount(r, whole, millionths, rank))
		return false;
	r->at += strspn(r->at, BLANK);
	return true;
}

bool
pgt_duration_check(const char *text, int64_t *millis, PgtComplaint *why)
{
	Reader r = {text + strspn(text, BLANK), 0, RANK_NONE, why};

	do
	{
		if (!amount(&r))
			return false;
	} while (*r.at != '\0');
	*millis = (r.sum + MILLION / 2) / MILLION;
	if (*millis > LONGEST)
		return longer_than_a_year(&r);
	if (*millis == 0)
		return pgt_complain(why, "duration is shorter than a millisecond");
	return true;
}

/* ---------- schedules ---------- */

/* `text` is `word`, blanks behind it aside. */
static bool
is_keyword(const char *text, const char *word)
{
	size_t len = strlen(word);

	return strncasecmp(text, word, len) == 0 && text[len + strspn(text + len, BLANK)] == '\0';
}

/* What the user meant decides which complaint he reads. */
static bool
meant_as_cron(const char *text)
{
	size_t first = strcspn(text, BLANK);
	const char *second = text + first + strspn(text + first, BLANK);

	if (text[0] == '@')
		return true;
	if (strspn(text, DIGITS "*,-/") < first)
		return false;
	return strspn(text, DIGITS) < first || (*second != '\0' && strchr(DIGITS "*", *second) != NULL);
}

PgtScheduleKind
pgt_schedule_check(const char *text, int64_t *millis, PgtComplaint *why)
{
	*millis = 0;
	text += strspn(text, BLANK);
	if (*text == '\0')
	{
		pgt_complain(why, "schedule is empty");
		return PGT_SCHEDULE_BAD;
	}
	if (is_keyword(text, "calculated"))
		return PGT_SCHEDULE_CALCULATED;
	if (is_keyword(text, "continuous"))
		return PGT_SCHEDULE_CONTINUOUS;
	if (meant_as_cron(text))
		return pgt_cron_check(text, why) ? PGT_SCHEDULE_CRON : PGT_SCHEDULE_BAD;
	return pgt_duration_check(text, millis, why) ? PGT_SCHEDULE_DURATION : PGT_SCHEDULE_BAD;
}
