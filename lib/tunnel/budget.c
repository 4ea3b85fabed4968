/* budget - see budget.h. */
#include "tunnel/budget.h"

void budget_init(struct budget *b, uint64_t limit_bytes, uint32_t limit_streams,
                 uint32_t max_window)
{
    *b = (struct budget){
        .limit_bytes = limit_bytes, .limit_streams = limit_streams, .max_window = max_window};
    budget_set_udp(b, BUDGET_UDP_SESSIONS, BUDGET_UDP_QUEUE_BYTES, BUDGET_UDP_MEMORY);
}

void budget_set_udp(struct budget *b, uint32_t limit_sessions, uint32_t queue_bytes,
                    uint64_t limit_bytes)
{
    b->udp.limit_sessions = limit_sessions;
    b->udp.queue_bytes = queue_bytes;
    b->udp.limit_bytes = limit_bytes;
}

static bool take(_Atomic uint64_t *taken, uint64_t n, uint64_t limit, _Atomic uint64_t *denied)
{
    uint64_t before = atomic_fetch_add_explicit(taken, n, memory_order_relaxed);

    if (before + n <= limit)
        return true;
    atomic_fetch_sub_explicit(taken, n, memory_order_relaxed);
    atomic_fetch_add_explicit(denied, 1, memory_order_relaxed);
    return false;
}

static void give(_Atomic uint64_t *taken, uint64_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(taken, n, memory_order_relaxed);

    must(before >= n);
}

static bool enter(_Atomic uint32_t *count, uint32_t limit, _Atomic uint64_t *refused)
{
    uint32_t before = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);

    if (before < limit)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(refused, 1, memory_order_relaxed);
    return false;
}

static void leave(_Atomic uint32_t *count)
{
    uint32_t before = atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);

    must(before > 0);
}

bool budget_take(struct budget *b, uint64_t n)
{
    return take(&b->taken, n, b->limit_bytes, &b->denied);
}

void budget_give(struct budget *b, uint64_t n)
{
    give(&b->taken, n);
}

bool budget_open_stream(struct budget *b)
{
    return enter(&b->streams, b->limit_streams, &b->streams_refused);
}

void budget_close_stream(struct budget *b)
{
    leave(&b->streams);
}

bool budget_take_udp(struct budget *b, uint64_t n)
{
    return take(&b->udp.taken, n, b->udp.limit_bytes, &b->udp.denied);
}

void budget_give_udp(struct budget *b, uint64_t n)
{
    give(&b->udp.taken, n);
}

bool budget_open_udp(struct budget *b)
{
    return enter(&b->udp.sessions, b->udp.limit_sessions, &b->udp.sessions_refused);
}

void budget_close_udp(struct budget *b)
{
    leave(&b->udp.sessions);
}

uint32_t budget_window(const struct budget *b)
{
    uint32_t streams = atomic_load_explicit(&b->streams, memory_order_relaxed);
    uint64_t share = b->limit_bytes / MAX(streams, 1u);

    share = MAX(share, BUDGET_WINDOW_FLOOR);
    return (uint32_t)MIN(share, (uint64_t)b->max_window);
}
