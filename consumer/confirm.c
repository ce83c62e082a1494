/*
 * confirm.c - the confirm rule.
 *
 * Memory is bounded: a source whose queue reaches SPANS_MAX has its spans widened, to twice as much WAL each time.  A joined span keeps
 * the first LSN and the larger xid and serial, so it is popped later than its parts would have been, never earlier.
 */
#include "consumer/confirm.h"

#include <stdlib.h>
#include <string.h>

#include "consumer/alloc.h"

#define SPANS_MAX 2048
#define SPAN_WIDTH (16 * 1024) /* of WAL: commits within it share a span from the start */

typedef struct Span
{
	uint64_t first_lsn;
	uint64_t last_lsn;
	uint64_t max_xid;
	uint64_t serial;
} Span;

typedef struct Source
{
	uint32_t relid;
	bool answered; /* in this round */
	Span *spans;   /* [head, head + count) of an array of SPANS_MAX */
	int head;
	int count;
	int capacity;
	uint64_t width;
} Source;

struct PgtConfirm
{
	Source *sources;
	int nsources;
	int capacity;
	uint64_t serial;       /* of the last added transaction */
	uint64_t round_serial; /* of the last one the running round may consume */
	bool consumed;
};

PgtConfirm *
pgt_confirm_create(void)
{
	PgtConfirm *c = pgt_realloc(NULL, sizeof(PgtConfirm));

	memset(c, 0, sizeof(*c));
	return c;
}

void
pgt_confirm_reset(PgtConfirm *c)
{
	for (int i = 0; i < c->nsources; i++)
		free(c->sources[i].spans);
	free(c->sources);
	memset(c, 0, sizeof(*c));
}

void
pgt_confirm_free(PgtConfirm *c)
{
	if (c == NULL)
		return;
	pgt_confirm_reset(c);
	free(c);
}

static Source *
find_source(const PgtConfirm *c, uint32_t relid)
{
	for (int i = 0; i < c->nsources; i++)
	{
		if (c->sources[i].relid == relid)
			return &c->sources[i];
	}
	return NULL;
}

static Source *
add_source(PgtConfirm *c, uint32_t relid)
{
	Source *s;

	if (c->nsources == c->capacity)
	{
		c->capacity = c->capacity ? c->capacity * 2 : 16;
		c->sources = pgt_realloc(c->sources, sizeof(Source) * (size_t) c->capacity);
	}
	s = &c->sources[c->nsources++];
	memset(s, 0, sizeof(*s));
	s->relid = relid;
	s->width = SPAN_WIDTH;
	return s;
}

static void
join_into(Span *span, const Span *next)
{
	span->last_lsn = next->last_lsn;
	span->serial = next->serial;
	if (next->max_xid > span->max_xid)
		span->max_xid = next->max_xid;
}

/* Widens the spans, all alike, until half of the room is free. */
static void
widen(Source *s)
{
	while (s->count > SPANS_MAX / 2)
	{
		int kept = 0;

		s->width *= 2;
		for (int i = 1; i < s->count; i++)
		{
			if (s->spans[i].last_lsn - s->spans[kept].first_lsn <= s->width)
				join_into(&s->spans[kept], &s->spans[i]);
			else
				s->spans[++kept] = s->spans[i];
		}
		s->count = kept + 1;
	}
}

static void
make_room(Source *s)
{
	if (s->head + s->count < s->capacity)
		return;
	if (s->head > 0)
	{
		memmove(s->spans, s->spans + s->head, sizeof(Span) * (size_t) s->count);
		s->head = 0;
	}
	else if (s->capacity < SPANS_MAX)
	{
		s->capacity = s->capacity ? s->capacity * 2 : 8;
		s->spans = pgt_realloc(s->spans, sizeof(Span) * (size_t) s->capacity);
	}
	else
		widen(s);
}

void
pgt_confirm_add(PgtConfirm *c, uint32_t relid, uint64_t commit_lsn, uint64_t xid)
{
	Source *s = find_source(c, relid);
	Span *tail;

	if (s == NULL)
		s = add_source(c, relid);
	c->serial++;
	tail = s->count > 0 ? &s->spans[s->head + s->count - 1] : NULL;
	/* a span that the running round could still consume must not take in what it must not */
	if (tail && tail->serial > c->round_serial && commit_lsn - tail->first_lsn <= s->width)
	{
		join_into(tail, &(Span){commit_lsn, commit_lsn, xid, c->serial});
		return;
	}
	make_room(s);
	s->spans[s->head + s->count++] = (Span){commit_lsn, commit_lsn, xid, c->serial};
}

void
pgt_confirm_round_begin(PgtConfirm *c)
{
	c->round_serial = c->serial;
	c->consumed = false;
	for (int i = 0; i < c->nsources; i++)
		c->sources[i].answered = false;
}

static void
pop_consumed(PgtConfirm *c, Source *s, bool pinned, uint64_t horizon)
{
	while (s->count > 0)
	{
		const Span *head = &s->spans[s->head];

		if (head->serial > c->round_serial || (pinned && head->max_xid >= horizon))
			return;
		s->head++;
		s->count--;
		c->consumed = true;
	}
	s->head = 0;
}

void
pgt_confirm_horizon(PgtConfirm *c, uint32_t relid, bool pinned, uint64_t horizon_xid)
{
	Source *s = find_source(c, relid);

	if (s == NULL)
		return;
	s->answered = true;
	pop_consumed(c, s, pinned, horizon_xid);
}

bool
pgt_confirm_round_end(PgtConfirm *c)
{
	int kept = 0;

	for (int i = 0; i < c->nsources; i++)
	{
		Source *s = &c->sources[i];

		if (!s->answered)
			pop_consumed(c, s, false, 0);
		if (s->count > 0)
			c->sources[kept++] = *s;
		else
			free(s->spans);
	}
	c->nsources = kept;
	return c->consumed;
}

static const Source *
oldest_source(const PgtConfirm *c)
{
	const Source *oldest = NULL;

	for (int i = 0; i < c->nsources; i++)
	{
		const Source *s = &c->sources[i];

		if (s->count > 0 && (oldest == NULL || s->spans[s->head].first_lsn < oldest->spans[oldest->head].first_lsn))
			oldest = s;
	}
	return oldest;
}

uint64_t
pgt_confirm_position(const PgtConfirm *c, uint64_t safe)
{
	const Source *s = oldest_source(c);

	if (s && s->spans[s->head].first_lsn < safe)
		return s->spans[s->head].first_lsn;
	return safe;
}

bool
pgt_confirm_is_empty(const PgtConfirm *c)
{
	return oldest_source(c) == NULL;
}

bool
pgt_confirm_oldest(const PgtConfirm *c, uint32_t *relid, uint64_t *lsn, uint64_t *xid)
{
	const Source *s = oldest_source(c);

	if (s == NULL)
		return false;
	*relid = s->relid;
	*lsn = s->spans[s->head].first_lsn;
	*xid = s->spans[s->head].max_xid;
	return true;
}

void
pgt_confirm_each_below(const PgtConfirm *c, uint64_t before, void (*fn)(void *arg, uint32_t relid), void *arg)
{
	for (int i = 0; i < c->nsources; i++)
	{
		const Source *s = &c->sources[i];

		if (s->count > 0 && s->spans[s->head].first_lsn < before)
			fn(arg, s->relid);
	}
}

size_t
pgt_confirm_spans(const PgtConfirm *c)
{
	size_t n = 0;

	for (int i = 0; i < c->nsources; i++)
		n += (size_t) c->sources[i].count;
	return n;
}
