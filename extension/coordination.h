/*
 * coordination.h - what holds refreshes back: gates, watermarks, refresh groups, fuses (sql/12_coordination.sql).
 *
 * The scheduler reads the same conditions in its plan, but a plan is older than the snapshot of the refresh that follows from it.  So
 * scheduled refreshes ask once more, under S1: a watermark that came in one transaction with its rows never lets one be seen
 * without the other.  The errors' SQLSTATEs are part of the contract with the consumer (docs/architecture.md).
 */
#ifndef PGT_COORDINATION_H
#define PGT_COORDINATION_H

#include "postgres.h"
#include "utils/array.h"
#include "catalog.h"

#define PGT_ERRCODE_FUSE_BLOWN MAKE_SQLSTATE('P', 'T', '0', '2', '0')
#define PGT_ERRCODE_HELD MAKE_SQLSTATE('P', 'T', '0', '2', '1')

/* Why the scheduler must not refresh this ST, as the active snapshot (SPI is connected) shows it; NULL when it may. */
extern char *pgt_held_reason(int64 pgt_id);

/* The same as an error, PT021. */
extern void pgt_check_held(const PgtStreamTable *st);

/* Error PT021 when these (int8[]) are only a part of a refresh group. */
extern void pgt_check_groups(ArrayType *ids);

/*
 * Error PT020 when so many changes blow the ST's fuse, or when their number is not known (`unknown`: why) and it has a ceiling.  The
 * refresh is rolled back; _refresh_failed records the blown fuse.
 */
extern void pgt_check_fuse(const PgtStreamTable *st, int64 pending, const char *unknown);

/* A refresh has gone through: a fuse that was to let it pass is armed again. */
extern void pgt_fuse_passed(const PgtStreamTable *st);

/* Error 55000 when the ST's fuse has blown. */
extern void pgt_refuse_blown(const PgtStreamTable *st);

/* A table was dropped: its gate and watermark go, and its place in groups. */
extern void pgt_coordination_forget(Oid relid);

/* A table named by a user: 42P01, 42809, 42501 unless he owns it.  AccessShare is kept on it. */
extern Oid pgt_own_source(const char *name);

/* The elements of a text[]; 22004 for a NULL among them. */
extern List *pgt_text_list(Datum array);

#endif /* PGT_COORDINATION_H */
