/*
 * test_options.c - the option table: where values come from and who wins, units and limits, errors that name what is wrong; and
 * which settings of synchronous_standby_names mean us.
 */
/* link: consumer/options.c consumer/standby.c consumer/log.c */
/* libs: -lpq */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "consumer/check.h"
#include "consumer/options.h"

static const char *env_pairs[8];

static const char *
test_env(const char *name)
{
	for (int i = 0; env_pairs[i]; i += 2)
	{
		if (strcmp(env_pairs[i], name) == 0)
			return env_pairs[i + 1];
	}
	return NULL;
}

#define ARGV(...) ((char *const[]){(char *) "trickle-consumer", ##__VA_ARGS__})
#define PARSE(...) parse(sizeof(ARGV(__VA_ARGS__)) / sizeof(char *), ARGV(__VA_ARGS__))

static PgtOptions o;
static PgtErr err;

static bool
parse(size_t argc, char *const *argv)
{
	memset(&err, 0, sizeof(err));
	return pgt_options_parse(&o, (int) argc, argv, test_env, &err);
}

static int
clear(void **state)
{
	memset(env_pairs, 0, sizeof(env_pairs));
	return 0;
}

static const char *
write_file(const char *text)
{
	static char path[] = "/tmp/test_options_XXXXXX";
	int fd;

	strcpy(path, "/tmp/test_options_XXXXXX");
	fd = mkstemp(path);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t) strlen(text));
	close(fd);
	return path;
}

static void
defaults_and_forms(void **state)
{
	assert_true(PARSE("-S", "s1", "-dmydb", "-wv", "--host=/tmp", "--port", "5433"));
	assert_string_equal(o.slot, "s1");
	assert_string_equal(o.dbname, "mydb");
	assert_true(o.no_password && o.verbose);
	assert_string_equal(o.host, "/tmp");
	assert_string_equal(o.port, "5433");
	assert_int_equal(o.apply_memory, 64 * 1024 * 1024);
	assert_int_equal(o.flush_idle_us, 3000);
	assert_int_equal(o.linger_ms, -1);
	assert_string_equal(o.compression, "none");
}

static void
units_and_limits(void **state)
{
	assert_true(PARSE("-S", "s", "--flush-bytes=2MB", "--flush-idle=10ms", "--ack-interval=2min", "--segment-size=1GB"));
	assert_int_equal(o.flush_bytes, 2 << 20);
	assert_int_equal(o.flush_idle_us, 10000);
	assert_int_equal(o.ack_interval_us, 120000000);
	assert_int_equal(o.segment_size, 1 << 30);
	assert_true(PARSE("-S", "s", "--flush-idle=0"));
	assert_false(PARSE("-S", "s", "--flush-idle=10")); /* a time needs a unit */
	assert_false(PARSE("-S", "s", "--flush-bytes=1")); /* below its minimum */
	assert_false(PARSE("-S", "s", "--flush-bytes=99999999999GB"));
	assert_false(PARSE("-S", "s", "--workers=0"));
	assert_false(PARSE("-S", "s", "--workers=2x"));
	assert_false(PARSE("-S", "s", "--workers="));
	assert_false(PARSE("-S", "s", "--compression=zstd"));
	assert_non_null(strstr(err.message, "zstd"));
	assert_non_null(strstr(err.message, "compression"));
	assert_non_null(strstr(err.hint, "none|lz4"));
}

static void
who_wins(void **state)
{
	const char *path = write_file("# comment\n; another\n[section]\n workers = 3 \nflush-bytes=1MB\nverbose = on\n");
	char config[64];

	snprintf(config, sizeof(config), "--config=%s", path);
	env_pairs[0] = "PGTRICKLE_FLUSH_BYTES";
	env_pairs[1] = "2MB";
	env_pairs[2] = "PGTRICKLE_SLOT";
	env_pairs[3] = "from_env";
	assert_true(PARSE(config));
	assert_int_equal(o.workers, 3);
	assert_int_equal(o.flush_bytes, 2 << 20);
	assert_string_equal(o.slot, "from_env");
	assert_true(o.verbose);
	assert_true(PARSE(config, "--flush-bytes=3MB", "--slot=cli", "--verbose=off"));
	assert_int_equal(o.flush_bytes, 3 << 20);
	assert_string_equal(o.slot, "cli");
	assert_false(o.verbose);
	unlink(path);
}

static void
files_are_strict(void **state)
{
	static const char *const bad[] = {"slot = s\nnonsense = 1\n", "slot = s\nworkers\n", "create-slot = on\nslot = s\n", "slot = s\nworkers = many\n"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		const char *path = write_file(bad[i]);

		assert_false(PARSE("-c", (char *) path));
		unlink(path);
	}
	assert_false(PARSE("-S", "s", "-c", "/nonexistent/file"));
	assert_string_equal(err.sqlstate, PGT_STATE_USAGE);
}

static void
combinations(void **state)
{
	assert_false(PARSE("--check"));
	assert_non_null(strstr(err.hint, "--slot"));
	assert_false(PARSE("-S", "s", "--create-slot", "--drop-slot"));
	assert_false(PARSE("-S", "s", "--drop-slot", "--start"));
	assert_false(PARSE("-S", "s", "--if-not-exists"));
	assert_true(PARSE("-S", "s", "--create-slot", "--if-not-exists", "--start"));
	assert_false(PARSE("-S", "bad-name"));
	assert_false(PARSE("-S", "s\"; DROP"));
	assert_false(PARSE("-S", "0123456789012345678901234567890123456789012345678901234567890123")); /* 64 bytes */
	assert_false(PARSE("-S", "s", "stray"));
	assert_false(PARSE("-S", "s", "--no-such"));
	assert_false(PARSE("-S", "s", "-Z"));
	assert_false(PARSE("-S"));
	assert_true(PARSE("--help"));
}

static void
reload_takes_only_what_may_change(void **state)
{
	PgtOptions running;

	assert_true(PARSE("-S", "s", "--workers=2", "--flush-bytes=1MB"));
	running = o;
	env_pairs[0] = "PGTRICKLE_SEGMENT_SIZE";
	env_pairs[1] = "16MB";
	assert_true(pgt_options_reload(&running, 4, ARGV("-S", "other", "--flush-bytes=2MB"), test_env, &err));
	assert_string_equal(running.slot, "s");
	assert_int_equal(running.flush_bytes, 2 << 20);
	assert_int_equal(running.segment_size, 16 << 20);
	/* a bad file leaves everything as it was */
	assert_false(pgt_options_reload(&running, 2, ARGV("--workers=x"), test_env, &err));
	assert_int_equal(running.flush_bytes, 2 << 20);
}

static void
texts_name_every_option(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	pgt_options_help(f);
	pgt_options_markdown(f);
	fclose(f);
	assert_non_null(strstr(text, "--flush-bytes=VALUE"));
	assert_non_null(strstr(text, "| `--flush-bytes` | `PGTRICKLE_FLUSH_BYTES` | `4MB` | yes |"));
	assert_non_null(strstr(text, "Exit codes"));
	free(text);
}

static void
standby_names_that_mean_us(void **state)
{
	static const char *const us[] = {"*", "FIRST 1 (*)", "s1, *", "ANY 2 (a, \"trickle-consumer stream\", b)", "\"TRICKLE-CONSUMER STREAM\""};
	static const char *const others[] = {"", "s1", "FIRST 1 (s1, s2)", "ANY 1 (\"a\"\"*\", b)", "trickle, consumer", "\"unterminated"};

	for (size_t i = 0; i < sizeof(us) / sizeof(us[0]); i++)
		assert_true(pgt_check_sync_standby(us[i], "trickle-consumer stream", &err));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(pgt_check_sync_standby(others[i], "trickle-consumer stream", &err));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(defaults_and_forms, clear),
		cmocka_unit_test_setup(units_and_limits, clear),
		cmocka_unit_test_setup(who_wins, clear),
		cmocka_unit_test_setup(files_are_strict, clear),
		cmocka_unit_test_setup(combinations, clear),
		cmocka_unit_test_setup(reload_takes_only_what_may_change, clear),
		cmocka_unit_test_setup(texts_name_every_option, clear),
		cmocka_unit_test(standby_names_that_mean_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
