/*
 * api_options.c - the options of a stream table.
 *
 * `rules` is the one place that says what an option is called, where it is stored, and what it may be.  Options of the trigger-
 * based predecessor that make no sense here keep their place in the argument lists and are refused with a hint when used.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"

#include "api_options.h"
#include "guc.h"
#include "schedule_check.h"

typedef enum OptionHome
{
	HOME_NONE,      /* not stored */
	HOME_DEFINITION /* pgt_definitions */
} OptionHome;

typedef struct OptionRule
{
	const char *name;
	Oid type; /* TEXTOID, BOOLOID, INT4OID, INT8OID, FLOAT8OID */
	OptionHome home;
	const char *column;
	const char *words; /* texts: the values, separated by blanks; NULL: any */
	double min;        /* numbers */
	double max;
	void (*check)(char **text); /* further checks and normalisation of texts */
} OptionRule;

static void check_schedule(char **text);
static void check_refresh_mode(char **text);
static void check_cdc_mode(char **text);
static void check_partition_by(char **text);

#define ANY_INT 0, PG_INT32_MAX

static const OptionRule rules[PGT_OPT_COUNT] = {
	[PGT_OPT_NAME] = {"name", TEXTOID, HOME_NONE, NULL, NULL, 0, 0, NULL},
	[PGT_OPT_QUERY] = {"query", TEXTOID, HOME_NONE, NULL, NULL, 0, 0, NULL},
	[PGT_OPT_SCHEDULE] = {"schedule", TEXTOID, HOME_DEFINITION, "schedule", NULL, 0, 0, check_schedule},
	[PGT_OPT_REFRESH_MODE] = {"refresh_mode", TEXTOID, HOME_DEFINITION, "refresh_mode", "AUTO FULL DIFFERENTIAL", 0, 0,
							  check_refresh_mode},
	[PGT_OPT_INITIALIZE] = {"initialize", BOOLOID, HOME_NONE, NULL, NULL, 0, 0, NULL},
	[PGT_OPT_STATUS] = {"status", TEXTOID, HOME_NONE, NULL, "ACTIVE SUSPENDED", 0, 0, NULL},
	[PGT_OPT_DIAMOND_CONSISTENCY] = {"diamond_consistency", TEXTOID, HOME_DEFINITION, "diamond_consistency", "none atomic", 0, 0, NULL},
	[PGT_OPT_DIAMOND_POLICY] = {"diamond_schedule_policy", TEXTOID, HOME_DEFINITION, "diamond_schedule_policy", "fastest slowest", 0,
								0, NULL},
	[PGT_OPT_CDC_MODE] = {"cdc_mode", TEXTOID, HOME_NONE, NULL, "auto wal", 0, 0, check_cdc_mode},
	[PGT_OPT_APPEND_ONLY] = {"append_only", BOOLOID, HOME_DEFINITION, "is_append_only", NULL, 0, 0, NULL},
	[PGT_OPT_POOLER] = {"pooler_compatibility_mode", BOOLOID, HOME_DEFINITION, "pooler_compatibility_mode", NULL, 0, 0, NULL},
	[PGT_OPT_TIER] = {"tier", TEXTOID, HOME_DEFINITION, "refresh_tier", "hot warm cold frozen", 0, 0, NULL},
	[PGT_OPT_FUSE] = {"fuse", TEXTOID, HOME_DEFINITION, "fuse_mode", "off on auto", 0, 0, NULL},
	[PGT_OPT_FUSE_CEILING] = {"fuse_ceiling", INT8OID, HOME_DEFINITION, "fuse_ceiling", NULL, 1, (double) PG_INT64_MAX, NULL},
	[PGT_OPT_FUSE_SENSITIVITY] = {"fuse_sensitivity", INT4OID, HOME_DEFINITION, "fuse_sensitivity", NULL, 1, PG_INT32_MAX, NULL},
	[PGT_OPT_PARTITION_BY] = {"partition_by", TEXTOID, HOME_NONE, NULL, NULL, 0, 0, check_partition_by},
	[PGT_OPT_MAX_JOINS] = {"max_differential_joins", INT4OID, HOME_DEFINITION, "max_differential_joins", NULL, ANY_INT, NULL},
	[PGT_OPT_MAX_FRACTION] = {"max_delta_fraction", FLOAT8OID, HOME_DEFINITION, "max_delta_fraction", NULL, 0, 1, NULL},
	[PGT_OPT_AUTO_THRESHOLD] = {"auto_threshold", FLOAT8OID, HOME_DEFINITION, "auto_threshold", NULL, 0, 1, NULL},
};

const PgtOption pgt_create_arguments[] = {
	PGT_OPT_NAME, PGT_OPT_QUERY, PGT_OPT_SCHEDULE, PGT_OPT_REFRESH_MODE, PGT_OPT_INITIALIZE, PGT_OPT_DIAMOND_CONSISTENCY,
	PGT_OPT_DIAMOND_POLICY, PGT_OPT_CDC_MODE, PGT_OPT_APPEND_ONLY, PGT_OPT_POOLER, PGT_OPT_PARTITION_BY, PGT_OPT_MAX_JOINS,
	PGT_OPT_MAX_FRACTION};
const int pgt_create_nargs = lengthof(pgt_create_arguments);

const PgtOption pgt_alter_arguments[] = {
	PGT_OPT_NAME, PGT_OPT_QUERY, PGT_OPT_SCHEDULE, PGT_OPT_REFRESH_MODE, PGT_OPT_STATUS,
	PGT_OPT_DIAMOND_CONSISTENCY, PGT_OPT_DIAMOND_POLICY, PGT_OPT_CDC_MODE, PGT_OPT_APPEND_ONLY, PGT_OPT_POOLER,
	PGT_OPT_TIER, PGT_OPT_FUSE, PGT_OPT_FUSE_CEILING, PGT_OPT_FUSE_SENSITIVITY, PGT_OPT_PARTITION_BY,
	PGT_OPT_MAX_JOINS, PGT_OPT_MAX_FRACTION, PGT_OPT_AUTO_THRESHOLD};
const int pgt_alter_nargs = lengthof(pgt_alter_arguments);

/* ---------- checks ---------- */

static void
check_schedule(char **text)
{
	int64_t millis;
	PgtComplaint why;
	PgtScheduleKind kind = pgt_schedule_check(*text, &millis, &why);

	if (kind == PGT_SCHEDULE_BAD)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid schedule \"%s\": %s", *text, why.text),
				 errhint("Use a duration such as '500ms', '30s' or '1h30m', a cron expression such as '*/5 * * * *' or '@hourly', 'continuous', or 'calculated'.")));
	if (kind == PGT_SCHEDULE_DURATION && millis < pgt_guc_min_schedule_seconds * 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("schedule \"%s\" is shorter than pg_trickle.min_schedule_seconds", *text),
				 errdetail("The shortest interval allowed is %g s.", pgt_guc_min_schedule_seconds),
				 errhint("Ask for a longer interval, use 'continuous', or have pg_trickle.min_schedule_seconds lowered.")));
	if (kind == PGT_SCHEDULE_CALCULATED)
		*text = NULL;
}

static void
check_refresh_mode(char **text)
{
	if (pg_strcasecmp(*text, "IMMEDIATE") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("refresh mode IMMEDIATE is not supported"),
				 errdetail("Changes are captured from the WAL, after their transactions have committed."),
				 errhint("Use schedule => 'continuous', and pgtrickle.wait_for() where a session must read its own writes.")));
}

static void
check_cdc_mode(char **text)
{
	if (pg_strcasecmp(*text, "trigger") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cdc_mode \"trigger\" is not supported"),
				 errdetail("Changes are captured from the WAL; nothing is attached to source tables."),
				 errhint("Leave cdc_mode out, or use 'wal'.")));
}

static void
check_partition_by(char **text)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("partitioned stream tables are not supported"),
			 errhint("Leave partition_by out.")));
}

/* "a b c" as "a, b, c" */
static char *
listed(const char *words)
{
	StringInfoData list;

	initStringInfo(&list);
	for (; *words != '\0'; words++)
	{
		if (*words == ' ')
			appendStringInfoChar(&list, ',');
		appendStringInfoChar(&list, *words);
	}
	return list.data;
}

/* The word of the list that `text` is, in the list's spelling. */
static char *
check_word(const OptionRule *rule, const char *text)
{
	const char *at = rule->words;

	while (*at != '\0')
	{
		size_t len = strcspn(at, " ");

		if (strlen(text) == len && pg_strncasecmp(text, at, len) == 0)
			return pnstrdup(at, len);
		at += len;
		at += strspn(at, " ");
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for %s: \"%s\"", rule->name, text),
			 errhint("Possible values are: %s.", listed(rule->words))));
}

static char *
check_text(const OptionRule *rule, char *text)
{
	if (rule->check)
		rule->check(&text);
	return text && rule->words ? check_word(rule, text) : text;
}

static void
check_number(const OptionRule *rule, double number)
{
	if (isnan(number) || number < rule->min || number > rule->max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s: %g", rule->name, number),
				 rule->max < PG_INT32_MAX ? errhint("The value must be between %g and %g.", rule->min, rule->max)
										  : errhint("The value must be %g or more.", rule->min)));
}

/* ---------- reading ---------- */

static void
set_option(PgtOptions *options, PgtOption option, Datum value)
{
	const OptionRule *rule = &rules[option];

	switch (rule->type)
	{
		case TEXTOID:
			value = CStringGetDatum(check_text(rule, DatumGetCString(value)));
			break;
		case INT4OID:
			check_number(rule, DatumGetInt32(value));
			break;
		case INT8OID:
			check_number(rule, (double) DatumGetInt64(value));
			break;
		case FLOAT8OID:
			check_number(rule, DatumGetFloat8(value));
			break;
	}
	options->set[option] = true;
	options->value[option] = value;
}

void
pgt_options_from_call(PgtOptions *options, FunctionCallInfo fcinfo, const PgtOption *arguments, int nargs)
{
	memset(options, 0, sizeof(*options));
	for (int i = 0; i < nargs && i < PG_NARGS(); i++)
	{
		Datum value;

		if (PG_ARGISNULL(i))
			continue;
		value = PG_GETARG_DATUM(i);
		if (rules[arguments[i]].type == TEXTOID)
			value = CStringGetDatum(text_to_cstring(DatumGetTextPP(value)));
		set_option(options, arguments[i], value);
	}
}

static Datum
from_text(const OptionRule *rule, const char *value)
{
	switch (rule->type)
	{
		case BOOLOID:
			return DirectFunctionCall1(boolin, CStringGetDatum(value));
		case INT4OID:
			return DirectFunctionCall1(int4in, CStringGetDatum(value));
		case INT8OID:
			return DirectFunctionCall1(int8in, CStringGetDatum(value));
		case FLOAT8OID:
			return DirectFunctionCall1(float8in, CStringGetDatum(value));
		default:
			return CStringGetDatum(pstrdup(value));
	}
}

void
pgt_options_from_text(PgtOptions *options, const char *name, const char *value, const PgtOption *arguments, int nargs)
{
	for (int i = 0; i < nargs; i++)
	{
		const OptionRule *rule = &rules[arguments[i]];

		if (strcmp(rule->name, name) != 0)
			continue;
		if (value != NULL)
			set_option(options, arguments[i], from_text(rule, value));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", name),
			 errhint("The options are the argument names of pgtrickle.create_stream_table.")));
}

void
pgt_options_defaults(PgtOptions *options)
{
	if (!options->set[PGT_OPT_SCHEDULE])
		set_option(options, PGT_OPT_SCHEDULE, CStringGetDatum(pstrdup("calculated")));
	if (!options->set[PGT_OPT_REFRESH_MODE])
		set_option(options, PGT_OPT_REFRESH_MODE, CStringGetDatum(pstrdup("AUTO")));
}

/* ---------- asking ---------- */

char *
pgt_option_text(const PgtOptions *options, PgtOption option)
{
	return options->set[option] ? DatumGetCString(options->value[option]) : NULL;
}

bool
pgt_option_bool(const PgtOptions *options, PgtOption option, bool otherwise)
{
	return options->set[option] ? DatumGetBool(options->value[option]) : otherwise;
}

bool
pgt_option_equal(const PgtOptions *a, const PgtOptions *b, PgtOption option)
{
	const char *x = pgt_option_text(a, option);
	const char *y = pgt_option_text(b, option);

	if (rules[option].type == TEXTOID)
		return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
	if (a->set[option] != b->set[option])
		return false;
	if (rules[option].type == FLOAT8OID)
		return DatumGetFloat8(a->value[option]) == DatumGetFloat8(b->value[option]);
	return a->value[option] == b->value[option];
}

void
pgt_options_definition_row(const PgtOptions *options, PgtRow *row)
{
	for (int i = 0; i < PGT_OPT_COUNT; i++)
	{
		const OptionRule *rule = &rules[i];

		if (!options->set[i] || rule->home != HOME_DEFINITION)
			continue;
		if (rule->type == TEXTOID)
			pgt_row_text(row, rule->column, DatumGetCString(options->value[i]));
		else
			pgt_row_add(row, rule->column, rule->type, options->value[i], false);
	}
}

static char *
stored_text(const PgtStreamTable *st, PgtOption option)
{
	const OptionRule *rule = &rules[option];

	if (option == PGT_OPT_NAME)
		return quote_qualified_identifier(st->schema, st->name);
	if (option == PGT_OPT_QUERY)
		return st->original_query;
	if (rule->home == HOME_NONE)
		return NULL;
	return pgt_catalog_value(psprintf("SELECT %s FROM pgtrickle.pgt_definitions WHERE pgt_id = $1", rule->column), st->id);
}

void
pgt_options_stored(PgtOptions *options, const PgtStreamTable *st, const PgtOption *arguments, int nargs)
{
	memset(options, 0, sizeof(*options));
	for (int i = 0; i < nargs; i++)
	{
		char *value = stored_text(st, arguments[i]);

		if (value == NULL)
			continue;
		options->set[arguments[i]] = true;
		options->value[arguments[i]] = from_text(&rules[arguments[i]], value);
	}
}

char *
pgt_option_literal(const PgtOptions *options, PgtOption option)
{
	Datum value = options->value[option];

	if (!options->set[option])
		return NULL;
	switch (rules[option].type)
	{
		case BOOLOID:
			return DatumGetBool(value) ? "true" : "false";
		case INT4OID:
			return psprintf("%d", DatumGetInt32(value));
		case INT8OID:
			return psprintf(INT64_FORMAT, DatumGetInt64(value));
		case FLOAT8OID:
			return psprintf("%.17g", DatumGetFloat8(value));
		default:
			return DatumGetCString(value) ? quote_literal_cstr(DatumGetCString(value)) : NULL;
	}
}

const char *
pgt_option_name(PgtOption option)
{
	return rules[option].name;
}
