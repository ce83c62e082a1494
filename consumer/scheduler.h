/*
 * scheduler.h - what the rest of the daemon may ask the scheduler beyond the hooks of consumer.h.
 */
#ifndef PGT_SCHEDULER_H
#define PGT_SCHEDULER_H

#include <stdint.h>

typedef struct PgtSchedulerStatus
{
	int stream_tables;
	int held;           /* suspended, frozen, fused, cyclic, or with a schedule that cannot be read */
	int running;        /* jobs */
	int waiting;        /* wanted and not started yet */
	uint64_t refreshes; /* committed, of single STs, since the start */
	uint64_t unchanged; /* of these, NO_DATA */
	uint64_t failures;
	uint64_t barrier_timeouts;
	double busy_seconds; /* spent in refreshes */
} PgtSchedulerStatus;

extern void pgt_scheduler_status(PgtSchedulerStatus *status);

#endif /* PGT_SCHEDULER_H */
