/*
 * plancache.h - compiled views and prepared programs, kept per session.
 */
#ifndef PGT_PLANCACHE_H
#define PGT_PLANCACHE_H

#include "postgres.h"
#include "catalog.h"
#include "execute.h"
#include "view.h"

/* The compiled view of an ST; valid until the next call for another definition of it.  Call with the ST's settings in force. */
extern PgtView *pgt_cached_view(const PgtStreamTable *st);

typedef enum PgtProgramKind
{
	PGT_PROGRAM_DELTA,
	PGT_PROGRAM_DIFF,
	PGT_PROGRAM_LOAD,
	PGT_PROGRAM_DIFF_PLAIN, /* without inner tables */
	PGT_PROGRAM_LOAD_PLAIN,
	PGT_PROGRAM_CROSSING /* when time alone will change the ST */
} PgtProgramKind;

/* The prepared program for this kind, these changed sources and deltas of this size. */
extern PgtPrepared *pgt_cached_program(const PgtStreamTable *st, PgtProgramKind kind, Bitmapset *changed, int64 rows);

/* Forget everything about an ST (dropped, altered). */
extern void pgt_cache_forget(int64 pgt_id);

#endif /* PGT_PLANCACHE_H */
