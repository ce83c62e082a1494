/*
 * test_confirm.c - the confirm rule, by cases and by random search against a rule so simple that it is plainly right:
 * keep every transaction, confirm the first one that any of its sources still needs.
 */
/* link: consumer/confirm.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "consumer/confirm.h"

static void
nothing_pending_confirms_what_is_safe(void **state)
{
	PgtConfirm *c = pgt_confirm_create();

	assert_true(pgt_confirm_is_empty(c));
	assert_int_equal(pgt_confirm_position(c, 500), 500);
	pgt_confirm_free(c);
}

static void
the_oldest_unconsumed_commit_holds(void **state)
{
	PgtConfirm *c = pgt_confirm_create();
	uint32_t relid;
	uint64_t lsn, xid;

	pgt_confirm_add(c, 1, 1000, 10);
	pgt_confirm_add(c, 2, 100000, 11);
	assert_int_equal(pgt_confirm_position(c, 200000), 1000);
	assert_int_equal(pgt_confirm_position(c, 900), 900); /* never beyond what is safe */
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, true, 11);
	pgt_confirm_horizon(c, 2, true, 11); /* 11 is not below 11 */
	assert_true(pgt_confirm_round_end(c));
	assert_int_equal(pgt_confirm_position(c, 200000), 100000);
	assert_true(pgt_confirm_oldest(c, &relid, &lsn, &xid));
	assert_int_equal(relid, 2);
	assert_int_equal(lsn, 100000);
	assert_int_equal(xid, 11);
	pgt_confirm_free(c);
}

/* A long transaction commits late with a small xid: order of xids is not order of commits. */
static void
late_commits_with_early_xids(void **state)
{
	PgtConfirm *c = pgt_confirm_create();

	pgt_confirm_add(c, 1, 1000, 50);
	pgt_confirm_add(c, 1, 2000, 20);   /* shares the span: the larger xid must stay */
	pgt_confirm_add(c, 1, 900000, 30); /* a span of its own */
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, true, 40);
	assert_false(pgt_confirm_round_end(c));
	assert_int_equal(pgt_confirm_position(c, 1000000), 1000);
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, true, 51);
	assert_true(pgt_confirm_round_end(c));
	assert_true(pgt_confirm_is_empty(c));
	pgt_confirm_free(c);
}

static void
a_horizon_of_zero_holds_everything(void **state)
{
	PgtConfirm *c = pgt_confirm_create();

	pgt_confirm_add(c, 1, 1000, 3);
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, true, 0);
	assert_false(pgt_confirm_round_end(c));
	assert_int_equal(pgt_confirm_position(c, 5000), 1000);
	pgt_confirm_free(c);
}

static void
unpinned_and_unknown_sources_hold_nothing(void **state)
{
	PgtConfirm *c = pgt_confirm_create();

	pgt_confirm_add(c, 1, 1000, 10);
	pgt_confirm_add(c, 2, 2000, 11);
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, false, 0);
	/* no answer for source 2: it is no source any more */
	assert_true(pgt_confirm_round_end(c));
	assert_true(pgt_confirm_is_empty(c));
	pgt_confirm_free(c);
}

/* An answer says nothing about what came after the question: the source may have been registered in between. */
static void
an_answer_is_as_old_as_its_question(void **state)
{
	PgtConfirm *c = pgt_confirm_create();

	pgt_confirm_add(c, 1, 1000, 10);
	pgt_confirm_round_begin(c);
	pgt_confirm_add(c, 1, 1100, 11); /* near enough to share the span */
	pgt_confirm_add(c, 9, 1200, 12); /* a new source */
	pgt_confirm_horizon(c, 1, false, 0);
	assert_true(pgt_confirm_round_end(c));
	assert_int_equal(pgt_confirm_position(c, 5000), 1100);
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, true, 100);
	pgt_confirm_horizon(c, 9, true, 5);
	assert_true(pgt_confirm_round_end(c));
	assert_int_equal(pgt_confirm_position(c, 5000), 1200);
	pgt_confirm_free(c);
}

static void
collect(void *arg, uint32_t relid)
{
	*(unsigned *) arg |= 1u << relid;
}

static void
names_the_sources_that_hold_back(void **state)
{
	PgtConfirm *c = pgt_confirm_create();
	unsigned found = 0;

	pgt_confirm_add(c, 1, 1000, 10);
	pgt_confirm_add(c, 2, 2000, 11);
	pgt_confirm_add(c, 3, 3000, 12);
	pgt_confirm_each_below(c, 3000, collect, &found);
	assert_int_equal(found, 1u << 1 | 1u << 2);
	pgt_confirm_free(c);
}

static void
memory_is_bounded_and_joining_is_safe(void **state)
{
	PgtConfirm *c = pgt_confirm_create();

	for (uint64_t i = 0; i < 1000000; i++)
		pgt_confirm_add(c, 1, 1000 + i * 20000, 100 + i);
	assert_true(pgt_confirm_spans(c) <= 4096);
	pgt_confirm_round_begin(c);
	pgt_confirm_horizon(c, 1, true, 100 + 500000);
	pgt_confirm_round_end(c);
	/* not beyond the first unconsumed one, and not absurdly far before it */
	assert_true(pgt_confirm_position(c, UINT64_MAX) <= 1000 + UINT64_C(500000) * 20000);
	assert_true(pgt_confirm_position(c, UINT64_MAX) >= 1000 + UINT64_C(490000) * 20000);
	pgt_confirm_free(c);
}

/* ---- random search ---- */

#define SOURCES 4
#define TXNS 400

typedef struct Txn
{
	uint64_t lsn;
	uint64_t xid;
	unsigned sources; /* bit set: still needed by */
} Txn;

static uint64_t rnd_state;

static unsigned
rnd(unsigned n)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned) (rnd_state >> 33) % n;
}

static uint64_t
oracle_position(const Txn *txns, int n, uint64_t safe)
{
	for (int i = 0; i < n; i++)
	{
		if (txns[i].sources)
			return txns[i].lsn < safe ? txns[i].lsn : safe;
	}
	return safe;
}

static void
one_search(uint64_t seed, bool spread)
{
	PgtConfirm *c = pgt_confirm_create();
	Txn txns[TXNS];
	int n = 0;
	uint64_t lsn = 1000;

	rnd_state = seed;
	while (n < TXNS)
	{
		int asked;
		bool answered[SOURCES] = {false};

		for (unsigned k = rnd(8); k > 0 && n < TXNS; k--, n++)
		{
			lsn += spread ? 20000 + rnd(100) : 1 + rnd(5000);
			txns[n] = (Txn){lsn, 1000 + (uint64_t) n + rnd(50), 1 + rnd((1u << SOURCES) - 1)};
			for (uint32_t s = 0; s < SOURCES; s++)
			{
				if (txns[n].sources & (1u << s))
					pgt_confirm_add(c, s + 1, txns[n].lsn, txns[n].xid);
			}
		}
		asked = n;
		pgt_confirm_round_begin(c);
		if (n < TXNS && rnd(2))
		{
			lsn += spread ? 20000 : 1;
			txns[n] = (Txn){lsn, 1000 + (uint64_t) n, 1};
			pgt_confirm_add(c, 1, txns[n].lsn, txns[n].xid);
			n++;
		}
		for (uint32_t s = 0; s < SOURCES; s++)
		{
			bool pinned = rnd(10) > 0;
			uint64_t horizon = 1000 + (uint64_t) n - rnd(60);

			if (rnd(12) == 0)
				continue; /* no answer: nobody pins it */
			answered[s] = true;
			pgt_confirm_horizon(c, s + 1, pinned, horizon);
			for (int i = 0; i < asked; i++)
			{
				if (!pinned || txns[i].xid < horizon)
					txns[i].sources &= ~(1u << s);
			}
		}
		pgt_confirm_round_end(c);
		for (uint32_t s = 0; s < SOURCES; s++)
		{
			for (int i = 0; !answered[s] && i < asked; i++)
				txns[i].sources &= ~(1u << s);
		}
		/* the rule pops in commit order per source: behind the first one that is needed, later ones may be held longer, so ours may be
		 * earlier than the oracle's, but only when spans are shared or xids are out of order */
		assert_true(pgt_confirm_position(c, lsn) <= oracle_position(txns, n, lsn));
		assert_true(pgt_confirm_position(c, 500) == 500);
	}
	/* in the end everything is consumed */
	pgt_confirm_round_begin(c);
	for (uint32_t s = 0; s < SOURCES; s++)
		pgt_confirm_horizon(c, s + 1, true, 1000000);
	pgt_confirm_round_end(c);
	assert_int_equal(pgt_confirm_position(c, lsn + 7), lsn + 7);
	pgt_confirm_free(c);
}

static void
never_beyond_the_oracle(void **state)
{
	for (uint64_t seed = 1; seed <= 400; seed++)
		one_search(seed, seed % 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_pending_confirms_what_is_safe),
		cmocka_unit_test(the_oldest_unconsumed_commit_holds),
		cmocka_unit_test(late_commits_with_early_xids),
		cmocka_unit_test(a_horizon_of_zero_holds_everything),
		cmocka_unit_test(unpinned_and_unknown_sources_hold_nothing),
		cmocka_unit_test(an_answer_is_as_old_as_its_question),
		cmocka_unit_test(names_the_sources_that_hold_back),
		cmocka_unit_test(memory_is_bounded_and_joining_is_safe),
		cmocka_unit_test(never_beyond_the_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
