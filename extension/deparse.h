/*
 * deparse.h - SQL text from operator nodes.
 *
 * All text is made and later executed under search_path "pg_catalog, pg_temp", so every other name is qualified.  Within one
 * SELECT the inputs are called a1, a2, ... and their columns c1, c2, ...; a weighted row has a column w besides.
 */
#ifndef PGT_DEPARSE_H
#define PGT_DEPARSE_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "optree.h"

/* Whole rows without a named type (build_entry.c) in a form that deparses with the names of their columns; a copy. */
extern Node *pgt_name_rows(Node *node);

/* An expression over `inputs` (PgtOps, the aliases a1..an). */
extern char *pgt_expr(Node *expr, List *inputs);

/* "e1 AND e2" of a list of conjuncts; NULL when there is none. */
extern char *pgt_quals(List *quals, List *inputs);

/* "<expr> AS c1, ..." */
extern char *pgt_targets(List *targets, List *inputs);

/* "prefix.c<from+1> AS c<to+1>, ..." for n columns; "" for none. */
extern char *pgt_columns(const char *alias, int n, int offset);

/* "alias.c1, ..." */
extern char *pgt_key_list(const char *alias, int n);

/* A recursion's own rows as the step reads them, from a FROM item that has them all. */
extern char *pgt_self_rows(const PgtOp *self, const char *from);

/* "CAST(alias.c1 AS type) AS c1, ...": the terms of WITH RECURSIVE must agree in type, modifier and collation. */
extern char *pgt_recursive_columns(const PgtOp *op, const char *alias);

/* Post state: SELECT c1..cn of the node over the tables as they are. */
extern char *pgt_post(const PgtOp *op);

/* The same with a statement in place of one child's post state (ordinal 0: none). */
extern char *pgt_post_select(const PgtOp *op, int ordinal, const char *instead);
extern char *pgt_post_select_over(const PgtOp *op, char **instead); /* of several; NULL: post state */
extern char *pgt_post_outer(const PgtOp *op, int ordinal, const char *instead);

/* An outer join over other FROM items. */
extern char *pgt_outer_over(const PgtOp *op, const char *left, const char *right);

/*
 * "SELECT keys, aggregates FROM <from> a1 GROUP BY keys" for an AGG node, with further output columns; more == NULL for an AGG
 * below other operators, whose rows must have the same image in every statement.
 */
extern bool pgt_has_one_image(const Aggref *agg); /* below other operators its result looks the same in every plan */
extern char *pgt_aggregate(const PgtOp *op, const char *from, const char *more);

/* Comma-joined pieces; pieces may be empty or NULL. */
extern char *pgt_join2(const char *a, const char *b);

/* Run the body with the pinned search_path: level = pgt_path_push(); ...; pgt_path_pop(level). */
extern int pgt_path_push(void);
extern void pgt_path_pop(int level);

extern char *pgt_is_null(Oid type, const char *value);

/*
 * NULL-safe equality of column `col` between aliases: "=" where both sides are proven not NULL.  Types without equality compare
 * by their text.
 */
extern char *pgt_same(const PgtCol *col, const char *left, const char *right);
extern char *pgt_same_key(const PgtCol *col, const char *left, const char *right);

/* What rows are grouped by when only identical images may be merged, and the value to select for it. */
extern Node *pgt_explicit_cast(Node *expr); /* the same, its type in its text */
extern char *pgt_image(const PgtCol *col, const char *value);
extern char *pgt_least_image(const PgtCol *col, int k); /* of a group of a1 */
extern char *pgt_image_keys(const PgtCol *cols, int ncols, const char *alias);
extern char *pgt_image_values(const PgtCol *cols, int ncols, const char *alias);

#endif /* PGT_DEPARSE_H */
