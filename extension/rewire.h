/*
 * rewire.h - what a compiled query means for the catalog: edges, registrations, upstream buffers, functions; and compiling
 * anew when DDL, a restore or a changed upstream made the old wiring stale.
 */
#ifndef PGT_REWIRE_H
#define PGT_REWIRE_H

#include "postgres.h"
#include "catalog.h"
#include "catalog_row.h"
#include "utils/array.h"
#include "view.h"

/* pgt_view_compile, with error positions shown in the query rather than in the statement that brought it. */
extern PgtView *pgt_wire_compile(const char *query);

/* Refuse sources that cannot be captured, or that `owner` may not read. */
extern void pgt_wire_check(const PgtView *view, Oid owner);

/*
 * Locks for a change of edges, in the order in which refreshes take them, to the end of the transaction: `changed` STs against
 * everything, `upstreams` (both of int64 *) against refreshes.
 *
 * A refresh that began before its ST had a reader does not write the reader's buffer; if it committed after the reader's first load
 * had taken its snapshot, its changes would be in neither.  And a buffer that loses its last reader goes, which no
 * refresh may be writing.  pgt_wire locks upstreams that become such; callers that lock the ST itself do it by these.
 */
extern void pgt_wire_lock(const List *changed, const List *upstreams);
extern void pgt_wire_lock_change(int64 pgt_id, const PgtView *view); /* an ST that is to have this view */
extern List *pgt_wire_upstreams(int64 pgt_id);                       /* ids of the STs it reads */

/*
 * Write the edges of an ST anew: registers its table sources (locks held to the end of the transaction), makes the buffers of
 * its ST sources, replaces pgt_dependencies and the stored query tree, lets go of sources that are not read any more.
 */
extern void pgt_wire(int64 pgt_id, const PgtView *view, bool insert_only);

/* Without an ST: let go of these sources if nobody reads them. */
extern void pgt_unwire_sources(List *relids);

/* Names of the functions the view can call, and a hash of the definitions of those that users can change. */
extern ArrayType *pgt_wire_functions(const PgtView *view);
extern char *pgt_wire_function_hashes(const PgtView *view);

/* Update pgt_definitions from the view and from `row`, with a new definition_version. */
extern void pgt_wire_definition(const PgtStreamTable *st, const PgtView *view, PgtRow row);

/* Can the ST's table, with its indexes, hold the view's rows as it is? */
extern bool pgt_wire_storage_fits(const PgtStreamTable *st, const PgtView *view);
extern char *pgt_wire_indexes(const PgtView *view);

/* The STs that read `relid`, directly or through other STs, `relid` itself excluded: int64 *, no order. */
extern List *pgt_wire_downstream(Oid relid);

/* Does the ST's query read whole rows of this table? */
extern bool pgt_wire_reads_row(int64 pgt_id, Oid source);

typedef enum PgtRewireFrom
{
	PGT_REWIRE_TREE,  /* objects are the same but may have new names or columns: after DDL */
	PGT_REWIRE_NAMES, /* the same, and only when the stored text mentions names that its objects do not have any more */
	PGT_REWIRE_TEXT   /* objects have the same names but may be others: after a restore, or an upstream's ALTER */
} PgtRewireFrom;

/*
 * Compile the ST's query again and rewrite everything that depends on it, as the ST's owner under its pinned settings.  When the
 * columns changed, its table is reshaped (emptied) and its readers are rewired too.  `reason` marks it for a diff; NULL (a
 * mere rename) leaves its contents as they are.  Errors out when the query does not compile any more.
 */
extern void pgt_rewire(int64 pgt_id, PgtRewireFrom from, const char *reason);

/*
 * The same in a subtransaction: false, and the message, when the query fails.  What says nothing about the query (a cancel, a lock not
 * had, a full disk) is raised.
 */
extern bool pgt_rewire_try(int64 pgt_id, PgtRewireFrom from, const char *reason, char **error);

#endif /* PGT_REWIRE_H */
