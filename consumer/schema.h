/*
 * schema.h - which version the extension's schema has in this database, and what that means for us.  Pure.
 *
 * One consumer serves the schema of its own version and that of the version before: libraries and daemon are replaced first,
 * ALTER EXTENSION UPDATE comes later, database by database.  Until then captured rows carry no changed_columns and the policy
 * of self-monitoring rests.  A newer schema may mean things that this program does not know, so it is refused.
 */
#ifndef PGT_SCHEMA_H
#define PGT_SCHEMA_H

#include <stdbool.h>

#include "consumer/err.h"

typedef struct PgtSchema
{
	char version[32];
	bool masks; /* rows have the field changed_columns */
} PgtSchema;

/* two columns, one row: the schema's version, and whether sources are registered with a mask */
extern const char pgt_schema_sql[];

/* two texts as pgt_schema_sql returns them */
extern void pgt_schema_set(PgtSchema *schema, const char *version, const char *masks);

/* <0, 0, >0 as versions "1.2.3" go; a text that is no version is lower than any */
extern int pgt_version_compare(const char *a, const char *b);

/* is it ours, policy and all? */
extern bool pgt_schema_is_current(const PgtSchema *schema);

/* NULL: we can serve it.  Else err, filled */
extern const PgtErr *pgt_schema_refuse(const PgtSchema *schema, PgtErr *err);

#endif /* PGT_SCHEMA_H */
