/*
 * libev's side of the contests. The loops are in C, as libev's users have them, and take the same random numbers as those
 * on kpt's side.
 *
 * A contest has a loop of its own, on epoll, unless LIBEV_FLAGS says otherwise, as for every program on libev.
 */

#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

struct contest {
    struct ev_loop *loop;
    ev_timer *watchers;
    size_t count;
    uint64_t random;
    uintptr_t next;
    /* What the callbacks have been given, so that nobody takes their arguments for unused. */
    uintptr_t seen;
    /* Callbacks to come. */
    size_t left;
    /* Of timers whose lateness is noted: deadlines before the run, lateness after, in microseconds. */
    uint64_t *moments;
    void (*run)(struct contest *, size_t times);
};

/* Deadlines of timers that are cancelled: up to so many microseconds ahead. */
static const uint64_t HORIZON = 100000000;
/* Timers that fire are spread over so many microseconds. */
static const uint64_t SPREAD = 100000;

static uint64_t below(struct contest *c, uint64_t bound)
{
    c->random ^= c->random >> 12;
    c->random ^= c->random << 25;
    c->random ^= c->random >> 27;
    return ((unsigned __int128)(c->random * 0x2545F4914F6CDD1D) * bound) >> 64;
}

static double seconds(uint64_t micros)
{
    return (double)micros * 1e-6;
}

static uint64_t monotonic_micros(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct contest *c = ev_userdata(loop);
    (void)events;
    c->seen += (uintptr_t)watcher->data;
}

/* A contest with so many watchers, or NULL. */
static struct contest *contest_new(size_t count, double slack, void (*run)(struct contest *, size_t))
{
    struct contest *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->loop = ev_loop_new(EVBACKEND_EPOLL);
    c->watchers = calloc(count, sizeof *c->watchers);
    c->count = count;
    c->random = 1;
    c->run = run;
    if (!c->loop || !c->watchers) {
        if (c->loop)
            ev_loop_destroy(c->loop);
        free(c->watchers);
        free(c);
        return NULL;
    }
    ev_set_userdata(c->loop, c);
    if (slack > 0)
        ev_set_timeout_collect_interval(c->loop, slack);
    return c;
}

void contest_free(struct contest *c)
{
    for (size_t i = 0; i < c->count; i++)
        ev_timer_stop(c->loop, &c->watchers[i]);
    ev_loop_destroy(c->loop);
    free(c->watchers);
    free(c);
}

void contest_run(struct contest *c, size_t times)
{
    c->run(c, times);
}

unsigned contest_backend(struct contest *c)
{
    return ev_backend(c->loop);
}

/* Cancel a timer, and add another one in its place. */

static void run_cancel_add(struct contest *c, size_t times)
{
    for (; times; times--) {
        ev_timer *victim = &c->watchers[below(c, c->count)];
        uint64_t deadline = 1 + below(c, HORIZON);
        ev_timer_stop(c->loop, victim);
        ev_timer_set(victim, seconds(deadline), 0.);
        victim->data = (void *)++c->next;
        ev_timer_start(c->loop, victim);
    }
}

struct contest *contest_cancel_add(size_t pending)
{
    struct contest *c = contest_new(pending, 0., run_cancel_add);
    for (size_t i = 0; c && i < pending; i++) {
        ev_timer_init(&c->watchers[i], on_timer, seconds(1 + below(c, HORIZON)), 0.);
        ev_timer_start(c->loop, &c->watchers[i]);
    }
    return c;
}

/* Add timers, and run until all have fired. */

static void on_timer_late(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct contest *c = ev_userdata(loop);
    uint64_t *moment = &c->moments[watcher - c->watchers];
    (void)events;
    *moment = monotonic_micros() - *moment;
}

static void fire(struct contest *c, size_t times, void (*callback)(struct ev_loop *, ev_timer *, int))
{
    ev_now_update(c->loop);
    uint64_t base = monotonic_micros();
    for (size_t i = 0; i < times && i < c->count; i++) {
        ev_timer *timer = &c->watchers[i];
        uint64_t delay = 1 + below(c, SPREAD);
        ev_timer_init(timer, callback, seconds(delay), 0.);
        timer->data = (void *)i;
        if (c->moments)
            c->moments[i] = base + delay;
        ev_timer_start(c->loop, timer);
    }
    ev_run(c->loop, 0);
}

static void run_fire(struct contest *c, size_t times)
{
    fire(c, times, on_timer);
}

struct contest *contest_fire(size_t count, double slack)
{
    return contest_new(count, slack, run_fire);
}

/* Writes by how many microseconds each of as many timers was late. */
void contest_lateness(struct contest *c, size_t times, uint64_t *micros)
{
    c->moments = micros;
    fire(c, times, on_timer_late);
    c->moments = NULL;
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
        uint64_t period = 9500 + below(c, 1000), phase = 1 + below(c, period);
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

struct contest *contest_periodic(size_t count, double slack)
{
    return contest_new(count, slack, run_periodic);
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
    if (c->left > 1) {
        c->left--;
        ev_feed_event(loop, watcher, EV_CUSTOM);
    }
}

static void run_feed(struct contest *c, size_t times)
{
    c->left = times;
    for (size_t i = 0; i < c->count; i++)
        ev_feed_event(c->loop, &c->watchers[i], EV_CUSTOM);
    ev_run(c->loop, EVRUN_NOWAIT);
}

struct contest *contest_feed(size_t width)
{
    struct contest *c = contest_new(width, 0., run_feed);
    for (size_t i = 0; c && i < width; i++) {
        ev_timer_init(&c->watchers[i], on_fed, 0., 0.);
        c->watchers[i].data = (void *)i;
    }
    return c;
}
