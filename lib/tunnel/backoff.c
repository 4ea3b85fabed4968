/* backoff - see backoff.h. */
#include "tunnel/backoff.h"

#include "base/must.h"

void backoff_up(struct backoff *b, uint64_t now_ms)
{
    b->up_since_ms = now_ms ? now_ms : 1;
}

uint64_t backoff_down(struct backoff *b, uint64_t now_ms, uint64_t random)
{
    unsigned n;
    uint64_t cap_ms, delay_ms;

    if (b->up_since_ms && now_ms - b->up_since_ms >= BACKOFF_GOOD_MS)
        b->tries = 0;
    b->up_since_ms = 0;
    n = b->tries < BACKOFF_FLAT_TRIES ? 0 : b->tries - BACKOFF_FLAT_TRIES + 1;
    cap_ms = n >= 5 ? BACKOFF_MAX_SECS * 1000u : (uint64_t)1000 << n;
    if (b->tries < 1000)
        b->tries++;
    delay_ms = random % (cap_ms + 1);
    return MAX(delay_ms, BACKOFF_FLOOR_MS);
}
