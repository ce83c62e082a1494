/*
 * policy_world.h - the world of the policy's tests: stream tables in arrays, a clock and positions that the test moves.
 */
#ifndef PGT_POLICY_WORLD_H
#define PGT_POLICY_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "consumer/policy.h"

/* not every test needs all of them */
#define PGT_HELPER static __attribute__((unused))

#define SEC INT64_C(1000000)
#define START (INT64_C(1700000000) * SEC)
#define MAX 2000

/* A world of up to MAX STs; node i reads tables tab[i] and STs up[i]. */
static PgtDagNode nodes[MAX];
static uint32_t tab[MAX][2];
static int64_t up[MAX][3];
static PgtPolicySt sts[MAX];
static uint64_t table_lsn[MAX];
static uint8_t flags[MAX];
static bool in_job_flags[MAX];
static int job[MAX];
static int njob;
static int n;
static uint64_t lsn;
static PgtPolicy p;

PGT_HELPER void
reset(void)
{
	pgt_dag_free((PgtDag *) p.dag);
	memset(nodes, 0, sizeof(nodes));
	memset(sts, 0, sizeof(sts));
	memset(table_lsn, 0, sizeof(table_lsn));
	memset(&p, 0, sizeof(p));
	n = 0;
	lsn = 100;
	p = (PgtPolicy){.sts = sts, .table_lsn = table_lsn, .flags = flags, .now = START, .fallback_us = SEC, .coalesce_us = 2000};
}

/* Populated, looked at, nothing pending. */
PGT_HELPER int
add(const char *schedule, uint32_t table, int upstream, int upstream2)
{
	PgtPolicySt *st = &sts[n];
	char err[256];

	nodes[n] = (PgtDagNode){.id = n + 1, .tables = tab[n], .upstreams = up[n]};
	if (table != 0)
		tab[n][nodes[n].ntables++] = table;
	if (upstream >= 0)
		up[n][nodes[n].nupstreams++] = upstream + 1;
	if (upstream2 >= 0)
		up[n][nodes[n].nupstreams++] = upstream2 + 1;
	if (!pgt_schedule_parse(schedule, &st->schedule, err, sizeof(err)))
		fail_msg("%s", err);
	st->factor = 1;
	st->enabled = st->populated = true;
	st->barrier = lsn;
	st->cost_ms = -1;
	st->due = pgt_policy_first_due(st, START, START, SEC);
	return n++;
}

PGT_HELPER void
ready(void)
{
	p.dag = pgt_dag_build(nodes, n);
}

PGT_HELPER void
commit_to(uint32_t table)
{
	table_lsn[pgt_dag_find_table(p.dag, table)] = ++lsn;
}

PGT_HELPER bool
wanted(int v)
{
	return (flags[v] & PGT_ST_WANTED) != 0;
}

PGT_HELPER int
next_job(int idle)
{
	njob = pgt_policy_next_job(&p, idle, false, job);
	for (int i = 0; i < njob; i++)
		pgt_policy_started(&p, job[i]);
	return njob;
}

PGT_HELPER void
finish_job(bool changed)
{
	PgtRefreshed r = {.barrier = ++lsn, .changed = changed, .cost_ms = 1};

	memset(in_job_flags, 0, sizeof(in_job_flags));
	for (int i = 0; i < njob; i++)
		in_job_flags[job[i]] = true;
	for (int i = 0; i < njob; i++)
		pgt_policy_succeeded(&p, job[i], &r, in_job_flags);
}

PGT_HELPER bool
job_is(int a, int b, int c)
{
	int expected[] = {a, b, c};
	int count = (a >= 0) + (b >= 0) + (c >= 0);

	return njob == count && memcmp(job, expected, sizeof(int) * (size_t) count) == 0;
}

/* ---- one ST ---- */

#endif /* PGT_POLICY_WORLD_H */
