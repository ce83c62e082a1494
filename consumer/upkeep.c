/*
 * upkeep.c - the hourly work, and watermarks that stand still (see upkeep.h).
 */
#include "consumer/upkeep.h"

#include <stdlib.h>

#include "consumer/consumer.h"
#include "consumer/log.h"

#define PART "upkeep"
#define EVERY_US INT64_C(3600000000)
#define PURGE_PAUSE_US INT64_C(50000) /* between batches */

static void
on_purged(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtUpkeep *u = arg;

	if (err != NULL)
		pgt_log_err(PGT_LOG_WARNING, PART, "expired history", err);
	else if (PQgetvalue(res, 0, 1)[0] == 't' && u->purge.armed)
		pgt_timer_after(u->loop, &u->purge, PURGE_PAUSE_US);
}

static void
purge(void *arg)
{
	PgtUpkeep *u = arg;

	pgt_timer_after(u->loop, &u->purge, EVERY_US);
	if (u->conn != NULL)
		pgt_conn_query(u->conn, "SELECT n, n >= current_setting('pg_trickle.history_purge_batch_size')::bigint FROM pgtrickle._history_purge() n",
					   on_purged, u);
}

static void
remind(void *arg)
{
	PgtUpkeep *u = arg;

	pgt_timer_after(u->loop, &u->remind, EVERY_US);
	if (u->conn != NULL)
		pgt_conn_query(u->conn, "SELECT pgtrickle._consumer_remind()", NULL, NULL);
}

static void
on_watermarks(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtUpkeep *u = arg;

	u->asked = false;
	u->standing = err != NULL || atoi(PQgetvalue(res, 0, 0)) > 0;
	if (err != NULL && !u->failed)
		pgt_log_err(PGT_LOG_WARNING, PART, "watermarks", err);
	u->failed = err != NULL;
}

/* While a stream table is held, or an announcement waits for its end. */
static void
look_at_watermarks(PgtUpkeep *u, const PgtPlan *plan)
{
	bool held = u->standing;

	for (int i = 0; i < plan->n && !held; i++)
		held = plan->sts[i].gated;
	if (!held || u->asked || !pgt_consumer_schema_is_current())
		return;
	u->asked = true;
	pgt_conn_query(u->conn, "SELECT pgtrickle._consumer_watermarks()", on_watermarks, u);
}

void
pgt_upkeep_init(PgtUpkeep *u, PgtLoop *loop)
{
	u->loop = loop;
	pgt_timer_init(&u->purge, purge, u);
	pgt_timer_init(&u->remind, remind, u);
	u->standing = true; /* until it is known */
}

void
pgt_upkeep_on_plan(PgtUpkeep *u, PgtConn *conn, const PgtPlan *plan)
{
	u->conn = conn;
	if (!u->purge.armed)
		purge(u);
	if (!u->remind.armed) /* who starts the consumer is looking anyway */
		pgt_timer_after(u->loop, &u->remind, EVERY_US);
	look_at_watermarks(u, plan);
}

void
pgt_upkeep_disconnected(PgtUpkeep *u)
{
	u->conn = NULL;
	u->asked = false;
}

void
pgt_upkeep_stop(PgtUpkeep *u)
{
	pgt_timer_cancel(u->loop, &u->purge);
	pgt_timer_cancel(u->loop, &u->remind);
}
