/*
 * acker.c - rounds of horizon, acknowledgement and trimming on the control connection.
 *
 * One round at a time.  A round is asked for by a refresh that ended (after a short pause, so that many refreshes share one), and
 * every POLL_US while something is pinned, since refreshes by hand tell us nothing.
 */
#include "consumer/acker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/sqlbuf.h"

#define GATHER_US 200000 /* refreshes ending within this share a round */
#define POLL_US 3000000
#define TRIM_US 2000000 /* no more often than this */

struct PgtAcker
{
	PgtLoop *loop;
	const PgtOptions *options;
	PgtConfirm *confirm;
	PgtSegments *segments;
	PgtAckerEvents events;
	void *arg;
	PgtConn *control;
	PgtTimer round;
	bool round_running;
	bool round_wanted; /* something happened while one was running */
	bool untrimmed;    /* applied or consumed since the last trim */
	bool consumed;     /* transactions of ours were consumed since the last acknowledgement */
	bool known;        /* acked was read */
	uint64_t acked;    /* committed in the database, or the slot's position at the start */
	uint64_t acking;   /* on its way, 0: none */
	int64_t acked_at;
	int64_t trimmed_at;
	int64_t max_retained; /* bytes; 0: unlimited */
	uint32_t marked_relid;
	uint64_t marked_lsn; /* the span whose stream tables were marked last */
	void (*drained)(void *arg);
	void *drained_arg;
};

static void arm(PgtAcker *a, int64_t delay_us);

/* ---- acknowledging ---- */

static void
finish_drain(PgtAcker *a)
{
	void (*done)(void *arg) = a->drained;

	if (done == NULL || a->acking || a->round_running)
		return;
	a->drained = NULL;
	done(a->drained_arg);
}

static void
on_acked(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtAcker *a = arg;
	uint64_t lsn = a->acking;

	a->acking = 0;
	if (err)
		pgt_log_err(PGT_LOG_WARNING, "confirm", "could not acknowledge a position", err);
	else
	{
		a->acked = lsn;
		a->consumed = false;
		a->events.on_confirmed(a->arg, lsn);
	}
	finish_drain(a);
}

static bool
worth_acknowledging(const PgtAcker *a, uint64_t candidate)
{
	if (candidate <= a->acked)
		return false;
	if ((int64_t) (candidate - a->acked) >= a->options->ack_bytes)
		return true;
	return a->consumed && (a->drained || pgt_loop_now(a->loop) - a->acked_at >= a->options->ack_interval_us);
}

static void
consider(PgtAcker *a)
{
	uint64_t candidate;
	char text[32];
	const char *params[1] = {text};

	if (a->control == NULL || a->acking || !a->known)
		return;
	candidate = pgt_confirm_position(a->confirm, a->events.safe_lsn(a->arg));
	if (!worth_acknowledging(a, candidate))
		return;
	a->acking = candidate;
	a->acked_at = pgt_loop_now(a->loop);
	snprintf(text, sizeof(text), PGT_LSN_FMT, PGT_LSN_ARGS(candidate));
	pgt_conn_params(a->control, "SELECT pgtrickle._consumer_ack($1::pg_lsn)", 1, params, on_acked, a);
}

/* ---- stream tables that pin too much ---- */

static void
on_marked(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtAcker *a = arg;
	int n = res && PQntuples(res) == 1 ? atoi(PQgetvalue(res, 0, 0)) : 0;

	if (err)
	{
		pgt_log_err(PGT_LOG_WARNING, "confirm", "could not mark stream tables that retain too much WAL", err);
		a->marked_lsn = 0;
		return;
	}
	if (n > 0)
	{
		pgt_log(PGT_LOG_WARNING, "confirm",
				"source %u: %d stream table(s) retained more WAL than pg_trickle.max_retained_wal allows; their next refresh recomputes them",
				a->marked_relid, n);
		pgt_metric_add(PGT_M_MARKED_FULL, n);
	}
	pgt_acker_refresh_done(a);
}

static void
check_retained(PgtAcker *a)
{
	uint32_t relid;
	uint64_t lsn, xid, received;
	char relid_text[16];
	char xid_text[32];
	const char *params[2] = {relid_text, xid_text};

	if (a->max_retained <= 0 || !pgt_confirm_oldest(a->confirm, &relid, &lsn, &xid))
		return;
	received = a->events.received_lsn(a->arg);
	if (received < lsn || (int64_t) (received - lsn) <= a->max_retained)
		return;
	if (relid == a->marked_relid && lsn == a->marked_lsn)
		return; /* told already; what is left is pinned by something that marking does not release */
	a->marked_relid = relid;
	a->marked_lsn = lsn;
	snprintf(relid_text, sizeof(relid_text), "%u", relid);
	snprintf(xid_text, sizeof(xid_text), "%llu", (unsigned long long) xid);
	pgt_conn_params(a->control,
					"WITH late AS (SELECT array_agg(f.pgt_id) AS ids FROM pgtrickle.pgt_frontiers f"
					" WHERE f.source_relid = $1::oid AND f.snapshot IS NOT NULL AND pg_snapshot_xmin(f.snapshot) <= $2::xid8)"
					" SELECT cardinality(ids), pgtrickle._mark_full(ids, 'retained more WAL than max_retained_wal')"
					" FROM late WHERE ids IS NOT NULL",
					2, params, on_marked, a);
}

/*
 * A source may stay pinned though every reader is up to date: what they consumed was committed while an older transaction was running, so
 * their frontiers' xmin lies below it.  A refresh with nothing to do moves them on, but nothing is due when nothing has changed; so
 * the scheduler is told to look at the readers again.
 */
static void
tell_pinned(PgtAcker *a)
{
	uint64_t received = a->events.received_lsn(a->arg);
	uint64_t step = (uint64_t) a->options->ack_bytes;

	if (received > step)
		pgt_confirm_each_below(a->confirm, received - step, a->events.on_pinned, a->arg);
}

/* ---- trimming ---- */

static void
consider_trim(PgtAcker *a)
{
	int64_t now = pgt_loop_now(a->loop);

	if (!a->untrimmed || now - a->trimmed_at < TRIM_US || !a->events.may_trim(a->arg))
		return;
	a->untrimmed = false;
	a->trimmed_at = now;
	pgt_segments_trim(a->segments);
}

/* ---- rounds ---- */

static void
on_horizons(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtAcker *a = arg;

	a->round_running = false;
	if (err)
		pgt_log_err(PGT_LOG_WARNING, "confirm", "could not read horizons", err);
	else
	{
		for (int i = 0; i < PQntuples(res); i++)
			pgt_confirm_horizon(a->confirm, (uint32_t) strtoul(PQgetvalue(res, i, 0), NULL, 10), !PQgetisnull(res, i, 1),
								strtoull(PQgetvalue(res, i, 1), NULL, 10));
		if (PQntuples(res) > 0)
			a->max_retained = PQgetisnull(res, 0, 2) ? 0 : strtoll(PQgetvalue(res, 0, 2), NULL, 10);
		if (pgt_confirm_round_end(a->confirm))
			a->consumed = a->untrimmed = true;
		check_retained(a);
		tell_pinned(a);
	}
	consider(a);
	consider_trim(a);
	if (a->round_wanted)
		arm(a, GATHER_US);
	else if (!pgt_confirm_is_empty(a->confirm) || a->consumed || a->untrimmed)
		arm(a, POLL_US);
	finish_drain(a);
}

static void
start_round(void *arg)
{
	PgtAcker *a = arg;

	if (a->control == NULL || a->round_running || !a->known)
		return;
	a->round_running = true;
	a->round_wanted = false;
	pgt_confirm_round_begin(a->confirm);
	/* the setting exists once the function has loaded the extension's library, hence here */
	pgt_conn_query(a->control,
				   "SELECT source_relid, horizon, pg_size_bytes(current_setting('pg_trickle.max_retained_wal', true))"
				   " FROM pgtrickle._consumer_horizon()",
				   on_horizons, a);
}

static void
arm(PgtAcker *a, int64_t delay_us)
{
	int64_t due = pgt_loop_now(a->loop) + delay_us;

	if (a->control == NULL || (a->round.armed && a->round.due <= due))
		return;
	pgt_timer_at(a->loop, &a->round, due);
}

void
pgt_acker_refresh_done(PgtAcker *a)
{
	a->untrimmed = true;
	if (a->round_running)
		a->round_wanted = true;
	else
		arm(a, GATHER_US);
}

void
pgt_acker_applied(PgtAcker *a)
{
	if (!a->round_running)
		arm(a, POLL_US);
}

void
pgt_acker_progress(PgtAcker *a)
{
	consider(a);
}

void
pgt_acker_drain(PgtAcker *a, void (*done)(void *arg), void *arg)
{
	a->drained = done;
	a->drained_arg = arg;
	if (a->control == NULL || !a->known)
		finish_drain(a);
	else
		start_round(a);
}

/* ---- life ---- */

static void
on_positions(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtAcker *a = arg;

	if (err || PQntuples(res) != 1 || !pgt_lsn_parse(PQgetvalue(res, 0, 0), &a->acked))
	{
		pgt_log(PGT_LOG_WARNING, "confirm", "could not read the slot's position: %s", err ? err->message : "no such slot");
		return;
	}
	a->known = true;
	a->events.on_confirmed(a->arg, a->acked);
	arm(a, GATHER_US);
}

void
pgt_acker_attach(PgtAcker *a, PgtConn *control)
{
	const char *params[1] = {a->options->slot};

	pgt_timer_cancel(a->loop, &a->round);
	a->control = control;
	a->round_running = a->round_wanted = a->known = a->consumed = a->untrimmed = false;
	a->acked = a->acking = a->marked_lsn = 0;
	a->acked_at = pgt_loop_now(a->loop);
	if (control)
		pgt_conn_params(control,
						"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1", 1, params, on_positions, a);
	else if (a->drained)
		finish_drain(a);
}

PgtAcker *
pgt_acker_create(PgtLoop *loop, const PgtOptions *options, PgtConfirm *confirm, PgtSegments *segments)
{
	PgtAcker *a = calloc(1, sizeof(PgtAcker));

	if (a == NULL)
		abort();
	a->loop = loop;
	a->options = options;
	a->confirm = confirm;
	a->segments = segments;
	pgt_timer_init(&a->round, start_round, a);
	return a;
}

void
pgt_acker_events(PgtAcker *a, const PgtAckerEvents *events, void *arg)
{
	a->events = *events;
	a->arg = arg;
}

void
pgt_acker_free(PgtAcker *a)
{
	if (a == NULL)
		return;
	pgt_timer_cancel(a->loop, &a->round);
	free(a);
}
