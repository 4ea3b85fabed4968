/* h2_closed - see h2_closed.h. */
#include "traffic/h2_closed.h"

#include <stdlib.h>

#include "base/err.h"

int h2_closed_init(struct h2_closed *c, unsigned streams_max)
{
    unsigned count = MAX(H2_CLOSED_MIN, 2 * streams_max);

    *c = (struct h2_closed){.count = count, .ids = calloc(count, sizeof(*c->ids))};
    return c->ids ? 0 : -ERR_NOMEM;
}

void h2_closed_fini(struct h2_closed *c)
{
    free(c->ids);
    *c = (struct h2_closed){0};
}

void h2_closed_add(struct h2_closed *c, int32_t id, bool by_us)
{
    must(id > 0);
    c->ids[c->at] = (uint32_t)id << 1 | by_us;
    c->at = (c->at + 1) % c->count;
}

enum h2_closed_by h2_closed_find(const struct h2_closed *c, int32_t id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->ids[i] >> 1 == (uint32_t)id)
            return c->ids[i] & 1 ? H2_CLOSED_BY_US : H2_CLOSED_BY_CLIENT;
    return H2_CLOSED_UNKNOWN;
}
