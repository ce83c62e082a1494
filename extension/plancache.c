/*
 * plancache.c - compiled views and prepared programs, kept per session (see plancache.h).
 *
 * A plan carries the row counts of the day it was made: one made for 1 delta row and reused for 10,000 can be hundreds of times
 * too slow.  So programs are kept per (changed sources, size class), and the number of STs a session remembers is bounded.
 * An entry belongs to one version of the definition's row: definition_version counts the changes of query and storage, xmin tells
 * apart a change that was rolled back and the one that came instead, and changes when the ST itself is renamed; types and the
 * like can be mentioned without any of that, so all entries go when something is renamed (names_epoch).  What else a view takes
 * from the catalogs (NOT NULL, primary keys, the ST's indexes) makes it stale by relcache invalidation.  Plans themselves are
 * revalidated by the server's plan cache.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/ilist.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "plancache.h"
#include "storage.h"

PG_FUNCTION_INFO_V1(pgt_cache_stats);

/* STs a session remembers; a refresh connection of the consumer serves at most a few hundred in practice. */
#define MAX_CACHED_STS 256
/* Programs per ST: enough for a join of four sources in all size classes that occur. */
#define MAX_PROGRAMS_PER_ST 48

typedef struct CachedProgram
{
	PgtProgramKind kind;
	Bitmapset *changed;
	int size_class;
	PgtPrepared prepared;
} CachedProgram;

typedef struct CachedView
{
	int64 pgt_id; /* hash key */
	int version;
	TransactionId xmin;
	uint64 names_epoch;
	MemoryContext context;
	PgtView *view;
	List *programs; /* of CachedProgram */
	bool stale;     /* a source or the ST itself has changed in some way: constraints, indexes */
	PgtTarget target;
	dlist_node lru;
} CachedView;

static HTAB *views = NULL;
static dlist_head lru_list = DLIST_STATIC_INIT(lru_list);
static int nviews = 0;

/* What this session has counted, for cache_stats(). */
static int64 hits = 0;   /* the program was there */
static int64 misses = 0; /* it had to be made */
static int64 evictions = 0;

static int
size_class(int64 rows)
{
	return rows <= PGT_SMALL_DELTA ? 0 : rows <= PGT_MEDIUM_DELTA ? 1
																  : 2;
}

static void
drop_program(CachedProgram *program)
{
	int nsteps = list_length(program->prepared.program->steps);

	for (int i = 0; i < nsteps; i++)
		if (program->prepared.plans[i])
			SPI_freeplan(program->prepared.plans[i]);
	MemoryContextDelete(program->prepared.context);
}

static void
drop_view(CachedView *entry)
{
	ListCell *lc;

	foreach (lc, entry->programs)
		drop_program(lfirst(lc));
	if (entry->context)
		MemoryContextDelete(entry->context);
	dlist_delete(&entry->lru);
	nviews--;
	hash_search(views, &entry->pgt_id, HASH_REMOVE, NULL);
}

void
pgt_cache_forget(int64 pgt_id)
{
	CachedView *entry = views ? hash_search(views, &pgt_id, HASH_FIND, NULL) : NULL;

	if (entry)
		drop_view(entry);
}

/* Only sets flags: it may come at any time. */
static void
relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	CachedView *entry;

	hash_seq_init(&scan, views);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->stale |= !OidIsValid(relid) || relid == entry->target.relid;
		for (int i = 0; i < entry->view->nsources && !entry->stale; i++)
			entry->stale = entry->view->sources[i].relid == relid;
	}
}

static void
create_cache(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(CachedView);
	ctl.hcxt = TopMemoryContext;
	views = hash_create("pg_trickle views", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
}

/* To make room, not because it is outdated. */
static void
evict_view(CachedView *entry)
{
	evictions += list_length(entry->programs);
	drop_view(entry);
}

/* Compile into a context of its own first, so that an error leaves no half-made entry. */
static CachedView *
add_view(const PgtStreamTable *st)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_trickle view", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	PgtView *view = pgt_view_compile(st->query);
	char *name = quote_qualified_identifier(st->schema, st->name);
	char *inner = pgt_storage_inner_prefix(st->id);
	CachedView *entry;

	MemoryContextSwitchTo(caller);
	while (nviews >= MAX_CACHED_STS)
		evict_view(dlist_container(CachedView, lru, dlist_tail_node(&lru_list)));
	entry = hash_search(views, &st->id, HASH_ENTER, NULL);
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->version = st->definition_version;
	entry->xmin = st->definition_xmin;
	entry->names_epoch = st->names_epoch;
	entry->context = context;
	entry->view = view;
	entry->programs = NIL;
	entry->stale = false;
	entry->target = (PgtTarget){.st = name, .relid = st->relid, .inner = inner};
	if (inner == NULL)
		pgt_view_without_inner(view);
	dlist_push_head(&lru_list, &entry->lru);
	nviews++;
	return entry;
}

static bool
is_current(const CachedView *entry, const PgtStreamTable *st)
{
	return !entry->stale && (entry->target.inner == NULL) == (pgt_storage_inner_prefix(st->id) == NULL) && entry->version == st->definition_version && entry->xmin == st->definition_xmin &&
		   entry->names_epoch == st->names_epoch && entry->target.relid == st->relid;
}

static CachedView *
find_view(const PgtStreamTable *st)
{
	CachedView *entry;

	if (views == NULL)
		create_cache();
	entry = hash_search(views, &st->id, HASH_FIND, NULL);
	if (entry && !is_current(entry, st))
	{
		drop_view(entry);
		entry = NULL;
	}
	if (entry == NULL)
		return add_view(st);
	dlist_move_head(&lru_list, &entry->lru);
	return entry;
}

PgtView *
pgt_cached_view(const PgtStreamTable *st)
{
	return find_view(st)->view;
}

static CachedProgram *
add_program(CachedView *entry, PgtProgramKind kind, Bitmapset *changed, int class)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_trickle program", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	CachedProgram *program = palloc0(sizeof(CachedProgram));
	PgtTarget plain = {.st = entry->target.st, .relid = entry->target.relid};
	PgtProgram *compiled;

	if (kind == PGT_PROGRAM_DELTA)
		compiled = pgt_view_delta_program(entry->view, &entry->target, changed);
	else if (kind == PGT_PROGRAM_DIFF || kind == PGT_PROGRAM_DIFF_PLAIN)
		compiled = pgt_view_diff_program(entry->view, kind == PGT_PROGRAM_DIFF ? &entry->target : &plain);
	else if (kind == PGT_PROGRAM_CROSSING)
		compiled = pgt_view_crossing_program(entry->view);
	else
		compiled = pgt_view_load_program(entry->view, kind == PGT_PROGRAM_LOAD ? &entry->target : &plain);
	program->kind = kind;
	program->changed = bms_copy(changed);
	program->size_class = class;
	program->prepared.program = compiled;
	program->prepared.plans = palloc0(sizeof(SPIPlanPtr) * Max(1, list_length(compiled->steps)));
	program->prepared.context = context;
	MemoryContextSwitchTo(caller);

	MemoryContextSetParent(context, CacheMemoryContext);
	caller = MemoryContextSwitchTo(entry->context);
	entry->programs = lcons(program, entry->programs);
	MemoryContextSwitchTo(caller);
	return program;
}

PgtPrepared *
pgt_cached_program(const PgtStreamTable *st, PgtProgramKind kind, Bitmapset *changed, int64 rows)
{
	CachedView *entry = find_view(st);
	int class = kind == PGT_PROGRAM_DELTA ? size_class(rows) : 0;
	ListCell *lc;

	foreach (lc, entry->programs)
	{
		CachedProgram *program = lfirst(lc);

		if (program->kind == kind && program->size_class == class && bms_equal(program->changed, changed))
		{
			hits++;
			return &program->prepared;
		}
	}
	misses++;
	if (list_length(entry->programs) >= MAX_PROGRAMS_PER_ST)
	{
		drop_program(llast(entry->programs));
		entry->programs = list_delete_last(entry->programs);
		evictions++;
	}
	return &add_program(entry, kind, changed, class)->prepared;
}

static int
kept_programs(void)
{
	dlist_iter iter;
	int n = 0;

	dlist_foreach (iter, &lru_list)
		n += list_length(dlist_container(CachedView, lru, iter.cur)->programs);
	return n;
}

/* SQL: cache_stats().  There is one level only: nothing is shared between sessions. */
Datum
pgt_cache_stats(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[5] = {Int64GetDatum(hits), (Datum) 0, Int64GetDatum(misses), Int64GetDatum(evictions), Int32GetDatum(kept_programs())};
	bool nulls[5] = {false, true, false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
