/*
 * change.c - what of one row change is sent.
 *
 * A change goes to every registered relation among the table and its ancestors.  What cannot be told exactly is not told
 * at all: an 'X' row takes its place, once per transaction and registered relation, and makes the readers compare afresh.
 *   - the captured columns are not what the registration says (DDL);
 *   - an old value is needed and the replica identity did not write it;
 *   - an append-only registration meets an UPDATE or DELETE (unless it says that these are no changes: ignore_old);
 *   - a type's own code raises an error.
 *
 * The last of these is why all encoding runs under PG_TRY: one value that its type refuses to send would otherwise stop the
 * stream of the whole database for ever.  Type functions run with a resource owner of their own, so that what they held when
 * they failed can be given back without ending the transaction in which the core replays the changes; and with a client
 * encoding that equals the server's, because send functions convert text, and a conversion can fail.
 */
#include "plugin/plugin.h"

#include "mb/pg_wchar.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "extension/compat.h"

typedef struct Tuples
{
	ReorderBufferChangeType action;
	HeapTuple oldtup;
	HeapTuple newtup;
} Tuples;

static inline bool
on_disk(const PgtColumn *col, const TupleTableSlot *slot)
{
	return col->typlen == -1 && !slot->tts_isnull[col->att] &&
		   VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(slot->tts_values[col->att]));
}

/* Does the row hold a value that stayed on disk?  Only an UPDATE can, and there the old row has it. */
static bool
has_missing_value(PgtTarget *t, TupleTableSlot *slot, HeapTuple tup)
{
	if (!HeapTupleHasExternal(tup))
		return false;
	for (int i = 0; i < t->ncols; i++)
		if (on_disk(&t->cols[i], slot))
			return true;
	return false;
}

static void
load(TupleTableSlot *slot, HeapTuple tup, int natts)
{
	ExecStoreHeapTuple(tup, slot, false);
	slot_getsomeattrs(slot, natts);
}

static void
send_slot(PgtSession *s, PgtTarget *t, char op, TupleTableSlot *slot, const PgtMask *mask, const bool *changed)
{
	PgtRow row = {.op = op, .values = slot->tts_values, .nulls = slot->tts_isnull, .mask = mask, .changed = changed};

	pgt_send_row(s, t, &row);
}

static void
insert_row(PgtSession *s, PgtEntry *e, PgtTarget *t, const Tuples *tuples)
{
	if (tuples->newtup == NULL)
	{
		pgt_send_unknown(s, t, "inserted row is not in the WAL");
		return;
	}
	load(e->newslot, tuples->newtup, t->maxatt);
	if (has_missing_value(t, e->newslot, tuples->newtup))
		pgt_send_unknown(s, t, "inserted row is incomplete");
	else
		send_slot(s, t, PGT_OP_PLUS, e->newslot, NULL, NULL);
}

/* Are the old values of all captured columns in the old tuple, if there is one? */
static inline bool
identity_suffices(const PgtEntry *e, const PgtTarget *t)
{
	return e->full_identity || t->all_key;
}

static const char *const identity_reason = "replica identity does not give the old values of the captured columns";

static void
delete_row(PgtSession *s, PgtEntry *e, PgtTarget *t, const Tuples *tuples)
{
	PgtRow nothing = {.op = PGT_OP_MINUS};

	if (t->ncols == 0)
		pgt_send_row(s, t, &nothing);
	else if (tuples->oldtup == NULL || !identity_suffices(e, t))
		pgt_send_unknown(s, t, identity_reason);
	else
	{
		load(e->oldslot, tuples->oldtup, t->maxatt);
		send_slot(s, t, PGT_OP_MINUS, e->oldslot, NULL, NULL);
	}
}

static inline void
mark(PgtMask *mask, int bit)
{
	if (mask->bits != NULL)
		mask->bits[bit / 8] |= 0x80 >> (bit % 8);
	else
		mask->low |= UINT64CONST(1) << bit;
}

/*
 * Compare old and new, and complete new by the values that stayed on disk.  Fills mask and t->changed; false when no captured
 * column differs.
 */
static bool
compare_rows(PgtTarget *t, TupleTableSlot *old, TupleTableSlot *new, bool external, PgtMask *mask)
{
	bool differ = false;
	bool *changed = t->changed;

	for (const PgtColumn *col = t->cols, *end = col + t->ncols; col < end; col++, changed++)
	{
		int a = col->att;
		Datum v = old->tts_values[a];
		Datum w = new->tts_values[a];

		*changed = false;
		if (unlikely(external) && on_disk(col, new))
		{
			new->tts_values[a] = v;
			new->tts_isnull[a] = old->tts_isnull[a];
			continue;
		}
		if (old->tts_isnull[a] == new->tts_isnull[a] &&
			(old->tts_isnull[a] || (col->typbyval ? v == w : !pgt_values_differ(col, v, w))))
			continue;
		*changed = true;
		differ = true;
		mark(mask, col->root_bit);
	}
	return differ;
}

static void
update_row(PgtSession *s, PgtEntry *e, PgtTarget *t, const Tuples *tuples)
{
	PgtMask mask = {.natts = t->root->natts};

	if (t->ncols == 0 || (tuples->oldtup == NULL && t->all_key && !e->full_identity && tuples->newtup != NULL))
		return; /* without an old tuple the key has not changed */
	if (tuples->oldtup == NULL || tuples->newtup == NULL || !identity_suffices(e, t))
	{
		pgt_send_unknown(s, t, identity_reason);
		return;
	}
	load(e->oldslot, tuples->oldtup, t->maxatt);
	load(e->newslot, tuples->newtup, t->maxatt);
	if (mask.natts > 63)
		mask.bits = palloc0((mask.natts + 7) / 8);
	if (!compare_rows(t, e->oldslot, e->newslot, HeapTupleHasExternal(tuples->newtup), &mask))
		return;
	if (has_missing_value(t, e->oldslot, tuples->oldtup))
	{
		pgt_send_unknown(s, t, "old row is incomplete");
		return;
	}
	send_slot(s, t, PGT_OP_MINUS, e->oldslot, t->root->mask ? &mask : NULL, NULL);
	send_slot(s, t, PGT_OP_PLUS, e->newslot, t->root->mask ? &mask : NULL, t->changed);
}

static void
describe(PgtSession *s, PgtEntry *e, PgtTarget *t, const Tuples *tuples)
{
	if (t->broken != NULL)
		pgt_send_unknown(s, t, t->broken);
	else if (tuples->action == REORDER_BUFFER_CHANGE_INSERT)
		insert_row(s, e, t, tuples);
	else if (t->root->insert_only)
	{
		if (!t->root->ignore_old)
			pgt_send_unknown(s, t, "row of an append-only source was updated or deleted");
	}
	else if (tuples->action == REORDER_BUFFER_CHANGE_UPDATE)
		update_row(s, e, t, tuples);
	else
		delete_row(s, e, t, tuples);
}

/* Type functions get a resource owner that can be emptied without ending the transaction. */
static void
enter_type_code(PgtSession *s)
{
	if (s->owner == NULL)
		s->owner = ResourceOwnerCreate(CurrentResourceOwner, "pgtrickle type functions");
	CurrentResourceOwner = s->owner;
	if (pg_get_client_encoding() != GetDatabaseEncoding())
		SetClientEncoding(GetDatabaseEncoding());
}

static void
leave_type_code(ResourceOwner owner, int encoding)
{
	CurrentResourceOwner = owner;
	if (pg_get_client_encoding() != encoding)
		SetClientEncoding(encoding);
}

static void
release_after_error(PgtSession *s)
{
	LWLockReleaseAll();
	if (s->owner == NULL)
		return;
	ResourceOwnerRelease(s->owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(s->owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(s->owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(s->owner); /* 17 allows no second use */
	s->owner = NULL;
}

/*
 * Errors that are about us, not about the row: the stream ends with them and can be resumed.  Above all those of writing a frame,
 * whose rows would be lost.
 */
static bool
must_rethrow(const PgtSession *s, int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return s->writing || category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_TRANSACTION_ROLLBACK;
}

/* describe(), with what a type's code throws turned into a reason.  NULL: all went well. */
static char *
try_describe(PgtSession *s, PgtEntry *e, PgtTarget *t, const Tuples *tuples)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int encoding = pg_get_client_encoding();
	char *volatile reason = NULL;

	if (t->has_send)
		enter_type_code(s);
	PG_TRY();
	{
		describe(s, e, t, tuples);
	}
	PG_CATCH();
	{
		ErrorData *error;

		leave_type_code(owner, encoding);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (must_rethrow(s, error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		release_after_error(s);
		pgt_frame_row_abort(&s->frame);
		reason = error->message;
	}
	PG_END_TRY();
	if (t->has_send)
		leave_type_code(owner, encoding);
	return reason;
}

void
pgt_change(PgtSession *s, PgtEntry *e, ReorderBufferChange *change)
{
	Tuples tuples = {
		.action = change->action,
		.oldtup = PGT_CHANGE_TUPLE(change->data.tp.oldtuple),
		.newtup = PGT_CHANGE_TUPLE(change->data.tp.newtuple)};

	for (int i = 0; i < e->ntargets; i++)
	{
		PgtTarget *t = &e->targets[i];
		char *reason = try_describe(s, e, t, &tuples);

		if (reason != NULL)
			pgt_send_unknown(s, t, psprintf("captured columns could not be sent: %s", reason));
	}
}
