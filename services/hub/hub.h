/* hub - the service as one object: its configuration, control loop, workers, registry and desk.
 * main.c starts and stops it; the management API (hub_api*_json.c) reads and changes it.  Control
 * thread. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "admin/service.h"
#include "admin/service_drain.h"
#include "base/log.h"
#include "hub/change.h"
#include "hub/desk.h"
#include "hub/hub_conf.h"
#include "hub/quic_door.h"
#include "hub/tunnel_port.h"
#include "loop/worker.h"

#define HUB_SUCCESSOR_MS                                                                           \
    2000 /* while a hub drains: for an edge without streams to find another                        \
          */

struct hub {
    struct hub_conf conf;
    struct loop *loop;          /* owned */
    struct worker *threads;     /* owned: worker_count of them */
    struct hub_worker *workers; /* owned, as many */
    unsigned worker_count;
    struct hub_shared shared;
    struct registry registry;
    struct store *store; /* owned: what of the registry is durable */
    struct change_queue changes;
    struct desk desk;
    struct tunnel_port port;    /* TCP */
    struct quic_door quic;      /* UDP, until its sockets are the workers' */
    struct deadline quic_retry; /* its port is taken, or its keys are not there: asked for again */
    struct log_limit quic_log;
    union addr tunnel_at;  /* where it listens */
    bool has_quic;         /* by UDP too */
    struct tls_cert *cert; /* counted: of the tunnel */
    struct admin *admin;   /* owned */
    struct service_tokens tokens;
    struct events *events; /* owned */
    struct service_drain drain;
    uint64_t closing_ms; /* since when the hub takes nothing new */
    struct crash crash;  /* why this process was started, if after a crash */
    int64_t started_unix;
    bool are_threads_started;
};

/* `h` has its conf filled and the rest zeroed.  0, or -ERR_* after the reason was logged; then
 * hub_stop() still has to be called. */
MUST_USE int hub_start(struct hub *h);
void hub_stop(struct hub *h); /* everything but conf */
/* Takes what is hot from `next` (tokens and names of the management API, log level), which differs
 * in nothing else.  0, or -ERR_* after the reason was logged: nothing has changed then. */
MUST_USE int hub_reload(struct hub *h, struct hub_conf *next);

/* --- what a change does to edges once it is durable (change.h) ---------------------------------
 */

/* Puts the edge as the spec says and tells its sessions.  0, -ERR_LIMIT; *change as registry_put().
 */
MUST_USE int hub_put_edge(struct hub *h, struct edge_spec *spec, unsigned *change);
void hub_remove_edge(struct hub *h, struct edge *edge);
/* No grace: the edge's tunnels are closed.  Else those that were proved with an old secret are,
 * when its time is over, or at once with one that was old already. */
void hub_renew_secret(struct hub *h, struct edge *edge, const char *secret,
                      struct secret_grace grace);
/* The edge's connection token for this host and port (the caller's, a secret). */
char *hub_make_token(const struct hub *h, const struct edge *edge, const char *host, uint16_t port);
/* tunnel.publicPort, or the tunnel's own. */
uint16_t hub_public_port(const struct hub *h);

/* --- sums over lanes: what is gone and what lives
 * -------------------------------------------------- */

struct lane_sums {
    uint64_t bytes_in, bytes_out, opened, window_stalls, ahead_waits;
    uint64_t queue_data, queue_sustained, queue_udp, streams;
    struct udp_stats udp;
};
void hub_sum_lanes(const struct hub *h, struct lane_sums *out);

/* hub_api_json.c, hub_metrics.c, hub_openapi.c */
extern const struct admin_route hub_routes[];
extern const char hub_openapi[], hub_openapi_common[];
struct metrics;
void hub_collect(void *service, struct metrics *m);

#endif
