/*
 * check.h - the doctor (--check), and the slot actions.
 *
 * Blocking libpq on connections of their own: these run before, or instead of, the loop.
 */
#ifndef PGT_CHECK_H
#define PGT_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include "consumer/err.h"
#include "consumer/options.h"

/* every precondition, one line each, a fix for each that fails */
extern PgtExit pgt_check_run(const PgtOptions *options, FILE *out);

extern PgtExit pgt_create_slot(const PgtOptions *options, PgtErr *err);
extern PgtExit pgt_drop_slot(const PgtOptions *options, PgtErr *err);

/*
 * Before the loop: a server that answers and refuses us will go on doing so.  True when connecting works or is worth trying again.
 */
extern bool pgt_check_connects(const PgtOptions *options, PgtErr *err);

/* would synchronous_standby_names make name a synchronous standby?  Then err says so.  Pure. */
extern bool pgt_check_sync_standby(const char *names, const char *name, PgtErr *err);

#endif /* PGT_CHECK_H */
