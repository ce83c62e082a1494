/*
 * records.c - the records of SEARCH DEPTH FIRST and CYCLE, out of the arrays in which their keys are kept (build_search.c).
 *
 * Generated statements call it; it keeps the record's description for the calls of one statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(pgt_records);

typedef struct Records
{
	TupleDesc desc;
	int arrays;
} Records;

static Records *
records_state(FunctionCallInfo fcinfo, ArrayType *names)
{
	Records *state = fcinfo->flinfo->fn_extra;
	FuncExpr *call = (FuncExpr *) fcinfo->flinfo->fn_expr;
	MemoryContext old;
	Datum *name;
	int n;

	if (state != NULL)
		return state;
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &name, NULL, &n);
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	state = palloc(sizeof(Records));
	state->arrays = PG_NARGS() - 1;
	if (call == NULL || !IsA(call, FuncExpr))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("_records() is called by name only")));
	if (n == 0 || n > MaxTupleAttributeNumber || (state->arrays != 1 && state->arrays != n))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("_records() takes one array, or one for each of the %d names", n)));
	state->desc = CreateTemplateTupleDesc(n);
	for (int i = 0; i < n; i++)
	{
		Node *arg = list_nth(call->args, state->arrays == 1 ? 1 : i + 1);
		Oid element = get_base_element_type(exprType(arg));

		if (!OidIsValid(element))
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("_records() takes arrays, not %s", format_type_be(exprType(arg)))));
		TupleDescInitEntry(state->desc, i + 1, TextDatumGetCString(name[i]), element, -1, 0);
		TupleDescInitEntryCollation(state->desc, i + 1, exprCollation(arg));
	}
	pgt_finalize_tupdesc(state->desc);
	state->desc = BlessTupleDesc(state->desc);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

static void
elements_of(Datum array, Datum **values, bool **nulls, int *n)
{
	ArrayType *a = DatumGetArrayTypeP(array);
	int16 len;
	bool byval;
	char align;

	get_typlenbyvalalign(ARR_ELEMTYPE(a), &len, &byval, &align);
	deconstruct_array(a, ARR_ELEMTYPE(a), len, byval, align, values, nulls, n);
}

/*
 * _records(names, array): records of as many elements as there are names, one after the other; _records(names, array, array, ...): one
 * element of each array.  NULL where an array is NULL.
 */
Datum
pgt_records(PG_FUNCTION_ARGS)
{
	Records *state;
	Datum *values[MaxTupleAttributeNumber];
	bool *nulls[MaxTupleAttributeNumber];
	Datum row[MaxTupleAttributeNumber];
	bool isnull[MaxTupleAttributeNumber];
	Datum *out;
	int elements = 0;
	int k;

	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	state = records_state(fcinfo, PG_GETARG_ARRAYTYPE_P(0));
	k = state->desc->natts;
	for (int i = 0; i < state->arrays; i++)
	{
		int n;

		elements_of(PG_GETARG_DATUM(i + 1), &values[i], &nulls[i], &n);
		if (i > 0 && n != elements)
			ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("the arrays are of different lengths")));
		elements = n;
	}
	if (state->arrays == 1)
		elements /= k;
	out = palloc(sizeof(Datum) * Max(elements, 1));
	for (int e = 0; e < elements; e++)
	{
		for (int c = 0; c < k; c++)
		{
			int array = state->arrays == 1 ? 0 : c;
			int at = state->arrays == 1 ? e * k + c : e;

			row[c] = values[array][at];
			isnull[c] = nulls[array][at];
		}
		out[e] = HeapTupleGetDatum(heap_form_tuple(state->desc, row, isnull));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(out, elements, RECORDOID, -1, false, TYPALIGN_DOUBLE));
}
