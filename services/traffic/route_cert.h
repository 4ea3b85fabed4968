/* route_cert - certificates by content: the same chains and keys are parsed once, kept once, and
 * shared by routes and by one set with the next.
 *
 * The texts are kept beside what was parsed from them: the chain for GET /v1/routes, both for the
 * state file.
 */
#ifndef TRAFFIC_ROUTE_CERT_H
#define TRAFFIC_ROUTE_CERT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "tls/tls.h"
#include "json/json.h"

#define ROUTE_CERT_ID_BYTES 32

struct route_set;

/* One chain and its key as they came.  Borrowed. */
struct route_pair {
    const char *chain_pem, *key_pem;
};

struct route_cert {
    _Atomic unsigned refs;
    uint8_t id[ROUTE_CERT_ID_BYTES]; /* of all the texts */
    struct tls_cert *cert;           /* counted */
    struct route_cert_text {
        char *chain_pem, *key_pem; /* owned; the key is wiped */
    } texts[TLS_CERT_PAIRS_MAX];
    unsigned count;
};

struct route_cert *route_cert_ref(struct route_cert *cert);
void route_cert_unref(struct route_cert *cert); /* any thread; fine with NULL */

/* What is known while one set is built. */
struct route_certs {
    struct route_cert **slots; /* owned: open addressing by id; counted, NULL: empty */
    size_t size;               /* a power of two, at least twice what can come in */
    size_t parsed, reused;
};

/* Knows the certificates of `base` (may be NULL) and has room for `more`. */
void route_certs_init(struct route_certs *certs, const struct route_set *base, size_t more);
void route_certs_fini(struct route_certs *certs);
/* The certificate of these pairs (1 to TLS_CERT_PAIRS_MAX), counted for the caller.  NULL: a fault
 * was added at publicKey or privateKey of bases[i], the JSON pointer of the i-th pair. */
struct route_cert *route_certs_get(struct route_certs *certs, struct json_check *faults,
                                   const char *const *bases, const struct route_pair *pairs,
                                   unsigned count);

#endif
