/*
 * api.h - what the SQL functions of the life of a stream table share.
 */
#ifndef PGT_API_H
#define PGT_API_H

#include "postgres.h"
#include "api_options.h"
#include "catalog.h"
#include "name.h"
#include "view.h"

/* The schema where this name would be created; errors unless the current user may create tables there. */
extern char *pgt_creation_schema(const PgtName *name, Oid *existing);

/* "schema.name", quoted where needed, for messages and statements. */
extern char *pgt_st_label(const PgtStreamTable *st);

/* Keep refreshes and other definers of this ST out until the transaction ends, then read its row again. */
extern PgtStreamTable *pgt_st_lock(const PgtStreamTable *st);

/* The ST named by the first argument of a SQL function. */
extern PgtStreamTable *pgt_st_argument(FunctionCallInfo fcinfo);
extern Oid pgt_relation_owner(Oid relid);

/* Create; returns pgt_id. */
extern int64 pgt_create(const PgtOptions *options);
extern void pgt_alter(PgtStreamTable *st, const PgtOptions *options);
extern void pgt_drop(PgtStreamTable *st, bool cascade);

/* 0A000 when the mode is DIFFERENTIAL and the query is not incremental, a NOTICE for the other modes. */

extern void pgt_check_mode(const char *refresh_mode, const char *full_reason, const char *full_hint);

extern void pgt_suspend(PgtStreamTable *st);
extern void pgt_resume(PgtStreamTable *st);

/* Fill the ST now if that is allowed (size, slot, upstream), else say who will. */
extern void pgt_fill(int64 pgt_id, const PgtView *view, bool initialize);

#endif /* PGT_API_H */
