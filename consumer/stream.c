/*
 * stream.c - the replication connection.
 *
 * Messages of the streaming protocol (PostgreSQL documentation, "Streaming Replication Protocol"):
 *   server 'w': u64 start, u64 wal end, i64 time, data      server 'k': u64 wal end, i64 time, u8 reply wanted
 *   client 'r': u64 written, u64 flushed, u64 applied, i64 time, u8 reply wanted
 *
 * "Flushed" is what confirms the slot; it is set only from pgt_stream_positions().  "Written" is what was received: reporting it
 * truthfully saves the server keepalives.
 *
 * One call handles a bounded number of messages, then yields to the loop by a timer of zero: libpq may hold complete messages that
 * poll(2) knows nothing of.
 */
#include "consumer/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/sqlbuf.h"
#include "plugin/wire.h"

#define MESSAGES_PER_TURN 64
#define PAUSED_STATUS_US 500000
#define PG_EPOCH_US (INT64_C(946684800) * 1000000) /* 2000-01-01 in Unix time */
#define XLOGDATA_HEADER 25
#define KEEPALIVE_LEN 18
#define STATUS_LEN 34

/*
 * From 16 on a walsender can miss the wake-up for WAL that is flushed while it hands us its last frame: it looks at the flush position, sends,
 * and only then enlists to be woken (condition variables instead of latches; see WalSndWait).  It would sleep until anything else
 * happens.  A status message is such a thing, so one follows shortly after whatever we received.
 */
#define LOST_WAKEUPS_SINCE 160000
#define NUDGE_US 20000

struct PgtStream
{
	PgtLoop *loop;
	const PgtOptions *options;
	PgtConn *conn;
	PgtStreamEvents events;
	void *arg;
	PgtTimer more; /* go on reading what libpq already has */
	PgtTimer status;
	bool paused;
	bool started;
	bool in_turn;
	bool closed;   /* inside a turn: freed at its end */
	bool nudging;  /* the status timer is set to NUDGE_US */
	uint64_t told; /* received, as of the last status message */
	uint64_t received;
	uint64_t applied;
	uint64_t confirmed;
};

/* ---- out ---- */

/* While paused we do not see the server asking whether we live: tell it unasked, whatever wal_sender_timeout is. */
static int64_t
status_interval(const PgtStream *s)
{
	return s->paused && s->options->status_interval_us > PAUSED_STATUS_US ? PAUSED_STATUS_US : s->options->status_interval_us;
}

static void
send_status(PgtStream *s, bool want_reply)
{
	unsigned char msg[STATUS_LEN];
	struct timeval now;
	PGconn *pg = pgt_conn_pg(s->conn);

	if (!s->started || pg == NULL)
		return;
	gettimeofday(&now, NULL);
	msg[0] = 'r';
	pgt_put64(msg + 1, s->received);
	pgt_put64(msg + 9, s->confirmed);
	pgt_put64(msg + 17, s->applied);
	pgt_put64(msg + 25, (uint64_t) ((int64_t) now.tv_sec * 1000000 + now.tv_usec - PG_EPOCH_US));
	msg[33] = want_reply;
	s->told = s->received;
	s->nudging = false;
	/* a failure shows as a lost connection */
	if (PQputCopyData(pg, (const char *) msg, STATUS_LEN) == 1)
		pgt_conn_flush(s->conn);
	pgt_timer_after(s->loop, &s->status, status_interval(s));
}

static void
nudge_later(PgtStream *s)
{
	PGconn *pg = pgt_conn_pg(s->conn);

	if (s->nudging || !s->started || s->received <= s->told || pg == NULL || PQserverVersion(pg) < LOST_WAKEUPS_SINCE)
		return;
	s->nudging = true;
	pgt_timer_after(s->loop, &s->status, s->options->status_interval_us < NUDGE_US ? s->options->status_interval_us : NUDGE_US);
}

static void
on_status_due(void *arg)
{
	send_status(arg, false);
}

void
pgt_stream_positions(PgtStream *s, uint64_t applied, uint64_t confirmed)
{
	bool news = confirmed > s->confirmed;

	s->applied = applied;
	if (news)
	{
		s->confirmed = confirmed;
		/* the server counts a position as ours only up to what it has sent */
		if (s->received < confirmed)
			s->received = confirmed;
		send_status(s, false);
	}
}

/* ---- in ---- */

static void
protocol_failure(PgtStream *s, const char *what)
{
	PgtErr err;

	pgt_err_set(&err, PGT_STATE_PROTOCOL, "%s", what);
	s->events.on_failed(s->arg, &err);
}

static bool
handle_keepalive(PgtStream *s, const unsigned char *p, size_t len)
{
	uint64_t wal_end;

	if (len < KEEPALIVE_LEN)
	{
		protocol_failure(s, "keepalive message is too short");
		return false;
	}
	wal_end = pgt_get64(p + 1);
	if (wal_end > s->received)
		s->received = wal_end;
	s->events.on_keepalive(s->arg, wal_end);
	if (!s->closed && p[17])
		send_status(s, false);
	return !s->closed;
}

static bool
handle_message(PgtStream *s, const unsigned char *p, size_t len)
{
	if (len > 0 && p[0] == 'k')
		return handle_keepalive(s, p, len);
	if (len < XLOGDATA_HEADER || p[0] != 'w')
	{
		protocol_failure(s, "unknown message on the replication connection");
		return false;
	}
	if (pgt_get64(p + 9) > s->received)
		s->received = pgt_get64(p + 9);
	pgt_metric_add(PGT_M_FRAMES, 1);
	pgt_metric_add(PGT_M_FRAME_BYTES, (double) (len - XLOGDATA_HEADER));
	return s->events.on_frame(s->arg, p + XLOGDATA_HEADER, len - XLOGDATA_HEADER) && !s->closed;
}

static void
stream_ended(PgtStream *s)
{
	PGconn *pg = pgt_conn_pg(s->conn);
	PGresult *res = PQgetResult(pg);
	PgtErr err;

	pgt_err_from_pg(&err, res, pg);
	if (err.message[0] == '\0')
		pgt_err_set(&err, PGT_STATE_CONNECTION, "the server ended the stream");
	PQclear(res);
	s->events.on_failed(s->arg, &err);
}

static void
read_messages(PgtStream *s)
{
	int budget = MESSAGES_PER_TURN;

	while (!s->closed && !s->paused && budget-- > 0)
	{
		char *buf = NULL;
		int n = PQgetCopyData(pgt_conn_pg(s->conn), &buf, 1);
		bool go_on;

		if (n == 0)
			return;
		if (n < 0)
		{
			stream_ended(s);
			return;
		}
		go_on = handle_message(s, (const unsigned char *) buf, (size_t) n);
		PQfreemem(buf);
		if (!go_on)
			return;
	}
	if (!s->closed && !s->paused)
		pgt_timer_after(s->loop, &s->more, 0);
}

static void
stream_free(PgtStream *s)
{
	free(s);
}

static void
take_turn(void *arg)
{
	PgtStream *s = arg;

	if (s->in_turn || s->closed)
		return;
	s->in_turn = true;
	read_messages(s);
	s->in_turn = false;
	if (s->closed)
		stream_free(s);
	else
		nudge_later(s);
}

void
pgt_stream_pause(PgtStream *s, bool pause)
{
	if (s->paused == pause || s->closed)
		return;
	s->paused = pause;
	pgt_conn_copy_both_read(s->conn, !pause);
	if (pause)
	{
		pgt_metric_add(PGT_M_PAUSES, 1);
		send_status(s, false);
	}
	else
		pgt_timer_after(s->loop, &s->more, 0);
}

bool
pgt_stream_is_paused(const PgtStream *s)
{
	return s->paused;
}

uint64_t
pgt_stream_received(const PgtStream *s)
{
	return s->received;
}

/* ---- life ---- */

static void
on_conn_closed(void *arg, const PgtErr *err)
{
	PgtStream *s = arg;

	if (!s->closed)
		s->events.on_failed(s->arg, err);
}

static void
on_start_result(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtStream *s = arg;

	if (err)
	{
		s->events.on_failed(s->arg, err);
		return;
	}
	s->started = true;
	pgt_timer_after(s->loop, &s->status, s->options->status_interval_us);
	/* frames may have come with the very packet that began the stream */
	pgt_timer_after(s->loop, &s->more, 0);
	s->events.on_started(s->arg);
}

PgtStream *
pgt_stream_open(PgtLoop *loop, const PgtOptions *options)
{
	static const PgtConnEvents conn_events = {.on_closed = on_conn_closed, .on_copy_both = take_turn};
	PgtStream *s = calloc(1, sizeof(PgtStream));

	if (s == NULL)
		abort();
	s->loop = loop;
	s->options = options;
	s->conn = pgt_conn_open(loop, options, PGT_CONN_REPLICATION, "stream");
	pgt_conn_events(s->conn, &conn_events, s);
	pgt_timer_init(&s->more, take_turn, s);
	pgt_timer_init(&s->status, on_status_due, s);
	return s;
}

void
pgt_stream_events(PgtStream *s, const PgtStreamEvents *events, void *arg)
{
	s->events = *events;
	s->arg = arg;
}

void
pgt_stream_close(PgtStream *s)
{
	if (s == NULL || s->closed)
		return;
	s->closed = true;
	pgt_timer_cancel(s->loop, &s->more);
	pgt_timer_cancel(s->loop, &s->status);
	pgt_conn_close(s->conn);
	if (!s->in_turn)
		stream_free(s);
}

void
pgt_stream_start(PgtStream *s, bool masks)
{
	PgtSql sql = {0};

	pgt_sql_add(&sql, "START_REPLICATION SLOT ");
	pgt_sql_name(&sql, s->options->slot);
	pgt_sql_add(&sql, " LOGICAL 0/0 (\"protocol_version\" '%d', \"compression\" '%s'", PGT_FRAME_VERSION, s->options->compression);
	if (s->options->linger_ms >= 0)
		pgt_sql_add(&sql, ", \"linger\" '%d'", (int) s->options->linger_ms);
	if (!masks)
		pgt_sql_add(&sql, ", \"changed_columns\" 'off'");
	pgt_sql_add(&sql, ")");
	pgt_conn_query(s->conn, sql.text, on_start_result, s);
	pgt_sql_free(&sql);
}

int
pgt_stream_backend_pid(const PgtStream *s)
{
	return pgt_conn_backend_pid(s->conn);
}
