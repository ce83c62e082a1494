/*
 * name.h - the names of stream tables as users write them.
 */
#ifndef PGT_NAME_H
#define PGT_NAME_H

#include "postgres.h"

typedef struct PgtName
{
	char *schema; /* NULL: not given */
	char *name;
} PgtName;

/* 42602 when it is no name, 42622 when a part is longer than an identifier can be. */
extern PgtName pgt_parse_name(const char *text);

#endif /* PGT_NAME_H */
