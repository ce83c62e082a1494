/*
 * api_name.c - where a stream table is created, what it is called in messages, and who may touch it now.
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "api.h"
#include "compat.h"

char *
pgt_creation_schema(const PgtName *name, Oid *existing)
{
	RangeVar *rv = makeRangeVar(name->schema, name->name, -1);
	Oid nsp = RangeVarGetAndCheckCreationNamespace(rv, NoLock, existing);
	char *schema = get_namespace_name(nsp);

	if (isAnyTempNamespace(nsp))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("stream tables cannot be temporary"),
				 errdetail("They are refreshed by other sessions."),
				 errhint("Create \"%s\" in an ordinary schema.", name->name)));
	if (strcmp(schema, "pgtrickle_changes") == 0 || IsCatalogNamespace(nsp))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_NAME),
				 errmsg("stream tables cannot be created in schema \"%s\"", schema),
				 errhint("Create \"%s\" in a schema of your own.", name->name)));
	return schema;
}

char *
pgt_st_label(const PgtStreamTable *st)
{
	return quote_qualified_identifier(st->schema, st->name);
}

PgtStreamTable *
pgt_st_lock(const PgtStreamTable *st)
{
	PgtStreamTable *now;

	/* the lock refreshes take: an object lock on the ST's number, not on its table (see refresh.c) */
	LockDatabaseObject(pgt_catalog_relid("pgt_definitions"), (Oid) st->id, 0, AccessExclusiveLock);
	now = pgt_st_by_id(st->id);
	if (now == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table %s was dropped", pgt_st_label(st))));
	return now;
}
