/*
 * frontier.c - sets of visible transactions (see frontier.h).
 *
 * Only top-level transactions occur: buffers carry top-level ids, and a snapshot's xip array always lists every running
 * top-level transaction, whatever happens to its subtransactions.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "frontier.h"

/* The 64-bit id of a transaction that was running not long ago: at most one epoch back from the next id. */
static uint64
widen_xid(TransactionId xid, FullTransactionId next)
{
	uint32 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return ((uint64) epoch << 32) | xid;
}

static int
compare_xids(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a;
	uint64 y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

PgtFrontier *
pgt_frontier_from_snapshot(Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId own = GetTopTransactionIdIfAny();
	PgtFrontier *frontier = palloc0(sizeof(PgtFrontier));

	frontier->xmin = widen_xid(snapshot->xmin, next);
	frontier->xmax = widen_xid(snapshot->xmax, next);
	frontier->xip = palloc(sizeof(uint64) * (snapshot->xcnt + 1));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		frontier->xip[frontier->nxip++] = widen_xid(snapshot->xip[i], next);

	/* A snapshot never lists its own transaction as running. */
	if (TransactionIdIsValid(own) && TransactionIdPrecedes(own, snapshot->xmax))
		frontier->xip[frontier->nxip++] = widen_xid(own, next);

	qsort(frontier->xip, frontier->nxip, sizeof(uint64), compare_xids);
	return frontier;
}

bool
pgt_frontier_sees(const PgtFrontier *frontier, uint64 xid)
{
	if (xid < frontier->xmin)
		return true;
	if (xid >= frontier->xmax)
		return false;
	return bsearch(&xid, frontier->xip, frontier->nxip, sizeof(uint64), compare_xids) == NULL;
}

bool
pgt_frontier_covers(const PgtFrontier *whole, const PgtFrontier *part)
{
	for (int i = 0; i < whole->nxip; i++)
		if (pgt_frontier_sees(part, whole->xip[i]))
			return false;
	for (uint64 xid = whole->xmax; xid < part->xmax; xid++)
		if (pgt_frontier_sees(part, xid))
			return false;
	return true;
}

char *
pgt_frontier_to_text(const PgtFrontier *frontier)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, UINT64_FORMAT ":" UINT64_FORMAT ":", frontier->xmin, frontier->xmax);
	for (int i = 0; i < frontier->nxip; i++)
		appendStringInfo(&buf, "%s" UINT64_FORMAT, i ? "," : "", frontier->xip[i]);
	return buf.data;
}

PgtFrontier *
pgt_frontier_from_text(const char *text)
{
	PgtFrontier *frontier = palloc0(sizeof(PgtFrontier));
	char *end;
	int room = 0;

	frontier->xmin = strtou64(text, &end, 10);
	if (*end++ != ':')
		elog(ERROR, "malformed frontier \"%s\"", text);
	frontier->xmax = strtou64(end, &end, 10);
	if (*end++ != ':')
		elog(ERROR, "malformed frontier \"%s\"", text);
	while (*end)
	{
		if (frontier->nxip == room)
		{
			room = room ? room * 2 : 8;
			frontier->xip = frontier->xip ? repalloc(frontier->xip, room * sizeof(uint64)) : palloc(room * sizeof(uint64));
		}
		frontier->xip[frontier->nxip++] = strtou64(end, &end, 10);
		if (*end == ',')
			end++;
	}
	return frontier;
}
