/* h2_held - see h2_held.h. */
#include "traffic/h2_held.h"

#include "base/must.h"

uint64_t h2_held_bytes(const struct h2_held *h)
{
    return h->requests + (h->library > h->library_base ? h->library - h->library_base : 0);
}

/* What has to be lent for so many bytes. */
static uint64_t beyond_own(const struct h2_held *h, uint64_t bytes)
{
    uint64_t own = MAX(H2_HELD_OWN, H2_HELD_FACTOR * h->sent);

    return bytes > own ? bytes - own : 0;
}

static uint64_t add(_Atomic uint64_t *sum, uint64_t n)
{
    return atomic_fetch_add_explicit(sum, n, memory_order_relaxed) + n;
}

static void take_off(_Atomic uint64_t *sum, uint64_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(sum, n, memory_order_relaxed);

    must(before >= n);
}

static void pay_back(struct h2_held *h, uint64_t n)
{
    must(h->lent >= n);
    h->lent -= n;
    take_off(h->address, n);
    take_off(h->shared, n);
}

static bool borrow(struct h2_held *h, uint64_t n, uint64_t limit)
{
    uint64_t to_all = add(h->shared, n), to_address = add(h->address, n);

    h->lent += n;
    if (to_all <= limit && h->lent + to_address <= H2_HELD_SHARE * (limit - to_all))
        return true;
    pay_back(h, n);
    return false;
}

enum h2_held_verdict h2_held_take(struct h2_held *h, size_t n, const struct h2_held_limits *limits)
{
    uint64_t bytes = h2_held_bytes(h) + n, wanted = beyond_own(h, bytes);
    bool is_first = h->requests == 0;

    if (bytes > limits->connection && !is_first)
        return H2_HELD_FULL;
    if (wanted > h->lent && !borrow(h, wanted - h->lent, limits->shared) && !is_first)
        return H2_HELD_UNLENT;
    h->requests += n;
    return H2_HELD_TAKEN;
}

void h2_held_give(struct h2_held *h, size_t n)
{
    uint64_t wanted;

    must(h->requests >= n);
    h->requests -= n;
    if (h->lent == 0)
        return;
    wanted = beyond_own(h, h2_held_bytes(h));
    if (wanted < h->lent)
        pay_back(h, h->lent - wanted);
}

void h2_held_end(struct h2_held *h)
{
    must(h->requests == 0);
    if (h->lent > 0)
        pay_back(h, h->lent);
}
