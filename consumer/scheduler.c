/*
 * scheduler.c - joins plan, graph, policy and workers; implements the scheduling half of consumer.h.
 *
 * One Scheduler per process.  What happens (a commit was applied, a job ended, the plan changed, a timer fired) arms the tick for the
 * end of the loop's round; the tick asks the policy, starts jobs while workers are idle, and sets one timer for the nearest due time.
 * With nothing pending there is no timer but that of the plan's poll.
 *
 * Nodes of the graph are positions in the plan and change with it; jobs that run meanwhile are known by pgt_id.
 *
 * Time: the policy lives on a clock that runs like the loop's monotonic one and shows the wall's time; when the wall clock is set by
 * more than CLOCK_JUMP_US, durations go on and cron is asked again.
 */
#include "consumer/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "consumer/alloc.h"
#include "consumer/consumer.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/plan.h"
#include "consumer/policy.h"
#include "consumer/selfmon.h"
#include "consumer/sqlbuf.h"
#include "consumer/upkeep.h"
#include "consumer/workers.h"

#define PART "sched"
#define COALESCE_US INT64_C(1000) /* continuous: apply has gathered a burst already */
#define CATALOG_DELAY_US INT64_C(10000)
#define LAG_RECHECK_US INT64_C(20000)
#define RETRY_FIRST_US INT64_C(1000000) /* after a failure of the ST's own */
#define RETRY_MAX_US INT64_C(300000000)
#define BUSY_FIRST_US INT64_C(50000) /* after a lock or a barrier that took too long */
#define BUSY_MAX_US INT64_C(5000000)
#define RECONNECT_FIRST_US INT64_C(200000)
#define CLOCK_JUMP_US INT64_C(1000000)
#define POLL_SHARE 50 /* reading the plan takes at most 1/50 of the time */

typedef struct Scheduler
{
	PgtEnv env;
	PgtPool *pool;
	PgtPlan *plan;
	PgtPolicy policy; /* its dag, sts, flags and table_lsn are owned here */
	uint64_t *table_lsn;
	int *worker;         /* per node: who refreshed it last, -1 */
	int *busy;           /* per node: retries in a row that were nobody's fault */
	int *scratch;        /* per node: a job's nodes */
	int64_t wall_offset; /* wall clock minus loop clock, as the policy sees it */
	PgtTimer tick;
	PgtTimer poll;
	PgtConn *conn; /* reads the plan */
	int conn_failures;
	int64_t plan_sent; /* loop time of the query under way, 0 = none */
	bool plan_again;   /* something changed since it was sent */
	bool plan_failed;  /* logged */
	int64_t *finished; /* per node: loop time its last job ended */
	PgtUpkeep upkeep;
	PgtSelfmon *selfmon;
	PgtSelfmonPair *apart; /* pairs that selfmon wants refreshed one after the other, */
	int napart;
	PgtPair *pairs; /* and those of them that the plan knows, as nodes */
	bool attached;
	uint64_t probe; /* position that must be applied before jobs start again; UINT64_MAX: not known yet */
	bool draining;
	void (*drained)(void *arg);
	void *drained_arg;
	PgtSchedulerStatus status;
} Scheduler;

static Scheduler *sched;

static void load_plan(Scheduler *s);

static int64_t
wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
set_now(Scheduler *s)
{
	int64_t mono = pgt_loop_now(s->env.loop);
	int64_t jump = wall_us() - mono - s->wall_offset;

	if (jump > CLOCK_JUMP_US || jump < -CLOCK_JUMP_US)
	{
		s->wall_offset += jump;
		s->policy.now = mono + s->wall_offset;
		if (s->plan != NULL)
			pgt_policy_clock_jumped(&s->policy, jump);
	}
	s->policy.now = mono + s->wall_offset;
}

static void
tick_soon(Scheduler *s)
{
	pgt_timer_after(s->env.loop, &s->tick, 0);
}

/* ---- starting jobs ---- */

static void
fill_member(Scheduler *s, PgtMember *m, const int *nodes, int i)
{
	const PgtDag *dag = s->policy.dag;
	int v = nodes[i];

	m->id = s->plan->sts[v].id;
	m->name = strdup(s->plan->sts[v].name);
	m->group = s->plan->sts[v].refresh_group;
	/* with something to do: a schedule that came around on an idle ST means nothing */
	m->due = s->policy.sts[v].due > s->policy.sts[v].pending_since ? s->policy.sts[v].due : s->policy.sts[v].pending_since;
	if (m->due <= 0 || m->due > s->policy.now)
		m->due = s->policy.now;
	m->reads = pgt_alloc((size_t) (dag->upstreams.start[v + 1] - dag->upstreams.start[v]), sizeof(int));
	for (int e = dag->upstreams.start[v]; e < dag->upstreams.start[v + 1]; e++)
	{
		for (int j = 0; j < i; j++)
		{
			if (nodes[j] == dag->upstreams.items[e])
				m->reads[m->nreads++] = j;
		}
	}
}

static void
start_job(Scheduler *s, const int *nodes, int n, bool background)
{
	PgtJob *job = pgt_alloc(1, sizeof(PgtJob));

	job->members = pgt_alloc((size_t) n, sizeof(PgtMember));
	job->n = n;
	job->background = background;
	job->worker = s->worker[nodes[0]];
	for (int i = 0; i < n; i++)
		fill_member(s, &job->members[i], nodes, i);
	for (int i = 0; i < n; i++)
		pgt_policy_started(&s->policy, nodes[i]);
	if (background)
		pgt_log(PGT_LOG_INFO, PART, "first load of %s in the background", job->members[0].name);
	pgt_pool_run(s->pool, job);
}

/* How many ordinary jobs may start now. */
static int
free_slots(const Scheduler *s)
{
	int idle = pgt_pool_idle(s->pool);
	int allowed = s->plan->max_jobs - pgt_pool_running(s->pool);

	return idle < allowed ? idle : allowed;
}

/* `wake`: when to tick again, brought forward to when what was put off here may start. */
static void
start_jobs(Scheduler *s, int64_t *wake)
{
	int n;

	s->policy.widen_wake = PGT_NEVER;

	do
	{
		s->policy.nrunning = pgt_pool_running(s->pool) - !pgt_pool_background_idle(s->pool);
		n = free_slots(s) > 0 ? pgt_policy_next_job(&s->policy, free_slots(s), false, s->scratch) : 0;
		if (s->policy.widen_wake < *wake)
			*wake = s->policy.widen_wake;
		if (n > 0)
			start_job(s, s->scratch, n, false);
	} while (n > 0);
	if (pgt_pool_background_idle(s->pool) && (n = pgt_policy_next_job(&s->policy, 1, true, s->scratch)) > 0)
		start_job(s, s->scratch, n, true);
}

/* Locks are taken only when the barrier can be expected to come through at once. */
static bool
stream_keeps_up(Scheduler *s)
{
	return s->attached && s->probe <= pgt_consumer_applied_lsn() && pgt_consumer_lag_us() <= s->env.options->barrier_lag_us;
}

static void
on_tick(void *arg)
{
	Scheduler *s = arg;
	int64_t wake;

	if (s->plan == NULL || s->draining || !s->plan->enabled)
		return;
	set_now(s);
	wake = pgt_policy_tick(&s->policy);
	if (stream_keeps_up(s))
		start_jobs(s, &wake);
	else if (s->attached && wake > s->policy.now + LAG_RECHECK_US)
		wake = s->policy.now + LAG_RECHECK_US;
	if (wake != PGT_NEVER)
		pgt_timer_at(s->env.loop, &s->tick, wake - s->wall_offset);
}

/* ---- jobs that ended ---- */

static void
member_done(Scheduler *s, const PgtJob *job, const PgtMember *m, int v, const bool *in_job)
{
	PgtRefreshed r = {
		.barrier = job->barrier,
		.changed = m->rows_changed > 0,
		.leftover = m->leftover,
		.crossing = m->crossing,
		.cost_ms = m->cost_ms};

	s->status.refreshes++;
	s->status.unchanged += strcmp(m->action, "NO_DATA") == 0;
	s->status.busy_seconds += m->cost_ms / 1000.0;
	s->busy[v] = 0;
	pgt_policy_succeeded(&s->policy, v, &r, in_job);
	if (strcmp(m->action, "NO_DATA") != 0)
		pgt_selfmon_on_refreshed(s->selfmon, m->id);
	pgt_log(PGT_LOG_DEBUG, PART, "%s: %s, %lld rows, %.1f ms, barrier %.1f ms%s", m->name, m->action, (long long) m->rows_changed,
			m->cost_ms, (double) job->barrier_us / 1000.0, m->leftover ? ", more is waiting" : "");
}

static void
member_failed(Scheduler *s, const PgtMember *m, int v)
{
	int64_t delay;

	if (strcmp(m->status_after, "DROPPED") == 0)
	{
		/* between plan and refresh; the next plan will not name it */
		pgt_log(PGT_LOG_INFO, PART, "%s has been dropped", m->name);
		if (v >= 0)
			pgt_policy_failed(&s->policy, v, RETRY_FIRST_US, false);
		return;
	}
	if (strcmp(m->err.sqlstate, "PT020") == 0)
	{
		pgt_log(PGT_LOG_WARNING, PART, "%s: the fuse has blown: %s", m->name, m->err.message);
		if (v >= 0)
			pgt_policy_failed(&s->policy, v, RETRY_FIRST_US, false);
		return;
	}
	s->status.failures++;
	pgt_log_err(PGT_LOG_ERROR, PART, m->name, &m->err);
	if (v < 0)
		return;
	delay = pgt_backoff(s->policy.sts[v].failures + 1, RETRY_FIRST_US, RETRY_MAX_US, (uint32_t) rand());
	pgt_policy_failed(&s->policy, v, delay, true);
	if (m->status_after[0] != '\0' && strcmp(m->status_after, "ACTIVE") != 0 && strcmp(m->status_after, "INITIALIZING") != 0)
	{
		s->policy.sts[v].enabled = false;
		pgt_log(PGT_LOG_WARNING, PART, "%s is %s now", m->name, m->status_after);
	}
	else
		pgt_log(PGT_LOG_INFO, PART, "%s: next attempt in %.1f s", m->name, (double) delay / 1e6);
}

/*
 * A lock, the barrier, a connection: nothing is recorded.  Said aloud only when it goes on.  What may have crashed its backend gets
 * the longer pauses of a failure, so that it cannot bring the server down again and again.
 */
static void
member_retry(Scheduler *s, const PgtMember *m, int v)
{
	int64_t delay = pgt_backoff(++s->busy[v], m->lost ? RETRY_FIRST_US : BUSY_FIRST_US, m->lost ? RETRY_MAX_US : BUSY_MAX_US,
								(uint32_t) rand());

	pgt_policy_failed(&s->policy, v, delay, false);
	pgt_log_err(s->busy[v] % 10 == 3 ? PGT_LOG_WARNING : PGT_LOG_DEBUG, PART, m->name, &m->err);
}

static void
settle_member(Scheduler *s, const PgtJob *job, const PgtMember *m, const bool *in_job)
{
	int v = s->plan ? pgt_plan_find(s->plan, m->id) : -1;

	if (m->outcome == PGT_OUTCOME_FAILED)
		member_failed(s, m, v);
	if (v < 0)
		return;
	if (m->outcome == PGT_OUTCOME_DONE)
		member_done(s, job, m, v, in_job);
	else if (m->outcome == PGT_OUTCOME_SKIPPED)
		pgt_policy_failed(&s->policy, v, RETRY_FIRST_US, false);
	else if (m->outcome != PGT_OUTCOME_FAILED)
		member_retry(s, m, v);
	s->worker[v] = job->background ? -1 : job->worker;
	s->finished[v] = pgt_loop_now(s->env.loop);
}

static void
on_probe_sent(void *arg, const PGresult *res, const PgtErr *err)
{
	Scheduler *s = arg;
	uint64_t lsn = 0;

	if (err == NULL && PQntuples(res) == 1 && pgt_lsn_parse(PQgetvalue(res, 0, 0), &lsn))
	{
		s->probe = lsn;
		pgt_consumer_expect_barrier(lsn);
	}
	else
		s->probe = 0; /* then the next refresh finds out */
	tick_soon(s);
}

/* A barrier came late: send one that nobody holds locks for, and start nothing before it is through. */
static void
probe_stream(Scheduler *s)
{
	s->status.barrier_timeouts++;
	if (s->probe > pgt_consumer_applied_lsn() || s->conn == NULL || !s->attached)
		return;
	s->probe = UINT64_MAX;
	pgt_conn_query(s->conn, "SELECT pg_catalog.pg_logical_emit_message(false, 'pgtrickle.barrier', '')", on_probe_sent, s);
}

static void
on_job_done(void *arg, PgtJob *job)
{
	Scheduler *s = arg;
	bool *in_job = pgt_alloc(s->plan ? (size_t) s->plan->n : 1, sizeof(bool));
	bool committed = false;

	set_now(s);
	for (int i = 0; i < job->n; i++)
	{
		int v = s->plan ? pgt_plan_find(s->plan, job->members[i].id) : -1;

		if (v >= 0)
			in_job[v] = true;
		committed = committed || job->members[i].outcome == PGT_OUTCOME_DONE;
	}
	for (int i = 0; i < job->n; i++)
		settle_member(s, job, &job->members[i], in_job);
	free(in_job);
	if (job->barrier_timed_out)
		probe_stream(s);
	pgt_job_free(job);
	if (committed)
		pgt_consumer_refresh_done();
	if (s->draining && pgt_pool_running(s->pool) == 0 && s->drained != NULL)
	{
		void (*drained)(void *) = s->drained;

		s->drained = NULL;
		drained(s->drained_arg);
		return;
	}
	tick_soon(s);
}

static void
on_worker_ready(void *arg)
{
	tick_soon(arg);
}

/* ---- the plan ---- */

static PgtDag *
graph_of(const PgtPlan *plan)
{
	PgtDagNode *nodes = pgt_alloc((size_t) plan->n, sizeof(PgtDagNode));
	PgtDag *dag;

	for (int v = 0; v < plan->n; v++)
	{
		const PgtPlanSt *st = &plan->sts[v];

		nodes[v] = (PgtDagNode){.id = st->id, .tables = st->tables, .ntables = st->ntables, .upstreams = st->upstreams, .nupstreams = st->nupstreams, .atomic = st->atomic, .refresh_group = st->refresh_group};
	}
	dag = pgt_dag_build(nodes, plan->n);
	free(nodes);
	return dag;
}

/* What the plan says about an ST, into its policy state.  Returns why the scheduler leaves it alone, or NULL. */
static const char *
take_definition(const PgtPlanSt *st, PgtPolicySt *p, char *err, size_t errlen)
{
	const char *held = pgt_plan_held(st);

	p->factor = st->factor;
	p->large = st->large;
	p->clocked = st->clocked;
	p->slowest = st->slowest;
	if (!pgt_schedule_parse(st->schedule, &p->schedule, err, errlen))
	{
		memset(&p->schedule, 0, sizeof(p->schedule));
		held = err;
	}
	p->enabled = held == NULL;
	return held;
}

static void
take_new_st(Scheduler *s, const PgtPlanSt *st, PgtPolicySt *p)
{
	p->populated = st->populated;
	p->needs_reinit = st->needs_reinit;
	p->crossing = st->crossing;
	p->fresh = true;
	p->cost_ms = -1;
	p->due = pgt_policy_first_due(p, st->last_refresh, s->policy.now, s->policy.fallback_us);
}

/*
 * What changed since the last plan.  Rows of STs that run, or ended after the query was sent, may be older than what we know: then
 * only definitions are taken, and the next poll brings the rest.
 */
static void
take_known_st(Scheduler *s, const PgtPlanSt *st, const PgtPlanSt *before, PgtPolicySt *p, int64_t finished)
{
	const char *old_schedule = before->schedule ? before->schedule : "";

	if (strcmp(old_schedule, st->schedule ? st->schedule : "") != 0 || st->factor != before->factor)
		p->due = pgt_policy_first_due(p, p->last_start > 0 ? p->last_start : st->last_refresh, s->policy.now, s->policy.fallback_us);
	if (!pgt_plan_same_sources(st, before))
		p->fresh = true;
	if (p->running || finished >= s->plan_sent)
		return;
	p->populated = st->populated;
	p->needs_reinit = st->needs_reinit;
	p->crossing = st->crossing;
	p->upstream_changed = p->upstream_changed || st->upstream_pending;
	if (strcmp(before->status, st->status) != 0)
	{
		/* resumed, or repaired by hand: at once, without what failures left behind */
		p->retry_at = 0;
		p->failures = 0;
		p->fresh = true;
	}
}

/* Everything that is kept per node, while the nodes are renumbered. */
typedef struct NodeArrays
{
	PgtPolicySt *sts;
	uint8_t *flags;
	int *worker;
	int *busy;
	int *scratch;
	int64_t *finished;
	uint64_t *table_lsn;
} NodeArrays;

static NodeArrays
new_arrays(int n, int ntables)
{
	NodeArrays a;

	a.sts = pgt_alloc((size_t) n, sizeof(PgtPolicySt));
	a.flags = pgt_alloc((size_t) n, sizeof(uint8_t));
	a.worker = pgt_alloc((size_t) n, sizeof(int));
	a.busy = pgt_alloc((size_t) n, sizeof(int));
	a.scratch = pgt_alloc((size_t) n, sizeof(int));
	a.finished = pgt_alloc((size_t) n, sizeof(int64_t));
	a.table_lsn = pgt_alloc((size_t) ntables, sizeof(uint64_t));
	return a;
}

static void
free_plan(Scheduler *s)
{
	pgt_plan_free(s->plan);
	pgt_dag_free((PgtDag *) s->policy.dag);
	free(s->policy.sts);
	free(s->policy.flags);
	free(s->worker);
	free(s->busy);
	free(s->scratch);
	free(s->finished);
	free(s->table_lsn);
	free(s->pairs);
	s->policy.pairs = s->pairs = NULL;
	s->policy.npairs = 0;
	s->plan = NULL;
}

static void
install(Scheduler *s, PgtPlan *plan, PgtDag *dag, const NodeArrays *a)
{
	free_plan(s);
	s->plan = plan;
	s->policy.dag = dag;
	s->policy.sts = a->sts;
	s->policy.flags = a->flags;
	s->policy.table_lsn = s->table_lsn = a->table_lsn;
	s->worker = a->worker;
	s->busy = a->busy;
	s->scratch = a->scratch;
	s->finished = a->finished;
}

/* One ST of the new plan, from the old one when it was there. */
static void
carry_over(Scheduler *s, const PgtPlan *plan, int v, NodeArrays *a)
{
	const PgtPlanSt *st = &plan->sts[v];
	int old = s->plan ? pgt_plan_find(s->plan, st->id) : -1;
	const char *held;
	char err[512];

	if (old >= 0)
		a->sts[v] = s->policy.sts[old];
	a->worker[v] = old >= 0 ? s->worker[old] : -1;
	a->busy[v] = old >= 0 ? s->busy[old] : 0;
	a->finished[v] = old >= 0 ? s->finished[old] : -1;
	held = take_definition(st, &a->sts[v], err, sizeof(err));
	if (held != NULL && (old < 0 || s->policy.sts[old].enabled))
		pgt_log(PGT_LOG_INFO, PART, "%s is not scheduled: %s", st->name, held);
	if (old >= 0)
		take_known_st(s, st, &s->plan->sts[old], &a->sts[v], a->finished[v]);
	else
		take_new_st(s, st, &a->sts[v]);
}

/* The pairs that are to be refreshed one after the other, as nodes of the present plan. */
static void
find_pairs(Scheduler *s)
{
	free(s->pairs);
	s->policy.pairs = s->pairs = pgt_alloc((size_t) s->napart, sizeof(PgtPair));
	s->policy.npairs = 0;
	for (int i = 0; i < s->napart && s->plan != NULL; i++)
	{
		PgtPair pair = {.a = pgt_plan_find(s->plan, s->apart[i].a), .b = pgt_plan_find(s->plan, s->apart[i].b)};

		if (pair.a >= 0 && pair.b >= 0)
			s->pairs[s->policy.npairs++] = pair;
	}
}

static void
on_pairs(void *arg, const PgtSelfmonPair *pairs, int n)
{
	Scheduler *s = arg;

	free(s->apart);
	s->apart = pgt_alloc((size_t) n, sizeof(PgtSelfmonPair));
	memcpy(s->apart, pairs, sizeof(PgtSelfmonPair) * (size_t) n);
	s->napart = n;
	find_pairs(s);
	tick_soon(s);
}

static void
on_contention(void *arg, bool contended)
{
	((Scheduler *) arg)->policy.contended = contended;
	tick_soon(arg);
}

static void
take_plan(Scheduler *s, PgtPlan *plan)
{
	PgtDag *dag = graph_of(plan);
	NodeArrays a = new_arrays(plan->n, dag->ntables);

	set_now(s);
	s->policy.fallback_us = plan->fallback_us;
	for (int v = 0; v < plan->n; v++)
		carry_over(s, plan, v, &a);
	for (int v = 0; v < plan->n; v++)
	{
		if (dag->cyclic[v] && (s->plan == NULL || plan->n != s->plan->n))
			pgt_log(PGT_LOG_WARNING, PART, "%s is not scheduled: it reads itself through other stream tables", plan->sts[v].name);
	}
	for (int t = 0; t < dag->ntables; t++)
	{
		int old = s->plan ? pgt_dag_find_table(s->policy.dag, dag->tables[t]) : -1;

		a.table_lsn[t] = old >= 0 ? s->table_lsn[old] : 0;
	}
	install(s, plan, dag, &a);
	find_pairs(s);
	s->policy.widen_max = plan->poll_us;
	pgt_pool_set_barrier_timeout(s->pool, plan->barrier_timeout_us);
}

static void
poll_again(Scheduler *s, int64_t took)
{
	int64_t every = s->plan ? s->plan->poll_us : RECONNECT_FIRST_US;

	if (every < took * POLL_SHARE)
		every = took * POLL_SHARE;
	if (!s->draining)
		pgt_timer_after(s->env.loop, &s->poll, s->plan_again ? CATALOG_DELAY_US : every);
	s->plan_again = false;
}

static void
on_plan(void *arg, const PGresult *res, const PgtErr *err)
{
	Scheduler *s = arg;
	int64_t took = pgt_loop_now(s->env.loop) - s->plan_sent;
	PgtPlan *plan = NULL;
	PgtErr bad;

	if (err == NULL)
	{
		plan = pgt_plan_read(res, &bad);
		err = plan ? NULL : &bad;
	}
	if (err != NULL && strcmp(err->sqlstate, PGT_STATE_CONNECTION) == 0)
		return; /* on_conn_closed follows */
	if (plan != NULL)
		take_plan(s, plan);
	else if (!s->plan_failed)
		pgt_log_err(PGT_LOG_ERROR, PART, "the plan cannot be read", err);
	s->plan_failed = plan == NULL;
	s->plan_sent = 0;
	if (plan != NULL && !s->draining)
	{
		pgt_upkeep_on_plan(&s->upkeep, s->conn, plan);
		pgt_selfmon_on_plan(s->selfmon, plan);
	}
	poll_again(s, took);
	tick_soon(s);
}

static void
on_conn_closed(void *arg, const PgtErr *err)
{
	Scheduler *s = arg;

	pgt_conn_close(s->conn);
	s->conn = NULL;
	pgt_upkeep_disconnected(&s->upkeep);
	s->plan_sent = 0;
	if (s->probe == UINT64_MAX)
		s->probe = 0;
	if (s->conn_failures++ == 0)
		pgt_log_err(PGT_LOG_WARNING, PART, "connection that reads the plan", err);
	pgt_timer_after(s->env.loop, &s->poll,
					pgt_backoff(s->conn_failures, RECONNECT_FIRST_US, s->env.options->reconnect_max_us, (uint32_t) rand()));
}

static void
on_conn_ready(void *arg)
{
	((Scheduler *) arg)->conn_failures = 0;
}

static void
load_plan(Scheduler *s)
{
	static const PgtConnEvents events = {.on_ready = on_conn_ready, .on_closed = on_conn_closed};

	if (s->plan_sent != 0)
	{
		s->plan_again = true;
		return;
	}
	if (s->conn == NULL)
	{
		s->conn = pgt_conn_open(s->env.loop, s->env.options, PGT_CONN_SQL, "scheduler");
		pgt_conn_events(s->conn, &events, s);
		/* the library's settings exist once one of its C functions was called */
		pgt_conn_query(s->conn, "SELECT pgtrickle._flush_wal()", NULL, NULL);
	}
	s->plan_sent = pgt_loop_now(s->env.loop);
	pgt_conn_query(s->conn, pgt_plan_sql, on_plan, s);
}

static void
on_poll(void *arg)
{
	load_plan(arg);
}

/* ---- consumer.h ---- */

static void
render_metrics(FILE *out, void *arg)
{
	PgtSchedulerStatus st;

	pgt_scheduler_status(&st);
	fprintf(out, "# TYPE trickle_stream_tables gauge\ntrickle_stream_tables %d\n", st.stream_tables);
	fprintf(out, "# TYPE trickle_stream_tables_held gauge\ntrickle_stream_tables_held %d\n", st.held);
	fprintf(out, "# TYPE trickle_refresh_jobs_running gauge\ntrickle_refresh_jobs_running %d\n", st.running);
	fprintf(out, "# TYPE trickle_refreshes_waiting gauge\ntrickle_refreshes_waiting %d\n", st.waiting);
	fprintf(out, "# TYPE trickle_refreshes_total counter\ntrickle_refreshes_total %llu\n", (unsigned long long) st.refreshes);
	fprintf(out, "# TYPE trickle_refreshes_unchanged_total counter\ntrickle_refreshes_unchanged_total %llu\n",
			(unsigned long long) st.unchanged);
	fprintf(out, "# TYPE trickle_refresh_failures_total counter\ntrickle_refresh_failures_total %llu\n",
			(unsigned long long) st.failures);
	fprintf(out, "# TYPE trickle_barrier_timeouts_total counter\ntrickle_barrier_timeouts_total %llu\n",
			(unsigned long long) st.barrier_timeouts);
	fprintf(out, "# TYPE trickle_refresh_seconds_total counter\ntrickle_refresh_seconds_total %.6f\n", st.busy_seconds);
}

bool
pgt_workers_start(const PgtEnv *env, PgtErr *err)
{
	static const PgtPoolEvents events = {.job_done = on_job_done, .worker_ready = on_worker_ready};
	static const PgtSelfmonEvents selfmon_events = {.on_contention = on_contention, .on_pairs = on_pairs};
	Scheduler *s = pgt_alloc(1, sizeof(Scheduler));

	sched = s;
	s->env = *env;
	s->policy.coalesce_us = COALESCE_US;
	s->wall_offset = wall_us() - pgt_loop_now(env->loop);
	srand((unsigned) wall_us()); /* jitter only */
	pgt_timer_init(&s->tick, on_tick, s);
	pgt_timer_init(&s->poll, on_poll, s);
	pgt_upkeep_init(&s->upkeep, env->loop);
	s->pool = pgt_pool_create(env->loop, env->options, &events, s);
	s->selfmon = pgt_selfmon_create(env->loop, env->options, &selfmon_events, s);
	pgt_metrics_add_renderer(render_metrics, s);
	return true;
}

void
pgt_sched_on_attached(uint64_t applied_lsn, const char *gap)
{
	Scheduler *s = sched;

	if (s == NULL)
		return;
	s->attached = true;
	s->probe = 0;
	for (int v = 0; gap != NULL && s->plan != NULL && v < s->plan->n; v++)
		s->policy.sts[v].fresh = true;
	pgt_pool_resize(s->pool, (int) s->env.options->workers);
	load_plan(s);
}

void
pgt_sched_on_detached(void)
{
	if (sched == NULL)
		return; /* the session ends after the workers */
	sched->attached = false;
	pgt_pool_give_up_barriers(sched->pool);
}

void
pgt_sched_on_applied(const uint32_t *relids, int nrelids, uint64_t end_lsn)
{
	Scheduler *s = sched;
	bool known = false;

	if (s == NULL)
		return;
	for (int i = 0; i < nrelids && s->plan != NULL; i++)
	{
		int t = pgt_dag_find_table(s->policy.dag, relids[i]);

		if (t < 0)
			continue;
		known = true;
		if (s->table_lsn[t] < end_lsn)
			s->table_lsn[t] = end_lsn;
	}
	if (known)
		tick_soon(s);
}

void
pgt_sched_on_progress(uint64_t lsn)
{
	Scheduler *s = sched;

	if (s == NULL)
		return;
	if (s->probe != 0 && s->probe <= lsn)
	{
		s->probe = 0;
		tick_soon(s);
	}
	pgt_pool_progress(s->pool, lsn);
}

void
pgt_sched_on_catalog(void)
{
	if (sched == NULL || sched->draining)
		return;
	if (sched->plan_sent != 0)
		sched->plan_again = true;
	else
		pgt_timer_after(sched->env.loop, &sched->poll, CATALOG_DELAY_US);
}

void
pgt_sched_on_reload(void)
{
	if (sched != NULL && sched->attached)
		pgt_pool_resize(sched->pool, (int) sched->env.options->workers);
}

void
pgt_workers_drain(void (*done)(void *arg), void *arg)
{
	Scheduler *s = sched;

	s->draining = true;
	pgt_timer_cancel(s->env.loop, &s->tick);
	pgt_timer_cancel(s->env.loop, &s->poll);
	pgt_upkeep_stop(&s->upkeep);
	if (pgt_pool_running(s->pool) == 0)
	{
		done(arg);
		return;
	}
	s->drained = done;
	s->drained_arg = arg;
}

void
pgt_workers_stop(void)
{
	Scheduler *s = sched;

	if (s == NULL)
		return;
	pgt_timer_cancel(s->env.loop, &s->tick);
	pgt_timer_cancel(s->env.loop, &s->poll);
	pgt_upkeep_stop(&s->upkeep);
	pgt_pool_free(s->pool);
	pgt_selfmon_free(s->selfmon);
	free(s->apart);
	pgt_conn_close(s->conn);
	free_plan(s);
	free(s);
	sched = NULL;
}

void
pgt_scheduler_status(PgtSchedulerStatus *status)
{
	Scheduler *s = sched;

	memset(status, 0, sizeof(*status));
	if (s == NULL)
		return;
	*status = s->status;
	status->running = pgt_pool_running(s->pool);
	for (int v = 0; s->plan != NULL && v < s->plan->n; v++)
	{
		status->stream_tables++;
		status->held += (s->policy.flags[v] & PGT_ST_HELD) != 0;
		status->waiting += (s->policy.flags[v] & PGT_ST_WANTED) != 0;
	}
}
