/* budget - see budget.h. */
#include "tunnel/budget.h"

void budget_init(struct budget *b, uint64_t limit_bytes, uint32_t limit_streams,
                 uint32_t max_window)
{
    *b = (struct budget){
        .limit_bytes = limit_bytes, .limit_streams = limit_streams, .max_window = max_window};
}

bool budget_take(struct budget *b, uint64_t n)
{
    uint64_t before = atomic_fetch_add_explicit(&b->taken, n, memory_order_relaxed);

    if (before + n <= b->limit_bytes)
        return true;
    atomic_fetch_sub_explicit(&b->taken, n, memory_order_relaxed);
    atomic_fetch_add_explicit(&b->denied, 1, memory_order_relaxed);
    return false;
}

void budget_give(struct budget *b, uint64_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(&b->taken, n, memory_order_relaxed);

    must(before >= n);
}

bool budget_open_stream(struct budget *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->streams, 1, memory_order_relaxed);

    if (before < b->limit_streams)
        return true;
    atomic_fetch_sub_explicit(&b->streams, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&b->streams_refused, 1, memory_order_relaxed);
    return false;
}

void budget_close_stream(struct budget *b)
{
    uint32_t before = atomic_fetch_sub_explicit(&b->streams, 1, memory_order_relaxed);

    must(before > 0);
}

uint32_t budget_window(const struct budget *b)
{
    uint32_t streams = atomic_load_explicit(&b->streams, memory_order_relaxed);
    uint64_t share = b->limit_bytes / MAX(streams, 1u);

    share = MAX(share, BUDGET_WINDOW_FLOOR);
    return (uint32_t)MIN(share, (uint64_t)b->max_window);
}
