/* edge - the service as one object: its configuration, its control loop, its workers, its uplink.
 * main.c starts and stops it; the management API (edge_api_json.c) reads it.  Control thread. */
#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H

#include "admin/service.h"
#include "admin/service_drain.h"
#include "edge/edge_conf.h"
#include "edge/edge_worker.h"
#include "edge/uplink.h"

struct edge {
    struct edge_conf conf;
    struct loop *loop;           /* owned */
    struct worker *threads;      /* owned: workers_count of them */
    struct edge_worker *workers; /* owned, as many */
    unsigned workers_count;
    struct edge_shared shared;
    struct uplink uplink;
    struct admin *admin; /* owned */
    struct service_tokens tokens;
    struct events *events; /* owned */
    struct service_drain drain;
    struct crash crash; /* why this process was started, if after a crash */
    char instance[INSTANCE_MAX + 1];
    bool has_fixed_credentials; /* from file or environment: the API cannot change them */
    char tunnel_tag[17];        /* ETag of /v1/tunnel: by chance, another one after each change */
    bool are_threads_started;
};

/* `e` has its conf filled and the rest zeroed.  0, or -ERR_* after the reason was logged; then
 * edge_stop() still has to be called. */
MUST_USE int edge_start(struct edge *e);
void edge_stop(struct edge *e); /* everything but conf */
/* Takes what is hot from `next`, which differs in nothing else.  0, or -ERR_* after the reason was
 * logged: nothing has changed then. */
MUST_USE int edge_reload(struct edge *e, struct edge_conf *next);

/* What its QUIC connections have in common. */
struct quic_params edge_quic_params(const struct edge_conf *conf);

/* The sums over all workers. */
struct edge_sums {
    uint64_t accepted, refused[EDGE_REFUSAL_COUNT], exhausted, bytes_in, bytes_out;
    uint64_t opened, ended, reset, flush_timeouts, reset_by_hub[4], window_stalls, ahead_waits,
        pool_chunks, pool_refused;
    uint64_t clients, rtt_ms, depth_normal, depth_sustained, depth_udp;
    struct edge_udp_sums {
        uint64_t opened, closed, evicted[UDP_EVICTION_COUNT], idle, errors, handed_over, flows;
        uint64_t datagrams_in, datagrams_out, bytes_in, bytes_out, dropped[UDP_DROP_COUNT];
        uint64_t send_calls, bundles, bundles_refused;
    } udp;
};
void edge_sum(const struct edge *e, struct edge_sums *out);

/* edge_api_json.c, edge_metrics.c */
extern const struct admin_route edge_routes[];
extern const char edge_openapi[], edge_openapi_common[];
bool edge_is_ready(void *service, char *why, size_t why_size);
struct json_object *edge_config(void *service);
struct metrics;
void edge_collect(void *service, struct metrics *m);

#endif
