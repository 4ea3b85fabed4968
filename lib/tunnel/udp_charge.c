/* udp_charge - see udp_charge.h. */
#include "tunnel/udp_charge.h"

void udp_charge_init(struct udp_charge *c, struct budget *budget, const struct chunk_pool *pool)
{
    *c = (struct udp_charge){.budget = budget, .pool = pool};
}

bool udp_charge_begin(struct udp_charge *c, size_t n)
{
    uint64_t most = (n + CHUNK_ROOM - 1) / CHUNK_ROOM * CHUNK_BYTES;

    if (most > 0 && !budget_take_udp(c->budget, most))
        return false;
    c->most = most;
    c->before = c->pool->out_count;
    return true;
}

void udp_charge_settle(struct udp_charge *c)
{
    uint64_t had = c->bytes + c->most;

    c->bytes += c->pool->out_count * CHUNK_BYTES;
    must(c->bytes >= c->before * CHUNK_BYTES);
    c->bytes -= c->before * CHUNK_BYTES;
    must(c->bytes <= had);
    if (had > c->bytes)
        budget_give_udp(c->budget, had - c->bytes);
    c->most = 0;
}
