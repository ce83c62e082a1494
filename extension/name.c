/*
 * name.c - the names of stream tables as users write them.
 *
 * Names follow the rules of SQL: unquoted parts fold to lower case, quoted ones are taken as they are.  Unlike SQL, a part that
 * is too long for an identifier is an error: cutting it off silently would let two names become one.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/scansup.h"

#include "compat.h"
#include "name.h"

PGT_NORETURN static void
bad_name(const char *text, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("invalid name for a stream table: \"%s\"", text),
			 errdetail("%s", detail),
			 errhint("Write name or schema.name; put double quotes around parts with capitals or special characters.")));
}

/* A quoted part: *p stands behind the opening quote, then behind the closing one. */
static char *
quoted_part(const char *text, const char **p)
{
	StringInfoData part;

	initStringInfo(&part);
	for (;; (*p)++)
	{
		if (**p == '\0')
			bad_name(text, "A double quote is not closed.");
		if (**p == '"' && *++(*p) != '"')
			return part.data;
		appendStringInfoChar(&part, **p);
	}
}

static char *
plain_part(const char **p)
{
	size_t len = strcspn(*p, ".\" \t\r\n");
	char *part = downcase_identifier(*p, (int) len, false, false);

	*p += len;
	return part;
}

static char *
name_part(const char *text, const char **p)
{
	char *part;

	*p += strspn(*p, " \t\r\n");
	if (**p == '"')
	{
		(*p)++;
		part = quoted_part(text, p);
	}
	else
		part = plain_part(p);
	*p += strspn(*p, " \t\r\n");
	if (part[0] == '\0')
		bad_name(text, "A part of the name is empty.");
	if (strlen(part) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name \"%s\" is too long", part),
				 errdetail("It has %zu bytes; identifiers have at most %d.", strlen(part), NAMEDATALEN - 1),
				 errhint("Choose a shorter name.")));
	return part;
}

PgtName
pgt_parse_name(const char *text)
{
	PgtName result = {NULL, NULL};
	const char *p = text;
	char *parts[3];
	int n = 0;

	for (;;)
	{
		if (n == lengthof(parts))
			bad_name(text, "It has too many parts.");
		parts[n++] = name_part(text, &p);
		if (*p == '\0')
			break;
		if (*p++ != '.')
			bad_name(text, "The parts of a name are separated by a period.");
	}
	if (n == 3 && strcmp(parts[0], get_database_name(MyDatabaseId)) != 0)
		bad_name(text, "It names another database.");
	result.name = parts[n - 1];
	result.schema = n > 1 ? parts[n - 2] : NULL;
	return result;
}
