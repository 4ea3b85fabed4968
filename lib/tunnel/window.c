/* window - see window.h. */
#include "tunnel/window.h"

#include "base/err.h"
#include "wire/hello.h"

_Static_assert(BUDGET_STREAM_FREE == INITIAL_WINDOW, "what every stream begins with is free");

/* What must be charged for the window as it stands. */
static uint64_t dues(const struct window *w)
{
    uint64_t out = w->granted - w->taken;

    if (!w->is_ended)
        out = MAX(out, (uint64_t)w->size);
    return out > BUDGET_STREAM_FREE ? out - BUDGET_STREAM_FREE : 0;
}

static void settle(struct window *w)
{
    uint64_t due = dues(w);

    must(due <= w->charged);
    if (due < w->charged) {
        budget_give(w->budget, w->charged - due);
        w->charged = due;
    }
}

int window_open(struct window *w, struct budget *budget, uint32_t initial)
{
    *w = (struct window){.budget = budget, .granted = initial, .size = initial, .floor = initial};
    w->charged = dues(w);
    if (w->charged == 0 || budget_take(budget, w->charged))
        return 0;
    *w = (struct window){0};
    return -ERR_LIMIT;
}

void window_end(struct window *w)
{
    w->is_ended = true;
    w->granted = w->received;
    settle(w);
}

void window_close(struct window *w)
{
    if (w->budget && w->charged > 0)
        budget_give(w->budget, w->charged);
    w->charged = 0;
    w->budget = NULL;
}

void window_check(const struct window *w)
{
    must(w->taken <= w->received);
    must(w->received <= w->granted);
    must(w->size >= w->floor);
    must(w->charged == dues(w));
}

int window_received(struct window *w, uint64_t n)
{
    if (n > w->granted - w->received)
        return -ERR_PROTO;
    w->received += n;
    return 0;
}

/* Doubled each time a whole window was taken, as far as the share of this moment and the budget
 * allow; a share that fell below the window shrinks it, be it by little: what the first ones do not
 * give back nobody else can have. */
static void resize(struct window *w)
{
    uint32_t share = MAX(budget_window(w->budget), w->floor);

    if (w->size > share) {
        w->size = share;
        w->doubled_at = w->taken;
        return;
    }
    if (w->size == share || w->taken - w->doubled_at < w->size)
        return;
    w->doubled_at = w->taken;
    uint32_t grown = w->size > share / 2 ? share : w->size * 2;
    uint32_t before = w->size;
    w->size = grown;
    uint64_t due = dues(w);
    if (due > w->charged && !budget_take(w->budget, due - w->charged)) {
        w->size = before;
        return;
    }
    w->charged = MAX(due, w->charged);
}

void window_taken(struct window *w, uint64_t n)
{
    must(n <= w->received - w->taken);
    w->taken += n;
    if (!w->is_ended)
        resize(w);
    settle(w);
}

/* What the window, as it stands, has room for beyond what is granted; after a shrink it may have
 * none. */
static uint64_t due(const struct window *w)
{
    return w->is_ended || w->taken + w->size <= w->granted ? 0 : w->taken + w->size - w->granted;
}

static bool is_due(const struct window *w, uint32_t parts)
{
    uint64_t n = due(w);

    return n > 0 && n >= w->size / parts;
}

bool window_is_owing(const struct window *w)
{
    return is_due(w, WINDOW_REST_PARTS);
}

uint32_t window_grant(struct window *w, bool at_rest)
{
    uint64_t n = due(w);

    if (!is_due(w, at_rest ? WINDOW_REST_PARTS : WINDOW_DUE_PARTS))
        return 0;
    w->granted += n;
    return (uint32_t)n;
}
