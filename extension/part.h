/*
 * part.h - PART nodes: what is computed one partition of the input at a time.
 *
 * Window functions, DISTINCT ON, LIMIT, INTERSECT and EXCEPT have in common that the rows of a partition (those with equal keys)
 * determine its output, and no other rows do.  A PART node names the key columns of its child and the kind of computation.
 */
#ifndef PGT_PART_H
#define PGT_PART_H

#include "postgres.h"
#include "nodes/parsenodes.h"
#include "optree.h"

typedef enum PgtPartKind
{
	PGT_PART_WINDOW, /* the child's columns, then the window functions */
	PGT_PART_FIRST,  /* DISTINCT ON: the first row of each partition */
	PGT_PART_LIMIT,  /* the first rows of the whole input; no keys */
	PGT_PART_SETOP   /* INTERSECT or EXCEPT; the child's last column says which side a row is from, all others are keys */
} PgtPartKind;

typedef struct PgtSortKey
{
	int col;
	Oid sortop;
	bool nulls_first;
	List *more; /* of int: columns that are arrays as `col` is; what sorts are the records of their elements (build_search.c) */
} PgtSortKey;

typedef struct PgtWindow
{
	WindowFunc *func; /* over the child */
	List *order;      /* of PgtSortKey */
	int frame;        /* FRAMEOPTION_* */
	Node *start;
	Node *end;
} PgtWindow;

typedef struct PgtPart
{
	PgtPartKind kind;
	List *keys;    /* of int: the child's columns */
	List *order;   /* FIRST, LIMIT: of PgtSortKey; WINDOW: what the input must be sorted by, if anything */
	List *images;  /* WINDOW: of int, the columns whose text is sorted by after that */
	List *windows; /* WINDOW: of PgtWindow */
	Node *count;   /* LIMIT */
	Node *offset;
	bool ties;
	bool by_image; /* LIMIT: rows that are equal by value are told apart by their images */
	bool except;   /* SETOP: else INTERSECT */
	bool all;
} PgtPart;

/* part.c */
extern PgtPart *pgt_part_clone(const PgtPart *part); /* NULL for NULL; nothing shared */
extern List *pgt_order_copy(List *order);            /* of PgtSortKey */
extern void pgt_part_describe(PgtOp *op);
extern Bitmapset *pgt_part_prune(PgtOp *op, Bitmapset *needed); /* as pgt_op_prune */
extern char *pgt_part_sql(const PgtOp *op, const char *from);   /* the node's rows from its child's, a FROM item */
extern char *pgt_part_order(const PgtOp *op);                   /* " ORDER BY ..." of a LIMIT over rows a1; "" without order */
extern char *pgt_part_order_list(List *order);                  /* of PgtSortKey: what stands behind ORDER BY, over rows a1 */

#endif /* PGT_PART_H */
