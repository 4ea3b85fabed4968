/* origin_tls - how destinations are spoken to over TLS: whom to expect there, and by whose word.
 *
 * Counted, immutable, and shared by all routes that say the same: what trusts a set of CAs is
 * large.
 */
#ifndef TRAFFIC_ORIGIN_TLS_H
#define TRAFFIC_ORIGIN_TLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define ORIGIN_TLS_ID_BYTES 32

struct tls_ctx;

struct origin_tls {
    _Atomic unsigned refs;
    uint8_t id[ORIGIN_TLS_ID_BYTES]; /* of all of it: connections with the same id are alike */
    uint8_t trust_id[ORIGIN_TLS_ID_BYTES]; /* of `verifies` and the CAs */
    struct tls_ctx *ctx;                   /* counted: shared by all of the same trust */
    char *name;                            /* owned: SNI, and what the certificate must be for */
};

struct origin_tls *origin_tls_ref(struct origin_tls *tls);
void origin_tls_unref(struct origin_tls *tls); /* any thread; fine with NULL */

/* What is known while one set is built: begins with those of the set before. */
struct origin_tls_cache {
    struct origin_tls **list; /* owned; counted */
    size_t count, room;
    size_t failures; /* of origin_tls_cache_get(): the cause is on this machine, not in the set */
};

void origin_tls_cache_fini(struct origin_tls_cache *cache); /* fine with a zeroed one */
void origin_tls_cache_add(struct origin_tls_cache *cache, struct origin_tls *tls);
/* `verifies` false: the certificate is not looked at.  `ca_file` NULL: the system's CAs.  0 with
 * one reference; -ERR_IO, -ERR_SYNTAX: the CA file, -ERR_TLS; `why` gets a sentence. */
MUST_USE int origin_tls_cache_get(struct origin_tls_cache *cache, bool verifies,
                                  const char *ca_file, const char *name, struct origin_tls **out,
                                  char *why, size_t why_size);

#endif
