/*
 * diag.c - the diagnostics that SQL cannot do: resolving a name, and asking the compiler.
 *
 * Everything else is SQL (sql/50_diagnostics.sql).  These functions read and never change anything; pgt_definitions is readable by
 * everyone, so they need no privilege on the ST.  The exception is explain_delta with analyze (diag_analyze.c).
 *
 * Compiling evaluates immutable functions of the query.  So it happens as the ST's owner in a security-restricted
 * operation, exactly as a refresh does: the caller's rights are never lent to the owner's functions, nor the extension's.
 * No locks beyond what parse analysis takes (AccessShare on the relations of the query).
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "catalog.h"
#include "compat.h"
#include "diag.h"
#include "settings.h"
#include "storage.h"
#include "view.h"

PG_FUNCTION_INFO_V1(pgt_diag_st_id);
PG_FUNCTION_INFO_V1(pgt_diag_compiler_hint);
PG_FUNCTION_INFO_V1(pgt_diag_explain_delta);

/* One section of explain_delta: the program for one set of changed sources, under a title for people. */
typedef struct DiagSection
{
	char *title;
	PgtProgram *program;
} DiagSection;

static PgtStreamTable *
diag_st_arg(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("stream table name must not be null")));
	return pgt_st_by_name(text_to_cstring(PG_GETARG_TEXT_PP(argno)));
}

Datum
pgt_diag_st_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(diag_st_arg(fcinfo, 0)->id);
}

/*
 * The programs worth showing for `st`: one per source if it is incremental, else the recomputation.  Call within diag_compile.
 */
static List *
diag_sections(const PgtStreamTable *st, PgtView *view)
{
	PgtTarget target = {.st = quote_qualified_identifier(st->schema, st->name), .relid = st->relid, .inner = pgt_storage_inner_prefix(st->id)};
	List *sections = NIL;

	if (view->full_reason != NULL)
	{
		DiagSection *section = palloc0(sizeof(DiagSection));

		section->title = psprintf("not incremental: %s", view->full_reason);
		section->program = pgt_view_diff_program(view, &target);
		return list_make1(section);
	}
	for (int i = 0; i < view->nsources; i++)
	{
		DiagSection *section = palloc0(sizeof(DiagSection));
		Oid relid = view->sources[i].relid;

		section->title = psprintf("changes in %s",
								  quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid)));
		section->program = pgt_view_delta_program(view, &target, bms_make_singleton(i));
		sections = lappend(sections, section);
	}
	return sections;
}

/* Compile as the ST's owner; with `sections` also make the programs to show. */
static PgtView *
diag_compile(const PgtStreamTable *st, List **sections)
{
	PgtOwnerScope scope = pgt_owner_begin(st);
	PgtView *view = pgt_view_compile(st->query);

	if (sections != NULL)
		*sections = diag_sections(st, view);
	pgt_owner_end(scope);
	return view;
}

Datum
pgt_diag_compiler_hint(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = pgt_st_by_id(PG_GETARG_INT64(0));
	PgtView *view;

	if (st == NULL)
		PG_RETURN_NULL();
	view = diag_compile(st, NULL);
	if (view->full_hint == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(view->full_hint));
}

const char *
pgt_diag_step_kind(PgtStepKind kind)
{
	switch (kind)
	{
		case PGT_STEP_ENR:
			return "delta";
		case PGT_STEP_OUT:
			return "out";
		case PGT_STEP_TIME:
			return "time";
		case PGT_STEP_DML:
			return "apply";
	}
	return "unknown";
}

void
pgt_diag_put(ReturnSetInfo *rsinfo, const char *line)
{
	Datum value = CStringGetTextDatum(line);
	bool isnull = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
}

static void
diag_emit_text(ReturnSetInfo *rsinfo, List *sections)
{
	ListCell *lc;

	foreach (lc, sections)
	{
		DiagSection *section = lfirst(lc);
		ListCell *sc;

		pgt_diag_put(rsinfo, psprintf("-- %s, strategy %s", section->title, section->program->strategy));
		foreach (sc, section->program->steps)
		{
			PgtStep *step = lfirst(sc);

			pgt_diag_put(rsinfo, psprintf("-- step %d: %s%s%s", foreach_current_index(sc) + 1, pgt_diag_step_kind(step->kind),
										  step->name != NULL ? " " : "", step->name != NULL ? step->name : ""));
			pgt_diag_put(rsinfo, step->sql);
		}
	}
}

void
pgt_diag_json_field(StringInfo buf, const char *key, const char *value)
{
	escape_json(buf, key);
	appendStringInfoString(buf, ": ");
	if (value != NULL)
		escape_json(buf, value);
	else
		appendStringInfoString(buf, "null");
}

static void
diag_json_section(StringInfo buf, const DiagSection *section)
{
	ListCell *sc;

	appendStringInfoChar(buf, '{');
	pgt_diag_json_field(buf, "for", section->title);
	appendStringInfoString(buf, ", ");
	pgt_diag_json_field(buf, "strategy", section->program->strategy);
	appendStringInfoString(buf, ", \"steps\": [");
	foreach (sc, section->program->steps)
	{
		PgtStep *step = lfirst(sc);

		appendStringInfoString(buf, foreach_current_index(sc) > 0 ? ", {" : "{");
		pgt_diag_json_field(buf, "kind", pgt_diag_step_kind(step->kind));
		appendStringInfoString(buf, ", ");
		pgt_diag_json_field(buf, "name", step->name);
		appendStringInfoString(buf, ", ");
		pgt_diag_json_field(buf, "sql", step->sql);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoString(buf, "]}");
}

static void
diag_emit_json(ReturnSetInfo *rsinfo, List *sections)
{
	StringInfoData buf;
	ListCell *lc;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	foreach (lc, sections)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(&buf, ", ");
		diag_json_section(&buf, lfirst(lc));
	}
	appendStringInfoChar(&buf, ']');
	pgt_diag_put(rsinfo, buf.data);
}

Datum
pgt_diag_explain_delta(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = diag_st_arg(fcinfo, 0);
	char *format = PG_ARGISNULL(1) ? pstrdup("text") : text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool json = pg_strcasecmp(format, "json") == 0;
	List *sections = NIL;

	if (!json && pg_strcasecmp(format, "text") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown format \"%s\"", format),
				 errhint("The formats are \"text\" and \"json\".")));
	if (!PG_ARGISNULL(2) && PG_GETARG_BOOL(2))
	{
		InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
		pgt_diag_analyze((ReturnSetInfo *) fcinfo->resultinfo, st, json);
		return (Datum) 0;
	}
	(void) diag_compile(st, &sections);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (json)
		diag_emit_json((ReturnSetInfo *) fcinfo->resultinfo, sections);
	else
		diag_emit_text((ReturnSetInfo *) fcinfo->resultinfo, sections);
	return (Datum) 0;
}
