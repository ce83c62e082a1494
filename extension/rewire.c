/*
 * rewire.c - what a compiled query means for the catalog, and compiling anew when that has become stale.
 *
 * An ST's query is stored three times: as typed (for people and for comparison), as canonical text (for dump and restore, and
 * for oracles), and as an analysed tree.  The tree names objects by OID and columns by number, so after a rename it still means
 * the same and deparses to text with the new names; the text names objects by name, so after a restore it finds the new
 * ones.  The tree is of this server's catalog version only: it is not dumped, and one of another version is ignored.
 *
 * Locks: table sources as in source.h; ST tables AccessExclusive when reshaped.  Callers lock the ST against refreshes.
 */
#include "postgres.h"

#include "catalog/catversion.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/readfuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"

#include "analyze.h"
#include "attempt.h"
#include "catalog_row.h"
#include "compat.h"
#include "rewire.h"
#include "settings.h"
#include "source.h"
#include "storage.h"

static void
show_position_in_query(void *arg)
{
	int position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery((const char *) arg);
}

PgtView *
pgt_wire_compile(const char *query)
{
	ErrorContextCallback context = {error_context_stack, show_position_in_query, unconstify(char *, query)};
	PgtView *view;

	error_context_stack = &context;
	view = pgt_view_compile(query);
	error_context_stack = context.previous;
	return view;
}

/* ---------- sources ---------- */

/* SELECT on the table, or on each column the query uses. */
static void
check_select(const PgtViewSource *source, Oid owner)
{
	ListCell *lc;

	if (pg_class_aclcheck(source->relid, owner, ACL_SELECT) == ACLCHECK_OK)
		return;
	foreach (lc, source->attnums)
	{
		AttrNumber attnum = (AttrNumber) lfirst_int(lc);

		if (pg_attribute_aclcheck(source->relid, attnum, owner, ACL_SELECT) != ACLCHECK_OK)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for column \"%s\" of table \"%s\"", get_attname(source->relid, attnum, false),
							get_rel_name(source->relid)),
					 errhint("The owner of a stream table needs SELECT on everything that its query reads, also through views.")));
	}
}

void
pgt_wire_check(const PgtView *view, Oid owner)
{
	for (int i = 0; i < view->nsources; i++)
	{
		if (!view->sources[i].is_stream_table)
			pgt_source_check(view->sources[i].relid, owner);
		check_select(&view->sources[i], owner);
	}
}

static void
release_source(Oid relid)
{
	PgtStreamTable *upstream = pgt_st_by_relid(relid);

	if (upstream == NULL)
		pgt_source_release(relid);
	else if (pgt_st_readers(relid) == NIL)
		pgt_storage_drop_buffer(upstream->id);
}

void
pgt_unwire_sources(List *relids)
{
	ListCell *lc;

	foreach (lc, relids)
		release_source(lfirst_oid(lc));
}

static ArrayType *
attnum_array(const List *attnums)
{
	Datum *elems = palloc(sizeof(Datum) * Max(list_length(attnums), 1));
	ListCell *lc;
	int n = 0;

	foreach (lc, attnums)
		elems[n++] = Int16GetDatum((int16) lfirst_int(lc));
	return construct_array(elems, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT);
}

/* The fingerprint changes when DDL changes what the used columns are; names are stored beside it. */
#define INSERT_DEPENDENCY                                                                                                            \
	"INSERT INTO pgtrickle.pgt_dependencies (pgt_id, source_relid, source_type, source_schema, source_name, columns_used,"           \
	" attnums_used, schema_fingerprint)"                                                                                             \
	" SELECT $1, c.oid, $3, n.nspname, c.relname, pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), $4,"                      \
	" pg_catalog.md5(pg_catalog.string_agg(pg_catalog.format('%s,%s,%s,%s', a.attnum, a.atttypid, a.atttypmod, a.attcollation), ';'" \
	" ORDER BY a.attnum))"                                                                                                           \
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"                                           \
	" JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY ($4)"                                                  \
	" WHERE c.oid = $2 GROUP BY c.oid, n.nspname, c.relname"

static void
write_dependency(int64 pgt_id, const PgtViewSource *source)
{
	Oid types[4] = {INT8OID, OIDOID, TEXTOID, INT2ARRAYOID};
	Datum values[4];

	values[0] = Int64GetDatum(pgt_id);
	values[1] = ObjectIdGetDatum(source->relid);
	values[2] = CStringGetTextDatum(source->is_stream_table ? "STREAM_TABLE" : "TABLE");
	values[3] = PointerGetDatum(attnum_array(source->attnums));
	if (pgt_catalog_exec(INSERT_DEPENDENCY, 4, types, values, NULL) != 1)
		elog(ERROR, "could not record source %u of a stream table", source->relid);
}

static void
write_dependencies(int64 pgt_id, const PgtView *view)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	Oid type = INT8OID;
	Datum id = Int64GetDatum(pgt_id);

	SPI_connect();
	pgt_catalog_exec("DELETE FROM pgtrickle.pgt_dependencies WHERE pgt_id = $1", 1, &type, &id, NULL);
	for (int i = 0; i < view->nsources; i++)
		write_dependency(pgt_id, &view->sources[i]);
	SPI_finish();
	pgt_catalog_end(scope);
}

/* The frontier of a source that is not read any more would keep its buffer from being trimmed. */
static void
forget_frontiers(int64 pgt_id)
{
	(void) pgt_catalog_value("DELETE FROM pgtrickle.pgt_frontiers f WHERE pgt_id = $1 AND NOT EXISTS (SELECT FROM"
							 " pgtrickle.pgt_dependencies d WHERE d.pgt_id = f.pgt_id AND d.source_relid = f.source_relid)",
							 pgt_id);
}

/* ---------- the stored tree ---------- */

static Query *
analyse(const char *text)
{
	List *raw = raw_parser(text, RAW_PARSE_DEFAULT);
	Query *query;

	if (list_length(raw) != 1)
		elog(ERROR, "stored query is not one statement: %s", text);
	query = parse_analyze_fixedparams(linitial_node(RawStmt, raw), text, NULL, 0, NULL);
	pgt_make_readable(query);
	return query;
}

char *
pgt_wire_indexes(const PgtView *view)
{
	StringInfoData all;
	ListCell *lc;

	initStringInfo(&all);
	foreach (lc, view->indexes)
		appendStringInfo(&all, "%s;", (const char *) lfirst(lc));
	return all.data;
}

static void
store_tree(int64 pgt_id, const PgtView *view)
{
	PgtRow row = {0};

	(void) pgt_catalog_value("DELETE FROM pgtrickle.pgt_query_trees WHERE pgt_id = $1", pgt_id);
	pgt_row_int8(&row, "pgt_id", pgt_id);
	pgt_row_int8(&row, "catalog_version", CATALOG_VERSION_NO);
	pgt_row_text(&row, "tree", nodeToString(analyse(view->query)));
	pgt_row_text(&row, "indexes", pgt_wire_indexes(view));
	(void) pgt_row_insert(&row, "pgt_query_trees", NULL);
}

/* The query's text with today's names, from its tree; the stored text when there is no tree of this server. */
static char *
current_text(const PgtStreamTable *st, PgtRewireFrom from)
{
	char *tree = NULL;

	if (from != PGT_REWIRE_TEXT)
		tree = pgt_catalog_value(psprintf("SELECT tree FROM pgtrickle.pgt_query_trees WHERE pgt_id = $1 AND catalog_version = %d",
										  CATALOG_VERSION_NO),
								 st->id);
	return tree ? pg_get_querydef(castNode(Query, stringToNode(tree)), false) : st->query;
}

typedef struct RowContext
{
	Oid relid;
	List *levels; /* of Query, innermost first */
} RowContext;

static bool
row_walker(Node *node, RowContext *cxt)
{
	bool result;

	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varattno == 0 && (int) ((Var *) node)->varlevelsup < list_length(cxt->levels))
	{
		Query *query = list_nth(cxt->levels, ((Var *) node)->varlevelsup);
		RangeTblEntry *rte = rt_fetch(((Var *) node)->varno, query->rtable);

		return rte->rtekind == RTE_RELATION && rte->relid == cxt->relid;
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, row_walker, cxt);
	cxt->levels = lcons(node, cxt->levels);
	result = query_tree_walker((Query *) node, row_walker, cxt, 0);
	cxt->levels = list_delete_first(cxt->levels);
	return result;
}

bool
pgt_wire_reads_row(int64 pgt_id, Oid source)
{
	RowContext cxt = {source, NIL};
	char *tree = pgt_catalog_value(psprintf("SELECT tree FROM pgtrickle.pgt_query_trees WHERE pgt_id = $1 AND catalog_version = %d",
											CATALOG_VERSION_NO),
								   pgt_id);

	return tree != NULL && row_walker(stringToNode(tree), &cxt);
}

static bool
is_stale(int64 pgt_id)
{
	PgtStreamTable *st = pgt_st_by_id(pgt_id);
	PgtCatalogScope scope;
	bool stale;

	if (st == NULL)
		return false;
	/* deparsed under the search_path under which everything is qualified, as the stored text was */
	scope = pgt_catalog_begin();
	stale = strcmp(current_text(st, PGT_REWIRE_TREE), st->query) != 0;
	pgt_catalog_end(scope);
	return stale;
}

/* ---------- functions ---------- */

ArrayType *
pgt_wire_functions(const PgtView *view)
{
	Datum *elems = palloc(sizeof(Datum) * Max(list_length(view->functions), 1));
	ListCell *lc;
	int n = 0;

	foreach (lc, view->functions)
		elems[n++] = CStringGetTextDatum(format_procedure_qualified(lfirst_oid(lc)));
	return construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT);
}

static ArrayType *
oid_array(const List *oids)
{
	Datum *elems = palloc(sizeof(Datum) * Max(list_length(oids), 1));
	ListCell *lc;
	int n = 0;

	foreach (lc, oids)
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return construct_array(elems, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
}

/* Everything that CREATE OR REPLACE or ALTER FUNCTION can change and a result can depend on; not owner or grants. */
#define FUNCTION_HASHES                                                                                                          \
	"SELECT pg_catalog.jsonb_object_agg(p.oid::regprocedure::text, pg_catalog.md5(pg_catalog.concat_ws('|', p.prosrc, p.probin," \
	" p.prosqlbody, p.proargdefaults, p.prolang, p.provolatile, p.proisstrict, p.prorettype, p.proconfig, p.prosecdef,"          \
	" a.aggtransfn, a.aggfinalfn, a.agginitval)))::text"                                                                         \
	" FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid"                                       \
	" WHERE p.oid = ANY ($1) AND p.pronamespace <> 'pg_catalog'::regnamespace"

char *
pgt_wire_function_hashes(const PgtView *view)
{
	MemoryContext cxt = CurrentMemoryContext;
	Oid type = OIDARRAYOID;
	Datum arg = PointerGetDatum(oid_array(view->functions));
	char *result;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_exec(FUNCTION_HASHES, 1, &type, &arg, NULL);
	result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	result = result ? MemoryContextStrdup(cxt, result) : NULL;
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}

/* ---------- wiring ---------- */

static int
compare_ids(const ListCell *a, const ListCell *b)
{
	int64 x = *(const int64 *) lfirst(a);
	int64 y = *(const int64 *) lfirst(b);

	return x < y ? -1 : x > y;
}

static bool
contains_id(const List *ids, int64 id)
{
	ListCell *lc;

	foreach (lc, ids)
		if (*(int64 *) lfirst(lc) == id)
			return true;
	return false;
}

void
pgt_wire_lock(const List *changed, const List *upstreams)
{
	List *all = list_copy(changed);
	ListCell *lc;

	foreach (lc, upstreams)
	{
		if (!contains_id(all, *(int64 *) lfirst(lc)))
			all = lappend(all, lfirst(lc));
	}
	/* in the order in which a refresh of several locks them; the lock is that of refresh.c */
	list_sort(all, compare_ids);
	foreach (lc, all)
	{
		int64 id = *(int64 *) lfirst(lc);

		LockDatabaseObject(pgt_catalog_relid("pgt_definitions"), (Oid) id, 0,
						   contains_id(changed, id) ? AccessExclusiveLock : ShareLock);
	}
}

/* Ids of the STs among a view's sources, but for those of the relations `known`. */
static List *
upstreams_of_view(const PgtView *view, List *known)
{
	List *ids = NIL;

	for (int i = 0; i < view->nsources; i++)
	{
		if (view->sources[i].is_stream_table && !list_member_oid(known, view->sources[i].relid))
			ids = lappend(ids, &view->sources[i].pgt_id);
	}
	return ids;
}

List *
pgt_wire_upstreams(int64 pgt_id)
{
	List *ids = NIL;
	ListCell *lc;

	foreach (lc, pgt_st_sources(pgt_id))
	{
		PgtStreamTable *upstream = pgt_st_by_relid(lfirst_oid(lc));

		if (upstream != NULL)
			ids = lappend(ids, &upstream->id);
	}
	return ids;
}

void
pgt_wire_lock_change(int64 pgt_id, const PgtView *view)
{
	pgt_wire_lock(list_make1(&pgt_id), list_concat(upstreams_of_view(view, NIL), pgt_wire_upstreams(pgt_id)));
}

void
pgt_wire(int64 pgt_id, const PgtView *view, bool insert_only)
{
	List *old = pgt_st_sources(pgt_id);
	List *new = NIL;
	List *wants = NIL;

	pgt_wire_lock(NIL, upstreams_of_view(view, old));
	for (int i = 0; i < view->nsources; i++)
	{
		const PgtViewSource *source = &view->sources[i];

		new = lappend_oid(new, source->relid);
		if (source->is_stream_table)
			pgt_storage_make_buffer(source->pgt_id, source->relid);
		else
		{
			PgtSourceWant *want = palloc(sizeof(PgtSourceWant));

			*want = (PgtSourceWant){source->relid, source->attnums, insert_only};
			wants = lappend(wants, want);
		}
	}
	pgt_source_register_all(wants);
	write_dependencies(pgt_id, view);
	store_tree(pgt_id, view);
	pgt_unwire_sources(list_difference_oid(old, new));
	forget_frontiers(pgt_id);
}

bool
pgt_wire_storage_fits(const PgtStreamTable *st, const PgtView *view)
{
	char *indexes = pgt_catalog_value("SELECT indexes FROM pgtrickle.pgt_query_trees WHERE pgt_id = $1", st->id);

	/* without a stored tree (after a restore) the indexes came with the dump */
	return pgt_storage_matches(st->relid, view) && (indexes == NULL || strcmp(indexes, pgt_wire_indexes(view)) == 0);
}

/* Breadth first over a growing list: a chain of ten thousand STs needs no stack. */
List *
pgt_wire_downstream(Oid relid)
{
	List *found = NIL;
	int next = 0;

	for (;;)
	{
		ListCell *lc;

		foreach (lc, pgt_st_readers(relid))
		{
			if (!contains_id(found, *(int64 *) lfirst(lc)))
				found = lappend(found, lfirst(lc));
		}
		if (next >= list_length(found))
			return found;
		relid = pgt_st_by_id(*(int64 *) list_nth(found, next++))->relid;
	}
}

void
pgt_wire_definition(const PgtStreamTable *st, const PgtView *view, PgtRow row)
{
	pgt_row_text(&row, "pgt_schema", get_namespace_name(get_rel_namespace(st->relid)));
	pgt_row_text(&row, "pgt_name", get_rel_name(st->relid));
	pgt_row_text(&row, "defining_query", view->query);
	pgt_row_text(&row, "full_reason", view->full_reason);
	pgt_row_add(&row, "time_dependent", BOOLOID, BoolGetDatum(view->time_dependent), false);
	pgt_row_add(&row, "functions_used", TEXTARRAYOID, PointerGetDatum(pgt_wire_functions(view)), false);
	pgt_row_text(&row, "function_hashes", pgt_wire_function_hashes(view));
	pgt_row_update(&row, "pgt_definitions", st->id, ", definition_version = definition_version + 1, updated_at = now()");
}

/* One ST; true when its columns changed, so that its readers must follow. */
static bool
rewire_one(PgtStreamTable *st, PgtRewireFrom from, const char *reason)
{
	PgtOwnerScope scope = pgt_owner_begin(st);
	PgtView *view = pgt_wire_compile(current_text(st, from));
	bool reshaped = !pgt_wire_storage_fits(st, view);

	pgt_wire_check(view, GetUserId());
	if (reshaped)
	{
		if (reason == NULL)
			reason = "its columns changed";
		pgt_storage_reshape(st->relid, view);
		pgt_storage_remake_buffer(st->id, st->relid);
	}
	pgt_storage_create_indexes(st->relid, view);
	pgt_wire(st->id, view, pgt_catalog_value("SELECT 1 FROM pgtrickle.pgt_definitions WHERE pgt_id = $1 AND is_append_only", st->id) != NULL);
	pgt_owner_end(scope);
	pgt_wire_definition(st, view, (PgtRow){0});
	if (reason != NULL)
		pgt_st_mark_reinit(st->id, reason);
	return reshaped;
}

void
pgt_rewire(int64 pgt_id, PgtRewireFrom from, const char *reason)
{
	List *todo = list_make1(&pgt_id);

	if (from == PGT_REWIRE_NAMES && !is_stale(pgt_id))
		return;
	/* readers of a reshaped ST join the end of the list: again no recursion */
	for (int i = 0; i < list_length(todo); i++)
	{
		PgtStreamTable *st = pgt_st_by_id(*(int64 *) list_nth(todo, i));

		if (st == NULL)
			continue;
		/* a reader's tree knows the old column numbers of its upstream; the names are what stayed */
		if (rewire_one(st, i == 0 ? from : PGT_REWIRE_TEXT, i == 0 ? reason : "the columns of a stream table it reads changed"))
			todo = list_concat(todo, pgt_st_readers(st->relid));
	}
	pgt_catalog_notify();
}

/* Errors that say nothing about the query. */
static bool
is_circumstance(int sqlerrcode)
{
	int class = ERRCODE_TO_CATEGORY(sqlerrcode);

	return class == ERRCODE_OPERATOR_INTERVENTION || class == ERRCODE_INSUFFICIENT_RESOURCES || class == ERRCODE_TRANSACTION_ROLLBACK ||
		   class == ERRCODE_SYSTEM_ERROR || sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

typedef struct Rewiring
{
	int64 pgt_id;
	PgtRewireFrom from;
	const char *reason;
} Rewiring;

static void
rewire(void *arg)
{
	Rewiring *w = arg;

	pgt_rewire(w->pgt_id, w->from, w->reason);
}

bool
pgt_rewire_try(int64 pgt_id, PgtRewireFrom from, const char *reason, char **error)
{
	Rewiring w = {pgt_id, from, reason};
	ErrorData *edata = pgt_attempt(rewire, &w);

	if (edata == NULL)
		return true;
	if (is_circumstance(edata->sqlerrcode))
		ReThrowError(edata);
	*error = edata->message;
	return false;
}
