/*
 * ddl_hooks.c - event triggers: what happened to sources and stream tables.
 *
 * One C function behind four event triggers (sql/60_ddl_hooks.sql), which fire for everybody; what it does to the catalog it does as
 * the extension's owner.  It looks at the objects a command has touched, not at its text, and leaves at once when none of them is
 * known to us.  Nothing here catches errors: a hook that fails makes the DDL fail.
 *
 *	ddl_command_end	relations, types, functions, schemas that were altered; new partitions and children
 *	sql_drop			tables, columns, indexes, functions that went, also by cascade
 *	table_rewrite		values may change without row events
 *	ddl_command_start	what the extension goes with: DROP EXTENSION, DROP OWNED, DROP SCHEMA: uninstall.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/deparse_utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "compat.h"
#include "ddl.h"
#include "source.h"

PG_FUNCTION_INFO_V1(pgt_ddl_hook);

static bool own_ddl = false;

int
pgt_run_own_ddl(const char *sql)
{
	bool before = own_ddl;
	volatile int rc = 0;

	own_ddl = true;
	PG_TRY();
	{
		rc = SPI_execute(sql, false, 0);
	}
	PG_FINALLY();
	{
		own_ddl = before;
	}
	PG_END_TRY();
	return rc;
}

/* ---------- ddl_command_end ---------- */

/* A row of pg_event_trigger_ddl_commands(). */
typedef struct Command
{
	Oid classid;
	Oid objid;
	char *tag;
	char *identity;
	CollectedCommand *collected;
} Command;

static char *
copied_column(HeapTuple row, int col, MemoryContext cxt)
{
	char *v = SPI_getvalue(row, SPI_tuptable->tupdesc, col);

	return v ? MemoryContextStrdup(cxt, v) : NULL;
}

static List *
read_commands(void)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *commands = NIL;

	SPI_connect();
	pgt_catalog_exec("SELECT classid, objid, command_tag, object_identity, command FROM pg_catalog.pg_event_trigger_ddl_commands()",
					 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		Command *c = MemoryContextAllocZero(cxt, sizeof(Command));
		bool isnull;
		Datum d;

		c->classid = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		c->objid = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		c->tag = copied_column(row, 3, cxt);
		c->identity = copied_column(row, 4, cxt);
		d = SPI_getbinval(row, SPI_tuptable->tupdesc, 5, &isnull);
		c->collected = isnull ? NULL : (CollectedCommand *) DatumGetPointer(d);
		MemoryContextSwitchTo(cxt);
		commands = lappend(commands, c);
	}
	SPI_finish();
	return commands;
}

/* The ALTER TABLE subcommands of a command: CollectedATSubcmd *. */
static List *
subcommands(const Command *c)
{
	return c->collected && c->collected->type == SCT_AlterTable ? c->collected->d.alterTable.subcmds : NIL;
}

static AlterTableType
subtype(const CollectedATSubcmd *sub)
{
	return castNode(AlterTableCmd, sub->parsetree)->subtype;
}

static bool
has_subcommand(const Command *c, AlterTableType type)
{
	ListCell *lc;

	foreach (lc, subcommands(c))
	{
		if (subtype(lfirst(lc)) == type)
			return true;
	}
	return false;
}

/* What an owner may do to a stream table's table himself: nothing that a refresh could trip over. */
static bool
allowed_on_st(AlterTableType type)
{
	switch (type)
	{
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_ChangeOwner:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_SetTableSpace:
		case AT_SetAccessMethod:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_ReplaceRelOptions:
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_EnableTrigAll:
		case AT_EnableTrigUser:
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
			return true;
		default:
			return false;
	}
}

static void
refuse_alter_st(const PgtStreamTable *st)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("cannot alter the structure of stream table %s", quote_qualified_identifier(st->schema, st->name)),
			 errdetail("Its columns are those of its defining query."),
			 errhint("Use pgtrickle.alter_stream_table() to change the query, and CREATE INDEX for more indexes.")));
}

static void
altered_st(const Command *c, PgtStreamTable *st)
{
	Node *stmt = c->collected ? c->collected->parsetree : NULL;
	ListCell *lc;

	if (stmt && IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType != OBJECT_TABLE &&
		((RenameStmt *) stmt)->renameType != OBJECT_VIEW)
		refuse_alter_st(st);
	foreach (lc, subcommands(c))
	{
		if (!allowed_on_st(subtype(lfirst(lc))))
			refuse_alter_st(st);
	}
	pgt_follow_names();
}

/*
 * The other table of a membership command: ATTACH and DETACH name the child in the parent's command, INHERIT and NO INHERIT the
 * parent in the child's.
 */
static Oid
other_table(const AlterTableCmd *cmd)
{
	RangeVar *name = IsA(cmd->def, PartitionCmd) ? castNode(PartitionCmd, cmd->def)->name : castNode(RangeVar, cmd->def);

	return RangeVarGetRelid(name, NoLock, false);
}

static void
membership_changes(const Command *c)
{
	ListCell *lc;

	foreach (lc, subcommands(c))
	{
		AlterTableCmd *cmd = castNode(AlterTableCmd, ((CollectedATSubcmd *) lfirst(lc))->parsetree);

		switch (cmd->subtype)
		{
			case AT_AttachPartition:
				pgt_reconcile_member(pgt_source_roots(c->objid), other_table(cmd), PGT_MEMBER_JOINED);
				break;
			case AT_DetachPartition:
			case AT_DetachPartitionFinalize:
				pgt_reconcile_member(pgt_source_roots(c->objid), other_table(cmd), PGT_MEMBER_LEFT);
				break;
			case AT_AddInherit:
				pgt_reconcile_member(pgt_source_roots(other_table(cmd)), c->objid, PGT_MEMBER_JOINED);
				break;
			case AT_DropInherit:
				pgt_reconcile_member(pgt_source_roots(other_table(cmd)), c->objid, PGT_MEMBER_LEFT);
				break;
			default:
				break;
		}
	}
}

/* A change of a table changes its children too, and they can be sources of their own. */
static void
altered_children(Oid relid)
{
	List *sources = pgt_source_list();
	ListCell *lc;

	if (sources == NIL || !has_subclass(relid))
		return;
	foreach (lc, find_all_inheritors(relid, NoLock, NULL))
	{
		Oid child = lfirst_oid(lc);

		if (child != relid && list_member_oid(sources, child))
			pgt_reconcile_source(child, child, false);
	}
}

static void
altered_table(const Command *c)
{
	PgtStreamTable *st = pgt_st_by_relid(c->objid);
	ListCell *lc;

	if (st != NULL)
		altered_st(c, st);
	membership_changes(c);
	foreach (lc, pgt_source_roots(c->objid))
		pgt_reconcile_source(lfirst_oid(lc), c->objid, has_subcommand(c, AT_ReplicaIdentity));
	altered_children(c->objid);
}

static void
created_table(const Command *c)
{
	List *roots = pgt_source_roots(c->objid);

	if (roots != NIL)
		pgt_reconcile_member(roots, c->objid, PGT_MEMBER_BORN);
}

/* Does the command give something a new name, which queries mention by name?  An enum's label is one as well. */
static bool
is_rename(const Command *c)
{
	Node *stmt = c->collected ? c->collected->parsetree : NULL;

	return stmt && (IsA(stmt, RenameStmt) || IsA(stmt, AlterObjectSchemaStmt) || IsA(stmt, AlterEnumStmt));
}

static void
command_done(const Command *c)
{
	if (c->classid == RelationRelationId && get_rel_relkind(c->objid) == RELKIND_COMPOSITE_TYPE)
		pgt_reconcile_type(get_rel_type_id(c->objid));
	else if (c->classid == RelationRelationId && strcmp(c->tag, "CREATE VIEW") == 0)
	{
		/* a redefined view is reported twice, once for its options and columns */
		if (c->collected && c->collected->type == SCT_Simple)
			pgt_reconcile_view(c->objid);
	}
	else if (c->classid == RelationRelationId)
	{
		if (strncmp(c->tag, "CREATE", 6) == 0)
			created_table(c);
		else
			altered_table(c);
	}
	else if (c->classid == TypeRelationId)
		pgt_reconcile_type(c->objid);
	else if (c->classid == ProcedureRelationId && !is_rename(c))
		pgt_reconcile_function(c->identity, false);

	if (is_rename(c))
		pgt_follow_names();
}

static void
ddl_command_end(void)
{
	ListCell *lc;

	if (own_ddl)
		return;
	foreach (lc, read_commands())
		command_done(lfirst(lc));
}

/* ---------- sql_drop ---------- */

typedef struct Dropped
{
	Oid classid;
	Oid objid;
	int objsubid;
	char *type;
	char *identity;
} Dropped;

static List *
read_dropped(void)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *dropped = NIL;

	SPI_connect();
	pgt_catalog_exec("SELECT classid, objid, objsubid, object_type, object_identity FROM pg_catalog.pg_event_trigger_dropped_objects()"
					 " WHERE NOT is_temporary",
					 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		Dropped *d = MemoryContextAllocZero(cxt, sizeof(Dropped));
		bool isnull;

		d->classid = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		d->objid = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		d->objsubid = DatumGetInt32(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &isnull));
		d->type = copied_column(row, 4, cxt);
		d->identity = copied_column(row, 5, cxt);
		MemoryContextSwitchTo(cxt);
		dropped = lappend(dropped, d);
	}
	SPI_finish();
	return dropped;
}

/* A column went from a table that stays; the table may be an ST, a source, or a member of a source's family. */
static void
column_dropped(const Dropped *d)
{
	PgtStreamTable *st;
	ListCell *lc;

	if (own_ddl || get_rel_name(d->objid) == NULL)
		return;
	st = pgt_st_by_relid(d->objid);
	if (st != NULL)
		refuse_alter_st(st);
	foreach (lc, pgt_source_roots(d->objid))
		pgt_reconcile_source(lfirst_oid(lc), d->objid, false);
}

static bool
is_index(const Dropped *d)
{
	return strcmp(d->type, "index") == 0;
}

static void
object_dropped(const Dropped *d)
{
	if (d->classid == ProcedureRelationId)
		pgt_reconcile_function(d->identity, true);
	else if (d->classid == RelationRelationId && d->objsubid != 0)
		column_dropped(d);
	else if (d->classid == RelationRelationId && !is_index(d))
		pgt_reconcile_dropped(d->objid, d->identity);
}

static void
sql_drop(void)
{
	List *dropped = read_dropped();
	bool index_gone = false;
	ListCell *lc;

	foreach (lc, dropped)
	{
		Dropped *d = lfirst(lc);

		if (d->classid == RelationRelationId && d->objsubid == 0 && !is_index(d))
			pgt_reconcile_dropped_st(d->objid);
		index_gone |= is_index(d);
	}
	foreach (lc, dropped)
		object_dropped(lfirst(lc));
	if (index_gone)
		pgt_reconcile_identities();
}

/* ---------- table_rewrite ---------- */

static void
table_rewrite(void)
{
	Oid relid = InvalidOid;
	ListCell *lc;

	SPI_connect();
	if (pgt_catalog_exec("SELECT pg_catalog.pg_event_trigger_table_rewrite_oid()", 0, NULL, NULL, NULL) > 0)
	{
		bool isnull;

		relid = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	foreach (lc, pgt_source_roots(relid))
		pgt_source_event(lfirst_oid(lc), "rewrite", psprintf("table %s was rewritten", get_rel_name(relid)));
}

/* ---------- what takes the extension along: uninstall.c ---------- */

/* Is something of this role's what the extension cannot be without? */
#define OWNED_BY                                                                                           \
	"SELECT e.oid FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace" \
	" WHERE e.extname IN ('pg_trickle', 'plpgsql') AND $1 IN (e.extowner, n.nspowner)"
/* Is it the schema that CREATE EXTENSION was run in? */
#define IN_SCHEMA                                                                                               \
	"SELECT n.nspowner FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace" \
	" WHERE e.extname = 'pg_trickle' AND n.nspname = $1"

/* The command locks nothing of ours for somebody whom it will be refused. */
static bool
acts_for(Oid role)
{
	return has_privs_of_role(GetUserId(), role);
}

static bool
owned_drop_takes_us(const DropOwnedStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->roles)
	{
		Oid role = get_rolespec_oid(lfirst(lc), true);

		if (OidIsValid(role) && acts_for(role) && pgt_catalog_oids(OWNED_BY, OIDOID, ObjectIdGetDatum(role)) != NIL)
			return true;
	}
	return false;
}

static bool
drop_takes_us(const DropStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->objects)
	{
		if (stmt->removeType == OBJECT_EXTENSION)
		{
			const char *name = strVal(lfirst(lc));

			/* some of our functions are in PL/pgSQL */
			if (strcmp(name, "pg_trickle") == 0 || (strcmp(name, "plpgsql") == 0 && stmt->behavior == DROP_CASCADE))
				return true;
		}
		else if (stmt->removeType == OBJECT_SCHEMA && stmt->behavior == DROP_CASCADE)
		{
			List *owners = pgt_catalog_oids(IN_SCHEMA, TEXTOID, CStringGetTextDatum(strVal(lfirst(lc))));

			if (owners != NIL && acts_for(linitial_oid(owners)))
				return true;
		}
	}
	return false;
}

static bool
drops_our_extension(Node *parsetree)
{
	if (IsA(parsetree, DropOwnedStmt))
		return owned_drop_takes_us((DropOwnedStmt *) parsetree);
	return IsA(parsetree, DropStmt) && drop_takes_us((DropStmt *) parsetree);
}

/* ---------- dispatch ---------- */

Datum
pgt_ddl_hook(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by event trigger manager", "_ddl_hook")));
	if (strcmp(data->event, "ddl_command_end") == 0)
		ddl_command_end();
	else if (strcmp(data->event, "sql_drop") == 0)
		sql_drop();
	else if (strcmp(data->event, "table_rewrite") == 0)
		table_rewrite();
	else if (drops_our_extension(data->parsetree))
		pgt_before_drop_extension();
	return PointerGetDatum(NULL);
}
