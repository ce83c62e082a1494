/*
 * options.c - the plugin's options: one table, one strict parser.
 *
 * Every role with REPLICATION can pass any text here, so nothing is guessed, trimmed, abbreviated or clamped: a value is one
 * that the table allows, letter by letter, or it is refused.  Pure; plugin.c turns the result into an error for people.
 */
#include "plugin/options.h"

#include <stddef.h>
#include <string.h>

typedef enum OptionKind
{
	KIND_INT,
	KIND_BOOL,
	KIND_CHOICE /* index into choices */
} OptionKind;

typedef struct OptionDef
{
	const char *name;
	OptionKind kind;
	size_t offset;
	int min;
	int max;
	const char *choices[3];
	const char *allowed;
} OptionDef;

static const OptionDef options[] = {
	{"protocol_version", KIND_INT, offsetof(PgtOptions, protocol_version), 1, 1, {0}, "1"},
	{"format", KIND_CHOICE, offsetof(PgtOptions, format), 0, 0, {"binary", "json"}, "\"binary\" or \"json\""},
	{"compression", KIND_CHOICE, offsetof(PgtOptions, lz4), 0, 0, {"none", "lz4"}, "\"none\" or \"lz4\""},
	{"linger", KIND_INT, offsetof(PgtOptions, linger), 0, 1000, {0}, "an integer from 0 to 1000 (milliseconds)"},
	{"node", KIND_INT, offsetof(PgtOptions, node), 0, 32767, {0}, "an integer from 0 to 32767"},
	{"include_xid", KIND_BOOL, offsetof(PgtOptions, include_xid), 0, 0, {0}, "\"on\" or \"off\""},
	{"include_lsn", KIND_BOOL, offsetof(PgtOptions, include_lsn), 0, 0, {0}, "\"on\" or \"off\""},
	{"changed_columns", KIND_BOOL, offsetof(PgtOptions, changed_columns), 0, 0, {0}, "\"on\" or \"off\""},
};

#define NOPTIONS ((int) (sizeof(options) / sizeof(options[0])))

void
pgt_options_init(PgtOptions *o)
{
	memset(o, 0, sizeof(*o));
	o->protocol_version = 1;
	o->linger = 5; /* tests/bench/plugin_linger.sh: less than half the CPU at 1,000 tx/s */
	o->changed_columns = true;
}

static int
find_option(const char *name)
{
	for (int i = 0; i < NOPTIONS; i++)
		if (strcmp(options[i].name, name) == 0)
			return i;
	return -1;
}

/* Decimal digits only, at most nine of them: no sign, blank, prefix or overflow to think about. */
static bool
parse_int(const char *s, int min, int max, int *result)
{
	int v = 0;
	size_t n = strlen(s);

	if (n == 0 || n > 9)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (s[i] - '0');
	}
	if (v < min || v > max)
		return false;
	*result = v;
	return true;
}

static bool
parse_bool(const char *s, bool *result)
{
	if (strcmp(s, "on") == 0 || strcmp(s, "true") == 0)
		*result = true;
	else if (strcmp(s, "off") == 0 || strcmp(s, "false") == 0)
		*result = false;
	else
		return false;
	return true;
}

static bool
parse_choice(const OptionDef *def, const char *s, int *result)
{
	for (int i = 0; def->choices[i] != NULL; i++)
	{
		if (strcmp(def->choices[i], s) == 0)
		{
			*result = i;
			return true;
		}
	}
	return false;
}

static bool
store_value(PgtOptions *o, const OptionDef *def, const char *value)
{
	char *field = (char *) o + def->offset;
	int choice;

	switch (def->kind)
	{
		case KIND_INT:
			return parse_int(value, def->min, def->max, (int *) field);
		case KIND_BOOL:
			return parse_bool(value, (bool *) field);
		case KIND_CHOICE:
			if (!parse_choice(def, value, &choice))
				return false;
			if (def->offset == offsetof(PgtOptions, lz4))
				o->lz4 = choice == 1;
			else
				o->format = (PgtFormat) choice;
			return true;
	}
	return false;
}

PgtOptionResult
pgt_options_set(PgtOptions *o, const char *name, const char *value)
{
	int i = find_option(name);

	if (i < 0)
		return PGT_OPTION_UNKNOWN;
	if (o->seen & (1u << i))
		return PGT_OPTION_DUPLICATE;
	if (value == NULL)
		return PGT_OPTION_MISSING;
	if (!store_value(o, &options[i], value))
		return PGT_OPTION_INVALID;
	o->seen |= 1u << i;
	return PGT_OPTION_OK;
}

const char *
pgt_options_allowed(const char *name)
{
	int i = find_option(name);

	return i < 0 ? NULL : options[i].allowed;
}

const char *
pgt_options_names(void)
{
	return "protocol_version, format, compression, linger, node, include_xid, include_lsn, changed_columns";
}
