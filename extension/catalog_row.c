/*
 * catalog_row.c - one row for one of the extension's tables, built column by column.
 *
 * Which columns a statement touches depends on what the user said; values are always parameters.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "catalog_row.h"

void
pgt_row_add(PgtRow *row, const char *column, Oid type, Datum value, bool isnull)
{
	Assert(row->n < PGT_ROW_MAX);
	row->columns[row->n] = column;
	row->casts[row->n] = "";
	row->types[row->n] = type;
	row->values[row->n] = value;
	row->nulls[row->n] = isnull ? 'n' : ' ';
	row->n++;
}

void
pgt_row_text(PgtRow *row, const char *column, const char *value)
{
	pgt_row_add(row, column, TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

void
pgt_row_jsonb(PgtRow *row, const char *column, const char *json)
{
	pgt_row_text(row, column, json);
	row->casts[row->n - 1] = "::pg_catalog.jsonb";
}

void
pgt_row_int8(PgtRow *row, const char *column, int64 value)
{
	pgt_row_add(row, column, INT8OID, Int64GetDatum(value), false);
}

void
pgt_row_oid(PgtRow *row, const char *column, Oid value)
{
	pgt_row_add(row, column, OIDOID, ObjectIdGetDatum(value), false);
}

void
pgt_row_bool(PgtRow *row, const char *column, bool value)
{
	pgt_row_add(row, column, BOOLOID, BoolGetDatum(value), false);
}

static int64
run(const char *sql, const PgtRow *row, bool returning)
{
	PgtCatalogScope scope = pgt_catalog_begin();
	int64 result = 0;

	SPI_connect();
	pgt_catalog_exec(sql, row->n, (Oid *) row->types, (Datum *) row->values, row->nulls);
	if (returning)
	{
		bool isnull;

		result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}

int64
pgt_row_insert(const PgtRow *row, const char *table, const char *returning)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO pgtrickle.%s (", table);
	for (int i = 0; i < row->n; i++)
		appendStringInfo(&sql, "%s%s", i ? ", " : "", row->columns[i]);
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 0; i < row->n; i++)
		appendStringInfo(&sql, "%s$%d%s", i ? ", " : "", i + 1, row->casts[i]);
	appendStringInfoChar(&sql, ')');
	if (returning)
		appendStringInfo(&sql, " RETURNING %s", returning);
	return run(sql.data, row, returning != NULL);
}

void
pgt_row_update(const PgtRow *row, const char *table, int64 id, const char *extra)
{
	PgtRow with_id = *row;
	StringInfoData sql;

	if (row->n == 0)
		return;
	pgt_row_int8(&with_id, "pgt_id", id);
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE pgtrickle.%s SET ", table);
	for (int i = 0; i < row->n; i++)
		appendStringInfo(&sql, "%s%s = $%d%s", i ? ", " : "", row->columns[i], i + 1, row->casts[i]);
	appendStringInfo(&sql, "%s WHERE pgt_id = $%d", extra, with_id.n);
	(void) run(sql.data, &with_id, false);
}

char *
pgt_catalog_value(const char *sql, int64 id)
{
	MemoryContext cxt = CurrentMemoryContext;
	Oid type = INT8OID;
	Datum arg = Int64GetDatum(id);
	char *result = NULL;
	PgtCatalogScope scope = pgt_catalog_begin();

	SPI_connect();
	pgt_catalog_exec(sql, 1, &type, &arg, NULL);
	if (SPI_processed > 0 && SPI_tuptable != NULL)
	{
		char *v = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		result = v ? MemoryContextStrdup(cxt, v) : NULL;
	}
	SPI_finish();
	pgt_catalog_end(scope);
	return result;
}
