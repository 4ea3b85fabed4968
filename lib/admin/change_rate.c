/* change_rate - see change_rate.h. */
#include "admin/change_rate.h"

#include "base/must.h"

#define ONE 1000 /* request, in thousandths */

static uint64_t cap_of(const struct change_rate *c)
{
    return (uint64_t)c->per_sec * CHANGE_RATE_SECS * ONE;
}

void change_rate_set(struct change_rate *c, unsigned per_sec, uint64_t now_ms)
{
    must(per_sec <= CHANGE_RATE_MAX);
    c->per_sec = per_sec;
    c->left_milli = cap_of(c);
    c->filled_ms = now_ms;
}

/* A millisecond brings per_sec thousandths of a request.  What is more than the bucket holds is
 * lost, so the time that is multiplied is bounded too. */
static void fill(struct change_rate *c, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > c->filled_ms ? now_ms - c->filled_ms : 0;

    passed_ms = MIN(passed_ms, (uint64_t)CHANGE_RATE_SECS * 1000);
    c->left_milli = MIN(c->left_milli + passed_ms * c->per_sec, cap_of(c));
    c->filled_ms = MAX(c->filled_ms, now_ms);
}

bool change_rate_take(struct change_rate *c, uint64_t now_ms, unsigned *wait_secs)
{
    *wait_secs = 0;
    if (c->per_sec == 0)
        return true;
    fill(c, now_ms);
    if (c->left_milli >= ONE) {
        c->left_milli -= ONE;
        return true;
    }
    *wait_secs = 1; /* a second brings one at least */
    return false;
}
