/*
 * sched_none.c - weak stand-ins for the scheduling side, so that the capture side links and runs by itself.
 */
#include "consumer/consumer.h"

#define WEAK __attribute__((weak))

WEAK bool
pgt_workers_start(const PgtEnv *env, PgtErr *err)
{
	return true;
}

WEAK void
pgt_sched_on_attached(uint64_t applied_lsn, const char *gap)
{
}

WEAK void
pgt_sched_on_detached(void)
{
}

WEAK void
pgt_sched_on_applied(const uint32_t *relids, int nrelids, uint64_t end_lsn)
{
}

WEAK void
pgt_sched_on_progress(uint64_t lsn)
{
}

WEAK void
pgt_sched_on_catalog(void)
{
}

WEAK void
pgt_sched_on_reload(void)
{
}

WEAK void
pgt_workers_drain(void (*done)(void *arg), void *arg)
{
	done(arg);
}

WEAK void
pgt_workers_stop(void)
{
}
