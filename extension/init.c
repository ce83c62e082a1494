/*
 * init.c - what happens when pg_trickle.so is loaded.
 *
 * The library needs no shared_preload_libraries: it is loaded by the first call of one of its functions (event triggers
 * included), so _PG_init may only do what works in the middle of a session.
 */
#include "postgres.h"

#include "fmgr.h"

#include "guc.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	pgt_guc_init();
}
