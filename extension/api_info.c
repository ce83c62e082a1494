/*
 * api_info.c - export_definition and validate_query: what an ST is, and what a query would become.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "api.h"
#include "attempt.h"
#include "compat.h"
#include "rewire.h"
#include "source.h"

PG_FUNCTION_INFO_V1(pgt_export_definition);
PG_FUNCTION_INFO_V1(pgt_validate_query);

/* ---------- export ---------- */

/* Everything the query's meaning depends on. */
#define SETTINGS_SCRIPT                                                                                                      \
	"SELECT 'SELECT pg_catalog.set_config(name, value, false) FROM (VALUES' || E'\\n    ' ||"                                \
	" pg_catalog.string_agg(pg_catalog.format('(%L, %L)', key, value), E',\\n    ' ORDER BY key) || ') AS s (name, value);'" \
	" FROM (SELECT * FROM pg_catalog.jsonb_each_text("                                                                       \
	" (SELECT settings FROM pgtrickle.pgt_definitions WHERE pgt_id = $1))"                                                   \
	" UNION ALL SELECT 'search_path', creation_search_path FROM pgtrickle.pgt_definitions"                                   \
	" WHERE pgt_id = $1 AND creation_search_path IS NOT NULL) AS s (key, value)"

/* "pgtrickle.f(name => ..., option => ...)" with the set options of `arguments` beyond `skip`. */
static void
append_call(StringInfo sql, const char *function, const PgtOptions *options, const PgtOption *arguments, int nargs)
{
	const char *comma = "";

	appendStringInfo(sql, "SELECT pgtrickle.%s(", function);
	for (int i = 0; i < nargs; i++)
	{
		char *literal = pgt_option_literal(options, arguments[i]);

		if (literal == NULL)
			continue;
		appendStringInfo(sql, "%s\n    %s => %s", comma, pgt_option_name(arguments[i]), literal);
		comma = ",";
	}
	appendStringInfoString(sql, ");\n");
}

/* Leave out what a new ST has anyway, and, but for the name, what is in `others`.  True when anything but the name is left. */
static bool
only_interesting(PgtOptions *options, const PgtOption *others, int nothers)
{
	static const char *const defaults[PGT_OPT_COUNT] = {
		[PGT_OPT_REFRESH_MODE] = "'AUTO'",
		[PGT_OPT_DIAMOND_CONSISTENCY] = "'atomic'",
		[PGT_OPT_DIAMOND_POLICY] = "'fastest'",
		[PGT_OPT_APPEND_ONLY] = "false",
		[PGT_OPT_POOLER] = "false",
		[PGT_OPT_TIER] = "'hot'",
		[PGT_OPT_FUSE] = "'off'",
	};
	bool any = false;

	for (int i = 0; i < nothers; i++)
		options->set[others[i]] &= others[i] == PGT_OPT_NAME;
	for (int i = 0; i < PGT_OPT_COUNT; i++)
	{
		char *literal = pgt_option_literal(options, i);

		if (literal != NULL && defaults[i] != NULL && strcmp(literal, defaults[i]) == 0)
			options->set[i] = false;
		any |= options->set[i] && i != PGT_OPT_NAME;
	}
	return any;
}

Datum
pgt_export_definition(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = pgt_st_argument(fcinfo);
	PgtOptions options;
	StringInfoData sql;
	char *settings = pgt_catalog_value(SETTINGS_SCRIPT, st->id);

	initStringInfo(&sql);
	appendStringInfo(&sql, "-- stream table %s, pg_trickle %s\n", pgt_st_label(st), PGT_VERSION);
	if (settings != NULL)
		appendStringInfo(&sql, "%s\n", settings);
	pgt_options_stored(&options, st, pgt_create_arguments, pgt_create_nargs);
	(void) only_interesting(&options, NULL, 0);
	append_call(&sql, "create_stream_table", &options, pgt_create_arguments, pgt_create_nargs);
	pgt_options_stored(&options, st, pgt_alter_arguments, pgt_alter_nargs);
	if (only_interesting(&options, pgt_create_arguments, pgt_create_nargs))
		append_call(&sql, "alter_stream_table", &options, pgt_alter_arguments, pgt_alter_nargs);
	PG_RETURN_TEXT_P(cstring_to_text(sql.data));
}

/* ---------- validation ---------- */

typedef struct Validation
{
	ReturnSetInfo *out;
	const char *query;
	PgtView *view;
} Validation;

static void
report(Validation *v, const char *check, const char *severity, const char *result)
{
	Datum values[3] = {CStringGetTextDatum(check), CStringGetTextDatum(result), CStringGetTextDatum(severity)};
	bool nulls[3] = {false, false, false};

	tuplestore_putvalues(v->out->setResult, v->out->setDesc, values, nulls);
}

static void
compile(void *validation)
{
	Validation *v = validation;

	v->view = pgt_wire_compile(v->query);
}

static void
check_sources(void *validation)
{
	pgt_wire_check(((Validation *) validation)->view, GetUserId());
}

/* Run one step in a subtransaction that is always undone; its error becomes a row. */
static bool
passes(Validation *v, const char *check, void (*step)(void *validation))
{
	ErrorData *edata = pgt_rehearse(step, v);

	if (edata == NULL)
		return true;
	if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(edata);
	report(v, check, "ERROR", psprintf("%s (SQLSTATE %s)%s%s%s%s", edata->message, unpack_sql_state(edata->sqlerrcode), edata->detail ? ". " : "", edata->detail ? edata->detail : "", edata->hint ? " Hint: " : "", edata->hint ? edata->hint : ""));
	return false;
}

static char *
source_names(const PgtView *view)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < view->nsources; i++)
		appendStringInfo(&names, "%s%s", i ? ", " : "",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(view->sources[i].relid)),
													get_rel_name(view->sources[i].relid)));
	return names.len ? names.data : "none: the query reads no table";
}

static void
report_view(Validation *v)
{
	PgtView *view = v->view;
	int visible = 0;
	ListCell *lc;

	for (int i = 0; i < view->ncolumns; i++)
		visible += !view->columns[i].hidden;
	report(v, "columns", "INFO", psprintf("%d visible, %d hidden", visible, view->ncolumns - visible));
	report(v, "row_identity", "INFO", view->keyed ? "rows have a key" : "a bag: rows may be alike");
	if (view->full_reason == NULL)
		report(v, "incremental", "INFO", "yes: refreshes apply what changed");
	else
		report(v, "incremental", "WARNING", psprintf("no: %s%s%s", view->full_reason, view->full_hint ? " Hint: " : "", view->full_hint ? view->full_hint : ""));
	foreach (lc, view->notices)
		report(v, "canonical_form", "INFO", (const char *) lfirst(lc));
}

Datum
pgt_validate_query(PG_FUNCTION_ARGS)
{
	Validation v = {(ReturnSetInfo *) fcinfo->resultinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL};

	InitMaterializedSRF(fcinfo, 0);
	if (!passes(&v, "query", compile))
		return (Datum) 0;
	report(&v, "query", "INFO", "understood");
	if (passes(&v, "sources", check_sources))
		report(&v, "sources", "INFO", source_names(v.view));
	report_view(&v);
	return (Datum) 0;
}
