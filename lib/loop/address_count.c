/* address_count - see address_count.h. */
#include "loop/address_count.h"

#include <string.h>

#include "base/must.h"

void address_count_init(struct address_count *c, const uint64_t key[2])
{
    memset(c, 0, sizeof(*c));
    c->key[0] = key[0];
    c->key[1] = key[1];
}

/* Two rounds of multiply and fold with secret operands (the kernel of wyhash): it only has to be
 * unpredictable to someone who never sees its result. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t slot_of(const struct address_count *c, const union addr *client)
{
    union addr plain = *client;
    uint64_t bits = 0;

    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET)
        memcpy(&bits, &plain.in.sin_addr, 4);
    else
        memcpy(&bits, &plain.in6.sin6_addr, 8);
    bits = fold(bits ^ c->key[0], c->key[1] | 1);
    bits = fold(bits ^ (uint64_t)plain.sa.sa_family ^ c->key[1], c->key[0] | 1);
    return (uint32_t)(bits % ADDRESS_SLOTS);
}

bool address_count_add(struct address_count *c, const union addr *client, uint32_t limit,
                       uint32_t *slot)
{
    *slot = slot_of(c, client);
    if (atomic_fetch_add_explicit(&c->open[*slot], 1, memory_order_relaxed) < limit)
        return true;
    atomic_fetch_sub_explicit(&c->open[*slot], 1, memory_order_relaxed);
    return false;
}

void address_count_remove(struct address_count *c, uint32_t slot)
{
    uint32_t before = atomic_fetch_sub_explicit(&c->open[slot], 1, memory_order_relaxed);

    must(before > 0);
}
