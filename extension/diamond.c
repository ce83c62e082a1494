/*
 * diamond.c - diamond_groups(): which stream tables are refreshed together because paths from one source meet again in them.
 *
 * The scheduler finds the same sets for itself (consumer/dag.c, where a diamond is defined); it cannot be asked from SQL, and the
 * extension shares no code with it.  Vertices are stream tables and tables, edges lead from what is read to its readers.  Seen from a
 * stream table D that asks for consistency, a vertex x is a fork when no other vertex lies on all of its paths to D: x's immediate
 * post-dominator is D.  D, and every stream table on a path from a fork to D, belong together.
 *
 * Reads the catalog under one snapshot; quadratic in the edges above a D at worst.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(pgt_diamond_groups);

typedef struct Vertex
{
	int64 key;        /* pgt_id, or minus the OID of a table */
	bool atomic;      /* asks for its diamonds to be closed */
	bool convergence; /* closes one */
	bool slowest;
	int64 epoch;
	char *schema;
	char *name;
	List *sources; /* of int: vertices it reads */
	int rank;      /* sources first; -1: not ranked yet */
	int parent;    /* of the forest of groups */
	/* seen from one D */
	int stamp; /* D + 1: above D */
	int paths; /* readers among those */
	int ipdom;
	bool inside; /* on a path from a fork to D */
} Vertex;

typedef struct Graph
{
	Vertex *v;
	int n;
	int nst; /* the first ones are stream tables, by pgt_id */
} Graph;

/* ---------- reading ---------- */

static int
compare_key(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = ((const Vertex *) b)->key;

	return x < y ? -1 : x > y;
}

static int
find_st(const Graph *g, int64 id)
{
	Vertex *found = bsearch(&id, g->v, g->nst, sizeof(Vertex), compare_key);

	return found == NULL ? -1 : (int) (found - g->v);
}

/* Tables are few, or known from the row before. */
static int
table_vertex(Graph *g, int64 key)
{
	for (int i = g->n - 1; i >= g->nst; i--)
		if (g->v[i].key == key)
			return i;
	g->v[g->n] = (Vertex){.key = key, .rank = 0, .parent = g->n};
	return g->n++;
}

static Datum
value(uint64 row, int col)
{
	bool isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &isnull);
}

static void
run(const char *sql)
{
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the graph of stream tables");
}

static void
read_vertices(Graph *g)
{
	run("SELECT d.pgt_id, d.pgt_schema, d.pgt_name, d.diamond_consistency = 'atomic', d.diamond_schedule_policy = 'slowest', s.refresh_no,"
		" (SELECT count(*) FROM pgtrickle.pgt_dependencies)"
		" FROM pgtrickle.pgt_definitions d JOIN pgtrickle.pgt_state s USING (pgt_id) ORDER BY d.pgt_id");
	g->nst = g->n = (int) SPI_processed;
	g->v = palloc0(sizeof(Vertex) * (g->n + (g->n > 0 ? DatumGetInt64(value(0, 7)) : 0) + 1));
	for (int i = 0; i < g->n; i++)
	{
		Vertex *v = &g->v[i];

		v->key = DatumGetInt64(value(i, 1));
		v->schema = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		v->name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3);
		v->atomic = DatumGetBool(value(i, 4));
		v->slowest = DatumGetBool(value(i, 5));
		v->epoch = DatumGetInt64(value(i, 6));
		v->parent = i;
		v->rank = -1;
	}
}

static void
read_edges(Graph *g)
{
	run("SELECT e.pgt_id, CASE WHEN e.source_type = 'STREAM_TABLE' THEN u.pgt_id ELSE -e.source_relid::bigint END"
		" FROM pgtrickle.pgt_dependencies e LEFT JOIN pgtrickle.pgt_definitions u ON u.pgt_relid = e.source_relid"
		" WHERE e.source_type = 'TABLE' OR u.pgt_id IS NOT NULL ORDER BY 2, 1");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int reader = find_st(g, DatumGetInt64(value(i, 1)));
		int64 source = DatumGetInt64(value(i, 2));
		int s = source < 0 ? table_vertex(g, source) : find_st(g, source);

		if (reader >= 0 && s >= 0)
			g->v[reader].sources = lappend_int(g->v[reader].sources, s);
	}
}

static void
rank_vertex(Graph *g, int i)
{
	ListCell *lc;

	check_stack_depth();
	if (g->v[i].rank >= 0)
		return;
	g->v[i].rank = 0; /* cycles are refused at creation; one in the catalog must not hang us */
	foreach (lc, g->v[i].sources)
	{
		rank_vertex(g, lfirst_int(lc));
		g->v[i].rank = Max(g->v[i].rank, g->v[lfirst_int(lc)].rank + 1);
	}
}

/* ---------- diamonds ---------- */

static int
root_of(Graph *g, int i)
{
	while (g->v[i].parent != i)
		i = g->v[i].parent;
	return i;
}

static const Graph *sorting; /* list_sort passes no argument */

static int
compare_rank(const ListCell *a, const ListCell *b)
{
	return sorting->v[lfirst_int(b)].rank - sorting->v[lfirst_int(a)].rank;
}

/* Everything that reaches D, D first, readers before what they read. */
static List *
above(Graph *g, int d)
{
	List *found = list_make1_int(d);

	for (int i = 0; i < list_length(found); i++)
	{
		ListCell *lc;

		foreach (lc, g->v[list_nth_int(found, i)].sources)
		{
			Vertex *source = &g->v[lfirst_int(lc)];

			if (source->stamp == d + 1)
				continue;
			source->stamp = d + 1;
			source->paths = 0;
			source->inside = false;
			found = lappend_int(found, lfirst_int(lc));
		}
	}
	sorting = g;
	list_sort(found, compare_rank);
	return found;
}

/* One more way leads from v to D, over `reader`. */
static void
add_path(Graph *g, int v, int reader)
{
	int other = g->v[v].ipdom;

	if (g->v[v].paths++ > 0)
	{
		while (reader != other)
		{
			if (g->v[reader].rank <= g->v[other].rank)
				reader = g->v[reader].ipdom;
			else
				other = g->v[other].ipdom;
		}
	}
	g->v[v].ipdom = reader;
}

static void
close_diamonds(Graph *g, int d)
{
	List *order = above(g, d);
	ListCell *lc;
	ListCell *ls;

	g->v[d].ipdom = d;
	foreach (lc, order)
		foreach (ls, g->v[lfirst_int(lc)].sources)
			add_path(g, lfirst_int(ls), lfirst_int(lc));
	for (int i = list_length(order) - 1; i >= 0; i--)
	{
		int v = list_nth_int(order, i);

		foreach (ls, g->v[v].sources)
		{
			Vertex *s = &g->v[lfirst_int(ls)];

			g->v[v].inside |= s->inside || (s->paths > 1 && s->ipdom == d);
		}
		if (g->v[v].inside && v != d)
		{
			g->v[root_of(g, v)].parent = root_of(g, d);
			g->v[d].convergence = true;
		}
	}
	g->v[d].inside = false;
}

/* ---------- the result ---------- */

static void
put_group(Graph *g, int root, int number, ReturnSetInfo *rsi)
{
	int64 epoch = 0;
	bool slowest = false;

	for (int i = 0; i < g->nst; i++)
	{
		if (root_of(g, i) != root)
			continue;
		epoch = Max(epoch, g->v[i].epoch);
		slowest |= g->v[i].slowest;
	}
	for (int i = 0; i < g->nst; i++)
	{
		Datum values[6] = {Int32GetDatum(number), (Datum) 0, (Datum) 0, BoolGetDatum(g->v[i].convergence), Int64GetDatum(epoch), (Datum) 0};
		bool nulls[6] = {false};

		if (root_of(g, i) != root)
			continue;
		values[1] = CStringGetTextDatum(g->v[i].name);
		values[2] = CStringGetTextDatum(g->v[i].schema);
		values[5] = CStringGetTextDatum(slowest ? "slowest" : "fastest");
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, values, nulls);
	}
}

static int
group_size(Graph *g, int root)
{
	int n = 0;

	for (int i = 0; i < g->nst; i++)
		n += root_of(g, i) == root;
	return n;
}

Datum
pgt_diamond_groups(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	PgtCatalogScope scope;
	Graph g = {0};
	int number = 0;

	InitMaterializedSRF(fcinfo, 0);
	scope = pgt_catalog_begin();
	SPI_connect();
	read_vertices(&g);
	read_edges(&g);
	for (int i = 0; i < g.nst; i++)
		rank_vertex(&g, i);
	for (int i = 0; i < g.nst; i++)
		if (g.v[i].atomic && list_length(g.v[i].sources) > 1)
			close_diamonds(&g, i);
	for (int i = 0; i < g.nst; i++)
		if (root_of(&g, i) == i && group_size(&g, i) > 1)
			put_group(&g, i, ++number, rsi);
	SPI_finish();
	pgt_catalog_end(scope);
	return (Datum) 0;
}
