/*
 * confirm.h - how far the slot may be confirmed.
 *
 * Buffers are unlogged: after a server crash the slot must resend whatever some stream table has not consumed.  So the confirmed
 * position may pass a transaction only when every ST that pins one of its sources has consumed it (xid below the source's
 * horizon).  LSNs of refreshes play no part in that: a transaction may be committed before a barrier and still be invisible
 * to the refresh that wrote it.
 *
 * Per source a queue of spans in commit order, each (start of its first commit record, largest xid, newest serial).  A span may
 * cover many transactions; joining spans only ever makes us confirm less.  Pure; unit-tested in tests/unit/test_confirm.c.
 */
#ifndef PGT_CONFIRM_H
#define PGT_CONFIRM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PgtConfirm PgtConfirm;

extern PgtConfirm *pgt_confirm_create(void);
extern void pgt_confirm_free(PgtConfirm *c);
extern void pgt_confirm_reset(PgtConfirm *c);

/* a transaction that touched relid committed at commit_lsn (start of the record); calls come in commit order */
extern void pgt_confirm_add(PgtConfirm *c, uint32_t relid, uint64_t commit_lsn, uint64_t xid);

/*
 * Horizons are asked for and answered in rounds.  Begin a round when the question is sent: what is added later is not touched by the
 * answer (it may be of a source, or pinned by an ST, that the answer could not know).  Then one call per answered source;
 * at the end sources without an answer are pinned by nobody.  Returns whether anything was consumed.
 */
extern void pgt_confirm_round_begin(PgtConfirm *c);
extern void pgt_confirm_horizon(PgtConfirm *c, uint32_t relid, bool pinned, uint64_t horizon_xid);
extern bool pgt_confirm_round_end(PgtConfirm *c);

/* the position that may be confirmed, given that everything before safe is applied (or was never ours) */
extern uint64_t pgt_confirm_position(const PgtConfirm *c, uint64_t safe);

extern bool pgt_confirm_is_empty(const PgtConfirm *c);

/* the source that holds the position back, and the largest xid of what it holds back; false if none does */
extern bool pgt_confirm_oldest(const PgtConfirm *c, uint32_t *relid, uint64_t *lsn, uint64_t *xid);

/* every source that holds the position back below before */
extern void pgt_confirm_each_below(const PgtConfirm *c, uint64_t before, void (*fn)(void *arg, uint32_t relid), void *arg);

extern size_t pgt_confirm_spans(const PgtConfirm *c); /* for tests and metrics */

#endif /* PGT_CONFIRM_H */
