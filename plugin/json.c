/*
 * json.c - one readable line per message, for pg_recvlogical -o format=json.
 *
 * For people and for golden tests: the same messages in the same order as the frames carry, names instead of OIDs, and
 * nothing that differs from run to run unless it is asked for (include_xid, include_lsn).  Values are printed by their types'
 * output functions under pinned settings.  Speed does not matter here.
 */
#include "plugin/plugin.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"

static void
write_line(PgtSession *s, StringInfo line)
{
	appendStringInfoChar(line, '}');
	pgt_write(s, line->data, line->len);
}

static void
start_line(PgtSession *s, StringInfo line, const char *message)
{
	initStringInfo(line);
	appendStringInfo(line, "{\"message\":\"%s\"", message);
	if (s->opt.include_xid && s->begun)
		appendStringInfo(line, ",\"xid\":\"" UINT64_FORMAT "\"", s->xid);
}

static void
add_string(StringInfo line, const char *name, const char *value)
{
	appendStringInfo(line, ",\"%s\":", name);
	escape_json(line, value);
}

static void
add_lsn(StringInfo line, const char *name, XLogRecPtr lsn)
{
	appendStringInfo(line, ",\"%s\":\"%X/%X\"", name, LSN_FORMAT_ARGS(lsn));
}

static void
add_relation(StringInfo line, PgtRoot *root)
{
	add_string(line, "schema", root->schema);
	add_string(line, "table", root->name);
}

void
pgt_json_begin(PgtSession *s)
{
	StringInfoData line;

	start_line(s, &line, "begin");
	write_line(s, &line);
}

void
pgt_json_relation(PgtSession *s, PgtRoot *root)
{
	StringInfoData line;

	start_line(s, &line, "relation");
	add_relation(&line, root);
	appendStringInfo(&line, ",\"gen\":%d,\"columns\":[", root->gen);
	for (int i = 0; i < root->ncols; i++)
	{
		if (i > 0)
			appendStringInfoChar(&line, ',');
		if (root->colnames[i] != NULL)
			escape_json(&line, root->colnames[i]);
		else
			appendStringInfoString(&line, "null");
	}
	appendStringInfoChar(&line, ']');
	write_line(s, &line);
}

/* Numbers and booleans as JSON has them; everything else as a string. */
static void
add_value(StringInfo line, const PgtColumn *col, Datum value)
{
	char *text;

	if (col->typid == BOOLOID)
	{
		appendStringInfoString(line, DatumGetBool(value) ? "true" : "false");
		return;
	}
	text = OidOutputFunctionCall(col->outfunc, value);
	switch (col->typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			if (strspn(text, "+-0123456789.eE") == strlen(text))
			{
				appendStringInfoString(line, text);
				break;
			}
			/* FALLTHROUGH */
		default:
			escape_json(line, text);
	}
}

static void
add_columns(StringInfo line, PgtTarget *t, const PgtRow *row)
{
	appendStringInfoString(line, ",\"columns\":{");
	for (int i = 0; i < t->ncols; i++)
	{
		PgtColumn *col = &t->cols[i];

		if (i > 0)
			appendStringInfoChar(line, ',');
		escape_json(line, col->name);
		appendStringInfoChar(line, ':');
		if (row->nulls[col->att])
			appendStringInfoString(line, "null");
		else
			add_value(line, col, row->values[col->att]);
	}
	appendStringInfoChar(line, '}');
}

static bool
is_marked(const PgtMask *mask, int bit)
{
	if (mask->bits != NULL)
		return (mask->bits[bit / 8] & (0x80 >> (bit % 8))) != 0;
	return (mask->low & (UINT64CONST(1) << bit)) != 0;
}

static void
add_changed(StringInfo line, PgtTarget *t, const PgtMask *mask)
{
	const char *separator = "";

	appendStringInfoString(line, ",\"changed\":[");
	for (int i = 0; i < t->ncols; i++)
	{
		if (!is_marked(mask, t->cols[i].root_bit))
			continue;
		appendStringInfoString(line, separator);
		escape_json(line, t->cols[i].name);
		separator = ",";
	}
	appendStringInfoChar(line, ']');
}

void
pgt_json_row(PgtSession *s, PgtTarget *t, const PgtRow *row)
{
	StringInfoData line;
	int nest = NewGUCNestLevel();

	set_config_option("DateStyle", "ISO, MDY", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	set_config_option("IntervalStyle", "postgres", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	set_config_option("TimeZone", "UTC", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	set_config_option("bytea_output", "hex", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	set_config_option("extra_float_digits", "1", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	start_line(s, &line, "row");
	add_relation(&line, t->root);
	appendStringInfo(&line, ",\"op\":\"%c\"", row->op);
	if (row->mask != NULL)
		add_changed(&line, t, row->mask);
	if (row->values != NULL)
		add_columns(&line, t, row);
	write_line(s, &line);
	AtEOXact_GUC(false, nest);
}

void
pgt_json_quarantine(PgtSession *s, PgtRoot *root, const char *reason)
{
	StringInfoData line;

	start_line(s, &line, "quarantine");
	add_relation(&line, root);
	add_string(&line, "reason", reason);
	write_line(s, &line);
}

void
pgt_json_commit(PgtSession *s, XLogRecPtr commit_lsn, XLogRecPtr end_lsn)
{
	StringInfoData line;

	start_line(s, &line, "commit");
	if (s->opt.include_lsn)
	{
		add_lsn(&line, "lsn", commit_lsn);
		add_lsn(&line, "end_lsn", end_lsn);
	}
	write_line(s, &line);
}

void
pgt_json_barrier(PgtSession *s, XLogRecPtr end_lsn, bool sync)
{
	StringInfoData line;

	start_line(s, &line, "barrier");
	appendStringInfo(&line, ",\"sync\":%s", sync ? "true" : "false");
	if (s->opt.include_lsn)
		add_lsn(&line, "end_lsn", end_lsn);
	write_line(s, &line);
}
