/*
 * consumer_api.c - the engine's half of what trickle-consumer calls (sql/40_consumer.sql; docs/architecture.md).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/standby.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "barrier.h"
#include "compat.h"
#include "coordination.h"
#include "refresh.h"

PG_FUNCTION_INFO_V1(pgt_consumer_refresh_begin);
PG_FUNCTION_INFO_V1(pgt_consumer_refresh_apply);
PG_FUNCTION_INFO_V1(pgt_consumer_flush_wal);
PG_FUNCTION_INFO_V1(pgt_consumer_log_running_xacts);

static PgtStreamTable *
required_st(int64 id)
{
	PgtStreamTable *st = pgt_st_by_id(id);

	if (st == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("stream table with pgt_id %lld does not exist", (long long) id)));
	return st;
}

/* _refresh_begin(pgt_ids int8[]) → pg_lsn */
Datum
pgt_consumer_refresh_begin(PG_FUNCTION_ARGS)
{
	ArrayType *ids = PG_GETARG_ARRAYTYPE_P(0);
	Datum *elems;
	bool *nulls;
	int n;
	List *sts = NIL;
	XLogRecPtr lsn;

	deconstruct_array(ids, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			sts = lappend(sts, required_st(DatumGetInt64(elems[i])));
	if (sts == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no stream table given")));
	lsn = pgt_refresh_begin(sts, false);
	/* now that nobody can make a group of them any more */
	pgt_check_groups(ids);
	PG_RETURN_LSN(lsn);
}

/* _refresh_apply(pgt_id, initiated_by, due) → one row */
Datum
pgt_consumer_refresh_apply(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = required_st(PG_GETARG_INT64(0));
	PgtRefreshResult result;
	Datum values[9];
	bool nulls[9] = {0};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result = pgt_refresh_apply(st, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2));
	values[0] = CStringGetTextDatum(result.action);
	values[1] = Int64GetDatum(result.rows_inserted);
	values[2] = Int64GetDatum(result.rows_deleted);
	values[3] = Int64GetDatum(result.delta_rows);
	nulls[4] = result.strategy == NULL;
	values[4] = result.strategy ? CStringGetTextDatum(result.strategy) : (Datum) 0;
	values[5] = Float8GetDatum(result.duration_ms);
	values[6] = BoolGetDatum(result.leftover);
	nulls[7] = result.reason == NULL;
	values[7] = result.reason ? CStringGetTextDatum(result.reason) : (Datum) 0;
	nulls[8] = result.next_crossing == DT_NOBEGIN;
	values[8] = TimestampTzGetDatum(result.next_crossing);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* _flush_wal(): what a query has just seen committed is durable when this returns. */
Datum
pgt_consumer_flush_wal(PG_FUNCTION_ARGS)
{
	pgt_barrier_flush_wal();
	PG_RETURN_VOID();
}

/* _log_running_xacts() */
Datum
pgt_consumer_log_running_xacts(PG_FUNCTION_ARGS)
{
	(void) LogStandbySnapshot();
	PG_RETURN_VOID();
}
