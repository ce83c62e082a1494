/*
 * alloc.h - memory or abort(): a few hundred bytes that are not there leave nothing sensible to do.
 *
 * Header only, so that the pure modules and their unit tests link nothing for it.
 */
#ifndef PGT_ALLOC_H
#define PGT_ALLOC_H

#include <stdlib.h>
#include <string.h>

/* Zeroed; n = 0 is a valid array of nothing. */
static inline void *
pgt_alloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL)
		abort();
	return p;
}

static inline void *
pgt_realloc(void *p, size_t n)
{
	p = realloc(p, n > 0 ? n : 1);
	if (p == NULL)
		abort();
	return p;
}

/* NULL is copied as an empty string. */
static inline char *
pgt_copy(const char *text)
{
	char *copy = strdup(text ? text : "");

	if (copy == NULL)
		abort();
	return copy;
}

#endif /* PGT_ALLOC_H */
