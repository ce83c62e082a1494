/*
 * settings.c - pinned session settings (see settings.h).
 *
 * to_char(ts, …), a cast of timestamptz to date, a float's text: their results depend on the session.  An ST that two sessions
 * refresh must not depend on which of them does, so creation stores these settings, and every refresh and verification runs
 * under them.  search_path is not among them: stored queries are deparsed with every name qualified.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "settings.h"

static const char *const pinned[] = {
	"TimeZone",
	"DateStyle",
	"IntervalStyle",
	"extra_float_digits",
	"bytea_output",
	"lc_monetary",
	"lc_numeric",
	"lc_time",
	"default_text_search_config",
	"xmloption",
};

char *
pgt_settings_capture(void)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; i < lengthof(pinned); i++)
	{
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		escape_json(&buf, pinned[i]);
		appendStringInfoString(&buf, ": ");
		escape_json(&buf, GetConfigOption(pinned[i], false, false));
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

static void
set_if_different(const char *name, const char *value)
{
	const char *current = GetConfigOption(name, true, false);

	if (current == NULL || strcmp(current, value) != 0)
		(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
apply_settings(const char *settings)
{
	Jsonb *jb;
	JsonbIterator *it;
	JsonbValue v;
	JsonbIteratorToken token;
	char *name = NULL;

	if (settings == NULL)
		return;
	jb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(settings)));
	it = JsonbIteratorInit(&jb->root);
	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && name && v.type == jbvString)
			set_if_different(name, pnstrdup(v.val.string.val, v.val.string.len));
	}
}

PgtOwnerScope
pgt_owner_begin(const PgtStreamTable *st)
{
	PgtOwnerScope scope;
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(st->relid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table of stream table %s does not exist any more", quote_qualified_identifier(st->schema, st->name))));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	GetUserIdAndSecContext(&scope.userid, &scope.sec_context);
	SetUserIdAndSecContext(owner, scope.sec_context | SECURITY_RESTRICTED_OPERATION);
	scope.guc_nest = NewGUCNestLevel();
	set_if_different("search_path", "pg_catalog, pg_temp");
	apply_settings(st->settings);
	return scope;
}

void
pgt_owner_end(PgtOwnerScope scope)
{
	AtEOXact_GUC(false, scope.guc_nest);
	SetUserIdAndSecContext(scope.userid, scope.sec_context);
}
