/*
 * capture.c - gathering and flushing.
 *
 * Two batches exist at most: the one being gathered and the one being applied.  step() is the only place that hands work to
 * apply; everything that may change its mind calls it.
 *
 * Positions:
 *   seen     everything that ends at or before it was received in this session (commits, barriers, keepalives)
 *   applied  everything that ends at or before it is in the buffers (from the progress row at first)
 * After a restart the slot begins before applied: seen < applied then, and transactions are skipped until one ends beyond.  They
 * come in commit order, so the skipped ones are a prefix.
 */
#include "consumer/capture.h"

#include <stdlib.h>
#include <string.h>

#include "consumer/decode.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/sqlbuf.h"

#define SMALL_XACT_ROWS 10000 /* applied in a few milliseconds: a refresh need not wait for that to begin */
#define AGE_FACTOR 8          /* under a steady stream a flush waits this many idle times at most */
#define LONG_APPLY_US 5000000

/* a small set of source relids */
typedef struct RelidSet
{
	uint32_t *ids;
	int n;
	int capacity;
} RelidSet;

typedef struct Quarantine
{
	uint32_t relid;
	uint32_t gen;
	uint64_t marked_xid; /* transaction that has its marker row already */
} Quarantine;

struct PgtCapture
{
	PgtLoop *loop;
	const PgtOptions *options;
	PgtSegments *segments;
	PgtConfirm *confirm;
	PgtCaptureEvents events;
	void *arg;
	PgtApply *apply;
	PgtStream *stream;
	PgtDecoder *decoder;
	PgtBatch *gather;
	PgtTimer flush;
	bool flush_due;
	bool loading;     /* asking for segments */
	bool skipping;    /* until a transaction ends beyond applied */
	bool discard;     /* what apply has begun was applied before: roll it back */
	bool draining;    /* no more reading: the process ends */
	bool sync_wanted; /* a barrier asked for the progress row */
	bool in_xact;
	uint64_t xid;
	uint64_t xact_rows;
	int64_t xact_began;
	int64_t xact_told;
	int64_t last_frame;
	uint64_t seen;
	uint64_t applied;
	RelidSet xact_relids; /* of the transaction being received */
	RelidSet touched;     /* handed to apply and not reported yet */
	Quarantine *quarantine;
	int nquarantine;
};

static void step(PgtCapture *c);

/* ---- small sets ---- */

static void
set_add(RelidSet *set, uint32_t relid)
{
	for (int i = set->n - 1; i >= 0; i--)
	{
		if (set->ids[i] == relid)
			return;
	}
	if (set->n == set->capacity)
	{
		set->capacity = set->capacity ? set->capacity * 2 : 16;
		set->ids = realloc(set->ids, sizeof(uint32_t) * (size_t) set->capacity);
		if (set->ids == NULL)
			abort();
	}
	set->ids[set->n++] = relid;
}

static Quarantine *
find_quarantine(PgtCapture *c, uint32_t relid, uint32_t gen)
{
	for (int i = 0; i < c->nquarantine; i++)
	{
		if (c->quarantine[i].relid == relid && c->quarantine[i].gen == gen)
			return &c->quarantine[i];
	}
	return NULL;
}

void
pgt_capture_quarantine(PgtCapture *c, uint32_t relid, uint32_t gen)
{
	if (find_quarantine(c, relid, gen))
		return;
	c->quarantine = realloc(c->quarantine, sizeof(Quarantine) * (size_t) (c->nquarantine + 1));
	if (c->quarantine == NULL)
		abort();
	c->quarantine[c->nquarantine++] = (Quarantine){relid, gen, 0};
	pgt_metric_add(PGT_M_QUARANTINED, 1);
}

/* ---- backpressure ---- */

size_t
pgt_capture_queued(const PgtCapture *c)
{
	return c->gather->bytes + pgt_apply_bytes(c->apply);
}

static void
check_pressure(PgtCapture *c)
{
	int64_t queued = (int64_t) pgt_capture_queued(c);

	pgt_metric_set(PGT_M_QUEUED_BYTES, (double) queued);
	if (c->stream == NULL || c->draining)
		return;
	if (queued > c->options->apply_memory)
		pgt_stream_pause(c->stream, true);
	else if (queued < c->options->apply_memory / 2)
		pgt_stream_pause(c->stream, false);
}

/* ---- flushing ---- */

static void
advance(PgtCapture *c, uint64_t lsn)
{
	if (lsn <= c->applied)
		return;
	c->applied = lsn;
	c->events.on_progress(c->arg, lsn);
}

static void
submit(PgtCapture *c)
{
	PgtBatch *batch = c->gather;

	for (int i = 0; i < batch->nrows; i++)
		set_add(&c->touched, batch->rows[i].relid);
	c->gather = pgt_batch_create();
	/* a batch that ends a transaction is complete even if its last part holds no rows */
	if (!c->in_xact)
		batch->complete = true;
	c->flush_due = false;
	pgt_timer_cancel(c->loop, &c->flush);
	if (batch->complete)
		c->sync_wanted = false;
	pgt_apply_batch(c->apply, batch, c->seen);
}

static void
on_segments(void *arg, const PgtErr *err)
{
	PgtCapture *c = arg;

	if (c->apply == NULL)
		return;
	c->loading = false;
	if (err)
		c->events.on_failed(c->arg, err, NULL);
	else
		step(c);
}

static bool
should_flush(const PgtCapture *c)
{
	int64_t size = c->options->flush_bytes < c->options->apply_memory / 4 ? c->options->flush_bytes : c->options->apply_memory / 4;

	if (c->draining)
		return !c->in_xact;
	if ((int64_t) c->gather->bytes >= size)
		return !c->skipping || !c->in_xact || (int64_t) c->gather->bytes >= c->options->apply_memory / 2;
	return !c->in_xact && c->flush_due;
}

/* nothing gathered: is there anything to tell the server or the scheduler? */
static void
step_empty(PgtCapture *c)
{
	if (c->in_xact)
		return;
	if (pgt_apply_in_transaction(c->apply))
		submit(c); /* the last rows went with an incomplete batch: commit them */
	else if (c->sync_wanted && c->seen >= c->applied)
	{
		c->sync_wanted = false;
		pgt_apply_progress(c->apply, c->seen);
	}
	else
		advance(c, c->seen);
}

static void
step(PgtCapture *c)
{
	if (c->apply == NULL || c->loading || !pgt_apply_is_free(c->apply))
		return;
	if (c->discard)
	{
		c->discard = false;
		if (pgt_apply_in_transaction(c->apply))
		{
			pgt_apply_rollback(c->apply);
			return;
		}
	}
	if (pgt_batch_is_empty(c->gather))
		step_empty(c);
	else if (should_flush(c))
	{
		if (pgt_segments_cover(c->segments, c->gather))
			submit(c);
		else
		{
			c->loading = true;
			pgt_segments_load(c->segments, c->gather, on_segments, c);
		}
	}
}

static void
on_flush_due(void *arg)
{
	PgtCapture *c = arg;
	int64_t now = pgt_loop_now(c->loop);
	int64_t idle = c->options->flush_idle_us;

	if (now - c->last_frame < idle / 2 && now - c->gather->received_us < idle * AGE_FACTOR)
	{
		pgt_timer_after(c->loop, &c->flush, idle);
		return;
	}
	c->flush_due = true;
	step(c);
}

static void
on_apply_done(void *arg, const PgtBatch *batch, uint64_t lsn)
{
	PgtCapture *c = arg;

	if (batch && c->apply)
		pgt_segments_grew(c->segments, batch);
	if (lsn)
	{
		if (c->touched.n > 0)
			c->events.on_applied(c->arg, c->touched.ids, c->touched.n, lsn);
		c->touched.n = 0;
		advance(c, lsn);
	}
	check_pressure(c);
	step(c);
	if (c->draining && c->apply)
		c->events.on_progress(c->arg, c->applied);
}

static void
on_apply_failed(void *arg, const PgtErr *err, const PgtRows *culprit)
{
	PgtCapture *c = arg;

	c->events.on_failed(c->arg, err, culprit);
}

/* ---- messages ---- */

static void
on_begin(void *arg, uint64_t xid)
{
	PgtCapture *c = arg;

	c->in_xact = true;
	c->xid = xid;
	c->xact_rows = 0;
	c->xact_began = c->xact_told = pgt_loop_now(c->loop);
	c->xact_relids.n = 0;
}

/* a large transaction shows that it goes on */
static void
tell_long_transaction(PgtCapture *c)
{
	int64_t now = pgt_loop_now(c->loop);

	if (now - c->xact_told < LONG_APPLY_US)
		return;
	c->xact_told = now;
	pgt_log(PGT_LOG_INFO, "capture", "transaction %llu: %llu rows received in %.0f s, going on", (unsigned long long) c->xid,
			(unsigned long long) c->xact_rows, (double) (now - c->xact_began) / 1e6);
}

static void
on_data(void *arg, const PgtDataMsg *msg)
{
	PgtCapture *c = arg;
	Quarantine *q = c->nquarantine ? find_quarantine(c, msg->relid, msg->gen) : NULL;

	set_add(&c->xact_relids, msg->relid);
	c->xact_rows += msg->nrows;
	pgt_metric_add(PGT_M_ROWS, msg->nrows);
	if (pgt_batch_is_empty(c->gather))
	{
		c->gather->received_us = pgt_loop_now(c->loop);
		c->flush_due = c->options->flush_idle_us == 0;
		pgt_timer_after(c->loop, &c->flush, c->options->flush_idle_us);
	}
	if (q == NULL)
		pgt_batch_add(c->gather, msg->relid, msg->gen, c->xid, msg->nrows, msg->tuples, msg->len);
	else if (q->marked_xid != c->xid)
	{
		q->marked_xid = c->xid;
		pgt_batch_add_unknown(c->gather, msg->relid, msg->gen, c->xid, msg->nfields);
	}
	tell_long_transaction(c);
}

/* applied before the restart: in the buffers already */
static void
skip_transaction(PgtCapture *c)
{
	pgt_batch_free(c->gather);
	c->gather = pgt_batch_create();
	c->touched.n = 0;
	c->discard = true;
	pgt_timer_cancel(c->loop, &c->flush);
	pgt_metric_add(PGT_M_TXNS_SKIPPED, 1);
}

static void
on_commit(void *arg, const PgtCommitMsg *msg)
{
	PgtCapture *c = arg;

	c->in_xact = false;
	c->seen = msg->end_lsn;
	pgt_metric_add(PGT_M_TXNS, 1);
	for (int i = 0; i < c->xact_relids.n; i++)
		pgt_confirm_add(c->confirm, c->xact_relids.ids[i], msg->commit_lsn, msg->xid);
	if (c->skipping && msg->end_lsn <= c->applied)
	{
		skip_transaction(c);
		return;
	}
	c->skipping = false;
	pgt_batch_commit(c->gather, msg->end_lsn);
	if (c->xact_rows <= SMALL_XACT_ROWS)
		c->events.on_received(c->arg, c->xact_relids.ids, c->xact_relids.n, msg->end_lsn);
}

static void
on_barrier(void *arg, uint64_t lsn, bool sync)
{
	PgtCapture *c = arg;

	pgt_metric_add(PGT_M_BARRIERS, 1);
	if (lsn > c->seen)
		c->seen = lsn;
	c->sync_wanted |= sync;
	c->flush_due = true;
}

static void
on_quarantine(void *arg, uint32_t relid, uint32_t gen, const char *reason)
{
	pgt_log(PGT_LOG_WARNING, "capture", "source %u cannot be captured row by row, its stream tables will be recomputed: %s", relid, reason);
	pgt_metric_add(PGT_M_QUARANTINED, 1);
}

bool
pgt_capture_frame(PgtCapture *c, const unsigned char *frame, size_t len, PgtErr *err)
{
	c->last_frame = pgt_loop_now(c->loop);
	if (!pgt_decode_frame(c->decoder, frame, len, err))
		return false;
	check_pressure(c);
	step(c);
	return true;
}

void
pgt_capture_keepalive(PgtCapture *c, uint64_t wal_end)
{
	if (c->in_xact)
		return; /* it says nothing about the transaction we are in */
	if (wal_end > c->seen)
		c->seen = wal_end;
	step(c);
}

/* ---- life ---- */

static const PgtDecodeOps decode_ops = {on_begin, on_data, on_commit, on_barrier, on_quarantine};

PgtCapture *
pgt_capture_create(PgtLoop *loop, const PgtOptions *options, PgtSegments *segments, PgtConfirm *confirm)
{
	PgtCapture *c = calloc(1, sizeof(PgtCapture));

	if (c == NULL)
		abort();
	c->loop = loop;
	c->options = options;
	c->segments = segments;
	c->confirm = confirm;
	c->gather = pgt_batch_create();
	pgt_timer_init(&c->flush, on_flush_due, c);
	return c;
}

void
pgt_capture_events(PgtCapture *c, const PgtCaptureEvents *events, void *arg)
{
	c->events = *events;
	c->arg = arg;
}

void
pgt_capture_attach(PgtCapture *c, PgtApply *apply, PgtStream *stream, uint64_t applied_lsn, bool masks)
{
	static const PgtApplyEvents apply_events = {on_apply_done, on_apply_failed};

	pgt_capture_detach(c);
	c->apply = apply;
	c->stream = stream;
	c->applied = applied_lsn;
	c->skipping = true;
	c->decoder = pgt_decoder_create(&decode_ops, c);
	if (!masks)
		pgt_decoder_without_masks(c->decoder);
	pgt_apply_events(apply, &apply_events, c);
}

void
pgt_capture_detach(PgtCapture *c)
{
	pgt_timer_cancel(c->loop, &c->flush);
	pgt_batch_free(c->gather);
	c->gather = pgt_batch_create();
	pgt_decoder_free(c->decoder);
	c->decoder = NULL;
	c->apply = NULL;
	c->stream = NULL;
	c->in_xact = c->loading = c->discard = c->sync_wanted = c->flush_due = c->skipping = false;
	c->seen = c->applied = 0;
	c->touched.n = 0;
	for (int i = 0; i < c->nquarantine; i++)
		c->quarantine[i].marked_xid = 0;
}

void
pgt_capture_free(PgtCapture *c)
{
	if (c == NULL)
		return;
	pgt_capture_detach(c);
	pgt_batch_free(c->gather);
	free(c->xact_relids.ids);
	free(c->touched.ids);
	free(c->quarantine);
	free(c);
}

void
pgt_capture_flush(PgtCapture *c)
{
	c->flush_due = true;
	step(c);
}

void
pgt_capture_drain(PgtCapture *c)
{
	c->draining = true;
	if (c->stream)
		pgt_stream_pause(c->stream, true);
	step(c);
}

bool
pgt_capture_is_drained(const PgtCapture *c)
{
	return c->apply == NULL || (pgt_apply_is_free(c->apply) && (c->in_xact || pgt_batch_is_empty(c->gather)));
}

uint64_t
pgt_capture_applied(const PgtCapture *c)
{
	return c->applied;
}

uint64_t
pgt_capture_safe(const PgtCapture *c)
{
	return c->seen < c->applied ? c->seen : c->applied;
}

int64_t
pgt_capture_lag_us(const PgtCapture *c)
{
	int64_t since = pgt_apply_received_us(c->apply);

	if (since == 0 && !pgt_batch_is_empty(c->gather))
		since = c->gather->received_us;
	return since ? pgt_loop_now(c->loop) - since : 0;
}
