/*
 * result.h - fields of a query's result by column name.
 *
 * A missing column reads as NULL: the schema of an older version may not have it.  Header only, like alloc.h.
 */
#ifndef PGT_RESULT_H
#define PGT_RESULT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <libpq-fe.h>

/* NULL when the column is missing or its value is NULL. */
static inline const char *
pgt_field(const PGresult *res, int row, const char *column)
{
	int c = PQfnumber(res, column);

	return c < 0 || PQgetisnull(res, row, c) ? NULL : PQgetvalue(res, row, c);
}

static inline bool
pgt_field_true(const PGresult *res, int row, const char *column)
{
	const char *value = pgt_field(res, row, column);

	return value != NULL && value[0] == 't';
}

/* 0 for NULL. */
static inline int64_t
pgt_field_integer(const PGresult *res, int row, const char *column)
{
	const char *value = pgt_field(res, row, column);

	return value ? strtoll(value, NULL, 10) : 0;
}

#endif /* PGT_RESULT_H */
