/*
 * libuv's side, as libev's: streams that are read, and written at once, as its users have them. Its deadlines are whole
 * milliseconds.
 */

#include "contest.h"

#if __has_include(<uv.h>)
#include <stdio.h>
#include <uv.h>

struct input {
    union uv_any_handle stream;
    /* The same as `stream` where that is written to as well. */
    union uv_any_handle *output;
};

struct contest {
    struct head head;
    uv_loop_t loop;
    struct input *inputs;
    union uv_any_handle *outputs;
    uv_timer_t *timers;
    int64_t *moments;
    size_t count;
    char buffer[BUFFER];
};

/* Leaves the memory of the handles, which the loop has, to the end of the process. */
static void contest_free(struct contest *c)
{
    (void)c;
}

static struct contest *contest_new(size_t count, void (*run)(struct contest *, size_t))
{
    struct contest *c = calloc(1, sizeof *c);
    if (!c || uv_loop_init(&c->loop))
        abort();
    c->head = (struct head){ .run = run, .free = contest_free, .random = 1 };
    c->loop.data = c;
    c->count = count;
    return c;
}

const char *libuv_about(void)
{
    static char about[64];
    snprintf(about, sizeof about, "libuv %s", uv_version_string());
    return about;
}

/* Cancel a timer, and add another one in its place. */

static void on_timer(uv_timer_t *timer)
{
    struct contest *c = timer->loop->data;
    if (c->moments) {
        int64_t *moment = &c->moments[timer - c->timers];
        *moment = monotonic_nanos() - *moment;
    }
}

/* Not early: rounded up to milliseconds. */
static void add_timer(uv_timer_t *timer, uint64_t micros)
{
    uv_timer_start(timer, on_timer, (micros + 999) / 1000, 0);
}

static void run_cancel_add(struct contest *c, size_t times)
{
    for (; times; times--) {
        uv_timer_t *victim = &c->timers[below(&c->head, c->count)];
        uint64_t deadline = 1 + below(&c->head, HORIZON);
        uv_timer_stop(victim);
        add_timer(victim, deadline);
    }
}

static struct contest *timers(size_t count, void (*run)(struct contest *, size_t))
{
    struct contest *c = contest_new(count, run);
    c->timers = calloc(count, sizeof *c->timers);
    if (!c->timers)
        abort();
    for (size_t i = 0; i < count; i++)
        uv_timer_init(&c->loop, &c->timers[i]);
    return c;
}

struct contest *libuv_cancel_add(size_t pending)
{
    struct contest *c = timers(pending, run_cancel_add);
    for (size_t i = 0; i < pending; i++)
        add_timer(&c->timers[i], 1 + below(&c->head, HORIZON));
    return c;
}

/* Add timers, and run until all have fired. */

static void run_fire(struct contest *c, size_t times)
{
    int64_t base = monotonic_nanos();
    uv_update_time(&c->loop);
    for (size_t i = 0; i < times && i < c->count; i++) {
        uint64_t delay = 1 + below(&c->head, SPREAD);
        if (c->moments)
            c->moments[i] = base + (int64_t)delay * 1000;
        add_timer(&c->timers[i], delay);
    }
    uv_run(&c->loop, UV_RUN_DEFAULT);
}

static void late_fire(struct contest *c, size_t times, int64_t *nanos)
{
    c->moments = nanos;
    run_fire(c, times);
    c->moments = NULL;
}

struct contest *libuv_fire(size_t count)
{
    struct contest *c = timers(count, run_fire);
    c->head.late = late_fire;
    return c;
}

/* Pass messages on. */

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct contest *c = handle->loop->data;
    (void)suggested;
    *buffer = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *read)
{
    struct contest *c = stream->loop->data;
    struct input *input = stream->data;
    if (length == 0)
        return;
    if (length < 0)
        abort();
    uv_buf_t message = uv_buf_init(read->base, (unsigned)length);
    if (uv_try_write(&input->output->stream, &message, 1) != length)
        abort();
    if (is_last(&c->head))
        uv_stop(stream->loop);
}

static void open_stream(uv_loop_t *loop, union uv_any_handle *handle, int descriptor)
{
    int is_socket = uv_guess_handle(descriptor) == UV_TCP;
    if (is_socket ? uv_tcp_init(loop, &handle->tcp) || uv_tcp_open(&handle->tcp, descriptor)
                  : uv_pipe_init(loop, &handle->pipe, 0) || uv_pipe_open(&handle->pipe, descriptor))
        abort();
}

static void run_relay(struct contest *c, size_t times)
{
    c->head.left = times;
    uv_run(&c->loop, UV_RUN_DEFAULT);
}

struct contest *libuv_relay(const struct link *links, size_t count)
{
    struct contest *c = contest_new(count, run_relay);
    c->inputs = calloc(count, sizeof *c->inputs);
    c->outputs = calloc(count, sizeof *c->outputs);
    if (!c->inputs || !c->outputs)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct input *input = &c->inputs[i];
        open_stream(&c->loop, &input->stream, links[i].input);
        input->output = &input->stream;
        if (links[i].output != links[i].input) {
            input->output = &c->outputs[i];
            open_stream(&c->loop, input->output, links[i].output);
        }
        input->stream.handle.data = input;
        uv_read_start(&input->stream.stream, give_buffer, on_read);
    }
    return c;
}

#else

const char *libuv_about(void) { return NULL; }
struct contest *libuv_relay(const struct link *l, size_t n) { (void)l, (void)n; return NULL; }
struct contest *libuv_cancel_add(size_t n) { (void)n; return NULL; }
struct contest *libuv_fire(size_t n) { (void)n; return NULL; }

#endif
