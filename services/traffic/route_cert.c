/* route_cert - see route_cert.h.  The id is a hash of chain and key already, so its first bytes are
 * the place in the table. */
#include "traffic/route_cert.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"

static struct route_cert_slot *find_slot(const struct route_certs *certs, const uint8_t *id)
{
    uint64_t at;

    memcpy(&at, id, sizeof(at));
    for (;; at++) {
        struct route_cert_slot *slot = &certs->slots[at & (certs->size - 1)];

        if (!slot->cert || memcmp(slot->id, id, ROUTE_DIGEST_BYTES) == 0)
            return slot;
    }
}

static void remember(struct route_certs *certs, const uint8_t *id, struct tls_cert *cert)
{
    struct route_cert_slot *slot = find_slot(certs, id);

    if (slot->cert)
        return;
    memcpy(slot->id, id, sizeof(slot->id));
    slot->cert = tls_cert_ref(cert);
}

void route_certs_init(struct route_certs *certs, const struct route_set *base, size_t more)
{
    size_t known = base ? base->count : 0;

    *certs = (struct route_certs){.size = 2};
    while (certs->size < 2 * (known + more))
        certs->size *= 2;
    certs->slots = must_alloc(certs->size * sizeof(*certs->slots));
    for (size_t i = 0; i < known; i++)
        remember(certs, base->routes[i].cert_id, base->routes[i].cert);
}

void route_certs_fini(struct route_certs *certs)
{
    for (size_t i = 0; i < certs->size; i++)
        if (certs->slots[i].cert)
            tls_cert_unref(certs->slots[i].cert);
    free(certs->slots);
    memset(certs, 0, sizeof(*certs));
}

/* Hashed one by one, so that no third copy of the key comes to be. */
static void content_id(const char *chain_pem, const char *key_pem, uint8_t id[ROUTE_DIGEST_BYTES])
{
    uint8_t both[2 * ROUTE_DIGEST_BYTES];

    tls_sha256(chain_pem, strlen(chain_pem), both);
    tls_sha256(key_pem, strlen(key_pem), both + ROUTE_DIGEST_BYTES);
    tls_sha256(both, sizeof(both), id);
    tls_wipe(both, sizeof(both));
}

struct tls_cert *route_certs_get(struct route_certs *certs, struct json_check *faults,
                                 const char *base, const char *chain_pem, const char *key_pem,
                                 uint8_t id[ROUTE_DIGEST_BYTES])
{
    struct tls_cert *cert = NULL;
    char why[256] = "";
    bool has_chain = strstr(chain_pem, "CERTIFICATE-----") != NULL;
    bool has_key = strstr(key_pem, "PRIVATE KEY-----") != NULL;

    /* Both faults at once, where both are plain. */
    if (!has_chain)
        json_fault_at(faults, base, "publicKey", "invalid", "holds no PEM certificate");
    if (!has_key)
        json_fault_at(faults, base, "privateKey", "invalid", "holds no PEM private key");
    if (!has_chain || !has_key)
        return NULL;
    content_id(chain_pem, key_pem, id);
    struct route_cert_slot *slot = find_slot(certs, id);
    if (slot->cert) {
        certs->reused++;
        return tls_cert_ref(slot->cert);
    }
    int rc = tls_cert_parse(&cert, chain_pem, key_pem, why, sizeof(why));
    if (rc == 0) {
        certs->parsed++;
        remember(certs, id, cert);
        return cert;
    }
    if (rc == -ERR_CERT)
        json_fault_at(faults, base, "privateKey", "mismatch", "%s", why);
    else /* tls begins with the part that it could not read */
        json_fault_at(faults, base, strncmp(why, "the key", 7) == 0 ? "privateKey" : "publicKey",
                      "invalid", "%s", why);
    return NULL;
}
