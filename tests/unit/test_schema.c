/* test_schema.c - which versions of the schema a consumer serves. */
/* link: consumer/schema.c consumer/log.c */
/* libs: -lpq */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/schema.h"

static const PgtErr *
refusal_of(const char *version)
{
	static PgtErr err;
	PgtSchema schema;

	memset(&err, 0, sizeof(err));
	pgt_schema_set(&schema, version, "t");
	return pgt_schema_refuse(&schema, &err);
}

static void
versions_compare_by_number(void **state)
{
	assert_int_equal(pgt_version_compare("1.2.3", "1.2.3"), 0);
	assert_true(pgt_version_compare("0.9.0", "0.10.0") < 0);
	assert_true(pgt_version_compare("0.30.1", "0.30.0") > 0);
	assert_true(pgt_version_compare("1.0.0", "0.99.99") > 0);
	assert_true(pgt_version_compare("", "0.0.0") < 0);
	assert_true(pgt_version_compare("0.20", "0.0.0") < 0);
	assert_true(pgt_version_compare("0.30.0beta", "0.0.0") < 0);
	assert_true(pgt_version_compare("0.0.0", "-1.0.0") > 0);
	assert_int_equal(pgt_version_compare("x", ""), 0);
}

static void
own_and_previous_are_served(void **state)
{
	PgtSchema schema;

	assert_null(refusal_of(PGT_VERSION));
	assert_null(refusal_of("0.19.0"));
	pgt_schema_set(&schema, PGT_VERSION, "t");
	assert_true(pgt_schema_is_current(&schema));
	assert_true(schema.masks);
	pgt_schema_set(&schema, "0.19.0", "f");
	assert_false(pgt_schema_is_current(&schema));
	assert_false(schema.masks);
}

static void
others_are_refused(void **state)
{
	const PgtErr *err = refusal_of("99.0.0");

	assert_non_null(err);
	assert_string_equal(err->sqlstate, PGT_STATE_SCHEMA);
	assert_non_null(strstr(err->message, "99.0.0, newer than this trickle-consumer " PGT_VERSION));
	assert_non_null(strstr(err->hint, "99.0.0"));
	err = refusal_of("0.18.9");
	assert_non_null(err);
	assert_non_null(strstr(err->hint, "ALTER EXTENSION pg_trickle UPDATE"));
	assert_non_null(refusal_of(""));
	assert_non_null(refusal_of("a version that is longer than any that there will ever be, and then some"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_compare_by_number),
		cmocka_unit_test(own_and_previous_are_served),
		cmocka_unit_test(others_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
