/* route_cert - certificates by content, while one set of routes is built: what the set before has,
 * or another route of this set, is not parsed again. */
#ifndef TRAFFIC_ROUTE_CERT_H
#define TRAFFIC_ROUTE_CERT_H

#include "traffic/route.h"
#include "json/json.h"

struct route_cert_slot {
    uint8_t id[ROUTE_DIGEST_BYTES];
    struct tls_cert *cert; /* counted; NULL: the slot is empty */
};

struct route_certs {
    struct route_cert_slot *slots; /* owned: open addressing by id */
    size_t size;                   /* a power of two, at least twice what can come in */
    size_t parsed, reused;
};

/* Knows the certificates of `base` (may be NULL) and has room for `more`. */
void route_certs_init(struct route_certs *certs, const struct route_set *base, size_t more);
void route_certs_fini(struct route_certs *certs);
/* The certificate of this chain and key, counted for the caller, and its id (of the content). NULL:
 * a fault was added at <base>/publicKey or <base>/privateKey. */
struct tls_cert *route_certs_get(struct route_certs *certs, struct json_check *faults,
                                 const char *base, const char *chain_pem, const char *key_pem,
                                 uint8_t id[ROUTE_DIGEST_BYTES]);

#endif
