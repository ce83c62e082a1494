/*
 * sqlbuf.c - building SQL text.
 */
#include "consumer/sqlbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void
reserve(PgtSql *sql, size_t more)
{
	size_t size = sql->size ? sql->size : 512;

	while (size - sql->len <= more)
		size *= 2;
	if (size == sql->size)
		return;
	sql->text = realloc(sql->text, size);
	if (sql->text == NULL)
		abort();
	sql->size = size;
}

void
pgt_sql_reset(PgtSql *sql)
{
	sql->len = 0;
	if (sql->text)
		sql->text[0] = '\0';
}

void
pgt_sql_free(PgtSql *sql)
{
	free(sql->text);
	*sql = (PgtSql){0};
}

void
pgt_sql_add(PgtSql *sql, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	reserve(sql, (size_t) n + 1);
	va_start(ap, fmt);
	vsnprintf(sql->text + sql->len, (size_t) n + 1, fmt, ap);
	va_end(ap);
	sql->len += (size_t) n;
}

void
pgt_sql_name(PgtSql *sql, const char *name)
{
	pgt_sql_add(sql, "\"");
	for (; *name; name++)
		pgt_sql_add(sql, *name == '"' ? "\"\"" : "%c", *name);
	pgt_sql_add(sql, "\"");
}

void
pgt_sql_lsn(PgtSql *sql, uint64_t lsn)
{
	pgt_sql_add(sql, "'" PGT_LSN_FMT "'", PGT_LSN_ARGS(lsn));
}

int
pgt_lsn_parse(const char *text, uint64_t *lsn)
{
	unsigned hi, lo;
	char more;

	if (sscanf(text, "%8X/%8X%c", &hi, &lo, &more) != 2)
		return 0;
	*lsn = ((uint64_t) hi << 32) | lo;
	return 1;
}
