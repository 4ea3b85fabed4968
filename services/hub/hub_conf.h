/* hub_conf - what can be configured in the hub: the struct and its table of keys.
 *
 * The table (hub_conf.c) is the only place where a key, its default, its unit and its counter
 * stand; docs/limits.md and --help are printed from it.
 */
#ifndef HUB_HUB_CONF_H
#define HUB_HUB_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/service_conf.h"

struct json_object;

#define STORE_SCHEME "sqlite:" /* of store.url */

struct hub_limits {
    int64_t streams;                     /* open at once, of all edges */
    int64_t edges;                       /* in the registry */
    int64_t waiting_changes;             /* of it, until the disk has them */
    int64_t sessions;                    /* running edge instances */
    int64_t handshakes;                  /* connections that have not said their hello yet */
    int64_t handshakes_per_source;       /* of these, of one IPv4 address or IPv6 /64 */
    int64_t waiting_refusals;            /* wrong proofs that wait out their second */
    int64_t connects;                    /* to targets, under way */
    int64_t edge_share;                  /* percent of what all share that one edge may have */
    int64_t pool_chunks;                 /* 16 KiB each, of one worker: all its buffers */
    int64_t streams_listed;              /* in GET /v1/edges/{id}/streams */
    int64_t metrics_edges;               /* that have a label of their own */
    int64_t connect_secs;                /* one target, all its addresses */
    int64_t udp_lookups;                 /* of a worker, under way */
    int64_t udp_sessions, udp_idle_secs; /* clients' datagrams: open at once; until one is idle */
    int64_t udp_queue_bytes, udp_memory; /* of one that waits for the tunnel; of all of them */
    int64_t flush_secs; /* a target that does not take the end of a stream that is over */
};

struct hub_conf {
    struct service_conf service;
    char *tunnel_listen;                   /* owned, like all strings here */
    struct json_object *tunnel_transports; /* owned: a list */
    char *tunnel_cert_file, *tunnel_key_file;
    char *public_host;   /* for tokens */
    int64_t public_port; /* 0: the tunnel's */
    int64_t max_lanes;
    int64_t memory_budget, max_window; /* bytes */
    char *tls_congestion;
    int quic_congestion; /* enum quic_congestion */
    char *qlog_dir;
    char *target_host;
    struct json_object *target_ports;     /* owned: a map */
    int target_proxy_protocol;            /* a choice: target_mode() */
    struct json_object *target_ports_udp; /* owned: a map */
    int target_proxy_protocol_udp;
    struct json_object *edges; /* owned: a list */
    char *store_url, *store_key_file;
    struct hub_limits limits;
};

extern const struct conf_table hub_conf_table;
/* Whether tunnel.transports names it: "tls" or "quic". */
bool hub_conf_has_transport(const struct hub_conf *conf, const char *name);

#endif
