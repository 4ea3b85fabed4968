/* route_options - what a route may say beside its name, certificate and destinations.
 *
 * Immutable and counted: copies of a route share it.  `text` is the whole of it as normalised JSON:
 * what the management API shows, what the state file keeps, what the route's digest covers.
 */
#ifndef TRAFFIC_ROUTE_OPTIONS_H
#define TRAFFIC_ROUTE_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "traffic/origin_tls.h"
#include "json/json.h"

#define ROUTE_HEADERS_MAX   32u   /* of one direction */
#define ROUTE_HEADERS_BYTES 8192u /* of all of them, as lines */

/* Which of the destinations that are up gets a request. */
#define ROUTE_BALANCES(X)                                                                          \
    X(ROUND_ROBIN, "roundRobin")                                                                   \
    X(LEAST_CONNECTIONS, "leastConnections") /* of this worker: requests in flight there */        \
    X(P2C, "p2c")                            /* the better of two by chance */

#define X(name, word) BALANCE_##name,
enum route_balance { ROUTE_BALANCES(X) BALANCE_COUNT };
#undef X

/* A field that is set (in place of all of its name), or removed where `value` is NULL. */
struct route_header {
    char *name, *value; /* owned; the name in lower case */
};

struct route_headers {
    struct route_header *list; /* owned */
    unsigned count;
    size_t bytes;
};

/* An active check: GET `path` at every destination; 2xx and 3xx are well. */
struct route_health {
    char *path; /* owned; NULL: no checks */
    uint32_t interval_ms, timeout_ms;
    uint32_t healthy_threshold, unhealthy_threshold; /* answers in a row that change its state */
};

struct route_options {
    _Atomic unsigned refs;
    char *text; /* owned: "" where nothing is said */
    bool forwards_authorization;
    bool explains; /* refusals and failures carry their reason in a field of the answer */
    enum route_balance balance;
    uint64_t max_body_bytes;         /* UINT64_MAX: no limit */
    uint32_t connect_ms, silence_ms; /* 0: the service's */
    char *hsts;                      /* owned: the value of Strict-Transport-Security; or NULL */
    struct route_headers to_origin, to_client;
    struct route_health health;
    struct origin_tls *tls; /* counted; NULL: plain HTTP to the destinations */
};

struct route_options *route_options_new(void); /* where nothing is said */
/* Reads them out of a route's object; NULL after faults (other keys are not looked at).  `host` is
 * the route's, or NULL; `tls` finds what is shared.  One reference. */
struct route_options *route_options_parse(struct json_check *faults, const char *base,
                                          struct json_object *obj, const char *host,
                                          struct origin_tls_cache *tls);
struct route_options *route_options_ref(struct route_options *options);
void route_options_unref(struct route_options *options); /* any thread; fine with NULL */

#endif
