/* link: extension/self_threshold.c */
/*
 * test_self_threshold.c - the rule of DF-3: its steps, and 10,000 random inputs with everything a float can be among them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <float.h>
#include <cmocka.h>

#include "extension/self_threshold.h"

static void
near(double got, double expected)
{
	if (fabs(got - expected) > 1e-12)
		fail_msg("got %.17g, expected %.17g", got, expected);
}

static void
steps(void **state)
{
	near(pgt_recommended_threshold(30, 100, 0.15), 0.18);
	near(pgt_recommended_threshold(30.001, 100, 0.15), 0.15);
	near(pgt_recommended_threshold(79.999, 100, 0.15), 0.15);
	near(pgt_recommended_threshold(80, 100, 0.15), 0.105);
	near(pgt_recommended_threshold(0, 100, 0.5), 0.6);
	near(pgt_recommended_threshold(1, 100, 0.7), 0.80);
	near(pgt_recommended_threshold(500, 100, 0.012), 0.01);
}

static void
missing_data_keeps(void **state)
{
	near(pgt_recommended_threshold(NAN, 100, 0.4), 0.4);
	near(pgt_recommended_threshold(10, NAN, 0.4), 0.4);
	near(pgt_recommended_threshold(10, 0, 0.4), 0.4);
	near(pgt_recommended_threshold(10, -5, 0.4), 0.4);
	near(pgt_recommended_threshold(-10, 100, 0.4), 0.4);
	near(pgt_recommended_threshold(INFINITY, 100, 0.4), 0.4);
	near(pgt_recommended_threshold(10, INFINITY, 0.4), 0.4);
	near(pgt_recommended_threshold(10, 100, NAN), 0.18);
	near(pgt_recommended_threshold(50, 100, NAN), 0.15);
	near(pgt_recommended_threshold(50, 100, 7), 0.80);
	near(pgt_recommended_threshold(50, 100, -INFINITY), 0.01);
}

static double
any_number(void)
{
	static const double odd[] = {0, -0.0, NAN, INFINITY, -INFINITY, DBL_MAX, -DBL_MAX, DBL_MIN, DBL_TRUE_MIN, -1, 1e-300, 1e300};

	if (random() % 3 == 0)
		return odd[random() % (sizeof(odd) / sizeof(odd[0]))];
	return (random() % 2 ? 1 : 100000) * (double) random() / RAND_MAX;
}

/* What the rule says, written once more from the specification. */
static double
expected(double diff, double full, double current)
{
	double t = isnan(current) ? 0.15 : current;

	t = fmin(0.80, fmax(0.01, t));
	if (isfinite(diff) && isfinite(full) && diff >= 0 && full > 0)
		t *= diff / full <= 0.30 ? 1.2 : diff / full >= 0.80 ? 0.7
															 : 1;
	return fmin(0.80, fmax(0.01, t));
}

static void
always_in_range(void **state)
{
	srandom(20);
	for (int i = 0; i < 10000; i++)
	{
		double diff = any_number();
		double full = any_number();
		double current = any_number();
		double got = pgt_recommended_threshold(diff, full, current);

		if (!(got >= 0.01 && got <= 0.80))
			fail_msg("(%g, %g, %g) gives %g", diff, full, current, got);
		near(got, expected(diff, full, current));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps),
		cmocka_unit_test(missing_data_keeps),
		cmocka_unit_test(always_in_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
