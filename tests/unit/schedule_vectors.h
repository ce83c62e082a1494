/* schedule_vectors.txt against one reading of schedules; cmocka fails at the first that differs. */
#ifndef SCHEDULE_VECTORS_H
#define SCHEDULE_VECTORS_H

#include <stddef.h>

typedef void (*PgtDescribe)(const char *text, char *out, size_t len);

extern void pgt_check_vectors(PgtDescribe describe);

#endif /* SCHEDULE_VECTORS_H */
