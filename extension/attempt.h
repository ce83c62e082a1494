/*
 * attempt.h - work that may fail without ending the transaction.
 */
#ifndef PGT_ATTEMPT_H
#define PGT_ATTEMPT_H

#include "postgres.h"

/*
 * fn(arg) in a subtransaction and the current memory context.  NULL: it succeeded.  Else everything it did is undone, its locks are
 * given back, and this is its error, in the current memory context; the caller decides whether to ReThrowError it.
 */
extern ErrorData *pgt_attempt(void (*fn)(void *arg), void *arg);

/* The same, undone in any case; what fn has put into `arg` stays. */
extern ErrorData *pgt_rehearse(void (*fn)(void *arg), void *arg);

#endif /* PGT_ATTEMPT_H */
