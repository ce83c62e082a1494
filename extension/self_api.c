/*
 * self_api.c - C functions of self-monitoring (sql/70_self_monitoring.sql).
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"

#include "self_threshold.h"

PG_FUNCTION_INFO_V1(pgt_self_recommended_threshold);

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
