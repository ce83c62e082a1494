/*
 * relation.h - which registered relations a table's changes go to, and how each column travels.
 *
 * pgt_relation_get is called once per change and answers from a cache; see relation.c for what makes an entry stale.
 */
#ifndef PGT_RELATION_H
#define PGT_RELATION_H

#include "postgres.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/relcache.h"

/* How a column's value becomes bytes; W_n: n bytes of the datum in network order. */
typedef enum PgtCode
{
	PGT_CODE_W1,
	PGT_CODE_W2,
	PGT_CODE_W4,
	PGT_CODE_W8,
	PGT_CODE_FIXED,   /* by reference, typlen bytes as they are */
	PGT_CODE_VARLENA, /* the bytes of a text-like value */
	PGT_CODE_NUMERIC, /* as numeric_send, without the call */
	PGT_CODE_SEND,    /* typsend */
	PGT_CODE_DATUM    /* kind 'd': by value in memory order, or cstring */
} PgtCode;

typedef struct PgtColumn
{
	int att;      /* index in the tuple being decoded */
	int root_bit; /* attnum - 1 in the registered relation: its bit in the mask */
	PgtCode code;
	int16 typlen;
	bool typbyval;
	bool in_key;   /* part of the replica identity key */
	FmgrInfo send; /* valid when code is SEND */
	Oid outfunc;   /* json */
	Oid typid;
	const char *name; /* in the registered relation */
} PgtColumn;

/* A registered relation as pgt_sources describes it; lives as long as the session. */
typedef struct PgtRoot
{
	Oid relid; /* hash key */
	bool valid;
	bool tracked;
	bool is_ancestor; /* of a table we have an entry for */
	bool announced;   /* the current relation message was sent */
	bool insert_only;
	bool ignore_old; /* … and updates and deletes are no changes at all */
	bool mask;
	uint64 epoch;
	uint64 unknown_txn;   /* transaction for which an X row was sent */
	uint64 truncate_call; /* TRUNCATE for which a T row was sent */
	int32 gen;
	int natts;
	int ncols;
	int16 *attnums;
	char *kinds;
	uint32 layout;
	char *schema;
	char *name;
	char **colnames;
	StringInfoData message; /* body of the relation message */
	char reason[128];       /* last quarantine reason sent */
	MemoryContext context;
} PgtRoot;

/* The way from one table to one registered relation. */
typedef struct PgtTarget
{
	PgtRoot *root;
	int32 gen;
	int ncols;
	PgtColumn *cols;
	bool *changed;      /* work space of an UPDATE, per column */
	int maxatt;         /* attributes to deform */
	bool all_key;       /* every captured column is in the replica identity key */
	bool has_send;      /* some column needs a function call */
	const char *broken; /* changes cannot be described: why */
} PgtTarget;

typedef struct PgtEntry
{
	Oid relid; /* hash key */
	bool valid;
	bool full_identity;
	uint64 epoch;
	int ntargets;
	PgtTarget *targets;
	TupleTableSlot *oldslot;
	TupleTableSlot *newslot;
	MemoryContext context;
} PgtEntry;

/* A cache that lives in, and dies with, this memory context.  One per backend at a time. */
extern void pgt_relation_cache_create(MemoryContext session);

/* Entry of the table a change was decoded for; ntargets is 0 when nobody reads it.  Valid until the next call. */
extern PgtEntry *pgt_relation_get(Relation relation);

#endif /* PGT_RELATION_H */
