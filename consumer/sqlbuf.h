/*
 * sqlbuf.h - the one builder of SQL text in the daemon.
 *
 * Names go through %I-like quoting, literals are numbers and LSNs of ours only; everything else is a parameter.
 */
#ifndef PGT_SQLBUF_H
#define PGT_SQLBUF_H

#include <stddef.h>
#include <stdint.h>

typedef struct PgtSql
{
	char *text; /* always terminated once something was added */
	size_t len;
	size_t size;
} PgtSql;

extern void pgt_sql_reset(PgtSql *sql);
extern void pgt_sql_free(PgtSql *sql);
extern void pgt_sql_add(PgtSql *sql, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
extern void pgt_sql_name(PgtSql *sql, const char *name); /* "name" */
extern void pgt_sql_lsn(PgtSql *sql, uint64_t lsn);      /* 'X/X' */

#define PGT_LSN_FMT "%X/%X"
#define PGT_LSN_ARGS(lsn) (unsigned) ((lsn) >> 32), (unsigned) (lsn)

extern int pgt_lsn_parse(const char *text, uint64_t *lsn); /* 1 or 0 */

#endif /* PGT_SQLBUF_H */
