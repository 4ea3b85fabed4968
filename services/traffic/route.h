/* route - the route table: an immutable set of routes, built by one thread, read by all.
 *
 * The apply thread builds a set (route_json.h), the control thread publishes it, each worker holds
 * one reference to the set that it serves; a running exchange holds one of its own.  Nothing in a set
 * changes after route_set_seal(), so no lock is needed; the count is atomic.
 */
#ifndef TRAFFIC_ROUTE_H
#define TRAFFIC_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "loop/listener.h"

struct tls_cert;

#define ROUTE_HOST_MAX 253

struct destination {
    union addr addr;          /* with port */
    char key[ADDR_TEXT_MAX];  /* "192.0.2.1:80": names its pool and health in every worker */
};

struct route_auth {
    char *user;               /* owned */
    uint8_t pass_mac[32];     /* HMAC-SHA256 of the password under the state directory's key */
};

struct route {
    char *host;                /* owned: lower case A-labels, no trailing dot; "*.example.com" */
    bool is_wildcard;          /* host + 1 is then the suffix ".example.com" */
    struct tls_cert *cert;     /* counted */
    char *chain_pem;           /* owned: publicKey as it came, for GET /v1/routes */
    struct destination *destinations; /* owned: destinationIps x destinationPorts, IPs outside */
    size_t destination_count;
    struct route_auth *auth;   /* owned, or NULL */
    bool forwards_authorization;
};

struct route_set {
    _Atomic unsigned refs;
    uint64_t revision;
    char etag[32];             /* "<revision>-<sha256 prefix>" */
    struct route *routes;      /* owned, in the order given */
    size_t count;
    uint32_t *table;           /* owned: open addressing over routes, by host */
    size_t table_size;
};

/* An empty set with room for `count` routes, one reference. */
struct route_set *route_set_new(size_t count);
struct route_set *route_set_ref(struct route_set *set);
void route_set_unref(struct route_set *set); /* any thread; fine with NULL */
/* Builds the look-up table; after it nothing changes.  Every host must be there once. */
void route_set_seal(struct route_set *set);

/* The route of a name (lower case, no trailing dot, no port): exact before wildcard; a wildcard
 * stands for exactly one label.  NULL: none. */
const struct route *route_find(const struct route_set *set, const char *host);

/* Lower case, IDNA to A-labels where libidn2 is linked, one trailing dot removed; checks RFC 1123
 * labels.  `allow_wildcard`: a leading "*." may stand.  0, -ERR_SYNTAX. */
MUST_USE int route_normalise_host(const char *in, size_t n, bool allow_wildcard,
                                  char out[ROUTE_HOST_MAX + 1]);

#endif
