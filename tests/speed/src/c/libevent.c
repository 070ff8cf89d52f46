/* libevent's side, as libev's. A base has no locks, as there is one OS thread, and the backend that is asked for. */

#include "contest.h"

#if __has_include(<event2/event.h>)
#include <event2/event.h>
#include <stdio.h>

struct watcher {
    struct contest *contest;
    struct event *event;
    int output;
    int64_t moment;
};

struct contest {
    struct head head;
    struct event_base *base;
    struct watcher *watchers;
    size_t count;
};

static struct timeval micros(uint64_t micros)
{
    return (struct timeval){ .tv_sec = micros / 1000000, .tv_usec = micros % 1000000 };
}

static void contest_free(struct contest *c)
{
    for (size_t i = 0; c->watchers && i < c->count; i++)
        if (c->watchers[i].event)
            event_free(c->watchers[i].event);
    if (c->base)
        event_base_free(c->base);
    free(c->watchers);
    free(c);
}

static struct contest *contest_new(size_t count, const char *avoid, void (*run)(struct contest *, size_t))
{
    struct contest *c = calloc(1, sizeof *c);
    struct event_config *config = event_config_new();
    if (!c || !config)
        abort();
    c->head = (struct head){ .run = run, .free = contest_free, .random = 1 };
    c->count = count;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_avoid_method(config, "poll");
    event_config_avoid_method(config, avoid);
    c->base = event_base_new_with_config(config);
    event_config_free(config);
    c->watchers = calloc(count, sizeof *c->watchers);
    if (!c->base || !c->watchers)
        abort();
    for (size_t i = 0; i < count; i++)
        c->watchers[i].contest = c;
    return c;
}

const char *libevent_about(void)
{
    static char about[64];
    snprintf(about, sizeof about, "libevent %s", event_get_version());
    return about;
}

/* Cancel a timer, and add another one in its place. */

static void on_timer(evutil_socket_t descriptor, short what, void *arg)
{
    struct watcher *w = arg;
    (void)descriptor;
    (void)what;
    if (w->moment)
        w->moment = monotonic_nanos() - w->moment;
}

static void add_timer(struct watcher *w, uint64_t delay)
{
    struct timeval timeout = micros(delay);
    evtimer_add(w->event, &timeout);
}

static void run_cancel_add(struct contest *c, size_t times)
{
    for (; times; times--) {
        struct watcher *victim = &c->watchers[below(&c->head, c->count)];
        uint64_t deadline = 1 + below(&c->head, HORIZON);
        evtimer_del(victim->event);
        add_timer(victim, deadline);
    }
}

static struct contest *timers(size_t count, void (*run)(struct contest *, size_t))
{
    struct contest *c = contest_new(count, "select", run);
    for (size_t i = 0; i < count; i++)
        c->watchers[i].event = evtimer_new(c->base, on_timer, &c->watchers[i]);
    return c;
}

struct contest *libevent_cancel_add(size_t pending)
{
    struct contest *c = timers(pending, run_cancel_add);
    for (size_t i = 0; i < pending; i++)
        add_timer(&c->watchers[i], 1 + below(&c->head, HORIZON));
    return c;
}

/* Add timers, and run until all have fired. */

static void fire(struct contest *c, size_t times, int is_late_noted)
{
    int64_t base = monotonic_nanos();
    for (size_t i = 0; i < times && i < c->count; i++) {
        uint64_t delay = 1 + below(&c->head, SPREAD);
        c->watchers[i].moment = is_late_noted ? base + (int64_t)delay * 1000 : 0;
        add_timer(&c->watchers[i], delay);
    }
    event_base_loop(c->base, 0);
}

static void run_fire(struct contest *c, size_t times)
{
    fire(c, times, 0);
}

static void late_fire(struct contest *c, size_t times, int64_t *nanos)
{
    fire(c, times, 1);
    for (size_t i = 0; i < times; i++)
        nanos[i] = c->watchers[i].moment;
}

struct contest *libevent_fire(size_t count)
{
    struct contest *c = timers(count, run_fire);
    c->head.late = late_fire;
    return c;
}

/* Pass messages on. */

static void on_readable(evutil_socket_t descriptor, short what, void *arg)
{
    struct watcher *w = arg;
    (void)what;
    if (pass_on(&w->contest->head, descriptor, w->output))
        event_base_loopbreak(w->contest->base);
}

static void run_relay(struct contest *c, size_t times)
{
    c->head.left = times;
    event_base_loop(c->base, 0);
}

struct contest *libevent_relay(const struct link *links, size_t count, int is_on_select)
{
    struct contest *c = contest_new(count, is_on_select ? "epoll" : "select", run_relay);
    for (size_t i = 0; i < count; i++) {
        struct watcher *w = &c->watchers[i];
        w->output = links[i].output;
        w->event = event_new(c->base, links[i].input, EV_READ | EV_PERSIST, on_readable, w);
        event_add(w->event, NULL);
    }
    return c;
}

#else

const char *libevent_about(void) { return NULL; }
struct contest *libevent_relay(const struct link *l, size_t n, int s) { (void)l, (void)n, (void)s; return NULL; }
struct contest *libevent_cancel_add(size_t n) { (void)n; return NULL; }
struct contest *libevent_fire(size_t n) { (void)n; return NULL; }

#endif
