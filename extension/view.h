/*
 * view.h - the compiler's surface: a defining query, analysed once, and the programs that maintain it.
 *
 * The compiler knows queries, never snapshots, buffers or schedules.  It reads catalogs and no user data.
 */
#ifndef PGT_VIEW_H
#define PGT_VIEW_H

#include "postgres.h"
#include "nodes/parsenodes.h"
#include "program.h"

/* One distinct relation that the query reads, views and CTEs expanded. */
typedef struct PgtViewSource
{
	Oid relid;
	bool is_stream_table; /* another ST: its delta comes from the ST buffer */
	int64 pgt_id;         /* of that ST, else 0 */
	List *attnums;        /* of int, ascending: columns the query uses (at least one: the first live one if none) */
} PgtViewSource;

typedef struct PgtViewColumn
{
	char *name;
	Oid type;
	int32 typmod;
	Oid collation;
	bool hidden; /* __pgt_*: stands after all visible ones */
} PgtViewColumn;

/* A hidden table of the ST: part of its query's result, kept so that it need not be computed again (inner.h). */
typedef struct PgtInnerTable
{
	int ncolumns;
	PgtViewColumn *columns;
	List *indexes; /* of char *, as PgtView.indexes */
} PgtInnerTable;

typedef struct PgtView
{
	char *query;      /* canonical text: deparsed, every name qualified, tie-breaks added; what oracles compare with */
	char *load_query; /* SELECT of all storage columns, hidden ones included, in storage order */
	int nsources;
	PgtViewSource *sources; /* ordered by relid */
	int ncolumns;
	PgtViewColumn *columns; /* storage order */
	List *indexes;          /* of char *: CREATE INDEX statements to run after the first load; %s: the qualified ST name, %%: a percent sign */
	bool keyed;             /* rows have a unique key among the storage columns */
	char *full_reason;      /* why it cannot be maintained incrementally, NULL if it can */
	char *full_hint;
	bool time_dependent; /* not incremental, and the result can change although no source does (now() and the like) */
	bool clocked;        /* uses clock functions: statements take parameters (program.h) */
	char *clock_query;   /* query, at the clock $2; the same text when there is no clock in it */
	char *crossing_sql;  /* SELECT of one timestamptz: after $2, time alone changes the result not before; NULL: never; NULL text: not known */
	List *notices;       /* of char *: canonicalisations to tell the user at creation */
	List *functions;     /* of Oid: every function the query can call, operators' and casts' included */
	int ninners;         /* hidden tables that programs with PgtTarget.inner read and maintain */
	struct PgtInnerTable *inners;
	void *tree;         /* operator tree (optree.h), private to the compiler */
	List *inner_stores; /* of PgtInner (inner.h), private to the compiler */
} PgtView;

/*
 * Analyse `query` (one SELECT) under the current search_path and compile it.  Errors out with a user-level SQLSTATE for
 * what can never be an ST (not a SELECT, data-modifying CTE, volatile functions under policy reject, unsupported source kinds).
 * Everything else that is only not incremental sets full_reason.  Result in the current memory context.
 */
extern PgtView *pgt_view_compile(const char *query);

/* There is no place for inner tables (the catalog of an older version): parts of the query are computed anew, or all of it is. */
extern void pgt_view_without_inner(PgtView *view);

/* How the ST is stored, for everything below.  `st` is its qualified, quoted name. */
typedef struct PgtTarget
{
	const char *st;
	Oid relid;
	int number;        /* 0: the ST itself; else which inner table */
	const char *inner; /* inner table i is called this and then i, from 1; NULL: there are none, compute everything */
} PgtTarget;

/* Maintain the ST for changes in exactly these sources (bit i: sources[i] has rows in __pgt_src<i>; bit nsources: the clock).  View must be incremental. */
extern PgtProgram *pgt_view_delta_program(PgtView *view, const PgtTarget *target, Bitmapset *changed);

/* Recompute, compare as bags, apply the minimal change.  Works for every view.  No __pgt_src needed. */
extern PgtProgram *pgt_view_diff_program(PgtView *view, const PgtTarget *target);

/* One PGT_STEP_TIME with crossing_sql; nothing without it. */
extern PgtProgram *pgt_view_crossing_program(PgtView *view);

/* Fill an empty ST. */
extern PgtProgram *pgt_view_load_program(PgtView *view, const PgtTarget *target);

/*
 * SELECT of two int8: rows of the query missing from the ST, rows of the ST that the query does not have, as bags over the
 * visible columns (types without equality by text; float aggregates within tolerance).
 */
extern char *pgt_view_verify_sql(PgtView *view, const PgtTarget *target);

#endif /* PGT_VIEW_H */
