/* udp_answerers - see udp_answerers.h. */
#include "hub/udp_answerers.h"

#include "base/hash.h"

static unsigned place_of(const struct target *t)
{
    return (unsigned)hash_add(hash_add(0, (uintptr_t)t->host), t->port) & (UDP_ANSWERERS - 1);
}

void udp_answerers_note(struct udp_answerers *a, const struct target *t, const union addr *addr)
{
    a->places[place_of(t)] = (struct udp_answerer){t->host, t->port, *addr};
}

unsigned udp_answerers_first(const struct udp_answerers *a, const struct target *t,
                             const union addr *addrs, unsigned count)
{
    const struct udp_answerer *known = &a->places[place_of(t)];

    if (known->host != t->host || known->port != t->port)
        return 0;
    for (unsigned i = 0; i < count; i++)
        if (addr_is_same(&addrs[i], &known->addr))
            return i;
    return 0;
}
