/*
 * catalog_row.h - one row for one of the extension's tables, built column by column, then inserted or updated.
 */
#ifndef PGT_CATALOG_ROW_H
#define PGT_CATALOG_ROW_H

#include "postgres.h"
#include "nodes/pg_list.h"

#define PGT_ROW_MAX 40

typedef struct PgtRow
{
	int n;
	const char *columns[PGT_ROW_MAX];
	const char *casts[PGT_ROW_MAX]; /* appended to the parameter, "" for none */
	Oid types[PGT_ROW_MAX];
	Datum values[PGT_ROW_MAX];
	char nulls[PGT_ROW_MAX + 1];
} PgtRow;

extern void pgt_row_add(PgtRow *row, const char *column, Oid type, Datum value, bool isnull);
extern void pgt_row_text(PgtRow *row, const char *column, const char *value); /* NULL is NULL */
extern void pgt_row_jsonb(PgtRow *row, const char *column, const char *json);
extern void pgt_row_int8(PgtRow *row, const char *column, int64 value);
extern void pgt_row_oid(PgtRow *row, const char *column, Oid value);
extern void pgt_row_bool(PgtRow *row, const char *column, bool value);

/* INSERT INTO pgtrickle.<table>; the value of the bigint column `returning`, or 0 when that is NULL. */
extern int64 pgt_row_insert(const PgtRow *row, const char *table, const char *returning);

/* UPDATE pgtrickle.<table> ... WHERE pgt_id = `id`, with `extra` (", updated_at = now()" or "") appended to SET. */
extern void pgt_row_update(const PgtRow *row, const char *table, int64 id, const char *extra);

/*
 * Any catalog statement with pgt_id as $1, in a scope and SPI connection of its own.  The first column of the first row as text
 * in the current context, NULL when there is none.
 */
extern char *pgt_catalog_value(const char *sql, int64 id);

#endif /* PGT_CATALOG_ROW_H */
