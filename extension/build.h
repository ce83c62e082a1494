/*
 * build.h - what the builders of operator nodes share: query levels, blocks, and the map from range table entries to inputs.
 */
#ifndef PGT_BUILD_H
#define PGT_BUILD_H

#include "postgres.h"
#include "nodes/parsenodes.h"
#include "optree.h"

/* The query levels around the one being built: where a CTE reference finds its query. */
typedef struct PgtLevel
{
	Query *query;
	struct PgtLevel *up;
} PgtLevel;

/* The expressions that one range table entry's columns stand for, over the block's inputs. */
typedef struct PgtEntryMap
{
	int rtindex;
	List *exprs; /* by attribute number; NULL where there is no such column */
	bool whole;  /* one more: true where the entry has a row; NULL or false where an outer join has put NULLs */
} PgtEntryMap;

typedef struct PgtBlock
{
	PgtLevel *level;
	List *inputs; /* of PgtOp */
	List *quals;  /* over the inputs; may hold subqueries until the block is closed */
	List *maps;   /* of PgtEntryMap */
} PgtBlock;

/* build.c */
extern PgtOp *pgt_build_query(Query *query, PgtLevel *up);
extern void pgt_build_from(PgtBlock *block, Node *node);
extern Node *pgt_rebase(PgtBlock *block, Node *node);
extern PgtOp *pgt_make_select(List *inputs, List *quals, List *targets);
extern PgtOp *pgt_build_op(PgtOpKind kind);                      /* with the next number */
extern void pgt_not_built(const char *reason, const char *hint); /* the query is not incremental after all; building goes on */

extern const char *pgt_build_reason(void);         /* what pgt_not_built said, or NULL */
extern void pgt_build_forgive(const char *reason); /* back to an earlier one: another way was found */
extern PgtOp *pgt_close_side(PgtBlock *side, PgtBlock *outer, int ordinal, int offset);
extern CommonTableExpr *pgt_find_cte(PgtLevel *level, RangeTblEntry *rte, PgtLevel **where);
extern PgtOp *pgt_as_select(PgtOp *op);
extern PgtOp *pgt_build_level(PgtLevel *level, List *exprs); /* FROM, WHERE, GROUP BY and HAVING of a level; yields exprs */
extern PgtOp *pgt_build_setop(PgtLevel *level, SetOperationStmt *setop);
extern PgtOp *pgt_coerce_leaf(PgtOp *leaf, SetOperationStmt *setop);
extern List *pgt_coerce_columns(List *exprs, SetOperationStmt *setop);
extern PgtOp *pgt_make_distinct(PgtOp *child);

/* build_entry.c */
extern void pgt_add_map(PgtBlock *block, int rtindex, List *exprs, bool whole); /* exprs complete */
extern void pgt_add_entry(PgtBlock *block, int rtindex, List *exprs);           /* the entry's columns */
extern void pgt_add_lateral_entry(PgtBlock *block, int rtindex, int varno, List *exprs);
extern Node *pgt_entry_expr(PgtBlock *block, Var *v);
extern bool pgt_is_read_whole(Query *query, int rtindex);

/* build_part.c */
typedef struct PgtWindowSplit PgtWindowSplit;
extern List *pgt_target_exprs(Query *query);                                         /* the select list; hidden entries too where they are needed above it */
extern PgtWindowSplit *pgt_split_windows(Query *query, List *exprs, List **columns); /* NULL: no windows, columns = exprs */
extern bool pgt_is_divided(Node *node);                                              /* its parts become columns below the windows, not the node: it has a window function, or stands inside an expression that may */
extern bool pgt_is_placeholder(Node *node);                                          /* stands for a value of the expression around it: CASE's operand, a subquery's column */
extern bool pgt_has_open_placeholder(Node *node);                                    /* one whose expression is not part of the node: then the node means nothing by itself */
extern PgtOp *pgt_build_windows(PgtOp *op, PgtWindowSplit *split);
extern PgtOp *pgt_build_top(Query *query, PgtOp *op); /* DISTINCT, ORDER BY, LIMIT */
extern PgtOp *pgt_build_intersect(PgtLevel *level, SetOperationStmt *setop);

/* canon_order.c */
extern bool pgt_window_breaks_ties(WindowFunc *f, WindowClause *wc);  /* its order is total; only equal rows tie */
extern bool pgt_window_orders_peers(WindowFunc *f, WindowClause *wc); /* depends on the order of peers, and nothing can be done about that here */

/* canon_nest.c: the only FROM item, a subquery sorted by these keys and then by all its columns; NULL: it is none */
extern Query *pgt_sorted_input(Query *query, WindowClause *wc);

/* build_grouping.c */
extern PgtOp *pgt_build_grouping_sets(PgtLevel *level, List *exprs);

/* build_recursion.c */
extern PgtOp *pgt_build_recursion(CommonTableExpr *cte, PgtLevel *level); /* level: whose WITH it stands in */
extern void pgt_check_recursions(PgtOp *root);                            /* once the tree is whole: those that are not maintained after all */

/* build_search.c: SEARCH and CYCLE; "columns" are those of the RECURSION node */
extern int pgt_search_columns(CommonTableExpr *cte, PgtCol **cols); /* how many, and what they are; without the clauses the query's own */
extern bool pgt_search_is_built(CommonTableExpr *cte);              /* false: it said why not */
extern List *pgt_search_entry(CommonTableExpr *cte, List *columns); /* what its columns are to queries, over the node's */
extern List *pgt_search_base(CommonTableExpr *cte, List *exprs);    /* the node's columns, from those of the query */
extern List *pgt_search_step(CommonTableExpr *cte, List *exprs, List *before, List **quals);
extern Query *pgt_search_step_query(CommonTableExpr *cte, Query *step);
extern void pgt_search_order(PgtLevel *level); /* ORDER BY of what SEARCH declares, in terms of columns; in place */

/* build_apply.c */
extern void pgt_apply_reset(void);         /* before each tree */
extern bool pgt_is_correlated(Node *node); /* refers to a query level above the node's own */
extern Node *pgt_prepare_sublinks(PgtLevel *level, Node *expr);
extern PgtOp *pgt_make_projection(List *inputs, List *quals, List *targets); /* SELECT, or APPLY if subqueries are involved */
extern Node *pgt_lower_sublinks(Node *qual, PgtOp **left, PgtOp **right);    /* subqueries of an ON become columns of a side */
extern void pgt_check_closed(PgtOp *op);                                     /* nothing refers to a level that is gone */
extern bool pgt_is_closed(PgtOp *op);
extern bool pgt_is_dependent(RangeTblEntry *rte);
extern Query *pgt_make_template(PgtLevel *up, Query *q, SubLinkType type);    /* of a subquery of `up`; one in FROM is as EXPR */
extern Query *pgt_template_above(PgtBlock *block);                            /* without FROM and WHERE */
extern RangeTblEntry *pgt_rebased_entry(PgtBlock *block, RangeTblEntry *rte); /* a dependent FROM item over the block's inputs */
extern RangeTblEntry *pgt_placeholder_for(PgtOp *op);
/* an item beside the block, which stands for these entries of the query; left: the LEFT JOIN it is the right side of */
extern void pgt_add_dependent(PgtBlock *block, RangeTblEntry *item, List *rtindexes, JoinExpr *left);

/* build_side.c */
extern bool pgt_is_dependent_side(Query *query, Node *side, Node *quals); /* of an outer join, on the other side */
extern List *pgt_side_columns(Query *query, int rtindex);                 /* of an entry in such a side */
extern void pgt_add_dependent_side(PgtBlock *block, Node *side, Node *quals);
extern bool pgt_is_dependent_full(Query *query, JoinExpr *join);
extern void pgt_add_dependent_full(PgtBlock *block, JoinExpr *join);

/* build_whole.c */
extern Query *pgt_whole_template(PgtLevel *level); /* of a subquery whose FROM clause itself refers to the outside */

#endif /* PGT_BUILD_H */
