/*
 * plugin.c - pgtrickle_output: callbacks of the logical decoding output plugin.
 *
 * Changes are gathered in one frame (frame.c), which is written when it is large enough and at the end of each transaction,
 * so that the price of a write is shared by many changes.  A transaction announces itself with its first row; one that
 * touches nothing registered sends nothing.  Neither streaming of open transactions nor two-phase decoding is offered:
 * transactions arrive whole, at their commit, in commit order.
 *
 * Memory: the session's (frame, caches) is the decoding context's own; one context is reset after every change, one after
 * every transaction.
 */
#include "plugin/plugin.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "replication/message.h"
#include "replication/reorderbuffer.h"
#include "replication/walsender.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

#include "extension/compat.h"

#define BARRIER_PREFIX "pgtrickle.barrier"
#define QUIET_CHANGES 128 /* changes without output before we show a sign of life */
#define NAP_SLICE 50      /* ms: interrupts are looked at this often */

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

/* ---- writing ---- */

static void
write_message(PgtSession *s, const void *data, size_t len, bool last)
{
	s->writing = true;
	OutputPluginPrepareWrite(s->ctx, last);
	appendBinaryStringInfo(s->ctx->out, data, (int) len);
	OutputPluginWrite(s->ctx, last);
	s->writing = false;
	s->quiet = 0;
}

void
pgt_write(PgtSession *s, const void *data, size_t len)
{
	write_message(s, data, len, true);
}

static void
flush_frame(PgtSession *s, bool last)
{
	const unsigned char *data;
	size_t len = pgt_frame_finish(&s->frame, &data);

	s->offsets_of = NULL;
	if (len > 0)
		write_message(s, data, len, last);
}

static inline bool
is_json(const PgtSession *s)
{
	return s->opt.format == PGT_FORMAT_JSON;
}

/* 32-bit xids wrap; this one is at most 2^31 older than the next, and never newer. */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return ((uint64) epoch << 32) | xid;
}

/* The messages that must come before a row of this relation. */
static void
announce(PgtSession *s, PgtTarget *t)
{
	PgtRoot *root = t->root;

	if (!s->begun)
	{
		s->xid = full_xid(s->top_xid);
		s->begun = true;
		if (is_json(s))
			pgt_json_begin(s);
		else
			pgt_frame_begin(&s->frame, s->xid);
	}
	if (root->announced)
		return;
	if (is_json(s))
		pgt_json_relation(s, root);
	else
		pgt_frame_relation(&s->frame, (unsigned char *) root->message.data, root->message.len);
	root->announced = true;
}

void
pgt_send_row(PgtSession *s, PgtTarget *t, const PgtRow *row)
{
	if (unlikely(!s->begun || !t->root->announced))
		announce(s, t);
	if (unlikely(is_json(s)))
	{
		pgt_json_row(s, t, row);
		return;
	}
	pgt_encode_row(s, t, row);
	if (pgt_frame_full(&s->frame))
		flush_frame(s, false);
}

void
pgt_send_truncate(PgtSession *s, PgtTarget *t)
{
	PgtRow row = {.op = PGT_OP_TRUNCATE};

	if (t->root->truncate_call == s->truncate_no)
		return;
	t->root->truncate_call = s->truncate_no;
	pgt_send_row(s, t, &row);
}

/* An 'X' row, and for people the reason, when it is not the one they have been told last. */
void
pgt_send_unknown(PgtSession *s, PgtTarget *t, const char *reason)
{
	PgtRoot *root = t->root;
	PgtRow row = {.op = PGT_OP_UNKNOWN};
	char clipped[sizeof(root->reason)];
	int len;

	if (root->unknown_txn == s->txn_no)
		return;
	root->unknown_txn = s->txn_no;
	len = pg_mbcliplen(reason, strlen(reason), sizeof(clipped) - 1);
	memcpy(clipped, reason, len);
	clipped[len] = '\0';
	announce(s, t);
	if (strcmp(root->reason, clipped) != 0)
	{
		strlcpy(root->reason, clipped, sizeof(root->reason));
		if (is_json(s))
			pgt_json_quarantine(s, root, clipped);
		else
			pgt_frame_quarantine(&s->frame, root->relid, (uint32) t->gen, clipped);
	}
	pgt_send_row(s, t, &row);
}

/* ---- start ---- */

static void
option_error(PgtOptionResult result, const char *name, const char *value)
{
	switch (result)
	{
		case PGT_OPTION_UNKNOWN:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized option \"%s\" = \"%s\" of output plugin pgtrickle_output", name, value ? value : ""),
					 errhint("The options are: %s.", pgt_options_names())));
			break;
		case PGT_OPTION_DUPLICATE:
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("option \"%s\" of output plugin pgtrickle_output is given more than once (\"%s\")", name, value ? value : "")));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 value == NULL
						 ? errmsg("option \"%s\" of output plugin pgtrickle_output needs a value", name)
						 : errmsg("invalid value for option \"%s\" of output plugin pgtrickle_output: \"%s\"", name, value),
					 errdetail("It must be %s.", pgt_options_allowed(name))));
	}
}

static void
parse_options(PgtOptions *opt, List *given)
{
	ListCell *lc;

	pgt_options_init(opt);
	foreach (lc, given)
	{
		DefElem *def = lfirst_node(DefElem, lc);
		const char *value = def->arg == NULL ? NULL : strVal(def->arg);
		PgtOptionResult result = pgt_options_set(opt, def->defname, value);

		if (result != PGT_OPTION_OK)
			option_error(result, def->defname, value);
	}
}

static void *
frame_realloc(void *owner, void *old, size_t size)
{
	return old == NULL ? MemoryContextAllocHuge(owner, size) : repalloc_huge(old, size);
}

static void
startup_cb(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	PgtSession *s = MemoryContextAllocZero(ctx->context, sizeof(PgtSession));

	parse_options(&s->opt, ctx->output_plugin_options);
	s->ctx = ctx;
	s->txn_context = AllocSetContextCreate(ctx->context, "pgtrickle transaction", ALLOCSET_DEFAULT_SIZES);
	s->change_context = AllocSetContextCreate(ctx->context, "pgtrickle change", ALLOCSET_DEFAULT_SIZES);
	pgt_frame_init(&s->frame, (uint16_t) s->opt.node, s->opt.lz4, frame_realloc, ctx->context);
	pgt_relation_cache_create(ctx->context);
	ctx->output_plugin_private = s;
	options->output_type = is_json(s) ? OUTPUT_PLUGIN_TEXTUAL_OUTPUT : OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = false;
}

/* ---- transactions ---- */

static void
begin_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	PgtSession *s = ctx->output_plugin_private;

	s->begun = false;
	s->top_xid = txn->xid;
	s->txn_no++;
	s->owner = NULL;
}

/*
 * After a commit, when there is nothing more to decode, let a few more pile up: waking up costs more than decoding.  Only while
 * commits follow each other closely; a lone one is not followed by anything worth waiting for, but perhaps by the barrier of a
 * refresh.  Waits without the latch, which every flush of WAL would set.
 */
static void
nap(PgtSession *s, TimestampTz commit_time, XLogRecPtr end_lsn)
{
	int left = s->opt.linger;
	TimestampTz gap = commit_time - s->last_commit;

	s->last_commit = commit_time;
	if (left == 0 || gap > left * INT64CONST(2000) || !am_walsender || RecoveryInProgress() || GetFlushRecPtr(NULL) > end_lsn)
		return;
	while (left > 0)
	{
		int slice = Min(left, NAP_SLICE);

		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, slice, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
		left -= slice;
	}
}

/*
 * Each commit is written at once, although a write costs as much as several changes.  A frame must not be kept for the next commit:
 * the server calls nobody before it waits for WAL, and its keepalives would claim that what is kept has been sent.
 */
static void
commit_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	PgtSession *s = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(s->txn_context);

	OutputPluginUpdateProgress(ctx, !s->begun);
	if (s->begun)
	{
		if (is_json(s))
			pgt_json_commit(s, commit_lsn, txn->end_lsn);
		else
			pgt_frame_commit(&s->frame, s->xid, commit_lsn, txn->end_lsn, txn->xact_time.commit_time);
		flush_frame(s, true);
		s->begun = false;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->txn_context);
	nap(s, txn->xact_time.commit_time, txn->end_lsn);
}

/* Long transactions that send little must not look like a dead connection. */
static inline void
sign_of_life(PgtSession *s)
{
	if (PGT_PROGRESS_BY_PLUGIN && ++s->quiet >= QUIET_CHANGES)
	{
		OutputPluginUpdateProgress(s->ctx, false);
		s->quiet = 0;
	}
}

static void
change_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation, ReorderBufferChange *change)
{
	PgtSession *s = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(s->change_context);
	PgtEntry *e = pgt_relation_get(relation);

	if (e->ntargets > 0)
		pgt_change(s, e, change);
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->change_context);
	sign_of_life(s);
}

static void
truncate_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations, Relation relations[],
			ReorderBufferChange *change)
{
	PgtSession *s = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(s->change_context);

	s->truncate_no++;
	for (int i = 0; i < nrelations; i++)
	{
		PgtEntry *e = pgt_relation_get(relations[i]);

		for (int j = 0; j < e->ntargets; j++)
			pgt_send_truncate(s, &e->targets[j]);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->change_context);
}

/* Anyone may write such a message: only its place in the WAL is believed. */
static void
message_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr message_lsn, bool transactional,
		   const char *prefix, Size message_size, const char *message)
{
	PgtSession *s = ctx->output_plugin_private;
	bool sync = message_size == 4 && memcmp(message, "sync", 4) == 0;
	MemoryContext old;

	if (transactional || strcmp(prefix, BARRIER_PREFIX) != 0)
		return;
	old = MemoryContextSwitchTo(s->change_context);
	if (is_json(s))
		pgt_json_barrier(s, ctx->reader->EndRecPtr, sync);
	else
		pgt_frame_barrier(&s->frame, ctx->reader->EndRecPtr, sync);
	flush_frame(s, true);
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->change_context);
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = startup_cb;
	cb->begin_cb = begin_cb;
	cb->change_cb = change_cb;
	cb->truncate_cb = truncate_cb;
	cb->commit_cb = commit_cb;
	cb->message_cb = message_cb;
}
