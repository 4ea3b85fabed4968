/* traffic_conf - what can be configured in traffic: the struct and its table of keys.
 *
 * The table (traffic_conf.c) is the only place where a key, its default, its unit and its counter
 * stand; docs/limits.md and --help are printed from it.
 */
#ifndef TRAFFIC_TRAFFIC_CONF_H
#define TRAFFIC_TRAFFIC_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/service_conf.h"

struct json_object;

/* Seconds. */
struct traffic_timeouts {
    int64_t handshake_secs;          /* accept (and PROXY header) to the end of the TLS handshake */
    int64_t header_secs;             /* first byte of a request's head to its last */
    int64_t body_idle_secs;          /* nothing moves in a body, either way */
    int64_t idle_secs;               /* between two requests of a client connection */
    int64_t connect_secs;            /* one attempt to reach a destination */
    int64_t upgrade_idle_secs;       /* nothing moves in an upgraded connection (WebSocket) */
    int64_t coreflow_handshake_secs; /* from dialling Coreflow to its WebSocket being open */
    int64_t coreflow_ping_secs;      /* between two pings to Coreflow */
    int64_t coreflow_pong_secs;      /* from a ping to its pong, and from our tag to its answer */
    int64_t coreflow_message_secs;   /* from a message's first byte to its last */
};

/* Session tickets. */
struct traffic_tickets {
    int64_t keys;        /* that open; the newest seals; 0: no tickets */
    int64_t rotate_secs; /* how long a key seals */
};

/* Basic authentication. */
struct traffic_auth {
    int64_t failures;   /* wrong credentials in a row from one address, of one worker; 0: any */
    int64_t cache_secs; /* how long a password that a hash was right for is taken for right */
    int64_t threads;    /* that check hashes */
};

struct traffic_limits {
    int64_t connections;             /* client connections at once, both listeners */
    int64_t connections_per_address; /* of one client: an IPv4 address or an IPv6 /64 */
    int64_t header_bytes;            /* a request's or an answer's head */
    int64_t header_fields;           /* its fields; a trailer's too */
    int64_t request_line_bytes;      /* method, target and version */
    int64_t requests_per_connection; /* then the client connection is closed in order */
    int64_t h2_streams;              /* of one HTTP/2 connection at once */
    int64_t h2_window_bytes;         /* of one HTTP/2 connection: bodies on their way to us */
    int64_t h2_heads_bytes;          /* of one: what its requests may hold (h2_held.h) */
    int64_t h2_shared_bytes;         /* of all, beyond what each has a right to */
    int64_t h2_resets;               /* of one: a burst */
    int64_t h2_control_frames;       /* of one: a burst */
    int64_t h2_continuations;        /* of one head */
    int64_t upstream_connections;    /* to one destination, of one worker */
    int64_t upstream_idle;           /* of those kept without work, of one worker */
    int64_t buffer_bytes;            /* held of one exchange and direction */
    int64_t read_rate;               /* bytes a second that a client must take; 0: none */
    int64_t pool_chunks;             /* 16 KiB each, of one worker: all its buffers together */
    int64_t routes;                  /* in a set */
    int64_t routes_bytes;            /* body of PUT /v1/routes, and routesFile */
    int64_t route_bytes;             /* body of PUT /v1/routes/{hostName} */
    int64_t route_destinations;      /* destinationIps x destinationPorts of a route */
    int64_t health_targets;          /* destinations with an active check */
    int64_t auth_waiting;            /* passwords that wait for a thread */
    int64_t waiting_updates;         /* updates of the routes that wait for their turn */
    int64_t coreflow_answers;        /* messages to Coreflow that wait to be sent */
};

struct traffic_conf {
    struct service_conf service;
    char *http_listen; /* owned, like all strings here */
    int64_t http_redirect_port;
    char *https_listen;
    struct json_object *proxy_trusted; /* owned: list of CIDRs, addresses and names */
    char *routes_file;
    int64_t routes_file_secs; /* 0: read at the start only */
    char *coreflow_url;       /* "": none */
    char *coreflow_ca_file;
    char *version_header;               /* the field's name; "": none is sent */
    int64_t certificates_expiring_days; /* so early the event certificateExpiring comes */
    struct traffic_timeouts timeouts;
    struct traffic_tickets tickets;
    struct traffic_auth auth;
    struct traffic_limits limits;
    bool generate_request_id; /* for requests that bring none (request_id.h) */
    bool log_access;          /* one line a request */
    int log_access_format;    /* enum access_format */
};

enum access_format { ACCESS_JSON, ACCESS_COMBINED }; /* access_log.h */

extern const struct conf_table traffic_conf_table;

#endif
