/*
 * api_create.c - create_stream_table and its relatives.
 *
 * Everything happens in the caller's transaction, with the caller's rights except for the catalog and the buffers: compile,
 * check, make the table, write the catalog, register the sources (SHARE ROW EXCLUSIVE on them from here to the end of the
 * transaction), load, index.  An error anywhere leaves nothing.
 *
 * The first load is done here when the sources are small and there is a slot that captures what comes after it; otherwise the
 * consumer does it.  Without a slot the table is filled all the same, so that a trial needs no consumer, but stays marked:
 * nothing captures the changes in between.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "api.h"
#include "compat.h"
#include "guc.h"
#include "plancache.h"
#include "refresh.h"
#include "rewire.h"
#include "settings.h"
#include "source.h"
#include "storage.h"

PG_FUNCTION_INFO_V1(pgt_create_stream_table);
PG_FUNCTION_INFO_V1(pgt_create_stream_table_if_not_exists);
PG_FUNCTION_INFO_V1(pgt_create_or_replace_stream_table);

void
pgt_check_mode(const char *refresh_mode, const char *full_reason, const char *full_hint)
{
	if (full_reason == NULL)
		return;
	if (strcmp(refresh_mode, "DIFFERENTIAL") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the query cannot be refreshed differentially: %s", full_reason),
				 errhint("%s", full_hint ? full_hint : "Use refresh_mode => 'AUTO' or 'FULL'.")));
	ereport(NOTICE,
			(errmsg("the query is not maintained incrementally: %s", full_reason),
			 errdetail("Every refresh that finds a change runs the whole query and applies the difference."),
			 full_hint ? errhint("%s", full_hint) : 0));
}

/* ---------- the first load ---------- */

static int64
relation_bytes(Oid relid)
{
	int64 total = 0;
	ListCell *lc;

	foreach (lc, pgt_source_family(relid, NoLock))
		total += DatumGetInt64(DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(lfirst_oid(lc))));
	return total;
}

static int64
sources_bytes(const PgtView *view)
{
	int64 total = 0;

	for (int i = 0; i < view->nsources; i++)
		total += relation_bytes(view->sources[i].relid);
	return total;
}

/* An upstream that has not been filled yet: what it will get arrives as its delta, or by the consumer's first load. */
static PgtStreamTable *
empty_upstream(const PgtView *view)
{
	for (int i = 0; i < view->nsources; i++)
	{
		PgtStreamTable *upstream = view->sources[i].is_stream_table ? pgt_st_by_id(view->sources[i].pgt_id) : NULL;

		if (upstream != NULL && !upstream->is_populated)
			return upstream;
	}
	return NULL;
}

static bool
slot_exists(void)
{
	return pgt_catalog_value("SELECT 1 FROM pgtrickle.pgt_slot s JOIN pg_catalog.pg_replication_slots r USING (slot_name)"
							 " WHERE r.database = pg_catalog.current_database() AND $1 = 0",
							 0) != NULL;
}

/* Why the ST is not filled by its creating transaction, NULL if it is. */
static char *
reason_to_wait(int64 pgt_id, const PgtView *view)
{
	PgtStreamTable *upstream = empty_upstream(view);

	if (upstream != NULL)
		return psprintf("Stream table %s, which it reads, has not been filled yet.", pgt_st_label(upstream));
	if (sources_bytes(view) > (int64) pgt_guc_sync_load_limit * 1024)
		return psprintf("The sources are larger than pg_trickle.sync_load_limit (%d kB).", pgt_guc_sync_load_limit);
	return pgt_catalog_value("SELECT pg_catalog.initcap(pg_catalog.left(h.reason, 1)) || pg_catalog.substr(h.reason, 2) || '.'"
							 " FROM pgtrickle._held() h WHERE h.pgt_id = $1 LIMIT 1",
							 pgt_id);
}

void
pgt_fill(int64 pgt_id, const PgtView *view, bool initialize)
{
	PgtStreamTable *st = pgt_st_by_id(pgt_id);
	char *wait = initialize ? reason_to_wait(pgt_id, view) : NULL;

	if (wait != NULL)
		ereport(NOTICE,
				(errmsg("stream table %s will be filled in the background", pgt_st_label(st)),
				 errdetail("%s", wait),
				 errhint("trickle-consumer fills it as soon as this transaction has committed; pgtrickle.refresh_stream_table() does so at once.")));
	if (!initialize || wait != NULL)
	{
		/* deltas need the unique index, and the consumer's load has no other moment for making it */
		pgt_storage_create_indexes(st->relid, view);
		return;
	}
	(void) pgt_refresh_load(st, "INITIAL");
	pgt_storage_create_indexes(st->relid, view);
	pgt_refresh_dry_run(pgt_st_by_id(pgt_id));
	/* others will refresh it; every plan kept here would be looked at for each of the many invalidations that DDL sends */
	pgt_cache_forget(pgt_id);
	if (!slot_exists())
		pgt_st_mark_reinit(pgt_id, "no slot yet");
}

/* ---------- creation ---------- */

static int64
write_definition(const PgtOptions *options, const char *schema, Oid relid, const PgtView *view)
{
	PgtRow row = {0};
	PgtRow state = {0};
	int64 id;

	pgt_row_oid(&row, "pgt_relid", relid);
	pgt_row_text(&row, "pgt_name", get_rel_name(relid));
	pgt_row_text(&row, "pgt_schema", schema);
	pgt_row_text(&row, "pgt_owner", GetUserNameFromId(GetUserId(), false));
	pgt_row_text(&row, "defining_query", view->query);
	pgt_row_text(&row, "original_query", pgt_option_text(options, PGT_OPT_QUERY));
	pgt_row_jsonb(&row, "settings", pgt_settings_capture());
	pgt_row_text(&row, "creation_search_path", GetConfigOption("search_path", false, false));
	pgt_row_text(&row, "full_reason", view->full_reason);
	pgt_row_add(&row, "time_dependent", BOOLOID, BoolGetDatum(view->time_dependent), false);
	pgt_row_add(&row, "functions_used", TEXTARRAYOID, PointerGetDatum(pgt_wire_functions(view)), false);
	pgt_row_text(&row, "function_hashes", pgt_wire_function_hashes(view));
	pgt_options_definition_row(options, &row);
	id = pgt_row_insert(&row, "pgt_definitions", "pgt_id");

	pgt_row_int8(&state, "pgt_id", id);
	(void) pgt_row_insert(&state, "pgt_state", NULL);
	return id;
}

static void
refuse_existing(const char *schema, const char *name, Oid relid)
{
	char *label = quote_qualified_identifier(schema, name);

	if (pgt_st_by_relid(relid) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("stream table %s already exists", label),
				 errhint("Use pgtrickle.create_or_replace_stream_table, or drop it first with pgtrickle.drop_stream_table.")));
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("relation %s already exists", label),
			 errdetail("It is not a stream table."),
			 errhint("Choose another name.")));
}

static void
require(const PgtOptions *options, PgtOption option)
{
	const char *value = pgt_option_text(options, option);

	if (value == NULL || value[strspn(value, " \t\r\n;")] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a stream table needs a %s", pgt_option_name(option)),
				 errhint("Call pgtrickle.create_stream_table(name => '...', query => 'SELECT ...').")));
}

static void
show_notices(const PgtView *view)
{
	ListCell *lc;

	for (int i = 0; i < view->nsources; i++)
	{
		if (view->sources[i].relid == pgt_catalog_relid("pgt_refresh_history"))
			ereport(NOTICE,
					(errmsg("updates and deletes of pgtrickle.pgt_refresh_history are not captured"),
					 errdetail("A stream table keeps what it has read of rows that are purged."),
					 errhint("Read a window that is shorter than pg_trickle.history_retention_days: WHERE start_time > now() - interval '1 hour'.")));
	}
	foreach (lc, view->notices)
		ereport(NOTICE, (errmsg("%s", (const char *) lfirst(lc))));
}

int64
pgt_create(const PgtOptions *options)
{
	bool append_only = pgt_option_bool(options, PGT_OPT_APPEND_ONLY, false);
	PgtName name;
	PgtView *view;
	char *schema;
	Oid relid;
	int64 id;

	require(options, PGT_OPT_NAME);
	require(options, PGT_OPT_QUERY);
	name = pgt_parse_name(pgt_option_text(options, PGT_OPT_NAME));
	schema = pgt_creation_schema(&name, &relid);
	if (OidIsValid(relid))
		refuse_existing(schema, name.name, relid);

	view = pgt_wire_compile(pgt_option_text(options, PGT_OPT_QUERY));
	pgt_check_mode(pgt_option_text(options, PGT_OPT_REFRESH_MODE), view->full_reason, view->full_hint);
	pgt_wire_check(view, GetUserId());
	show_notices(view);
	if (append_only)
		ereport(NOTICE,
				(errmsg("updates and deletes of the sources are not captured for this stream table"),
				 errdetail("It was declared append_only.")));

	relid = pgt_storage_create(schema, name.name, view);
	id = write_definition(options, schema, relid, view);
	pgt_wire(id, view, append_only);
	pgt_fill(id, view, pgt_option_bool(options, PGT_OPT_INITIALIZE, true));
	pgt_catalog_notify();
	return id;
}

/* The ST of this name, NULL when the name is free; an ordinary relation of that name is an error. */
static PgtStreamTable *
existing_st(const PgtOptions *options)
{
	PgtName name;
	PgtStreamTable *st;
	char *schema;
	Oid relid;

	require(options, PGT_OPT_NAME);
	name = pgt_parse_name(pgt_option_text(options, PGT_OPT_NAME));
	schema = pgt_creation_schema(&name, &relid);
	if (!OidIsValid(relid))
		return NULL;
	st = pgt_st_by_relid(relid);
	if (st == NULL)
		refuse_existing(schema, name.name, relid);
	return st;
}

Datum
pgt_create_stream_table(PG_FUNCTION_ARGS)
{
	PgtOptions options;

	pgt_options_from_call(&options, fcinfo, pgt_create_arguments, pgt_create_nargs);
	pgt_options_defaults(&options);
	(void) pgt_create(&options);
	PG_RETURN_VOID();
}

Datum
pgt_create_stream_table_if_not_exists(PG_FUNCTION_ARGS)
{
	PgtOptions options;

	pgt_options_from_call(&options, fcinfo, pgt_create_arguments, pgt_create_nargs);
	pgt_options_defaults(&options);
	if (existing_st(&options) == NULL)
		(void) pgt_create(&options);
	PG_RETURN_VOID();
}

/* Leave in `options` only what differs from the existing ST. */
static void
keep_differences(PgtStreamTable *st, PgtOptions *options)
{
	PgtOptions stored;

	pgt_options_stored(&stored, st, pgt_create_arguments, pgt_create_nargs);
	for (int i = 0; i < pgt_create_nargs; i++)
	{
		PgtOption option = pgt_create_arguments[i];

		if (options->set[option] && pgt_option_equal(options, &stored, option))
			options->set[option] = false;
	}
}

Datum
pgt_create_or_replace_stream_table(PG_FUNCTION_ARGS)
{
	PgtOptions options;
	PgtStreamTable *st;

	pgt_options_from_call(&options, fcinfo, pgt_create_arguments, pgt_create_nargs);
	pgt_options_defaults(&options);
	st = existing_st(&options);
	if (st == NULL)
		(void) pgt_create(&options);
	else
	{
		pgt_st_check_owner(st);
		keep_differences(st, &options);
		pgt_alter(st, &options);
	}
	PG_RETURN_VOID();
}
