/*
 * captured.c - counters per source (see captured.h): one sorted array; what is settled leaves it.
 */
#include "consumer/captured.h"

#include <stdlib.h>
#include <string.h>

static PgtCaptured *counts;
static int ncounts;
static int room;

/* Position of relid, or where it belongs. */
static int
position(uint32_t relid)
{
	int lo = 0;
	int hi = ncounts;

	while (lo < hi)
	{
		int mid = lo + (hi - lo) / 2;

		if (counts[mid].relid < relid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void
pgt_captured_add(uint32_t relid, int64_t rows)
{
	int at = position(relid);

	if (at == ncounts || counts[at].relid != relid)
	{
		if (ncounts == room)
		{
			room = room > 0 ? room * 2 : 16;
			counts = realloc(counts, sizeof(PgtCaptured) * (size_t) room);
			if (counts == NULL)
				abort();
		}
		memmove(&counts[at + 1], &counts[at], sizeof(PgtCaptured) * (size_t) (ncounts - at));
		counts[at] = (PgtCaptured){.relid = relid};
		ncounts++;
	}
	counts[at].rows += rows;
}

const PgtCaptured *
pgt_captured_list(int *n)
{
	*n = ncounts;
	return counts;
}

void
pgt_captured_settle(const PgtCaptured *stored, int n)
{
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		int at = position(stored[i].relid);

		if (at < ncounts && counts[at].relid == stored[i].relid)
			counts[at].rows -= stored[i].rows;
	}
	for (int i = 0; i < ncounts; i++)
	{
		if (counts[i].rows > 0)
			counts[kept++] = counts[i];
	}
	ncounts = kept;
}
