/* schedule_vectors.c - see schedule_vectors.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/schedule_vectors.h"

#define VECTORS "tests/unit/schedule_vectors.txt"

void
pgt_check_vectors(PgtDescribe describe)
{
	FILE *f = fopen(VECTORS, "r");
	char line[1024];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
	{
		char *end;
		char got[1024];

		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '|')
			continue;
		end = strstr(line + 1, "|\t");
		assert_non_null(end);
		*end = '\0';
		describe(line + 1, got, sizeof(got));
		if (strcmp(got, end + 2) != 0)
			fail_msg("schedule \"%s\": expected \"%s\", got \"%s\"", line + 1, end + 2, got);
		n++;
	}
	fclose(f);
	assert_true(n > 100);
}
