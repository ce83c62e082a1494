/*
 * store.h - how an ST's rows are stored and found again: columns, keys, hidden state.
 *
 * BAG: visible columns only, duplicates stored physically.  GROUPS and WEIGHTS: the query is a SELECT over one AGG, whose keys
 * are all stored (hidden where the query does not output them), so a row is found by its key.  WEIGHTS keeps the aggregates'
 * states besides and never reads a group's other rows.
 */
#ifndef PGT_STORE_H
#define PGT_STORE_H

#include "postgres.h"
#include "optree.h"
#include "state.h"
#include "view.h"

typedef enum PgtStoreKind
{
	PGT_STORE_BAG,
	PGT_STORE_GROUPS,
	PGT_STORE_WEIGHTS
} PgtStoreKind;

typedef struct PgtStore
{
	PgtStoreKind kind;
	PgtOp *root; /* SELECT; NULL for a view that is not incremental */
	PgtOp *agg;  /* its only child, for keyed kinds */
	int nvisible;
	int ncols;    /* storage columns */
	PgtCol *cols; /* all storage columns */
	char **names; /* quoted */
	char **plain_names;
	List *rowkey;      /* BAG: columns (1-based) that tell rows apart and have an index; NIL = rows are found by their hash */
	int *keycols;      /* storage column of each of agg's keys, 1-based */
	PgtStates *states; /* WEIGHTS only */
	PgtOp *recursion;  /* BAG: the RECURSION whose rows these are, of which there is no other copy (recursion.h) */
	bool unique;       /* keys are NOT NULL and short: found by a unique index; else by an index on their hash */
} PgtStore;

/* store.c */
extern PgtStore *pgt_store_plan(PgtOp *root, List *names);       /* names of the visible columns */
extern PgtStore *pgt_store_bag(PgtOp *root, List *names);        /* a bag whatever the node is */
extern PgtStore *pgt_store_unconstrained(const PgtStore *store); /* of a bag: nothing is known of the stored rows */
extern PgtStore *pgt_store_plain(PgtCol *cols, List *names);     /* a bag of the query's columns, no tree */
extern char *pgt_store_rows(PgtStore *store, const char *from);  /* the same for the groups of a FROM item of AGG's input */
extern char *pgt_store_hidden(PgtStore *store);                  /* hidden columns, "a1.c<key> AS c<column>, a1.n<state> AS c<column>" */
extern char *pgt_store_inits(PgtStore *store, bool recount);     /* "<aggregate> AS n<state>, ..." over the AGG's input a1 */
extern bool pgt_store_is_lazy(PgtStore *store, int column);
extern char *pgt_store_load(PgtStore *store);                                                            /* SELECT of storage columns c1..cm */
extern List *pgt_store_indexes(PgtStore *store);                                                         /* of char *, "%s" for the ST */
extern char *pgt_store_columns(PgtStore *store, int n);                                                  /* "name, name" of the first n columns */
extern char *pgt_store_row(PgtStore *store, const char *prefix);                                         /* "s.name AS <prefix>1, ..." */
extern char *pgt_store_hash(PgtStore *store, bool of_keys, const char *st_alias, const char *row_alias); /* hash = hash, or NULL */
extern char *pgt_store_key_match(PgtStore *store, const char *row_alias);                                /* key of s = c1..c<nkeys> of row_alias, by index */

#endif /* PGT_STORE_H */
