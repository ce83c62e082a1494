/*
 * http.h - /metrics and /healthz.
 */
#ifndef PGT_HTTP_H
#define PGT_HTTP_H

#include <stdbool.h>

#include "consumer/err.h"
#include "consumer/loop.h"

typedef struct PgtHttp PgtHttp;

typedef bool (*PgtHealthFn)(void *arg);

/* where: [address:]port, the address numeric ("127.0.0.1" when left out, "[::1]:9187" for IPv6) */
extern PgtHttp *pgt_http_start(PgtLoop *loop, const char *where, PgtHealthFn healthy, void *arg, PgtErr *err);
extern void pgt_http_stop(PgtHttp *http); /* NULL is fine */

#endif /* PGT_HTTP_H */
