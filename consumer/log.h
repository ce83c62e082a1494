/*
 * log.h - one line per event on stderr, as text or as JSON.
 *
 * part is the module's short name ("stream", "apply", "sched"): one word, never user data.  Messages hold no connection
 * strings and no row values.
 */
#ifndef PGT_LOG_H
#define PGT_LOG_H

#include <stdbool.h>

#include "consumer/err.h"

typedef enum PgtLogLevel
{
	PGT_LOG_DEBUG,
	PGT_LOG_INFO,
	PGT_LOG_WARNING,
	PGT_LOG_ERROR
} PgtLogLevel;

extern void pgt_log_configure(bool json, PgtLogLevel threshold);
extern bool pgt_log_enabled(PgtLogLevel level);
extern void pgt_log(PgtLogLevel level, const char *part, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* an error with its SQLSTATE and hint as fields of their own; context may be NULL */
extern void pgt_log_err(PgtLogLevel level, const char *part, const char *context, const PgtErr *err);

#endif /* PGT_LOG_H */
