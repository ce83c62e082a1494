/*
 * err.h - how failures travel in trickle-consumer, and the exit codes.
 *
 * A function that can fail takes a PgtErr * and returns false; it does not log.  The error is logged once, where it is
 * handled (usually session.c, which then reconnects, or main.c, which exits).  sqlstate is the server's when the server said
 * it, one of ours below otherwise.
 */
#ifndef PGT_ERR_H
#define PGT_ERR_H

#include <libpq-fe.h>

typedef struct PgtErr
{
	char sqlstate[6];
	char message[1024];
	char hint[1024];
	char context[256]; /* the server's, e.g. "COPY t, line 5"; empty otherwise */
} PgtErr;

/* our own conditions, in SQLSTATE's form; the class PT is no one else's */
#define PGT_STATE_USAGE "PT001"      /* bad option or configuration file */
#define PGT_STATE_CONNECTION "PT002" /* connection lost or not made */
#define PGT_STATE_PROTOCOL "PT003"   /* a frame that cannot be what the plugin sent */
#define PGT_STATE_SYNC_STANDBY "PT004"
#define PGT_STATE_FENCED "PT005" /* progress was moved by another consumer */
#define PGT_STATE_NO_EXTENSION "PT006"
#define PGT_STATE_LOCKED "PT007" /* another consumer holds the slot */
#define PGT_STATE_SCHEMA "PT008" /* the schema is of a version that we cannot serve */
#define PGT_STATE_INTERNAL "PT009"

typedef enum PgtExit
{
	PGT_EXIT_OK = 0,
	PGT_EXIT_USAGE = 1,
	PGT_EXIT_CONNECT = 2,
	PGT_EXIT_CHECK = 3, /* a precondition does not hold; --check says which */
	PGT_EXIT_SYNC_STANDBY = 4,
	PGT_EXIT_SLOT = 5, /* the slot cannot be created, dropped or used */
	PGT_EXIT_INTERNAL = 6
} PgtExit;

extern void pgt_err_set(PgtErr *err, const char *sqlstate, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
extern void pgt_err_hint(PgtErr *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* from a failed result, or from the connection when res is NULL */
extern void pgt_err_from_pg(PgtErr *err, const PGresult *res, const PGconn *pg);

#endif /* PGT_ERR_H */
