/*
 * options.h - every setting of trickle-consumer, in one table (options.c).
 *
 * The table feeds the command line, the environment (PGTRICKLE_<NAME>), the ini file, --help and docs/configuration.md.
 * Precedence: command line, environment, file, built-in default.  Pure: reads no clock, opens nothing but the named file.
 */
#ifndef PGT_OPTIONS_H
#define PGT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "consumer/err.h"

#define PGT_OPT_TEXT 256

typedef struct PgtOptions
{
	/* connection: empty = libpq's own default */
	char dbname[PGT_OPT_TEXT];
	char host[PGT_OPT_TEXT];
	char port[PGT_OPT_TEXT];
	char username[PGT_OPT_TEXT];
	bool no_password;

	/* what to do */
	char slot[64];
	bool create_slot;
	bool drop_slot;
	bool if_not_exists;
	bool start;
	bool check;
	bool help;
	bool version;
	bool print_options_md;
	char config[PGT_OPT_TEXT];

	/* capture and apply */
	int64_t apply_memory; /* bytes */
	int64_t flush_bytes;
	int64_t flush_idle_us;
	int64_t segment_size;
	int64_t ack_bytes;
	int64_t ack_interval_us;
	int64_t status_interval_us;
	int64_t linger_ms; /* passed to the plugin; < 0: the plugin's default */
	char compression[16];
	int64_t reconnect_max_us;

	/* refreshes */
	int64_t workers;
	int64_t barrier_lag_us; /* do not start a refresh while apply is further behind than this */

	/* watching */
	char http[PGT_OPT_TEXT]; /* [address:]port; empty: no listener */
	char log_format[16];
	bool verbose;
} PgtOptions;

/* getenv-like source of the environment; tests pass their own */
typedef const char *(*PgtGetenv)(const char *name);

extern bool pgt_options_parse(PgtOptions *o, int argc, char *const *argv, PgtGetenv env, PgtErr *err);

/* SIGHUP: parse again; only the reloadable ones are taken over into *o */
extern bool pgt_options_reload(PgtOptions *o, int argc, char *const *argv, PgtGetenv env, PgtErr *err);

extern void pgt_options_help(FILE *out);
extern void pgt_options_markdown(FILE *out);

#endif /* PGT_OPTIONS_H */
