/*
 * libev's side of the contests. The loops are in C, as libev's users have them, and take the same random numbers as those
 * on kpt's side. Where there is no libev, there is no contest.
 *
 * A contest has a loop of its own, on epoll, unless LIBEV_FLAGS says otherwise, as for every program on libev.
 */

#include "contest.h"

#if __has_include(<ev.h>)
#include <ev.h>
#include <stdio.h>

struct contest {
    struct head head;
    struct ev_loop *loop;
    ev_timer *watchers;
    size_t count;
    /* What is relayed, instead of timers. */
    ev_io *inputs;
    uintptr_t next;
    /* What the callbacks have been given, so that nobody takes their arguments for unused. */
    uintptr_t seen;
    /* Of timers whose lateness is noted: deadlines before the run, lateness after, in nanoseconds. */
    int64_t *moments;
};

static double seconds(uint64_t micros)
{
    return (double)micros * 1e-6;
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct contest *c = ev_userdata(loop);
    (void)events;
    c->seen += (uintptr_t)watcher->data;
}

static void contest_free(struct contest *c)
{
    for (size_t i = 0; c->watchers && i < c->count; i++)
        ev_timer_stop(c->loop, &c->watchers[i]);
    for (size_t i = 0; c->inputs && i < c->count; i++)
        ev_io_stop(c->loop, &c->inputs[i]);
    if (c->loop)
        ev_loop_destroy(c->loop);
    free(c->watchers);
    free(c->inputs);
    free(c);
}

/* A contest with so many watchers, or NULL. */
static struct contest *contest_new(size_t count, unsigned backend, void (*run)(struct contest *, size_t))
{
    struct contest *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->head = (struct head){ .run = run, .free = contest_free, .random = 1 };
    c->loop = ev_loop_new(backend);
    c->watchers = calloc(count, sizeof *c->watchers);
    c->count = count;
    if (!c->loop || !c->watchers) {
        contest_free(c);
        return NULL;
    }
    ev_set_userdata(c->loop, c);
    return c;
}

static void set_slack(struct contest *c, double slack)
{
    if (c && slack > 0)
        ev_set_timeout_collect_interval(c->loop, slack);
}

/* Its version and what its loops wait on, or NULL. */
const char *libev_about(void)
{
    static char about[64];
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    unsigned backend = loop ? ev_backend(loop) : 0;
    snprintf(about, sizeof about, "libev %d.%d on %s", ev_version_major(), ev_version_minor(),
             backend == EVBACKEND_EPOLL ? "epoll" : backend == EVBACKEND_SELECT ? "select" : "another backend");
    if (loop)
        ev_loop_destroy(loop);
    return about;
}

/* Cancel a timer, and add another one in its place. */

static void run_cancel_add(struct contest *c, size_t times)
{
    for (; times; times--) {
        ev_timer *victim = &c->watchers[below(&c->head, c->count)];
        uint64_t deadline = 1 + below(&c->head, HORIZON);
        ev_timer_stop(c->loop, victim);
        ev_timer_set(victim, seconds(deadline), 0.);
        victim->data = (void *)++c->next;
        ev_timer_start(c->loop, victim);
    }
}

struct contest *libev_cancel_add(size_t pending)
{
    struct contest *c = contest_new(pending, EVBACKEND_EPOLL, run_cancel_add);
    for (size_t i = 0; c && i < pending; i++) {
        ev_timer_init(&c->watchers[i], on_timer, seconds(1 + below(&c->head, HORIZON)), 0.);
        ev_timer_start(c->loop, &c->watchers[i]);
    }
    return c;
}

/* Add timers, and run until all have fired. */

static void on_timer_late(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct contest *c = ev_userdata(loop);
    int64_t *moment = &c->moments[watcher - c->watchers];
    (void)events;
    *moment = monotonic_nanos() - *moment;
}

static void fire(struct contest *c, size_t times, void (*callback)(struct ev_loop *, ev_timer *, int))
{
    int64_t base = monotonic_nanos();
    ev_now_update(c->loop);
    for (size_t i = 0; i < times && i < c->count; i++) {
        ev_timer *timer = &c->watchers[i];
        uint64_t delay = 1 + below(&c->head, SPREAD);
        ev_timer_init(timer, callback, seconds(delay), 0.);
        timer->data = (void *)i;
        if (c->moments)
            c->moments[i] = base + (int64_t)delay * 1000;
        ev_timer_start(c->loop, timer);
    }
    ev_run(c->loop, 0);
}

static void run_fire(struct contest *c, size_t times)
{
    fire(c, times, on_timer);
}

static void late_fire(struct contest *c, size_t times, int64_t *nanos)
{
    c->moments = nanos;
    fire(c, times, on_timer_late);
    c->moments = NULL;
}

struct contest *libev_fire(size_t count, double slack)
{
    struct contest *c = contest_new(count, EVBACKEND_EPOLL, run_fire);
    set_slack(c, slack);
    if (c)
        c->head.late = late_fire;
    return c;
}

/* Timers that re-arm themselves, for one second. */

static void on_end(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)watcher;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void run_periodic(struct contest *c, size_t times)
{
    ev_timer end;
    (void)times;
    ev_now_update(c->loop);
    for (size_t i = 0; i < c->count; i++) {
        ev_timer *timer = &c->watchers[i];
        uint64_t period = 9500 + below(&c->head, 1000), phase = 1 + below(&c->head, period);
        ev_timer_init(timer, on_timer, seconds(phase), seconds(period));
        timer->data = (void *)i;
        ev_timer_start(c->loop, timer);
    }
    ev_timer_init(&end, on_end, 1., 0.);
    ev_timer_start(c->loop, &end);
    ev_run(c->loop, 0);
    for (size_t i = 0; i < c->count; i++)
        ev_timer_stop(c->loop, &c->watchers[i]);
}

struct contest *libev_periodic(size_t count, double slack)
{
    struct contest *c = contest_new(count, EVBACKEND_EPOLL, run_periodic);
    set_slack(c, slack);
    return c;
}

/*
 * Watchers that feed themselves. libev runs the one that was fed last first, so that of many only one runs until the end,
 * and looks at neither I/O nor timers meanwhile.
 */

static void on_fed(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct contest *c = ev_userdata(loop);
    (void)events;
    c->seen += (uintptr_t)watcher->data;
    if (!is_last(&c->head))
        ev_feed_event(loop, watcher, EV_CUSTOM);
}

static void run_feed(struct contest *c, size_t times)
{
    c->head.left = times;
    for (size_t i = 0; i < c->count; i++)
        ev_feed_event(c->loop, &c->watchers[i], EV_CUSTOM);
    ev_run(c->loop, EVRUN_NOWAIT);
}

struct contest *libev_feed(size_t width)
{
    struct contest *c = contest_new(width, EVBACKEND_EPOLL, run_feed);
    for (size_t i = 0; c && i < width; i++) {
        ev_timer_init(&c->watchers[i], on_fed, 0., 0.);
        c->watchers[i].data = (void *)i;
    }
    return c;
}

/* Pass messages on. */

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct contest *c = ev_userdata(loop);
    (void)events;
    if (pass_on(&c->head, watcher->fd, (int)(intptr_t)watcher->data))
        ev_break(loop, EVBREAK_ALL);
}

static void run_relay(struct contest *c, size_t times)
{
    c->head.left = times;
    ev_run(c->loop, 0);
}

struct contest *libev_relay(const struct link *links, size_t count, int is_on_select)
{
    struct contest *c = contest_new(count, is_on_select ? EVBACKEND_SELECT : EVBACKEND_EPOLL, run_relay);
    ev_io *inputs = c ? c->inputs = calloc(count, sizeof *inputs) : NULL;
    for (size_t i = 0; inputs && i < count; i++) {
        ev_io_init(&inputs[i], on_readable, links[i].input, EV_READ);
        inputs[i].data = (void *)(intptr_t)links[i].output;
        ev_io_start(c->loop, &inputs[i]);
    }
    return c;
}

#else

const char *libev_about(void) { return NULL; }
struct contest *libev_relay(const struct link *l, size_t n, int s) { (void)l, (void)n, (void)s; return NULL; }
struct contest *libev_cancel_add(size_t n) { (void)n; return NULL; }
struct contest *libev_fire(size_t n, double s) { (void)n, (void)s; return NULL; }
struct contest *libev_periodic(size_t n, double s) { (void)n, (void)s; return NULL; }
struct contest *libev_feed(size_t n) { (void)n; return NULL; }

#endif
