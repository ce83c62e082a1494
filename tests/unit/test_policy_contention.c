/* link: consumer/policy.c consumer/dag.c consumer/schedule.c consumer/cron.c */
/*
 * test_policy_contention.c - what the policy has learned about itself: dispatch that gives way while others run, and pairs kept apart.
 */
#include "policy_world.h"

/* Three of the same schedule, due at the same time; `running` jobs are under way. */
static void
three_due(bool contended, int running)
{
	reset();
	for (uint32_t t = 10; t < 13; t++)
		add("10s", t, -1, -1);
	ready();
	for (uint32_t t = 10; t < 13; t++)
		commit_to(t);
	p.contended = contended;
	p.nrunning = running;
	p.widen_max = 60 * SEC;
	p.now = START + 10 * SEC;
	pgt_policy_tick(&p);
}

static void
without_contention_nothing_is_put_off(void **state)
{
	three_due(false, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(next_job(1), 1);
	three_due(true, 0);
	assert_int_equal(next_job(1), 1);
}

static void
contention_puts_off_by_a_fifth_once(void **state)
{
	three_due(true, 0);
	assert_int_equal(next_job(1), 1); /* nothing runs: on time */
	p.nrunning = 1;
	assert_int_equal(next_job(1), 0);
	assert_true(p.widen_wake == START + 12 * SEC);
	/* they are still wanted, so that readers wait for them, and the tick knows when to come back */
	assert_true(pgt_policy_tick(&p) == START + 12 * SEC);
	assert_true(wanted(1) && wanted(2));
	p.now = START + 12 * SEC - 1;
	pgt_policy_tick(&p);
	assert_int_equal(next_job(1), 0);
	/* nothing runs any more: the next one starts, the other waits for that one */
	p.nrunning = 0;
	assert_int_equal(next_job(1), 1);
	p.nrunning = 1;
	assert_int_equal(next_job(1), 0);
	/* which runs on: nobody is put off twice */
	p.now = START + 12 * SEC;
	pgt_policy_tick(&p);
	assert_int_equal(next_job(1), 1);
	/* from then on they are out of step with the first */
	njob = 1;
	job[0] = 0;
	finish_job(false);
	for (uint32_t t = 10; t < 13; t++)
		commit_to(t);
	assert_true(sts[0].due == START + 20 * SEC && sts[1].due == START + 22 * SEC - 1 && sts[2].due == START + 22 * SEC);
}

static void
widening_is_bounded(void **state)
{
	PgtPolicySt st = {.factor = 1, .cost_ms = -1};
	char err[256];

	assert_true(pgt_schedule_parse("10s", &st.schedule, err, sizeof(err)));
	assert_true(pgt_policy_widening(&st, SEC, 60 * SEC) == 2 * SEC);
	assert_true(pgt_policy_widening(&st, SEC, SEC) == SEC);
	st.factor = 10;
	assert_true(pgt_policy_widening(&st, SEC, 60 * SEC) == 20 * SEC);
	assert_true(pgt_schedule_parse("calculated", &st.schedule, err, sizeof(err)));
	assert_true(pgt_policy_widening(&st, SEC, 60 * SEC) == SEC / 5);
	assert_true(pgt_schedule_parse("* * * * *", &st.schedule, err, sizeof(err)));
	assert_true(pgt_policy_widening(&st, SEC, 60 * SEC) == 0);
	assert_true(pgt_schedule_parse("continuous", &st.schedule, err, sizeof(err)));
	assert_true(pgt_policy_widening(&st, SEC, 60 * SEC) == 0);
	st.cost_ms = 100;
	assert_true(pgt_policy_widening(&st, SEC, 60 * SEC) == 20000);
}

static void
pairs_are_refreshed_one_after_the_other(void **state)
{
	PgtPair pairs[] = {{.a = 0, .b = 2}};

	three_due(false, 0);
	p.pairs = pairs;
	p.npairs = 1;
	assert_int_equal(next_job(1), 1);
	assert_int_equal(job[0], 0);
	assert_int_equal(next_job(1), 1); /* the third one waits for the first, and nobody else does */
	assert_int_equal(job[0], 1);
	assert_int_equal(next_job(1), 0);
	njob = 1;
	job[0] = 0;
	finish_job(false);
	pgt_policy_tick(&p);
	assert_int_equal(next_job(1), 1);
	assert_int_equal(job[0], 2);
	/* and the other way round */
	commit_to(10);
	p.now += 20 * SEC;
	pgt_policy_tick(&p);
	assert_int_equal(next_job(1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_contention_nothing_is_put_off),
		cmocka_unit_test(contention_puts_off_by_a_fifth_once),
		cmocka_unit_test(widening_is_bounded),
		cmocka_unit_test(pairs_are_refreshed_one_after_the_other),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pgt_dag_free((PgtDag *) p.dag);
	return failed;
}
