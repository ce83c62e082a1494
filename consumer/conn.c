/*
 * conn.c - asynchronous libpq connections.
 *
 * States:  CONNECTING -> READY -> (COPY_BOTH) -> CLOSED.  In READY at most one query runs; the rest wait in a list.  Pipeline
 * mode is not used: it forbids COPY, and one query string with several statements costs one round trip as well.
 *
 * The descriptor libpq polls may change while it connects (several addresses), so the watch is renewed after every step there.
 * Callbacks may close the connection: close frees at once, except inside a callback of this very connection, where freeing
 * waits until the outermost entry point returns (busy).
 */
#include "consumer/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARAMS 16
#define COPY_CHUNK_MAX (64 * 1024)

typedef enum ConnState
{
	CONN_CONNECTING,
	CONN_READY,
	CONN_COPY_BOTH,
	CONN_CLOSED
} ConnState;

typedef struct Query
{
	struct Query *next;
	char *sql;
	int nparams; /* -1: simple protocol */
	char *params[MAX_PARAMS];
	PgtResultFn fn;
	void *arg;
	PgtCopySource source;
	void *source_arg;
	bool copying;
	int copies; /* COPYs begun so far */
	PGresult *last;
	bool failed;
} Query;

struct PgtConn
{
	PgtLoop *loop;
	PGconn *pg;
	PgtWatch *watch;
	int watched_fd;
	PgtTimer start; /* reports an immediate failure from the loop, never from inside a call of the owner */
	ConnState state;
	PgtConnEvents events;
	void *arg;
	Query *head; /* the running one, if running */
	Query *tail;
	bool running;
	bool want_read;
	int busy;
	bool broken;     /* a query could not even be sent */
	PgtErr farewell; /* the server's FATAL on an idle connection, which libpq hands out as a notice; message empty: none */
	bool doomed;     /* closed by its owner inside a callback */
};

static void conn_pump(PgtConn *conn);

/* ---- life ---- */

static void
query_free(Query *q)
{
	for (int i = 0; i < q->nparams; i++)
		free(q->params[i]);
	if (q->last)
		PQclear(q->last);
	free(q->sql);
	free(q);
}

static void
conn_free(PgtConn *conn)
{
	while (conn->head)
	{
		Query *q = conn->head;

		conn->head = q->next;
		query_free(q);
	}
	free(conn);
}

static void
conn_drop_socket(PgtConn *conn)
{
	pgt_watch_remove(conn->watch);
	conn->watch = NULL;
	pgt_timer_cancel(conn->loop, &conn->start);
	if (conn->pg)
		PQfinish(conn->pg);
	conn->pg = NULL;
	conn->state = CONN_CLOSED;
}

void
pgt_conn_close(PgtConn *conn)
{
	if (conn == NULL || conn->doomed)
		return;
	conn->doomed = true;
	conn_drop_socket(conn);
	if (conn->busy == 0)
		conn_free(conn);
}

static void
conn_enter(PgtConn *conn)
{
	conn->busy++;
}

/* returns false when the owner closed the connection meanwhile: it is gone then */
static bool
conn_leave(PgtConn *conn)
{
	if (--conn->busy > 0 || !conn->doomed)
		return !conn->doomed;
	conn_free(conn);
	return false;
}

static void
finish_query(PgtConn *conn, const PgtErr *err)
{
	Query *q = conn->head;

	conn->head = q->next;
	if (conn->head == NULL)
		conn->tail = NULL;
	conn->running = false;
	if (q->fn && !conn->doomed)
		q->fn(q->arg, err ? NULL : q->last, err);
	query_free(q);
}

static void
conn_lost(PgtConn *conn, const PgtErr *err)
{
	PgtErr copy = *err;

	conn_enter(conn);
	conn_drop_socket(conn);
	while (conn->head && !conn->doomed)
		finish_query(conn, &copy);
	if (!conn->doomed && conn->events.on_closed)
		conn->events.on_closed(conn->arg, &copy);
	conn_leave(conn);
}

static void
conn_lost_pg(PgtConn *conn)
{
	PgtErr err;

	if (conn->farewell.message[0])
		err = conn->farewell;
	else
		pgt_err_from_pg(&err, NULL, conn->pg);
	snprintf(err.sqlstate, sizeof(err.sqlstate), "%s", PGT_STATE_CONNECTION);
	conn_lost(conn, &err);
}

/* ---- running queries ---- */

static bool
send_query(PgtConn *conn, Query *q)
{
	if (q->nparams < 0)
		return PQsendQuery(conn->pg, q->sql) == 1;
	return PQsendQueryParams(conn->pg, q->sql, q->nparams, NULL, (const char *const *) q->params, NULL, NULL, 0) == 1;
}

static short
wanted_events(PgtConn *conn)
{
	bool unsent = PQflush(conn->pg) == 1;
	bool read = conn->state != CONN_COPY_BOTH || conn->want_read;
	bool copying = conn->head && conn->head->copying;

	return (short) ((read ? POLLIN : 0) | ((unsent || copying) ? POLLOUT : 0));
}

static void
start_next(PgtConn *conn)
{
	if (conn->running || conn->head == NULL || conn->state != CONN_READY)
		return;
	conn->running = true;
	if (!send_query(conn, conn->head))
	{
		/* told from the loop: whoever queued this must find its connection alive when the call returns */
		conn->broken = true;
		pgt_timer_after(conn->loop, &conn->start, 0);
		return;
	}
	pgt_watch_events(conn->watch, wanted_events(conn));
}

/* Sends the current COPY's data as far as the socket takes it; true once all of it is sent. */
static bool
feed_copy(PgtConn *conn, Query *q)
{
	const char *data;
	size_t len;

	/* PQputCopyData would buffer without limit: never give it more before the last piece has left */
	while (PQflush(conn->pg) == 0)
	{
		if (q->source == NULL || !q->source(q->source_arg, q->copies - 1, &data, &len))
		{
			q->copying = false;
			return PQputCopyEnd(conn->pg, q->source ? NULL : "no data for this COPY") == 1;
		}
		for (size_t at = 0; at < len; at += COPY_CHUNK_MAX)
		{
			size_t n = len - at < COPY_CHUNK_MAX ? len - at : COPY_CHUNK_MAX;

			if (PQputCopyData(conn->pg, data + at, (int) n) != 1)
			{
				q->copying = false; /* the error arrives as the query's result */
				return true;
			}
		}
	}
	return false;
}

/* Takes one result; returns false when nothing more can be read now. */
static bool
take_result(PgtConn *conn, Query *q)
{
	PGresult *res;
	ExecStatusType status;
	PgtErr err;

	if (PQisBusy(conn->pg))
		return false;
	res = PQgetResult(conn->pg);
	if (res == NULL)
	{
		if (q->failed)
			pgt_err_from_pg(&err, q->last, conn->pg);
		finish_query(conn, q->failed ? &err : NULL);
		return conn->head != NULL && !conn->doomed && conn->running;
	}
	status = PQresultStatus(res);
	if (status == PGRES_COPY_IN)
	{
		PQclear(res);
		q->copying = true;
		q->copies++;
		return feed_copy(conn, q);
	}
	if (!q->failed)
	{
		if (q->last)
			PQclear(q->last);
		q->last = res;
		q->failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_BOTH &&
					status != PGRES_EMPTY_QUERY;
	}
	else
		PQclear(res);
	if (status == PGRES_COPY_BOTH)
	{
		conn->state = CONN_COPY_BOTH;
		conn->want_read = true;
		finish_query(conn, NULL);
		return false;
	}
	return true;
}

static bool
deliver_notifies(PgtConn *conn)
{
	PGnotify *n;

	while (!conn->doomed && conn->pg && (n = PQnotifies(conn->pg)) != NULL)
	{
		if (conn->events.on_notify)
			conn->events.on_notify(conn->arg, n);
		PQfreemem(n);
	}
	return !conn->doomed;
}

static bool
usable(const PgtConn *conn)
{
	return !conn->doomed && conn->state != CONN_CLOSED;
}

static void
conn_pump(PgtConn *conn)
{
	while (usable(conn) && conn->running && conn->state == CONN_READY)
	{
		Query *q = conn->head;

		if (q->copying && !feed_copy(conn, q))
			break;
		if (!take_result(conn, q))
			break;
	}
	if (usable(conn) && conn->state == CONN_READY)
		deliver_notifies(conn);
	if (usable(conn) && PQstatus(conn->pg) == CONNECTION_BAD)
		conn_lost_pg(conn);
	if (usable(conn) && conn->state == CONN_READY && !conn->running)
		start_next(conn);
	if (usable(conn) && conn->watch)
		pgt_watch_events(conn->watch, wanted_events(conn));
}

static void
on_io(void *arg, short revents)
{
	PgtConn *conn = arg;

	conn_enter(conn);
	if ((revents & (POLLIN | POLLHUP | POLLERR)) && !PQconsumeInput(conn->pg))
	{
		/* what arrived before the end (the server's reason) is still to be delivered */
		if (conn->state == CONN_COPY_BOTH && conn->events.on_copy_both)
			conn->events.on_copy_both(conn->arg);
		if (usable(conn))
			conn_lost_pg(conn);
		conn_leave(conn);
		return;
	}
	if (conn->state == CONN_COPY_BOTH)
	{
		if (conn->events.on_copy_both)
			conn->events.on_copy_both(conn->arg);
		if (usable(conn))
			pgt_watch_events(conn->watch, wanted_events(conn));
	}
	else
		conn_pump(conn);
	conn_leave(conn);
}

/* ---- connecting ---- */

static void on_connecting(void *arg, short revents);

static void
rewatch(PgtConn *conn, short events, PgtWatchFn fn)
{
	pgt_watch_remove(conn->watch);
	conn->watch = pgt_loop_watch(conn->loop, PQsocket(conn->pg), events, fn, conn);
}

static void
connected(PgtConn *conn)
{
	conn->state = CONN_READY;
	PQsetnonblocking(conn->pg, 1);
	rewatch(conn, POLLIN, on_io);
	conn_enter(conn);
	if (conn->events.on_ready)
		conn->events.on_ready(conn->arg);
	if (usable(conn))
		start_next(conn);
	conn_leave(conn);
}

static void
on_connecting(void *arg, short revents)
{
	PgtConn *conn = arg;

	switch (PQconnectPoll(conn->pg))
	{
		case PGRES_POLLING_READING:
			rewatch(conn, POLLIN, on_connecting);
			break;
		case PGRES_POLLING_WRITING:
			rewatch(conn, POLLOUT, on_connecting);
			break;
		case PGRES_POLLING_OK:
			connected(conn);
			break;
		default:
			conn_lost_pg(conn);
	}
}

static void
on_start(void *arg)
{
	PgtConn *conn = arg;

	if (conn->pg == NULL || conn->broken || PQstatus(conn->pg) == CONNECTION_BAD)
	{
		PgtErr err;

		pgt_err_set(&err, PGT_STATE_CONNECTION, "%s", conn->pg ? PQerrorMessage(conn->pg) : "out of memory");
		conn_lost(conn, &err);
		return;
	}
	rewatch(conn, POLLOUT, on_connecting);
}

/* notices are for people at a prompt; but a server that ends an idle connection says why in one */
static void
on_notice(void *arg, const PGresult *res)
{
	PgtConn *conn = arg;
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		pgt_err_from_pg(&conn->farewell, res, NULL);
}

void
pgt_conninfo(const PgtOptions *options, PgtConnKind kind, const char *role, char *name, const char **keywords, const char **values)
{
	int n = 0;

	snprintf(name, 64, "trickle-consumer %s", role);
#define PARAM(k, v) (keywords[n] = (k), values[n++] = (v))
	/* dbname first and expanded, so that a connection string may be given there, and what follows overrides it */
	PARAM("dbname", options->dbname[0] ? options->dbname : NULL);
	PARAM("host", options->host[0] ? options->host : NULL);
	PARAM("port", options->port[0] ? options->port : NULL);
	PARAM("user", options->username[0] ? options->username : NULL);
	PARAM("application_name", name);
	PARAM("client_encoding", "UTF8");
	/* a server that vanished without a word must not hold the daemon for ever */
	PARAM("connect_timeout", "10");
	PARAM("tcp_user_timeout", "30000");
	if (kind == PGT_CONN_REPLICATION)
		PARAM("replication", "database");
	keywords[n] = NULL;
	values[n] = NULL;
#undef PARAM
}

PgtConn *
pgt_conn_open(PgtLoop *loop, const PgtOptions *options, PgtConnKind kind, const char *role)
{
	const char *keywords[PGT_CONNINFO_MAX];
	const char *values[PGT_CONNINFO_MAX];
	char name[64];
	PgtConn *conn = calloc(1, sizeof(PgtConn));

	if (conn == NULL)
		abort();
	pgt_conninfo(options, kind, role, name, keywords, values);
	conn->loop = loop;
	conn->pg = PQconnectStartParams(keywords, values, 1);
	if (conn->pg)
		PQsetNoticeReceiver(conn->pg, on_notice, conn);
	pgt_timer_init(&conn->start, on_start, conn);
	pgt_timer_after(loop, &conn->start, 0);
	return conn;
}

void
pgt_conn_events(PgtConn *conn, const PgtConnEvents *events, void *arg)
{
	conn->events = *events;
	conn->arg = arg;
}

/* ---- for the owner ---- */

bool
pgt_conn_is_ready(const PgtConn *conn)
{
	return conn && (conn->state == CONN_READY || conn->state == CONN_COPY_BOTH);
}

bool
pgt_conn_is_idle(const PgtConn *conn)
{
	return conn && conn->state == CONN_READY && conn->head == NULL;
}

int
pgt_conn_backend_pid(const PgtConn *conn)
{
	return conn->pg ? PQbackendPID(conn->pg) : 0;
}

PGconn *
pgt_conn_pg(PgtConn *conn)
{
	return conn->pg;
}

static void
enqueue(PgtConn *conn, Query *q)
{
	if (conn->state == CONN_CLOSED)
	{
		query_free(q); /* the owner has been told, or is being told */
		return;
	}
	if (conn->tail)
		conn->tail->next = q;
	else
		conn->head = q;
	conn->tail = q;
	/* inside a callback the pump goes on by itself */
	if (conn->busy == 0)
	{
		conn_enter(conn);
		start_next(conn);
		conn_leave(conn);
	}
}

static Query *
query_create(const char *sql, int nparams, PgtResultFn fn, void *arg)
{
	Query *q = calloc(1, sizeof(Query));

	if (q == NULL || (q->sql = strdup(sql)) == NULL)
		abort();
	q->nparams = nparams;
	q->fn = fn;
	q->arg = arg;
	return q;
}

void
pgt_conn_query(PgtConn *conn, const char *sql, PgtResultFn fn, void *arg)
{
	enqueue(conn, query_create(sql, -1, fn, arg));
}

void
pgt_conn_params(PgtConn *conn, const char *sql, int nparams, const char *const *params, PgtResultFn fn, void *arg)
{
	Query *q;

	if (nparams > MAX_PARAMS)
		abort(); /* ours to fix */
	q = query_create(sql, nparams, fn, arg);
	for (int i = 0; i < nparams; i++)
		q->params[i] = params[i] ? strdup(params[i]) : NULL;
	enqueue(conn, q);
}

void
pgt_conn_copy_source(PgtConn *conn, PgtCopySource source, void *arg)
{
	if (conn->tail == NULL)
		return;
	conn->tail->source = source;
	conn->tail->source_arg = arg;
}

void
pgt_conn_cancel(PgtConn *conn)
{
	PGcancel *cancel = conn->pg ? PQgetCancel(conn->pg) : NULL;
	char buf[256];

	if (cancel == NULL)
		return;
	/* blocks for one short connection to the same server: PostgreSQL 15's libpq has no asynchronous form */
	PQcancel(cancel, buf, sizeof(buf));
	PQfreeCancel(cancel);
}

void
pgt_conn_copy_both_read(PgtConn *conn, bool want_read)
{
	conn->want_read = want_read;
	if (usable(conn) && conn->watch)
		pgt_watch_events(conn->watch, wanted_events(conn));
}

void
pgt_conn_flush(PgtConn *conn)
{
	if (usable(conn) && conn->watch)
		pgt_watch_events(conn->watch, wanted_events(conn));
}
