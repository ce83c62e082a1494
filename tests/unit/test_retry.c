/*
 * test_retry.c - backoff: grows, stays within its bounds, starts over after success, differs between clients.
 */
/* link: consumer/retry.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "consumer/retry.h"

static void
pauses_double_up_to_the_limit(void **state)
{
	for (uint64_t seed = 0; seed < 200; seed++)
	{
		PgtRetry r;
		int64_t whole = 50000;

		pgt_retry_init(&r, 50000, 5000000, seed);
		for (int i = 0; i < 100; i++)
		{
			int64_t pause = pgt_retry_failed(&r);

			assert_true(pause >= whole / 2 && pause <= whole);
			whole = whole * 2 > 5000000 ? 5000000 : whole * 2;
		}
		pgt_retry_succeeded(&r);
		assert_true(pgt_retry_failed(&r) <= 50000);
	}
}

static void
clients_keep_apart(void **state)
{
	PgtRetry a, b;
	int same = 0;

	pgt_retry_init(&a, 1000000, 1000000, 1);
	pgt_retry_init(&b, 1000000, 1000000, 2);
	for (int i = 0; i < 100; i++)
		same += pgt_retry_failed(&a) == pgt_retry_failed(&b);
	assert_true(same < 5);
}

static void
a_limit_below_the_first_pause_is_raised(void **state)
{
	PgtRetry r;

	pgt_retry_init(&r, 1000, 10, 3);
	for (int i = 0; i < 10; i++)
		assert_in_range(pgt_retry_failed(&r), 500, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_double_up_to_the_limit),
		cmocka_unit_test(clients_keep_apart),
		cmocka_unit_test(a_limit_below_the_first_pause_is_raised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
