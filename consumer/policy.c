/*
 * policy.c - the scheduler's decisions.
 *
 * A tick is two walks over the graph: pending flows from sources to readers, due flows from readers to calculated sources.  Jobs are
 * then taken one by one, longest waiting first, so that many busy STs cannot starve the others.
 */
#include "consumer/policy.h"

#include <string.h>

#define LEFTOVER_FIRST INT64_C(5000)  /* what S1 could not see yet is usually a matter of milliseconds, */
#define LEFTOVER_MAX INT64_C(1000000) /* but a commit may wait for a synchronous standby */
#define CROSSING_AGAIN INT64_C(100000)
#define QUICK_MS 20.0  /* units whose last refresh was quicker may share a transaction */
#define MAX_MEMBERS 16 /* of a job, unless one unit is larger */

#define FOR_EACH(e, adjacency, v) for (int e = (adjacency).start[v]; e < (adjacency).start[(v) + 1]; e++)

/* ---- tick ---- */

static bool
is_calculated(const PgtPolicySt *st)
{
	return st->schedule.kind == PGT_SCHEDULE_CALCULATED;
}

static bool
is_held(const PgtPolicy *p, int v)
{
	const PgtDag *dag = p->dag;

	if (!p->sts[v].enabled || dag->cyclic[v])
		return true;
	FOR_EACH(e, dag->upstreams, v)
	{
		int u = dag->upstreams.items[e];

		if (dag->unit[u] == dag->unit[v] && (p->flags[u] & PGT_ST_HELD))
			return true;
	}
	return false;
}

/* A row of a sliding window may have entered or left it. */
static bool
is_crossed(const PgtPolicySt *st, int64_t now)
{
	return st->crossing > 0 && st->crossing <= now;
}

static bool
is_pending(const PgtPolicy *p, int v)
{
	const PgtDag *dag = p->dag;
	const PgtPolicySt *st = &p->sts[v];

	if (!st->populated || st->needs_reinit || st->fresh || st->leftover || st->upstream_changed || st->clocked ||
		is_crossed(st, p->now))
		return true;
	FOR_EACH(e, dag->node_tables, v)
	{
		if (p->table_lsn[dag->node_tables.items[e]] > st->barrier)
			return true;
	}
	FOR_EACH(e, dag->upstreams, v)
	{
		int u = dag->upstreams.items[e];

		if (is_calculated(&p->sts[u]) && (p->flags[u] & (PGT_ST_PENDING | PGT_ST_HELD)) == PGT_ST_PENDING)
			return true;
	}
	return false;
}

/* When the schedule itself says that v is due; PGT_NEVER when only its readers can say so. */
static int64_t
due_time(const PgtPolicy *p, int v)
{
	const PgtDag *dag = p->dag;
	const PgtPolicySt *st = &p->sts[v];

	if (!st->populated)
		return 0;
	if (st->schedule.kind == PGT_SCHEDULE_CONTINUOUS)
		return st->pending_since + p->coalesce_us;
	if (is_calculated(st))
	{
		FOR_EACH(e, dag->readers, v)
		{
			if (!(p->flags[dag->readers.items[e]] & PGT_ST_HELD))
				return PGT_NEVER;
		}
	}
	return st->due;
}

static bool
reader_is_due(const PgtPolicy *p, int v)
{
	FOR_EACH(e, p->dag->readers, v)
	{
		int r = p->dag->readers.items[e];

		if ((p->flags[r] & PGT_ST_DUE) && p->sts[r].retry_at <= p->now)
			return true;
	}
	return false;
}

/* Pending is shared by all members of a unit. */
static void
note_pending(PgtPolicy *p, int unit)
{
	const PgtDag *dag = p->dag;
	bool any = false;

	FOR_EACH(e, dag->members, unit)
	{
		int v = dag->members.items[e];

		p->flags[v] = is_held(p, v) ? PGT_ST_HELD : 0;
		any = any || (p->flags[v] == 0 && is_pending(p, v));
	}
	FOR_EACH(e, dag->members, unit)
	{
		PgtPolicySt *st = &p->sts[dag->members.items[e]];
		uint8_t *flags = &p->flags[dag->members.items[e]];

		if (any && *flags == 0)
		{
			*flags |= PGT_ST_PENDING;
			st->pending_since = st->pending_since > 0 ? st->pending_since : p->now;
		}
		else
			st->pending_since = 0;
	}
}

/* Decides due and wanted; returns when v wants to be looked at again. */
static int64_t
note_due(PgtPolicy *p, int v)
{
	PgtPolicySt *st = &p->sts[v];
	int64_t due = due_time(p, v);
	int64_t when;

	if (p->flags[v] & PGT_ST_HELD)
		return PGT_NEVER;
	if (due <= p->now || (is_calculated(st) && reader_is_due(p, v)))
	{
		p->flags[v] |= PGT_ST_DUE;
		due = p->now;
	}
	if (st->running)
		return PGT_NEVER;
	if (!(p->flags[v] & PGT_ST_PENDING))
		return st->crossing > 0 ? st->crossing : PGT_NEVER;
	when = due > st->retry_at ? due : st->retry_at;
	if (when > p->now)
		return when;
	/* readers wait for it meanwhile */
	p->flags[v] |= PGT_ST_WANTED;
	return st->widened_until > p->now ? st->widened_until : PGT_NEVER;
}

static bool
is_slow(const PgtPolicy *p, int unit)
{
	FOR_EACH(e, p->dag->members, unit)
	{
		int v = p->dag->members.items[e];

		if (p->sts[v].slowest && !(p->flags[v] & PGT_ST_HELD))
			return true;
	}
	return false;
}

static bool
all_due(const PgtPolicy *p, int unit)
{
	FOR_EACH(e, p->dag->members, unit)
	{
		if (!(p->flags[p->dag->members.items[e]] & (PGT_ST_DUE | PGT_ST_HELD)))
			return false;
	}
	return true;
}

/*
 * A unit that cannot start yet (a member backs off; a slow one is not due) wants nothing: those who read it need not wait for it.
 * The member in question has said when to look again.
 */
static void
let_rest(PgtPolicy *p, int unit)
{
	bool rests = is_slow(p, unit) && !all_due(p, unit);

	FOR_EACH(e, p->dag->members, unit)
	{
		int v = p->dag->members.items[e];

		rests = rests || (!(p->flags[v] & PGT_ST_HELD) && p->sts[v].retry_at > p->now);
	}
	FOR_EACH(e, p->dag->members, unit)
	{
		if (rests)
			p->flags[p->dag->members.items[e]] &= (uint8_t) ~PGT_ST_WANTED;
	}
}

int64_t
pgt_policy_tick(PgtPolicy *p)
{
	int n = p->dag->nnodes;
	int64_t wake = PGT_NEVER;

	for (int u = 0; u < p->dag->nunits; u++)
		note_pending(p, u);
	for (int i = n - 1; i >= 0; i--)
	{
		int64_t when = note_due(p, p->dag->order[i]);

		if (when < wake)
			wake = when;
	}
	for (int u = 0; u < p->dag->nunits; u++)
		let_rest(p, u);
	return wake;
}

/* ---- jobs ---- */

/* One job under construction. */
typedef struct JobBuilder
{
	PgtPolicy *p;
	int n;
	int max;
} JobBuilder;

/* Membership is a flag beside the others while a job is built. */
#define IN_JOB 16

static bool
in_job(const JobBuilder *b, int node)
{
	return (b->p->flags[node] & IN_JOB) != 0;
}

static bool
unit_in_job(const JobBuilder *b, int unit)
{
	FOR_EACH(e, b->p->dag->members, unit)
	{
		if (in_job(b, b->p->dag->members.items[e]))
			return true;
	}
	return false;
}

static bool
is_background(const PgtPolicySt *st)
{
	return st->large && !st->populated;
}

/* May `node` not start now, because of what it reads outside of the job and of its own unit? */
static bool
waits_for_upstream(const JobBuilder *b, int node)
{
	const PgtPolicy *p = b->p;
	const PgtDag *dag = p->dag;

	FOR_EACH(e, dag->upstreams, node)
	{
		int u = dag->upstreams.items[e];

		if (dag->unit[u] == dag->unit[node] || in_job(b, u))
			continue;
		if (p->sts[u].running || !p->sts[u].populated || (p->flags[u] & PGT_ST_WANTED))
			return true;
	}
	return false;
}

static bool
is_put_off(const PgtPolicy *p, const PgtPolicySt *st)
{
	return p->contended && p->nrunning > 0 && st->widened_until > p->now;
}

/* Is an ST running that v must not run beside? */
static bool
waits_for_partner(const PgtPolicy *p, int v)
{
	for (int i = 0; i < p->npairs; i++)
	{
		const PgtPair *pair = &p->pairs[i];

		if ((pair->a == v && p->sts[pair->b].running) || (pair->b == v && p->sts[pair->a].running))
			return true;
	}
	return false;
}

/*
 * Longest waiting first: when the unit became wanted, or PGT_NEVER when it is not, or cannot start.  `flag`: what one of its
 * members must be (wanted, or merely due when the job changes what it reads).
 */
static int64_t
unit_since(const JobBuilder *b, int unit, uint8_t flag, bool background)
{
	const PgtPolicy *p = b->p;
	int64_t since = PGT_NEVER;
	bool large = false;

	FOR_EACH(e, p->dag->members, unit)
	{
		int v = p->dag->members.items[e];

		if ((p->flags[v] & flag) && p->sts[v].pending_since < since)
			since = p->sts[v].pending_since;
	}
	if (since == PGT_NEVER || (is_slow(p, unit) && !all_due(p, unit)))
		return PGT_NEVER;
	FOR_EACH(e, p->dag->members, unit)
	{
		int v = p->dag->members.items[e];
		const PgtPolicySt *st = &p->sts[v];

		if (st->running)
			return PGT_NEVER;
		if (p->flags[v] & PGT_ST_HELD)
			continue;
		if (st->retry_at > p->now || is_put_off(p, st) || waits_for_partner(p, v) || waits_for_upstream(b, v))
			return PGT_NEVER;
		large = large || is_background(st);
	}
	return large == background ? since : PGT_NEVER;
}

static int
unit_size(const PgtPolicy *p, int unit)
{
	return p->dag->members.start[unit + 1] - p->dag->members.start[unit];
}

static void
add_unit(JobBuilder *b, int unit)
{
	FOR_EACH(e, b->p->dag->members, unit)
	{
		int v = b->p->dag->members.items[e];

		if (b->p->flags[v] & PGT_ST_HELD)
			continue;
		b->p->flags[v] |= IN_JOB;
		b->n++;
	}
}

static bool
reads_job(const JobBuilder *b, int unit)
{
	const PgtDag *dag = b->p->dag;

	FOR_EACH(m, dag->members, unit)
	{
		int v = dag->members.items[m];

		FOR_EACH(e, dag->upstreams, v)
		{
			if (in_job(b, dag->upstreams.items[e]))
				return true;
		}
	}
	return false;
}

/* Readers that are due come along: the same S1, the same barrier.  Units are numbered upstream first, so one pass suffices. */
static void
add_readers(JobBuilder *b, int from_unit)
{
	for (int u = from_unit; u < b->p->dag->nunits; u++)
	{
		if (b->n + unit_size(b->p, u) <= b->max && !unit_in_job(b, u) && reads_job(b, u) &&
			unit_since(b, u, PGT_ST_DUE, false) < PGT_NEVER)
			add_unit(b, u);
	}
}

static bool
is_quick(const PgtPolicy *p, int unit)
{
	FOR_EACH(e, p->dag->members, unit)
	{
		const PgtPolicySt *st = &p->sts[p->dag->members.items[e]];

		if (st->cost_ms < 0 || st->cost_ms > QUICK_MS || st->needs_reinit || !st->populated || st->failures > 0)
			return false;
	}
	return true;
}

/* More units wait than workers are free: quick ones share the transaction, its barrier and its commit. */
static void
add_quick_units(JobBuilder *b, int share)
{
	for (int u = 0; u < b->p->dag->nunits && share > 0; u++)
	{
		if (b->n + unit_size(b->p, u) <= b->max && !unit_in_job(b, u) && is_quick(b->p, u) &&
			unit_since(b, u, PGT_ST_WANTED, false) < PGT_NEVER)
		{
			add_unit(b, u);
			share--;
		}
	}
}

/* The longest waiting unit, and how many could start now. */
static int
pick_unit(const JobBuilder *b, bool background, int *nready)
{
	int64_t oldest = PGT_NEVER;
	int best = -1;

	*nready = 0;
	for (int u = 0; u < b->p->dag->nunits; u++)
	{
		int64_t since = unit_since(b, u, PGT_ST_WANTED, background);

		if (since == PGT_NEVER)
			continue;
		(*nready)++;
		if (since < oldest)
		{
			oldest = since;
			best = u;
		}
	}
	return best;
}

int64_t
pgt_policy_widening(const PgtPolicySt *st, int64_t fallback_us, int64_t most)
{
	int64_t interval = 0;

	if (st->schedule.kind == PGT_SCHEDULE_DURATION)
		interval = st->schedule.period_ms * 1000 * (st->factor > 0 ? st->factor : 1);
	else if (is_calculated(st))
		interval = fallback_us;
	else if (st->schedule.kind == PGT_SCHEDULE_CONTINUOUS)
		interval = st->cost_ms > 0 ? (int64_t) (st->cost_ms * 1000) : 0; /* it follows itself */
	return interval / 5 < most ? interval / 5 : most;
}

/* Puts the unit off while others run; true if it was.  Once per refresh: nobody waits longer than a fifth of the interval. */
static bool
widen(PgtPolicy *p, int unit)
{
	int64_t by = p->widen_max;

	if (!p->contended || p->nrunning == 0)
		return false;
	FOR_EACH(e, p->dag->members, unit)
	{
		const PgtPolicySt *st = &p->sts[p->dag->members.items[e]];
		int64_t own = pgt_policy_widening(st, p->fallback_us, p->widen_max);

		if (st->widened_until > 0 || !st->populated)
			return false;
		by = own < by ? own : by;
	}
	if (by <= 0)
		return false;
	FOR_EACH(e, p->dag->members, unit)
	p->sts[p->dag->members.items[e]].widened_until = p->now + by;
	if (p->now + by < p->widen_wake)
		p->widen_wake = p->now + by;
	return true;
}

/* Takes the members off their flags, upstream first. */
static void
list_job(const JobBuilder *b, int *nodes)
{
	const PgtDag *dag = b->p->dag;
	int n = 0;

	for (int i = 0; i < dag->nnodes && n < b->n; i++)
	{
		int v = dag->order[i];

		if (!in_job(b, v))
			continue;
		b->p->flags[v] &= (uint8_t) ~IN_JOB;
		nodes[n++] = v;
	}
}

int
pgt_policy_next_job(PgtPolicy *p, int idle, bool background, int *nodes)
{
	JobBuilder b = {.p = p, .max = MAX_MEMBERS};
	int nready;
	int unit;

	p->widen_wake = PGT_NEVER;
	do
		unit = pick_unit(&b, background, &nready);
	while (unit >= 0 && !background && widen(p, unit));
	if (unit < 0)
		return 0;
	add_unit(&b, unit);
	if (!background)
	{
		add_readers(&b, unit + 1);
		if (nready > idle && is_quick(p, unit))
			add_quick_units(&b, (nready + idle - 1) / (idle > 0 ? idle : 1) - 1);
	}
	list_job(&b, nodes);
	return b.n;
}

/* ---- outcomes ---- */

void
pgt_policy_started(PgtPolicy *p, int node)
{
	PgtPolicySt *st = &p->sts[node];

	st->running = true;
	st->last_start = p->now;
	st->due = is_calculated(st) ? p->now + p->fallback_us : pgt_schedule_next(&st->schedule, p->now, st->factor);
	st->pending_since = 0;
	st->widened_until = 0;
	/* cleared before S1 is taken: whatever an upstream commits from now on sets it again */
	st->upstream_changed = false;
	st->leftover = false;
	p->flags[node] &= (uint8_t) ~PGT_ST_WANTED;
}

void
pgt_policy_succeeded(PgtPolicy *p, int node, const PgtRefreshed *r, const bool *in_job_flags)
{
	PgtPolicySt *st = &p->sts[node];

	st->running = false;
	st->fresh = false;
	st->populated = true;
	st->needs_reinit = false;
	st->failures = 0;
	st->barrier = r->barrier;
	st->cost_ms = r->cost_ms;
	st->retry_at = 0;
	st->leftover = r->leftover;
	st->barren = r->leftover && !r->changed ? st->barren + 1 : 0;
	if (st->barren > 0)
		st->retry_at = p->now + pgt_backoff(st->barren, LEFTOVER_FIRST, LEFTOVER_MAX, 512);
	st->crossing = r->crossing;
	/* the server's clock is behind ours, or the moment was an estimate */
	if (!r->changed && is_crossed(st, p->now) && st->retry_at < p->now + CROSSING_AGAIN)
		st->retry_at = p->now + CROSSING_AGAIN;
	if (!r->changed)
		return;
	FOR_EACH(e, p->dag->readers, node)
	{
		int reader = p->dag->readers.items[e];

		if (!in_job_flags[reader])
			p->sts[reader].upstream_changed = true;
	}
}

void
pgt_policy_failed(PgtPolicy *p, int node, int64_t delay, bool counts)
{
	PgtPolicySt *st = &p->sts[node];

	st->running = false;
	st->fresh = true;
	st->retry_at = p->now + delay;
	st->due = p->now; /* the schedule had come: the delay alone decides */
	if (counts)
		st->failures++;
}

int64_t
pgt_policy_first_due(const PgtPolicySt *st, int64_t last_refresh, int64_t now, int64_t fallback_us)
{
	if (is_calculated(st))
		return (last_refresh > 0 ? last_refresh : now - fallback_us) + fallback_us;
	if (st->schedule.kind == PGT_SCHEDULE_CRON && last_refresh <= 0)
		last_refresh = now;
	return pgt_schedule_next(&st->schedule, last_refresh, st->factor > 0 ? st->factor : 1);
}

void
pgt_policy_clock_jumped(PgtPolicy *p, int64_t by)
{
	for (int v = 0; v < p->dag->nnodes; v++)
	{
		PgtPolicySt *st = &p->sts[v];

		st->last_start += by;
		st->retry_at = st->retry_at > 0 ? st->retry_at + by : 0;
		st->pending_since = st->pending_since > 0 ? st->pending_since + by : 0;
		st->widened_until = st->widened_until > 0 ? st->widened_until + by : 0;
		if (st->schedule.kind == PGT_SCHEDULE_CRON)
			st->due = pgt_schedule_next(&st->schedule, p->now, st->factor > 0 ? st->factor : 1);
		else
			st->due += by;
	}
}

int64_t
pgt_backoff(int failures, int64_t base, int64_t cap, uint32_t random)
{
	int64_t delay = base;

	for (int i = 1; i < failures && delay < cap; i++)
		delay *= 2;
	if (delay > cap)
		delay = cap;
	return delay * 3 / 4 + delay / 2 * (int64_t) (random % 1024) / 1023;
}

int
pgt_tier_factor(const char *tier)
{
	static const struct
	{
		const char *name;
		int factor;
	} tiers[] = {{"hot", 1}, {"warm", 2}, {"cold", 10}};

	for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++)
	{
		if (strcmp(tier, tiers[i].name) == 0)
			return tiers[i].factor;
	}
	return 0;
}
