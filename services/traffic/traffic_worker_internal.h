/* traffic_worker_internal - what the parts of one worker see of it: its loop, its snapshots, its
 * counters, its scratch memory.  Everything here is for the worker's own thread, but the counters,
 * which any thread may read.
 */
#ifndef TRAFFIC_TRAFFIC_WORKER_INTERNAL_H
#define TRAFFIC_TRAFFIC_WORKER_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/log.h"
#include "traffic/access_log.h"
#include "traffic/auth_gate.h"
#include "traffic/h1_scan.h"
#include "traffic/request_id.h"
#include "traffic/route_hold.h"
#include "traffic/route_options.h"
#include "traffic/traffic_worker.h"
#include "traffic/upstream_pool.h"
#include "traffic/worker_pressure.h"

struct tls_ctx;

#define HEAD_BYTES_MAX    65535u /* of limits.headerBytes that count */
#define WORKER_READ_BYTES 65536u /* one read of an origin's socket */
#define WORKER_TEXT_BYTES 81920u /* one head on its way out: 64 KiB and what we add */
#define HTTP_DATE_BYTES   32u    /* "Sun, 06 Nov 1994 08:49:37 GMT" */

static_assert(WORKER_TEXT_BYTES >= HEAD_BYTES_MAX + HTTP_FIELDS_MAX + ROUTE_HEADERS_BYTES + 4096,
              "a head as long as can be, a blank more in each field, the route's own, and ours");

struct traffic_listener {
    struct acceptor acceptor;
    struct traffic_worker *worker; /* borrowed */
    bool is_tls;
};

/* Relaxed atomics with one writer, so a plain addition is enough. */
struct traffic_counters {
#define X(name, help) _Atomic uint64_t name;
    TRAFFIC_COUNTERS(X)
    TRAFFIC_GAUGES(X)
#undef X
    _Atomic uint64_t statuses[6];
    _Atomic uint64_t reasons[REASON_COUNT];
    _Atomic uint64_t requests_buckets[TRAFFIC_DURATION_BUCKETS + 1], requests_us;
    _Atomic uint64_t handshakes_buckets[TRAFFIC_DURATION_BUCKETS + 1], handshakes_us;
    _Atomic uint64_t revision;
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#define COUNT(w, name)      counter_add(&(w)->counters.name, 1)
#define COUNT_N(w, name, n) counter_add(&(w)->counters.name, (n))
#define COUNT_DOWN(w, name) counter_add(&(w)->counters.name, (uint64_t)-1)

struct traffic_worker {
    struct loop *loop; /* borrowed */
    unsigned index;
    struct traffic_shared *shared;       /* borrowed */
    const struct congestion *congestion; /* borrowed from it */
    struct tls_ctx *tls_ctx;             /* borrowed from shared */
    struct auth_pool *auth_pool;         /* borrowed from shared */
    _Atomic uint64_t *h2_lent;           /* borrowed from shared: h2_held.h */
    _Atomic uint64_t *h2_lent_to;        /* the same, by address slot */
    struct auth_gate auth;
    struct traffic_settings *settings; /* counted */
    struct proxy_trust *trust;         /* counted */
    struct tls_tickets *tickets;       /* counted; or NULL */
    struct route_hold *hold;           /* counted: the set in force */
    struct h1_limits limits;
    bool is_draining, is_stopped;
    uint64_t dice;                  /* random, never 0 */
    struct list clients, redirects; /* open connections */
    struct upstream_pools pools;
    struct list upstreams;              /* all open ones */
    struct traffic_listener *listeners; /* owned */
    size_t listener_count;
    struct deadline tick;
    struct list stalled; /* clients, by their `stalled` */
    struct deadline relief;
    char date[HTTP_DATE_BYTES];
    char log_time[ACCESS_TIME_MAX];
    struct request_ids request_ids;
    struct log_limit refusals; /* of the log */
    struct traffic_counters counters;
    /* Scratch: for one call, never across two events. */
    struct http_request request;
    struct http_response response;
    struct http_fields trailers;
    char text[WORKER_TEXT_BYTES];
    uint8_t read[WORKER_READ_BYTES];
};

/* Counts a refusal or failure. */
void worker_count_reason(struct traffic_worker *w, enum traffic_reason reason);
void worker_count_request(struct traffic_worker *w, unsigned status, uint64_t us);
void worker_count_handshake(struct traffic_worker *w, uint64_t us);
/* Admits one more client connection: false, with the reason, when a limit is reached. */
bool worker_admit(struct traffic_worker *w, enum traffic_reason *reason);
void worker_dismiss(struct traffic_worker *w);
/* The same for one client address; a connection that was admitted gives it back with the slot. */
bool worker_admit_address(struct traffic_worker *w, const union addr *client, uint32_t *slot);
void worker_dismiss_address(struct traffic_worker *w, uint32_t slot);
/* A destination's health changed. */
void worker_tell_target(struct traffic_worker *w, const char *key, bool is_up);

#endif
