/*
 * ddl_views.c - stream tables follow the views that their queries name.
 *
 * Views are inlined when a query is compiled, so the canonical query does not mention them.  When a view is redefined, the
 * queries as typed that may mean it, directly or through other views, are compiled again under the search_path of their creation; those
 * that have become other queries are rewired.  One that does not compile that way any more (renamed tables were followed in the
 * canonical query, not in the typed one) keeps its former definition, with a warning: what it shows is still consistent.
 * Dropping a view changes nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "attempt.h"
#include "catalog.h"
#include "catalog_row.h"
#include "ddl.h"
#include "rewire.h"
#include "settings.h"
#include "view.h"

/* STs whose query as typed contains the name of the view or of one that is made of it; a superset will do. */
#define CANDIDATES                                                                                                                             \
	"WITH RECURSIVE v (oid) AS (SELECT $1 UNION SELECT r.ev_class FROM v JOIN pg_catalog.pg_depend d ON d.refobjid = v.oid"                    \
	" AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.classid = 'pg_catalog.pg_rewrite'::regclass"                                    \
	" JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid)"                                                                                        \
	" SELECT pgt_id FROM pgtrickle.pgt_definitions JOIN pgtrickle.pgt_state USING (pgt_id) WHERE EXISTS (SELECT FROM v"                        \
	" JOIN pg_catalog.pg_class c ON c.oid = v.oid WHERE pg_catalog.strpos(pg_catalog.lower(original_query), pg_catalog.lower(c.relname)) > 0)" \
	" ORDER BY 1"

/* What the query as typed means today. */
static char *
canonical_query(const PgtStreamTable *st)
{
	char *path = pgt_catalog_value("SELECT creation_search_path FROM pgtrickle.pgt_definitions WHERE pgt_id = $1", st->id);
	PgtOwnerScope scope = pgt_owner_begin(st);
	char *result;

	/* inside the scope's level of settings: undone with it */
	if (path != NULL)
		(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	result = pstrdup(pgt_view_compile(st->original_query)->query);
	pgt_owner_end(scope);
	return result;
}

/* An ST and the view that it may have to follow. */
typedef struct Follower
{
	const PgtStreamTable *st;
	const char *view;
} Follower;

static void
follow(void *arg)
{
	const PgtStreamTable *st = ((Follower *) arg)->st;
	char *query = canonical_query(st);
	PgtRow row = {0};

	if (strcmp(query, st->query) == 0)
		return;
	pgt_row_text(&row, "defining_query", query);
	pgt_row_update(&row, "pgt_definitions", st->id, "");
	CommandCounterIncrement();
	pgt_rewire(st->id, PGT_REWIRE_TEXT, psprintf("view %s was redefined", ((Follower *) arg)->view));
}

static void
follow_or_warn(const PgtStreamTable *st, const char *view)
{
	Follower follower = {st, view};
	ErrorData *error = pgt_attempt(follow, &follower);

	if (error == NULL)
		return;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	ereport(WARNING,
			(errmsg("stream table %s keeps the former definition of view %s", quote_qualified_identifier(st->schema, st->name), view),
			 errdetail("Its query cannot be compiled with the new one: %s.", error->message),
			 errhint("Give it its query anew with pgtrickle.alter_stream_table().")));
}

void
pgt_reconcile_view(Oid view)
{
	ListCell *lc;

	foreach (lc, pgt_catalog_ids(CANDIDATES, OIDOID, ObjectIdGetDatum(view)))
	{
		PgtStreamTable *st = pgt_st_by_id(*(int64 *) lfirst(lc));

		if (st != NULL && st->original_query != NULL)
			follow_or_warn(st, get_rel_name(view));
	}
}
