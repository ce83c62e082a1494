/*
 * upkeep.h - what the consumer does once an hour: expired history goes, people are reminded of what waits for them; and, with every
 * plan while something is held, whether a watermark stands still.
 *
 * Over the connection that reads the plan.  History goes in batches, each a transaction of its own, with a pause between them, so
 * that nobody waits for it and it waits for nobody; without any, nothing is written.
 */
#ifndef PGT_UPKEEP_H
#define PGT_UPKEEP_H

#include "consumer/conn.h"
#include "consumer/plan.h"

typedef struct PgtUpkeep
{
	PgtLoop *loop;
	PgtConn *conn; /* NULL while there is none */
	PgtTimer purge;
	PgtTimer remind;
	bool asked;    /* about watermarks; the answer has not come */
	bool standing; /* a watermark was announced as stuck, or we do not know */
	bool failed;   /* logged */
} PgtUpkeep;

extern void pgt_upkeep_init(PgtUpkeep *u, PgtLoop *loop);

/* The plan was read over this connection, so the library is loaded: begins with the first.  The plan is not kept. */
extern void pgt_upkeep_on_plan(PgtUpkeep *u, PgtConn *conn, const PgtPlan *plan);

/* The connection has gone. */
extern void pgt_upkeep_disconnected(PgtUpkeep *u);

extern void pgt_upkeep_stop(PgtUpkeep *u);

#endif /* PGT_UPKEEP_H */
