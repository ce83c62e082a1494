/*
 * main.c - trickle-consumer: options, actions, and the daemon's life around the loop.
 *
 *   start:  HTTP, scheduler, session.        SIGHUP: options again.
 *   stop (SIGTERM, SIGINT):  scheduler drains (refreshes still get their barriers)  ->  session drains (applied, confirmed)  ->
 *   exit 0.  A second signal, or DRAIN_MAX_US, ends it at once: nothing is lost by that, some work is done again.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/check.h"
#include "consumer/consumer.h"
#include "consumer/http.h"
#include "consumer/log.h"
#include "consumer/session.h"

#define DRAIN_MAX_US 30000000

typedef struct Daemon
{
	int argc;
	char **argv;
	PgtOptions options;
	PgtLoop *loop;
	PgtSession *session;
	PgtHttp *http;
	PgtTimer drain_deadline;
	bool stopping;
	PgtExit code;
} Daemon;

static const char *
from_environment(const char *name)
{
	return getenv(name);
}

static void
print_error(const PgtErr *err)
{
	fprintf(stderr, "trickle-consumer: %s\n", err->message);
	if (err->hint[0])
		fprintf(stderr, "HINT:  %s\n", err->hint);
}

static void
configure_log(const PgtOptions *o)
{
	pgt_log_configure(strcmp(o->log_format, "json") == 0, o->verbose ? PGT_LOG_DEBUG : PGT_LOG_INFO);
}

/* ---- stopping ---- */

static void
on_session_drained(void *arg)
{
	Daemon *d = arg;

	pgt_loop_stop(d->loop);
}

static void
on_workers_drained(void *arg)
{
	Daemon *d = arg;

	pgt_session_drain(d->session);
}

static void
on_drain_deadline(void *arg)
{
	Daemon *d = arg;

	pgt_log(PGT_LOG_WARNING, "main", "draining took too long; what is left will be done after the next start");
	pgt_loop_stop(d->loop);
}

static void
on_stop_signal(void *arg, int signo)
{
	Daemon *d = arg;

	if (d->stopping)
	{
		pgt_log(PGT_LOG_WARNING, "main", "second %s: ending without draining", strsignal(signo));
		pgt_loop_stop(d->loop);
		return;
	}
	d->stopping = true;
	pgt_log(PGT_LOG_INFO, "main", "%s: draining", strsignal(signo));
	pgt_timer_after(d->loop, &d->drain_deadline, DRAIN_MAX_US);
	pgt_workers_drain(on_workers_drained, d);
}

static void
on_hangup(void *arg, int signo)
{
	Daemon *d = arg;
	PgtErr err;

	if (!pgt_options_reload(&d->options, d->argc, d->argv, from_environment, &err))
	{
		pgt_log_err(PGT_LOG_ERROR, "main", "configuration not reloaded", &err);
		return;
	}
	configure_log(&d->options);
	pgt_log(PGT_LOG_INFO, "main", "configuration reloaded");
	pgt_sched_on_reload();
}

static void
on_fatal(void *arg, const PgtErr *err, PgtExit code)
{
	Daemon *d = arg;

	pgt_log_err(PGT_LOG_ERROR, "main", NULL, err);
	d->code = code;
	pgt_loop_stop(d->loop);
}

/* ---- running ---- */

static bool
is_healthy(void *arg)
{
	return pgt_session_is_attached(((Daemon *) arg)->session);
}

static PgtExit
failed(const PgtErr *err, PgtExit code)
{
	pgt_log_err(PGT_LOG_ERROR, "main", NULL, err);
	return code;
}

static PgtExit
run_daemon(Daemon *d)
{
	static const PgtSessionEvents session_events = {on_fatal, on_session_drained};
	PgtEnv env = {NULL, &d->options};
	PgtErr err;

	configure_log(&d->options);
	if (!pgt_check_connects(&d->options, &err))
		return failed(&err, PGT_EXIT_CONNECT);
	env.loop = d->loop = pgt_loop_create();
	pgt_timer_init(&d->drain_deadline, on_drain_deadline, d);
	signal(SIGPIPE, SIG_IGN);
	pgt_loop_on_signal(d->loop, SIGTERM, on_stop_signal, d);
	pgt_loop_on_signal(d->loop, SIGINT, on_stop_signal, d);
	pgt_loop_on_signal(d->loop, SIGHUP, on_hangup, d);
	if (d->options.http[0] && (d->http = pgt_http_start(d->loop, d->options.http, is_healthy, d, &err)) == NULL)
		return failed(&err, PGT_EXIT_USAGE);
	if (!pgt_workers_start(&env, &err))
		return failed(&err, PGT_EXIT_INTERNAL);
	d->session = pgt_session_start(d->loop, &d->options, &session_events, d);
	pgt_loop_run(d->loop);
	pgt_workers_stop();
	pgt_session_stop(d->session);
	pgt_http_stop(d->http);
	pgt_loop_free(d->loop);
	if (d->code == PGT_EXIT_OK)
		pgt_log(PGT_LOG_INFO, "main", "stopped");
	return d->code;
}

static PgtExit
run_action(Daemon *d)
{
	const PgtOptions *o = &d->options;
	PgtErr err;
	PgtExit code = PGT_EXIT_OK;

	if (o->check)
		return pgt_check_run(o, stdout);
	if (o->create_slot)
		code = pgt_create_slot(o, &err);
	else if (o->drop_slot)
		code = pgt_drop_slot(o, &err);
	if (code != PGT_EXIT_OK)
	{
		print_error(&err);
		return code;
	}
	if ((o->create_slot || o->drop_slot) && !o->start)
		return PGT_EXIT_OK;
	return run_daemon(d);
}

int
main(int argc, char **argv)
{
	Daemon d = {.argc = argc, .argv = argv};
	PgtErr err;

	if (!pgt_options_parse(&d.options, argc, argv, from_environment, &err))
	{
		print_error(&err);
		return PGT_EXIT_USAGE;
	}
	if (d.options.help)
		pgt_options_help(stdout);
	else if (d.options.print_options_md)
		pgt_options_markdown(stdout);
	else if (d.options.version)
		printf("trickle-consumer (pg_trickle) %s\n", PGT_VERSION);
	else
		return run_action(&d);
	return PGT_EXIT_OK;
}
