/*
 * api_drop.c - drop_stream_table.
 *
 * The catalog rows go first, for all STs of a cascade, then the tables, then what only they needed: buffers and registrations.
 * The drop hook on tables therefore finds nothing left to do.  Dependents are found breadth first over a list.
 *
 * Locks: every ST against refreshes, in pgt_id order as refreshes take them, before dependents are looked for: one that is being
 * created holds a lock on the table it reads, and is seen after DROP TABLE has waited for it.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"

#include "api.h"
#include "compat.h"
#include "rewire.h"
#include "storage.h"

PG_FUNCTION_INFO_V1(pgt_drop_stream_table);

static int
compare_ids(const ListCell *a, const ListCell *b)
{
	int64 x = *(int64 *) lfirst(a);
	int64 y = *(int64 *) lfirst(b);

	return x < y ? -1 : x > y;
}

static void
refuse_dependents(const PgtStreamTable *st, List *dependents)
{
	StringInfoData names;
	ListCell *lc;

	initStringInfo(&names);
	foreach (lc, dependents)
	{
		if (foreach_current_index(lc) == 20)
		{
			appendStringInfo(&names, " and %d more", list_length(dependents) - 20);
			break;
		}
		appendStringInfo(&names, "%s%s", names.len ? ", " : "", pgt_st_label(pgt_st_by_id(*(int64 *) lfirst(lc))));
	}
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot drop stream table %s because other stream tables read it", pgt_st_label(st)),
			 errdetail("Read by: %s.", names.data),
			 errhint("Use pgtrickle.drop_stream_table(name, cascade => true) to drop them too.")));
}

/* The victims against everything, the STs they read against refreshes, which write the buffers that will go. */
static void
lock_all(List *ids)
{
	List *upstreams = NIL;
	ListCell *lc;

	foreach (lc, ids)
	{
		PgtStreamTable *victim = pgt_st_by_id(*(int64 *) lfirst(lc));

		if (victim != NULL)
			pgt_st_check_owner(victim);
		upstreams = list_concat(upstreams, pgt_wire_upstreams(*(int64 *) lfirst(lc)));
	}
	pgt_wire_lock(ids, upstreams);
	foreach (lc, ids)
	{
		PgtStreamTable *victim = pgt_st_by_id(*(int64 *) lfirst(lc));

		/* a reader that is being created holds AccessShare on this table until it commits */
		if (victim != NULL)
			LockRelationOid(victim->relid, AccessExclusiveLock);
	}
}

/* The ST and all that read it, locked; those that appeared before we had the locks included. */
static List *
lock_victims(PgtStreamTable *st, bool cascade)
{
	List *ids = NIL;
	List *downstream = cascade ? pgt_wire_downstream(st->relid) : NIL;
	List *victims = NIL;
	ListCell *lc;

	do
	{
		ids = lappend(list_copy(downstream), &st->id);
		list_sort(ids, compare_ids);
		lock_all(ids);
		downstream = pgt_wire_downstream(st->relid);
		if (downstream != NIL && !cascade)
			refuse_dependents(st, downstream);
	} while (list_length(downstream) + 1 > list_length(ids));

	foreach (lc, ids)
	{
		PgtStreamTable *victim = pgt_st_by_id(*(int64 *) lfirst(lc));

		if (victim != NULL)
			victims = lappend(victims, victim);
	}
	if (victims == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table %s was dropped", pgt_st_label(st))));
	return victims;
}

void
pgt_drop(PgtStreamTable *st, bool cascade)
{
	List *victims = lock_victims(st, cascade);
	List *sources = NIL;
	ListCell *lc;

	foreach (lc, victims)
	{
		PgtStreamTable *victim = lfirst(lc);

		sources = list_concat_unique_oid(sources, pgt_st_sources(victim->id));
		pgt_storage_drop_buffer(victim->id);
		pgt_storage_drop_inner(victim->id);
		pgt_catalog_forget(victim->id);
	}
	foreach (lc, victims)
		pgt_storage_drop(((PgtStreamTable *) lfirst(lc))->relid, cascade);
	pgt_unwire_sources(sources);
	pgt_catalog_notify();
}

Datum
pgt_drop_stream_table(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = pgt_st_argument(fcinfo);

	pgt_st_check_owner(st);
	pgt_drop(st, !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}
