/*
 * self_api.c - C functions of self-monitoring (sql/70_self_monitoring.sql).
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "rewire.h"
#include "self_threshold.h"

PG_FUNCTION_INFO_V1(pgt_self_recommended_threshold);
PG_FUNCTION_INFO_V1(pgt_self_lock);

static double
known_or_nan(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NAN : PG_GETARG_FLOAT8(arg);
}

/* recommended_threshold(avg_diff_ms, avg_full_ms, current) → float8, never NULL */
Datum
pgt_self_recommended_threshold(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(pgt_recommended_threshold(known_or_nan(fcinfo, 0), known_or_nan(fcinfo, 1), known_or_nan(fcinfo, 2)));
}

/* _lock_stream_tables(pgt_ids int8[]): nobody refreshes them until the transaction ends */
Datum
pgt_self_lock(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	int64 *values = (int64 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	List *ids = NIL;

	if (ARR_HASNULL(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("array must not contain nulls")));
	for (int i = 0; i < n; i++)
		ids = lappend(ids, &values[i]);
	pgt_wire_lock(ids, NIL);
	PG_RETURN_VOID();
}
