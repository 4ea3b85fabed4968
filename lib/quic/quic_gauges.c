/* quic_gauges - see quic_gauges.h. */
#include "quic/quic_gauges.h"

#include <stddef.h>

const struct quic_gauge_rule quic_gauge_rules[] = {
#define X(member, name, label, value, kind, help)                                                  \
    {name, label, value, help, QUIC_##kind, offsetof(struct quic_gauges, member)},
    QUIC_GAUGES(X)
#undef X
        {.name = NULL},
};

void quic_gauges_publish(struct quic_gauges *g, const struct quic_port *port)
{
    const struct quic_port_stats *s = quic_port_stats(port);

#define X(member, name, label, value, kind, help)                                                  \
    atomic_store_explicit(&g->member, s->member, memory_order_relaxed);
    QUIC_GAUGES(X)
#undef X
}

uint64_t quic_gauges_sum(const struct quic_gauge_rule *rule, const struct quic_gauges *first,
                         size_t stride, unsigned count)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        const char *at = (const char *)first + i * stride + rule->offset;
        uint64_t value =
            atomic_load_explicit((const _Atomic uint64_t *)(const void *)at, memory_order_relaxed);

        if (rule->kind == QUIC_COUNTER)
            sum += value;
        else
            sum = i == 0 ? value : MIN(sum, value);
    }
    return sum;
}
