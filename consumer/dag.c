/*
 * dag.c - builds the graph of stream tables.
 *
 * Stages: edges by number; strongly connected components of the nodes (cycles, node ranks); diamonds by post-dominators; components
 * of the graph of units (units that wait for each other become one, and the numbering is the order).
 */
#include "consumer/dag.h"

#include <stdlib.h>
#include <string.h>

#include "consumer/alloc.h"

typedef struct Components
{
	const PgtAdjacency *g;
	int *component; /* result: numbered so that what a vertex points to has no higher number */
	int ncomponents;
	int *index; /* Tarjan's visit numbers, 0 = not yet */
	int *low;
	int *stack;
	int depth;
	int next;
} Components;

/* Work space of the search for diamonds.  Vertices: nodes 0 … n-1, then tables. */
typedef struct Diamonds
{
	PgtDag *dag;
	const int *rank; /* of nodes */
	int *parent;     /* union-find over nodes: the units */
	int *stamp;      /* vertex belongs to the search of node stamp - 1 */
	int *children;   /* paths that leave the vertex towards the top */
	int *ipdom;      /* nearest vertex that all its paths to the top meet */
	bool *inside;    /* fork or member of a diamond */
	int *above;      /* the vertices of this search, the top first */
	int nabove;
} Diamonds;

/* ---- edges ---- */

static int
compare_uint32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

typedef struct IdIndex
{
	int64_t id;
	int node;
} IdIndex;

static int
compare_id(const void *a, const void *b)
{
	int64_t x = ((const IdIndex *) a)->id;
	int64_t y = ((const IdIndex *) b)->id;

	return x < y ? -1 : x > y;
}

int
pgt_dag_find_table(const PgtDag *dag, uint32_t relid)
{
	const uint32_t *found = bsearch(&relid, dag->tables, (size_t) dag->ntables, sizeof(uint32_t), compare_uint32);

	return found ? (int) (found - dag->tables) : -1;
}

static void
collect_tables(PgtDag *dag, const PgtDagNode *nodes)
{
	int total = 0;
	int n = 0;

	for (int i = 0; i < dag->nnodes; i++)
		total += nodes[i].ntables;
	dag->tables = pgt_alloc((size_t) total, sizeof(uint32_t));
	for (int i = 0; i < dag->nnodes; i++)
	{
		if (nodes[i].ntables > 0)
			memcpy(dag->tables + n, nodes[i].tables, sizeof(uint32_t) * (size_t) nodes[i].ntables);
		n += nodes[i].ntables;
	}
	qsort(dag->tables, (size_t) total, sizeof(uint32_t), compare_uint32);
	for (int i = 0; i < total; i++)
	{
		if (i == 0 || dag->tables[i] != dag->tables[dag->ntables - 1])
			dag->tables[dag->ntables++] = dag->tables[i];
	}
	dag->node_tables.start = pgt_alloc((size_t) dag->nnodes + 1, sizeof(int));
	dag->node_tables.items = pgt_alloc((size_t) total, sizeof(int));
	n = 0;
	for (int i = 0; i < dag->nnodes; i++)
	{
		dag->node_tables.start[i] = n;
		for (int j = 0; j < nodes[i].ntables; j++)
			dag->node_tables.items[n++] = pgt_dag_find_table(dag, nodes[i].tables[j]);
	}
	dag->node_tables.start[dag->nnodes] = n;
}

static void
collect_upstreams(PgtDag *dag, const PgtDagNode *nodes)
{
	IdIndex *ids = pgt_alloc((size_t) dag->nnodes, sizeof(IdIndex));
	int total = 0;
	int n = 0;

	for (int i = 0; i < dag->nnodes; i++)
	{
		ids[i] = (IdIndex){.id = nodes[i].id, .node = i};
		total += nodes[i].nupstreams;
	}
	qsort(ids, (size_t) dag->nnodes, sizeof(IdIndex), compare_id);
	dag->upstreams.start = pgt_alloc((size_t) dag->nnodes + 1, sizeof(int));
	dag->upstreams.items = pgt_alloc((size_t) total, sizeof(int));
	for (int i = 0; i < dag->nnodes; i++)
	{
		dag->upstreams.start[i] = n;
		for (int j = 0; j < nodes[i].nupstreams; j++)
		{
			IdIndex key = {.id = nodes[i].upstreams[j]};
			IdIndex *found = bsearch(&key, ids, (size_t) dag->nnodes, sizeof(IdIndex), compare_id);

			if (found != NULL)
				dag->upstreams.items[n++] = found->node;
		}
	}
	dag->upstreams.start[dag->nnodes] = n;
	free(ids);
}

static PgtAdjacency
reversed(const PgtAdjacency *g, int n)
{
	PgtAdjacency r;
	int nedges = g->start[n];
	int *fill = pgt_alloc((size_t) n, sizeof(int));

	r.start = pgt_alloc((size_t) n + 1, sizeof(int));
	r.items = pgt_alloc((size_t) nedges, sizeof(int));
	for (int e = 0; e < nedges; e++)
		r.start[g->items[e] + 1]++;
	for (int i = 0; i < n; i++)
	{
		r.start[i + 1] += r.start[i];
		fill[i] = r.start[i];
	}
	for (int i = 0; i < n; i++)
	{
		for (int e = g->start[i]; e < g->start[i + 1]; e++)
			r.items[fill[g->items[e]]++] = i;
	}
	free(fill);
	return r;
}

static void
free_adjacency(PgtAdjacency *g)
{
	free(g->start);
	free(g->items);
}

/* ---- strongly connected components (Tarjan) ---- */

static void
visit(Components *c, int v)
{
	c->index[v] = c->low[v] = ++c->next;
	c->component[v] = -1;
	c->stack[c->depth++] = v;
	for (int e = c->g->start[v]; e < c->g->start[v + 1]; e++)
	{
		int w = c->g->items[e];

		if (c->index[w] == 0)
			visit(c, w);
		if (c->component[w] < 0 && c->low[w] < c->low[v])
			c->low[v] = c->low[w];
	}
	if (c->low[v] == c->index[v])
	{
		int w;

		do
		{
			w = c->stack[--c->depth];
			c->component[w] = c->ncomponents;
		} while (w != v);
		c->ncomponents++;
	}
}

/* Returns the number of components; component[v] never exceeds that of a vertex pointing to v.  Deterministic. */
static int
components(const PgtAdjacency *g, int n, int *component)
{
	Components c = {.g = g, .component = component};

	c.index = pgt_alloc((size_t) n, sizeof(int));
	c.low = pgt_alloc((size_t) n, sizeof(int));
	c.stack = pgt_alloc((size_t) n, sizeof(int));
	for (int v = 0; v < n; v++)
	{
		if (c.index[v] == 0)
			visit(&c, v);
	}
	free(c.index);
	free(c.low);
	free(c.stack);
	return c.ncomponents;
}

/* Flags the nodes that lie on a cycle, and takes all their edges out. */
static void
cut_cycles(PgtDag *dag)
{
	int n = dag->nnodes;
	int *component = pgt_alloc((size_t) n, sizeof(int));
	int *size = pgt_alloc((size_t) n, sizeof(int));
	int kept = 0;

	components(&dag->upstreams, n, component);
	for (int v = 0; v < n; v++)
		size[component[v]]++;
	for (int v = 0; v < n; v++)
	{
		dag->cyclic[v] = size[component[v]] > 1;
		for (int e = dag->upstreams.start[v]; e < dag->upstreams.start[v + 1]; e++)
			dag->cyclic[v] = dag->cyclic[v] || dag->upstreams.items[e] == v;
	}
	for (int v = 0; v < n; v++)
	{
		int from = dag->upstreams.start[v];

		dag->upstreams.start[v] = kept;
		for (int e = from; e < dag->upstreams.start[v + 1]; e++)
		{
			if (!dag->cyclic[v] && !dag->cyclic[dag->upstreams.items[e]])
				dag->upstreams.items[kept++] = dag->upstreams.items[e];
		}
	}
	dag->upstreams.start[n] = kept;
	free(component);
	free(size);
}

/* ---- diamonds ---- */

static int
find_root(int *parent, int v)
{
	while (parent[v] != v)
	{
		parent[v] = parent[parent[v]];
		v = parent[v];
	}
	return v;
}

static void
unite(int *parent, int a, int b)
{
	a = find_root(parent, a);
	b = find_root(parent, b);
	if (a < b)
		parent[b] = a;
	else
		parent[a] = b;
}

/* Tables come before all STs. */
static int
vertex_rank(const Diamonds *d, int v)
{
	return v < d->dag->nnodes ? d->rank[v] : -1;
}

/* One more path leads from v over `child` to the top. */
static void
add_path(Diamonds *d, int v, int child)
{
	if (d->children[v]++ == 0)
	{
		d->ipdom[v] = child;
		return;
	}
	while (d->ipdom[v] != child)
	{
		if (vertex_rank(d, d->ipdom[v]) < vertex_rank(d, child))
			d->ipdom[v] = d->ipdom[d->ipdom[v]];
		else
			child = d->ipdom[child];
	}
}

static void
reach(Diamonds *d, int v, int top)
{
	if (d->stamp[v] == top + 1)
		return;
	d->stamp[v] = top + 1;
	d->children[v] = 0;
	d->inside[v] = false;
	d->above[d->nabove++] = v;
}

static const int *sort_rank; /* qsort takes no argument; single-threaded */

static int
compare_rank_descending(const void *a, const void *b)
{
	int x = sort_rank[*(const int *) a];
	int y = sort_rank[*(const int *) b];

	return x > y ? -1 : x < y;
}

/* All STs above `top`, top first, every ST before what it reads. */
static void
collect_above(Diamonds *d, int top)
{
	const PgtAdjacency *up = &d->dag->upstreams;

	d->nabove = 0;
	reach(d, top, top);
	for (int i = 0; i < d->nabove; i++)
	{
		int v = d->above[i];

		for (int e = up->start[v]; e < up->start[v + 1]; e++)
			reach(d, up->items[e], top);
	}
	sort_rank = d->rank;
	qsort(d->above, (size_t) d->nabove, sizeof(int), compare_rank_descending);
}

/* Number v's paths to the top, through its sources, tables included. */
static void
walk_up(Diamonds *d, int v, int top)
{
	const PgtAdjacency *up = &d->dag->upstreams;
	const PgtAdjacency *tables = &d->dag->node_tables;

	for (int e = up->start[v]; e < up->start[v + 1]; e++)
		add_path(d, up->items[e], v);
	for (int e = tables->start[v]; e < tables->start[v + 1]; e++)
	{
		int t = d->dag->nnodes + tables->items[e];

		if (d->stamp[t] != top + 1)
		{
			d->stamp[t] = top + 1;
			d->children[t] = 0;
		}
		add_path(d, t, v);
	}
}

static bool
is_fork(const Diamonds *d, int v, int top)
{
	return v != top && d->children[v] > 1 && d->ipdom[v] == top;
}

static bool
reads_inside(const Diamonds *d, int v, int top)
{
	const PgtAdjacency *up = &d->dag->upstreams;
	const PgtAdjacency *tables = &d->dag->node_tables;

	for (int e = up->start[v]; e < up->start[v + 1]; e++)
	{
		if (d->inside[up->items[e]] || is_fork(d, up->items[e], top))
			return true;
	}
	for (int e = tables->start[v]; e < tables->start[v + 1]; e++)
	{
		if (is_fork(d, d->dag->nnodes + tables->items[e], top))
			return true;
	}
	return false;
}

/* Unite `top` with every ST on the two branches of a diamond that closes in it. */
static void
close_diamonds(Diamonds *d, int top)
{
	const PgtAdjacency *up = &d->dag->upstreams;
	const PgtAdjacency *tables = &d->dag->node_tables;
	int nupstreams = up->start[top + 1] - up->start[top];

	if (nupstreams == 0 || nupstreams + tables->start[top + 1] - tables->start[top] < 2)
		return;
	collect_above(d, top);
	d->ipdom[top] = top;
	for (int i = 0; i < d->nabove; i++)
		walk_up(d, d->above[i], top);
	for (int i = d->nabove - 1; i >= 0; i--)
	{
		int v = d->above[i];

		d->inside[v] = reads_inside(d, v, top);
		if (d->inside[v])
			unite(d->parent, v, top);
	}
}

static void
close_all_diamonds(PgtDag *dag, const PgtDagNode *nodes, const int *rank, int *parent)
{
	size_t nvertices = (size_t) dag->nnodes + (size_t) dag->ntables;
	Diamonds d = {.dag = dag, .rank = rank, .parent = parent};

	d.stamp = pgt_alloc(nvertices, sizeof(int));
	d.children = pgt_alloc(nvertices, sizeof(int));
	d.ipdom = pgt_alloc(nvertices, sizeof(int));
	d.inside = pgt_alloc(nvertices, sizeof(bool));
	d.above = pgt_alloc((size_t) dag->nnodes, sizeof(int));
	for (int v = 0; v < dag->nnodes; v++)
	{
		if (nodes[v].atomic && !dag->cyclic[v])
			close_diamonds(&d, v);
	}
	free(d.stamp);
	free(d.children);
	free(d.ipdom);
	free(d.inside);
	free(d.above);
}

static void
join_refresh_groups(const PgtDagNode *nodes, int n, int *parent)
{
	IdIndex *groups = pgt_alloc((size_t) n, sizeof(IdIndex));

	for (int v = 0; v < n; v++)
		groups[v] = (IdIndex){.id = nodes[v].refresh_group, .node = v};
	qsort(groups, (size_t) n, sizeof(IdIndex), compare_id);
	for (int i = 1; i < n; i++)
	{
		if (groups[i].id != 0 && groups[i].id == groups[i - 1].id)
			unite(parent, groups[i].node, groups[i - 1].node);
	}
	free(groups);
}

/* ---- units ---- */

/* The graph of units: parallel edges are harmless, edges within a unit are left out. */
static PgtAdjacency
unit_graph(const PgtDag *dag, int *parent)
{
	PgtAdjacency g;
	PgtAdjacency by_root;
	PgtAdjacency to_root;
	int n = dag->nnodes;
	int kept = 0;

	to_root.start = pgt_alloc((size_t) n + 1, sizeof(int));
	to_root.items = pgt_alloc((size_t) n, sizeof(int));
	for (int v = 0; v < n; v++)
	{
		to_root.start[v + 1] = v + 1;
		to_root.items[v] = find_root(parent, v);
	}
	by_root = reversed(&to_root, n);
	g.start = pgt_alloc((size_t) n + 1, sizeof(int));
	g.items = pgt_alloc((size_t) dag->upstreams.start[n], sizeof(int));
	for (int root = 0; root < n; root++)
	{
		g.start[root] = kept;
		for (int m = by_root.start[root]; m < by_root.start[root + 1]; m++)
		{
			int v = by_root.items[m];

			for (int e = dag->upstreams.start[v]; e < dag->upstreams.start[v + 1]; e++)
			{
				int w = find_root(parent, dag->upstreams.items[e]);

				if (w != root)
					g.items[kept++] = w;
			}
		}
	}
	g.start[n] = kept;
	free_adjacency(&to_root);
	free_adjacency(&by_root);
	return g;
}

/* Number the units upstream first; roots that wait for each other get the same number. */
static void
number_units(PgtDag *dag, int *parent)
{
	int n = dag->nnodes;
	PgtAdjacency g = unit_graph(dag, parent);
	int *component = pgt_alloc((size_t) n, sizeof(int));
	int *number = pgt_alloc((size_t) n, sizeof(int));
	bool *used = pgt_alloc((size_t) n, sizeof(bool));
	int ncomponents = components(&g, n, component);

	for (int v = 0; v < n; v++)
		used[component[find_root(parent, v)]] = true;
	for (int c = 0; c < ncomponents; c++)
		number[c] = used[c] ? dag->nunits++ : -1;
	for (int v = 0; v < n; v++)
		dag->unit[v] = number[component[find_root(parent, v)]];
	free(component);
	free(number);
	free(used);
	free_adjacency(&g);
}

static void
order_nodes(PgtDag *dag, const int *rank)
{
	int n = dag->nnodes;
	int *by_rank = pgt_alloc((size_t) n, sizeof(int));
	int *fill = pgt_alloc((size_t) dag->nunits, sizeof(int));

	dag->members.start = pgt_alloc((size_t) dag->nunits + 1, sizeof(int));
	dag->members.items = dag->order;
	for (int v = 0; v < n; v++)
	{
		by_rank[rank[v]] = v;
		dag->members.start[dag->unit[v] + 1]++;
	}
	for (int u = 0; u < dag->nunits; u++)
	{
		dag->members.start[u + 1] += dag->members.start[u];
		fill[u] = dag->members.start[u];
	}
	for (int r = 0; r < n; r++)
		dag->order[fill[dag->unit[by_rank[r]]]++] = by_rank[r];
	free(by_rank);
	free(fill);
}

PgtDag *
pgt_dag_build(const PgtDagNode *nodes, int nnodes)
{
	PgtDag *dag = pgt_alloc(1, sizeof(PgtDag));
	int *rank = pgt_alloc((size_t) nnodes, sizeof(int));
	int *parent = pgt_alloc((size_t) nnodes, sizeof(int));

	dag->nnodes = nnodes;
	dag->order = pgt_alloc((size_t) nnodes, sizeof(int));
	dag->unit = pgt_alloc((size_t) nnodes, sizeof(int));
	dag->cyclic = pgt_alloc((size_t) nnodes, sizeof(bool));
	collect_tables(dag, nodes);
	collect_upstreams(dag, nodes);
	cut_cycles(dag);
	dag->readers = reversed(&dag->upstreams, nnodes);

	/* without cycles every node is a component, and their numbers are a topological order */
	components(&dag->upstreams, nnodes, rank);
	for (int v = 0; v < nnodes; v++)
		parent[v] = v;
	close_all_diamonds(dag, nodes, rank, parent);
	join_refresh_groups(nodes, nnodes, parent);
	number_units(dag, parent);
	order_nodes(dag, rank);
	free(rank);
	free(parent);
	return dag;
}

void
pgt_dag_free(PgtDag *dag)
{
	if (dag == NULL)
		return;
	free(dag->tables);
	free_adjacency(&dag->node_tables);
	free_adjacency(&dag->upstreams);
	free_adjacency(&dag->readers);
	free(dag->members.start); /* its items are dag->order */
	free(dag->order);
	free(dag->unit);
	free(dag->cyclic);
	free(dag);
}

void
pgt_dag_effective_periods(const PgtDag *dag, int64_t *periods, int64_t fallback)
{
	for (int i = dag->nnodes - 1; i >= 0; i--)
	{
		int v = dag->order[i];
		int64_t shortest = -1;

		if (periods[v] >= 0)
			continue;
		for (int e = dag->readers.start[v]; e < dag->readers.start[v + 1]; e++)
		{
			int64_t period = periods[dag->readers.items[e]];

			if (shortest < 0 || period < shortest)
				shortest = period;
		}
		periods[v] = shortest >= 0 ? shortest : fallback;
	}
}
