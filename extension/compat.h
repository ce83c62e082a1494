/*
 * compat.h - every difference between PostgreSQL 15, 16, 17 and 18, in one place.
 *
 * Nothing else in the tree tests PG_VERSION_NUM.  Included by plugin and extension after postgres.h.
 */
#ifndef PGT_COMPAT_H
#define PGT_COMPAT_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/walsender.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#if PG_VERSION_NUM < 150000
#error "pg_trickle needs PostgreSQL 15 or later"
#endif

/* 16 replaced the per-catalog ownership checks by one */
#if PG_VERSION_NUM >= 160000
#define pgt_class_ownercheck(relid, roleid) object_ownercheck(RelationRelationId, (relid), (roleid))
#else
#define pgt_class_ownercheck(relid, roleid) pg_class_ownercheck((relid), (roleid))
#endif

/* 17 adds a flush argument to LogLogicalMessage; a non-transactional message assigns no transaction id in any version. */
static inline XLogRecPtr
pgt_log_message(const char *prefix, const char *payload, size_t size)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, payload, size, false, false);
#else
	return LogLogicalMessage(prefix, payload, size, false);
#endif
}

/* 17 adds orstronger. */
static inline bool
pgt_lock_held_by_me(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, mode, false);
#else
	return LockHeldByMe(tag, mode);
#endif
}

/*
 * LockDatabaseObject() without waiting: have we got the lock?  The server's own ConditionalLockDatabaseObject() came to 15, 16 and 17
 * with a minor release; earlier ones are served too.
 */
static inline bool
pgt_try_lock_object(Oid classid, Oid objid, LOCKMODE mode)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, classid, objid, 0);
	if (LockAcquire(&tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	/* what its last holder has committed */
	AcceptInvalidationMessages();
	return true;
}

/* 18 adds deferrable_ok. */
static inline Oid
pgt_primary_key_index(Relation rel)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(rel, false);
#else
	return RelationGetPrimaryKeyIndex(rel);
#endif
}

/* 19 wants descriptors finalized before use; nothing to do up to 18. */
static inline void
pgt_finalize_tupdesc(TupleDesc desc)
{
	(void) desc;
}

/* tuples of a decoded change: wrapped in a ReorderBufferTupleBuf before 17 */
#if PG_VERSION_NUM >= 170000
#define PGT_CHANGE_TUPLE(t) (t)
#else
#define PGT_CHANGE_TUPLE(t) ((t) != NULL ? &(t)->tuple : NULL)
#endif

/* whether an output plugin must itself report progress within long transactions (the core does from 16) */
#define PGT_PROGRESS_BY_PLUGIN (PG_VERSION_NUM < 160000)

/* 18 renamed it and wants it in front: PGT_NORETURN static void f(...) */
#if PG_VERSION_NUM >= 180000
#define PGT_NORETURN pg_noreturn
#else
#define PGT_NORETURN pg_attribute_noreturn()
#endif

/* 16 gave it a planner argument that may be NULL; 18 made grouped expressions Vars of an RTE_GROUP of their own */
#if PG_VERSION_NUM >= 160000
#define pgt_flatten_join_aliases(query, node) flatten_join_alias_vars(NULL, (query), (node))
#else
#define pgt_flatten_join_aliases(query, node) flatten_join_alias_vars((query), (node))
#endif
#if PG_VERSION_NUM >= 180000
#define pgt_flatten_group_exprs(query, node) ((query)->hasGroupRTE ? flatten_group_exprs(NULL, (query), (node)) : (node))
#else
#define pgt_flatten_group_exprs(query, node) (node)
#endif

/* expressions that are group keys but do not stand in the target list */
#if PG_VERSION_NUM >= 180000
#define pgt_entry_group_exprs(rte) ((rte)->rtekind == RTE_GROUP ? (rte)->groupexprs : NIL)
#else
#define pgt_entry_group_exprs(rte) NIL
#endif

/* 16 moved the columns a range table entry reads into a list of its own */
#if PG_VERSION_NUM >= 160000
#define pgt_rte_selected_cols(query, rte) \
	((rte)->perminfoindex == 0 ? NULL : getRTEPermissionInfo((query)->rteperminfos, (rte))->selectedCols)
#else
#define pgt_rte_selected_cols(query, rte) ((rte)->selectedCols)
#endif

/* a query whose range table is replaced by another: 16 keeps permissions beside it, 18 may have an entry for grouped expressions */
#if PG_VERSION_NUM >= 180000
#define pgt_forget_entries(query) ((query)->rteperminfos = NIL, (query)->hasGroupRTE = false)
#elif PG_VERSION_NUM >= 160000
#define pgt_forget_entries(query) ((query)->rteperminfos = NIL)
#else
#define pgt_forget_entries(query) ((void) (query))
#endif

/* 18 has columns that are computed when read */
#if PG_VERSION_NUM >= 180000
#define pgt_attribute_is_virtual(att) ((att)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define pgt_attribute_is_virtual(att) false
#endif

/*
 * From 16 on a walsender can miss the wake-up for WAL flushed between its look at the flush position and its enlisting on a condition
 * variable, and then sleeps until something else happens.  Before, latches left no such gap.
 */
static inline void
pgt_wake_walsenders(void)
{
#if PG_VERSION_NUM >= 160000
	WalSndWakeup(true, true);
#endif
}

/* 18 spread what commands/explain.h was over three headers */
#if PG_VERSION_NUM >= 180000
#define PGT_EXPLAIN_STATE_H "commands/explain_state.h"
#define PGT_EXPLAIN_FORMAT_H "commands/explain_format.h"
#else
#define PGT_EXPLAIN_STATE_H "commands/explain.h"
#define PGT_EXPLAIN_FORMAT_H "commands/explain.h"
#endif

/* 18 adds what RETURNING returns; nothing of ours is inside one.  A macro: only one caller includes the parser's headers. */
#if PG_VERSION_NUM >= 180000
#define pgt_expand_rte(rte, varno, columns) expandRTE((rte), (varno), 0, VAR_RETURNING_DEFAULT, -1, true, NULL, (columns))
#else
#define pgt_expand_rte(rte, varno, columns) expandRTE((rte), (varno), 0, -1, true, NULL, (columns))
#endif

/* Is the column proven NOT NULL?  18 has constraints that hold for new rows only. */
static inline bool
pgt_attribute_notnull(TupleDesc desc, int i)
{
#if PG_VERSION_NUM >= 180000
	return TupleDescCompactAttr(desc, i)->attnullability == ATTNULLABLE_VALID;
#else
	return TupleDescAttr(desc, i)->attnotnull;
#endif
}

/* What a btree operator class says of an operator; false when none knows it.  18 asks all access methods, by comparison types. */
typedef struct PgtBtreeReading
{
	Oid family;
	Oid left; /* operand types within the family */
	Oid right;
	int strategy; /* BT*StrategyNumber, or 6 for <> */
} PgtBtreeReading;

static inline bool
pgt_btree_reading(Oid opno, PgtBtreeReading *result)
{
#if PG_VERSION_NUM >= 180000
	ListCell *lc;

	foreach (lc, get_op_index_interpretation(opno))
	{
		OpIndexInterpretation *reading = lfirst(lc);

		/* comparison types have the numbers of btree's strategies */
		if (get_opfamily_method(reading->opfamily_id) != BTREE_AM_OID)
			continue;
		*result = (PgtBtreeReading){reading->opfamily_id, reading->oplefttype, reading->oprighttype, (int) reading->cmptype};
		return true;
	}
	return false;
#else
	List *readings = get_op_btree_interpretation(opno);
	OpBtreeInterpretation *reading;

	if (readings == NIL)
		return false;
	reading = linitial(readings);
	*result = (PgtBtreeReading){reading->opfamily_id, reading->oplefttype, reading->oprighttype, reading->strategy};
	return true;
#endif
}

#endif /* PGT_COMPAT_H */
