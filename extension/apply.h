/*
 * apply.h - programs: from a node's delta to the statements that change the ST.
 */
#ifndef PGT_APPLY_H
#define PGT_APPLY_H

#include "postgres.h"
#include "delta.h"
#include "program.h"
#include "store.h"

/* Programs for a bag: `delta` is a statement that yields c1..cn, w, netted by image. */
extern List *pgt_apply_bag(PgtStore *store, const PgtTarget *target, const char *delta);

/* "ctid = ANY (...)": the rows of the ST that __pgt_delta takes away; fails when it does not hold them. */
extern char *pgt_expected_victims(PgtStore *store, const PgtTarget *target);

/* FROM item d: each row of the delta that comes, as often as it comes. */
extern char *pgt_rows_coming(const char *delta);

/* Programs that compare a bag with `rows`, a statement of c1..cn: diff.c */
extern List *pgt_diff_bag(PgtStore *store, const PgtTarget *target, const char *rows);

/* The query's rows and the table's rows negated, netted: what has to change. */
extern char *pgt_bag_difference(PgtStore *store, const PgtTarget *target, const char *rows);

/*
 * Programs for a keyed ST: `changes` is a statement that yields the change set: op "char" ('i', 'd', 'u'), tid (ctid of the old
 * row), c1..cm new storage columns, o1..om old ones, vis (visible columns differ).
 */
extern List *pgt_apply_keyed(PgtStore *store, const PgtTarget *target, const char *changes);

/* The statements alone, uncounted, that bring an inner table up to the change set in ENR `changes`. */
extern List *pgt_apply_inner(PgtStore *store, const PgtTarget *target, const char *changes);

/* What a change set means for the visible columns: SELECT c1..cn, w. */
extern char *pgt_change_delta(PgtStore *store, const char *changes);

/* The change set between rows `n` (FROM item, c1..cm) and rows `o` (FROM item, tid, o1..om), matched by key. */
extern char *pgt_change_set(PgtStore *store, const char *n, const char *o);

/* The change set among `rows`, a statement of op, tid, c*, o* that may hold updates which change nothing. */
extern char *pgt_changed_rows(PgtStore *store, const char *rows, bool lazy);

/* ", NULL::type" for every storage column */
extern char *pgt_null_columns(PgtStore *store);

/* "(SELECT ctid AS tid, columns AS o1..om FROM the ST s ...)" */
extern char *pgt_old_rows(PgtStore *store, const PgtTarget *target, const char *keys);

/* "LATERAL (...) s": tid, o1..om of the row of the ST that has the key of alias `keys` */
extern char *pgt_stored_rows(PgtStore *store, const PgtTarget *target, const char *keys);

/* Is there an index that pgt_stored_rows finds rows by? */
extern bool pgt_store_probed(PgtStore *store, const PgtTarget *target);

extern PgtStep *pgt_step(PgtStepKind kind, PgtStepCount counts, const char *name, const char *sql);

#endif /* PGT_APPLY_H */
