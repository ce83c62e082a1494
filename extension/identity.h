/*
 * identity.h - REPLICA IDENTITY FULL where capture needs it, and back again.
 */
#ifndef PGT_IDENTITY_H
#define PGT_IDENTITY_H

#include "source.h"

/* Does the WAL of `leaf` carry the old values of these columns of `root`?  The caller holds a lock on leaf. */
extern bool pgt_identity_covers(Oid leaf, Oid root, List *attnums);

/*
 * Make it so, with a NOTICE, and remember what was before.  The caller holds SHARE ROW EXCLUSIVE or more on leaf.
 * check_owner: only the table's owner may cause that.
 */
extern void pgt_identity_require(Oid leaf, const PgtSource *source, bool check_owner);

/*
 * Put back what is remembered for `root` (InvalidOid: for all that are not registered any more) and no other registration needs.
 * Tables that are busy keep FULL for now.
 */
extern void pgt_identity_restore(Oid root);
extern void pgt_identity_restore_all(void); /* whatever is registered: the extension goes */

/* `root` is responsible for relid's identity from now on; InvalidOid: nobody, put it back when possible. */
extern void pgt_identity_assign(Oid relid, Oid root);

/* The user has set relid's identity himself: nothing to put back. */
extern void pgt_identity_forget(Oid relid);

#endif /* PGT_IDENTITY_H */
