/*
 * storage.h - the physical side of an ST: its table, indexes, guard trigger, and the buffer its own readers consume.
 *
 * The table belongs to the user who creates the ST and is made with the rights of the current user.  The buffer belongs to the
 * extension.  Nothing here writes the extension's catalog.
 */
#ifndef PGT_STORAGE_H
#define PGT_STORAGE_H

#include "postgres.h"
#include "view.h"

/* Table in storage column order, hidden columns last, with its guard trigger.  42P07 when the name is taken. */
extern Oid pgt_storage_create(const char *schema, const char *name, const PgtView *view);

/* The view's indexes that do not exist yet; run after the first load. */
extern void pgt_storage_create_indexes(Oid relid, const PgtView *view);

/* Does the table have exactly the view's columns (name, type, typmod, collation, order)? */
extern bool pgt_storage_matches(Oid relid, const PgtView *view);

/*
 * Make the table's columns those of `view`: empties it, keeps its OID, grants and leading columns that stay the same.  Views on columns
 * that go make it fail (2BP01).
 */
extern void pgt_storage_reshape(Oid relid, const PgtView *view);

/* Guard trigger and dependency on the extension, when missing (after a restore). */
extern void pgt_storage_protect(Oid relid);

extern void pgt_storage_drop(Oid relid, bool cascade);

/*
 * Buffer pgtrickle_changes.st_<pgt_id>: refresh_no int8, w int4, and the ST's visible columns as c<attnum>.  Exists exactly while
 * other STs read this one.  Logged: the slot cannot resend what a refresh computed.
 */
extern Oid pgt_storage_buffer(int64 pgt_id); /* InvalidOid when there is none */
extern Oid pgt_storage_make_buffer(int64 pgt_id, Oid st_relid);
extern void pgt_storage_remake_buffer(int64 pgt_id, Oid st_relid); /* if there is one: after the ST's columns changed */
extern void pgt_storage_drop_buffer(int64 pgt_id);

/*
 * Inner tables pgtrickle_inner.st_<pgt_id>_<n>: results inside the query that programs keep (PgtView.inners).  They belong to the
 * extension, so that no dump has them; the ST's owner may read and write them, but a trigger refuses all writes but a refresh's.
 * They come and go with comparing refreshes, and go with the ST.
 */
extern char *pgt_storage_inner_prefix(int64 pgt_id);                                             /* PgtTarget.inner; NULL: this schema's version has none */
extern bool pgt_storage_inner_ready(int64 pgt_id, const PgtView *view);                          /* all there, with the view's columns, and no other */
extern bool pgt_storage_make_inner(int64 pgt_id, Oid st_relid, const PgtView *view, bool empty); /* those that fit stay; empty: none does.  Was any made? */
extern void pgt_storage_analyze_inner(int64 pgt_id, const PgtView *view);                        /* once they are filled */
extern void pgt_storage_grant_inner(int64 pgt_id, Oid st_relid);                                 /* to who owns the ST now */
extern void pgt_storage_drop_inner(int64 pgt_id);

/* Has the table another owner than the one recorded?  Then he gets the inner tables, and the record is corrected; st is out of date. */
extern bool pgt_storage_follow_owner(const PgtStreamTable *st);

/* DROP TABLE of a table that is a member of the extension (buffers and segments): plain DROP refuses those. */
extern void pgt_storage_drop_member(Oid relid);

/* Make relid a member of the extension: pg_dump leaves it out, DROP EXTENSION takes it along. */
extern void pgt_storage_add_member(Oid relid);

#endif /* PGT_STORAGE_H */
