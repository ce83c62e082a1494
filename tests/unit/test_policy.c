/* link: consumer/policy.c consumer/dag.c consumer/schedule.c consumer/cron.c */
/*
 * test_policy.c - what is refreshed, when, and together with what; on a clock of our own.
 */
#include "policy_world.h"

static void
idle_means_no_timer(void **state)
{
	reset();
	add("1s", 10, -1, -1);
	add("continuous", 10, -1, -1);
	add("* * * * *", 10, -1, -1);
	add("calculated", 10, -1, -1);
	ready();
	p.now = START + 3600 * SEC;
	assert_true(pgt_policy_tick(&p) == PGT_NEVER);
	assert_int_equal(next_job(4), 0);
}

static void
duration_waits_for_its_time_and_a_change(void **state)
{
	reset();
	add("10s", 10, -1, -1);
	ready();
	commit_to(10);
	p.now = START + 4 * SEC;
	assert_true(pgt_policy_tick(&p) == START + 10 * SEC);
	assert_false(wanted(0));
	p.now = START + 10 * SEC;
	assert_true(pgt_policy_tick(&p) == PGT_NEVER);
	assert_true(wanted(0));
	assert_int_equal(next_job(4), 1);

	/* running: not started again, whatever comes */
	commit_to(10);
	p.now += 100 * SEC;
	assert_true(pgt_policy_tick(&p) == PGT_NEVER);
	assert_int_equal(next_job(4), 0);
	njob = 1;
	finish_job(true); /* its barrier was after that commit */
	pgt_policy_tick(&p);
	assert_false(wanted(0));
	commit_to(10);
	pgt_policy_tick(&p);
	assert_true(wanted(0)); /* more than a period since the last start */
}

static void
commit_after_the_barrier_is_pending(void **state)
{
	PgtRefreshed r = {.barrier = 500};

	reset();
	add("1s", 10, -1, -1);
	ready();
	lsn = 498;
	commit_to(10); /* ended at 499 */
	p.now = START + SEC;
	pgt_policy_tick(&p);
	next_job(1);
	lsn = 500;
	commit_to(10); /* 501, while it ran */
	pgt_policy_succeeded(&p, 0, &r, in_job_flags);
	p.now = START + 5 * SEC;
	pgt_policy_tick(&p);
	assert_true(wanted(0));
}

static void
continuous_coalesces(void **state)
{
	reset();
	add("continuous", 10, -1, -1);
	ready();
	commit_to(10);
	assert_true(pgt_policy_tick(&p) == START + 2000);
	p.now = START + 1000;
	commit_to(10);
	assert_true(pgt_policy_tick(&p) == START + 2000);
	p.now = START + 2000;
	pgt_policy_tick(&p);
	assert_true(wanted(0));
}

static void
cron_is_due_on_the_minute(void **state)
{
	reset();
	add("*/5 * * * *", 10, -1, -1);
	ready();
	commit_to(10);
	assert_true(pgt_policy_tick(&p) == START / (300 * SEC) * 300 * SEC + 300 * SEC);
}

static void
first_due(void **state)
{
	reset();
	add("1h", 10, -1, -1);
	add("@daily", 10, -1, -1);
	add("calculated", 10, -1, -1);
	/* a missed occurrence is made up for at once */
	assert_true(pgt_policy_first_due(&sts[0], START - 7200 * SEC, START, SEC) == START - 3600 * SEC);
	assert_true(pgt_policy_first_due(&sts[1], START - 7 * 86400 * SEC, START, SEC) < START);
	assert_true(pgt_policy_first_due(&sts[1], 0, START, SEC) > START);
	assert_true(pgt_policy_first_due(&sts[2], 0, START, SEC) == START);
}

static void
reasons_to_look_without_a_commit(void **state)
{
	for (int i = 0; i < 5; i++)
	{
		reset();
		add("10s", 10, -1, -1);
		ready();
		sts[0].fresh = i == 0;
		sts[0].needs_reinit = i == 1;
		sts[0].leftover = i == 2;
		sts[0].upstream_changed = i == 3;
		sts[0].clocked = i == 4;
		assert_true(pgt_policy_tick(&p) == START + 10 * SEC);
		p.now = START + 10 * SEC;
		pgt_policy_tick(&p);
		assert_true(wanted(0));
	}
}

static void
first_load_does_not_wait_for_the_schedule(void **state)
{
	reset();
	add("@yearly", 10, -1, -1);
	add("calculated", 10, -1, -1);
	ready();
	sts[0].populated = sts[1].populated = false;
	pgt_policy_tick(&p);
	assert_true(wanted(0) && wanted(1));
}

static void
held_sts_are_left_alone(void **state)
{
	reset();
	add("1s", 10, -1, -1);
	ready();
	sts[0].enabled = false;
	sts[0].fresh = true;
	p.now = START + 100 * SEC;
	assert_true(pgt_policy_tick(&p) == PGT_NEVER);
	assert_int_equal(next_job(4), 0);
}

static void
tiers_stretch(void **state)
{
	assert_int_equal(pgt_tier_factor("hot"), 1);
	assert_int_equal(pgt_tier_factor("warm"), 2);
	assert_int_equal(pgt_tier_factor("cold"), 10);
	assert_int_equal(pgt_tier_factor("frozen"), 0);
	reset();
	add("1s", 10, -1, -1);
	ready();
	sts[0].factor = 10;
	pgt_policy_started(&p, 0);
	assert_true(sts[0].due == START + 10 * SEC);
}

/* ---- failure ---- */

static void
failure_backs_off_and_looks_again(void **state)
{
	reset();
	add("1h", 10, -1, -1);
	ready();
	commit_to(10);
	p.now = START + 3600 * SEC;
	pgt_policy_tick(&p);
	next_job(1);
	pgt_policy_failed(&p, 0, 3 * SEC, true);
	assert_int_equal(sts[0].failures, 1);
	assert_true(pgt_policy_tick(&p) == p.now + 3 * SEC);
	p.now += 3 * SEC;
	pgt_policy_tick(&p);
	assert_true(wanted(0));
	next_job(1);
	finish_job(true);
	assert_int_equal(sts[0].failures, 0);
	assert_true(pgt_policy_tick(&p) == PGT_NEVER);
}

static void
backoff_doubles_within_bounds(void **state)
{
	int64_t base = SEC;

	for (int failures = 1; failures < 100; failures++)
	{
		int64_t middle = failures < 10 ? base << (failures - 1) : 60 * SEC;

		if (middle > 60 * SEC)
			middle = 60 * SEC;
		assert_true(pgt_backoff(failures, base, 60 * SEC, 0) == middle * 3 / 4);
		for (uint32_t r = 0; r < 5000; r += 7)
		{
			int64_t d = pgt_backoff(failures, base, 60 * SEC, r);

			assert_true(d >= middle * 3 / 4 && d <= middle * 5 / 4);
		}
	}
	assert_true(pgt_backoff(1, base, 60 * SEC, 1023) > pgt_backoff(1, base, 60 * SEC, 0));
}

static void
leftover_is_tried_again_shortly(void **state)
{
	PgtRefreshed r = {.barrier = 1000, .leftover = true};

	reset();
	add("continuous", 10, -1, -1);
	ready();
	commit_to(10);
	p.now += SEC;
	pgt_policy_tick(&p);
	p.now += SEC;
	pgt_policy_tick(&p);
	next_job(1);
	pgt_policy_succeeded(&p, 0, &r, in_job_flags);
	assert_true(pgt_policy_tick(&p) > p.now && pgt_policy_tick(&p) <= p.now + 20000);

	/* still nothing to be had: less and less often */
	for (int i = 0; i < 12; i++)
	{
		p.now = pgt_policy_tick(&p);
		pgt_policy_tick(&p);
		assert_int_equal(next_job(1), 1);
		pgt_policy_succeeded(&p, 0, &r, in_job_flags);
	}
	assert_true(pgt_policy_tick(&p) - p.now > 500000 && pgt_policy_tick(&p) - p.now <= 2 * SEC);

	/* but what is merely newer than S1 under steady writes is not waited for */
	r.changed = true;
	p.now = pgt_policy_tick(&p);
	pgt_policy_tick(&p);
	next_job(1);
	pgt_policy_succeeded(&p, 0, &r, in_job_flags);
	assert_true(pgt_policy_tick(&p) <= p.now + p.coalesce_us);
}

/* ---- graphs ---- */

static void
readers_that_are_due_come_along(void **state)
{
	reset();
	add("1s", 10, -1, -1);
	add("1s", 0, 0, -1);
	add("1h", 0, 1, -1);
	ready();
	commit_to(10);
	p.now = START + SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(0, 1, -1));
	finish_job(true);
	assert_false(sts[1].upstream_changed); /* it was in the job */
	assert_true(sts[2].upstream_changed);  /* remembered until it is due */
	assert_true(pgt_policy_tick(&p) == START + 3600 * SEC);
}

static void
unchanged_upstream_wakes_nobody(void **state)
{
	reset();
	add("1s", 10, -1, -1);
	add("1h", 0, 0, -1);
	ready();
	commit_to(10);
	p.now = START + SEC;
	pgt_policy_tick(&p);
	next_job(1);
	finish_job(false);
	assert_false(sts[1].upstream_changed);
}

static void
reader_waits_for_a_running_upstream(void **state)
{
	int first[1];

	reset();
	add("1s", 10, -1, -1);
	add("1s", 11, 0, -1);
	ready();
	sts[1].due = START + 2 * SEC;
	commit_to(10);
	p.now = START + SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(0, -1, -1));
	first[0] = job[0];
	commit_to(11);
	p.now = START + 2 * SEC;
	pgt_policy_tick(&p);
	assert_true(wanted(1));
	assert_int_equal(next_job(4), 0);
	njob = 1;
	job[0] = first[0];
	finish_job(true);
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(1, -1, -1));
}

static void
calculated_is_pulled_by_its_readers(void **state)
{
	reset();
	add("calculated", 10, -1, -1);
	add("calculated", 0, 0, -1);
	add("1h", 0, 1, -1);
	add("30s", 0, 0, -1);
	ready();
	commit_to(10);
	p.now = START + 5 * SEC;
	assert_true(pgt_policy_tick(&p) == START + 30 * SEC);
	p.now = START + 30 * SEC;
	pgt_policy_tick(&p);
	next_job(1);
	assert_true(job_is(0, 3, -1));
	finish_job(true);
	assert_true(sts[1].upstream_changed);
	assert_true(pgt_policy_tick(&p) == START + 3600 * SEC);
	p.now = START + 3600 * SEC;
	pgt_policy_tick(&p);
	next_job(1);
	assert_true(job_is(1, 2, -1));
}

static void
calculated_alone_uses_the_default(void **state)
{
	reset();
	add("calculated", 10, -1, -1);
	add("calculated", 11, -1, -1);
	add("1h", 0, 1, -1);
	ready();
	sts[2].enabled = false; /* a suspended reader does not count */
	commit_to(10);
	commit_to(11);
	assert_true(pgt_policy_tick(&p) == START + SEC);
	p.now = START + SEC;
	pgt_policy_tick(&p);
	assert_true(wanted(0) && wanted(1));
}

static void
diamond(void)
{
	reset();
	add("1s", 10, -1, -1);
	add("1h", 10, -1, -1);
	nodes[add("1h", 0, 0, 1)].atomic = true;
	ready();
}

static void
atomic_units_go_whole(void **state)
{
	diamond();
	commit_to(10);
	p.now = START + SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(0, 1, 2));
}

/* 0 is due every second, 1 and 2 every hour; a change of 1's own table is enough for all */
static void
diamonds_follow_their_fastest_or_slowest_member(void **state)
{
	reset();
	add("1s", 10, -1, -1);
	tab[add("1h", 10, -1, -1)][nodes[1].ntables++] = 11;
	nodes[add("1h", 0, 0, 1)].atomic = true;
	ready();
	commit_to(11);
	assert_true(pgt_policy_tick(&p) == START + SEC);
	p.now = START + SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(0, 1, 2));
	finish_job(true);
	assert_true(pgt_policy_tick(&p) == PGT_NEVER);

	sts[2].slowest = true;
	commit_to(10);
	p.now += 2 * SEC;
	assert_true(pgt_policy_tick(&p) == START + 3601 * SEC);
	assert_int_equal(next_job(4), 0);
	p.now = START + 3601 * SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(0, 1, 2));
}

static void
atomic_units_without_a_held_member(void **state)
{
	diamond();
	sts[0].enabled = false; /* 2 reads it and must not see 1 newer */
	commit_to(10);
	p.now = START + 3600 * SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(1, -1, -1));
}

static void
atomic_units_wait_for_a_member_that_backs_off(void **state)
{
	diamond();
	commit_to(10);
	p.now = START + 3600 * SEC;
	pgt_policy_tick(&p);
	next_job(4);
	pgt_policy_failed(&p, 0, 5 * SEC, true);
	pgt_policy_failed(&p, 2, 0, false);
	njob = 1;
	job[0] = 1;
	finish_job(true);
	assert_true(pgt_policy_tick(&p) == p.now + 5 * SEC);
	assert_int_equal(next_job(4), 0);
	p.now += 5 * SEC;
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(0, 1, 2));
}

/* 3 reads 1, whose unit waits for 0 to be tried again: 3 goes on with what 1 has */
static void
readers_do_not_wait_for_a_unit_that_rests(void **state)
{
	reset();
	add("1s", 10, -1, -1);
	add("1s", 10, -1, -1);
	nodes[add("1s", 0, 0, 1)].atomic = true;
	add("1s", 11, 1, -1);
	ready();
	sts[0].fresh = true;
	sts[0].retry_at = START + 100 * SEC;
	commit_to(10);
	commit_to(11);
	p.now = START + SEC;
	assert_true(pgt_policy_tick(&p) == START + 100 * SEC);
	next_job(4);
	assert_true(job_is(3, -1, -1));
}

static void
unpopulated_upstream_comes_first(void **state)
{
	reset();
	add("1h", 10, -1, -1);
	add("1h", 0, 0, -1);
	ready();
	sts[0].populated = sts[1].populated = false;
	sts[0].large = true;
	pgt_policy_tick(&p);
	assert_int_equal(next_job(4), 0); /* the large one is for the background, its reader must wait */
	njob = pgt_policy_next_job(&p, 1, true, job);
	assert_true(job_is(0, -1, -1));
	pgt_policy_started(&p, 0);
	assert_int_equal(pgt_policy_next_job(&p, 1, true, job), 0);
	assert_int_equal(next_job(4), 0);
	njob = 1;
	job[0] = 0;
	finish_job(true);
	pgt_policy_tick(&p);
	next_job(4);
	assert_true(job_is(1, -1, -1));
}

static void
quick_units_share_a_job(void **state)
{
	reset();
	for (int i = 0; i < 40; i++)
		add("1s", 10 + (uint32_t) i, -1, -1);
	ready();
	for (int i = 0; i < 40; i++)
	{
		commit_to(10 + (uint32_t) i);
		sts[i].cost_ms = i == 5 ? 500 : 2;
	}
	p.now = START + SEC;
	pgt_policy_tick(&p);
	assert_int_equal(next_job(4), 10);
	for (int i = 0; i < njob; i++)
		assert_int_not_equal(job[i], 5);
	assert_int_equal(next_job(3), 1); /* slow: alone */
	assert_int_equal(job[0], 5);
	assert_int_equal(next_job(2), 15);
	assert_int_equal(next_job(40), 1); /* enough workers: no sharing */
}

/* Two workers, ten STs that always want: everyone's turn comes. */
static void
nobody_starves(void **state)
{
	int turns[10] = {0};

	reset();
	for (int i = 0; i < 10; i++)
		add("continuous", 10, -1, -1);
	ready();
	for (int round = 0; round < 1000; round++)
	{
		commit_to(10);
		pgt_policy_tick(&p);
		p.now += 5000;
		pgt_policy_tick(&p);
		for (int i = 0; i < 10; i++)
			sts[i].cost_ms = -1; /* no sharing */
		assert_int_equal(next_job(1), 1);
		turns[job[0]]++;
		finish_job(true);
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(turns[i], 90, 110);
}

static void
clock_jumps_are_followed(void **state)
{
	reset();
	add("10s", 10, -1, -1);
	add("@hourly", 10, -1, -1);
	ready();
	commit_to(10);
	p.now = START - 86400 * SEC + 4 * SEC; /* set back by a day, four seconds later */
	pgt_policy_clock_jumped(&p, -86400 * SEC);
	assert_true(pgt_policy_tick(&p) == p.now + 6 * SEC);
	assert_true(sts[1].due - p.now <= 3600 * SEC);
}

/* ---- a simulated world: whatever happens, jobs are sound and in the end everything is up to date ---- */

typedef struct Running
{
	int nodes[MAX];
	int n;
	int64_t until;
} Running;

static void
check_job(const int *nodes_, int count)
{
	bool member[64] = {false};
	int last = -1;

	for (int i = 0; i < count; i++)
	{
		int v = nodes_[i];
		int position = 0;

		assert_false(sts[v].running);
		assert_true(sts[v].enabled);
		member[v] = true;
		while (p.dag->order[position] != v)
			position++;
		assert_true(position > last);
		last = position;
	}
	for (int i = 0; i < count; i++)
	{
		int v = nodes_[i];

		for (int w = 0; w < n; w++)
		{
			if (p.dag->unit[w] == p.dag->unit[v])
				assert_true(member[w] || (flags[w] & PGT_ST_HELD));
		}
		for (int e = p.dag->upstreams.start[v]; e < p.dag->upstreams.start[v + 1]; e++)
		{
			int u = p.dag->upstreams.items[e];

			assert_true(member[u] || !sts[u].running || !sts[u].enabled);
		}
	}
}

static void
end_job(Running *r, uint64_t barrier)
{
	memset(in_job_flags, 0, sizeof(in_job_flags));
	for (int i = 0; i < r->n; i++)
		in_job_flags[r->nodes[i]] = true;
	for (int i = 0; i < r->n; i++)
	{
		PgtRefreshed ok = {.barrier = barrier, .changed = rand() % 2 == 0, .leftover = rand() % 10 == 0, .cost_ms = rand() % 40};

		if (rand() % 10 == 0)
			pgt_policy_failed(&p, r->nodes[i], pgt_backoff(1, SEC, SEC, (uint32_t) rand()), true);
		else
			pgt_policy_succeeded(&p, r->nodes[i], &ok, in_job_flags);
	}
	r->n = 0;
}

static void
simulation(void **state)
{
	static const char *const schedules[] = {"continuous", "50ms", "1s", "calculated", "* * * * *"};
	static Running running[3];
	static uint64_t begun[3];
	int total = 0;

	for (int round = 0; round < 60; round++)
	{
		srand((unsigned) round);
		reset();
		for (int i = 0; i < 12; i++)
		{
			add(schedules[rand() % 5], i < 4 || rand() % 3 == 0 ? 10u + (unsigned) rand() % 3 : 0,
				i >= 4 ? rand() % i : -1, i >= 4 && rand() % 2 ? rand() % i : -1);
			nodes[i].atomic = rand() % 2;
		}
		ready();
		for (int i = 0; i < 12; i++)
		{
			sts[i].populated = rand() % 3 != 0;
			sts[i].large = rand() % 3 == 0;
			sts[i].fresh = true;
		}
		memset(running, 0, sizeof(running));
		for (int step = 0; step < 30000; step++)
		{
			bool quiet = step > 10000;

			p.now += quiet ? 20000 : 1000;
			if (!quiet && rand() % 4 == 0 && p.dag->ntables > 0)
				table_lsn[rand() % p.dag->ntables] = ++lsn;
			for (int w = 0; w < 3; w++)
			{
				if (running[w].n > 0 && running[w].until <= p.now)
					end_job(&running[w], begun[w]);
			}
			pgt_policy_tick(&p);
			for (int w = 0; w < 3; w++)
			{
				if (running[w].n > 0)
					continue;
				running[w].n = pgt_policy_next_job(&p, 1, w == 2, running[w].nodes);
				check_job(running[w].nodes, running[w].n);
				for (int i = 0; i < running[w].n; i++)
					pgt_policy_started(&p, running[w].nodes[i]);
				running[w].until = p.now + rand() % 30000;
				begun[w] = ++lsn;
				total += running[w].n;
			}
		}
		for (int i = 0; i < 12; i++)
		{
			assert_true(sts[i].populated);
			/* cron and failures may be on their way at the end; nothing else may be pending and due for long */
			if (flags[i] & PGT_ST_WANTED)
				assert_true(sts[i].running || p.now - sts[i].pending_since < 5 * SEC);
		}
	}
	assert_true(total > 10000);
}

/* The promise of the brief: 1,000 STs over 50 sources, nothing to do. */
static void
idle_tick_is_cheap(void **state)
{
	clock_t began;

	reset();
	for (int i = 0; i < 1000; i++)
		add("1s", 10 + (uint32_t) i % 50, i >= 500 ? i - 500 : -1, -1);
	ready();
	p.now = START + 100 * SEC;
	began = clock();
	for (int i = 0; i < 1000; i++)
	{
		assert_true(pgt_policy_tick(&p) == PGT_NEVER);
		assert_int_equal(next_job(4), 0);
	}
	/* a thousand ticks within 5 s even under the sanitizers: 5 ms each, a tenth of what is asked */
	assert_true((double) (clock() - began) / CLOCKS_PER_SEC < 5.0);
	print_message("idle tick over 1,000 STs: %.1f us\n", (double) (clock() - began) / CLOCKS_PER_SEC * 1e6 / 1000);
}

/* ---- what self-monitoring asks for ---- */

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_means_no_timer),
		cmocka_unit_test(duration_waits_for_its_time_and_a_change),
		cmocka_unit_test(commit_after_the_barrier_is_pending),
		cmocka_unit_test(continuous_coalesces),
		cmocka_unit_test(cron_is_due_on_the_minute),
		cmocka_unit_test(first_due),
		cmocka_unit_test(reasons_to_look_without_a_commit),
		cmocka_unit_test(first_load_does_not_wait_for_the_schedule),
		cmocka_unit_test(held_sts_are_left_alone),
		cmocka_unit_test(tiers_stretch),
		cmocka_unit_test(failure_backs_off_and_looks_again),
		cmocka_unit_test(backoff_doubles_within_bounds),
		cmocka_unit_test(leftover_is_tried_again_shortly),
		cmocka_unit_test(readers_that_are_due_come_along),
		cmocka_unit_test(unchanged_upstream_wakes_nobody),
		cmocka_unit_test(reader_waits_for_a_running_upstream),
		cmocka_unit_test(calculated_is_pulled_by_its_readers),
		cmocka_unit_test(calculated_alone_uses_the_default),
		cmocka_unit_test(atomic_units_go_whole),
		cmocka_unit_test(diamonds_follow_their_fastest_or_slowest_member),
		cmocka_unit_test(atomic_units_without_a_held_member),
		cmocka_unit_test(atomic_units_wait_for_a_member_that_backs_off),
		cmocka_unit_test(readers_do_not_wait_for_a_unit_that_rests),
		cmocka_unit_test(unpopulated_upstream_comes_first),
		cmocka_unit_test(quick_units_share_a_job),
		cmocka_unit_test(nobody_starves),
		cmocka_unit_test(clock_jumps_are_followed),
		cmocka_unit_test(simulation),
		cmocka_unit_test(idle_tick_is_cheap),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pgt_dag_free((PgtDag *) p.dag);
	return failed;
}
