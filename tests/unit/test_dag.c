/* link: consumer/dag.c */
/*
 * test_dag.c - order, cycles and units of the graph: examples, and random graphs against brute force over all paths.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "consumer/dag.h"

#define MAX_NODES 9
#define MAX_TABLES 3

/* A small graph: bit j of up[i]: node i reads node j; bit t of tab[i]: node i reads table t. */
typedef struct Small
{
	int n;
	unsigned up[MAX_NODES];
	unsigned tab[MAX_NODES];
	bool plain[MAX_NODES]; /* not atomic */
	int group[MAX_NODES];
} Small;

static PgtDag *
build(const Small *s)
{
	static uint32_t tables[MAX_NODES][MAX_TABLES];
	static int64_t upstreams[MAX_NODES][MAX_NODES];
	PgtDagNode nodes[MAX_NODES];

	memset(nodes, 0, sizeof(nodes));
	for (int i = 0; i < s->n; i++)
	{
		nodes[i].id = 100 + (i * 7) % 11; /* ids in another order than positions */
		nodes[i].atomic = !s->plain[i];
		nodes[i].refresh_group = s->group[i];
		nodes[i].tables = tables[i];
		nodes[i].upstreams = upstreams[i];
		for (int t = 0; t < MAX_TABLES; t++)
		{
			if (s->tab[i] & (1u << t))
				tables[i][nodes[i].ntables++] = 5000u + (unsigned) t;
		}
		for (int j = 0; j < s->n; j++)
		{
			if (s->up[i] & (1u << j))
				upstreams[i][nodes[i].nupstreams++] = 100 + (j * 7) % 11;
		}
	}
	return pgt_dag_build(nodes, s->n);
}

static void
check_order(const PgtDag *dag)
{
	int position[MAX_NODES];
	int seen = 0;

	for (int i = 0; i < dag->nnodes; i++)
	{
		position[dag->order[i]] = i;
		seen |= 1 << dag->order[i];
	}
	assert_int_equal(seen, (1 << dag->nnodes) - 1);
	for (int v = 0; v < dag->nnodes; v++)
	{
		for (int e = dag->upstreams.start[v]; e < dag->upstreams.start[v + 1]; e++)
		{
			assert_true(position[dag->upstreams.items[e]] < position[v]);
			assert_true(dag->unit[dag->upstreams.items[e]] <= dag->unit[v]);
		}
	}
	for (int i = 1; i < dag->nnodes; i++)
		assert_true(dag->unit[dag->order[i - 1]] <= dag->unit[dag->order[i]]);
	for (int u = 0; u < dag->nunits; u++)
	{
		assert_true(dag->members.start[u] < dag->members.start[u + 1]);
		for (int m = dag->members.start[u]; m < dag->members.start[u + 1]; m++)
			assert_int_equal(dag->unit[dag->members.items[m]], u);
	}
}

static bool
together(const PgtDag *dag, int a, int b)
{
	return dag->unit[a] == dag->unit[b];
}

/* t <- 0, t <- 1, {0, 1} <- 2 */
static void
diamond_over_a_table(void **state)
{
	Small s = {.n = 3, .tab = {1, 1, 0}, .up = {0, 0, 3}};
	PgtDag *dag = build(&s);

	check_order(dag);
	assert_int_equal(dag->nunits, 1);
	pgt_dag_free(dag);

	s.plain[2] = true;
	dag = build(&s);
	assert_int_equal(dag->nunits, 3);
	pgt_dag_free(dag);
}

/* 0 reads t; 1 and 2 read 0; 3 reads 1 and 2: the fork itself stays outside */
static void
diamond_over_an_st(void **state)
{
	Small s = {.n = 4, .tab = {1, 0, 0, 0}, .up = {0, 1, 1, 6}};
	PgtDag *dag = build(&s);

	check_order(dag);
	assert_int_equal(dag->nunits, 2);
	assert_false(together(dag, 0, 1));
	assert_true(together(dag, 1, 2) && together(dag, 2, 3));
	pgt_dag_free(dag);
}

/* 1 reads t and 0, which reads t */
static void
table_read_directly_and_through_an_st(void **state)
{
	Small s = {.n = 2, .tab = {1, 1}, .up = {0, 1}};
	PgtDag *dag = build(&s);

	assert_int_equal(dag->nunits, 1);
	pgt_dag_free(dag);
}

/* Two inputs without anything in common, and a chain: nobody waits for a shared snapshot. */
static void
no_diamond(void **state)
{
	Small s = {.n = 4, .tab = {1, 2, 0, 0}, .up = {0, 0, 3, 4}};
	PgtDag *dag = build(&s);

	check_order(dag);
	assert_int_equal(dag->nunits, 4);
	pgt_dag_free(dag);
}

/* A diamond that closes in 2 does not grow into 4, which reads 2 and something else. */
static void
only_up_to_the_nearest_convergence(void **state)
{
	Small s = {.n = 5, .tab = {1, 1, 0, 2, 0}, .up = {0, 0, 3, 0, 4 | 8}};
	PgtDag *dag = build(&s);

	assert_true(together(dag, 0, 2) && together(dag, 1, 2));
	assert_false(together(dag, 2, 4));
	assert_false(together(dag, 3, 4));
	pgt_dag_free(dag);
}

static void
groups_are_units_and_stay_acyclic(void **state)
{
	Small s = {.n = 3, .tab = {1, 0, 0}, .up = {0, 1, 2}, .group = {9, 0, 9}};
	PgtDag *dag = build(&s);

	assert_int_equal(dag->nunits, 1); /* 1 lies between the two and must come along */
	check_order(dag);
	pgt_dag_free(dag);
}

static void
cycles_are_flagged(void **state)
{
	Small s = {.n = 5, .tab = {1, 0, 0, 0, 0}, .up = {4, 1, 2, 8, 4}}; /* 0→1→2→0, 3→3, 2→4 */
	PgtDag *dag = build(&s);

	assert_true(dag->cyclic[0] && dag->cyclic[1] && dag->cyclic[2] && dag->cyclic[3]);
	assert_false(dag->cyclic[4]);
	check_order(dag);
	pgt_dag_free(dag);
}

static void
tables_are_found(void **state)
{
	Small s = {.n = 2, .tab = {1 | 4, 4}, .up = {0, 0}};
	PgtDag *dag = build(&s);

	assert_int_equal(dag->ntables, 2);
	assert_int_equal(pgt_dag_find_table(dag, 5000), 0);
	assert_int_equal(pgt_dag_find_table(dag, 5002), 1);
	assert_int_equal(pgt_dag_find_table(dag, 5001), -1);
	pgt_dag_free(dag);
}

static void
unknown_upstreams_are_ignored(void **state)
{
	int64_t up[] = {77, 78};
	PgtDagNode node = {.id = 1, .upstreams = up, .nupstreams = 2};
	PgtDag *dag = pgt_dag_build(&node, 1);

	assert_int_equal(dag->upstreams.start[1], 0);
	pgt_dag_free(dag);
	dag = pgt_dag_build(NULL, 0);
	assert_int_equal(dag->nunits, 0);
	pgt_dag_free(dag);
}

static void
calculated_takes_the_shortest_reader(void **state)
{
	Small s = {.n = 5, .tab = {1, 0, 0, 0, 2}, .up = {0, 1, 1, 2, 0}}; /* 0→{1,2}, 1→3; 4 alone */
	PgtDag *dag = build(&s);
	int64_t periods[] = {-1, -1, 500, 300, -1};

	pgt_dag_effective_periods(dag, periods, 77);
	assert_int_equal(periods[0], 300);
	assert_int_equal(periods[1], 300);
	assert_int_equal(periods[2], 500);
	assert_int_equal(periods[4], 77);
	pgt_dag_free(dag);
}

/* ---- brute force ---- */

typedef struct Paths
{
	unsigned interior[2000]; /* bit set of the STs strictly between, one per path */
	int n;
} Paths;

static void
walk(const Small *s, int from, int to, unsigned interior, Paths *paths)
{
	if (from == to)
	{
		paths->interior[paths->n++] = interior;
		return;
	}
	for (int v = 0; v < s->n; v++)
	{
		if (s->up[v] & (1u << from))
			walk(s, v, to, v == to ? interior : interior | (1u << v), paths);
	}
}

static void
walk_from_table(const Small *s, int table, int to, Paths *paths)
{
	for (int v = 0; v < s->n; v++)
	{
		if (s->tab[v] & (1u << table))
			walk(s, v, to, v == to ? 0 : 1u << v, paths);
	}
}

/* STs between when two of the paths have nothing in common, else nothing. */
static unsigned
diamond_members(const Paths *paths)
{
	unsigned all = 0;
	bool disjoint = false;

	for (int i = 0; i < paths->n; i++)
	{
		all |= paths->interior[i];
		for (int j = 0; j < i; j++)
			disjoint = disjoint || (paths->interior[i] & paths->interior[j]) == 0;
	}
	return disjoint ? all : 0;
}

static void
oracle_units(const Small *s, int *unit)
{
	bool changed = true;

	for (int v = 0; v < s->n; v++)
		unit[v] = v;
	while (changed)
	{
		unsigned join[MAX_NODES] = {0};
		bool before[MAX_NODES][MAX_NODES] = {{false}};

		changed = false;
		for (int d = 0; d < s->n; d++)
		{
			for (int x = -MAX_TABLES; x < s->n && !s->plain[d]; x++)
			{
				Paths paths = {.n = 0};

				if (x < 0)
					walk_from_table(s, -x - 1, d, &paths);
				else if (x != d)
					walk(s, x, d, 0, &paths);
				join[d] |= diamond_members(&paths);
			}
			for (int v = 0; v < s->n; v++)
			{
				if (s->group[d] != 0 && s->group[v] == s->group[d])
					join[d] |= 1u << v;
				if (s->up[d] & (1u << v))
					before[unit[v]][unit[d]] = true;
			}
		}
		for (int k = 0; k < s->n; k++)
			for (int i = 0; i < s->n; i++)
				for (int j = 0; j < s->n; j++)
					before[i][j] = before[i][j] || (before[i][k] && before[k][j]);
		for (int d = 0; d < s->n; d++)
		{
			for (int v = 0; v < s->n; v++)
			{
				int old = unit[v];

				if (unit[v] == unit[d])
					continue;
				if ((join[d] & (1u << v)) == 0 && !(before[unit[v]][unit[d]] && before[unit[d]][unit[v]]))
					continue;
				for (int w = 0; w < s->n; w++)
				{
					if (unit[w] == old)
						unit[w] = unit[d];
				}
				changed = true;
				d = s->n; /* the matrix is stale: start over */
				break;
			}
		}
	}
}

static void
random_graphs_agree_with_brute_force(void **state)
{
	int merged = 0;

	srand(3);
	for (int round = 0; round < 4000; round++)
	{
		Small s = {.n = 2 + rand() % (MAX_NODES - 1)};
		int unit[MAX_NODES];
		PgtDag *dag;

		for (int v = 0; v < s.n; v++)
		{
			for (int u = 0; u < v; u++)
				s.up[v] |= rand() % 100 < 28 ? 1u << u : 0;
			for (int t = 0; t < MAX_TABLES; t++)
				s.tab[v] |= rand() % 100 < 20 ? 1u << t : 0;
			s.plain[v] = rand() % 4 == 0;
			s.group[v] = rand() % 6 == 0 ? 1 + rand() % 2 : 0;
		}
		dag = build(&s);
		check_order(dag);
		oracle_units(&s, unit);
		for (int a = 0; a < s.n; a++)
		{
			for (int b = 0; b < a; b++)
			{
				if (together(dag, a, b) != (unit[a] == unit[b]))
					fail_msg("round %d: nodes %d and %d: %s", round, a, b, together(dag, a, b) ? "together" : "apart");
				merged += together(dag, a, b);
			}
		}
		pgt_dag_free(dag);
	}
	assert_true(merged > 1000);
}

/* 2,000 STs in layers over 50 tables, each reading two of the layer before: must not be quadratic. */
static void
large_graphs_are_quick(void **state)
{
	enum
	{
		N = 2000,
		LAYER = 200
	};
	static PgtDagNode nodes[N];
	static int64_t up[N][2];
	static uint32_t tab[N][1];
	clock_t began = clock();

	for (int i = 0; i < N; i++)
	{
		nodes[i] = (PgtDagNode){.id = i + 1, .atomic = true, .tables = tab[i], .upstreams = up[i]};
		tab[i][0] = 1000u + (unsigned) (i % 50);
		nodes[i].ntables = i < LAYER;
		nodes[i].nupstreams = i < LAYER ? 0 : 2;
		up[i][0] = i + 1 - LAYER;
		up[i][1] = i + 1 - LAYER - (i % LAYER > 0 ? 1 : 0);
	}
	pgt_dag_free(pgt_dag_build(nodes, N));
	assert_true((double) (clock() - began) / CLOCKS_PER_SEC < 1.0); /* measured: a few hundredths, sanitizers included */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(diamond_over_a_table),
		cmocka_unit_test(diamond_over_an_st),
		cmocka_unit_test(table_read_directly_and_through_an_st),
		cmocka_unit_test(no_diamond),
		cmocka_unit_test(only_up_to_the_nearest_convergence),
		cmocka_unit_test(groups_are_units_and_stay_acyclic),
		cmocka_unit_test(cycles_are_flagged),
		cmocka_unit_test(tables_are_found),
		cmocka_unit_test(unknown_upstreams_are_ignored),
		cmocka_unit_test(calculated_takes_the_shortest_reader),
		cmocka_unit_test(random_graphs_agree_with_brute_force),
		cmocka_unit_test(large_graphs_are_quick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
