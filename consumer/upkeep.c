/*
 * upkeep.c - the hourly work (see upkeep.h).
 */
#include "consumer/upkeep.h"

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

void
pgt_upkeep_init(PgtUpkeep *u, PgtLoop *loop)
{
	u->loop = loop;
	pgt_timer_init(&u->purge, purge, u);
	pgt_timer_init(&u->remind, remind, u);
}

void
pgt_upkeep_on_plan(PgtUpkeep *u, PgtConn *conn)
{
	u->conn = conn;
	if (!u->purge.armed)
		purge(u);
	if (!u->remind.armed) /* who starts the consumer is looking anyway */
		pgt_timer_after(u->loop, &u->remind, EVERY_US);
}

void
pgt_upkeep_disconnected(PgtUpkeep *u)
{
	u->conn = NULL;
}

void
pgt_upkeep_stop(PgtUpkeep *u)
{
	pgt_timer_cancel(u->loop, &u->purge);
	pgt_timer_cancel(u->loop, &u->remind);
}
