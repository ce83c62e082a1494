/*
 * segments.c - the cache of buffer segments.
 *
 * Rotation and trimming run on the control connection, one after the other, so that a segment is never trimmed between being
 * the newest for the apply side and having been replaced here.
 */
#include "consumer/segments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/log.h"
#include "consumer/metrics.h"

#define TUPLE_OVERHEAD 28 /* heap tuple header and line pointer, beyond the COPY form */
#define MANY_SEGMENTS 16
#define MANY_FACTOR 8

struct PgtSegments
{
	const PgtOptions *options;
	PgtConn *control;
	PgtSegment *list;
	int n;
	int capacity;
};

typedef struct Load
{
	PgtSegments *s;
	PgtSegmentsFn fn;
	void *arg;
	int n;
	struct
	{
		uint32_t relid;
		uint32_t gen;
	} asked[]; /* what must be known afterwards; the batch itself may be gone by then */
} Load;

PgtSegments *
pgt_segments_create(const PgtOptions *options)
{
	PgtSegments *s = calloc(1, sizeof(PgtSegments));

	if (s == NULL)
		abort();
	s->options = options;
	return s;
}

void
pgt_segments_free(PgtSegments *s)
{
	if (s == NULL)
		return;
	free(s->list);
	free(s);
}

void
pgt_segments_attach(PgtSegments *s, PgtConn *control)
{
	s->control = control;
	s->n = 0;
}

PgtSegment *
pgt_segments_find(PgtSegments *s, uint32_t relid, uint32_t gen)
{
	for (int i = 0; i < s->n; i++)
	{
		if (s->list[i].relid == relid && s->list[i].gen == gen)
			return &s->list[i];
	}
	return NULL;
}

static PgtSegment *
append(PgtSegments *s, uint32_t relid, uint32_t gen)
{
	if (s->n == s->capacity)
	{
		s->capacity = s->capacity ? s->capacity * 2 : 32;
		s->list = realloc(s->list, sizeof(PgtSegment) * (size_t) s->capacity);
		if (s->list == NULL)
			abort();
	}
	s->list[s->n] = (PgtSegment){.relid = relid, .gen = gen};
	return &s->list[s->n++];
}

bool
pgt_segments_cover(PgtSegments *s, const PgtBatch *batch)
{
	for (int i = 0; i < batch->nrows; i++)
	{
		if (pgt_segments_find(s, batch->rows[i].relid, batch->rows[i].gen) == NULL)
			return false;
	}
	return true;
}

static void
take_rows(PgtSegments *s, const PGresult *res)
{
	s->n = 0;
	for (int i = 0; i < PQntuples(res); i++)
	{
		PgtSegment *seg = append(s, (uint32_t) strtoul(PQgetvalue(res, i, 0), NULL, 10),
								 (uint32_t) strtoul(PQgetvalue(res, i, 1), NULL, 10));

		seg->segno = strtoll(PQgetvalue(res, i, 2), NULL, 10);
		snprintf(seg->relname, sizeof(seg->relname), "%s", PQgetvalue(res, i, 3));
		seg->bytes = strtoll(PQgetvalue(res, i, 4), NULL, 10);
		seg->nsegments = atoi(PQgetvalue(res, i, 5));
	}
}

static void
on_loaded(void *arg, const PGresult *res, const PgtErr *err)
{
	Load *load = arg;
	PgtSegments *s = load->s;

	if (res)
	{
		take_rows(s, res);
		for (int i = 0; i < load->n; i++)
		{
			if (pgt_segments_find(s, load->asked[i].relid, load->asked[i].gen) == NULL)
				append(s, load->asked[i].relid, load->asked[i].gen)->missing = true;
		}
	}
	if (load->fn)
		load->fn(load->arg, err);
	else if (err)
		pgt_log_err(PGT_LOG_WARNING, "segments", "could not list buffer segments", err);
	free(load);
}

void
pgt_segments_load(PgtSegments *s, const PgtBatch *batch, PgtSegmentsFn fn, void *arg)
{
	int n = batch ? batch->nrows : 0;
	Load *load = calloc(1, sizeof(Load) + sizeof(load->asked[0]) * (size_t) n);

	if (load == NULL)
		abort();
	load->s = s;
	load->fn = fn;
	load->arg = arg;
	load->n = n;
	for (int i = 0; i < n; i++)
	{
		load->asked[i].relid = batch->rows[i].relid;
		load->asked[i].gen = batch->rows[i].gen;
	}
	pgt_conn_query(s->control,
				   "SELECT s.source_relid, s.gen, s.segno, s.relname, s.bytes,"
				   " (SELECT count(*) FROM pgtrickle.pgt_segments g WHERE g.source_relid = s.source_relid)"
				   " FROM pgtrickle._consumer_segments() s",
				   on_loaded, load);
}

/* ---- rotation ---- */

static void
on_rotated(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSegments *s = arg;

	if (err)
	{
		/* the old segment serves on; the next batch asks again */
		pgt_log_err(PGT_LOG_WARNING, "segments", "could not begin a new buffer segment", err);
		for (int i = 0; i < s->n; i++)
			s->list[i].rotating = false;
		return;
	}
	pgt_metric_add(PGT_M_ROTATIONS, 1);
	pgt_segments_load(s, NULL, NULL, NULL);
}

static void
rotate(PgtSegments *s, PgtSegment *seg)
{
	char relid[16];
	char gen[16];
	const char *params[2] = {relid, gen};

	seg->rotating = true;
	snprintf(relid, sizeof(relid), "%u", seg->relid);
	snprintf(gen, sizeof(gen), "%u", seg->gen);
	pgt_conn_params(s->control, "SELECT pgtrickle._consumer_rotate($1::oid, $2::int4)", 2, params, on_rotated, s);
}

static int64_t
size_limit(const PgtSegments *s, const PgtSegment *seg)
{
	return seg->nsegments > MANY_SEGMENTS ? s->options->segment_size * MANY_FACTOR : s->options->segment_size;
}

void
pgt_segments_grew(PgtSegments *s, const PgtBatch *batch)
{
	for (int i = 0; i < batch->nrows; i++)
	{
		const PgtRows *r = &batch->rows[i];
		PgtSegment *seg = pgt_segments_find(s, r->relid, r->gen);

		if (seg == NULL || seg->missing)
			continue;
		seg->bytes += (int64_t) r->bytes + (int64_t) r->nrows * TUPLE_OVERHEAD;
		if (seg->bytes > size_limit(s, seg) && !seg->rotating && s->control)
			rotate(s, seg);
	}
}

/* ---- trimming ---- */

static void
on_trimmed(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSegments *s = arg;
	long removed;

	if (err)
	{
		pgt_log_err(PGT_LOG_WARNING, "segments", "could not trim buffers", err);
		return;
	}
	removed = PQntuples(res) == 1 ? strtol(PQgetvalue(res, 0, 0), NULL, 10) : 0;
	pgt_metric_add(PGT_M_TRIMMED, (double) removed);
	/* sizes and counts may have changed, the newest truncated */
	pgt_segments_load(s, NULL, NULL, NULL);
}

void
pgt_segments_trim(PgtSegments *s)
{
	pgt_conn_query(s->control, "SELECT pgtrickle._consumer_trim()", on_trimmed, s);
}
