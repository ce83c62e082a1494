/*
 * selfmon.c - self-monitoring's hand (see selfmon.h); what to do is decided in advice.c.
 *
 * Work is a set of wants; one query is under way at a time, and each answer leads to the next step:
 *
 *   TICK       settings in force, and one row: the newest overlap_count       every plan
 *   ANOMALIES  announce what began and what ended                            after a refresh of df_anomaly_signals, whoever ran it
 *   ADVICE     read advice, read pairs, apply the changes one by one,        after a refresh of df_threshold_advice or df_scheduling_interference,
 *              read which pairs stand                                        when auto-apply is switched, and once a minute while it is on
 *   SAMPLE     write how full the buffers are                                with the schedule of df_cdc_buffer_trends
 *
 * An error is logged and ends its want: the next refresh, plan or minute brings it again.  An error of one change does not end the
 * others.  ALTER DATABASE and ALTER ROLE reach new sessions only, so the connection is made anew when they have set something.
 */
#include "consumer/selfmon.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/advice.h"
#include "consumer/alloc.h"
#include "consumer/captured.h"
#include "consumer/consumer.h"
#include "consumer/log.h"
#include "consumer/result.h"
#include "consumer/schedule.h"
#include "consumer/sqlbuf.h"

#define PART "policy"
#define ADVICE_EVERY_US INT64_C(60000000)
#define SAMPLE_EVERY_US INT64_C(48000000)

enum
{
	WANT_TICK = 1,
	WANT_ANOMALIES = 2,
	WANT_ADVICE = 4,
	WANT_SAMPLE = 8
};

/* The tables that something is done about. */
typedef enum Df
{
	DF_ANOMALY,
	DF_ADVICE,
	DF_BUFFERS,
	DF_INTERFERENCE,
	NDF
} Df;

static const char *const df_names[NDF] = {"pgtrickle.df_anomaly_signals", "pgtrickle.df_threshold_advice",
										  "pgtrickle.df_cdc_buffer_trends", "pgtrickle.df_scheduling_interference"};
static const int df_wants[NDF] = {WANT_ANOMALIES, WANT_ADVICE, 0, WANT_ADVICE};

typedef struct DfTable
{
	int64_t id; /* 0: not there */
	bool active;
	int64_t last_refresh; /* as of the last plan */
} DfTable;

/* A decided change on its way. */
typedef struct Todo
{
	int64_t id;
	int64_t partner;
	char *name;
	char *why;
	PgtChange change;
} Todo;

struct PgtSelfmon
{
	PgtLoop *loop;
	const PgtOptions *options;
	PgtSelfmonEvents events;
	void *arg;
	PgtConn *conn;
	bool busy;
	bool connect_failed;
	int wants;
	DfTable df[NDF];
	bool present;      /* some of them are */
	bool settled;      /* nothing of ours can be left over from when they were */
	char settings[40]; /* what ALTER DATABASE and ALTER ROLE say, as of this connection */
	bool mode_known;
	PgtAutoApply mode;
	bool contended;
	int64_t advised_at;
	int64_t sampled_at;
	int64_t sample_every;
	Todo *todo;
	int ntodo;
	int next_todo;
	PgtCaptured *sampling; /* what the sample under way counts */
	int nsampling;
};

static void next_step(PgtSelfmon *m);
static void apply_next(PgtSelfmon *m);

/* ---- results ---- */

static double
number_at(const PGresult *res, int row, const char *column)
{
	const char *text = pgt_field(res, row, column);

	return text ? strtod(text, NULL) : NAN;
}

/* The query has ended.  False: it failed, and its want goes unfulfilled for now. */
static bool
answered(PgtSelfmon *m, const PgtErr *err, const char *what)
{
	m->busy = false;
	if (err == NULL)
		return true;
	if (strcmp(err->sqlstate, PGT_STATE_CONNECTION) != 0) /* else on_closed follows */
		pgt_log_err(PGT_LOG_WARNING, PART, what, err);
	return false;
}

/* ---- connection ---- */

static void
drop_todo(PgtSelfmon *m)
{
	for (int i = 0; i < m->ntodo; i++)
	{
		free(m->todo[i].name);
		free(m->todo[i].why);
	}
	free(m->todo);
	m->todo = NULL;
	m->ntodo = m->next_todo = 0;
}

static void
disconnect(PgtSelfmon *m)
{
	pgt_conn_close(m->conn);
	m->conn = NULL;
	m->busy = false;
	m->settings[0] = '\0';
	drop_todo(m);
}

/* The next plan connects again. */
static void
on_closed(void *arg, const PgtErr *err)
{
	PgtSelfmon *m = arg;

	if (!m->connect_failed)
		pgt_log_err(PGT_LOG_WARNING, PART, "connection of the policy", err);
	m->connect_failed = true;
	disconnect(m);
}

static void
on_ready(void *arg)
{
	((PgtSelfmon *) arg)->connect_failed = false;
}

static void
on_prepared(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;

	if (answered(m, err, "session settings"))
		next_step(m);
}

static void
connect_policy(PgtSelfmon *m)
{
	static const PgtConnEvents events = {.on_ready = on_ready, .on_closed = on_closed};

	m->conn = pgt_conn_open(m->loop, m->options, PGT_CONN_SQL, "policy");
	pgt_conn_events(m->conn, &events, m);
	m->busy = true;
	/* the library's settings exist once one of its C functions was called */
	pgt_conn_query(m->conn, "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = 0; SELECT pgtrickle.version()", on_prepared, m);
}

/* ---- tick ---- */

static void
set_contended(PgtSelfmon *m, bool contended)
{
	if (contended == m->contended)
		return;
	m->contended = contended;
	pgt_log(PGT_LOG_INFO, PART, contended ? "refreshes overlap: what would start beside others waits for them, a fifth of its interval at most" : "refreshes do not overlap any more");
	m->events.on_contention(m->arg, contended);
}

static void
on_tick(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;
	const char *settings;
	PgtAutoApply mode;

	if (!answered(m, err, "settings of self-monitoring"))
		return;
	settings = pgt_field(res, 0, "settings");
	if (m->settings[0] != '\0' && strcmp(m->settings, settings) != 0)
	{
		disconnect(m);
		m->wants |= WANT_TICK;
		connect_policy(m);
		return;
	}
	snprintf(m->settings, sizeof(m->settings), "%s", settings);
	mode = m->present ? pgt_auto_apply_of(pgt_field(res, 0, "auto_apply")) : PGT_AUTO_OFF;
	if (!m->mode_known || mode != m->mode || !m->present)
		m->wants |= WANT_ADVICE;
	if (m->present && m->mode_known && mode != m->mode)
		pgt_log(PGT_LOG_INFO, PART, "self_monitoring_auto_apply is %s now", pgt_field(res, 0, "auto_apply"));
	m->mode_known = true;
	m->mode = mode;
	if (mode != PGT_AUTO_OFF && pgt_loop_now(m->loop) - m->advised_at >= ADVICE_EVERY_US)
		m->wants |= WANT_ADVICE;
	set_contended(m, m->df[DF_INTERFERENCE].active &&
						 pgt_advise_widening(strcmp(pgt_field(res, 0, "widen") ? pgt_field(res, 0, "widen") : "off", "on") == 0,
											 pgt_field(res, 0, "overlap") ? pgt_field_integer(res, 0, "overlap") : -1));
	next_step(m);
}

static const char tick_sql[] =
	"SELECT pg_catalog.current_setting('pg_trickle.self_monitoring_auto_apply', true) AS auto_apply,"
	" pg_catalog.current_setting('pg_trickle.self_monitoring_widen_dispatch', true) AS widen,"
	" pgtrickle._policy_overlap() AS overlap,"
	" (SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(s.setdatabase::pg_catalog.text || '/' || s.setrole || s.setconfig::pg_catalog.text, ',' ORDER BY s.setdatabase, s.setrole), '')) FROM pg_catalog.pg_db_role_setting s"
	"   WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))"
	"     AND s.setrole IN (0, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user))) AS settings";

/* ---- advice ---- */

static void
add_todo(PgtSelfmon *m, const Todo *todo)
{
	m->todo = realloc(m->todo, sizeof(Todo) * (size_t) (m->ntodo + 1));
	if (m->todo == NULL)
		abort();
	m->todo[m->ntodo++] = *todo;
}

static void
end_advice(PgtSelfmon *m)
{
	drop_todo(m);
	m->settled = !m->present;
	next_step(m);
}

static void
on_standing(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;
	PgtSelfmonPair *pairs;

	if (!answered(m, err, "pairs to separate"))
		return;
	pairs = pgt_alloc((size_t) PQntuples(res), sizeof(PgtSelfmonPair));
	for (int row = 0; row < PQntuples(res); row++)
		pairs[row] = (PgtSelfmonPair){.a = pgt_field_integer(res, row, "pgt_id"), .b = pgt_field_integer(res, row, "partner")};
	m->events.on_pairs(m->arg, pairs, PQntuples(res));
	free(pairs);
	end_advice(m);
}

static void
on_changed(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;
	const Todo *t = &m->todo[m->next_todo];
	char what[320];

	snprintf(what, sizeof(what), "%s of %s was not changed", t->change.setting, t->name);
	if (err != NULL && strcmp(err->sqlstate, PGT_STATE_CONNECTION) == 0)
		return;
	m->busy = false;
	/* gone since, locked, refused: whatever it is, the next one has its turn */
	if (err != NULL)
		pgt_log_err(PGT_LOG_WARNING, PART, what, err);
	else if (pgt_field(res, 0, "refused") != NULL)
		pgt_log(PGT_LOG_INFO, PART, "%s: %s", what, pgt_field(res, 0, "refused"));
	else
		pgt_log(PGT_LOG_INFO, PART, "%s of %s: %s -> %s (%s)", t->change.setting, t->name, t->change.old_value, t->change.new_value, t->why);
	m->next_todo++;
	apply_next(m);
}

static void
apply_next(PgtSelfmon *m)
{
	const Todo *t = &m->todo[m->next_todo];
	char id[24];
	char partner[24];
	const char *params[7];

	m->busy = true;
	if (m->next_todo >= m->ntodo)
	{
		pgt_conn_query(m->conn, "SELECT pgt_id, partner FROM pgtrickle.pgt_policy_actions WHERE setting = 'sequence'", on_standing, m);
		return;
	}
	snprintf(id, sizeof(id), "%lld", (long long) t->id);
	snprintf(partner, sizeof(partner), "%lld", (long long) t->partner);
	params[0] = id;
	params[1] = t->change.setting;
	params[2] = t->partner > 0 ? partner : NULL;
	params[3] = t->change.old_value;
	params[4] = t->change.new_value;
	params[5] = t->why;
	params[6] = t->change.undo ? "t" : "f";
	pgt_conn_params(m->conn, "SELECT pgtrickle._policy_apply($1::bigint, $2, $3::bigint, $4, $5, $6, $7::bool) AS refused", 7, params, on_changed, m);
}

static void
on_pairs(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;

	if (!answered(m, err, "df_scheduling_interference"))
	{
		drop_todo(m);
		return;
	}
	for (int row = 0; row < PQntuples(res); row++)
	{
		PgtAdvicePair pair = {
			.standing = pgt_field_true(res, row, "standing"),
			.steady = pgt_field_true(res, row, "steady"),
			.since_change = number_at(res, row, "since_change"),
			.slowdown = number_at(res, row, "slowdown")};
		Todo todo = {.id = pgt_field_integer(res, row, "pgt_id"), .partner = pgt_field_integer(res, row, "partner")};

		if (!pgt_advise_sequence(m->mode, &pair, &todo.change))
			continue;
		todo.name = pgt_copy(pgt_field(res, row, "st_name"));
		todo.why = pgt_copy(todo.change.why);
		add_todo(m, &todo);
	}
	apply_next(m);
}

static void
read_advice(const PGresult *res, int row, PgtAdvice *a)
{
	const char *fuse = pgt_field(res, row, "fuse_state");

	*a = (PgtAdvice){
		.status = pgt_field(res, row, "status"),
		.fuse_blown = fuse != NULL && strcmp(fuse, "blown") == 0,
		.own = pgt_field_true(res, row, "own"),
		.since_change = number_at(res, row, "since_change"),
		.confidence = pgt_field(res, row, "confidence"),
		.threshold = number_at(res, row, "threshold"),
		.advised_from = number_at(res, row, "advised_from"),
		.recommended = number_at(res, row, "recommended"),
		.avg_diff_ms = number_at(res, row, "avg_diff_ms"),
		.deadline_ms = number_at(res, row, "deadline_ms"),
		.tier = pgt_field(res, row, "tier"),
		.lowered_from = pgt_field(res, row, "lowered_from"),
		.lowered_to = pgt_field(res, row, "lowered_to")};
}

static void
on_advice(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;

	if (!answered(m, err, "df_threshold_advice"))
		return;
	for (int row = 0; row < PQntuples(res); row++)
	{
		PgtAdvice a;
		Todo todo = {.id = pgt_field_integer(res, row, "pgt_id")};

		read_advice(res, row, &a);
		/* one change at a time: what does not keep its schedule gets more time first */
		if (!pgt_advise_tier(m->mode, &a, &todo.change) && !pgt_advise_threshold(m->mode, &a, &todo.change))
			continue;
		todo.name = pgt_copy(pgt_field(res, row, "st_name"));
		todo.why = pgt_copy(todo.change.why ? todo.change.why : pgt_field(res, row, "reason"));
		add_todo(m, &todo);
	}
	m->busy = true;
	pgt_conn_query(m->conn, "SELECT * FROM pgtrickle._policy_pairs()", on_pairs, m);
}

/* ---- anomalies, samples ---- */

static void
on_anomalies(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;

	if (!answered(m, err, "anomalies could not be announced"))
		return;
	if (pgt_field_integer(res, 0, "n") > 0)
		pgt_log(PGT_LOG_INFO, PART, "%lld events about anomalies", (long long) pgt_field_integer(res, 0, "n"));
	next_step(m);
}

static void
on_sampled(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtSelfmon *m = arg;

	if (answered(m, err, "sample of the change buffers"))
	{
		pgt_captured_settle(m->sampling, m->nsampling);
		next_step(m);
	}
}

static void
sample(PgtSelfmon *m)
{
	const PgtCaptured *counts = pgt_captured_list(&m->nsampling);
	PgtSql relids = {0};
	PgtSql rows = {0};
	const char *params[2];

	free(m->sampling);
	m->sampling = pgt_alloc((size_t) m->nsampling, sizeof(PgtCaptured));
	if (m->nsampling > 0)
		memcpy(m->sampling, counts, sizeof(PgtCaptured) * (size_t) m->nsampling);
	pgt_sql_add(&relids, "{");
	pgt_sql_add(&rows, "{");
	for (int i = 0; i < m->nsampling; i++)
	{
		pgt_sql_add(&relids, "%s%u", i > 0 ? "," : "", m->sampling[i].relid);
		pgt_sql_add(&rows, "%s%lld", i > 0 ? "," : "", (long long) m->sampling[i].rows);
	}
	pgt_sql_add(&relids, "}");
	pgt_sql_add(&rows, "}");
	params[0] = relids.text;
	params[1] = rows.text;
	pgt_conn_params(m->conn, "SELECT pgtrickle._policy_sample($1::oid[], $2::bigint[])", 2, params, on_sampled, m);
	pgt_sql_free(&relids);
	pgt_sql_free(&rows);
}

/* ---- wants ---- */

static bool
take_want(PgtSelfmon *m, int want)
{
	bool wanted = (m->wants & want) != 0;

	m->wants &= ~want;
	return wanted;
}

static void
next_step(PgtSelfmon *m)
{
	if (m->busy || m->conn == NULL || m->wants == 0)
		return;
	m->busy = true;
	if (take_want(m, WANT_TICK))
		pgt_conn_query(m->conn, tick_sql, on_tick, m);
	else if (take_want(m, WANT_ANOMALIES))
		pgt_conn_query(m->conn, "SELECT pgtrickle._policy_anomalies() AS n", on_anomalies, m);
	else if (take_want(m, WANT_ADVICE))
	{
		m->advised_at = pgt_loop_now(m->loop);
		pgt_conn_query(m->conn, "SELECT * FROM pgtrickle._policy_advice()", on_advice, m);
	}
	else if (take_want(m, WANT_SAMPLE))
	{
		m->sampled_at = pgt_loop_now(m->loop);
		sample(m);
	}
}

/* What the plan says about one df_* table; a refresh by hand shows here only. */
static void
note_df(PgtSelfmon *m, Df i, const PgtPlanSt *st)
{
	DfTable *df = &m->df[i];

	if (st->id != df->id || st->last_refresh != df->last_refresh)
		m->wants |= df_wants[i];
	df->id = st->id;
	df->last_refresh = st->last_refresh;
	df->active = strcmp(st->status, "ACTIVE") == 0;
	m->present = true;
	if (i == DF_BUFFERS)
	{
		PgtSchedule schedule;
		char err[256];

		m->sample_every = SAMPLE_EVERY_US;
		if (pgt_schedule_parse(st->schedule, &schedule, err, sizeof(err)) && schedule.kind == PGT_SCHEDULE_DURATION)
			m->sample_every = schedule.period_ms * 1000;
	}
}

static void
find_tables(PgtSelfmon *m, const PgtPlan *plan)
{
	bool found[NDF] = {false};

	m->present = false;
	for (int v = 0; v < plan->n; v++)
	{
		/* most names are told apart by their first letters */
		for (int i = 0; i < NDF && strncmp(plan->sts[v].name, "pgtrickle.df_", 13) == 0; i++)
		{
			if (strcmp(plan->sts[v].name, df_names[i]) != 0)
				continue;
			note_df(m, i, &plan->sts[v]);
			found[i] = true;
		}
	}
	for (int i = 0; i < NDF; i++)
	{
		if (!found[i])
			m->df[i] = (DfTable){0};
	}
}

void
pgt_selfmon_on_plan(PgtSelfmon *m, const PgtPlan *plan)
{
	find_tables(m, plan);
	/* the version before had no policy, whatever its tables are called */
	m->present = m->present && pgt_consumer_schema_is_current();
	if (m->present)
		m->settled = false;
	if (!plan->enabled || (!m->present && m->settled))
	{
		m->wants = 0;
		set_contended(m, false);
		if (m->conn != NULL && !m->busy)
			disconnect(m);
		m->mode_known = false;
		return;
	}
	m->wants |= WANT_TICK;
	if (m->df[DF_BUFFERS].id != 0 && pgt_loop_now(m->loop) - m->sampled_at >= m->sample_every)
		m->wants |= WANT_SAMPLE;
	if (m->conn == NULL)
		connect_policy(m);
	else
		next_step(m);
}

void
pgt_selfmon_on_refreshed(PgtSelfmon *m, int64_t id)
{
	for (int i = 0; i < NDF; i++)
	{
		if (m->df[i].id == id)
			m->wants |= df_wants[i];
	}
	next_step(m);
}

PgtSelfmon *
pgt_selfmon_create(PgtLoop *loop, const PgtOptions *options, const PgtSelfmonEvents *events, void *arg)
{
	PgtSelfmon *m = pgt_alloc(1, sizeof(PgtSelfmon));

	m->loop = loop;
	m->options = options;
	m->events = *events;
	m->arg = arg;
	m->settled = true;
	return m;
}

void
pgt_selfmon_free(PgtSelfmon *m)
{
	if (m == NULL)
		return;
	disconnect(m);
	free(m->sampling);
	free(m);
}
