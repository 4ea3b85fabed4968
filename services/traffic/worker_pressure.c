/* worker_pressure - see worker_pressure.h. */
#include "traffic/worker_pressure.h"

#include "buf/chunk.h"
#include "traffic/client.h"
#include "traffic/traffic_worker_internal.h"

enum worker_pressure worker_pressure(const struct traffic_worker *w)
{
    const struct chunk_pool *pool = loop_pool(w->loop);
    size_t left;

    if (pool->cap == 0)
        return PRESSURE_NONE;
    left = pool->cap - pool->out_count;
    if (left > MAX(pool->cap / PRESSURE_SHED_PARTS, PRESSURE_SHED_MIN))
        return PRESSURE_NONE;
    return left > MAX(pool->cap / PRESSURE_STALL_PARTS, PRESSURE_STALL_MIN) ? PRESSURE_SHEDDING
                                                                            : PRESSURE_STALLED;
}

void worker_stall(struct traffic_worker *w, struct client *c)
{
    if (!list_is_empty(&c->stalled))
        return;
    COUNT(w, memory_stalls);
    if (list_is_empty(&w->stalled))
        deadline_set(&w->relief, PRESSURE_LOOK_MS);
    list_push(&w->stalled, &c->stalled);
}

void worker_relieve(struct deadline *d)
{
    struct traffic_worker *w = container_of(d, struct traffic_worker, relief);

    if (worker_pressure(w) == PRESSURE_STALLED) {
        LIST_EACH (&w->clients, node, after)
            client_hurry(container_of(node, struct client, node));
        deadline_set(&w->relief, PRESSURE_LOOK_MS);
        return;
    }
    LIST_EACH (&w->stalled, node, after) {
        list_remove(node);
        client_wake(container_of(node, struct client, stalled));
    }
}
