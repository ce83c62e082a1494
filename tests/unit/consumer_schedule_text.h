/* The consumer's reading of a schedule, in the words of schedule_vectors.txt; apart, because both parts name their kinds alike. */
#ifndef CONSUMER_SCHEDULE_TEXT_H
#define CONSUMER_SCHEDULE_TEXT_H

#include <stddef.h>

extern void pgt_consumer_describe(const char *text, char *out, size_t len);

#endif /* CONSUMER_SCHEDULE_TEXT_H */
