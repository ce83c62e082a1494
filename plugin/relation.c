/*
 * relation.c - which registered relations a table's changes go to, and how each column travels.
 *
 * Two hash tables.  `entries`: one per table that changes were decoded for, tracked or not; found by one look-up, or none
 * when the table is that of the change before.  `roots`: one per relation looked up in the registry, for itself or as an
 * ancestor; it remembers what the stream has already been told about it.
 *
 * What is cached is true for the historic snapshot of the moment.  The invalidations that WAL carries tell when it stops being
 * true, in mid-transaction too; callbacks may come at any time, even while an entry is being built, so they only clear flags,
 * and a flag is set before the catalogs are read.  An invalidation of a table concerns its own entry and, when it is an
 * ancestor, those of all descendants: `epoch` moves on, and every entry of an older epoch is stale.
 *
 * Callbacks cannot be unregistered: they find the tables through a static pointer that the death of the session's memory
 * clears, so the plugin can start again in the same backend (SQL interface).
 */
#include "plugin/relation.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "extension/compat.h"
#include "extension/layout.h"
#include "plugin/registry.h"
#include "plugin/wire.h"

typedef struct Cache
{
	MemoryContext context;
	HTAB *entries;
	HTAB *roots;
	PgtEntry *last;
	uint64 epoch;
} Cache;

static Cache *cache = NULL;

static void
relcache_callback(Datum arg, Oid relid)
{
	PgtEntry *e;
	PgtRoot *r;
	bool all = pgt_registry_invalidate(relid);

	if (cache == NULL)
		return;
	if (all)
	{
		cache->epoch++;
		return;
	}
	e = hash_search(cache->entries, &relid, HASH_FIND, NULL);
	if (e != NULL)
		e->valid = false;
	r = hash_search(cache->roots, &relid, HASH_FIND, NULL);
	if (r != NULL)
	{
		r->valid = false;
		if (r->is_ancestor)
			cache->epoch++;
	}
}

/* Names of schemas, functions of types: rare, so everything is looked up again. */
static void
syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	pgt_registry_invalidate(InvalidOid);
	if (cache != NULL)
		cache->epoch++;
}

static void
forget_cache(void *arg)
{
	cache = NULL;
}

static HTAB *
make_hash(const char *name, Size entrysize, MemoryContext context)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = entrysize;
	ctl.hcxt = context;
	return hash_create(name, 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
pgt_relation_cache_create(MemoryContext session)
{
	static bool registered = false;
	MemoryContextCallback *forget;
	Cache *c = MemoryContextAllocZero(session, sizeof(Cache));

	c->context = session;
	c->entries = make_hash("pgtrickle tables", sizeof(PgtEntry), session);
	c->roots = make_hash("pgtrickle registered relations", sizeof(PgtRoot), session);
	c->epoch = 1;
	forget = MemoryContextAllocZero(session, sizeof(MemoryContextCallback));
	forget->func = forget_cache;
	MemoryContextRegisterResetCallback(session, forget);
	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, syscache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, syscache_callback, (Datum) 0);
		registered = true;
	}
	pgt_registry_invalidate(InvalidOid);
	cache = c;
}

/* ---- registered relations ---- */

/* Names of schema, relation and columns; a column that is gone has none. */
static void
read_names(PgtRoot *root, Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);
	char *schema = get_namespace_name(RelationGetNamespace(rel));

	root->schema = schema ? schema : pstrdup("");
	root->name = pstrdup(RelationGetRelationName(rel));
	root->colnames = palloc0(sizeof(char *) * Max(root->ncols, 1));
	for (int i = 0; i < root->ncols; i++)
	{
		Form_pg_attribute att;

		if (root->attnums[i] > desc->natts)
			continue;
		att = TupleDescAttr(desc, root->attnums[i] - 1);
		if (!att->attisdropped)
			root->colnames[i] = pstrdup(NameStr(att->attname));
	}
}

static void
build_message(PgtRoot *root)
{
	unsigned char b[12];

	initStringInfo(&root->message);
	pgt_put32(b, root->relid);
	pgt_put32(b + 4, (uint32) root->gen);
	pgt_put16(b + 8, (uint16) root->natts);
	pgt_put16(b + 10, (uint16) root->ncols);
	appendBinaryStringInfo(&root->message, (char *) b, 12);
	for (int i = 0; i < root->ncols; i++)
	{
		pgt_put16(b, (uint16) root->attnums[i]);
		appendBinaryStringInfo(&root->message, (char *) b, 2);
	}
	appendBinaryStringInfo(&root->message, root->schema, strlen(root->schema) + 1);
	appendBinaryStringInfo(&root->message, root->name, strlen(root->name) + 1);
}

/* What the stream was told stays true as long as the relation message would be the same. */
static void
describe_root(PgtRoot *root, const StringInfoData *before)
{
	Relation rel = RelationIdGetRelation(root->relid);
	MemoryContext old;

	if (rel == NULL)
	{
		root->tracked = false;
		return;
	}
	old = MemoryContextSwitchTo(root->context);
	read_names(root, rel);
	build_message(root);
	MemoryContextSwitchTo(old);
	RelationClose(rel);
	if (before->data == NULL || before->len != root->message.len ||
		memcmp(before->data, root->message.data, before->len) != 0)
	{
		root->announced = false;
		root->reason[0] = '\0';
	}
}

static PgtRoot *
get_root(Oid relid, bool is_ancestor)
{
	bool found;
	PgtRoot *root = hash_search(cache->roots, &relid, HASH_ENTER, &found);
	MemoryContext before_context;
	StringInfoData before;

	if (!found)
	{
		memset(root, 0, sizeof(*root));
		root->relid = relid;
	}
	root->is_ancestor |= is_ancestor;
	if (root->valid && root->epoch == cache->epoch)
		return root;
	root->valid = true;
	root->epoch = cache->epoch;
	before_context = root->context;
	before = root->message;
	root->context = NULL;
	root->message.data = NULL;
	pgt_registry_load(root, cache->context);
	if (root->tracked)
		describe_root(root, &before);
	if (before_context != NULL)
		MemoryContextDelete(before_context);
	return root;
}

/* ---- columns ---- */

/* Send functions whose output is the datum itself in network order, or its bytes. */
static bool
direct_code(Oid send, PgtColumn *col)
{
	switch (send)
	{
		case F_BOOLSEND:
		case F_CHARSEND:
			col->code = PGT_CODE_W1;
			return true;
		case F_INT2SEND:
			col->code = PGT_CODE_W2;
			return true;
		case F_INT4SEND:
		case F_FLOAT4SEND:
		case F_DATE_SEND:
		case F_OIDSEND:
		case F_XIDSEND:
		case F_CIDSEND:
		case F_REGPROCSEND:
		case F_REGCLASSSEND:
		case F_REGTYPESEND:
			col->code = PGT_CODE_W4;
			return true;
		case F_INT8SEND:
		case F_FLOAT8SEND:
		case F_TIME_SEND:
		case F_TIMESTAMP_SEND:
		case F_TIMESTAMPTZ_SEND:
		case F_CASH_SEND:
		case F_PG_LSN_SEND:
		case F_XID8SEND:
			col->code = PGT_CODE_W8;
			return col->typbyval;
		case F_UUID_SEND:
			col->code = PGT_CODE_FIXED;
			return true;
		case F_NUMERIC_SEND:
			col->code = PGT_CODE_NUMERIC;
			return col->typlen == -1;
		case F_TEXTSEND:
		case F_VARCHARSEND:
		case F_BPCHARSEND:
		case F_BYTEASEND:
		case F_JSON_SEND:
			col->code = PGT_CODE_VARLENA;
			return col->typlen == -1;
		default:
			return false;
	}
}

/* How this column's values become bytes.  NULL, or why they cannot. */
static const char *
choose_code(PgtColumn *col, char kind)
{
	HeapTuple tup = SearchSysCache1(TYPEOID, ObjectIdGetDatum(col->typid));
	Form_pg_type typ;
	Oid send;

	if (!HeapTupleIsValid(tup))
		return psprintf("column \"%s\" has an unknown type", col->name);
	typ = (Form_pg_type) GETSTRUCT(tup);
	col->outfunc = typ->typoutput;
	send = typ->typsend;
	ReleaseSysCache(tup);
	if (kind == PGT_KIND_DATUM)
	{
		col->code = col->typlen == -1 ? PGT_CODE_VARLENA : (col->typlen > 0 && !col->typbyval) ? PGT_CODE_FIXED
																							   : PGT_CODE_DATUM;
		return NULL;
	}
	if (!OidIsValid(send))
		return psprintf("type %s of column \"%s\" has no binary output function", format_type_be(col->typid), col->name);
	fmgr_info_cxt(send, &col->send, CurrentMemoryContext);
	if (!direct_code(send, col))
		col->code = PGT_CODE_SEND;
	return NULL;
}

/* Index of the attribute of this name; the same position is by far the likeliest. */
static int
find_attribute(TupleDesc desc, const char *name, int likely)
{
	for (int i = -1; i < desc->natts; i++)
	{
		int a = i < 0 ? likely : i;

		if (a < desc->natts && !TupleDescAttr(desc, a)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, a)->attname), name) == 0)
			return a;
	}
	return -1;
}

/* One captured column as it is found in this table's tuples.  NULL, or why its values cannot be sent. */
static const char *
map_column(PgtColumn *col, PgtRoot *root, int i, TupleDesc desc)
{
	Form_pg_attribute att;

	if (root->colnames[i] == NULL)
		return psprintf("captured column %d does not exist any more", root->attnums[i]);
	col->name = pstrdup(root->colnames[i]);
	col->root_bit = root->attnums[i] - 1;
	col->att = find_attribute(desc, col->name, col->root_bit);
	if (col->att < 0)
		return psprintf("table has no column \"%s\"", col->name);
	att = TupleDescAttr(desc, col->att);
	if (att->attgenerated != '\0' && att->attgenerated != 's')
		return psprintf("column \"%s\" is generated and not stored", col->name);
	col->typid = att->atttypid;
	col->typlen = att->attlen;
	col->typbyval = att->attbyval;
	return choose_code(col, root->kinds[i]);
}

static void
build_target(PgtTarget *t, PgtRoot *root, TupleDesc desc, Bitmapset *key)
{
	uint32 layout = PGT_LAYOUT_SEED;

	t->root = root;
	t->gen = root->gen;
	t->ncols = root->ncols;
	t->cols = palloc0(sizeof(PgtColumn) * Max(root->ncols, 1));
	t->changed = palloc0(sizeof(bool) * Max(root->ncols, 1));
	t->all_key = true;
	for (int i = 0; i < root->ncols && t->broken == NULL; i++)
	{
		PgtColumn *col = &t->cols[i];

		t->broken = map_column(col, root, i, desc);
		if (t->broken != NULL)
			break;
		layout = pgt_layout_step(layout, (uint16) root->attnums[i], col->typid);
		col->in_key = bms_is_member(col->att + 1 - FirstLowInvalidHeapAttributeNumber, key);
		t->all_key &= col->in_key;
		t->has_send |= col->code == PGT_CODE_SEND;
		t->maxatt = Max(t->maxatt, col->att + 1);
	}
	if (t->broken == NULL && layout != root->layout)
		t->broken = "the types of the captured columns have changed";
}

/* ---- tables ---- */

/* Partition and inheritance parents at every level; a partition that is being detached concurrently has left. */
static List *
find_ancestors(Oid relid)
{
	List *queue = list_make1_oid(relid);
	Relation inhrel = table_open(InheritsRelationId, AccessShareLock);
	ListCell *lc;

	foreach (lc, queue)
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple tup;

		ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(lfirst_oid(lc)));
		scan = systable_beginscan(inhrel, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
		while (HeapTupleIsValid(tup = systable_getnext(scan)))
		{
			Form_pg_inherits inh = (Form_pg_inherits) GETSTRUCT(tup);

			if (!inh->inhdetachpending)
				queue = list_append_unique_oid(queue, inh->inhparent);
		}
		systable_endscan(scan);
	}
	table_close(inhrel, AccessShareLock);
	return queue;
}

/* Make the parts that only tracked tables need. */
static void
build_targets(PgtEntry *e, Relation relation, List *roots)
{
	MemoryContext old;
	TupleDesc desc;
	Bitmapset *key;
	ListCell *lc;
	PgtTarget *targets;
	int n = 0;

	e->context = AllocSetContextCreate(cache->context, "pgtrickle table", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(e->context);
	desc = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	e->full_identity = relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	key = e->full_identity ? NULL : RelationGetIdentityKeyBitmap(relation);
	targets = palloc0(sizeof(PgtTarget) * list_length(roots));
	foreach (lc, roots)
		build_target(&targets[n++], lfirst(lc), desc, key);
	e->oldslot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	e->newslot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	e->targets = targets;
	e->ntargets = n;
	MemoryContextSwitchTo(old);
}

static void
rebuild_entry(PgtEntry *e, Relation relation)
{
	List *family;
	List *roots = NIL;
	ListCell *lc;

	e->ntargets = 0;
	if (e->context != NULL)
		MemoryContextDelete(e->context);
	e->context = NULL;
	e->valid = true;
	e->epoch = cache->epoch;
	family = find_ancestors(e->relid);
	foreach (lc, family)
	{
		PgtRoot *root = get_root(lfirst_oid(lc), lfirst_oid(lc) != e->relid);

		if (root->tracked)
			roots = lappend(roots, root);
	}
	if (roots != NIL)
		build_targets(e, relation, roots);
	list_free(roots);
	list_free(family);
}

PgtEntry *
pgt_relation_get(Relation relation)
{
	Oid relid = RelationGetRelid(relation);
	PgtEntry *e = cache->last;
	bool found;

	if (e != NULL && e->relid == relid && e->valid && e->epoch == cache->epoch)
		return e;
	e = hash_search(cache->entries, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset(e, 0, sizeof(*e));
		e->relid = relid;
	}
	if (!e->valid || e->epoch != cache->epoch)
		rebuild_entry(e, relation);
	cache->last = e;
	return e;
}
