/* await - see await.h. */
#include "support/await.h"

#include "loop/loop.h"

struct wait {
    struct deadline poll;
    bool (*is_true)(void *arg);
    void *arg;
    uint64_t until_ms;
    bool was_true;
};

static void on_poll(struct deadline *d)
{
    struct wait *w = container_of(d, struct wait, poll);

    w->was_true = w->is_true(w->arg);
    if (w->was_true || loop_now_ms(d->loop) >= w->until_ms)
        loop_stop(d->loop);
    else
        deadline_set(d, 1);
}

bool await_within(struct loop *loop, bool (*is_true)(void *arg), void *arg, uint64_t ms)
{
    struct wait w = {.is_true = is_true, .arg = arg, .until_ms = clock_now_us() / 1000 + ms};

    deadline_init(&w.poll, loop, on_poll);
    deadline_set(&w.poll, 1);
    loop_run(loop);
    deadline_off(&w.poll);
    return w.was_true;
}

struct plain {
    bool (*is_true)(void);
};

static bool is_plain_true(void *arg)
{
    return ((const struct plain *)arg)->is_true();
}

bool await_plain_within(struct loop *loop, bool (*is_true)(void), uint64_t ms)
{
    return await_within(loop, is_plain_true, &(struct plain){is_true}, ms);
}
