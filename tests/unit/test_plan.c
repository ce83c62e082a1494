/* link: consumer/plan.c consumer/policy.c consumer/schedule.c consumer/cron.c consumer/log.c */
/* libs: -lpq */
/*
 * test_plan.c - rows of _consumer_plan() into structs, without a server.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "consumer/plan.h"

static const char *const columns[] = {"pgt_id", "schema_name", "st_name", "schedule", "status", "is_populated", "needs_reinit", "tier",
									  "fuse_state", "diamond_consistency", "last_refresh_at", "source_relids", "upstream_ids", "first_load_large", "last_refresh_us",
									  "enabled", "default_schedule", "poll_interval", "max_jobs", "barrier_timeout"};

#define NCOLUMNS ((int) (sizeof(columns) / sizeof(columns[0])))

static PGresult *
empty(int ncolumns)
{
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc desc[NCOLUMNS];

	memset(desc, 0, sizeof(desc));
	for (int i = 0; i < ncolumns; i++)
		desc[i].name = (char *) columns[i];
	assert_true(PQsetResultAttrs(res, ncolumns, desc));
	return res;
}

static void
add_row(PGresult *res, const char *const *values)
{
	int row = PQntuples(res);

	for (int i = 0; i < NCOLUMNS; i++)
		assert_true(PQsetvalue(res, row, i, (char *) values[i], values[i] ? (int) strlen(values[i]) : -1));
}

static void
rows_are_read_and_sorted(void **state)
{
	static const char *const second[NCOLUMNS] = {"12", "s", "b", NULL, "SUSPENDED", "t", "f", "cold", "blown", "none", "x", "{7,3}", "{5,6}",
												 "f", "1700000000000000", "off", "500ms", "2s", "7", "1min"};
	static const char *const first[NCOLUMNS] = {"5", "S x", "a", "1h", "ACTIVE", "f", "t", "hot", "armed", "atomic", NULL, "{}", "{}",
												"t", NULL, "off", "500ms", "2s", "7", "1min"};
	PGresult *res = empty(NCOLUMNS);
	PgtPlan *plan;
	PgtErr err;

	add_row(res, second);
	add_row(res, first);
	plan = pgt_plan_read(res, &err);
	assert_non_null(plan);
	assert_int_equal(plan->n, 2);
	assert_int_equal(pgt_plan_find(plan, 12), 1);
	assert_int_equal(pgt_plan_find(plan, 6), -1);
	assert_string_equal(plan->sts[0].name, "S x.a");
	assert_string_equal(plan->sts[0].schedule, "1h");
	assert_true(plan->sts[0].needs_reinit && plan->sts[0].large && plan->sts[0].atomic && !plan->sts[0].populated);
	assert_int_equal(plan->sts[0].ntables, 0);
	assert_int_equal(plan->sts[0].last_refresh, 0);
	assert_null(pgt_plan_held(&plan->sts[0]));
	assert_null(plan->sts[1].schedule);
	assert_int_equal(plan->sts[1].ntables, 2);
	assert_int_equal(plan->sts[1].tables[0], 3);
	assert_int_equal(plan->sts[1].nupstreams, 2);
	assert_int_equal(plan->sts[1].upstreams[1], 6);
	assert_int_equal(plan->sts[1].factor, 10);
	assert_string_equal(pgt_plan_held(&plan->sts[1]), "SUSPENDED");
	assert_false(pgt_plan_same_sources(&plan->sts[0], &plan->sts[1]));
	assert_false(plan->enabled);
	assert_int_equal(plan->fallback_us, 500000);
	assert_int_equal(plan->poll_us, 2000000);
	assert_int_equal(plan->barrier_timeout_us, 60000000);
	assert_int_equal(plan->max_jobs, 7);
	pgt_plan_free(plan);
	PQclear(res);
}

/* Settings come even when there is no ST. */
static void
no_st(void **state)
{
	static const char *const row[NCOLUMNS] = {[NCOLUMNS - 5] = "on", [NCOLUMNS - 1] = "100ms"};
	PGresult *res = empty(NCOLUMNS);
	PgtPlan *plan;
	PgtErr err;

	add_row(res, row);
	plan = pgt_plan_read(res, &err);
	assert_int_equal(plan->n, 0);
	assert_true(plan->enabled);
	assert_int_equal(plan->barrier_timeout_us, 100000);
	assert_int_equal(plan->fallback_us, 1000000);
	pgt_plan_free(plan);
	PQclear(res);
}

static void
missing_columns_are_an_error(void **state)
{
	PGresult *res = empty(5);
	PgtErr err;

	assert_null(pgt_plan_read(res, &err));
	assert_string_equal(err.message, "_consumer_plan() has no column \"is_populated\"");
	PQclear(res);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_read_and_sorted),
		cmocka_unit_test(no_st),
		cmocka_unit_test(missing_columns_are_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
