/* h2_closed - see h2_closed.h. */
#include "traffic/h2_closed.h"

#include "base/must.h"

void h2_closed_add(struct h2_closed *c, int32_t id, bool by_us)
{
    must(id > 0);
    c->ids[c->at++ % H2_CLOSED_COUNT] = (uint32_t)id << 1 | by_us;
}

enum h2_closed_by h2_closed_find(const struct h2_closed *c, int32_t id)
{
    for (unsigned i = 0; i < H2_CLOSED_COUNT; i++)
        if (c->ids[i] >> 1 == (uint32_t)id)
            return c->ids[i] & 1 ? H2_CLOSED_BY_US : H2_CLOSED_BY_CLIENT;
    return H2_CLOSED_UNKNOWN;
}
