/* hub_worker - see hub_worker.h. */
#include "hub/hub_worker.h"

#include "base/err.h"
#include "buf/chunk.h"
#include "hub/forward.h"
#include "hub/hub_lane.h"

#define TICK_MS 250 /* live byte counts in the API are at most this much older than the present */

static void on_tick(struct deadline *tick)
{
    struct hub_worker *w = container_of(tick, struct hub_worker, tick);
    const struct chunk_pool *pool = loop_pool(w->loop);

    LIST_EACH (&w->lanes, node, after) {
        hub_lane_publish(container_of(node, struct hub_lane, node));
        hub_lane_watch(container_of(node, struct hub_lane, node));
    }
    atomic_store_explicit(&w->pool_out, pool->out_count, memory_order_relaxed);
    atomic_store_explicit(&w->pool_refused, pool->refused, memory_order_relaxed);
    if (w->quic)
        quic_gauges_publish(&w->quic_gauges, w->quic);
    forward_tick(w);
    udp_book_tick(&w->udp);
    if (!list_is_empty(&w->lanes) || w->udp.count > 0)
        deadline_set(&w->tick, TICK_MS);
}

int hub_worker_init(struct hub_worker *w, struct loop *loop, struct hub_shared *shared)
{
    w->loop = loop;
    w->shared = shared;
    list_init(&w->lanes);
    list_init(&w->young);
    udp_book_init(&w->udp, w);
    deadline_init(&w->tick, loop, on_tick);
    w->resolver = resolver_new(loop);
    return w->resolver ? 0 : -ERR_SYS;
}

void hub_worker_watch(struct hub_worker *w)
{
    if (w->tick.due_ms == 0)
        deadline_set(&w->tick, TICK_MS);
}

void hub_worker_close(struct hub_worker *w)
{
    if (!w->loop || w->is_closed)
        return;
    w->is_closed = true;
    deadline_off(&w->tick);
    LIST_EACH (&w->lanes, node, after)
        hub_lane_close(container_of(node, struct hub_lane, node));
    udp_book_close(&w->udp);
    quic_port_free(w->quic);
    w->quic = NULL;
    resolver_free(w->resolver);
    w->resolver = NULL;
}

void hub_worker_fini(struct hub_worker *w)
{
    struct list *node;

    if (!w->loop)
        return;
    udp_book_fini(&w->udp);
    while ((node = list_pop(&w->lanes)))
        hub_lane_free(container_of(node, struct hub_lane, node));
}
