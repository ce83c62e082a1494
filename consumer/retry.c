/*
 * retry.c - jittered exponential backoff.
 */
#include "consumer/retry.h"

void
pgt_retry_init(PgtRetry *r, int64_t first_us, int64_t max_us, uint64_t seed)
{
	*r = (PgtRetry){first_us, max_us < first_us ? first_us : max_us, 0, seed};
}

/* splitmix64: good enough to keep clients apart */
static uint64_t
next_random(PgtRetry *r)
{
	uint64_t z = (r->seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int64_t
pgt_retry_failed(PgtRetry *r)
{
	int64_t pause = r->first_us;

	for (int i = 0; i < r->failures && pause < r->max_us; i++)
		pause *= 2;
	if (pause > r->max_us)
		pause = r->max_us;
	r->failures++;
	return pause / 2 + (int64_t) (next_random(r) % (uint64_t) (pause / 2 + 1));
}

void
pgt_retry_succeeded(PgtRetry *r)
{
	r->failures = 0;
}
