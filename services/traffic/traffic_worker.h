/* traffic_worker - one worker: its listeners, its client connections, its upstream pools, its
 * reference to the route set in force, its counters.
 *
 * Life, as the control thread sees it:
 *
 *   shared = traffic_shared_new();                      once
 *   workers_start(threads, n, ...);
 *   w[i] = traffic_worker_new(...threads[i].loop...);   nothing runs yet
 *   traffic_worker_start(w[i], fds...);                 accepts from now on
 *   traffic_worker_publish_*(w[i], ...);                any number of times
 *   traffic_worker_drain(w[i]);                         accepts no more, finishes what is open
 *   traffic_worker_stop(w[i]);                          resets what is left
 *   workers_stop(threads, n); traffic_worker_free(w[i]); workers_free(...); traffic_shared_free()
 *
 * All functions here are for the control thread; they return at once, the work is posted to the
 * worker's loop.  Snapshots (routes, settings, trusted networks) are immutable and counted.
 */
#ifndef TRAFFIC_TRAFFIC_WORKER_H
#define TRAFFIC_TRAFFIC_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "traffic/proxy_intake.h"
#include "traffic/route.h"
#include "traffic/traffic_conf.h"
#include "traffic/traffic_reason.h"

struct tls_tickets;

/* What may change by a reload.  Immutable after the first publishing. */
struct traffic_settings {
    _Atomic unsigned refs;
    struct traffic_timeouts timeouts;
    struct traffic_limits limits;
    struct traffic_auth auth;
    char *version_header; /* owned: "servezone_coretraffic_version"; NULL: none */
    char *version;        /* owned: what it says */
    uint16_t redirect_port;
    bool generate_request_id;
    bool log_access;
    enum access_format access_format;
};

/* Copies what it needs of the configuration; one reference. */
struct traffic_settings *traffic_settings_new(const struct traffic_conf *conf, const char *version);
struct traffic_settings *traffic_settings_ref(struct traffic_settings *settings);
void traffic_settings_unref(struct traffic_settings *settings); /* any thread; fine with NULL */

/* What all workers share: TLS context, counts of client connections in all and by address. */
struct traffic_shared;

struct traffic_shared_options {
    unsigned auth_threads, auth_waiting; /* 0: 1 */
    /* A destination went down or came back.  Called from a worker's thread: post it on.  Or NULL.
     */
    void (*on_target)(void *arg, const char *key, bool is_up);
    void *arg;
};

MUST_USE int
traffic_shared_new(struct traffic_shared **out,
                   const struct traffic_shared_options *options); /* 0, -ERR_TLS, -ERR_SYS */
/* After the worker threads were joined, before their loops are freed.  Fine with NULL. */
void traffic_shared_stop(struct traffic_shared *shared);
void traffic_shared_free(struct traffic_shared *shared); /* after the last worker; fine with NULL */

struct traffic_worker;

/* The worker takes references of its own on the three snapshots. */
struct traffic_worker *traffic_worker_new(struct loop *loop, unsigned index,
                                          struct traffic_shared *shared,
                                          struct traffic_settings *settings,
                                          struct route_set *routes, struct proxy_trust *trust);
/* Takes the listening sockets over (the arrays are copied). */
void traffic_worker_start(struct traffic_worker *w, const int *https_fds, size_t https_count,
                          const int *http_fds, size_t http_count);
void traffic_worker_publish_routes(struct traffic_worker *w, struct route_set *routes);
void traffic_worker_publish_settings(struct traffic_worker *w, struct traffic_settings *settings);
void traffic_worker_publish_trust(struct traffic_worker *w, struct proxy_trust *trust);
/* The keys of session tickets from now on; NULL: no tickets. */
void traffic_worker_publish_tickets(struct traffic_worker *w, struct tls_tickets *tickets);
/* Stops accepting; idle connections are closed, the others after their answer. */
void traffic_worker_drain(struct traffic_worker *w);
/* Closes everything that is left. */
void traffic_worker_stop(struct traffic_worker *w);
/* After workers_stop(), before workers_free(). */
void traffic_worker_free(struct traffic_worker *w); /* fine with NULL */

/* --- statistics --------------------------------------------------------------------------- */

/* X(name, help): counters that only grow. */
#define TRAFFIC_COUNTERS(X)                                                                        \
    X(connections, "client connections accepted")                                                  \
    X(redirects, "answers 301 of the plain listener")                                              \
    X(handshakes, "TLS handshakes finished")                                                       \
    X(handshakes_resumed, "of them by a session ticket")                                           \
    X(requests, "requests read on the TLS listener")                                               \
    X(h2_connections, "client connections that speak HTTP/2")                                      \
    X(upgrades, "connections upgraded (101)")                                                      \
    X(bytes_in, "plaintext bytes of requests' bodies and upgraded connections, from clients")      \
    X(bytes_out, "plaintext bytes of answers' bodies and upgraded connections, to clients")        \
    X(upstream_connects, "connections made to destinations")                                       \
    X(upstream_connect_failures, "connections to destinations that failed")                        \
    X(upstream_reuses, "requests on a kept connection")                                            \
    X(upstream_retries, "requests sent again on another connection")                               \
    X(exhausted, "accepts that failed for want of descriptors")                                    \
    X(memory_stalls, "answers that waited since limits.poolChunks was nearly used up")

/* X(name, help): gauges. */
#define TRAFFIC_GAUGES(X)                                                                          \
    X(clients_open, "client connections open")                                                     \
    X(exchanges_open, "requests in flight")                                                        \
    X(upgrades_open, "upgraded connections open")                                                  \
    X(upstreams_open, "connections to destinations open")                                          \
    X(upstreams_idle, "of them without work")                                                      \
    X(targets_down, "destinations that are skipped now")                                           \
    X(h2_lent_bytes, "memory lent to HTTP/2 connections beyond their own right")                   \
    X(chunks_out, "16 KiB buffers in use")

#define TRAFFIC_DURATION_BUCKETS 14
extern const double traffic_duration_bounds[TRAFFIC_DURATION_BUCKETS]; /* seconds */

struct traffic_histogram {
    uint64_t counts[TRAFFIC_DURATION_BUCKETS + 1]; /* not cumulated; the last is +Inf */
    double sum;                                    /* seconds */
};

struct traffic_stats {
#define X(name, help) uint64_t name;
    TRAFFIC_COUNTERS(X)
    TRAFFIC_GAUGES(X)
#undef X
    uint64_t statuses[6];           /* answers by class: [2] is 2xx */
    uint64_t reasons[REASON_COUNT]; /* refusals and failures */
    struct traffic_histogram requests_duration, handshakes_duration;
    uint64_t revision; /* of the route set in force here */
};

/* Adds this worker's figures to *out (zero it before the first). */
void traffic_worker_stats(const struct traffic_worker *w, struct traffic_stats *out);

#endif
