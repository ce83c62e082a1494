/*
 * loop.h - the one poll(2) loop: descriptors, timers, signals.
 *
 * Single-threaded.  Callbacks may add and remove watches and timers, their own included; a removed watch or cancelled timer is
 * never called again.  Times are microseconds of a monotonic clock that tests may replace.
 */
#ifndef PGT_LOOP_H
#define PGT_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct PgtLoop PgtLoop;
typedef struct PgtWatch PgtWatch;
typedef void (*PgtWatchFn)(void *arg, short revents);
typedef void (*PgtTimerFn)(void *arg);
typedef void (*PgtSignalFn)(void *arg, int signo);
typedef int64_t (*PgtClockFn)(void *arg);

/* Owned by the caller, zero-initialised; belongs to at most one loop at a time. */
typedef struct PgtTimer
{
	int64_t due; /* valid while armed */
	bool armed;
	PgtTimerFn fn;
	void *arg;
	struct PgtTimer *next;
	struct PgtTimer *prev;
} PgtTimer;

extern PgtLoop *pgt_loop_create(void);
extern void pgt_loop_free(PgtLoop *loop);
extern void pgt_loop_set_clock(PgtLoop *loop, PgtClockFn fn, void *arg);
extern int64_t pgt_loop_now(PgtLoop *loop);

extern PgtWatch *pgt_loop_watch(PgtLoop *loop, int fd, short events, PgtWatchFn fn, void *arg);
extern void pgt_watch_events(PgtWatch *watch, short events);
extern void pgt_watch_remove(PgtWatch *watch);

/* (re)arms; fn and arg are set by pgt_timer_init */
extern void pgt_timer_init(PgtTimer *timer, PgtTimerFn fn, void *arg);
extern void pgt_timer_at(PgtLoop *loop, PgtTimer *timer, int64_t due);
extern void pgt_timer_after(PgtLoop *loop, PgtTimer *timer, int64_t delay_us);
extern void pgt_timer_cancel(PgtLoop *loop, PgtTimer *timer);

/* signals are blocked and read from the loop; set once per signal number */
extern bool pgt_loop_on_signal(PgtLoop *loop, int signo, PgtSignalFn fn, void *arg);

extern bool pgt_loop_once(PgtLoop *loop); /* wait for and serve one round; false after pgt_loop_stop */
extern void pgt_loop_run(PgtLoop *loop);  /* until pgt_loop_stop */
extern void pgt_loop_stop(PgtLoop *loop);

#endif /* PGT_LOOP_H */
