/* h2_guard - see h2_guard.h. */
#include "traffic/h2_guard.h"

#include "base/must.h"

void h2_bucket_init(struct h2_bucket *b, uint64_t burst, uint64_t now_ms)
{
    must(burst > 0);
    *b = (struct h2_bucket){.burst = burst, .since_ms = now_ms};
}

/* Tokens that time has brought; the part of one that is left over stays in since_ms. */
static void refill(struct h2_bucket *b, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - b->since_ms, back;

    if (elapsed_ms >= H2_GUARD_REFILL_SECS * 1000u) {
        b->used = 0;
        b->since_ms = now_ms;
        return;
    }
    back = b->burst * elapsed_ms / (H2_GUARD_REFILL_SECS * 1000u);
    if (back == 0)
        return;
    h2_bucket_give(b, back);
    b->since_ms += back * H2_GUARD_REFILL_SECS * 1000u / b->burst;
}

bool h2_bucket_take(struct h2_bucket *b, uint64_t now_ms)
{
    must(now_ms >= b->since_ms);
    refill(b, now_ms);
    if (b->used == b->burst)
        return false;
    b->used++;
    return true;
}

void h2_bucket_give(struct h2_bucket *b, uint64_t n)
{
    b->used -= MIN(n, b->used);
}
