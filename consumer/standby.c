/*
 * standby.c - does synchronous_standby_names mean us?
 *
 * A logical walsender counts as a standby like any other.  If we matched, commits would wait for our confirmation and our
 * confirmation for commits (a refresh must be durable before it is confirmed): everything would stand still.  pg_stat_replication
 * shows sync_state only to members of pg_monitor, so the setting itself is read.
 *
 * Grammar: [FIRST|ANY] n ( name [, ...] )  or  name [, ...];  names plain or "quoted", compared without regard to case, * is any.
 * A count or keyword cannot equal our name, so it is enough to look at every word.
 */
#include "consumer/check.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX 128

static bool
is_word_char(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' || (unsigned char) c >= 0x80;
}

/* next word of the list; NULL at its end */
static const char *
next_word(const char *p, char *word)
{
	size_t n = 0;

	while (*p && !is_word_char(*p) && *p != '"' && *p != '*')
		p++;
	if (*p == '\0')
		return NULL;
	if (*p == '"')
	{
		for (p++; *p && !(*p == '"' && p[1] != '"'); p++)
		{
			if (*p == '"')
				p++;
			if (n < WORD_MAX - 1)
				word[n++] = *p;
		}
		if (*p)
			p++;
	}
	else if (*p == '*')
		word[n++] = *p++;
	else
	{
		for (; is_word_char(*p); p++)
		{
			if (n < WORD_MAX - 1)
				word[n++] = *p;
		}
	}
	word[n] = '\0';
	return p;
}

bool
pgt_check_sync_standby(const char *names, const char *name, PgtErr *err)
{
	char word[WORD_MAX];

	while ((names = next_word(names, word)) != NULL)
	{
		if (strcmp(word, "*") != 0 && strcasecmp(word, name) != 0)
			continue;
		pgt_err_set(err, PGT_STATE_SYNC_STANDBY, "synchronous_standby_names would make this consumer a synchronous standby");
		pgt_err_hint(err, "Name the standbys in synchronous_standby_names instead of \"*\"; commits would wait for stream tables otherwise.");
		return true;
	}
	return false;
}
