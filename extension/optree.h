/*
 * optree.h - the operator tree: what a query computes, in the few operators that the delta rules know.
 *
 * Every node yields columns 1..ncols.  Expressions are PostgreSQL's own trees; a Var in a node's expressions means
 * (varno = ordinal of the child, varattno = that child's column).  Views, CTEs and plain subqueries are already merged into
 * the SELECT nodes around them, so that an inner-join block is one node.
 */
#ifndef PGT_OPTREE_H
#define PGT_OPTREE_H

#include "postgres.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "view.h"

typedef enum PgtOpKind
{
	PGT_OP_SCAN,     /* a relation's columns */
	PGT_OP_SELECT,   /* targets over the inner join of the children, under quals (no children: one row) */
	PGT_OP_OUTER,    /* left or full join of two children on quals; columns of the left, then of the right */
	PGT_OP_AGG,      /* keys (the child's first nkeys columns), then aggregates over the child's columns */
	PGT_OP_UNION,    /* UNION ALL of children with equal columns */
	PGT_OP_APPLY,    /* a query over the first child whose subqueries read the other children: see template.h */
	PGT_OP_PART,     /* computed one partition of the child's rows at a time: see part.h */
	PGT_OP_RECURSION /* children base and step: the base's rows, and what the step, which reads one SELF scan, makes of each of the node's rows */
} PgtOpKind;

typedef struct PgtCol
{
	Oid type;
	int32 typmod;
	Oid collation;
	bool notnull; /* proven */
} PgtCol;

typedef struct PgtOp
{
	PgtOpKind kind;
	int id; /* unique in the tree */
	int ncols;
	PgtCol *cols;
	List *children;     /* of PgtOp */
	Bitmapset *sources; /* indexes into PgtView.sources of the leaves below */
	/* SCAN */
	int source;
	Oid relid; /* InvalidOid: SELF, the rows of the RECURSION around it */
	List *attnums;
	/* SELECT; quals for OUTER too */
	List *targets;
	List *quals;
	bool full;  /* OUTER: full join */
	bool clock; /* SELECT: over one child, depends on the clock, which `source` is the number of (clock.h) */
	/* AGG */
	int nkeys;
	bool scalar; /* no GROUP BY: always one row */
	List *aggs;  /* of Aggref */
	/* APPLY */
	Query *query;
	List *touches;          /* per child but the first: conjuncts, over it and children before it, under which its rows matter (touches.c); of List */
	struct PgtPart *part;   /* PART */
	bool distinct;          /* RECURSION: UNION, not UNION ALL */
	struct PgtInner *inner; /* its rows are kept in a table of their own: see inner.h; NULL: they are not */
} PgtOp;

/* optree.c */
extern PgtOp *pgt_op_make(PgtOpKind kind, int id, int ncols);
extern PgtOp *pgt_op_clone(const PgtOp *op);
extern PgtOp *pgt_op_child(const PgtOp *op, int ordinal);     /* 1-based */
extern void pgt_op_describe(PgtOp *op);                       /* fill cols from expressions and children */
extern Bitmapset *pgt_op_prune(PgtOp *op, Bitmapset *needed); /* drop columns above does not need, renumber; returns the kept */
extern Var *pgt_op_var(const PgtOp *child, int ordinal, int col);
extern bool pgt_passes_columns(const PgtOp *child, List *targets);          /* all of them, in order, as they are */
extern bool pgt_op_is_opaque(const PgtOp *op, bool (*kept)(const PgtOp *)); /* even for a few rows the planner would compute it whole */
extern bool pgt_op_changed(const PgtOp *op, Bitmapset *changed);
extern bool pgt_op_is_self(const PgtOp *op);
extern int pgt_op_self(const PgtOp *op); /* the child through which a step's node gets SELF's rows, one by one; 0: it does not */

/* properties of a type that decide how rows are compared */
extern bool pgt_type_has_eq(Oid type);
extern bool pgt_type_has_hash(Oid type);
extern bool pgt_type_has_order(Oid type);
extern bool pgt_col_image_safe(const PgtCol *col);       /* equal values are the same bytes */
extern char *pgt_type_operator(Oid type, bool equality); /* "OPERATOR(schema.=)" or "<" of the default opclass */
extern char *pgt_operator_name(Oid opr);                 /* "OPERATOR(schema.=)" */
extern char *pgt_type_name(Oid type, int32 typmod);

#endif /* PGT_OPTREE_H */
