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

void budget_init_part(struct budget *b, struct budget *whole, unsigned percent)
{
    must(!whole->whole && percent > 0 && percent <= 100);
    budget_init(b, whole->limit_bytes, whole->limit_streams, whole->max_window);
    budget_set_udp(b, whole->udp.limit_sessions, whole->udp.queue_bytes, whole->udp.limit_bytes);
    b->whole = whole;
    b->percent = percent;
}

bool budget_share_allows(uint64_t own, uint64_t taken, uint64_t limit, unsigned percent)
{
    uint64_t free_of_it = limit - MIN(taken, limit);

    return percent >= 100 || own * (100 - percent) < free_of_it * percent;
}

static uint64_t now(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
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

/* Whether the part is past its share; a whole that is used up is not the part's fault. */
static bool is_past(uint64_t own, uint64_t taken, uint64_t limit, unsigned percent,
                    _Atomic uint64_t *counter, _Atomic uint64_t *whole_counter)
{
    if (taken >= limit || budget_share_allows(own, taken, limit, percent))
        return false;
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(whole_counter, 1, memory_order_relaxed);
    return true;
}

bool budget_take(struct budget *b, uint64_t n)
{
    struct budget *whole = b->whole;

    if (!whole)
        return take(&b->taken, n, b->limit_bytes, &b->denied);
    if (is_past(now(&b->taken), now(&whole->taken), whole->limit_bytes, b->percent, &b->past_share,
                &whole->past_share))
        return false;
    return budget_take(whole, n) && take(&b->taken, n, UINT64_MAX, &b->denied);
}

void budget_give(struct budget *b, uint64_t n)
{
    give(&b->taken, n);
    if (b->whole)
        give(&b->whole->taken, n);
}

bool budget_open_stream(struct budget *b)
{
    if (b->whole && !budget_open_stream(b->whole))
        return false;
    return enter(&b->streams, b->whole ? UINT32_MAX : b->limit_streams, &b->streams_refused);
}

void budget_close_stream(struct budget *b)
{
    leave(&b->streams);
    if (b->whole)
        leave(&b->whole->streams);
}

bool budget_take_udp(struct budget *b, uint64_t n)
{
    struct budget *whole = b->whole;

    if (!whole)
        return take(&b->udp.taken, n, b->udp.limit_bytes, &b->udp.denied);
    if (is_past(now(&b->udp.taken), now(&whole->udp.taken), whole->udp.limit_bytes, b->percent,
                &b->udp.past_share, &whole->udp.past_share))
        return false;
    return budget_take_udp(whole, n) && take(&b->udp.taken, n, UINT64_MAX, &b->udp.denied);
}

void budget_give_udp(struct budget *b, uint64_t n)
{
    give(&b->udp.taken, n);
    if (b->whole)
        give(&b->whole->udp.taken, n);
}

bool budget_open_udp(struct budget *b)
{
    if (b->whole && !budget_open_udp(b->whole))
        return false;
    return enter(&b->udp.sessions, b->whole ? UINT32_MAX : b->udp.limit_sessions,
                 &b->udp.sessions_refused);
}

void budget_close_udp(struct budget *b)
{
    leave(&b->udp.sessions);
    if (b->whole)
        leave(&b->whole->udp.sessions);
}

bool budget_has_udp_room(const struct budget *b)
{
    must(!b->whole);
    return atomic_load_explicit(&b->udp.sessions, memory_order_relaxed) < b->udp.limit_sessions;
}

uint32_t budget_streams(const struct budget *b)
{
    return atomic_load_explicit(&b->streams, memory_order_relaxed);
}

/* What a part may come to hold while the others keep what they have. */
static uint64_t reach(const struct budget *part)
{
    uint64_t limit = part->whole->limit_bytes, all = now(&part->whole->taken);

    return (now(&part->taken) + limit - MIN(all, limit)) / 100 * part->percent;
}

uint32_t budget_window(const struct budget *b)
{
    const struct budget *all = b->whole ? b->whole : b;
    const struct budget *mine = b->percent < 100 ? b : all; /* at 100 there are no shares */
    uint64_t window = all->limit_bytes / MAX(budget_streams(all), 1u);

    if (window < BUDGET_WINDOW_FULL) { /* of so many, most may be at rest */
        uint64_t limit = mine->whole ? reach(mine) : mine->limit_bytes, taken = now(&mine->taken);
        uint64_t even = limit / MAX(budget_streams(mine), 1u) + BUDGET_STREAM_FREE;
        uint64_t spare = (limit - MIN(taken, limit)) / BUDGET_SPARE_PARTS;

        window = MIN(MAX(even, spare), (uint64_t)BUDGET_WINDOW_FULL);
    }
    return (uint32_t)MIN(window, (uint64_t)b->max_window);
}
