/*
 * compile_sql.c - the compiler's SQL functions.
 *
 * _compile() shows what the compiler makes of a query, for tests and for explaining: one row per item, the view's properties,
 * then the steps of the load, diff and delta programs for an ST of the given name.  It reads catalogs only.
 *
 * _expect_rows() and _expect_count() stand inside generated statements: an ST that does not hold what a delta takes away has
 * drifted (somebody wrote it by hand), and the refresh must fail rather than make it worse.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/ruleutils.h"

#include "deparse.h"
#include "view.h"

PG_FUNCTION_INFO_V1(pgt_compile);
PG_FUNCTION_INFO_V1(pgt_expect_rows);
PG_FUNCTION_INFO_V1(pgt_expect_count);

typedef struct Out
{
	ReturnSetInfo *rsi;
} Out;

static void
put(Out *out, const char *section, const char *kind, const char *name, const char *sql)
{
	Datum values[4];
	bool nulls[4] = {false, kind == NULL, name == NULL, sql == NULL};

	values[0] = CStringGetTextDatum(section);
	values[1] = kind == NULL ? (Datum) 0 : CStringGetTextDatum(kind);
	values[2] = name == NULL ? (Datum) 0 : CStringGetTextDatum(name);
	values[3] = sql == NULL ? (Datum) 0 : CStringGetTextDatum(sql);
	tuplestore_putvalues(out->rsi->setResult, out->rsi->setDesc, values, nulls);
}

/* "enr", "enr?" if the program ends when it is empty; then ":" and the ENRs it needs. */
static char *
kind_of(const PgtStep *step)
{
	static const char *const kinds[] = {"enr", "out", "time", "dml"};
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	appendStringInfo(&s, "%s%s", kinds[step->kind], step->skip_if_empty ? "?" : "");
	foreach (lc, step->needs)
		appendStringInfo(&s, "%s%s", foreach_current_index(lc) > 0 ? "," : ":", (char *) lfirst(lc));
	return s.data;
}

static void
put_program(Out *out, const char *section, PgtProgram *program)
{
	ListCell *lc;

	put(out, section, "strategy", program->strategy, NULL);
	foreach (lc, program->steps)
	{
		PgtStep *step = lfirst(lc);

		put(out, section, kind_of(step), step->name, step->sql);
	}
}

static void
put_sources(Out *out, PgtView *view)
{
	for (int i = 0; i < view->nsources; i++)
	{
		StringInfoData s;
		ListCell *lc;

		initStringInfo(&s);
		foreach (lc, view->sources[i].attnums)
			appendStringInfo(&s, "%s%d", foreach_current_index(lc) > 0 ? "," : "", lfirst_int(lc));
		put(out, "view", "source", psprintf("%u", view->sources[i].relid), s.data);
	}
}

static char *
column_type(const PgtViewColumn *col)
{
	char *type = pgt_type_name(col->type, col->typmod);

	if (!OidIsValid(col->collation) || col->collation == DEFAULT_COLLATION_OID)
		return type;
	return psprintf("%s COLLATE %s", type, generate_collation_name(col->collation));
}

/* An inner table's columns, then its indexes. */
static void
put_inner(Out *out, const PgtInnerTable *table, int number)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	for (int i = 0; i < table->ncolumns; i++)
		appendStringInfo(&s, "%s%s %s", i > 0 ? ", " : "", table->columns[i].name, column_type(&table->columns[i]));
	put(out, "view", "inner", psprintf("%d", number), s.data);
	foreach (lc, table->indexes)
		put(out, "view", "inner_index", psprintf("%d", number), lfirst(lc));
}

static void
put_view(Out *out, PgtView *view)
{
	ListCell *lc;

	put(out, "view", "query", NULL, view->query);
	put(out, "view", "full_reason", NULL, view->full_reason);
	put(out, "view", "full_hint", NULL, view->full_hint);
	put_sources(out, view);
	for (int i = 0; i < view->ncolumns; i++)
		put(out, "view", view->columns[i].hidden ? "hidden" : "column", view->columns[i].name,
			column_type(&view->columns[i]));
	if (view->clocked && view->full_reason == NULL)
		put(out, "view", "clock", psprintf("%d", view->nsources), view->crossing_sql);
	foreach (lc, view->indexes)
		put(out, "view", "index", NULL, lfirst(lc));
	for (int i = 0; i < view->ninners; i++)
		put_inner(out, &view->inners[i], i + 1);
	foreach (lc, view->notices)
		put(out, "view", "notice", NULL, lfirst(lc));
}

/* _compile(query text, target text, changed int[]) -> setof (section, kind, name, sql) */
Datum
pgt_compile(PG_FUNCTION_ARGS)
{
	Out out = {(ReturnSetInfo *) fcinfo->resultinfo};
	PgtView *view = pgt_view_compile(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char *st = text_to_cstring(PG_GETARG_TEXT_PP(1));
	PgtTarget target = {.st = st, .inner = psprintf("%s_inner", st)};
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(2);
	Datum *elems;
	int nelems;
	int level;
	Bitmapset *changed = NULL;

	InitMaterializedSRF(fcinfo, 0);
	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &elems, NULL, &nelems);
	for (int i = 0; i < nelems; i++)
		changed = bms_add_member(changed, DatumGetInt32(elems[i]));
	level = pgt_path_push();
	put_view(&out, view);
	pgt_path_pop(level);
	put(&out, "verify", NULL, NULL, pgt_view_verify_sql(view, &target));
	put_program(&out, "load", pgt_view_load_program(view, &target));
	put_program(&out, "diff", pgt_view_diff_program(view, &target));
	if (view->full_reason == NULL && changed != NULL)
		put_program(&out, "delta", pgt_view_delta_program(view, &target, changed));
	return (Datum) 0;
}

static void
report_drift(int64 expected, int64 found)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("the stream table does not hold the rows that the change takes away"),
					errdetail("Expected " INT64_FORMAT ", found " INT64_FORMAT ".", expected, found),
					errhint("Somebody else has written to it.  A FULL refresh compares it with its query and repairs it.")));
}

/* _expect_rows(tids tid[], n bigint) -> tids, when there are n of them */
Datum
pgt_expect_rows(PG_FUNCTION_ARGS)
{
	ArrayType *tids = PG_GETARG_ARRAYTYPE_P(0);
	int64 found = ArrayGetNItems(ARR_NDIM(tids), ARR_DIMS(tids));

	if (found != PG_GETARG_INT64(1))
		report_drift(PG_GETARG_INT64(1), found);
	PG_RETURN_ARRAYTYPE_P(tids);
}

/* _expect_count(n bigint) -> n, when it is a count */
Datum
pgt_expect_count(PG_FUNCTION_ARGS)
{
	int64 n = PG_GETARG_INT64(0);

	if (n < 0)
		report_drift(0, n);
	PG_RETURN_INT64(n);
}
