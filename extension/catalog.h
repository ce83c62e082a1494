/*
 * catalog.h - reading and writing the extension's own tables (sql/10_catalog.sql).
 *
 * Everything runs as the extension's owner with a pinned search_path, whoever the caller is (pgt_catalog_begin switches, and
 * switches back on pgt_catalog_end; errors unwind by themselves).  Lookups use a fresh snapshot.
 */
#ifndef PGT_CATALOG_H
#define PGT_CATALOG_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct PgtStreamTable
{
	int64 id;
	Oid relid;
	char *schema;
	char *name;
	char *query; /* canonical */
	char *original_query;
	char *schedule;     /* NULL = calculated */
	char *refresh_mode; /* AUTO, FULL, DIFFERENTIAL */
	char *full_reason;  /* NULL = incremental */
	int definition_version;
	TransactionId definition_xmin; /* whose version that is: one that was rolled back is another */
	uint64 names_epoch;            /* counts renames of anything that statements may mention */
	/* state */
	char *status; /* INITIALIZING, ACTIVE, SUSPENDED, ERROR */
	bool is_populated;
	bool needs_reinit;
	char *reinit_reason;
	int64 refresh_no;
	TimestampTz clock;         /* what the contents are as of, where the query reads the clock; DT_NOBEGIN: unknown */
	TimestampTz next_crossing; /* time alone changes nothing before; DT_NOBEGIN: unknown */
	char *fuse_mode;           /* off, on, auto */
	char *fuse_state;          /* armed, blown, disabled */
	double auto_threshold;     /* share of changed rows above which AUTO compares, set by somebody; < 0: not set */
	double max_delta_fraction; /* the same as a hard limit; < 0: none */
	double last_full_ms;       /* of the last load or diff; < 0: unknown */
	char *owner;               /* as recorded: REASSIGN OWNED and ALTER ROLE RENAME pass unseen */
	char *settings;            /* jsonb text: what the query's meaning depends on, pinned at creation (settings.h) */
} PgtStreamTable;

/* Oid of pgtrickle.<name>, or an error that the extension is not installed. */
extern Oid pgt_catalog_relid(const char *name);
extern Oid pgt_changes_namespace(void);
extern Oid pgt_catalog_owner(void);
extern void pgt_catalog_forget(int64 id); /* an ST's definition, edges, state and frontiers; not its table and buffer */
extern void pgt_catalog_notify(void);     /* NOTIFY pgtrickle_catalog: what _consumer_plan() returns has changed */

extern void pgt_names_changed(void); /* compiled statements are forgotten everywhere when this transaction commits */

/* NULL when there is none.  Result in the current memory context. */
extern PgtStreamTable *pgt_st_by_id(int64 id);
extern PgtStreamTable *pgt_st_by_relid(Oid relid);

/*
 * Resolve what a user wrote ("orders_by_day", "sales.orders_by_day", quoted parts as in SQL; unqualified names by search_path).
 * Raises ERRCODE_UNDEFINED_TABLE with a hint when there is no such ST.
 */
extern PgtStreamTable *pgt_st_by_name(const char *name);

/* ERRCODE_INSUFFICIENT_PRIVILEGE unless the current user owns the ST's table (or is a member of its owner). */
extern void pgt_st_check_owner(const PgtStreamTable *st);

/* Edges, sorted. */
extern List *pgt_st_sources(int64 id);  /* of Oid */
extern List *pgt_st_readers(Oid relid); /* of int64 * */

/* Set needs_reinit with a reason (for people: explain_st, history); the first reason stays until a diff has run. */
extern void pgt_st_mark_reinit(int64 id, const char *reason);

/* Switch to the extension's owner and pg_catalog, and back. */
typedef struct PgtCatalogScope
{
	Oid userid;
	int sec_context;
	int guc_nest;
} PgtCatalogScope;
extern PgtCatalogScope pgt_catalog_begin(void);
extern void pgt_catalog_end(PgtCatalogScope scope);

/*
 * One statement through SPI with $n parameters inside an open SPI connection and catalog scope.  types/values/nulls as in
 * SPI_execute_with_args; nargs 0 is allowed.  Raises on anything but the expected SPI code family.  Returns SPI_processed.
 */
extern uint64 pgt_catalog_exec(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls);

/*
 * The same for a SELECT with one parameter, under the latest snapshot plus this transaction's own commands, whatever the
 * isolation level.  `sql` must be a literal: its plan is kept under its address.  Returns SPI_processed.
 */
extern uint64 pgt_catalog_find(const char *sql, Oid type, Datum arg);

/* All rows of such a SELECT, as a List in the current memory context; with an SPI connection and catalog scope of its own. */
typedef void *(*PgtReadRow)(HeapTuple row, TupleDesc desc);
extern List *pgt_catalog_rows(const char *sql, Oid type, Datum arg, PgtReadRow read);
extern List *pgt_catalog_oids(const char *sql, Oid type, Datum arg); /* of the first column */
extern List *pgt_catalog_ids(const char *sql, Oid type, Datum arg);  /* of int64 *, of the first column */

#endif /* PGT_CATALOG_H */
