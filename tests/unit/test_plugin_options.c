/*
 * test_plugin_options.c - options of the output plugin are hostile input: exactly the allowed values, once each.
 */
/* link: plugin/options.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "plugin/options.h"

static PgtOptionResult
set(const char *name, const char *value)
{
	PgtOptions o;

	pgt_options_init(&o);
	return pgt_options_set(&o, name, value);
}

static void
defaults_are_plain_binary(void **state)
{
	PgtOptions o;

	pgt_options_init(&o);
	assert_int_equal(o.protocol_version, 1);
	assert_int_equal(o.format, PGT_FORMAT_BINARY);
	assert_false(o.lz4 || o.include_xid || o.include_lsn);
	assert_true(o.changed_columns);
	assert_int_equal(o.linger, 5);
	assert_int_equal(o.node, 0);
}

static void
allowed_values_are_taken(void **state)
{
	PgtOptions o;

	pgt_options_init(&o);
	assert_int_equal(pgt_options_set(&o, "format", "json"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "compression", "lz4"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "linger", "1000"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "node", "32767"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "include_xid", "on"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "include_lsn", "false"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "changed_columns", "off"), PGT_OPTION_OK);
	assert_false(o.changed_columns);
	assert_int_equal(pgt_options_set(&o, "protocol_version", "1"), PGT_OPTION_OK);
	assert_true(o.format == PGT_FORMAT_JSON && o.lz4 && o.linger == 1000 && o.node == 32767 && o.include_xid && !o.include_lsn);
}

static void
anything_else_is_refused(void **state)
{
	static const char *const bad[][2] = {
		{"linger", ""},
		{"linger", "-1"},
		{"linger", "1001"},
		{"linger", "+5"},
		{"linger", " 5"},
		{"linger", "5 "},
		{"linger", "0x5"},
		{"linger", "5ms"},
		{"linger", "4294967296"},
		{"linger", "18446744073709551617"},
		{"linger", "1e2"},
		{"protocol_version", "0"},
		{"protocol_version", "2"},
		{"protocol_version", "one"},
		{"node", "32768"},
		{"node", "99999999999"},
		{"format", "JSON"},
		{"format", "js"},
		{"format", "json "},
		{"format", ""},
		{"compression", "zstd"},
		{"compression", "LZ4"},
		{"include_xid", "yes please"},
		{"include_xid", "1"},
		{"include_lsn", "ON"},
		{"changed_columns", "0"},
		{"include_lsn", ""},
		{"format", "%s%s%s%n"},
		{"linger", "\xff\xfe"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		PgtOptions before;
		PgtOptions o;

		pgt_options_init(&o);
		before = o;
		assert_int_equal(pgt_options_set(&o, bad[i][0], bad[i][1]), PGT_OPTION_INVALID);
		assert_memory_equal(&o, &before, sizeof(o));
		assert_non_null(pgt_options_allowed(bad[i][0]));
	}
}

static void
unknown_names_are_refused(void **state)
{
	static const char *const bad[] = {"", "Format", "format ", "forma", "formats", "proto_version", "publication_names", "%n"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_int_equal(set(bad[i], "1"), PGT_OPTION_UNKNOWN);
		assert_null(pgt_options_allowed(bad[i]));
	}
}

static void
duplicates_and_missing_values_are_refused(void **state)
{
	PgtOptions o;

	pgt_options_init(&o);
	assert_int_equal(pgt_options_set(&o, "linger", NULL), PGT_OPTION_MISSING);
	assert_int_equal(pgt_options_set(&o, "linger", "x"), PGT_OPTION_INVALID);
	assert_int_equal(pgt_options_set(&o, "linger", "5"), PGT_OPTION_OK);
	assert_int_equal(pgt_options_set(&o, "linger", "5"), PGT_OPTION_DUPLICATE);
	assert_int_equal(pgt_options_set(&o, "linger", NULL), PGT_OPTION_DUPLICATE);
	assert_int_equal(o.linger, 5);
}

/* Random bytes: never accepted unless they are an allowed value, and never a read out of bounds (sanitizers watch). */
static void
noise_is_refused(void **state)
{
	static const char *const names[] = {"linger", "format", "compression", "node", "include_xid", "protocol_version"};

	srand(1);
	for (int i = 0; i < 20000; i++)
	{
		size_t n = (size_t) (rand() % 40);
		char *value = malloc(n + 1);

		for (size_t k = 0; k < n; k++)
			value[k] = (char) (rand() % 127 + 128);
		value[n] = '\0';
		assert_int_equal(set(names[i % 6], value), PGT_OPTION_INVALID);
		free(value);
	}
}

static void
every_name_is_listed(void **state)
{
	char *list = strdup(pgt_options_names());
	int n = 0;

	for (char *name = strtok(list, ", "); name != NULL; name = strtok(NULL, ", "), n++)
		assert_non_null(pgt_options_allowed(name));
	assert_int_equal(n, 8);
	free(list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_plain_binary),
		cmocka_unit_test(allowed_values_are_taken),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(unknown_names_are_refused),
		cmocka_unit_test(duplicates_and_missing_values_are_refused),
		cmocka_unit_test(noise_is_refused),
		cmocka_unit_test(every_name_is_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
