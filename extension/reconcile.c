/*
 * reconcile.c - bringing registrations and stream tables in line with what DDL has done.
 *
 * Everything here compares what is recorded with what is: it does not matter which command, or which cascade, led there.  It runs
 * in the DDL's own transaction, so what it writes becomes visible exactly with the DDL: a refresh whose snapshot sees the
 * one sees the other.
 *
 *	names		of tables and columns that queries mention: definitions are rewired, contents stay
 *	shape		a used column went or has another type: refused, or the ST is suspended (block_source_ddl)
 *	layout		a captured column went or has another type: a new generation
 *	identity	old values would be missing: REPLICA IDENTITY FULL again
 *	members		partitions and children that came or went: captured with the right roots, next refresh compares
 *	contents	changed without row events: next refresh compares
 *
 * Locks: the DDL's own, which are stronger than what capture needs; descendants that it did not lock are locked here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/catversion.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "catalog_row.h"
#include "compat.h"
#include "coordination.h"
#include "ddl.h"
#include "guc.h"
#include "identity.h"
#include "rewire.h"
#include "source.h"
#include "storage.h"

/* ---------- readers ---------- */

static List *
int2s(Datum array)
{
	ArrayType *a = DatumGetArrayTypeP(array);
	int n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	List *result = NIL;

	for (int i = 0; i < n; i++)
		result = lappend_int(result, ((int16 *) ARR_DATA_PTR(a))[i]);
	return result;
}

static List *
texts(Datum array)
{
	Datum *elems;
	int n;
	List *result = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		result = lappend(result, TextDatumGetCString(elems[i]));
	return result;
}

static void *
read_dependent(HeapTuple row, TupleDesc desc)
{
	PgtDependent *d = palloc0(sizeof(PgtDependent));
	bool isnull;
	Datum v;

	d->id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
	d->st_relid = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
	d->label = psprintf("%s", quote_qualified_identifier(SPI_getvalue(row, desc, 3), SPI_getvalue(row, desc, 4)));
	d->source_schema = SPI_getvalue(row, desc, 5);
	d->source_name = SPI_getvalue(row, desc, 6);
	v = SPI_getbinval(row, desc, 7, &isnull);
	d->attnums = isnull ? NIL : int2s(v);
	v = SPI_getbinval(row, desc, 8, &isnull);
	d->columns = isnull ? NIL : texts(v);
	v = SPI_getbinval(row, desc, 9, &isnull);
	d->same_shape = isnull || DatumGetBool(v); /* nothing recorded: nothing to compare */
	return d;
}

/*
 * The fingerprint is made as pgt_wire makes it.  Here and below, STs without a row in pgt_state do not count: they came with a
 * dump and wait for restore_stream_tables, and the OIDs recorded for them are those of another server.
 */
#define DEPENDENTS                                                                                                                \
	"SELECT d.pgt_id, t.pgt_relid, t.pgt_schema, t.pgt_name, d.source_schema, d.source_name, d.attnums_used, d.columns_used,"     \
	" d.schema_fingerprint = (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.format('%s,%s,%s,%s', a.attnum, a.atttypid," \
	" a.atttypmod, a.attcollation), ';' ORDER BY a.attnum)) FROM pg_catalog.pg_attribute a"                                       \
	" WHERE a.attrelid = d.source_relid AND a.attnum = ANY (d.attnums_used))"                                                     \
	" FROM pgtrickle.pgt_dependencies d JOIN pgtrickle.pgt_definitions t USING (pgt_id) JOIN pgtrickle.pgt_state USING (pgt_id)"  \
	" WHERE d.source_relid = $1 ORDER BY 1"

List *
pgt_dependents(Oid relid)
{
	return pgt_catalog_rows(DEPENDENTS, OIDOID, ObjectIdGetDatum(relid), read_dependent);
}

void
pgt_suspend_st(int64 id, const char *label, const char *reason)
{
	Oid types[2] = {INT8OID, TEXTOID};
	Datum values[2] = {Int64GetDatum(id), CStringGetTextDatum(reason)};
	PgtCatalogScope scope = pgt_catalog_begin();
	uint64 changed;

	SPI_connect();
	changed = pgt_catalog_exec("UPDATE pgtrickle.pgt_state SET status = 'SUSPENDED', last_error_message = $2,"
							   " last_error_state = '2BP01', last_error_at = pg_catalog.clock_timestamp()"
							   " WHERE pgt_id = $1 AND (status, last_error_message) IS DISTINCT FROM ('SUSPENDED', $2)",
							   2, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
	/* one command can lead here more than once */
	if (changed == 0)
		return;
	pgt_st_mark_reinit(id, reason);
	pgt_catalog_notify();
	ereport(WARNING,
			(errmsg("stream table %s is suspended", label),
			 errdetail("Because %s.", reason),
			 errhint("Change its query with pgtrickle.alter_stream_table(), or drop it.")));
}

void
pgt_break_dependents(List *dependents, const char *what, const char *reason)
{
	ListCell *lc;

	if (dependents == NIL)
		return;
	if (pgt_guc_block_source_ddl)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot %s because stream table %s uses it", what, ((PgtDependent *) linitial(dependents))->label),
				 list_length(dependents) > 1 ? errdetail("So do %d more stream tables.", list_length(dependents) - 1) : 0,
				 errhint("Drop or alter the stream table first, or set pg_trickle.block_source_ddl = off to have it suspended instead.")));
	foreach (lc, dependents)
	{
		PgtDependent *d = lfirst(lc);

		pgt_suspend_st(d->id, d->label, reason);
	}
}

void
pgt_source_event(Oid source, const char *kind, const char *detail)
{
	Oid types[3] = {OIDOID, TEXTOID, TEXTOID};
	Datum values[3] = {ObjectIdGetDatum(source), CStringGetTextDatum(kind), CStringGetTextDatum(detail)};
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_exec("INSERT INTO pgtrickle.pgt_source_events (source_relid, kind, detail) VALUES ($1, $2, $3)",
					 3, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
}

static List *tables_with_type(Oid typid);
static void reindex_tables(List *relids);

/* ---------- shape and layout ---------- */

/* The name that the first used column that is gone had, or NULL. */
static char *
missing_column(Oid source, const PgtDependent *d)
{
	ListCell *a;
	ListCell *c;

	forboth(a, d->attnums, c, d->columns)
	{
		if (!OidIsValid(get_atttype(source, lfirst_int(a))))
			return lfirst(c);
	}
	return NULL;
}

/* Returns those readers that have to be compiled again because types changed. */
static List *
check_shape(Oid source, List *dependents)
{
	List *changed = NIL;
	char *table = get_rel_name(source);
	ListCell *lc;

	foreach (lc, dependents)
	{
		PgtDependent *d = lfirst(lc);
		char *column = missing_column(source, d);

		if (column != NULL)
			pgt_break_dependents(list_make1(d), psprintf("drop column \"%s\" of table \"%s\"", column, table),
								 psprintf("column \"%s\" of table \"%s\" was dropped", column, table));
		else if (!d->same_shape && pgt_guc_block_source_ddl)
			pgt_break_dependents(list_make1(d), psprintf("change the type of a column of table \"%s\"", table), "");
		else if (!d->same_shape)
			changed = lappend(changed, d);
	}
	return changed;
}

static void
rewire_or_suspend(List *dependents, const char *reason)
{
	ListCell *lc;

	foreach (lc, dependents)
	{
		PgtDependent *d = lfirst(lc);
		char *error = NULL;

		if (!pgt_rewire_try(d->id, PGT_REWIRE_TREE, reason, &error))
			pgt_suspend_st(d->id, d->label, psprintf("%s, and its query fails: %s", reason, error));
	}
}

static void
check_persistence(Oid source, Oid changed, List *dependents)
{
	char *name = get_rel_name(changed);

	if (get_rel_persistence(changed) != RELPERSISTENCE_PERMANENT)
		pgt_break_dependents(dependents, psprintf("make table \"%s\" unlogged", name),
							 psprintf("changes of table \"%s\" are not in the WAL any more", name));
}

/* Captured changes would bypass the policies. */
static void
check_row_security(Oid source, List *dependents)
{
	List *broken = NIL;
	ListCell *lc;

	foreach (lc, dependents)
	{
		PgtDependent *d = lfirst(lc);
		HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(d->st_relid));

		if (!HeapTupleIsValid(tup))
			continue;
		if (check_enable_rls(source, ((Form_pg_class) GETSTRUCT(tup))->relowner, true) == RLS_ENABLED)
			broken = lappend(broken, d);
		ReleaseSysCache(tup);
	}
	pgt_break_dependents(broken, psprintf("apply row-level security to table \"%s\"", get_rel_name(source)),
						 psprintf("row-level security applies to its owner on table \"%s\"", get_rel_name(source)));
}

/* ---------- identity ---------- */

static void
check_leaf_identity(const PgtSource *source, Oid leaf, bool explicit_identity)
{
	char *name = get_rel_name(leaf);

	if (explicit_identity)
	{
		if (pgt_identity_covers(leaf, source->relid, source->attnums))
			pgt_identity_forget(leaf);
		else
		{
			pgt_break_dependents(pgt_guc_block_source_ddl ? pgt_dependents(source->relid) : NIL,
								 psprintf("take REPLICA IDENTITY FULL from table \"%s\"", name), "");
			pgt_identity_forget(leaf);
			pgt_source_event(source->relid, "identity", psprintf("table %s does not log old values any more", name));
			ereport(WARNING,
					(errmsg("stream tables that read table \"%s\" have to compare from now on", name),
					 errdetail("Its WAL does not carry the old values of changed rows any more."),
					 errhint("ALTER TABLE ... REPLICA IDENTITY FULL makes them incremental again.")));
		}
		return;
	}
	LockRelationOid(leaf, ShareRowExclusiveLock);
	pgt_identity_require(leaf, source, false);
}

static void
check_identity(const PgtSource *source, Oid changed, bool explicit_identity)
{
	ListCell *lc;

	if (source->insert_only)
		return;
	foreach (lc, pgt_source_leaves(changed))
	{
		if (explicit_identity || !pgt_identity_covers(lfirst_oid(lc), source->relid, source->attnums))
			check_leaf_identity(source, lfirst_oid(lc), explicit_identity);
	}
}

void
pgt_reconcile_identities(void)
{
	ListCell *lc;

	foreach (lc, pgt_source_list())
	{
		Oid relid = lfirst_oid(lc);

		if (get_rel_name(relid) == NULL)
			continue;
		LockRelationOid(relid, AccessShareLock);
		check_identity(pgt_source_get(relid), relid, false);
	}
}

/* ---------- sources ---------- */

static bool
names_are_stale(Oid source, const PgtDependent *d)
{
	ListCell *a;
	ListCell *c;

	if (strcmp(d->source_name, get_rel_name(source)) != 0 ||
		strcmp(d->source_schema, get_namespace_name(get_rel_namespace(source))) != 0)
		return true;
	forboth(a, d->attnums, c, d->columns)
	{
		char *name = get_attname(source, lfirst_int(a), true);

		if (name == NULL || strcmp(name, lfirst(c)) != 0)
			return true;
	}
	return false;
}

/*
 * An ST follows new names.  One that was suspended because something it uses is gone cannot, as its tree mentions what is not there:
 * that must not make other people's DDL fail.
 */
static void
follow_names(int64 id)
{
	PgtStreamTable *st = pgt_st_by_id(id);
	char *error = NULL;

	if (st == NULL || pgt_rewire_try(id, PGT_REWIRE_NAMES, NULL, &error) || strcmp(st->status, "SUSPENDED") == 0)
		return;
	pgt_suspend_st(id, quote_qualified_identifier(st->schema, st->name), psprintf("its query cannot be read any more: %s", error));
}

static void
follow_source_names(Oid source, List *dependents)
{
	ListCell *lc;

	foreach (lc, dependents)
	{
		PgtDependent *d = lfirst(lc);

		if (missing_column(source, d) == NULL && names_are_stale(source, d))
			follow_names(d->id);
	}
}

/* Does the table have a column that the ST does not know, or under another name? */
static bool
columns_differ(Oid source, const PgtDependent *d)
{
	List *live = pgt_catalog_ids("SELECT attnum::int8 FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
								 OIDOID, ObjectIdGetDatum(source));
	ListCell *a;
	ListCell *c;

	forboth(a, d->attnums, c, d->columns)
	{
		char *name = get_attname(source, lfirst_int(a), true);

		if (name == NULL || strcmp(name, lfirst(c)) != 0)
			return true;
	}
	return list_length(live) != list_length(d->attnums);
}

/*
 * Whole rows (`to_jsonb(t)`) change with every column that is added or renamed: their readers are compiled again, and compare.  Returns
 * those of the dependents.
 */
static List *
row_readers(Oid source, List *dependents)
{
	List *readers = NIL;
	ListCell *lc;

	foreach (lc, dependents)
	{
		PgtDependent *d = lfirst(lc);

		if (missing_column(source, d) == NULL && columns_differ(source, d) && pgt_wire_reads_row(d->id, source))
			readers = lappend(readers, d);
	}
	return readers;
}

void
pgt_reconcile_source(Oid source, Oid changed, bool explicit_identity)
{
	List *dependents = pgt_dependents(source);
	List *reshaped;
	List *readers = NIL;
	PgtSource *registered;

	check_persistence(source, changed, dependents);
	if (source == changed)
		check_row_security(source, dependents);
	reshaped = check_shape(source, dependents);
	registered = pgt_source_get(source);
	if (registered != NULL && pgt_source_layout_is_stale(registered))
		pgt_source_regenerate(source, psprintf("columns of table %s changed", get_rel_name(source)));
	rewire_or_suspend(reshaped, psprintf("column types of table %s changed", get_rel_name(source)));
	dependents = list_difference_ptr(dependents, reshaped);
	if (source == changed && (readers = row_readers(source, dependents)) != NIL)
	{
		reindex_tables(tables_with_type(get_rel_type_id(source)));
		rewire_or_suspend(readers, psprintf("columns of table %s changed", get_rel_name(source)));
	}
	follow_source_names(source, list_difference_ptr(dependents, readers));
	registered = pgt_source_get(source);
	if (registered != NULL)
		check_identity(registered, changed, explicit_identity);
}

void
pgt_reconcile_member(List *sources, Oid member, PgtMembership how)
{
	ListCell *lc;
	ListCell *m;

	if (sources == NIL)
		return;
	/* whose changes belong to whom changes at our commit: nobody may write across it, and the plugin must look again */
	foreach (m, pgt_source_family(member, ShareRowExclusiveLock))
	{
		CacheInvalidateRelcacheByRelid(lfirst_oid(m));
		if (how == PGT_MEMBER_LEFT)
			pgt_identity_assign(lfirst_oid(m), InvalidOid);
	}
	foreach (lc, sources)
	{
		Oid source = lfirst_oid(lc);

		if (how != PGT_MEMBER_LEFT)
		{
			foreach (m, pgt_source_family(member, NoLock))
			{
				Oid relid = lfirst_oid(m);

				if (get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT || get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
					pgt_break_dependents(pgt_dependents(source), psprintf("add \"%s\" to table \"%s\"", get_rel_name(relid), get_rel_name(source)),
										 psprintf("\"%s\" was added to table \"%s\", and its changes are not in the WAL",
												  get_rel_name(relid), get_rel_name(source)));
			}
			check_identity(pgt_source_get(source), member, false);
		}
		if (how == PGT_MEMBER_BORN)
			pgt_source_event(source, PGT_EVENT_BORN, psprintf("%u", member));
		else
			pgt_source_event(source, how == PGT_MEMBER_JOINED ? "attach" : "detach",
							 psprintf("%s %s %s", get_rel_name(member), how == PGT_MEMBER_JOINED ? "joined" : "left", get_rel_name(source)));
	}
}

/* ---------- types ---------- */

/* Is `typid` made of `part`? */
static bool
type_contains(Oid typid, Oid part)
{
	Oid elem;

	check_stack_depth();
	typid = typid == part ? typid : getBaseType(typid);
	if (typid == part)
		return true;
	elem = get_element_type(typid);
	if (!OidIsValid(elem) && type_is_range(typid))
		elem = get_range_subtype(typid);
	if (!OidIsValid(elem) && type_is_multirange(typid))
		elem = get_multirange_range(typid);
	if (OidIsValid(elem))
		return type_contains(elem, part);
	if (get_typtype(typid) == TYPTYPE_COMPOSITE)
	{
		TupleDesc desc = lookup_rowtype_tupdesc_copy(typid, -1);

		for (int i = 0; i < desc->natts; i++)
		{
			if (!TupleDescAttr(desc, i)->attisdropped && type_contains(TupleDescAttr(desc, i)->atttypid, part))
				return true;
		}
	}
	return false;
}

/* Tables of STs that hold values made of this type: List of Oid. */
static List *
tables_with_type(Oid typid)
{
	MemoryContext caller = CurrentMemoryContext;
	PgtCatalogScope scope = pgt_catalog_begin();
	List *result = NIL;

	SPI_connect();
	pgt_catalog_exec("SELECT a.attrelid, a.atttypid FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state USING (pgt_id)"
					 " JOIN pg_catalog.pg_attribute a ON a.attrelid = d.pgt_relid WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY 1",
					 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		MemoryContext spi = MemoryContextSwitchTo(caller);

		if (type_contains(DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull)), typid))
			result = list_append_unique_oid(result, DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull)));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}

/*
 * A composite with another attribute hashes otherwise, although its stored values are the same: the indexes by which refreshes find
 * rows are made anew.
 */
static void
reindex_tables(List *relids)
{
	ListCell *lc;

	foreach (lc, relids)
	{
		Oid relid = lfirst_oid(lc);
		PgtCatalogScope scope = pgt_catalog_begin();

		SPI_connect();
		if (pgt_run_own_ddl(psprintf("REINDEX TABLE %s", quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
																					get_rel_name(relid)))) < 0)
			elog(ERROR, "could not reindex a stream table");
		SPI_finish();
		pgt_catalog_end(scope);
	}
}

void
pgt_reconcile_type(Oid typid)
{
	ListCell *lc;
	ListCell *a;

	if (get_typtype(typid) == TYPTYPE_COMPOSITE)
		reindex_tables(tables_with_type(typid));
	foreach (lc, pgt_source_list())
	{
		PgtSource *source = pgt_source_get(lfirst_oid(lc));

		foreach (a, source->attnums)
		{
			Oid atttype = get_atttype(source->relid, lfirst_int(a));

			if (OidIsValid(atttype) && type_contains(atttype, typid))
			{
				pgt_source_event(source->relid, "type", psprintf("type %s changed", format_type_be(typid)));
				break;
			}
		}
	}
}

/* ---------- what was dropped ---------- */

/* A stream table's table was dropped by hand: the rest of it goes too. */
static void
dropped_st(PgtStreamTable *st)
{
	List *sources = pgt_st_sources(st->id);

	/* no lock against refreshes: DROP TABLE's own keeps them out, and they take theirs first */
	pgt_storage_drop_buffer(st->id);
	pgt_storage_drop_inner(st->id);
	pgt_catalog_forget(st->id);
	pgt_unwire_sources(sources);
	pgt_catalog_notify();
}

/* Sources among whose members some refresh has seen relid. */
static List *
sources_with_leaf(Oid relid)
{
	return pgt_catalog_oids("SELECT DISTINCT source_relid FROM pgtrickle.pgt_frontiers WHERE $1 = ANY (leaves) AND source_relid <> $1",
							OIDOID, ObjectIdGetDatum(relid));
}

void
pgt_reconcile_dropped_st(Oid relid)
{
	PgtStreamTable *st = pgt_st_by_relid(relid);

	if (st != NULL)
		dropped_st(st);
}

void
pgt_reconcile_dropped(Oid relid, const char *identity)
{
	ListCell *lc;

	pgt_break_dependents(pgt_dependents(relid), psprintf("drop table %s", identity), psprintf("table %s was dropped", identity));
	if (pgt_source_get(relid) != NULL)
		pgt_source_forget(relid);
	pgt_coordination_forget(relid);
	foreach (lc, sources_with_leaf(relid))
	{
		pgt_identity_forget(relid);
		pgt_source_event(lfirst_oid(lc), "detach", psprintf("%s was dropped", identity));
	}
}

/* ---------- names and functions ---------- */

/*
 * The definitions' own names, then every query whose text has become another.  For a renamed table or column its readers
 * have followed already; schemas, types, functions and operators can be mentioned anywhere.
 */
void
pgt_follow_names(void)
{
	ListCell *lc;

	pgt_names_changed();
	foreach (lc, pgt_catalog_ids("SELECT pgt_id FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state USING (pgt_id) JOIN pg_catalog.pg_class c ON c.oid = d.pgt_relid"
								 " WHERE $1 = 0 AND d.pgt_owner <> pg_catalog.pg_get_userbyid(c.relowner) ORDER BY 1",
								 INT4OID, Int32GetDatum(0)))
		pgt_storage_grant_inner(*(int64 *) lfirst(lc), pgt_st_by_id(*(int64 *) lfirst(lc))->relid);
	(void) pgt_catalog_value("UPDATE pgtrickle.pgt_definitions d SET pgt_schema = n.nspname, pgt_name = c.relname,"
							 " pgt_owner = pg_catalog.pg_get_userbyid(c.relowner), updated_at = now()"
							 " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
							 " WHERE c.oid = d.pgt_relid AND $1 = 0 AND EXISTS (SELECT FROM pgtrickle.pgt_state s WHERE s.pgt_id = d.pgt_id) AND (d.pgt_schema, d.pgt_name, d.pgt_owner) IS DISTINCT FROM"
							 " (n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text)",
							 0);
	foreach (lc, pgt_catalog_ids("SELECT pgt_id FROM pgtrickle.pgt_query_trees WHERE $1 = 0 ORDER BY 1", INT4OID, Int32GetDatum(0)))
		follow_names(*(int64 *) lfirst(lc));
}

void
pgt_reconcile_function(const char *identity, bool dropped)
{
	ListCell *lc;

	foreach (lc, pgt_catalog_ids("SELECT pgt_id FROM pgtrickle.pgt_definitions JOIN pgtrickle.pgt_state USING (pgt_id)"
								 " WHERE functions_used @> ARRAY[$1] ORDER BY 1",
								 TEXTOID, CStringGetTextDatum(identity)))
	{
		PgtStreamTable *st = pgt_st_by_id(*(int64 *) lfirst(lc));
		PgtDependent d = {.id = st->id, .label = pstrdup(quote_qualified_identifier(st->schema, st->name))};
		char *error = NULL;

		if (dropped)
			pgt_break_dependents(list_make1(&d), psprintf("drop function %s", identity), psprintf("function %s was dropped", identity));
		else if (!pgt_rewire_try(st->id, PGT_REWIRE_TREE, psprintf("function %s changed", identity), &error))
			pgt_break_dependents(list_make1(&d), psprintf("change function %s like that", identity),
								 psprintf("function %s changed, and its query fails: %s", identity, error));
	}
}
