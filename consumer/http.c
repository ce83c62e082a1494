/*
 * http.c - /metrics and /healthz through libmicrohttpd.
 *
 * libmicrohttpd runs without threads on an epoll descriptor of its own, which sits in our loop like any other: handlers run on the
 * loop's thread and may read what they like.  Loopback unless an address is given; no authentication, nothing secret shown.
 */
#include "consumer/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/log.h"
#include "consumer/metrics.h"

struct PgtHttp
{
	PgtLoop *loop;
	struct MHD_Daemon *daemon;
	PgtWatch *watch;
	PgtTimer timeout;
	PgtHealthFn healthy;
	void *arg;
};

static enum MHD_Result
answer(struct MHD_Connection *conn, unsigned status, const char *type, char *text, size_t len)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (response == NULL)
	{
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(conn, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
answer_text(struct MHD_Connection *conn, unsigned status, const char *text)
{
	char *copy = strdup(text);

	return copy ? answer(conn, status, "text/plain; charset=utf-8", copy, strlen(copy)) : MHD_NO;
}

static enum MHD_Result
answer_metrics(struct MHD_Connection *conn)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return MHD_NO;
	pgt_metrics_render(out);
	fclose(out);
	return answer(conn, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, len);
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version, const char *upload,
		   size_t *upload_size, void **state)
{
	PgtHttp *http = cls;

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_text(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(conn);
	if (strcmp(url, "/healthz") == 0)
	{
		bool healthy = http->healthy(http->arg);

		return answer_text(conn, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, healthy ? "ok\n" : "not streaming\n");
	}
	return answer_text(conn, MHD_HTTP_NOT_FOUND, "try /metrics or /healthz\n");
}

static void
serve(void *arg)
{
	PgtHttp *http = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(http->daemon);
	if (MHD_get_timeout(http->daemon, &ms) == MHD_YES)
		pgt_timer_after(http->loop, &http->timeout, (int64_t) ms * 1000);
	else
		pgt_timer_cancel(http->loop, &http->timeout);
}

static void
on_readable(void *arg, short revents)
{
	serve(arg);
}

/* [address:]port into a socket address */
static bool
parse_where(const char *where, struct sockaddr_storage *addr)
{
	char host[128] = "127.0.0.1";
	const char *colon = strrchr(where, ':');
	const char *port = colon ? colon + 1 : where;
	char *end;
	long number = strtol(port, &end, 10);
	struct sockaddr_in *in4 = (struct sockaddr_in *) addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) addr;

	if (end == port || *end || number < 0 || number > 65535)
		return false;
	if (colon)
	{
		size_t n = (size_t) (colon - where);
		bool brackets = n >= 2 && where[0] == '[' && where[n - 1] == ']';

		if (n == 0 || n >= sizeof(host))
			return false;
		snprintf(host, sizeof(host), "%.*s", (int) (brackets ? n - 2 : n), where + brackets);
	}
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, host, &in4->sin_addr) == 1)
	{
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t) number);
		return true;
	}
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return false;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t) number);
	return true;
}

PgtHttp *
pgt_http_start(PgtLoop *loop, const char *where, PgtHealthFn healthy, void *arg, PgtErr *err)
{
	struct sockaddr_storage addr;
	const union MHD_DaemonInfo *info;
	PgtHttp *http;
	unsigned flags = MHD_USE_EPOLL;

	if (!parse_where(where, &addr))
	{
		pgt_err_set(err, PGT_STATE_USAGE, "invalid value \"%s\" for \"http\"", where);
		pgt_err_hint(err, "It takes a port, or a numeric address and a port: 9187, 0.0.0.0:9187, [::1]:9187.");
		return NULL;
	}
	http = calloc(1, sizeof(PgtHttp));
	if (http == NULL)
		abort();
	http->loop = loop;
	http->healthy = healthy;
	http->arg = arg;
	pgt_timer_init(&http->timeout, serve, http);
	if (addr.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR, (struct sockaddr *) &addr,
									MHD_OPTION_CONNECTION_LIMIT, 32u, MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_LISTENING_ADDRESS_REUSE,
									1u, MHD_OPTION_END);
	info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (info == NULL)
	{
		pgt_err_set(err, PGT_STATE_USAGE, "could not listen at \"%s\": %s", where, strerror(errno));
		pgt_http_stop(http);
		return NULL;
	}
	http->watch = pgt_loop_watch(loop, info->epoll_fd, POLLIN, on_readable, http);
	pgt_log(PGT_LOG_INFO, "http", "serving /metrics and /healthz at %s", where);
	return http;
}

void
pgt_http_stop(PgtHttp *http)
{
	if (http == NULL)
		return;
	pgt_watch_remove(http->watch);
	pgt_timer_cancel(http->loop, &http->timeout);
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	free(http);
}
