/*
 * api_restore.c - restore_stream_tables, after pg_restore.
 *
 * A dump carries definitions and edges (configuration tables of the extension) and the STs' tables with their contents as
 * ordinary tables, but OIDs, state, registrations and frontiers mean nothing on another server and are not in it.  So an ST
 * without a pgt_state row is one that was restored and not wired yet; until it is, lookups do not see it (they join
 * pgt_state), however its old OIDs may coincide with those of other tables.
 *
 * Here every such ST finds its table by name, is compiled from its canonical text, registered and marked for a diff: upstreams
 * first.  What cannot be wired (a table or source that was not restored) stays as it is, with a warning; a second call tries again.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "api.h"
#include "attempt.h"
#include "compat.h"
#include "rewire.h"
#include "settings.h"
#include "storage.h"

PG_FUNCTION_INFO_V1(pgt_restore_stream_tables);

typedef struct Pending
{
	int64 id;
	char *schema;
	char *name;
} Pending;

static void *
read_pending(HeapTuple row, TupleDesc desc)
{
	Pending *p = palloc(sizeof(Pending));
	bool isnull;

	p->id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
	p->schema = SPI_getvalue(row, desc, 2);
	p->name = SPI_getvalue(row, desc, 3);
	return p;
}

static List *
pending_stream_tables(void)
{
	return pgt_catalog_rows("SELECT d.pgt_id, d.pgt_schema, d.pgt_name FROM pgtrickle.pgt_definitions d"
							" WHERE $1 = 0 AND NOT EXISTS (SELECT FROM pgtrickle.pgt_state s WHERE s.pgt_id = d.pgt_id) ORDER BY 1",
							INT4OID, Int32GetDatum(0), read_pending);
}

/* Edges of definitions that somebody has deleted from the catalog. */
static void
forget_lost_edges(void)
{
	(void) pgt_catalog_value("DELETE FROM pgtrickle.pgt_dependencies e WHERE $1 = 0"
							 " AND NOT EXISTS (SELECT FROM pgtrickle.pgt_definitions d WHERE d.pgt_id = e.pgt_id)",
							 0);
}

/* OIDs from the other server out of the way: they are unique, and could be those of tables here. */
static void
forget_old_oids(void)
{
	(void) pgt_catalog_value("UPDATE pgtrickle.pgt_definitions d SET pgt_relid = (4294967295 - d.pgt_id % 1000000000)::oid WHERE $1 = 0"
							 " AND NOT EXISTS (SELECT FROM pgtrickle.pgt_state s WHERE s.pgt_id = d.pgt_id)",
							 0);
}

/* Does it read an ST that is still waiting itself? */
static bool
waits_for_upstream(int64 id)
{
	return pgt_catalog_value("SELECT 1 FROM pgtrickle.pgt_dependencies e JOIN pgtrickle.pgt_definitions u"
							 " ON u.pgt_schema = e.source_schema AND u.pgt_name = e.source_name"
							 " WHERE e.pgt_id = $1 AND e.source_type = 'STREAM_TABLE'"
							 " AND NOT EXISTS (SELECT FROM pgtrickle.pgt_state s WHERE s.pgt_id = u.pgt_id)",
							 id) != NULL;
}

static Oid
find_table(const Pending *p)
{
	Oid nsp = get_namespace_oid(p->schema, true);
	Oid relid = OidIsValid(nsp) ? get_relname_relid(p->name, nsp) : InvalidOid;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s does not exist", quote_qualified_identifier(p->schema, p->name))));
	return relid;
}

static void
wire_one(void *arg)
{
	const Pending *p = arg;
	Oid relid = find_table(p);
	Oid table_owner = pgt_relation_owner(relid);
	PgtRow definition = {0};
	PgtRow state = {0};
	PgtOwnerScope scope;

	if (!has_privs_of_role(GetUserId(), table_owner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, p->name);
	pgt_row_oid(&definition, "pgt_relid", relid);
	pgt_row_text(&definition, "pgt_owner", GetUserNameFromId(table_owner, false));
	pgt_row_update(&definition, "pgt_definitions", p->id, "");
	(void) pgt_catalog_value("DELETE FROM pgtrickle.pgt_dependencies WHERE pgt_id = $1", p->id);
	pgt_row_int8(&state, "pgt_id", p->id);
	pgt_row_text(&state, "status", "ACTIVE");
	pgt_row_bool(&state, "is_populated", true);
	(void) pgt_row_insert(&state, "pgt_state", NULL);

	scope = pgt_owner_begin(pgt_st_by_id(p->id));
	pgt_storage_protect(relid);
	pgt_owner_end(scope);
	pgt_rewire(p->id, PGT_REWIRE_TEXT, "restored from a dump");
}

/* In a subtransaction; a failure is a warning. */
static bool
try_one(Pending *p)
{
	ErrorData *edata = pgt_attempt(wire_one, p);

	if (edata == NULL)
		return true;
	if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(edata);
	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("stream table %s could not be restored: %s", quote_qualified_identifier(p->schema, p->name), edata->message),
			 edata->detail ? errdetail_internal("%s", edata->detail) : 0,
			 errhint("Restore what is missing and call pgtrickle.restore_stream_tables() again, or delete its row from pgtrickle.pgt_definitions.")));
	return false;
}

Datum
pgt_restore_stream_tables(PG_FUNCTION_ARGS)
{
	List *todo = pending_stream_tables();
	int restored = 0;
	bool progress = true;

	forget_lost_edges();
	forget_old_oids();
	while (progress && todo != NIL)
	{
		List *later = NIL;
		ListCell *lc;

		progress = false;
		foreach (lc, todo)
		{
			Pending *p = lfirst(lc);

			if (waits_for_upstream(p->id))
				later = lappend(later, p);
			else if (try_one(p))
			{
				restored++;
				progress = true;
			}
		}
		todo = later;
	}
	for (int i = 0; i < list_length(todo); i++)
	{
		Pending *p = list_nth(todo, i);

		ereport(WARNING,
				(errmsg("stream table %s could not be restored: a stream table that it reads was not",
						quote_qualified_identifier(p->schema, p->name))));
	}
	ereport(NOTICE, (errmsg_plural("%d stream table restored", "%d stream tables restored", restored, restored)));
	pgt_catalog_notify();
	PG_RETURN_VOID();
}
