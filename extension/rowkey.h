/*
 * rowkey.h - columns of an operator's output that tell its rows apart.
 */
#ifndef PGT_ROWKEY_H
#define PGT_ROWKEY_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "optree.h"

/*
 * Output columns (1-based, list of int) that are unique by the primary keys of the tables below; NIL when none can be derived.
 * Only ever used to find rows quickly: constraints may be dropped later, so nothing may be wrong when the rows are not unique.
 */
extern List *pgt_row_key(const PgtOp *op);

#endif /* PGT_ROWKEY_H */
