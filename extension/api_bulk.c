/*
 * api_bulk.c - bulk_create: several stream tables from a JSON array, all or nothing.
 *
 * Items are created in the order given, so that one may read another before it.  An error carries the item's number as its context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "api.h"

PG_FUNCTION_INFO_V1(pgt_bulk_create);

static void
item_context(void *arg)
{
	errcontext("item %d of bulk_create", *(int *) arg);
}

static char *
value_text(const JsonbValue *v, const char *key)
{
	switch (v->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the value of \"%s\" must be a string, a number, true, false or null", key)));
	}
}

static void
read_item(JsonbContainer *item, PgtOptions *options)
{
	JsonbIterator *it = JsonbIteratorInit(item);
	JsonbValue v;
	JsonbIteratorToken token;
	char *key = NULL;

	memset(options, 0, sizeof(*options));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
			pgt_options_from_text(options, key, value_text(&v, key), pgt_create_arguments, pgt_create_nargs);
	}
	pgt_options_defaults(options);
}

static void
create_item(JsonbContainer *item, StringInfo result)
{
	PgtOptions options;
	PgtStreamTable *st;

	read_item(item, &options);
	st = pgt_st_by_id(pgt_create(&options));
	appendStringInfoString(result, "{\"name\": ");
	escape_json(result, pgt_st_label(st));
	appendStringInfo(result, ", \"pgt_id\": " INT64_FORMAT ", \"status\": \"created\", \"populated\": %s}", st->id,
					 st->is_populated ? "true" : "false");
}

Datum
pgt_bulk_create(PG_FUNCTION_ARGS)
{
	Jsonb *definitions = PG_GETARG_JSONB_P(0);
	ErrorContextCallback context;
	StringInfoData result;
	int n;

	if (!JB_ROOT_IS_ARRAY(definitions) || JB_ROOT_IS_SCALAR(definitions))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bulk_create needs an array of objects"),
				 errhint("For example: [{\"name\": \"orders_by_day\", \"query\": \"SELECT ...\", \"schedule\": \"5s\"}].")));
	initStringInfo(&result);
	appendStringInfoChar(&result, '[');
	context.callback = item_context;
	context.arg = &n;
	context.previous = error_context_stack;
	error_context_stack = &context;
	for (n = 1; n <= JB_ROOT_COUNT(definitions); n++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(&definitions->root, n - 1);

		if (item->type != jbvBinary || !JsonContainerIsObject(item->val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("an item of bulk_create must be an object")));
		if (n > 1)
			appendStringInfoString(&result, ", ");
		create_item(item->val.binary.data, &result);
	}
	error_context_stack = context.previous;
	appendStringInfoChar(&result, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(result.data));
}
