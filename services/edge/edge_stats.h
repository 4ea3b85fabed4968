/* edge_stats - what a worker of the edge has counted, for status and metrics.
 *
 * Written by the worker, some as it happens and the rest by edge_stats_publish() with each tick, at
 * most EDGE_REST_MS ago; read by anyone, relaxed.
 */
#ifndef EDGE_EDGE_STATS_H
#define EDGE_EDGE_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "edge/udp_flows.h"

struct edge_worker;

/* Why a client was turned away. */
#define EDGE_REFUSALS(X)                                                                           \
    X(LIMIT_STREAMS, "limit_streams")                                                              \
    X(LIMIT_ADDRESS, "limit_address")                                                              \
    X(LIMIT_HELD, "limit_held")                                                                    \
    X(HOLD_EXPIRED, "hold_expired")                                                                \
    X(NO_TUNNEL, "no_tunnel")                                                                      \
    X(NO_MEMORY, "no_memory")
enum edge_refusal {
#define X(name, text) EDGE_REFUSED_##name,
    EDGE_REFUSALS(X)
#undef X
        EDGE_REFUSAL_COUNT
};
const char *edge_refusal_name(enum edge_refusal why);

struct edge_stats {
    _Atomic uint64_t accepted, refused[EDGE_REFUSAL_COUNT], exhausted;
    _Atomic uint64_t bytes_in, bytes_out;                  /* from clients, to clients */
    _Atomic uint64_t opened, ended, reset, flush_timeouts; /* streams */
    _Atomic uint64_t reset_by_hub[4];                      /* by the byte of CLOSE_BACK */
    _Atomic uint64_t window_stalls, ahead_waits, pool_chunks, pool_refused;
    _Atomic uint32_t clients, rtt_ms, depth_normal, depth_sustained, depth_udp;
    struct edge_udp_stats {
        _Atomic uint64_t opened, closed, evicted[UDP_EVICTION_COUNT], idle, errors, handed_over;
        _Atomic uint64_t datagrams_in, datagrams_out, bytes_in, bytes_out;
        _Atomic uint64_t dropped[UDP_DROP_COUNT];
        _Atomic uint32_t flows;
    } udp;
};

/* The totals over its lanes, those that are gone included; `exhausted`: how often its ports found
 * no descriptor for a client. */
void edge_stats_publish(struct edge_worker *w, uint64_t exhausted);

#endif
