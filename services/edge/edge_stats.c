/* edge_stats - see edge_stats.h. */
#include "edge/edge_stats.h"

#include "edge/edge_lane.h"
#include "edge/edge_worker.h"

const char *edge_refusal_name(enum edge_refusal why)
{
    static const char *const names[] = {
#define X(name, text) text,
        EDGE_REFUSALS(X)
#undef X
    };

    return names[why];
}

static void store(_Atomic uint64_t *to, uint64_t value)
{
    atomic_store_explicit(to, value, memory_order_relaxed);
}

static void publish_udp(struct edge_worker *w, const struct udp_stats *lanes)
{
    struct edge_udp_stats *to = &w->stats.udp;

    store(&to->opened, lanes->opened);
    store(&to->closed, lanes->closed);
    store(&to->datagrams_in, lanes->datagrams_from_clients);
    store(&to->datagrams_out, lanes->datagrams_to_clients);
    store(&to->bytes_in, lanes->bytes_from_clients);
    store(&to->bytes_out, lanes->bytes_to_clients);
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        store(&to->dropped[i], lanes->dropped[i] + w->udp.dropped[i]);
    for (unsigned i = 0; i < UDP_EVICTION_COUNT; i++)
        store(&to->evicted[i], w->udp.evicted[i]);
    store(&to->idle, w->udp.idle);
    store(&to->errors, w->udp.errors);
    store(&to->handed_over, w->udp.handed_over);
}

void edge_stats_publish(struct edge_worker *w, uint64_t exhausted)
{
    struct udp_stats udp = w->udp.past;
    uint64_t in = w->past_in, out = w->past_out, stalls = w->past_stalls;
    uint64_t waits = w->past_waits;
    uint32_t rtt_ms = 0, normal = 0, sustained = 0, udp_depth = 0;

    LIST_EACH (&w->lanes, node, after) {
        const struct edge_lane *lane = container_of(node, struct edge_lane, node);
        const struct lane *frames = lane->state == EDGE_LANE_UP ? link_lane(lane->link) : NULL;

        if (!frames)
            continue;
        in += frames->stats.bytes_from_clients;
        out += frames->stats.bytes_to_clients;
        stalls += frames->stats.window_stalls;
        waits += frames->stats.ahead_waits;
        rtt_ms = frames->beat.rtt_ms;
        udp_stats_add(&udp, &frames->stats.udp);
        udp_depth += lane_sched_depth(&frames->out.sched.udp);
        normal += lane_sched_depth(&frames->out.sched.normal);
        sustained += lane_sched_depth(&frames->out.sched.sustained);
    }
    publish_udp(w, &udp);
    store(&w->stats.bytes_in, in + udp.bytes_from_clients);
    store(&w->stats.bytes_out, out + udp.bytes_to_clients);
    store(&w->stats.window_stalls, stalls);
    store(&w->stats.ahead_waits, waits);
    store(&w->stats.exhausted, exhausted);
    store(&w->stats.pool_chunks, loop_pool(w->loop)->out_count);
    store(&w->stats.pool_refused, loop_pool(w->loop)->refused);
    if (w->quic)
        quic_gauges_publish(&w->quic_gauges, w->quic);
    atomic_store_explicit(&w->stats.rtt_ms, rtt_ms, memory_order_relaxed);
    atomic_store_explicit(&w->stats.depth_normal, normal, memory_order_relaxed);
    atomic_store_explicit(&w->stats.depth_sustained, sustained, memory_order_relaxed);
    atomic_store_explicit(&w->stats.depth_udp, udp_depth, memory_order_relaxed);
}
