/*
 * api_alter.c - alter_stream_table, and suspending and resuming.
 *
 * Options are single columns of the catalog.  A new query is more: it is compiled under the caller's search_path and settings, which
 * become the ST's; the table stays as it is when columns and indexes stay the same, else it is reshaped in place, so that
 * its OID, grants and the views on columns that remain survive.  Readers of a reshaped ST are compiled anew; one that cannot
 * be makes the whole ALTER fail.
 *
 * Locks: the ST against refreshes, then whatever wiring and reshaping take.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "api.h"
#include "compat.h"
#include "rewire.h"
#include "settings.h"
#include "storage.h"

PG_FUNCTION_INFO_V1(pgt_alter_stream_table);
PG_FUNCTION_INFO_V1(pgt_suspend_stream_table);
PG_FUNCTION_INFO_V1(pgt_resume_stream_table);

/* ---------- a new query ---------- */

static void
check_cycle(const PgtStreamTable *st, const PgtView *view)
{
	List *downstream = pgt_wire_downstream(st->relid);

	for (int i = 0; i < view->nsources; i++)
	{
		const PgtViewSource *source = &view->sources[i];
		bool cycle = source->relid == st->relid;
		ListCell *lc;

		foreach (lc, downstream)
			cycle |= source->is_stream_table && *(int64 *) lfirst(lc) == source->pgt_id;
		if (cycle)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("stream table %s would read its own rows", pgt_st_label(st)),
					 source->relid == st->relid ? 0
												: errdetail("It is read by %s, directly or through other stream tables.", pgt_st_label(pgt_st_by_id(source->pgt_id))),
					 errhint("A cycle of stream tables is not supported; recursive queries are written WITH RECURSIVE.")));
	}
}

static void
rewire_readers(const PgtStreamTable *st)
{
	ListCell *lc;

	foreach (lc, pgt_st_readers(st->relid))
	{
		int64 id = *(int64 *) lfirst(lc);
		char *error = NULL;

		if (!pgt_rewire_try(id, PGT_REWIRE_TEXT, "the columns of a stream table it reads changed", &error))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("stream table %s cannot read the new columns of %s", pgt_st_label(pgt_st_by_id(id)), pgt_st_label(st)),
					 errdetail("%s", error),
					 errhint("Alter or drop it first.")));
	}
}

/* Its contents are not those of its query any more. */
static void
mark_unfilled(int64 id)
{
	(void) pgt_catalog_value("UPDATE pgtrickle.pgt_state SET is_populated = false,"
							 " status = CASE WHEN status = 'ACTIVE' THEN 'INITIALIZING' ELSE status END WHERE pgt_id = $1",
							 id);
}

static PgtRow
query_row(const PgtOptions *options)
{
	PgtRow row = {0};

	pgt_row_text(&row, "original_query", pgt_option_text(options, PGT_OPT_QUERY));
	pgt_row_jsonb(&row, "settings", pgt_settings_capture());
	pgt_row_text(&row, "creation_search_path", GetConfigOption("search_path", false, false));
	return row;
}

static void
alter_query(PgtStreamTable *st, const PgtOptions *options, bool append_only)
{
	PgtView *view = pgt_wire_compile(pgt_option_text(options, PGT_OPT_QUERY));
	char *mode = options->set[PGT_OPT_REFRESH_MODE] ? pgt_option_text(options, PGT_OPT_REFRESH_MODE) : st->refresh_mode;
	bool fits = pgt_wire_storage_fits(st, view);
	ListCell *lc;

	check_cycle(st, view);
	pgt_check_mode(mode, view->full_reason, view->full_hint);
	pgt_wire_check(view, pgt_relation_owner(st->relid));
	foreach (lc, view->notices)
		ereport(NOTICE, (errmsg("%s", (const char *) lfirst(lc))));

	if (!fits)
		pgt_storage_reshape(st->relid, view);
	pgt_wire(st->id, view, append_only);
	pgt_wire_definition(st, view, query_row(options));
	if (!fits)
	{
		pgt_storage_remake_buffer(st->id, st->relid);
		rewire_readers(st);
	}
	mark_unfilled(st->id);
	if (strcmp(st->status, "ACTIVE") == 0 || strcmp(st->status, "INITIALIZING") == 0)
		pgt_fill(st->id, view, true);
	else
		pgt_storage_create_indexes(st->relid, view);
}

/* ---------- everything else ---------- */

static void
alter_status(PgtStreamTable *st, const char *status)
{
	if (strcmp(status, "SUSPENDED") == 0)
		pgt_suspend(st);
	else if (strcmp(st->status, "SUSPENDED") == 0 || strcmp(st->status, "ERROR") == 0)
		pgt_resume(st);
}

void
pgt_alter(PgtStreamTable *st, const PgtOptions *options)
{
	PgtOptions stored;
	PgtRow definition = {0};
	bool append_only;

	pgt_st_check_owner(st);
	if (options->set[PGT_OPT_QUERY])
		pgt_wire_lock_change(st->id, pgt_wire_compile(pgt_option_text(options, PGT_OPT_QUERY)));
	st = pgt_st_lock(st);
	pgt_options_stored(&stored, st, pgt_alter_arguments, pgt_alter_nargs);
	append_only = pgt_option_bool(options, PGT_OPT_APPEND_ONLY, pgt_option_bool(&stored, PGT_OPT_APPEND_ONLY, false));

	pgt_options_definition_row(options, &definition);
	pgt_row_update(&definition, "pgt_definitions", st->id, ", updated_at = now()");

	if (options->set[PGT_OPT_QUERY])
		alter_query(st, options, append_only);
	else
	{
		if (options->set[PGT_OPT_REFRESH_MODE])
			pgt_check_mode(pgt_option_text(options, PGT_OPT_REFRESH_MODE), st->full_reason, NULL);
		if (append_only != pgt_option_bool(&stored, PGT_OPT_APPEND_ONLY, false))
			pgt_rewire(st->id, PGT_REWIRE_TREE, "append_only changed");
	}
	if (options->set[PGT_OPT_STATUS])
		alter_status(st, pgt_option_text(options, PGT_OPT_STATUS));
	pgt_catalog_notify();
}

Datum
pgt_alter_stream_table(PG_FUNCTION_ARGS)
{
	PgtOptions options;

	pgt_options_from_call(&options, fcinfo, pgt_alter_arguments, pgt_alter_nargs);
	pgt_alter(pgt_st_argument(fcinfo), &options);
	PG_RETURN_VOID();
}

/* ---------- suspend and resume ---------- */

void
pgt_suspend(PgtStreamTable *st)
{
	(void) pgt_catalog_value("UPDATE pgtrickle.pgt_state SET status = 'SUSPENDED' WHERE pgt_id = $1", st->id);
	pgt_catalog_notify();
}

/*
 * An ST that DDL broke comes back only when its query can be kept again: over the objects it used, or over those that have their names
 * now.  Raises otherwise.
 */
static void
mend(PgtStreamTable *st)
{
	char *error = NULL;

	if (pgt_catalog_value("SELECT 1 FROM pgtrickle.pgt_state WHERE pgt_id = $1 AND last_error_state = '2BP01'", st->id) != NULL &&
		!pgt_rewire_try(st->id, PGT_REWIRE_TREE, "resumed after DDL", &error))
		pgt_rewire(st->id, PGT_REWIRE_TEXT, "resumed after DDL");
}

void
pgt_resume(PgtStreamTable *st)
{
	if (strcmp(st->status, "SUSPENDED") != 0 && strcmp(st->status, "ERROR") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream table %s is not suspended", pgt_st_label(st)),
				 errdetail("Its status is %s.", st->status)));
	mend(st);
	(void) pgt_catalog_value("UPDATE pgtrickle.pgt_state SET status = CASE WHEN is_populated THEN 'ACTIVE' ELSE 'INITIALIZING' END,"
							 " consecutive_errors = 0, last_error_message = NULL, last_error_state = NULL, last_error_at = NULL"
							 " WHERE pgt_id = $1",
							 st->id);
	(void) pgt_catalog_value(psprintf("SELECT pg_catalog.pg_notify('pg_trickle_alert', pg_catalog.json_build_object('event', 'resumed',"
									  " 'schema', pgt_schema, 'name', pgt_name, 'previous_status', %s)::text)"
									  " FROM pgtrickle.pgt_definitions WHERE pgt_id = $1",
									  quote_literal_cstr(st->status)),
							 st->id);
	pgt_catalog_notify();
}

Datum
pgt_suspend_stream_table(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = pgt_st_argument(fcinfo);

	pgt_st_check_owner(st);
	pgt_suspend(pgt_st_lock(st));
	PG_RETURN_VOID();
}

Datum
pgt_resume_stream_table(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = pgt_st_argument(fcinfo);

	pgt_st_check_owner(st);
	pgt_resume(pgt_st_lock(st));
	PG_RETURN_VOID();
}
