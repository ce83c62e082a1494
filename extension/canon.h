/*
 * canon.h - what the parts of canonicalisation share.
 */
#ifndef PGT_CANON_H
#define PGT_CANON_H

#include "analyze.h"

/* canon.c: does the aggregate's result depend on the order of its input? */
extern bool pgt_order_matters(Oid aggregate, List *args);

/* canon_order.c */
extern Node *pgt_image_of(Node *expr); /* text in collation "C"; NULL: the type has no text */
extern void pgt_canon_order(Query *query, PgtFindings *findings);
extern void pgt_canon_array(Query *query, PgtFindings *findings); /* the subquery of ARRAY(...) */
extern void pgt_canon_windows(Query *query, PgtFindings *findings);
extern bool pgt_sort_by_rows(Query *query); /* sort also by all columns shown; false: they were all sort keys */

/* canon_limit.c */
extern void pgt_canon_limit(Query *query);
extern void pgt_sink_level(Query *query);                                 /* it becomes a subquery of its level, where its WITH queries stay; in place */
extern Query *pgt_level_above(Query *query, Query *inner);                /* with the query's WITH queries; the rest is up to the caller */
extern RangeTblEntry *pgt_subquery_entry(Query *inner, const char *name); /* its columns are c1, c2, ... */

/* canon_keys.c: keys that the builder cannot take as they are become columns of an item of FROM; in place */
extern void pgt_canon_group_keys(Query *query);

/* canon_nest.c: windows that are compared with subqueries go to a level below; in place */
extern void pgt_nest_tests(Query *query);

/* canon_nest.c: split a level into a sorted subquery and the windows with these keys that depend on it; in place; false: cannot be done */
extern bool pgt_nest_window(Query *query, WindowClause *wc, PgtFindings *findings);

/* Has the type of an expression of this level an order? */
extern bool pgt_is_sortable(Query *query, Node *expr);

#endif /* PGT_CANON_H */
