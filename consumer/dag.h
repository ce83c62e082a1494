/*
 * dag.h - the graph of stream tables: order, cycles, and which STs must share one snapshot.
 *
 * A node is an ST, an edge leads from a source (an ST or a table) to the ST that reads it.  A *unit* is a set of STs that one
 * transaction refreshes together, under one S1:
 *   - an atomic diamond: an ST D that a source x reaches on two paths with nothing in common but x and D.  D joins what both paths
 *     made of x, so D and every ST on such a path (x itself not) form a unit, if D asks for it.  A table is a source like any other:
 *     when D reads t and also A, which reads t, then {A, D} is a unit;
 *   - the members of an explicit refresh group.
 * Overlapping units are one, and so are units that would have to wait for each other.  Every other ST is a unit of its own.
 *
 * Pure.  Built anew when the plan changes; cost about linear in the edges (diamonds: in the edges above each atomic node).
 */
#ifndef PGT_DAG_H
#define PGT_DAG_H

#include <stdbool.h>
#include <stdint.h>

typedef struct PgtDagNode
{
	int64_t id;             /* unique */
	const uint32_t *tables; /* table sources, sorted */
	int ntables;
	const int64_t *upstreams; /* ST sources; ids that are no node are ignored */
	int nupstreams;
	bool atomic;           /* wants its diamonds closed */
	int64_t refresh_group; /* 0: none */
} PgtDagNode;

/* Lists of lists: those of `i` are items[start[i]] … items[start[i + 1] - 1]. */
typedef struct PgtAdjacency
{
	int *start;
	int *items;
} PgtAdjacency;

typedef struct PgtDag
{
	int nnodes;
	int ntables;
	int nunits;
	uint32_t *tables;         /* every table source once, sorted */
	PgtAdjacency node_tables; /* node -> indexes into tables */
	PgtAdjacency upstreams;   /* node -> nodes it reads */
	PgtAdjacency readers;     /* node -> nodes that read it */
	PgtAdjacency members;     /* unit -> its nodes, upstream first */
	int *order;               /* all nodes: upstream first, the members of a unit next to each other */
	int *unit;                /* node -> unit; units are numbered upstream first */
	bool *cyclic;             /* node reads itself, perhaps through others; its edges are left out of the graph */
} PgtDag;

/* Never NULL.  Node numbers are positions in `nodes`, which is not referenced afterwards. */
extern PgtDag *pgt_dag_build(const PgtDagNode *nodes, int nnodes);
extern void pgt_dag_free(PgtDag *dag);

/* Position of a table in dag->tables, or -1. */
extern int pgt_dag_find_table(const PgtDag *dag, uint32_t relid);

/*
 * Replace the -1 of every calculated node by the shortest period of the nodes that read it, or by `fallback` when none does.
 * periods: one per node, microseconds.
 */
extern void pgt_dag_effective_periods(const PgtDag *dag, int64_t *periods, int64_t fallback);

#endif /* PGT_DAG_H */
