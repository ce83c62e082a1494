/*
 * ddl.h - what DDL on sources and stream tables leads to.
 *
 * ddl_hooks.c tells what happened (event triggers), reconcile.c brings registrations and readers in line with it; uninstall.c is what
 * DROP EXTENSION needs.
 */
#ifndef PGT_DDL_H
#define PGT_DDL_H

#include "postgres.h"
#include "nodes/pg_list.h"

/*
 * Run a utility statement of our own on a stream table (SPI connected): the hooks, which protect stream tables from users, let it
 * pass.  Returns the SPI code.
 */
extern int pgt_run_own_ddl(const char *sql);

/*
 * Before DROP EXTENSION: identities are put back, our slot goes at commit.  55006 when another slot of the database could not be decoded
 * any more.
 */
extern void pgt_before_drop_extension(void);

/* An ST that reads a relation. */
typedef struct PgtDependent
{
	int64 id;
	Oid st_relid;
	char *label;         /* qualified name */
	char *source_schema; /* as recorded */
	char *source_name;
	List *attnums;   /* of int: the columns it uses */
	List *columns;   /* of char *: their recorded names */
	bool same_shape; /* the columns' types are those recorded */
} PgtDependent;

extern List *pgt_dependents(Oid relid);

/*
 * What the STs need is about to go: error under block_source_ddl, otherwise they are suspended with the reason.  `what`
 * completes "cannot ...", `reason` is a clause that says what happened.
 */
extern void pgt_break_dependents(List *dependents, const char *what, const char *reason);
extern void pgt_suspend_st(int64 id, const char *label, const char *reason);

/* Something happened to the contents of a source that no row event shows: the next refreshes compare. */
extern void pgt_source_event(Oid source, const char *kind, const char *detail);

/*
 * `changed` was altered; source is it or a registered ancestor of it.  explicit_identity: the user has just chosen a replica
 * identity for it.
 */
extern void pgt_reconcile_source(Oid source, Oid changed, bool explicit_identity);

typedef enum PgtMembership
{
	PGT_MEMBER_BORN,   /* created as a member, empty: all it will ever hold is captured */
	PGT_MEMBER_JOINED, /* with its rows */
	PGT_MEMBER_LEFT
} PgtMembership;

/* `member` (with its descendants) has joined or left the families of the registered relations `sources`. */
extern void pgt_reconcile_member(List *sources, Oid member, PgtMembership how);

/* An index went: some identity may have gone with it. */
extern void pgt_reconcile_identities(void);

/* The definition of a type changed: what was captured of it may not fit any more. */
extern void pgt_reconcile_type(Oid typid);

/* Tables were dropped: first those that are STs, so that nothing is refused for the sake of what goes itself, then all. */
extern void pgt_reconcile_dropped_st(Oid relid);
extern void pgt_reconcile_dropped(Oid relid, const char *identity);

/* Objects were renamed: definitions, queries and edges take the new names. */
extern void pgt_follow_names(void);

/* A view was redefined: stream tables whose queries name it follow (ddl_views.c). */
extern void pgt_reconcile_view(Oid view);

/* A function was replaced (dropped = false) or dropped; `identity` is its qualified signature. */
extern void pgt_reconcile_function(const char *identity, bool dropped);

#endif /* PGT_DDL_H */
