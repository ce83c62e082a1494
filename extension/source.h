/*
 * source.h - registration of sources: locks, used columns, replica identity, buffers, segments.
 */
#ifndef PGT_SOURCE_H
#define PGT_SOURCE_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

/* A row of pgt_sources. */
typedef struct PgtSource
{
	Oid relid;
	int32 gen;
	List *attnums; /* of int, ascending */
	char *kinds;   /* layout.h, one letter per attnum */
	int32 layout;
	int16 natts;
	bool mask;
	bool insert_only;
	bool ignore_old; /* updates and deletes are no changes at all */
} PgtSource;

/* One source an ST wants captured. */
typedef struct PgtSourceWant
{
	Oid relid;
	List *attnums; /* of int */
	bool insert_only;
} PgtSourceWant;

/* NULL when relid is not registered.  Latest state; result in the current memory context. */
/* Whether registrations and buffers know masks: those of the version before, until ALTER EXTENSION UPDATE, do not. */
extern bool pgt_schema_has_masks(void);

extern PgtSource *pgt_source_get(Oid relid);

extern List *pgt_source_list(void); /* all registered relations, sorted */

/* Has a captured column been dropped, or got another type, since the registration? */
extern bool pgt_source_layout_is_stale(const PgtSource *source);

/* How a column of this type travels (layout.h), and the type of its buffer column. */
extern char pgt_column_kind(Oid typid, Oid *buffer_type);

/*
 * Refuse what cannot be captured (unlogged, temporary, foreign, views, catalogs, RLS in force for the owner, no privilege),
 * each with its own SQLSTATE and hint.  Takes no lock beyond AccessShare.
 */
extern void pgt_source_check(Oid relid, Oid owner);

/* relid and all its descendants (partitions, inheritance children), sorted by OID, each locked in `lockmode` (NoLock: not). */
extern List *pgt_source_family(Oid relid, LOCKMODE lockmode);

/* Storage-bearing members of the family, sorted: what a frontier row records as `leaves`. */
extern List *pgt_source_leaves(Oid relid);

/*
 * Do these two sets of leaves of a source differ by nothing but partitions or children that were created empty, of which every row has
 * been captured?  Told by the events of this kind (detail: the member's OID).
 */
#define PGT_EVENT_BORN "born"
extern bool pgt_source_leaves_grew(Oid source, List *old, List *new);

/* Registered relations among relid and its ancestors, sorted. */
extern List *pgt_source_roots(Oid relid);

/*
 * Register relid for capture of these columns, or widen its registration to them.  Takes SHARE ROW EXCLUSIVE on the family with
 * register_lock_timeout and retry, in OID order; sets REPLICA IDENTITY FULL where the old values would be missing; writes
 * pgt_sources (next generation), makes buffer and first segment, invalidates the family's relcache.  No lock on the family when
 * the registration already covers them.  The locks are held to the end of the transaction: take S1 after this.
 */
extern void pgt_source_register(Oid relid, List *attnums, bool insert_only);

/* The same for all sources of an ST (of PgtSourceWant *), with one time limit for all their locks: writers queue for that only. */
extern void pgt_source_register_all(List *wants);

/* Drop buffers and registration, put the identity back, when no ST reads relid any more; otherwise do nothing. */
extern void pgt_source_release(Oid relid);

/* The same for a table that has been dropped, whoever reads it. */
extern void pgt_source_forget(Oid relid);

/* A new generation after DDL dropped captured columns or changed their types; all readers are marked for a diff with `reason`. */
extern void pgt_source_regenerate(Oid relid, const char *reason);

/* Has this transaction written pgt_sources (or a part of it that was rolled back)? */
extern bool pgt_source_registry_written(void);

/* New newest segment of generation `gen`; returns its number, 0 when that generation has ended and its segments are gone. */
extern int64 pgt_source_rotate(Oid relid, int32 gen);

#endif /* PGT_SOURCE_H */
