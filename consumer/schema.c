/*
 * schema.c - the version of the extension's schema against ours.
 */
#include "consumer/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_SCHEMA "0.19.0"
#define PARTS 3

const char pgt_schema_sql[] =
	"SELECT (SELECT v.version FROM pgtrickle.pgt_schema_version v ORDER BY pg_catalog.string_to_array(v.version, '.')::int[] DESC LIMIT 1),"
	" EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'pgtrickle.pgt_sources'::pg_catalog.regclass"
	" AND a.attname = 'mask' AND NOT a.attisdropped)";

void
pgt_schema_set(PgtSchema *schema, const char *version, const char *masks)
{
	snprintf(schema->version, sizeof(schema->version), "%s", version);
	schema->masks = strcmp(masks, "t") == 0;
}

static bool
parse_version(const char *text, long parts[PARTS])
{
	for (int i = 0; i < PARTS; i++)
	{
		char *end;

		if (*text < '0' || *text > '9')
			return false;
		parts[i] = strtol(text, &end, 10);
		if (*end != (i == PARTS - 1 ? '\0' : '.'))
			return false;
		text = end + 1;
	}
	return true;
}

int
pgt_version_compare(const char *a, const char *b)
{
	long x[PARTS];
	long y[PARTS];
	bool good_a = parse_version(a, x);
	bool good_b = parse_version(b, y);

	if (!good_a || !good_b)
		return good_a - good_b;
	for (int i = 0; i < PARTS; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

bool
pgt_schema_is_current(const PgtSchema *schema)
{
	return strcmp(schema->version, PGT_VERSION) == 0;
}

const PgtErr *
pgt_schema_refuse(const PgtSchema *schema, PgtErr *err)
{
	if (pgt_version_compare(schema->version, PGT_VERSION) > 0)
	{
		pgt_err_set(err, PGT_STATE_SCHEMA, "the extension's schema in this database is version %s, newer than this trickle-consumer %s",
					schema->version, PGT_VERSION);
		pgt_err_hint(err, "Run the trickle-consumer that came with version %s.", schema->version);
		return err;
	}
	if (pgt_version_compare(schema->version, OLDEST_SCHEMA) < 0)
	{
		pgt_err_set(err, PGT_STATE_SCHEMA, "the extension's schema in this database is version \"%s\"; this trickle-consumer %s serves %s and later",
					schema->version, PGT_VERSION, OLDEST_SCHEMA);
		pgt_err_hint(err, "Run ALTER EXTENSION pg_trickle UPDATE in this database.");
		return err;
	}
	return NULL;
}
