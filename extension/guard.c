/*
 * guard.c - the trigger that keeps everybody but the engine from writing a stream table.
 *
 * It stands on stream tables only, never on a table of the user's.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "refresh.h"

PG_FUNCTION_INFO_V1(pgt_refuse_dml);

static const char *
verb(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_INSERT(event))
		return "insert into";
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "update";
	if (TRIGGER_FIRED_BY_DELETE(event))
		return "delete from";
	return "truncate";
}

Datum
pgt_refuse_dml(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "_refuse_dml")));
	if (!pgt_refresh_writing())
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot %s stream table \"%s\"", verb(trigger->tg_event), RelationGetRelationName(trigger->tg_relation)),
				 errdetail("Its contents are the result of its defining query."),
				 errhint("Change the tables that the query reads, or the query with pgtrickle.alter_stream_table().")));
	return PointerGetDatum(NULL);
}
