/* edge_conf - what can be configured in the edge: the struct and its table of keys. */
#ifndef EDGE_EDGE_CONF_H
#define EDGE_EDGE_CONF_H

#include "conf/service_conf.h"

struct edge_limits {
    int64_t streams; /* open at once */
    int64_t connections_per_address;
    int64_t held_clients; /* accepted while no lane is there */
    int64_t pool_chunks;  /* 16 KiB each, of one worker */
    int64_t udp_sessions, udp_idle_secs;
    int64_t udp_queue_bytes, udp_memory;
    int64_t flush_secs; /* a client that does not take the end of a stream that is over */
};

struct edge_conf {
    struct service_conf service;
    char *token;    /* owned, secret: the connection token, or the fields below */
    char *hub_host; /* owned, like all strings here */
    int64_t hub_port;
    char *edge_id;
    char *secret; /* owned, secret */
    char *pin;
    char *ca_file;
    char *instance;     /* empty: the host's name */
    char *bind_address; /* empty or "::": every address, IPv6 and IPv4 */
    int transport_mode; /* enum transport_mode */
    int64_t quic_retry_secs;
    int64_t hold_secs;
    char *stun_server; /* empty: STUN is off */
    int64_t stun_rto_ms, stun_tries;
    int64_t memory_budget, max_window; /* bytes */
    char *tls_congestion;
    int quic_congestion; /* enum quic_congestion */
    char *qlog_dir;
    struct edge_limits limits;
};

extern const struct conf_table edge_conf_table;

#endif
