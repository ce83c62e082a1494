/*
 * options.h - the plugin's options.  Pure: no server header; tests/unit/test_plugin_options.c drives it.
 */
#ifndef PGT_OPTIONS_H
#define PGT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum PgtFormat
{
	PGT_FORMAT_BINARY,
	PGT_FORMAT_JSON
} PgtFormat;

typedef struct PgtOptions
{
	int protocol_version;
	PgtFormat format;
	bool lz4;
	int linger;           /* ms to wait after a commit when caught up */
	int node;             /* node id stamped into frames */
	bool include_xid;     /* json only */
	bool include_lsn;     /* json only */
	bool changed_columns; /* tuples have that field; off: buffers of schema 0.19.0 lack it */
	uint32_t seen;        /* bit per option already given */
} PgtOptions;

typedef enum PgtOptionResult
{
	PGT_OPTION_OK,
	PGT_OPTION_UNKNOWN,
	PGT_OPTION_DUPLICATE,
	PGT_OPTION_MISSING, /* no value given */
	PGT_OPTION_INVALID  /* not one of the allowed values */
} PgtOptionResult;

extern void pgt_options_init(PgtOptions *o);

/* Set one option.  value may be NULL.  Unless OK, nothing in *o has changed. */
extern PgtOptionResult pgt_options_set(PgtOptions *o, const char *name, const char *value);

/* What an option accepts, in words ("an integer from 0 to 1000"); NULL when there is no such option. */
extern const char *pgt_options_allowed(const char *name);

/* The names of all options, comma separated. */
extern const char *pgt_options_names(void);

#endif /* PGT_OPTIONS_H */
