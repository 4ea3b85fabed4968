/* route_cert - see route_cert.h.  The id is a hash of the texts already, so its first bytes are the
 * place in the table. */
#include "traffic/route_cert.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "traffic/route.h"

struct route_cert *route_cert_ref(struct route_cert *cert)
{
    unsigned before = atomic_fetch_add_explicit(&cert->refs, 1, memory_order_relaxed);

    must(before > 0);
    return cert;
}

void route_cert_unref(struct route_cert *cert)
{
    if (!cert || atomic_fetch_sub_explicit(&cert->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned i = 0; i < cert->count; i++) {
        free(cert->texts[i].chain_pem);
        tls_wipe(cert->texts[i].key_pem, strlen(cert->texts[i].key_pem));
        free(cert->texts[i].key_pem);
    }
    tls_cert_unref(cert->cert);
    free(cert);
}

static struct route_cert **find_slot(const struct route_certs *certs, const uint8_t *id)
{
    uint64_t at;

    memcpy(&at, id, sizeof(at));
    for (;; at++) {
        struct route_cert **slot = &certs->slots[at & (certs->size - 1)];

        if (!*slot || memcmp((*slot)->id, id, ROUTE_CERT_ID_BYTES) == 0)
            return slot;
    }
}

static void remember(struct route_certs *certs, struct route_cert *cert)
{
    struct route_cert **slot = find_slot(certs, cert->id);

    if (!*slot)
        *slot = route_cert_ref(cert);
}

void route_certs_init(struct route_certs *certs, const struct route_set *base, size_t more)
{
    size_t known = base ? base->count : 0;

    *certs = (struct route_certs){.size = 2};
    while (certs->size < 2 * (known + more))
        certs->size *= 2;
    certs->slots = must_alloc(certs->size * sizeof(struct route_cert *));
    for (size_t i = 0; i < known; i++)
        remember(certs, base->routes[i].cert);
}

void route_certs_fini(struct route_certs *certs)
{
    for (size_t i = 0; i < certs->size; i++)
        route_cert_unref(certs->slots[i]);
    free(certs->slots);
    memset(certs, 0, sizeof(*certs));
}

/* Hashed one by one, so that no further copy of a key comes to be. */
static void content_id(const struct route_pair *pairs, unsigned count,
                       uint8_t id[ROUTE_CERT_ID_BYTES])
{
    uint8_t all[2 * TLS_CERT_PAIRS_MAX][ROUTE_CERT_ID_BYTES];

    for (unsigned i = 0; i < count; i++) {
        tls_sha256(pairs[i].chain_pem, strlen(pairs[i].chain_pem), all[2 * i]);
        tls_sha256(pairs[i].key_pem, strlen(pairs[i].key_pem), all[2 * i + 1]);
    }
    tls_sha256(all, 2u * count * ROUTE_CERT_ID_BYTES, id);
    tls_wipe(all, sizeof(all));
}

/* Both faults at once, where both are plain. */
static bool looks_right(struct json_check *faults, const char *base, const struct route_pair *pair)
{
    bool has_chain = strstr(pair->chain_pem, "CERTIFICATE-----") != NULL;
    bool has_key = strstr(pair->key_pem, "PRIVATE KEY-----") != NULL;

    if (!has_chain)
        json_fault_at(faults, base, "publicKey", "invalid", "holds no PEM certificate");
    if (!has_key)
        json_fault_at(faults, base, "privateKey", "invalid", "holds no PEM private key");
    return has_chain && has_key;
}

static bool parse_pair(struct tls_cert **cert, struct json_check *faults, const char *base,
                       const struct route_pair *pair)
{
    char why[256] = "";
    int rc = *cert ? tls_cert_add(*cert, pair->chain_pem, pair->key_pem, why, sizeof(why))
                   : tls_cert_parse(cert, pair->chain_pem, pair->key_pem, why, sizeof(why));

    if (rc == -ERR_CERT)
        json_fault_at(faults, base, "privateKey", "mismatch", "%s", why);
    else if (rc != 0) /* tls begins with the part that it could not read */
        json_fault_at(faults, base, strncmp(why, "the key", 7) == 0 ? "privateKey" : "publicKey",
                      "invalid", "%s", why);
    return rc == 0;
}

static struct route_cert *cert_new(struct tls_cert *cert, const struct route_pair *pairs,
                                   unsigned count, const uint8_t id[ROUTE_CERT_ID_BYTES])
{
    struct route_cert *made = must_alloc(sizeof(*made));

    atomic_init(&made->refs, 1);
    memcpy(made->id, id, sizeof(made->id));
    made->cert = cert;
    made->count = count;
    for (unsigned i = 0; i < count; i++) {
        made->texts[i].chain_pem = must_strdup(pairs[i].chain_pem);
        made->texts[i].key_pem = must_strdup(pairs[i].key_pem);
    }
    return made;
}

struct route_cert *route_certs_get(struct route_certs *certs, struct json_check *faults,
                                   const char *const *bases, const struct route_pair *pairs,
                                   unsigned count)
{
    uint8_t id[ROUTE_CERT_ID_BYTES];
    struct tls_cert *cert = NULL;
    struct route_cert **slot;
    bool is_right = true;

    must(count > 0 && count <= TLS_CERT_PAIRS_MAX);
    for (unsigned i = 0; i < count; i++)
        is_right &= looks_right(faults, bases[i], &pairs[i]);
    if (!is_right)
        return NULL;
    content_id(pairs, count, id);
    slot = find_slot(certs, id);
    if (*slot) {
        certs->reused++;
        return route_cert_ref(*slot);
    }
    for (unsigned i = 0; i < count && is_right; i++)
        is_right = parse_pair(&cert, faults, bases[i], &pairs[i]);
    if (!is_right) {
        tls_cert_unref(cert);
        return NULL;
    }
    certs->parsed++;
    *slot = cert_new(cert, pairs, count, id);
    return route_cert_ref(*slot);
}
