/*
 * main.c - trickle-consumer.
 */
#include "consumer/options.h"

#include <stdlib.h>

static const char *
from_environment(const char *name)
{
	return getenv(name);
}

int
main(int argc, char **argv)
{
	PgtOptions options;
	PgtErr err;

	if (!pgt_options_parse(&options, argc, argv, from_environment, &err))
	{
		fprintf(stderr, "trickle-consumer: %s\n%s%s\n", err.message, err.hint[0] ? "HINT:  " : "", err.hint);
		return PGT_EXIT_USAGE;
	}
	if (options.help)
		pgt_options_help(stdout);
	else if (options.print_options_md)
		pgt_options_markdown(stdout);
	else if (options.version)
		printf("trickle-consumer (pg_trickle) %s\n", PGT_VERSION);
	return PGT_EXIT_OK;
}
