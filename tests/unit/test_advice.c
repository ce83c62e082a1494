/* link: consumer/advice.c consumer/captured.c */
/* libs: -lm */
/*
 * test_advice.c - what self-monitoring may change by itself, and what it counts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "consumer/advice.h"
#include "consumer/captured.h"

/* An ST that works, with advice to raise its threshold. */
static PgtAdvice
good(void)
{
	return (PgtAdvice){.status = "ACTIVE", .since_change = NAN, .confidence = "HIGH", .threshold = 0.15, .advised_from = 0.15, .recommended = 0.18, .avg_diff_ms = 10, .deadline_ms = 1000, .tier = "hot"};
}

static bool
threshold(PgtAutoApply mode, PgtAdvice a)
{
	PgtChange c;

	return pgt_advise_threshold(mode, &a, &c);
}

static bool
tier(PgtAutoApply mode, PgtAdvice a, PgtChange *c)
{
	return pgt_advise_tier(mode, &a, c);
}

static void
test_modes(void **state)
{
	assert_int_equal(pgt_auto_apply_of("off"), PGT_AUTO_OFF);
	assert_int_equal(pgt_auto_apply_of("threshold_only"), PGT_AUTO_THRESHOLD_ONLY);
	assert_int_equal(pgt_auto_apply_of("full"), PGT_AUTO_FULL);
	assert_int_equal(pgt_auto_apply_of(NULL), PGT_AUTO_OFF);
	assert_int_equal(pgt_auto_apply_of("on"), PGT_AUTO_OFF);
	assert_false(threshold(PGT_AUTO_OFF, good()));
	assert_true(threshold(PGT_AUTO_THRESHOLD_ONLY, good()));
	assert_true(threshold(PGT_AUTO_FULL, good()));
}

static void
test_threshold_change(void **state)
{
	PgtAdvice a = good();
	PgtChange c;

	assert_true(pgt_advise_threshold(PGT_AUTO_THRESHOLD_ONLY, &a, &c));
	assert_string_equal(c.setting, "auto_threshold");
	assert_string_equal(c.old_value, "0.15");
	assert_string_equal(c.new_value, "0.18");
	assert_false(c.undo);
}

static void
test_threshold_confidence(void **state)
{
	PgtAdvice a = good();

	a.confidence = "MEDIUM";
	assert_false(threshold(PGT_AUTO_FULL, a));
	a.confidence = "LOW";
	assert_false(threshold(PGT_AUTO_FULL, a));
	a.confidence = NULL;
	assert_false(threshold(PGT_AUTO_FULL, a));
}

/* More than 5 % of what is in force, up or down. */
static void
test_threshold_delta(void **state)
{
	static const struct
	{
		double from;
		double to;
		bool change;
	} cases[] = {{0.20, 0.20, false}, {0.20, 0.2099, false}, {0.20, 0.2101, true}, {0.20, 0.1901, false}, {0.20, 0.1899, true}, {0.80, 0.80, false}, {0.01, 0.01, false}, {0.01, 0.012, true}, {0, 0.01, true}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		PgtAdvice a = good();

		a.threshold = a.advised_from = cases[i].from;
		a.recommended = cases[i].to;
		assert_int_equal(threshold(PGT_AUTO_THRESHOLD_ONLY, a), cases[i].change);
	}
}

static void
test_threshold_guards(void **state)
{
	static const char *const bad[] = {"SUSPENDED", "ERROR", "INITIALIZING"};
	PgtAdvice a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		a = good();
		a.status = bad[i];
		assert_false(threshold(PGT_AUTO_FULL, a));
	}
	a = good();
	a.fuse_blown = true;
	assert_false(threshold(PGT_AUTO_FULL, a));
	a = good();
	a.own = true;
	assert_false(threshold(PGT_AUTO_FULL, a));
	/* ten minutes */
	a = good();
	a.since_change = 0;
	assert_false(threshold(PGT_AUTO_FULL, a));
	a.since_change = 599.9;
	assert_false(threshold(PGT_AUTO_FULL, a));
	a.since_change = 600;
	assert_true(threshold(PGT_AUTO_FULL, a));
	/* somebody set it after the advice was computed */
	a = good();
	a.threshold = 0.5;
	assert_false(threshold(PGT_AUTO_FULL, a));
	/* gone: the attempt will say so */
	a = good();
	a.status = NULL;
	a.threshold = NAN;
	assert_true(threshold(PGT_AUTO_FULL, a));
}

/* Whatever the advice says, what is applied lies in [0.01, 0.80] and differs from what is in force. */
static void
test_threshold_random(void **state)
{
	static const double odd[] = {NAN, INFINITY, -INFINITY, 0, -1, 1, 1e308, -1e308, 0.01, 0.80, 0.0099999, 0.8000001};
	int changes = 0;

	srand(20);
	for (int i = 0; i < 10000; i++)
	{
		PgtAdvice a = good();
		PgtChange c;

		a.recommended = rand() % 4 == 0 ? odd[rand() % 12] : rand() / (double) RAND_MAX;
		a.threshold = rand() % 4 == 0 ? odd[rand() % 12] : rand() / (double) RAND_MAX;
		a.advised_from = rand() % 2 ? a.threshold : NAN;
		if (!pgt_advise_threshold(PGT_AUTO_FULL, &a, &c))
			continue;
		changes++;
		assert_true(strtod(c.new_value, NULL) >= 0.01 && strtod(c.new_value, NULL) <= 0.80);
		assert_true(isnan(a.threshold) || fabs(strtod(c.new_value, NULL) - a.threshold) > 0.05 * a.threshold);
	}
	assert_in_range(changes, 1000, 9999);
}

static void
test_tier_down(void **state)
{
	PgtAdvice a = good();
	PgtChange c;

	a.avg_diff_ms = 1500;
	assert_false(tier(PGT_AUTO_OFF, a, &c));
	assert_false(tier(PGT_AUTO_THRESHOLD_ONLY, a, &c));
	assert_true(tier(PGT_AUTO_FULL, a, &c));
	assert_string_equal(c.setting, "refresh_tier");
	assert_string_equal(c.old_value, "hot");
	assert_string_equal(c.new_value, "warm");
	assert_false(c.undo);
	/* warm runs half as often: only what still does not fit goes on */
	a.tier = "warm";
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	a.avg_diff_ms = 2500;
	assert_true(tier(PGT_AUTO_FULL, a, &c));
	assert_string_equal(c.new_value, "cold");
	/* never frozen */
	a.tier = "cold";
	a.avg_diff_ms = 1e6;
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	a.tier = "hot";
	a.deadline_ms = NAN;
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	a.deadline_ms = 1000;
	a.confidence = "MEDIUM";
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	a.confidence = "HIGH";
	a.since_change = 60;
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	a.since_change = NAN;
	a.status = "SUSPENDED";
	assert_false(tier(PGT_AUTO_FULL, a, &c));
}

static void
test_tier_back(void **state)
{
	PgtAdvice a = good();
	PgtChange c;

	a.tier = a.lowered_to = "warm";
	a.lowered_from = "hot";
	a.avg_diff_ms = 900; /* fits, but barely */
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	a.avg_diff_ms = 700;
	assert_true(tier(PGT_AUTO_FULL, a, &c));
	assert_true(c.undo);
	assert_string_equal(c.old_value, "warm");
	assert_string_equal(c.new_value, "hot");
	a.since_change = 60;
	assert_false(tier(PGT_AUTO_FULL, a, &c));
	/* switched off: at once, whatever the advice */
	a.avg_diff_ms = 5000;
	assert_true(tier(PGT_AUTO_OFF, a, &c));
	assert_true(tier(PGT_AUTO_THRESHOLD_ONLY, a, &c));
	/* no advice: nothing says that the cause has gone */
	a.since_change = NAN;
	a.confidence = NULL;
	a.avg_diff_ms = NAN;
	assert_false(tier(PGT_AUTO_FULL, a, &c));
}

static void
test_sequence(void **state)
{
	PgtAdvicePair p = {.steady = true, .since_change = NAN, .slowdown = 1.5};
	PgtChange c;

	assert_false(pgt_advise_sequence(PGT_AUTO_OFF, &p, &c));
	assert_false(pgt_advise_sequence(PGT_AUTO_THRESHOLD_ONLY, &p, &c));
	assert_true(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	assert_string_equal(c.new_value, "sequenced");
	p.slowdown = 1.49;
	assert_false(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	p.slowdown = NAN;
	assert_false(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	p.slowdown = 3;
	p.steady = false;
	assert_false(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	p.steady = true;
	p.since_change = 10;
	assert_false(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
}

static void
test_sequence_back(void **state)
{
	PgtAdvicePair p = {.standing = true, .steady = true, .since_change = NAN, .slowdown = 1.3};
	PgtChange c;

	assert_false(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	p.slowdown = 1.19;
	assert_true(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	assert_true(c.undo);
	p.slowdown = NAN;
	assert_true(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	p.since_change = 10;
	assert_false(pgt_advise_sequence(PGT_AUTO_FULL, &p, &c));
	p.slowdown = 3;
	assert_true(pgt_advise_sequence(PGT_AUTO_OFF, &p, &c));
}

static void
test_widening(void **state)
{
	assert_false(pgt_advise_widening(true, -1));
	assert_false(pgt_advise_widening(true, 1));
	assert_true(pgt_advise_widening(true, 2));
	assert_true(pgt_advise_widening(true, 1000));
	assert_false(pgt_advise_widening(false, 1000));
}

/* Counts come and go as they should, also those of sources counted while a sample is under way. */
static void
test_captured(void **state)
{
	PgtCaptured taken[64];
	const PgtCaptured *list;
	int n;
	int64_t total = 0;

	list = pgt_captured_list(&n);
	assert_int_equal(n, 0);
	for (uint32_t i = 0; i < 50; i++)
	{
		pgt_captured_add(1000 - i * 7 % 50, 2);
		pgt_captured_add(1000 - i * 7 % 50, 3);
	}
	list = pgt_captured_list(&n);
	assert_int_equal(n, 50);
	for (int i = 0; i < n; i++)
	{
		assert_int_equal(list[i].rows, 5);
		assert_true(i == 0 || list[i - 1].relid < list[i].relid);
	}
	memcpy(taken, list, sizeof(PgtCaptured) * (size_t) n);
	pgt_captured_add(1000, 4);
	pgt_captured_add(7, 1);
	pgt_captured_settle(taken, 50);
	list = pgt_captured_list(&n);
	assert_int_equal(n, 2);
	for (int i = 0; i < n; i++)
		total += list[i].rows;
	assert_int_equal(total, 5);
	assert_int_equal(list[0].relid, 7);
	memcpy(taken, list, sizeof(PgtCaptured) * 2);
	pgt_captured_settle(taken, 2);
	pgt_captured_list(&n);
	assert_int_equal(n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_threshold_change),
		cmocka_unit_test(test_threshold_confidence),
		cmocka_unit_test(test_threshold_delta),
		cmocka_unit_test(test_threshold_guards),
		cmocka_unit_test(test_threshold_random),
		cmocka_unit_test(test_tier_down),
		cmocka_unit_test(test_tier_back),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_sequence_back),
		cmocka_unit_test(test_widening),
		cmocka_unit_test(test_captured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
