/*
 * api_options.h - the options of a stream table: one table of them serves create, alter, create_or_replace, bulk_create and
 * export_definition.
 */
#ifndef PGT_API_OPTIONS_H
#define PGT_API_OPTIONS_H

#include "postgres.h"
#include "fmgr.h"
#include "catalog.h"
#include "catalog_row.h"

typedef enum PgtOption
{
	PGT_OPT_NAME,
	PGT_OPT_QUERY,
	PGT_OPT_SCHEDULE,
	PGT_OPT_REFRESH_MODE,
	PGT_OPT_INITIALIZE,
	PGT_OPT_STATUS,
	PGT_OPT_DIAMOND_CONSISTENCY,
	PGT_OPT_DIAMOND_POLICY,
	PGT_OPT_CDC_MODE,
	PGT_OPT_APPEND_ONLY,
	PGT_OPT_POOLER,
	PGT_OPT_TIER,
	PGT_OPT_FUSE,
	PGT_OPT_FUSE_CEILING,
	PGT_OPT_FUSE_SENSITIVITY,
	PGT_OPT_PARTITION_BY,
	PGT_OPT_MAX_JOINS,
	PGT_OPT_MAX_FRACTION,
	PGT_OPT_AUTO_THRESHOLD,
	PGT_OPT_COUNT
} PgtOption;

/* Texts are char *; a set text may be NULL (schedule: calculated). */
typedef struct PgtOptions
{
	bool set[PGT_OPT_COUNT];
	Datum value[PGT_OPT_COUNT];
} PgtOptions;

/* The arguments of the SQL functions, in their order. */
extern const PgtOption pgt_create_arguments[];
extern const int pgt_create_nargs;
extern const PgtOption pgt_alter_arguments[];
extern const int pgt_alter_nargs;

/* From a call; NULL arguments are not set.  Values are checked and normalised. */
extern void pgt_options_from_call(PgtOptions *options, FunctionCallInfo fcinfo, const PgtOption *arguments, int nargs);

/* From one name and its value as text (NULL: not set); only options of `arguments` are known. */
extern void pgt_options_from_text(PgtOptions *options, const char *name, const char *value, const PgtOption *arguments, int nargs);

/* What create_stream_table's defaults are for options that a bulk_create object leaves out. */
extern void pgt_options_defaults(PgtOptions *options);

extern char *pgt_option_text(const PgtOptions *options, PgtOption option); /* NULL when not set */
extern bool pgt_option_bool(const PgtOptions *options, PgtOption option, bool otherwise);

/* Same value, not set and NULL being the same; queries are compared to the letter. */
extern bool pgt_option_equal(const PgtOptions *a, const PgtOptions *b, PgtOption option);

/* The set options that are columns of pgt_definitions. */
extern void pgt_options_definition_row(const PgtOptions *options, PgtRow *row);

/* The options of an existing ST, as stored: unchecked, NULL ones not set. */
extern void pgt_options_stored(PgtOptions *options, const PgtStreamTable *st, const PgtOption *arguments, int nargs);

/* One of them as a SQL literal, NULL when it is not set. */
extern char *pgt_option_literal(const PgtOptions *options, PgtOption option);
extern const char *pgt_option_name(PgtOption option);

#endif /* PGT_API_OPTIONS_H */
