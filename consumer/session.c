/*
 * session.c - life of the capture side.
 *
 *   DOWN ──open──▶ LOCKING ──lock──▶ ATTACHING ──attached──▶ STARTING ──stream──▶ RUNNING ──▶ (any failure) DOWN, pause, open
 *
 * The control connection holds a session advisory lock named after the slot: a second consumer waits in LOCKING, polling, and goes on
 * when the first one's connection dies.  The lock is for order only; what fences a predecessor that is not quite dead is the
 * compare-and-swap in apply.c.
 *
 * The schema may be of the version before ours (schema.h).  When ALTER EXTENSION UPDATE changes it under a running session, the session
 * starts over with the new shape of rows: told by NOTIFY, by the regular look at settings, or by a COPY whose rows do not fit.
 *
 * The hooks of consumer.h that the scheduler calls are at the end of this file; they reach the one session of the process.
 */
#include "consumer/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consumer/acker.h"
#include "consumer/capture.h"
#include "consumer/check.h"
#include "consumer/consumer.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/retry.h"
#include "consumer/schema.h"
#include "consumer/sqlbuf.h"

#define LOCK_POLL_US 250000
#define WATCH_US 10000000 /* settings that may change under us */
#define RETRY_FIRST_US 50000
#define SLOT_BUSY_US 200000
#define BEHIND_US 5000000
#define STATE_OBJECT_IN_USE "55006"
#define STATE_BAD_COPY "22P04" /* a row has another number of fields than the segment */

typedef enum SessionState
{
	SESSION_DOWN,
	SESSION_LOCKING,
	SESSION_ATTACHING,
	SESSION_STARTING,
	SESSION_RUNNING,
	SESSION_STOPPED
} SessionState;

struct PgtSession
{
	PgtLoop *loop;
	const PgtOptions *options;
	PgtSessionEvents events;
	void *arg;
	SessionState state;
	PgtConn *control;
	PgtApply *apply;
	PgtStream *stream;
	PgtSegments *segments;
	PgtConfirm *confirm;
	PgtCapture *capture;
	PgtAcker *acker;
	PgtRetry retry;
	PgtTimer again; /* reconnect */
	PgtTimer lock;  /* try the lock again */
	PgtTimer watch;
	PgtSchema schema;
	bool ever_attached;
	bool told_waiting;
	bool draining;
	bool draining_acks;
	uint64_t applied_at_attach;
	uint64_t confirmed;
	char gap[512];
	char last_error[1024]; /* the same failure again is not told again */
};

static PgtSession *the_session = NULL;

static void session_open(void *arg);
static void check_drained(PgtSession *s);

/* ---- going down ---- */

static const struct
{
	const char *sqlstate;
	PgtExit code;
} permanent[] = {
	{"28000", PGT_EXIT_CONNECT},
	{"28P01", PGT_EXIT_CONNECT},
	{"3D000", PGT_EXIT_CONNECT},
	{"42704", PGT_EXIT_SLOT},
	{"55000", PGT_EXIT_SLOT},
	{"42501", PGT_EXIT_CHECK},
	{"42883", PGT_EXIT_CHECK},
	{"3F000", PGT_EXIT_CHECK},
	{"42P01", PGT_EXIT_CHECK},
	{"0A000", PGT_EXIT_CHECK},
	{"22023", PGT_EXIT_CHECK},
	{PGT_STATE_NO_EXTENSION, PGT_EXIT_CHECK},
	{PGT_STATE_SYNC_STANDBY, PGT_EXIT_SYNC_STANDBY},
	{PGT_STATE_SCHEMA, PGT_EXIT_CHECK},
};

static bool
is_permanent(const PgtErr *err, PgtExit *code)
{
	for (size_t i = 0; i < sizeof(permanent) / sizeof(permanent[0]); i++)
	{
		if (strcmp(err->sqlstate, permanent[i].sqlstate) == 0)
		{
			*code = permanent[i].code;
			return true;
		}
	}
	return false;
}

static void
close_everything(PgtSession *s)
{
	bool was_running = s->state == SESSION_RUNNING;

	s->state = SESSION_DOWN;
	pgt_timer_cancel(s->loop, &s->lock);
	pgt_timer_cancel(s->loop, &s->watch);
	pgt_acker_attach(s->acker, NULL);
	pgt_capture_detach(s->capture);
	pgt_segments_attach(s->segments, NULL);
	pgt_confirm_reset(s->confirm);
	pgt_stream_close(s->stream);
	pgt_apply_close(s->apply);
	pgt_conn_close(s->control);
	s->stream = NULL;
	s->apply = NULL;
	s->control = NULL;
	pgt_metric_set(PGT_M_UP, 0);
	if (was_running)
		pgt_sched_on_detached();
}

static void
session_failed(PgtSession *s, const char *context, const PgtErr *err)
{
	PgtExit code;
	int64_t pause;

	if (s->state == SESSION_DOWN || s->state == SESSION_STOPPED)
		return;
	close_everything(s);
	/* waiting does not help: another program has to run, and whoever supervises this one starts it */
	if (is_permanent(err, &code) && (!s->ever_attached || strcmp(err->sqlstate, PGT_STATE_SCHEMA) == 0))
	{
		s->state = SESSION_STOPPED;
		s->events.on_fatal(s->arg, err, code);
		return;
	}
	if (s->draining)
	{
		/* nothing is lost: what is not applied or confirmed comes again */
		pgt_log_err(PGT_LOG_WARNING, "session", "connection lost while stopping", err);
		s->events.on_drained(s->arg);
		return;
	}
	pause = pgt_retry_failed(&s->retry);
	/* the walsender of a predecessor that just died: it will be gone in a moment */
	if (strcmp(err->sqlstate, STATE_OBJECT_IN_USE) == 0 && pause > SLOT_BUSY_US)
		pause = SLOT_BUSY_US;
	if (strcmp(s->last_error, err->message) != 0)
		pgt_log_err(PGT_LOG_WARNING, "session", context, err);
	snprintf(s->last_error, sizeof(s->last_error), "%s", err->message);
	pgt_metric_add(PGT_M_RECONNECTS, 1);
	pgt_timer_after(s->loop, &s->again, pause);
}

/* ---- events of the parts ---- */

static void
on_control_closed(void *arg, const PgtErr *err)
{
	session_failed(arg, "control connection", err);
}

/* The schema while we stream: has somebody updated it? */
static void
on_schema_again(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSession *s = arg;
	PgtSchema now;

	if (err || s->state != SESSION_RUNNING)
		return;
	pgt_schema_set(&now, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
	if (strcmp(now.version, s->schema.version) == 0)
		return;
	close_everything(s);
	pgt_timer_after(s->loop, &s->again, 0);
}

static void
on_control_notify(void *arg, const PGnotify *n)
{
	PgtSession *s = arg;

	if (s->state != SESSION_RUNNING)
		return;
	pgt_conn_query(s->control, pgt_schema_sql, on_schema_again, s);
	pgt_sched_on_catalog();
}

static bool
on_stream_frame(void *arg, const unsigned char *frame, size_t len)
{
	PgtSession *s = arg;
	PgtErr err;

	if (pgt_capture_frame(s->capture, frame, len, &err))
		return s->stream != NULL;
	session_failed(s, "stream", &err);
	return false;
}

static void
on_stream_keepalive(void *arg, uint64_t wal_end)
{
	PgtSession *s = arg;

	pgt_capture_keepalive(s->capture, wal_end);
	if (s->state == SESSION_RUNNING)
		pgt_acker_progress(s->acker);
}

static void
on_stream_failed(void *arg, const PgtErr *err)
{
	session_failed(arg, "replication connection", err);
}

/* The scheduler may begin a refresh now: its barrier flushes what is gathered. */
static void
on_received(void *arg, const uint32_t *relids, int n, uint64_t lsn)
{
	pgt_sched_on_applied(relids, n, lsn);
}

static void
on_applied(void *arg, const uint32_t *relids, int n, uint64_t lsn)
{
	PgtSession *s = arg;

	pgt_acker_applied(s->acker);
	pgt_sched_on_applied(relids, n, lsn);
}

static void
on_progress(void *arg, uint64_t lsn)
{
	PgtSession *s = arg;

	pgt_metric_set(PGT_M_APPLIED_LSN, (double) lsn);
	pgt_stream_positions(s->stream, lsn, s->confirmed);
	pgt_acker_progress(s->acker);
	pgt_sched_on_progress(lsn);
	check_drained(s);
}

/* Errors of the data, not of the server's state: the same rows would fail again and again. */
static bool
is_data_error(const PgtErr *err)
{
	return strncmp(err->sqlstate, "22", 2) == 0 || strncmp(err->sqlstate, "23", 2) == 0 || strncmp(err->sqlstate, "54", 2) == 0 ||
		   strcmp(err->sqlstate, "08P01") == 0 || strcmp(err->sqlstate, "42804") == 0 || strcmp(err->sqlstate, "0A000") == 0;
}

static void
on_apply_failed(void *arg, const PgtErr *err, const PgtRows *culprit)
{
	PgtSession *s = arg;

	/* ALTER EXTENSION UPDATE has given the segment a column more since we started: the rows are as good as any */
	if (!s->schema.masks && strcmp(err->sqlstate, STATE_BAD_COPY) == 0)
		pgt_log(PGT_LOG_INFO, "apply", "the buffers have changed their shape");
	else if (culprit && is_data_error(err))
	{
		pgt_log(PGT_LOG_WARNING, "apply", "rows of source %u cannot be stored, its stream tables will be recomputed: %s", culprit->relid,
				err->message);
		pgt_capture_quarantine(s->capture, culprit->relid, culprit->gen);
	}
	session_failed(s, "apply", err);
}

static void
on_confirmed(void *arg, uint64_t lsn)
{
	PgtSession *s = arg;

	s->confirmed = lsn;
	pgt_metric_set(PGT_M_CONFIRMED_LSN, (double) lsn);
	pgt_log(PGT_LOG_DEBUG, "confirm", "confirmed " PGT_LSN_FMT, PGT_LSN_ARGS(lsn));
	if (s->stream)
		pgt_stream_positions(s->stream, pgt_capture_applied(s->capture), lsn);
}

static uint64_t
get_safe_lsn(void *arg)
{
	return pgt_capture_safe(((PgtSession *) arg)->capture);
}

static uint64_t
get_received_lsn(void *arg)
{
	PgtSession *s = arg;

	return s->stream ? pgt_stream_received(s->stream) : 0;
}

static bool
may_trim(void *arg)
{
	return pgt_apply_is_free(((PgtSession *) arg)->apply);
}

static void
on_pinned(void *arg, uint32_t relid)
{
	PgtSession *s = arg;

	pgt_sched_on_applied(&relid, 1, pgt_capture_applied(s->capture));
}

/* ---- coming up ---- */

static void
on_watch(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSession *s = arg;
	PgtErr e;

	if (err == NULL && pgt_check_sync_standby(PQgetvalue(res, 0, 0), "trickle-consumer stream", &e))
		session_failed(s, "synchronous replication", &e);
}

/* figures that change by themselves, brought up to date when somebody looks */
static void
collect_metrics(void *arg)
{
	PgtSession *s = arg;

	pgt_metric_set(PGT_M_LAG_SECONDS, (double) pgt_consumer_lag_us() / 1e6);
	if (s->stream)
	{
		pgt_metric_set(PGT_M_RECEIVED_LSN, (double) pgt_stream_received(s->stream));
		pgt_metric_set(PGT_M_PINNED_BYTES, (double) pgt_stream_received(s->stream) - (double) s->confirmed);
	}
}

static void
watch_settings(void *arg)
{
	PgtSession *s = arg;

	if (pgt_conn_is_idle(s->control))
	{
		pgt_conn_query(s->control, "SELECT current_setting('synchronous_standby_names')", on_watch, s);
		pgt_conn_query(s->control, pgt_schema_sql, on_schema_again, s);
	}
	if (pgt_capture_lag_us(s->capture) > BEHIND_US)
		pgt_log(PGT_LOG_INFO, "apply", "behind: the oldest unapplied transaction came %.0f s ago, %.1f MB are waiting",
				(double) pgt_capture_lag_us(s->capture) / 1e6, (double) pgt_capture_queued(s->capture) / (1024 * 1024));
	pgt_timer_after(s->loop, &s->watch, WATCH_US);
}

static void
on_stream_started(void *arg)
{
	PgtSession *s = arg;

	s->state = SESSION_RUNNING;
	s->ever_attached = true;
	s->last_error[0] = '\0';
	pgt_retry_succeeded(&s->retry);
	pgt_metric_set(PGT_M_UP, 1);
	pgt_log(PGT_LOG_INFO, "session", "streaming from slot \"%s\"; the buffers hold everything up to " PGT_LSN_FMT, s->options->slot,
			PGT_LSN_ARGS(s->applied_at_attach));
	pgt_acker_attach(s->acker, s->control);
	pgt_timer_after(s->loop, &s->watch, WATCH_US);
	pgt_sched_on_attached(s->applied_at_attach, s->gap[0] ? s->gap : NULL);
}

static void
on_segments(void *arg, const PgtErr *err)
{
	PgtSession *s = arg;

	if (s->state != SESSION_ATTACHING)
		return;
	if (err)
	{
		session_failed(s, "listing buffers", err);
		return;
	}
	s->state = SESSION_STARTING;
	pgt_apply_start(s->apply, s->applied_at_attach);
	pgt_stream_start(s->stream, s->schema.masks);
}

static void
attach_failed(PgtSession *s, const PgtErr *err)
{
	PgtErr e = *err;

	if (strcmp(e.sqlstate, "42883") == 0 || strcmp(e.sqlstate, "3F000") == 0 || strcmp(e.sqlstate, "42P01") == 0)
	{
		pgt_err_set(&e, PGT_STATE_NO_EXTENSION, "the extension pg_trickle is not installed in this database");
		pgt_err_hint(&e, "CREATE EXTENSION pg_trickle; in the database that holds the stream tables.");
	}
	session_failed(s, "attaching", &e);
}

static void
on_attached(void *arg, const PGresult *res, const PgtErr *err)
{
	static const PgtStreamEvents stream_events = {on_stream_started, on_stream_frame, on_stream_keepalive, on_stream_failed};
	PgtSession *s = arg;
	PgtErr e;

	if (err)
	{
		attach_failed(s, err);
		return;
	}
	if (!pgt_lsn_parse(PQgetvalue(res, 0, 0), &s->applied_at_attach))
	{
		pgt_err_set(&e, PGT_STATE_INTERNAL, "_consumer_attach returned no position");
		session_failed(s, "attaching", &e);
		return;
	}
	if (pgt_check_sync_standby(PQgetvalue(res, 0, 3), "trickle-consumer stream", &e))
	{
		session_failed(s, "synchronous replication", &e);
		return;
	}
	snprintf(s->gap, sizeof(s->gap), "%s", PQgetvalue(res, 0, 1));
	if (s->gap[0])
		pgt_log(PGT_LOG_WARNING, "session", "no continuity with what was captured before, every stream table will be recomputed: %s", s->gap);
	s->stream = pgt_stream_open(s->loop, s->options);
	pgt_stream_events(s->stream, &stream_events, s);
	s->apply = pgt_apply_open(s->loop, s->options, s->segments);
	pgt_capture_attach(s->capture, s->apply, s->stream, s->applied_at_attach, s->schema.masks);
	pgt_segments_attach(s->segments, s->control);
	pgt_segments_load(s->segments, NULL, on_segments, s);
}

static void
on_skipped(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSession *s = arg;
	const char *params[2] = {s->options->slot, PGT_VERSION};

	if (err)
	{
		attach_failed(s, err);
		return;
	}
	if (PQntuples(res) > 0)
		pgt_log(PGT_LOG_INFO, "session", "slot \"%s\" is older than the extension: WAL from before is skipped", s->options->slot);
	pgt_conn_params(s->control,
					"SELECT a.applied_lsn, a.gap, a.schema_version, current_setting('synchronous_standby_names')"
					" FROM pgtrickle._consumer_attach($1::name, $2::text) a",
					2, params, on_attached, s);
}

/*
 * A slot that was left from an earlier installation of the extension: what it would send was written for a registry that is gone.  The
 * server cannot decode changes of a dropped catalog table; advancing the slot does not look at them.  Sources were registered after
 * the installation, under locks that waited for earlier writers, so nothing that anybody needs is skipped.
 */
static void
skip_earlier_wal(PgtSession *s)
{
	const char *params[1] = {s->options->slot};

	pgt_conn_params(s->control,
					"SELECT pg_catalog.pg_replication_slot_advance(r.slot_name, v.lsn) FROM pg_catalog.pg_replication_slots r,"
					" (SELECT pg_catalog.min(installed_lsn) AS lsn FROM pgtrickle.pgt_schema_version) v"
					" WHERE r.slot_name = $1::name AND r.plugin = 'pgtrickle_output' AND r.database = pg_catalog.current_database()"
					" AND r.confirmed_flush_lsn < v.lsn AND v.lsn <= pg_catalog.pg_current_wal_flush_lsn()"
					" AND NOT EXISTS (SELECT FROM pgtrickle.pgt_slot k WHERE k.slot_name = r.slot_name)",
					1, params, on_skipped, s);
}

/* Before _consumer_attach, which writes: a schema that we do not know is left as it is. */
static void
on_schema(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSession *s = arg;
	PgtSchema before;
	PgtErr e;

	if (err)
	{
		attach_failed(s, err);
		return;
	}
	before = s->schema;
	pgt_schema_set(&s->schema, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
	if (before.version[0] && strcmp(before.version, s->schema.version) != 0)
		pgt_log(PGT_LOG_INFO, "session", "the extension's schema changed from version %s to %s", before.version, s->schema.version);
	if (pgt_schema_refuse(&s->schema, &e))
	{
		session_failed(s, "attaching", &e);
		return;
	}
	if (!pgt_schema_is_current(&s->schema))
		pgt_log(PGT_LOG_WARNING, "session",
				"the extension's schema is version %s, this is %s: serving it without the self-monitoring policy"
				" until ALTER EXTENSION pg_trickle UPDATE",
				s->schema.version, PGT_VERSION);
	skip_earlier_wal(s);
}

static void
attach(PgtSession *s)
{
	s->state = SESSION_ATTACHING;
	pgt_conn_query(s->control, "LISTEN pgtrickle_catalog", NULL, NULL);
	pgt_conn_query(s->control, pgt_schema_sql, on_schema, s);
}

static void
on_lock(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSession *s = arg;

	if (err)
	{
		session_failed(s, "locking", err);
		return;
	}
	if (strcmp(PQgetvalue(res, 0, 0), "t") == 0)
	{
		s->told_waiting = false;
		attach(s);
		return;
	}
	if (!s->told_waiting)
		pgt_log(PGT_LOG_INFO, "session", "another consumer serves slot \"%s\"; waiting to take over", s->options->slot);
	s->told_waiting = true;
	pgt_timer_after(s->loop, &s->lock, LOCK_POLL_US);
}

/* Tried again and again rather than waited for: a waiting statement would hold a snapshot for days. */
static void
try_lock(void *arg)
{
	PgtSession *s = arg;
	const char *params[1] = {s->options->slot};

	if (s->draining)
	{
		s->events.on_drained(s->arg);
		return;
	}
	pgt_conn_params(s->control, "SELECT pg_try_advisory_lock(hashtextextended('pg_trickle consumer of slot ' || $1, 0))", 1, params, on_lock,
					s);
}

static void
on_prelude(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSession *s = arg;

	if (err)
		session_failed(s, "control connection", err);
	else if (s->state == SESSION_LOCKING)
		try_lock(s);
}

static void
session_open(void *arg)
{
	static const PgtConnEvents control_events = {.on_closed = on_control_closed, .on_notify = on_control_notify};
	PgtSession *s = arg;

	s->state = SESSION_LOCKING;
	s->control = pgt_conn_open(s->loop, s->options, PGT_CONN_SQL, "control");
	pgt_conn_events(s->control, &control_events, s);
	/* lock_timeout: nothing this connection does is worth making a refresh or a user's DDL wait */
	pgt_conn_query(s->control,
				   "SET search_path = pg_catalog, pg_temp; SET client_min_messages = warning; SET statement_timeout = '30s';"
				   " SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = 0; SET synchronous_commit = local",
				   on_prelude, s);
}

/* ---- the end ---- */

static void
on_acker_drained(void *arg)
{
	PgtSession *s = arg;

	s->events.on_drained(s->arg);
}

static void
check_drained(PgtSession *s)
{
	if (!s->draining || s->draining_acks || !pgt_capture_is_drained(s->capture))
		return;
	s->draining_acks = true;
	pgt_acker_drain(s->acker, on_acker_drained, s);
}

void
pgt_session_drain(PgtSession *s)
{
	s->draining = true;
	if (s->state != SESSION_RUNNING)
	{
		s->events.on_drained(s->arg);
		return;
	}
	pgt_capture_drain(s->capture);
	check_drained(s);
}

void
pgt_session_stop(PgtSession *s)
{
	if (s == NULL)
		return;
	close_everything(s);
	s->state = SESSION_STOPPED;
	pgt_timer_cancel(s->loop, &s->again);
	pgt_acker_free(s->acker);
	pgt_capture_free(s->capture);
	pgt_segments_free(s->segments);
	pgt_confirm_free(s->confirm);
	pgt_metrics_set_collector(NULL, NULL);
	the_session = NULL;
	free(s);
}

PgtSession *
pgt_session_start(PgtLoop *loop, const PgtOptions *options, const PgtSessionEvents *events, void *arg)
{
	static const PgtCaptureEvents capture_events = {on_applied, on_received, on_progress, on_apply_failed};
	static const PgtAckerEvents acker_events = {on_confirmed, get_safe_lsn, get_received_lsn, may_trim, on_pinned};
	PgtSession *s = calloc(1, sizeof(PgtSession));

	if (s == NULL)
		abort();
	s->loop = loop;
	s->options = options;
	s->events = *events;
	s->arg = arg;
	s->segments = pgt_segments_create(options);
	s->confirm = pgt_confirm_create();
	s->capture = pgt_capture_create(loop, options, s->segments, s->confirm);
	pgt_capture_events(s->capture, &capture_events, s);
	s->acker = pgt_acker_create(loop, options, s->confirm, s->segments);
	pgt_acker_events(s->acker, &acker_events, s);
	pgt_retry_init(&s->retry, RETRY_FIRST_US, options->reconnect_max_us, (uint64_t) getpid() ^ (uint64_t) pgt_loop_now(loop));
	pgt_timer_init(&s->again, session_open, s);
	pgt_timer_init(&s->lock, try_lock, s);
	pgt_timer_init(&s->watch, watch_settings, s);
	pgt_metrics_set_collector(collect_metrics, s);
	the_session = s;
	session_open(s);
	return s;
}

bool
pgt_session_is_attached(const PgtSession *s)
{
	return s && s->state == SESSION_RUNNING;
}

/* ---- consumer.h: called by the scheduling side ---- */

bool
pgt_consumer_schema_is_current(void)
{
	return the_session != NULL && pgt_schema_is_current(&the_session->schema);
}

uint64_t
pgt_consumer_applied_lsn(void)
{
	return pgt_session_is_attached(the_session) ? pgt_capture_applied(the_session->capture) : 0;
}

int64_t
pgt_consumer_lag_us(void)
{
	return pgt_session_is_attached(the_session) ? pgt_capture_lag_us(the_session->capture) : 0;
}

void
pgt_consumer_refresh_done(void)
{
	if (pgt_session_is_attached(the_session))
		pgt_acker_refresh_done(the_session->acker);
}

void
pgt_consumer_expect_barrier(uint64_t lsn)
{
	if (pgt_session_is_attached(the_session) && pgt_capture_applied(the_session->capture) < lsn)
		pgt_capture_flush(the_session->capture);
}
