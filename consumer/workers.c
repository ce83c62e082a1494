/*
 * workers.c - the pool of refresh connections and the course of one job.
 *
 *   CLOSED ──▶ CONNECTING ──▶ IDLE ──run──▶ BEGIN ──▶ BARRIER ──▶ APPLY ⟲ ──▶ COMMIT ──┐
 *                                ▲             │          │          │                  ▼
 *                                └── job_done ── REPORT ◀─┴─ ROLLBACK ◀──────────────  REPORT
 *
 * PROBE finds out which of several members makes _refresh_begin fail.  A lost connection ends its job from on_closed, in whatever
 * state it was: everything not yet decided is to be tried again, and what a COMMIT without an answer did, the frontiers will tell.
 * Workers reconnect by themselves, with growing pauses.  The background worker (large first loads) connects for each job.
 */
#include "consumer/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "consumer/consumer.h"
#include "consumer/log.h"
#include "consumer/policy.h"
#include "consumer/sqlbuf.h"

#define PART "refresh"
#define MAX_WORKERS 64
#define RECONNECT_FIRST_US INT64_C(200000)
#define WATCH_US INT64_C(5000000) /* how often a long refresh is mentioned */
#define DEFAULT_BARRIER_TIMEOUT_US INT64_C(2000000)

typedef enum WorkerState
{
	WORKER_CLOSED,
	WORKER_CONNECTING,
	WORKER_IDLE,
	WORKER_BEGIN,
	WORKER_BARRIER,
	WORKER_APPLY,
	WORKER_COMMIT,
	WORKER_ROLLBACK,
	WORKER_PROBE,
	WORKER_REPORT
} WorkerState;

typedef struct Worker
{
	PgtPool *pool;
	int index;
	bool background;
	bool wanted; /* not surplus */
	PgtConn *conn;
	WorkerState state;
	PgtTimer timer; /* barrier timeout, or reconnect */
	int connect_failures;
	PgtJob *job;
	int member;            /* being applied, probed or reported */
	const char *savepoint; /* what the next statement must do first */
	bool probing;          /* begin failed for several: ask one by one after the rollback */
	int64_t barrier_since;
	double started; /* seconds since 1970 */
} Worker;

struct PgtPool
{
	PgtLoop *loop;
	const PgtOptions *options;
	PgtPoolEvents events;
	void *arg;
	Worker workers[MAX_WORKERS + 1]; /* the last one is the background worker */
	int64_t barrier_timeout_us;
	PgtTimer watch;
};

static void apply_next(Worker *w);
static void report_next(Worker *w);
static void probe_next(Worker *w);
static void worker_connect(Worker *w);

/* ---- small things ---- */

void
pgt_job_free(PgtJob *job)
{
	if (job == NULL)
		return;
	for (int i = 0; i < job->n; i++)
	{
		free(job->members[i].name);
		free(job->members[i].reads);
	}
	free(job->members);
	free(job);
}

/* Conditions that are nobody's fault: the same refresh may well work in a moment. */
static bool
is_transient(const PgtErr *err)
{
	static const char *const states[] = {
		"55P03",                            /* lock_not_available */
		"40001", "40P01",                   /* serialization_failure, deadlock_detected */
		"57P01", "57P02", "57P03", "57P05", /* the server or an administrator ends sessions */
		"25P03", "25P04",                   /* idle in transaction, transaction timeout */
		"53300",                            /* too_many_connections */
		"PT021",                            /* a gate, a watermark or a group holds it: the next plan will say so */
		PGT_STATE_CONNECTION};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
	{
		if (strcmp(err->sqlstate, states[i]) == 0)
			return true;
	}
	return strncmp(err->sqlstate, "08", 2) == 0;
}

static bool
is_lost(const PgtErr *err)
{
	return err != NULL && strcmp(err->sqlstate, PGT_STATE_CONNECTION) == 0;
}

static double
wall_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void
set_outcome(PgtMember *m, PgtOutcome outcome, const PgtErr *err)
{
	m->outcome = outcome;
	if (err != NULL)
		m->err = *err;
}

/* Every member that is not settled by a failure of its own. */
static void
retry_all(PgtJob *job, const PgtErr *err)
{
	for (int i = 0; i < job->n; i++)
	{
		if (job->members[i].outcome != PGT_OUTCOME_FAILED)
			set_outcome(&job->members[i], PGT_OUTCOME_RETRY, err);
	}
}

/* ---- end of a job ---- */

static void
worker_close(Worker *w)
{
	pgt_timer_cancel(w->pool->loop, &w->timer);
	pgt_conn_close(w->conn);
	w->conn = NULL;
	w->state = WORKER_CLOSED;
}

/* Closed against its will: come back after a while. */
static void
worker_lost(Worker *w)
{
	worker_close(w);
	if (w->wanted && !w->background)
		pgt_timer_after(w->pool->loop, &w->timer,
						pgt_backoff(w->connect_failures, RECONNECT_FIRST_US, w->pool->options->reconnect_max_us, (uint32_t) rand()));
}

static void
end_job(Worker *w)
{
	PgtJob *job = w->job;

	w->job = NULL;
	if (w->state != WORKER_CLOSED)
		w->state = WORKER_IDLE;
	if (w->background || !w->wanted)
		worker_close(w);
	job->worker = w->index;
	w->pool->events.job_done(w->pool->arg, job);
}

static void
on_reported(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;
	PgtMember *m = &w->job->members[w->member];

	if (is_lost(err))
		return;
	if (err != NULL)
		pgt_log_err(PGT_LOG_ERROR, PART, "a failed refresh could not be recorded", err);
	else if (PQntuples(res) == 1 && !PQgetisnull(res, 0, 0))
		snprintf(m->status_after, sizeof(m->status_after), "%s", PQgetvalue(res, 0, 0));
	w->member++;
	report_next(w);
}

/* The transaction is over: record the failures in new ones. */
static void
report_next(Worker *w)
{
	PgtJob *job = w->job;
	char id[24];
	char started[32];
	char due[32];
	const char *params[5];

	w->state = WORKER_REPORT;
	while (w->member < job->n && job->members[w->member].outcome != PGT_OUTCOME_FAILED)
		w->member++;
	if (w->member == job->n)
	{
		end_job(w);
		return;
	}
	snprintf(id, sizeof(id), "%lld", (long long) job->members[w->member].id);
	snprintf(started, sizeof(started), "%.6f", w->started);
	snprintf(due, sizeof(due), "%.6f", (double) job->members[w->member].due / 1e6);
	params[0] = id;
	params[1] = started;
	params[2] = job->members[w->member].err.sqlstate;
	params[3] = job->members[w->member].err.message;
	params[4] = due;
	pgt_conn_params(w->conn, "SELECT pgtrickle._refresh_failed($1::bigint, to_timestamp($2::float8), $3, $4, to_timestamp($5::float8))",
					5, params, on_reported, w);
}

static void
on_rolled_back(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;

	if (err != NULL)
	{
		/* a session that cannot roll back is of no use; on_closed follows a lost connection by itself */
		if (!is_lost(err))
		{
			worker_lost(w);
			end_job(w);
		}
		return;
	}
	w->member = 0;
	if (w->probing)
		probe_next(w);
	else
		report_next(w);
}

static void
rollback(Worker *w)
{
	w->state = WORKER_ROLLBACK;
	pgt_timer_cancel(w->pool->loop, &w->timer);
	pgt_conn_query(w->conn, "ROLLBACK", on_rolled_back, w);
}

static void
on_committed(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;
	PgtErr no_commit;

	if (is_lost(err))
		return;
	if (err == NULL && strcmp(PQcmdStatus((PGresult *) res), "COMMIT") != 0)
	{
		pgt_err_set(&no_commit, PGT_STATE_INTERNAL, "COMMIT of a refresh was answered with %s", PQcmdStatus((PGresult *) res));
		err = &no_commit;
	}
	for (int i = 0; err != NULL && i < w->job->n; i++)
	{
		if (w->job->members[i].outcome == PGT_OUTCOME_DONE)
			set_outcome(&w->job->members[i], is_transient(err) ? PGT_OUTCOME_RETRY : PGT_OUTCOME_FAILED, err);
	}
	w->member = 0;
	report_next(w);
}

/* ---- apply ---- */

static void
read_outcome(PgtMember *m, const PGresult *res)
{
	set_outcome(m, PGT_OUTCOME_DONE, NULL);
	snprintf(m->action, sizeof(m->action), "%s", PQgetvalue(res, 0, 0));
	m->rows_changed = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
	m->cost_ms = strtod(PQgetvalue(res, 0, 2), NULL);
	m->leftover = PQgetvalue(res, 0, 3)[0] == 't';
	m->crossing = PQgetisnull(res, 0, 4) ? 0 : strtoll(PQgetvalue(res, 0, 4), NULL, 10);
}

static void
on_member_applied(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;
	PgtMember *m = &w->job->members[w->member];
	PgtErr no_row;

	if (is_lost(err))
		return;
	if (err == NULL && PQntuples(res) != 1)
	{
		pgt_err_set(&no_row, PGT_STATE_INTERNAL, "_refresh_apply returned %d rows", PQntuples(res));
		err = &no_row;
	}
	if (err != NULL)
		set_outcome(m, is_transient(err) ? PGT_OUTCOME_RETRY : PGT_OUTCOME_FAILED, err);
	else
		read_outcome(m, res);
	w->savepoint = err ? "ROLLBACK TO SAVEPOINT m; RELEASE SAVEPOINT m; " : "RELEASE SAVEPOINT m; ";
	w->member++;
	apply_next(w);
}

static bool
reads_failed_member(const PgtJob *job, const PgtMember *m)
{
	for (int i = 0; i < m->nreads; i++)
	{
		if (job->members[m->reads[i]].outcome != PGT_OUTCOME_DONE)
			return true;
	}
	return false;
}

/* A member of a refresh group was not refreshed: then nothing is, and the others come again. */
static bool
tears_group(PgtJob *job)
{
	bool torn = false;

	for (int i = 0; i < job->n; i++)
		torn = torn || (job->members[i].group != 0 && job->members[i].outcome != PGT_OUTCOME_DONE);
	for (int i = 0; torn && i < job->n; i++)
	{
		if (job->members[i].outcome == PGT_OUTCOME_DONE)
			set_outcome(&job->members[i], PGT_OUTCOME_SKIPPED, NULL);
	}
	return torn;
}

static void
commit_or_rollback(Worker *w)
{
	PgtSql sql = {0};
	bool any = false;

	for (int i = 0; i < w->job->n; i++)
		any = any || w->job->members[i].outcome == PGT_OUTCOME_DONE;
	if (tears_group(w->job) || !any)
	{
		rollback(w);
		return;
	}
	w->state = WORKER_COMMIT;
	pgt_sql_add(&sql, "%sCOMMIT", w->job->n > 1 ? w->savepoint : "");
	pgt_conn_query(w->conn, sql.text, on_committed, w);
	pgt_sql_free(&sql);
}

static void
apply_next(Worker *w)
{
	PgtJob *job = w->job;
	PgtSql sql = {0};

	w->state = WORKER_APPLY;
	while (w->member < job->n && reads_failed_member(job, &job->members[w->member]))
		job->members[w->member++].outcome = PGT_OUTCOME_SKIPPED;
	if (w->member == job->n)
	{
		commit_or_rollback(w);
		return;
	}
	if (job->n > 1)
		pgt_sql_add(&sql, "%sSAVEPOINT m; ", w->savepoint);
	pgt_sql_add(&sql, "SELECT action, rows_inserted + rows_deleted, duration_ms, leftover, "
					  "(extract(epoch FROM nullif(next_crossing, 'infinity')) * 1000000)::bigint FROM pgtrickle._refresh_apply(%lld, 'SCHEDULER', to_timestamp(%.6f))",
				(long long) job->members[w->member].id, (double) job->members[w->member].due / 1e6);
	pgt_conn_query(w->conn, sql.text, on_member_applied, w);
	pgt_sql_free(&sql);
}

static void
barrier_applied(Worker *w)
{
	pgt_timer_cancel(w->pool->loop, &w->timer);
	w->job->barrier_us = pgt_loop_now(w->pool->loop) - w->barrier_since;
	w->member = 0;
	w->savepoint = "";
	apply_next(w);
}

static void
barrier_failed(Worker *w, const char *why)
{
	PgtErr err;

	pgt_err_set(&err, "PT010", "%s", why);
	w->job->barrier_timed_out = true;
	retry_all(w->job, &err);
	rollback(w);
}

/* ---- begin ---- */

static void
add_begin(PgtSql *sql, const PgtMember *members, int n)
{
	pgt_sql_add(sql, "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; SELECT pgtrickle._refresh_begin('{");
	for (int i = 0; i < n; i++)
		pgt_sql_add(sql, "%s%lld", i > 0 ? "," : "", (long long) members[i].id);
	pgt_sql_add(sql, "}')");
}

static void
begin_failed(Worker *w, const PgtErr *err)
{
	if (is_transient(err))
		retry_all(w->job, err);
	else if (w->job->n == 1)
		set_outcome(&w->job->members[0], PGT_OUTCOME_FAILED, err);
	else
		w->probing = true;
	rollback(w);
}

static void
on_begun(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;
	PgtErr no_lsn;

	if (is_lost(err))
		return;
	if (err == NULL && (PQntuples(res) != 1 || !pgt_lsn_parse(PQgetvalue(res, 0, 0), &w->job->barrier)))
	{
		pgt_err_set(&no_lsn, PGT_STATE_INTERNAL, "_refresh_begin returned no position");
		err = &no_lsn;
	}
	if (err != NULL)
	{
		begin_failed(w, err);
		return;
	}
	w->state = WORKER_BARRIER;
	w->barrier_since = pgt_loop_now(w->pool->loop);
	pgt_consumer_expect_barrier(w->job->barrier);
	if (w->state != WORKER_BARRIER)
		return; /* progress was reported at once */
	if (pgt_consumer_applied_lsn() >= w->job->barrier)
		barrier_applied(w);
	else
		pgt_timer_after(w->pool->loop, &w->timer, w->pool->barrier_timeout_us);
}

/* ---- probe ---- */

static void
on_probe_rolled_back(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;

	if (is_lost(err))
		return;
	w->member++;
	probe_next(w);
}

static void
on_probed(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;
	PgtErr innocent;

	if (is_lost(err))
		return;
	if (err == NULL)
		pgt_err_set(&innocent, "PT011", "another stream table of the same transaction could not be begun");
	set_outcome(&w->job->members[w->member], err && !is_transient(err) ? PGT_OUTCOME_FAILED : PGT_OUTCOME_RETRY, err ? err : &innocent);
	pgt_conn_query(w->conn, "ROLLBACK", on_probe_rolled_back, w);
}

/* _refresh_begin failed for several members: whose fault is it?  The others are tried again. */
static void
probe_next(Worker *w)
{
	PgtSql sql = {0};

	w->state = WORKER_PROBE;
	if (w->member == w->job->n)
	{
		w->probing = false;
		w->member = 0;
		report_next(w);
		return;
	}
	add_begin(&sql, &w->job->members[w->member], 1);
	pgt_conn_query(w->conn, sql.text, on_probed, w);
	pgt_sql_free(&sql);
}

/* ---- connections ---- */

static void
on_worker_timer(void *arg)
{
	Worker *w = arg;

	if (w->state == WORKER_BARRIER)
		barrier_failed(w, "the barrier was not applied in time (pg_trickle.barrier_timeout)");
	else if (w->state == WORKER_CLOSED)
		worker_connect(w);
}

static void
on_settings(void *arg, const PGresult *res, const PgtErr *err)
{
	Worker *w = arg;

	if (is_lost(err))
		return;
	if (err != NULL)
		pgt_log_err(PGT_LOG_WARNING, PART, "session settings", err);
	w->connect_failures = 0;
	if (w->state != WORKER_CONNECTING)
		return; /* the background worker has its job already */
	w->state = WORKER_IDLE;
	if (!w->wanted)
		worker_close(w);
	else
		w->pool->events.worker_ready(w->pool->arg);
}

static void
on_worker_closed(void *arg, const PgtErr *err)
{
	Worker *w = arg;

	if (w->connect_failures++ == 0 || w->job != NULL)
		pgt_log_err(PGT_LOG_WARNING, PART, w->job ? "connection lost during a refresh" : "refresh connection", err);
	if (w->state == WORKER_APPLY && w->member < w->job->n)
		w->job->members[w->member].lost = true;
	worker_lost(w);
	if (w->job != NULL)
	{
		retry_all(w->job, err);
		end_job(w);
	}
}

/*
 * Refreshes must survive whatever the role or the database sets: their commits are flushed (the slot is confirmed on the strength
 * of them), they wait for barriers inside a transaction, and they may take long; only locks are not waited for without end.
 */
static const char settings_sql[] =
	"SELECT set_config(name, CASE name WHEN 'synchronous_commit' THEN 'on' WHEN 'lock_timeout' THEN '5000' ELSE '0' END, false)"
	" FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',"
	" 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'synchronous_commit')"
	" AND (name <> 'synchronous_commit' OR setting = 'off')";

static void
worker_connect(Worker *w)
{
	static const PgtConnEvents events = {.on_closed = on_worker_closed};

	w->state = WORKER_CONNECTING;
	w->conn = pgt_conn_open(w->pool->loop, w->pool->options, PGT_CONN_SQL, w->background ? "load" : "refresh");
	pgt_conn_events(w->conn, &events, w);
	pgt_conn_query(w->conn, settings_sql, on_settings, w);
}

/* ---- the pool ---- */

static void
on_watch(void *arg)
{
	PgtPool *pool = arg;
	int64_t now = pgt_loop_now(pool->loop);

	for (int i = 0; i <= MAX_WORKERS; i++)
	{
		Worker *w = &pool->workers[i];

		if (w->job != NULL && now - w->job->begun >= WATCH_US && w->member < w->job->n)
			pgt_log(PGT_LOG_DEBUG, PART, "%s: running for %.1f s (member %d of %d, backend %d)", w->job->members[w->member].name,
					(double) (now - w->job->begun) / 1e6, w->member + 1, w->job->n, pgt_conn_backend_pid(w->conn));
	}
	if (pgt_pool_running(pool) > 0)
		pgt_timer_after(pool->loop, &pool->watch, WATCH_US);
}

PgtPool *
pgt_pool_create(PgtLoop *loop, const PgtOptions *options, const PgtPoolEvents *events, void *arg)
{
	PgtPool *pool = calloc(1, sizeof(PgtPool));

	if (pool == NULL)
		abort();
	pool->loop = loop;
	pool->options = options;
	pool->events = *events;
	pool->arg = arg;
	pool->barrier_timeout_us = DEFAULT_BARRIER_TIMEOUT_US;
	pgt_timer_init(&pool->watch, on_watch, pool);
	for (int i = 0; i <= MAX_WORKERS; i++)
	{
		pool->workers[i] = (Worker){.pool = pool, .index = i, .background = i == MAX_WORKERS, .wanted = i == MAX_WORKERS};
		pgt_timer_init(&pool->workers[i].timer, on_worker_timer, &pool->workers[i]);
	}
	return pool;
}

void
pgt_pool_free(PgtPool *pool)
{
	if (pool == NULL)
		return;
	pgt_timer_cancel(pool->loop, &pool->watch);
	for (int i = 0; i <= MAX_WORKERS; i++)
	{
		worker_close(&pool->workers[i]);
		pgt_job_free(pool->workers[i].job);
	}
	free(pool);
}

void
pgt_pool_resize(PgtPool *pool, int nworkers)
{
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		Worker *w = &pool->workers[i];

		w->wanted = i < nworkers;
		if (w->wanted && w->state == WORKER_CLOSED && !w->timer.armed)
			worker_connect(w);
		else if (!w->wanted && w->job == NULL)
			worker_close(w);
	}
}

void
pgt_pool_set_barrier_timeout(PgtPool *pool, int64_t us)
{
	pool->barrier_timeout_us = us;
}

int
pgt_pool_idle(const PgtPool *pool)
{
	int n = 0;

	for (int i = 0; i < MAX_WORKERS; i++)
		n += pool->workers[i].state == WORKER_IDLE;
	return n;
}

int
pgt_pool_running(const PgtPool *pool)
{
	int n = 0;

	for (int i = 0; i <= MAX_WORKERS; i++)
		n += pool->workers[i].job != NULL;
	return n;
}

bool
pgt_pool_background_idle(const PgtPool *pool)
{
	return pool->workers[MAX_WORKERS].job == NULL;
}

static Worker *
choose_worker(PgtPool *pool, const PgtJob *job)
{
	if (job->background)
	{
		worker_connect(&pool->workers[MAX_WORKERS]);
		return &pool->workers[MAX_WORKERS];
	}
	/* plans are cached in backends: the one that refreshed it last is quickest */
	if (job->worker >= 0 && job->worker < MAX_WORKERS && pool->workers[job->worker].state == WORKER_IDLE)
		return &pool->workers[job->worker];
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (pool->workers[i].state == WORKER_IDLE)
			return &pool->workers[i];
	}
	abort(); /* the caller has asked pgt_pool_idle() */
}

void
pgt_pool_run(PgtPool *pool, PgtJob *job)
{
	Worker *w = choose_worker(pool, job);
	PgtSql sql = {0};

	w->job = job;
	w->state = WORKER_BEGIN;
	w->member = 0;
	w->probing = false;
	w->started = wall_seconds();
	job->begun = pgt_loop_now(pool->loop);
	add_begin(&sql, job->members, job->n);
	pgt_conn_query(w->conn, sql.text, on_begun, w);
	pgt_sql_free(&sql);
	if (!pool->watch.armed)
		pgt_timer_after(pool->loop, &pool->watch, WATCH_US);
}

void
pgt_pool_progress(PgtPool *pool, uint64_t applied_lsn)
{
	for (int i = 0; i <= MAX_WORKERS; i++)
	{
		Worker *w = &pool->workers[i];

		if (w->state == WORKER_BARRIER && w->job->barrier <= applied_lsn)
			barrier_applied(w);
	}
}

void
pgt_pool_give_up_barriers(PgtPool *pool)
{
	for (int i = 0; i <= MAX_WORKERS; i++)
	{
		if (pool->workers[i].state == WORKER_BARRIER)
			barrier_failed(&pool->workers[i], "the stream was interrupted");
	}
}
