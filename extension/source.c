/*
 * source.c - registration of sources.
 *
 * A source is captured because it has a row in pgt_sources, which the output plugin reads under the historic snapshot.  The one
 * invariant: no transaction writes to a member of the source's family (the relation and its descendants) both before and after a
 * change of that row.  So the changing transaction holds SHARE ROW EXCLUSIVE on the whole family until it commits, and
 * invalidates the relcache of every member, on which the plugin's cache hangs.
 *
 * Locks.  (1) the source's entry, an object lock on (pgt_sources, relid): AccessShare by everybody who relies on the entry until
 * he commits, ShareUpdateExclusive to change it, AccessExclusive to release the source or trim its segments.  (2) the family in
 * OID order, or in the order in which its writers turn out to take it.  All locks of one registration share one time limit
 * (register_lock_timeout) and live in a subtransaction: when the time is up they are all given back, writers proceed, and we try
 * again.  With the limit well below deadlock_timeout a writer is never chosen as the victim of a deadlock with us.
 *
 * Generations come from a sequence and are never used twice for a relation, not even after release: a message that is still on
 * its way can never land in a buffer of another shape.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "attempt.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "identity.h"
#include "layout.h"
#include "segment.h"
#include "source.h"

#define LOCK_TRIES 8

/* ---------- families ---------- */

List *
pgt_source_family(Oid relid, LOCKMODE lockmode)
{
	List *family = find_all_inheritors(relid, NoLock, NULL);

	list_sort(family, list_oid_cmp);
	if (lockmode == NoLock)
		return family;

	/* what was listed before it was locked may have changed meanwhile: list again until nothing new appears */
	for (;;)
	{
		List *again;
		ListCell *lc;

		foreach (lc, family)
			LockRelationOid(lfirst_oid(lc), lockmode);
		again = find_all_inheritors(relid, NoLock, NULL);
		list_sort(again, list_oid_cmp);
		if (list_difference_oid(again, family) == NIL)
			return again;
		family = again;
	}
}

List *
pgt_source_leaves(Oid relid)
{
	List *leaves = NIL;
	ListCell *lc;

	foreach (lc, pgt_source_family(relid, NoLock))
	{
		if (RELKIND_HAS_STORAGE(get_rel_relkind(lfirst_oid(lc))))
			leaves = lappend_oid(leaves, lfirst_oid(lc));
	}
	return leaves;
}

/* Inheritance parents, transitively, relid itself included; partitioning is inheritance to pg_inherits. */
static List *
self_and_ancestors(Oid relid)
{
	List *result = list_make1_oid(relid);
	int done;

	SPI_connect();
	for (done = 0; done < list_length(result); done++)
	{
		Oid types[1] = {OIDOID};
		Datum values[1] = {ObjectIdGetDatum(list_nth_oid(result, done))};
		MemoryContext spi_cxt;

		if (!has_superclass(list_nth_oid(result, done)))
			continue;
		pgt_catalog_exec("SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid OPERATOR(pg_catalog.=) $1",
						 1, types, values, NULL);
		spi_cxt = MemoryContextSwitchTo(GetMemoryChunkContext(result));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool isnull;

			result = list_append_unique_oid(result,
											DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
		}
		MemoryContextSwitchTo(spi_cxt);
	}
	SPI_finish();
	list_sort(result, list_oid_cmp);
	return result;
}

List *
pgt_source_roots(Oid relid)
{
	List *roots = NIL;
	ListCell *lc;

	foreach (lc, self_and_ancestors(relid))
	{
		if (pgt_source_get(lfirst_oid(lc)) != NULL)
			roots = lappend_oid(roots, lfirst_oid(lc));
	}
	return roots;
}

static bool
was_born_here(Oid source, Oid leaf)
{
	bool born = false;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_find("SELECT detail FROM pgtrickle.pgt_source_events WHERE source_relid = $1 AND kind = '" PGT_EVENT_BORN "'",
					 OIDOID, ObjectIdGetDatum(source));
	for (uint64 i = 0; i < SPI_processed && !born; i++)
		born = strtoul(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1), NULL, 10) == leaf;
	SPI_finish();
	pgt_catalog_end(scope);
	return born;
}

bool
pgt_source_leaves_grew(Oid source, List *old, List *new)
{
	ListCell *lc;

	if (list_difference_oid(old, new) != NIL)
		return false;
	foreach (lc, list_difference_oid(new, old))
	{
		if (!was_born_here(source, lfirst_oid(lc)))
			return false;
	}
	return true;
}

/* ---------- what a column travels as ---------- */

/* Can every value of this type be sent?  array_send and record_send fail on members that have no typsend. */
static bool
type_is_sendable(Oid typid)
{
	Oid base = getBaseType(typid);
	HeapTuple tup = SearchSysCache1(TYPEOID, ObjectIdGetDatum(base));
	Form_pg_type typ;
	bool ok;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for type %u", base);
	typ = (Form_pg_type) GETSTRUCT(tup);
	check_stack_depth();
	ok = OidIsValid(typ->typsend);
	if (ok && OidIsValid(get_element_type(base)))
		ok = type_is_sendable(typ->typelem);
	else if (ok && typ->typtype == TYPTYPE_RANGE)
		ok = type_is_sendable(get_range_subtype(base));
	else if (ok && typ->typtype == TYPTYPE_MULTIRANGE)
		ok = type_is_sendable(get_multirange_range(base));
	else if (ok && typ->typtype == TYPTYPE_COMPOSITE)
	{
		TupleDesc desc = lookup_rowtype_tupdesc_copy(base, -1);

		for (int i = 0; ok && i < desc->natts; i++)
			ok = TupleDescAttr(desc, i)->attisdropped || type_is_sendable(TupleDescAttr(desc, i)->atttypid);
		FreeTupleDesc(desc);
	}
	ReleaseSysCache(tup);
	return ok;
}

/* Types of the server that send but refuse to receive. */
static bool
type_refuses_input(Oid typid)
{
	return typid == PG_NODE_TREEOID || typid == PG_NDISTINCTOID || typid == PG_DEPENDENCIESOID ||
		   typid == PG_MCV_LISTOID || typid == PG_BRIN_BLOOM_SUMMARYOID || typid == PG_BRIN_MINMAX_MULTI_SUMMARYOID;
}

char
pgt_column_kind(Oid typid, Oid *buffer_type)
{
	Oid base = getBaseType(typid);
	HeapTuple tup = SearchSysCache1(TYPEOID, ObjectIdGetDatum(base));
	Form_pg_type typ;
	char kind;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for type %u", base);
	typ = (Form_pg_type) GETSTRUCT(tup);
	if (!type_is_sendable(base) || type_refuses_input(base))
		kind = PGT_KIND_DATUM;
	else if (base < FirstNormalObjectId && OidIsValid(typ->typreceive) &&
			 (typ->typtype == TYPTYPE_BASE || typ->typtype == TYPTYPE_RANGE || typ->typtype == TYPTYPE_MULTIRANGE))
		kind = PGT_KIND_NATIVE;
	else
		/* its definition may change under rows that wait in the buffer: keep them as bytes */
		kind = PGT_KIND_SENT;
	ReleaseSysCache(tup);
	*buffer_type = kind == PGT_KIND_NATIVE ? base : BYTEAOID;
	return kind;
}

/* Those of attnums that the relation still has. */
static List *
live_columns(Oid relid, List *attnums)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, attnums)
	{
		if (OidIsValid(get_atttype(relid, lfirst_int(lc))))
			result = lappend_int(result, lfirst_int(lc));
	}
	return result;
}

static int16
relation_natts(Oid relid)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int16 natts;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	natts = ((Form_pg_class) GETSTRUCT(tup))->relnatts;
	ReleaseSysCache(tup);
	return natts;
}

/* Kinds, layout hash and natts of source->attnums as the relation is now. */
static void
describe_columns(PgtSource *source)
{
	uint32_t h = PGT_LAYOUT_SEED;
	StringInfoData kinds;
	ListCell *lc;

	initStringInfo(&kinds);
	foreach (lc, source->attnums)
	{
		Oid type = get_atttype(source->relid, lfirst_int(lc));
		Oid buffer_type;

		if (lfirst_int(lc) < 1 || !OidIsValid(type))
			elog(ERROR, "column %d of relation %u cannot be captured", lfirst_int(lc), source->relid);
		appendStringInfoChar(&kinds, pgt_column_kind(type, &buffer_type));
		h = pgt_layout_step(h, (uint16_t) lfirst_int(lc), type);
	}
	source->kinds = kinds.data;
	source->layout = (int32) h;
	source->natts = relation_natts(source->relid);
}

bool
pgt_source_layout_is_stale(const PgtSource *source)
{
	PgtSource now = {.relid = source->relid, .attnums = live_columns(source->relid, source->attnums)};

	if (list_length(now.attnums) < list_length(source->attnums))
		return true;
	describe_columns(&now);
	return now.layout != source->layout || strcmp(now.kinds, source->kinds) != 0;
}

/* ---------- pgt_sources ---------- */

static List *
int2_array_to_list(ArrayType *array)
{
	List *result = NIL;
	int16 *data = (int16 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	for (int i = 0; i < n; i++)
		result = lappend_int(result, data[i]);
	return result;
}

static Datum
list_to_int2_array(List *list)
{
	Datum *elems = palloc(sizeof(Datum) * Max(list_length(list), 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, list)
		elems[n++] = Int16GetDatum((int16) lfirst_int(lc));
	return PointerGetDatum(construct_array(elems, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
}

bool
pgt_schema_has_masks(void)
{
	return get_attnum(pgt_catalog_relid("pgt_sources"), "mask") != InvalidAttrNumber;
}

PgtSource *
pgt_source_get(Oid relid)
{
	MemoryContext cxt = CurrentMemoryContext;
	PgtCatalogScope scope = pgt_catalog_begin();
	PgtSource *source = NULL;

	SPI_connect();
	if (pgt_catalog_find(pgt_schema_has_masks()
							 ? "SELECT gen, attnums, kinds, layout, natts, insert_only, ignore_old, mask FROM pgtrickle.pgt_sources WHERE relid = $1"
							 : "SELECT gen, attnums, kinds, layout, natts, insert_only, ignore_old, false FROM pgtrickle.pgt_sources WHERE relid = $1",
						 OIDOID, ObjectIdGetDatum(relid)) > 0)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;

		MemoryContextSwitchTo(cxt);
		source = palloc0(sizeof(PgtSource));
		source->relid = relid;
		source->gen = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
		source->attnums = int2_array_to_list(DatumGetArrayTypeP(SPI_getbinval(row, desc, 2, &isnull)));
		source->kinds = TextDatumGetCString(SPI_getbinval(row, desc, 3, &isnull));
		source->layout = DatumGetInt32(SPI_getbinval(row, desc, 4, &isnull));
		source->natts = DatumGetInt16(SPI_getbinval(row, desc, 5, &isnull));
		source->insert_only = DatumGetBool(SPI_getbinval(row, desc, 6, &isnull));
		source->ignore_old = DatumGetBool(SPI_getbinval(row, desc, 7, &isnull));
		source->mask = DatumGetBool(SPI_getbinval(row, desc, 8, &isnull));
	}
	SPI_finish();
	pgt_catalog_end(scope);
	return source;
}

List *
pgt_source_list(void)
{
	return pgt_catalog_oids("SELECT relid FROM pgtrickle.pgt_sources WHERE $1 = 0 ORDER BY 1", INT4OID, Int32GetDatum(0));
}

static FullTransactionId registry_writer; /* the last transaction of this session that wrote pgt_sources */

static void
note_registry_write(void)
{
	registry_writer = GetTopFullTransactionId();
}

bool
pgt_source_registry_written(void)
{
	return FullTransactionIdIsValid(registry_writer) && FullTransactionIdEquals(registry_writer, GetTopFullTransactionIdIfAny());
}

/* ON CONFLICT is impossible on a user_catalog_table; the entry lock makes update-or-insert safe. */
static void
store_source(const PgtSource *source)
{
	Oid types[9] = {OIDOID, INT4OID, INT2ARRAYOID, TEXTOID, INT4OID, INT2OID, BOOLOID, BOOLOID, BOOLOID};
	Datum values[9] = {ObjectIdGetDatum(source->relid), Int32GetDatum(source->gen),
					   list_to_int2_array(source->attnums), CStringGetTextDatum(source->kinds), Int32GetDatum(source->layout),
					   Int16GetDatum(source->natts), BoolGetDatum(source->insert_only), BoolGetDatum(source->ignore_old),
					   BoolGetDatum(source->mask)};
	bool masks = pgt_schema_has_masks();
	int n = masks ? 9 : 8;

	note_registry_write();
	if (pgt_catalog_exec(psprintf("UPDATE pgtrickle.pgt_sources SET gen = $2, attnums = $3, kinds = $4, layout = $5, natts = $6,"
								  " insert_only = $7, ignore_old = $8%s WHERE relid = $1",
								  masks ? ", mask = $9" : ""),
						 n, types, values, NULL) == 0)
		pgt_catalog_exec(psprintf("INSERT INTO pgtrickle.pgt_sources (relid, gen, attnums, kinds, layout, natts, insert_only, ignore_old%s)"
								  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8%s)",
								  masks ? ", mask" : "", masks ? ", $9" : ""),
						 n, types, values, NULL);
}

static void
invalidate_family(Oid relid)
{
	ListCell *lc;

	foreach (lc, pgt_source_family(relid, NoLock))
	{
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(lc))))
			CacheInvalidateRelcacheByRelid(lfirst_oid(lc));
	}
}

/* ---------- locks ---------- */

void
pgt_source_lock_entry(Oid relid, LOCKMODE mode)
{
	LockDatabaseObject(pgt_catalog_relid("pgt_sources"), relid, 0, mode);
}

bool
pgt_source_try_lock_entry(Oid relid, LOCKMODE mode)
{
	return pgt_try_lock_object(pgt_catalog_relid("pgt_sources"), relid, mode);
}

static int
lock_budget(void)
{
	return pgt_guc_register_lock_timeout > 0 ? pgt_guc_register_lock_timeout : Max(DeadlockTimeout * 3 / 10, 1);
}

/* lock_timeout for what is left of the budget, unless the user's own is shorter.  Undone with the caller's GUC level. */
static void
set_lock_timeout(TimestampTz deadline)
{
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
	char value[32];

	left = Max(left, 1);
	if (LockTimeout > 0 && LockTimeout < left)
		return;
	snprintf(value, sizeof(value), "%ld", left);
	(void) set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* One registration's attempts at its locks. */
typedef struct LockAttempt
{
	List *relids; /* to be registered */
	TimestampTz deadline;
	List *first; /* relations to begin with, learnt from failures */
	Oid waiting; /* the relation whose lock is waited for */
} LockAttempt;

static void
lock_relation_until(Oid relid, LockAttempt *attempt)
{
	if (ConditionalLockRelationOid(relid, ShareRowExclusiveLock))
		return;
	attempt->waiting = relid;
	set_lock_timeout(attempt->deadline);
	LockRelationOid(relid, ShareRowExclusiveLock);
}

/* One attempt at all locks of a registration; raises ERRCODE_LOCK_NOT_AVAILABLE when the time is up. */
static void
lock_once(void *arg)
{
	LockAttempt *attempt = arg;
	List *relids = attempt->relids;
	List *locked = NIL;
	bool more = true;
	int nest = NewGUCNestLevel();
	ListCell *lc;

	foreach (lc, relids)
	{
		if (pgt_source_try_lock_entry(lfirst_oid(lc), ShareUpdateExclusiveLock))
			continue;
		set_lock_timeout(attempt->deadline);
		pgt_source_lock_entry(lfirst_oid(lc), ShareUpdateExclusiveLock);
	}

	/* families may grow until their members are locked: attaching a child needs a lock on the parent that conflicts with ours */
	while (more)
	{
		List *wanted = NIL;

		foreach (lc, relids)
			wanted = list_concat_unique_oid(wanted, pgt_source_family(lfirst_oid(lc), NoLock));
		wanted = list_difference_oid(wanted, locked);
		list_sort(wanted, list_oid_cmp);
		foreach (lc, attempt->first)
		{
			if (list_member_oid(wanted, lfirst_oid(lc)))
				lock_relation_until(lfirst_oid(lc), attempt);
		}
		foreach (lc, list_difference_oid(wanted, attempt->first))
			lock_relation_until(lfirst_oid(lc), attempt);
		locked = list_concat(locked, wanted);
		more = wanted != NIL;
	}
	AtEOXact_GUC(false, nest);
}

/*
 * lock_once in a subtransaction.  false: timed out, nothing is locked.  We may have waited for somebody who waits for a lock
 * that we hold, because he takes them in another order (a partition first, then its root).  So the next attempt begins with what
 * this one waited for in vain: it comes to follow the order of the writers.
 */
static bool
try_lock(LockAttempt *attempt)
{
	ErrorData *error = pgt_attempt(lock_once, attempt);

	if (error == NULL)
		return true;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
		ReThrowError(error);
	FreeErrorData(error);
	if (OidIsValid(attempt->waiting))
		attempt->first = lcons_oid(attempt->waiting, list_delete_oid(attempt->first, attempt->waiting));
	return false;
}

/* Let the writers that queued behind us go first; jitter so that two registrations do not meet again and again. */
static void
pause_between_tries(int budget)
{
	long ms = budget + (long) (pg_prng_double(&pg_global_prng_state) * budget);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
lock_sources(List *relids)
{
	int budget = lock_budget();
	LockAttempt attempt = {.relids = relids};

	for (int i = 0; i < LOCK_TRIES; i++)
	{
		if (i > 0)
			pause_between_tries(budget);
		attempt.waiting = InvalidOid;
		attempt.deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), budget);
		if (try_lock(&attempt))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 list_length(relids) == 1
				 ? errmsg("could not lock table \"%s\" to register it for capture", get_rel_name(linitial_oid(relids)))
				 : errmsg("could not lock %d tables to register them for capture", list_length(relids)),
			 errdetail("Other transactions were writing during each of %d attempts of %d ms.", LOCK_TRIES, budget),
			 errhint("Try again when no long transaction writes to the table, or raise pg_trickle.register_lock_timeout.")));
}

/* ---------- registration ---------- */

/*
 * Refresh history is captured for its inserts only, whoever reads it: its rows never change, and they are purged days after the last
 * window has let them go.  No reader should compare anew because of that.
 */
static bool
is_history(Oid relid)
{
	return relid == pgt_catalog_relid("pgt_refresh_history");
}

static bool
covers(const PgtSource *have, const PgtSourceWant *want)
{
	return have != NULL && (!have->insert_only || want->insert_only || have->ignore_old) &&
		   list_difference_int(want->attnums, have->attnums) == NIL;
}

static void
require_identity(const PgtSource *source, bool check_owner)
{
	ListCell *lc;

	if (source->insert_only)
		return;
	foreach (lc, pgt_source_leaves(source->relid))
		pgt_identity_require(lfirst_oid(lc), source, check_owner);
}

static int32
next_generation(void)
{
	bool isnull;

	pgt_catalog_exec("SELECT pg_catalog.nextval('pgtrickle.pgt_gen_seq')::int4", 0, NULL, NULL, NULL);
	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Write `source` as a new generation with buffer and invalidations; the family is locked. */
static void
install(PgtSource *source, bool check_owner)
{
	PgtCatalogScope scope;

	describe_columns(source);
	require_identity(source, check_owner);
	scope = pgt_catalog_begin();
	SPI_connect();
	source->gen = next_generation();
	pgt_segment_begin(source);
	store_source(source);
	SPI_finish();
	pgt_catalog_end(scope);
	invalidate_family(source->relid);
}

static void
install_want(const PgtSourceWant *want)
{
	PgtSource *have;
	PgtSource source = {.relid = want->relid};

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(want->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u was dropped while it was being registered", want->relid)));
	have = pgt_source_get(want->relid);
	if (covers(have, want))
		return;
	source.attnums = have ? list_union_int(have->attnums, want->attnums) : list_concat_unique_int(NIL, want->attnums);
	list_sort(source.attnums, list_int_cmp);
	source.ignore_old = is_history(want->relid);
	source.insert_only = source.ignore_old || (want->insert_only && (have == NULL || have->insert_only));
	source.mask = pgt_guc_columnar_tracking && pgt_schema_has_masks();
	install(&source, true);
}

static int
want_cmp(const ListCell *a, const ListCell *b)
{
	Oid x = ((PgtSourceWant *) lfirst(a))->relid;
	Oid y = ((PgtSourceWant *) lfirst(b))->relid;

	return x < y ? -1 : x > y;
}

void
pgt_source_register_all(List *wants)
{
	List *sorted = list_copy(wants);
	List *relids = NIL;
	ListCell *lc;

	list_sort(sorted, want_cmp);
	/* relied upon from here on: no release, no trimming of what this transaction's first load may still need */
	foreach (lc, sorted)
	{
		PgtSourceWant *want = lfirst(lc);
		PgtSource *have;

		pgt_source_lock_entry(want->relid, AccessShareLock);
		have = pgt_source_get(want->relid);
		if (!covers(have, want))
			relids = list_append_unique_oid(relids, want->relid);
	}
	if (relids == NIL)
		return;
	lock_sources(relids);
	foreach (lc, sorted)
		install_want(lfirst(lc));
}

void
pgt_source_register(Oid relid, List *attnums, bool insert_only)
{
	PgtSourceWant want = {relid, attnums, insert_only};

	pgt_source_register_all(list_make1(&want));
}

void
pgt_source_regenerate(Oid relid, const char *reason)
{
	PgtSource *source = pgt_source_get(relid);
	ListCell *lc;

	if (source == NULL)
		return;
	lock_sources(list_make1_oid(relid));
	source = pgt_source_get(relid);
	if (source == NULL)
		return;
	source->attnums = live_columns(relid, source->attnums);
	install(source, false);
	foreach (lc, pgt_st_readers(relid))
		pgt_st_mark_reinit(*(int64 *) lfirst(lc), reason);
}

static void
remove_entry(Oid relid)
{
	Oid types[1] = {OIDOID};
	Datum values[1] = {ObjectIdGetDatum(relid)};
	PgtCatalogScope scope = pgt_catalog_begin();

	note_registry_write();
	SPI_connect();
	pgt_catalog_exec("DELETE FROM pgtrickle.pgt_sources WHERE relid = $1", 1, types, values, NULL);
	pgt_catalog_exec("DELETE FROM pgtrickle.pgt_source_events WHERE source_relid = $1", 1, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
	(void) pgt_segment_drop_all(relid);
}

void
pgt_source_release(Oid relid)
{
	pgt_source_lock_entry(relid, AccessExclusiveLock);
	if (pgt_st_readers(relid) != NIL || pgt_source_get(relid) == NULL)
		return;
	remove_entry(relid);
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		invalidate_family(relid);
	pgt_identity_restore(relid);
}

void
pgt_source_forget(Oid relid)
{
	pgt_source_lock_entry(relid, AccessExclusiveLock);
	remove_entry(relid);
	pgt_identity_restore(relid);
}

/* ---------- what cannot be a source ---------- */

static void
refuse(const char *name, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("\"%s\" cannot be a source of a stream table", name),
			 errdetail("It is %s.", what),
			 errhint("%s", hint)));
}

static void
check_kind(const char *name, char relkind)
{
	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			return;
		case RELKIND_FOREIGN_TABLE:
			refuse(name, "a foreign table, whose changes are not in this server's WAL",
				   "Copy it into a table, for instance by logical replication, and read that.");
			break;
		case RELKIND_MATVIEW:
			refuse(name, "a materialized view, whose refreshes are not in the WAL as changes",
				   "Make it a stream table, or read the tables below it.");
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table", name),
					 errhint("Stream tables read tables, partitioned tables, views and other stream tables.")));
	}
}

static void
check_member(Oid relid)
{
	char *name = get_rel_name(relid);
	char persistence;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relid)));
	persistence = get_rel_persistence(relid);
	check_kind(name, get_rel_relkind(relid));
	if (persistence == RELPERSISTENCE_TEMP)
		refuse(name, "a temporary table, whose changes are not in the WAL", "Use a permanent table.");
	if (persistence == RELPERSISTENCE_UNLOGGED)
		refuse(name, "an unlogged table, whose changes are not in the WAL", "ALTER TABLE ... SET LOGGED makes it usable.");
}

static void
check_privileges(Oid relid, Oid owner)
{
	char *name = get_rel_name(relid);

	if (pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, owner, ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", name),
				 errhint("The owner of a stream table needs SELECT on its sources.")));
	if (check_enable_rls(relid, owner, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"%s\" cannot be a source of a stream table", name),
				 errdetail("Row-level security is in force for role \"%s\"; captured changes would bypass it.",
						   GetUserNameFromId(owner, false)),
				 errhint("Let a role own the stream table to which the policies do not apply (the table's owner or one with BYPASSRLS).")));
}

void
pgt_source_check(Oid relid, Oid owner)
{
	ListCell *lc;

	if (relid < FirstNormalObjectId)
		refuse(get_rel_name(relid) ? get_rel_name(relid) : "?", "a system catalog", "Stream tables read user tables only.");
	if (get_rel_namespace(relid) == pgt_changes_namespace() || relid == pgt_catalog_relid("pgt_sources") ||
		relid == pgt_catalog_relid("pgt_state") || relid == pgt_catalog_relid("pgt_frontiers"))
		refuse(get_rel_name(relid), "internal to pg_trickle", "Stream tables read user tables only.");
	foreach (lc, pgt_source_family(relid, NoLock))
		check_member(lfirst_oid(lc));
	check_privileges(relid, owner);
}
