/*
 * loop.c - the poll loop.
 *
 * Watches sit in an array that keeps its order; removing one only marks it, and the mark is swept before the next poll, so a
 * callback may remove any watch.  Timers are a sorted intrusive list: there are a few dozen at most.  Signals come through one
 * signalfd, which needs no async-signal-safe code anywhere.
 */
#define _GNU_SOURCE
#include "consumer/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "consumer/alloc.h"

#define MAX_SIGNO 64

struct PgtWatch
{
	int fd; /* -1: removed */
	short events;
	PgtWatchFn fn;
	void *arg;
};

struct PgtLoop
{
	PgtWatch **watches;
	struct pollfd *fds;
	int nwatches;
	int capacity;
	PgtTimer *timers; /* ascending by due */
	PgtClockFn clock;
	void *clock_arg;
	int signal_fd;
	sigset_t signals;
	PgtSignalFn signal_fn[MAX_SIGNO];
	void *signal_arg[MAX_SIGNO];
	bool stopped;
};

static int64_t
monotonic_clock(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

PgtLoop *
pgt_loop_create(void)
{
	PgtLoop *loop = pgt_realloc(NULL, sizeof(PgtLoop));

	memset(loop, 0, sizeof(*loop));
	loop->clock = monotonic_clock;
	loop->signal_fd = -1;
	sigemptyset(&loop->signals);
	return loop;
}

void
pgt_loop_free(PgtLoop *loop)
{
	for (int i = 0; i < loop->nwatches; i++)
		free(loop->watches[i]);
	free(loop->watches);
	free(loop->fds);
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	free(loop);
}

void
pgt_loop_set_clock(PgtLoop *loop, PgtClockFn fn, void *arg)
{
	loop->clock = fn;
	loop->clock_arg = arg;
}

int64_t
pgt_loop_now(PgtLoop *loop)
{
	return loop->clock(loop->clock_arg);
}

PgtWatch *
pgt_loop_watch(PgtLoop *loop, int fd, short events, PgtWatchFn fn, void *arg)
{
	PgtWatch *watch = pgt_realloc(NULL, sizeof(PgtWatch));

	*watch = (PgtWatch){fd, events, fn, arg};
	if (loop->nwatches == loop->capacity)
	{
		loop->capacity = loop->capacity ? loop->capacity * 2 : 16;
		loop->watches = pgt_realloc(loop->watches, sizeof(*loop->watches) * loop->capacity);
		loop->fds = pgt_realloc(loop->fds, sizeof(*loop->fds) * loop->capacity);
	}
	loop->watches[loop->nwatches++] = watch;
	return watch;
}

void
pgt_watch_events(PgtWatch *watch, short events)
{
	watch->events = events;
}

void
pgt_watch_remove(PgtWatch *watch)
{
	if (watch)
		watch->fd = -1;
}

static void
sweep_watches(PgtLoop *loop)
{
	int kept = 0;

	for (int i = 0; i < loop->nwatches; i++)
	{
		if (loop->watches[i]->fd >= 0)
			loop->watches[kept++] = loop->watches[i];
		else
			free(loop->watches[i]);
	}
	loop->nwatches = kept;
}

void
pgt_timer_init(PgtTimer *timer, PgtTimerFn fn, void *arg)
{
	memset(timer, 0, sizeof(*timer));
	timer->fn = fn;
	timer->arg = arg;
}

void
pgt_timer_cancel(PgtLoop *loop, PgtTimer *timer)
{
	if (!timer->armed)
		return;
	if (timer->prev)
		timer->prev->next = timer->next;
	else
		loop->timers = timer->next;
	if (timer->next)
		timer->next->prev = timer->prev;
	timer->armed = false;
	timer->next = timer->prev = NULL;
}

void
pgt_timer_at(PgtLoop *loop, PgtTimer *timer, int64_t due)
{
	PgtTimer *before = NULL;
	PgtTimer *after;

	pgt_timer_cancel(loop, timer);
	for (after = loop->timers; after && after->due <= due; after = after->next)
		before = after;
	timer->due = due;
	timer->armed = true;
	timer->prev = before;
	timer->next = after;
	if (before)
		before->next = timer;
	else
		loop->timers = timer;
	if (after)
		after->prev = timer;
}

void
pgt_timer_after(PgtLoop *loop, PgtTimer *timer, int64_t delay_us)
{
	pgt_timer_at(loop, timer, pgt_loop_now(loop) + delay_us);
}

static void
on_signal_readable(void *arg, short revents)
{
	PgtLoop *loop = arg;
	struct signalfd_siginfo info;

	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info))
	{
		if (info.ssi_signo < MAX_SIGNO && loop->signal_fn[info.ssi_signo])
			loop->signal_fn[info.ssi_signo](loop->signal_arg[info.ssi_signo], (int) info.ssi_signo);
	}
}

bool
pgt_loop_on_signal(PgtLoop *loop, int signo, PgtSignalFn fn, void *arg)
{
	bool first = loop->signal_fd < 0;
	int fd;

	if (signo <= 0 || signo >= MAX_SIGNO)
		return false;
	sigaddset(&loop->signals, signo);
	if (sigprocmask(SIG_BLOCK, &loop->signals, NULL) != 0)
		return false;
	fd = signalfd(loop->signal_fd, &loop->signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return false;
	loop->signal_fd = fd;
	loop->signal_fn[signo] = fn;
	loop->signal_arg[signo] = arg;
	if (first)
		pgt_loop_watch(loop, fd, POLLIN, on_signal_readable, loop);
	return true;
}

/* Timers armed by a timer callback wait for the next round, so that a timer which rearms itself at once starves nobody. */
static void
fire_timers(PgtLoop *loop)
{
	int64_t now = pgt_loop_now(loop);
	int budget = 0;

	for (PgtTimer *t = loop->timers; t && t->due <= now; t = t->next)
		budget++;
	while (budget-- > 0 && loop->timers && loop->timers->due <= now && !loop->stopped)
	{
		PgtTimer *timer = loop->timers;

		pgt_timer_cancel(loop, timer);
		timer->fn(timer->arg);
	}
}

static int
wait_for_events(PgtLoop *loop)
{
	struct timespec wait;
	struct timespec *timeout = NULL;

	if (loop->timers)
	{
		int64_t us = loop->timers->due - pgt_loop_now(loop);

		if (us < 0)
			us = 0;
		wait.tv_sec = us / 1000000;
		wait.tv_nsec = (us % 1000000) * 1000;
		timeout = &wait;
	}
	/* ppoll: poll's milliseconds are too coarse for lingering a millisecond or two */
	return ppoll(loop->fds, (nfds_t) loop->nwatches, timeout, NULL);
}

bool
pgt_loop_once(PgtLoop *loop)
{
	int n;
	int ready;

	sweep_watches(loop);
	n = loop->nwatches;
	for (int i = 0; i < n; i++)
		loop->fds[i] = (struct pollfd){loop->watches[i]->fd, loop->watches[i]->events, 0};
	ready = wait_for_events(loop);
	if (ready < 0 && errno != EINTR)
		abort(); /* EFAULT, EINVAL, ENOMEM: ours to fix, not to survive */
	for (int i = 0; i < n && ready > 0 && !loop->stopped; i++)
	{
		PgtWatch *watch = loop->watches[i];
		short revents = loop->fds[i].revents;

		if (revents == 0)
			continue;
		ready--;
		if (watch->fd == loop->fds[i].fd) /* not removed meanwhile */
			watch->fn(watch->arg, revents);
	}
	fire_timers(loop);
	return !loop->stopped;
}

void
pgt_loop_run(PgtLoop *loop)
{
	loop->stopped = false;
	while (pgt_loop_once(loop))
		;
}

void
pgt_loop_stop(PgtLoop *loop)
{
	loop->stopped = true;
}
