/*
 * retry.h - how long to wait before the next attempt.
 *
 * Doubling pauses with jitter (half to whole), so that many clients of one restarted server do not come back in step.  Pure:
 * the randomness is a seed in the struct.
 */
#ifndef PGT_RETRY_H
#define PGT_RETRY_H

#include <stdint.h>

typedef struct PgtRetry
{
	int64_t first_us;
	int64_t max_us;
	int failures;
	uint64_t seed;
} PgtRetry;

extern void pgt_retry_init(PgtRetry *r, int64_t first_us, int64_t max_us, uint64_t seed);
extern int64_t pgt_retry_failed(PgtRetry *r); /* pause before the next attempt */
extern void pgt_retry_succeeded(PgtRetry *r);

#endif /* PGT_RETRY_H */
