/* placeholder */
#include "postgres.h"
#include "fmgr.h"
PG_FUNCTION_INFO_V1(pgt_restore_stream_tables);
Datum
pgt_restore_stream_tables(PG_FUNCTION_ARGS)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("restore_stream_tables is not built yet")));
}
