/*
 * plan.c - reads the result of _consumer_plan().
 */
#include "consumer/plan.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/alloc.h"
#include "consumer/policy.h"
#include "consumer/result.h"

/* The settings exist in a session only once the library is loaded: some C function must have been called before. */
const char *const pgt_plan_sql =
	"SELECT p.*, (extract(epoch FROM p.last_refresh_at) * 1000000)::bigint AS last_refresh_us,"
	" (extract(epoch FROM nullif(p.next_crossing, 'infinity')) * 1000000)::bigint AS next_crossing_us, s.*"
	" FROM (SELECT current_setting('pg_trickle.enabled', true) AS enabled,"
	"  current_setting('pg_trickle.default_schedule_seconds', true) AS default_schedule,"
	"  current_setting('pg_trickle.max_poll_interval_ms', true) AS poll_interval,"
	"  current_setting('pg_trickle.max_concurrent_refreshes', true) AS max_jobs,"
	"  current_setting('pg_trickle.barrier_timeout', true) AS barrier_timeout) s"
	" LEFT JOIN pgtrickle._consumer_plan() p ON true";

/* ---- fields ---- */

/* "{1,2,3}" */
static int64_t *
numbers(const char *text, int *n)
{
	int64_t *values = pgt_alloc(text ? strlen(text) / 2 + 1 : 1, sizeof(int64_t));
	const char *p = text ? text : "{}";

	*n = 0;
	while (*p == '{' || *p == ',')
	{
		char *end;

		p++;
		values[*n] = strtoll(p, &end, 10);
		if (end == p)
			break;
		(*n)++;
		p = end;
	}
	return values;
}

/* A setting as SHOW prints it: a number with a unit, or a plain number of `unit_us`. */
static int64_t
setting_us(const char *text, int64_t unit_us, int64_t fallback)
{
	PgtSchedule s;
	char err[128];
	char *end;
	double value;

	if (text == NULL || *text == '\0')
		return fallback;
	value = strtod(text, &end);
	if (*end == '\0')
		return (int64_t) (value * (double) unit_us);
	if (pgt_schedule_parse(text, &s, err, sizeof(err)) && s.kind == PGT_SCHEDULE_DURATION)
		return s.period_ms * 1000;
	return fallback;
}

/* ---- rows ---- */

static int
compare_uint32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

static int
compare_st(const void *a, const void *b)
{
	int64_t x = ((const PgtPlanSt *) a)->id;
	int64_t y = ((const PgtPlanSt *) b)->id;

	return x < y ? -1 : x > y;
}

static void
read_sources(const PGresult *res, int row, PgtPlanSt *st)
{
	int64_t *oids = numbers(pgt_field(res, row, "source_relids"), &st->ntables);

	st->tables = pgt_alloc((size_t) st->ntables, sizeof(uint32_t));
	for (int i = 0; i < st->ntables; i++)
		st->tables[i] = (uint32_t) oids[i];
	free(oids);
	qsort(st->tables, (size_t) st->ntables, sizeof(uint32_t), compare_uint32);
	st->upstreams = numbers(pgt_field(res, row, "upstream_ids"), &st->nupstreams);
}

static char *
joined_name(const char *schema, const char *name)
{
	size_t len = strlen(schema) + strlen(name) + 2;
	char *joined = pgt_alloc(len, 1);

	snprintf(joined, len, "%s.%s", schema, name);
	return joined;
}

static const char *
or_else(const char *text, const char *otherwise)
{
	return text ? text : otherwise;
}

static void
read_st(const PGresult *res, int row, PgtPlanSt *st)
{
	const char *schedule = pgt_field(res, row, "schedule");

	st->id = pgt_field_integer(res, row, "pgt_id");
	st->name = joined_name(or_else(pgt_field(res, row, "schema_name"), "?"), or_else(pgt_field(res, row, "st_name"), "?"));
	st->schedule = schedule ? pgt_copy(schedule) : NULL;
	st->status = pgt_copy(or_else(pgt_field(res, row, "status"), "ERROR"));
	st->last_refresh = pgt_field_integer(res, row, "last_refresh_us");
	st->refresh_group = pgt_field_integer(res, row, "refresh_group");
	st->factor = pgt_tier_factor(or_else(pgt_field(res, row, "tier"), "hot"));
	st->populated = pgt_field_true(res, row, "is_populated");
	st->needs_reinit = pgt_field_true(res, row, "needs_reinit");
	st->fuse_blown = strcmp(or_else(pgt_field(res, row, "fuse_state"), ""), "blown") == 0;
	st->gated = pgt_field_true(res, row, "gated");
	st->large = pgt_field_true(res, row, "first_load_large");
	st->atomic = strcmp(or_else(pgt_field(res, row, "diamond_consistency"), ""), "atomic") == 0;
	st->slowest = strcmp(or_else(pgt_field(res, row, "diamond_schedule_policy"), ""), "slowest") == 0;
	st->clocked = pgt_field_true(res, row, "time_dependent");
	st->crossing = pgt_field_integer(res, row, "next_crossing_us");
	st->upstream_pending = pgt_field_true(res, row, "upstream_pending");
	read_sources(res, row, st);
}

/* The same in every row; there is one even without STs. */
static void
read_settings(const PGresult *res, PgtPlan *plan)
{
	bool any = PQntuples(res) > 0;
	const char *enabled = any ? pgt_field(res, 0, "enabled") : NULL;

	plan->enabled = enabled == NULL || strcmp(enabled, "off") != 0;
	plan->fallback_us = setting_us(any ? pgt_field(res, 0, "default_schedule") : NULL, 1000000, 1000000);
	plan->poll_us = setting_us(any ? pgt_field(res, 0, "poll_interval") : NULL, 1000, 1000000);
	plan->barrier_timeout_us = setting_us(any ? pgt_field(res, 0, "barrier_timeout") : NULL, 1000, 2000000);
	plan->max_jobs = any && pgt_field(res, 0, "max_jobs") ? (int) pgt_field_integer(res, 0, "max_jobs") : INT_MAX;
}

PgtPlan *
pgt_plan_read(const PGresult *res, PgtErr *err)
{
	static const char *const required[] = {"pgt_id", "schema_name", "st_name", "schedule", "status", "is_populated", "needs_reinit",
										   "tier", "fuse_state", "diamond_consistency", "last_refresh_at", "source_relids", "upstream_ids", "first_load_large"};
	PgtPlan *plan;

	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
	{
		if (PQfnumber(res, required[i]) < 0)
		{
			pgt_err_set(err, PGT_STATE_NO_EXTENSION, "_consumer_plan() has no column \"%s\"", required[i]);
			pgt_err_hint(err, "trickle-consumer and the extension pg_trickle must be of the same version.");
			return NULL;
		}
	}
	plan = pgt_alloc(1, sizeof(PgtPlan));
	plan->sts = pgt_alloc((size_t) PQntuples(res), sizeof(PgtPlanSt));
	for (int row = 0; row < PQntuples(res); row++)
	{
		if (pgt_field(res, row, "pgt_id") != NULL)
			read_st(res, row, &plan->sts[plan->n++]);
	}
	qsort(plan->sts, (size_t) plan->n, sizeof(PgtPlanSt), compare_st);
	read_settings(res, plan);
	return plan;
}

void
pgt_plan_free(PgtPlan *plan)
{
	if (plan == NULL)
		return;
	for (int i = 0; i < plan->n; i++)
	{
		free(plan->sts[i].name);
		free(plan->sts[i].schedule);
		free(plan->sts[i].status);
		free(plan->sts[i].tables);
		free(plan->sts[i].upstreams);
	}
	free(plan->sts);
	free(plan);
}

int
pgt_plan_find(const PgtPlan *plan, int64_t id)
{
	PgtPlanSt key = {.id = id};
	PgtPlanSt *found = bsearch(&key, plan->sts, (size_t) plan->n, sizeof(PgtPlanSt), compare_st);

	return found ? (int) (found - plan->sts) : -1;
}

const char *
pgt_plan_held(const PgtPlanSt *st)
{
	if (strcmp(st->status, "ACTIVE") != 0 && strcmp(st->status, "INITIALIZING") != 0)
		return st->status;
	if (st->factor == 0)
		return "frozen";
	if (st->fuse_blown)
		return "its fuse has blown";
	if (st->gated)
		return "a gate, a watermark or its refresh group holds it";
	return NULL;
}

bool
pgt_plan_same_sources(const PgtPlanSt *a, const PgtPlanSt *b)
{
	return a->ntables == b->ntables && a->nupstreams == b->nupstreams &&
		   memcmp(a->tables, b->tables, sizeof(uint32_t) * (size_t) a->ntables) == 0 &&
		   memcmp(a->upstreams, b->upstreams, sizeof(int64_t) * (size_t) a->nupstreams) == 0;
}
