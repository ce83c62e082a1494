/*
 * captured.h - how many rows of each source have been written to the buffers since somebody last asked.
 *
 * The capture half counts, self-monitoring takes the counts along with its samples (selfmon.c).  Pure.
 */
#ifndef PGT_CAPTURED_H
#define PGT_CAPTURED_H

#include <stdint.h>

typedef struct PgtCaptured
{
	uint32_t relid;
	int64_t rows;
} PgtCaptured;

extern void pgt_captured_add(uint32_t relid, int64_t rows);

/* All that have counted something since they were last settled; valid until the next call of this module. */
extern const PgtCaptured *pgt_captured_list(int *n);

/* These are stored now; rows counted meanwhile stay. */
extern void pgt_captured_settle(const PgtCaptured *stored, int n);

#endif /* PGT_CAPTURED_H */
