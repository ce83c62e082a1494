/*
 * storage.c - the physical side of an ST: table, indexes, guard trigger, and the buffer its own readers consume.
 *
 * The table is an ordinary table of the user who creates the ST, made by ordinary DDL with that user's rights, so that dump,
 * grants, ALTER OWNER and everything else a DBA knows works on it.  Three things make it ours: a statement trigger that
 * refuses DML by hand, a NORMAL dependency on the extension (so DROP EXTENSION names the ST and CASCADE takes it along), and
 * its row in the catalog.  The trigger is dumped after the data, so a restore's COPY meets no guard.
 *
 * Buffers are members of the extension: pg_dump must not copy them, since what they hold means nothing to another server.
 *
 * Statements are generated from quoted names and run through SPI.  Table statements run as the current user, who must own the
 * table; buffer statements switch to the extension's owner by themselves.  Callers hold the locks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "compat.h"
#include "ddl.h"
#include "guc.h"
#include "storage.h"

#define GUARD_TRIGGER "__pgt_guard"
#define HIDDEN_PREFIX "__pgt_"

/* HOT updates need free space on the page: most refreshes of aggregates update rows in place. */
#define STORAGE_FILLFACTOR 75

/* ---------- statements ---------- */

static void
run_utility(const char *sql)
{
	int rc;

	SPI_connect();
	rc = pgt_run_own_ddl(sql);
	if (rc < 0)
		elog(ERROR, "statement failed (%s): %s", SPI_result_code_string(rc), sql);
	SPI_finish();
	CommandCounterIncrement();
}

static char *
qualified_name(Oid relid)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		elog(ERROR, "relation %u does not exist", relid);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

static char *
qualified_collation(Oid collation)
{
	HeapTuple tup = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;
	char *result;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tup);
	result = quote_qualified_identifier(get_namespace_name(form->collnamespace), NameStr(form->collname));
	ReleaseSysCache(tup);
	return result;
}

static void
append_column(StringInfo sql, const PgtViewColumn *col)
{
	Oid natural = get_typcollation(col->type);

	appendStringInfo(sql, "%s %s", quote_identifier(col->name),
					 format_type_extended(col->type, col->typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(natural) && !OidIsValid(col->collation))
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_COLLATION),
				 errmsg("no collation was derived for column \"%s\"", col->name),
				 errhint("Use the COLLATE clause in the query to set the collation explicitly.")));
	if (OidIsValid(col->collation) && col->collation != natural)
		appendStringInfo(sql, " COLLATE %s", qualified_collation(col->collation));
}

/* What CREATE TABLE would not refuse by itself. */
static void
check_columns(const PgtView *view)
{
	int visible = 0;

	for (int i = 0; i < view->ncolumns; i++)
	{
		const PgtViewColumn *col = &view->columns[i];

		if (col->hidden)
			continue;
		visible++;
		if (strncmp(col->name, HIDDEN_PREFIX, strlen(HIDDEN_PREFIX)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_RESERVED_NAME),
					 errmsg("column name \"%s\" is reserved", col->name),
					 errdetail("Names that begin with \"%s\" belong to pg_trickle.", HIDDEN_PREFIX),
					 errhint("Give the column another name with AS.")));
	}
	if (visible == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the defining query of a stream table must have at least one column")));
}

/* ---------- the table ---------- */

static ObjectAddress
extension_address(void)
{
	ObjectAddress address;

	ObjectAddressSet(address, ExtensionRelationId, get_extension_oid("pg_trickle", false));
	return address;
}

static void
depend_on_extension(Oid relid, DependencyType type)
{
	ObjectAddress table,
		extension = extension_address();

	ObjectAddressSet(table, RelationRelationId, relid);
	recordDependencyOn(&table, &extension, type);
}

static bool
has_guard(Oid relid)
{
	return OidIsValid(get_trigger_oid(relid, GUARD_TRIGGER, true));
}

static void
make_guard(const char *table)
{
	run_utility(psprintf("CREATE TRIGGER " GUARD_TRIGGER " BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s"
						 " FOR EACH STATEMENT EXECUTE FUNCTION pgtrickle._refuse_dml()",
						 table));
}

void
pgt_storage_protect(Oid relid)
{
	ObjectAddress extension = extension_address();

	if (!has_guard(relid))
		make_guard(qualified_name(relid));
	/* a second NORMAL dependency would do no harm, but would pile up with every restore */
	deleteDependencyRecordsForSpecific(RelationRelationId, relid, DEPENDENCY_NORMAL, extension.classId, extension.objectId);
	depend_on_extension(relid, DEPENDENCY_NORMAL);
}

Oid
pgt_storage_create(const char *schema, const char *name, const PgtView *view)
{
	char *table = quote_qualified_identifier(schema, name);
	StringInfoData sql;
	Oid relid;

	check_columns(view);
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (int i = 0; i < view->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(&sql, ", ");
		append_column(&sql, &view->columns[i]);
	}
	appendStringInfo(&sql, ") WITH (fillfactor = %d)", STORAGE_FILLFACTOR);
	run_utility(sql.data);
	relid = get_relname_relid(name, get_namespace_oid(schema, false));
	pgt_storage_protect(relid);
	return relid;
}

/* Index statements carry %s for the table, and %% for a percent sign of a user's name. */
static char *
index_statement(const char *pattern, const char *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (const char *at = pattern; *at != '\0'; at++)
	{
		if (at[0] == '%' && at[1] == 's')
			appendStringInfoString(&sql, table);
		else
			appendStringInfoChar(&sql, *at);
		if (at[0] == '%')
			at++;
	}
	return sql.data;
}

void
pgt_storage_create_indexes(Oid relid, const PgtView *view)
{
	char *table = qualified_name(relid);
	Relation rel = relation_open(relid, AccessShareLock);
	bool have = RelationGetIndexList(rel) != NIL;
	ListCell *lc;

	relation_close(rel, NoLock);
	if (have || !pgt_guc_auto_index)
		return;
	foreach (lc, view->indexes)
		run_utility(index_statement((const char *) lfirst(lc), table));
}

static bool
same_column(Form_pg_attribute att, const PgtViewColumn *col)
{
	return strcmp(NameStr(att->attname), col->name) == 0 && att->atttypid == col->type && att->atttypmod == col->typmod &&
		   att->attcollation == col->collation;
}

/* How many leading columns of the table are these; *live is the number of columns the table has. */
static int
common_prefix(Oid relid, const PgtViewColumn *columns, int ncolumns, int *live)
{
	Relation rel = relation_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	int same = 0;
	bool differs = false;

	*live = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		(*live)++;
		if (!differs && same < ncolumns && same_column(att, &columns[same]))
			same++;
		else
			differs = true;
	}
	relation_close(rel, NoLock);
	return same;
}

bool
pgt_storage_matches(Oid relid, const PgtView *view)
{
	int live;

	return common_prefix(relid, view->columns, view->ncolumns, &live) == view->ncolumns && live == view->ncolumns;
}

/* DROP COLUMN for the live columns behind the first `keep`. */
static void
append_drops(StringInfo sql, Oid relid, int keep)
{
	Relation rel = relation_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	int seen = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && seen++ >= keep)
			appendStringInfo(sql, "%sDROP COLUMN %s", sql->len ? ", " : "", quote_identifier(NameStr(att->attname)));
	}
	relation_close(rel, NoLock);
}

static void
drop_indexes(Oid relid)
{
	Relation rel = relation_open(relid, AccessExclusiveLock);
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;

	relation_close(rel, NoLock);
	foreach (lc, indexes)
		run_utility(psprintf("DROP INDEX %s", qualified_name(lfirst_oid(lc))));
}

static void
hint_at_dependents(void *arg)
{
	if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		errhint("The new query does not have this column, or has it in another place or type. Drop the dependent objects first.");
}

void
pgt_storage_reshape(Oid relid, const PgtView *view)
{
	char *table = qualified_name(relid);
	StringInfoData sql;
	int live;
	int keep = common_prefix(relid, view->columns, view->ncolumns, &live);

	check_columns(view);
	run_utility(psprintf("ALTER TABLE %s DISABLE TRIGGER " GUARD_TRIGGER, table));
	run_utility(psprintf("TRUNCATE %s", table));
	run_utility(psprintf("ALTER TABLE %s ENABLE TRIGGER " GUARD_TRIGGER, table));
	drop_indexes(relid);
	initStringInfo(&sql);
	append_drops(&sql, relid, keep);
	for (int i = keep; i < view->ncolumns; i++)
	{
		appendStringInfoString(&sql, sql.len ? ", ADD COLUMN " : "ADD COLUMN ");
		append_column(&sql, &view->columns[i]);
	}
	if (sql.len > 0)
	{
		ErrorContextCallback context = {error_context_stack, hint_at_dependents, NULL};

		error_context_stack = &context;
		run_utility(psprintf("ALTER TABLE %s %s", table, sql.data));
		error_context_stack = context.previous;
	}
}

/* Our own way of saying CASCADE. */
static void
hint_at_cascade(void *arg)
{
	if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		errhint("Use pgtrickle.drop_stream_table(name, cascade => true) to drop the dependent objects too.");
}

void
pgt_storage_drop(Oid relid, bool cascade)
{
	ErrorContextCallback context = {error_context_stack, hint_at_cascade, NULL};

	error_context_stack = &context;
	run_utility(psprintf("DROP TABLE %s %s", qualified_name(relid), cascade ? "CASCADE" : "RESTRICT"));
	error_context_stack = context.previous;
}

/* ---------- buffers ---------- */

void
pgt_storage_add_member(Oid relid)
{
	depend_on_extension(relid, DEPENDENCY_EXTENSION);
	/* else pg_dump would dump the grants of a table that it does not dump */
	recordExtObjInitPriv(relid, RelationRelationId);
}

void
pgt_storage_drop_member(Oid relid)
{
	ObjectAddress table;

	ObjectAddressSet(table, RelationRelationId, relid);
	/* the flag is what lets a member go without its extension */
	performDeletion(&table, DROP_RESTRICT, PERFORM_DELETION_INTERNAL | PERFORM_DELETION_SKIP_EXTENSIONS);
	CommandCounterIncrement();
}

Oid
pgt_storage_buffer(int64 pgt_id)
{
	return get_relname_relid(psprintf("st_" INT64_FORMAT, pgt_id), pgt_changes_namespace());
}

static char *
buffer_columns(Oid st_relid)
{
	Relation rel = relation_open(st_relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "refresh_no int8 NOT NULL, w int4 NOT NULL");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		PgtViewColumn col = {psprintf("c%d", att->attnum), att->atttypid, att->atttypmod, att->attcollation, false};

		if (att->attisdropped || strncmp(NameStr(att->attname), HIDDEN_PREFIX, strlen(HIDDEN_PREFIX)) == 0)
			continue;
		appendStringInfoString(&sql, ", ");
		append_column(&sql, &col);
	}
	relation_close(rel, NoLock);
	return sql.data;
}

Oid
pgt_storage_make_buffer(int64 pgt_id, Oid st_relid)
{
	Oid relid = pgt_storage_buffer(pgt_id);
	PgtCatalogScope scope;

	if (OidIsValid(relid))
		return relid;
	scope = pgt_catalog_begin();
	run_utility(psprintf("CREATE TABLE pgtrickle_changes.st_" INT64_FORMAT " (%s)", pgt_id, buffer_columns(st_relid)));
	run_utility(psprintf("REVOKE ALL ON pgtrickle_changes.st_" INT64_FORMAT " FROM PUBLIC", pgt_id));
	relid = pgt_storage_buffer(pgt_id);
	pgt_storage_add_member(relid);
	pgt_catalog_end(scope);
	return relid;
}

void
pgt_storage_drop_buffer(int64 pgt_id)
{
	Oid relid = pgt_storage_buffer(pgt_id);

	if (OidIsValid(relid))
		pgt_storage_drop_member(relid);
}

void
pgt_storage_remake_buffer(int64 pgt_id, Oid st_relid)
{
	if (!OidIsValid(pgt_storage_buffer(pgt_id)))
		return;
	pgt_storage_drop_buffer(pgt_id);
	pgt_storage_make_buffer(pgt_id, st_relid);
}

/* ---------- inner tables ---------- */

#define INNER_SCHEMA "pgtrickle_inner"

char *
pgt_storage_inner_prefix(int64 pgt_id)
{
	return OidIsValid(get_namespace_oid(INNER_SCHEMA, true)) ? psprintf(INNER_SCHEMA ".st_" INT64_FORMAT "_", pgt_id) : NULL;
}

/* InvalidOid when there is none. */
static Oid
inner_table(int64 pgt_id, int number)
{
	Oid nsp = get_namespace_oid(INNER_SCHEMA, true);

	return OidIsValid(nsp) ? get_relname_relid(psprintf("st_" INT64_FORMAT "_%d", pgt_id, number), nsp) : InvalidOid;
}

static bool
inner_fits(Oid relid, const PgtInnerTable *table)
{
	int live;

	return OidIsValid(relid) && common_prefix(relid, table->columns, table->ncolumns, &live) == table->ncolumns &&
		   live == table->ncolumns;
}

bool
pgt_storage_inner_ready(int64 pgt_id, const PgtView *view)
{
	for (int i = 0; i < view->ninners; i++)
		if (!inner_fits(inner_table(pgt_id, i + 1), &view->inners[i]))
			return false;
	/* one that the query had and has no more has been left alone since: it must not serve again when the query wants it back */
	return !OidIsValid(inner_table(pgt_id, view->ninners + 1));
}

static Oid
owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Everybody else who was granted something, NIL when there is nobody. */
static void
revoke_from_others(Oid relid, const char *table, Oid keep)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool isnull;
	Datum acl = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	Oid owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	Oid *roles = NULL;
	int n = isnull ? 0 : aclmembers(DatumGetAclP(acl), &roles);

	ReleaseSysCache(tuple);
	for (int i = 0; i < n; i++)
		if (roles[i] != owner && roles[i] != keep && OidIsValid(roles[i]))
			run_utility(psprintf("REVOKE ALL ON %s FROM %s", table, quote_identifier(GetUserNameFromId(roles[i], false))));
}

static void
grant_to(Oid relid, const char *table, Oid role)
{
	revoke_from_others(relid, table, role);
	run_utility(psprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s", table, quote_identifier(GetUserNameFromId(role, false))));
	recordExtObjInitPriv(relid, RelationRelationId);
	CommandCounterIncrement();
}

void
pgt_storage_grant_inner(int64 pgt_id, Oid st_relid)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	Oid relid;

	for (int i = 1; OidIsValid(relid = inner_table(pgt_id, i)); i++)
		grant_to(relid, qualified_name(relid), owner_of(st_relid));
	pgt_catalog_end(scope);
}

/* No event trigger sees REASSIGN OWNED, so refreshes look. */
bool
pgt_storage_follow_owner(const PgtStreamTable *st)
{
	char *now = get_rel_name(st->relid) ? GetUserNameFromId(owner_of(st->relid), false) : st->owner;
	Oid types[2] = {INT8OID, TEXTOID};
	Datum values[2] = {Int64GetDatum(st->id), CStringGetTextDatum(now)};
	PgtCatalogScope scope;

	if (strcmp(now, st->owner) == 0)
		return false;
	pgt_storage_grant_inner(st->id, st->relid);
	scope = pgt_catalog_begin();
	SPI_connect();
	pgt_catalog_exec("UPDATE pgtrickle.pgt_definitions SET pgt_owner = $2, updated_at = now() WHERE pgt_id = $1", 2, types, values, NULL);
	SPI_finish();
	pgt_catalog_end(scope);
	return true;
}

static void
make_inner(const char *name, const PgtInnerTable *table, Oid owner)
{
	StringInfoData sql;
	ListCell *lc;
	Oid relid;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", name);
	for (int i = 0; i < table->ncolumns; i++)
	{
		appendStringInfoString(&sql, i > 0 ? ", " : "");
		append_column(&sql, &table->columns[i]);
	}
	appendStringInfo(&sql, ") WITH (fillfactor = %d)", STORAGE_FILLFACTOR);
	run_utility(sql.data);
	foreach (lc, table->indexes)
		run_utility(index_statement((const char *) lfirst(lc), name));
	run_utility(psprintf("CREATE TRIGGER " GUARD_TRIGGER " BEFORE INSERT OR UPDATE OR DELETE ON %s"
						 " FOR EACH STATEMENT EXECUTE FUNCTION pgtrickle._refuse_dml()",
						 name));
	relid = get_relname_relid(strchr(name, '.') + 1, get_namespace_oid(INNER_SCHEMA, false));
	run_utility(psprintf("REVOKE ALL ON %s FROM PUBLIC", name));
	pgt_storage_add_member(relid);
	grant_to(relid, name, owner);
}

static void
drop_inner_from(int64 pgt_id, int first)
{
	Oid relid;

	for (int i = first; OidIsValid(relid = inner_table(pgt_id, i)); i++)
		pgt_storage_drop_member(relid);
}

bool
pgt_storage_make_inner(int64 pgt_id, Oid st_relid, const PgtView *view, bool empty)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	Oid owner = owner_of(st_relid);
	bool made = false;

	for (int i = 0; i < view->ninners; i++)
	{
		Oid relid = inner_table(pgt_id, i + 1);

		if (!empty && inner_fits(relid, &view->inners[i]))
			continue;
		if (OidIsValid(relid))
			pgt_storage_drop_member(relid);
		make_inner(psprintf("%s%d", pgt_storage_inner_prefix(pgt_id), i + 1), &view->inners[i], owner);
		made = true;
	}
	drop_inner_from(pgt_id, view->ninners + 1);
	pgt_catalog_end(scope);
	return made;
}

/* Programs join them from the first refresh on, and without statistics the planner would read them whole. */
void
pgt_storage_analyze_inner(int64 pgt_id, const PgtView *view)
{
	PgtCatalogScope scope = pgt_catalog_begin();

	for (int i = 1; i <= view->ninners; i++)
		run_utility(psprintf("ANALYZE %s%d", pgt_storage_inner_prefix(pgt_id), i));
	pgt_catalog_end(scope);
}

void
pgt_storage_drop_inner(int64 pgt_id)
{
	drop_inner_from(pgt_id, 1);
}
