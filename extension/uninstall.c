/*
 * uninstall.c - DROP EXTENSION, before anything goes: put back what we changed outside of our own schemas, and leave no replication
 * slot behind that cannot be decoded.
 *
 * The server decodes changes of a user_catalog_table (pgt_sources) only while the table exists, whatever the slot and its plugin: a slot that
 * meets one afterwards fails for ever.  So
 *	our own slot goes at commit, or, in use, stays: the consumer of the next installation skips what is older than it
 *	other slots of the database must have decoded every change of pgt_sources: else the drop is refused
 *	a transaction that has written pgt_sources itself may drop the extension, but not create it again: nobody could skip its changes
 *	without skipping those of the new installation
 *
 * pgt_sources is locked first, as the drop would do in the end: nobody writes it any more, and all who did have committed.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "replication/slot.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"

#include "catalog.h"
#include "ddl.h"
#include "identity.h"
#include "source.h"

PG_FUNCTION_INFO_V1(pgt_check_install);

/* ---------- our own slot ---------- */

static char *slot_to_drop = NULL;

/*
 * Dropping a slot cannot be undone, so it waits until everything else in the transaction has succeeded; and only if the extension
 * is really gone then (a subtransaction may have brought it back).
 */
static void
drop_slot_at_commit(XactEvent event, void *arg)
{
	char *name = slot_to_drop;

	if (name == NULL || (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_ABORT))
		return;
	slot_to_drop = NULL;
	if (event == XACT_EVENT_PRE_COMMIT && !OidIsValid(get_extension_oid("pg_trickle", true)) &&
		SearchNamedReplicationSlot(name, true) != NULL)
		ReplicationSlotDrop(name, true);
	pfree(name);
}

static void
plan_slot_drop(void)
{
	static bool registered = false;
	char *name = NULL;
	bool active = false;

	SPI_connect();
	if (pgt_catalog_exec("SELECT s.slot_name::text, r.active FROM pgtrickle.pgt_slot s"
						 " JOIN pg_catalog.pg_replication_slots r USING (slot_name)",
						 0, NULL, NULL, NULL) > 0)
	{
		bool isnull;

		name = MemoryContextStrdup(TopMemoryContext, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
		active = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_finish();
	if (name != NULL && active)
		ereport(NOTICE,
				(errmsg("replication slot \"%s\" is in use and stays", name),
				 errdetail("It keeps the server from removing WAL."),
				 errhint("Stop trickle-consumer, then run SELECT pg_drop_replication_slot(%s).", quote_literal_cstr(name))));
	else if (name != NULL)
	{
		if (!registered)
			RegisterXactCallback(drop_slot_at_commit, NULL);
		registered = true;
		slot_to_drop = name;
	}
}

/* Identities that could not be put back because somebody was writing. */
static void
name_leftover_identities(void)
{
	SPI_connect();
	pgt_catalog_exec("SELECT relid::regclass::text FROM pgtrickle.pgt_source_identity", 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		ereport(NOTICE,
				(errmsg("table %s is busy and keeps REPLICA IDENTITY FULL",
						SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1))));
	SPI_finish();
}

/* ---------- the slots of others ---------- */

/* Not before the last write of pgt_sources: pages know their last change. */
static XLogRecPtr
registry_lsn(Relation rel)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	XLogRecPtr lsn = InvalidXLogRecPtr;

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Buffer buffer = ReadBuffer(rel, block);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		lsn = Max(lsn, PageGetLSN(BufferGetPage(buffer)));
		UnlockReleaseBuffer(buffer);
	}
	return lsn;
}

/*
 * Slots that have registrations still to decode.  A transaction that is not confirmed keeps restart_lsn before its first record; and who
 * has confirmed all WAL there is has confirmed everything.  Our own transaction nobody can have decoded.
 */
#define LAGGING_SLOTS                                                                                            \
	"SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database()" \
	" AND plugin <> 'pgtrickle_output' AND COALESCE(wal_status, '') <> 'lost'"                                   \
	" AND ($3 OR (restart_lsn <= $1 AND (confirmed_flush_lsn < $2 OR confirmed_flush_lsn IS NULL))) ORDER BY slot_name LIMIT 1"

static void
refuse_lagging_slots(Relation rel)
{
	Oid types[3] = {PG_LSNOID, PG_LSNOID, BOOLOID};
	Datum values[3] = {LSNGetDatum(registry_lsn(rel)), LSNGetDatum(GetXLogInsertRecPtr()), BoolGetDatum(pgt_source_registry_written())};

	SPI_connect();
	if (pgt_catalog_exec(LAGGING_SLOTS, 3, types, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("extension pg_trickle cannot be dropped now: replication slot \"%s\" would become unusable",
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
				 errdetail("Its decoding has yet to pass registrations of sources, which the server can read only as long as the extension exists."),
				 errhint("%s", pgt_source_registry_written()
								   ? "Commit what this transaction has done first, let the slot catch up, and drop the extension then."
								   : "Run CHECKPOINT, let the slot catch up, and drop the extension again; or drop the slot if nobody needs it.")));
	SPI_finish();
}

/* ---------- dropped and created again ---------- */

/* The last transaction that dropped the extension after it had written pgt_sources. */
static FullTransactionId wrote_and_dropped;

/* Called by the extension's script. */
Datum
pgt_check_install(PG_FUNCTION_ARGS)
{
	FullTransactionId now = GetTopFullTransactionIdIfAny();

	if (FullTransactionIdIsValid(now) && FullTransactionIdEquals(now, wrote_and_dropped))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension pg_trickle cannot be created again in the transaction that dropped it"),
				 errdetail("The transaction has also registered or released sources; no replication slot could be decoded past it."),
				 errhint("Commit, then create the extension.")));
	PG_RETURN_VOID();
}

void
pgt_before_drop_extension(void)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	Relation registry = table_open(pgt_catalog_relid("pgt_sources"), AccessExclusiveLock);

	refuse_lagging_slots(registry);
	table_close(registry, NoLock);
	if (pgt_source_registry_written())
		wrote_and_dropped = GetTopFullTransactionIdIfAny();
	plan_slot_drop();
	/* pgt_sources itself is not touched: see above */
	pgt_identity_restore_all();
	name_leftover_identities();
	pgt_catalog_end(scope);
}
