/*
 * conn.h - one asynchronous libpq connection on the loop.
 *
 * Queries are queued and run one after another; each ends in exactly one callback, with the last result of the query string, or
 * with the first error.  A failed query does not close the connection (a transaction it ran in stays aborted, as in SQL); a
 * lost connection fails the running and all queued queries first and calls on_closed last, once.  The callbacks may queue
 * further queries and may call pgt_conn_close() (then nothing more is called; unfinished queries are forgotten silently).
 */
#ifndef PGT_CONN_H
#define PGT_CONN_H

#include <stddef.h>
#include <libpq-fe.h>

#include "consumer/err.h"
#include "consumer/loop.h"
#include "consumer/options.h"

typedef struct PgtConn PgtConn;

typedef struct PgtConnEvents
{
	void (*on_ready)(void *arg);                     /* connected; queries may also be queued before */
	void (*on_closed)(void *arg, const PgtErr *err); /* never connected, or lost; call pgt_conn_close() in it or later */
	void (*on_notify)(void *arg, const PGnotify *n); /* may be NULL */
	void (*on_copy_both)(void *arg);                 /* replication: something can be read or written; may be NULL */
} PgtConnEvents;

/* res is NULL exactly when err is not; both belong to the connection and end with the callback */
typedef void (*PgtResultFn)(void *arg, const PGresult *res, const PgtErr *err);

/* COPY FROM STDIN: gives the next piece of the current COPY (which = 0, 1, … within the query string); returns false at its end */
typedef bool (*PgtCopySource)(void *arg, int which, const char **data, size_t *len);

typedef enum PgtConnKind
{
	PGT_CONN_SQL,
	PGT_CONN_REPLICATION
} PgtConnKind;

/* libpq parameters for these options, NULL-terminated; both arrays have room for PGT_CONNINFO_MAX, name (64 bytes) for application_name */
#define PGT_CONNINFO_MAX 16
extern void pgt_conninfo(const PgtOptions *options, PgtConnKind kind, const char *role, char *name, const char **keywords,
						 const char **values);

/* role is appended to application_name ("trickle-consumer apply").  Never NULL; failures come through on_closed. */
extern PgtConn *pgt_conn_open(PgtLoop *loop, const PgtOptions *options, PgtConnKind kind, const char *role);
extern void pgt_conn_events(PgtConn *conn, const PgtConnEvents *events, void *arg);
extern void pgt_conn_close(PgtConn *conn); /* NULL is fine */
extern bool pgt_conn_is_ready(const PgtConn *conn);
extern bool pgt_conn_is_idle(const PgtConn *conn); /* ready and nothing queued or running */
extern int pgt_conn_backend_pid(const PgtConn *conn);
extern PGconn *pgt_conn_pg(PgtConn *conn);

/* simple protocol: several statements allowed */
extern void pgt_conn_query(PgtConn *conn, const char *sql, PgtResultFn fn, void *arg);

/* one statement, text parameters (copied), text results */
extern void pgt_conn_params(PgtConn *conn, const char *sql, int nparams, const char *const *params, PgtResultFn fn, void *arg);

/* simple protocol with one or more COPY FROM STDIN in it; set on the query queued last */
extern void pgt_conn_copy_source(PgtConn *conn, PgtCopySource source, void *arg);

/* asks the server to cancel the running query; its callback then gets the error */
extern void pgt_conn_cancel(PgtConn *conn);

/* copy-both: which events call on_copy_both (writing is asked for while libpq holds unsent bytes, without this) */
extern void pgt_conn_copy_both_read(PgtConn *conn, bool want_read);
extern void pgt_conn_flush(PgtConn *conn);

#endif /* PGT_CONN_H */
