/* route - the route table: an immutable set of routes, built by one thread, read by all.
 *
 * The apply thread builds a set (route_json.h), the control thread publishes it, each worker holds
 * one reference to the set that it serves; a running exchange holds one of its own.  Nothing in a
 * set changes after route_set_seal(), so no lock is needed; the count is atomic.
 */
#ifndef TRAFFIC_ROUTE_H
#define TRAFFIC_ROUTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "loop/listener.h"
#include "traffic/auth.h"
#include "traffic/route_cert.h"
#include "traffic/route_options.h"

struct health_mark;

#define ROUTE_HOST_MAX     253
#define ROUTE_DIGEST_BYTES 32
#define ROUTE_ETAG_MAX     32

#define ROUTE_TEXT_ID_BYTES 16

struct destination {
    union addr addr;         /* with port */
    char key[ADDR_TEXT_MAX]; /* "192.0.2.1:80": names its pool and health in every worker */
};

struct route_body;

struct route {
    /* Once it is sealed all that is owned or counted here but the marks is the body's, which the
     * copies of a route share: to take one over from another set is to count one up. */
    struct route_body *body; /* counted; NULL until it is sealed */
    char *host;              /* owned: lower case A-labels, no trailing dot; "*.example.com" */
    bool is_wildcard;        /* host + 1 is then the suffix ".example.com" */
    struct route_cert *cert; /* counted */
    struct route_options *options;    /* counted */
    struct destination *destinations; /* owned: destinationIps x destinationPorts, IPs outside */
    size_t destination_count;
    size_t port_count;          /* destinations of one IP: destination_count / port_count IPs */
    struct route_auth *auth;    /* owned, or NULL (auth.h) */
    struct health_mark **marks; /* owned, each counted: of the destinations; NULL: no checks */
    bool is_covered;            /* by the names of its certificates */
    bool has_text_id;           /* route_known.h */
    uint8_t text_id[ROUTE_TEXT_ID_BYTES];
    uint8_t digest[ROUTE_DIGEST_BYTES]; /* of all that is served: tells what an update changed */
};

struct route_bin;

struct route_set {
    _Atomic unsigned refs;
    struct route_bin *bin;  /* counted: where it goes at its end; NULL: freed on the spot */
    struct route_set *next; /* in the bin */
    uint64_t revision;
    char etag[ROUTE_ETAG_MAX];          /* "<revision>-<sha256 prefix>" */
    uint8_t digest[ROUTE_DIGEST_BYTES]; /* of the routes' digests, whatever their order */
    struct route *routes;               /* owned, in the order given */
    size_t count;
    uint32_t *table;   /* owned: open addressing over routes, by host; index + 1, 0 empty */
    size_t table_size; /* a power of two, at least twice the count */
};

/* An empty set with room for `count` routes (zeroed, to be filled), one reference. */
struct route_set *route_set_new(size_t count);
struct route_set *route_set_ref(struct route_set *set);
void route_set_unref(struct route_set *set); /* any thread; fine with NULL */
/* Where sets end that were the last one's to hold: to free thousands of routes and certificates
 * takes milliseconds, which no loop has.  `wake` is called, from any thread, when there is
 * something in it. */
struct route_bin *route_bin_new(void (*wake)(void *arg), void *arg);
/* Frees what is in it now. */
void route_bin_empty(struct route_bin *bin);
/* From now on sets are freed on the spot; what is in it too. */
void route_bin_close(struct route_bin *bin);
void route_bin_unref(struct route_bin *bin); /* after route_bin_close(); fine with NULL */
/* Once, before others see the set. */
void route_set_end_in(struct route_set *set, struct route_bin *bin);

/* Builds the look-up table of the routes, all of which have a host; false, and there is none, when
 * one is there twice. */
bool route_set_index(struct route_set *set);
/* Builds the table, where there is none yet, and the digests; after it only route_set_number()
 * changes anything.  Every host must be there once. */
void route_set_seal(struct route_set *set);
/* Sets revision and etag: once, before others see the set. */
void route_set_number(struct route_set *set, uint64_t revision);

/* The route of a name (lower case, no trailing dot, no port): exact before wildcard; a wildcard
 * stands for exactly one label.  NULL: none. */
const struct route *route_set_find(const struct route_set *set, const char *host);
/* The entry of exactly this host name, "*.example.com" too; for the management API.  Or NULL. */
const struct route *route_set_entry(const struct route_set *set, const char *host);

/* Of a sealed one.  `to` is zeroed. */
void route_copy(struct route *to, const struct route *from);
void route_fini(struct route *route); /* fine with a zeroed one */

/* A sealed copy of `base` with this route (moved: zeroed in the caller) in the place of the one of
 * the same host, or behind all others. */
struct route_set *route_set_with(const struct route_set *base, struct route *route);
/* A sealed copy without the route `gone` of it. */
struct route_set *route_set_without(const struct route_set *base, const struct route *gone);

/* Lower case, one trailing dot removed; checks RFC 1123 labels: A-labels ("xn--...") pass, bytes
 * above ASCII do not.  `allow_wildcard`: a leading "*." may stand.  0, -ERR_SYNTAX. */
MUST_USE int route_normalise_host(const char *in, size_t n, bool allow_wildcard,
                                  char out[ROUTE_HOST_MAX + 1]);
/* The host name of a route as it is kept, in `host`; NULL, or what is wrong with it: "is no ...".
 */
const char *route_host_fault(const char *text, char host[ROUTE_HOST_MAX + 1]);

#endif
