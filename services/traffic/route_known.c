/* route_known - see route_known.h.  The id is a MAC already, so its first bytes are the place in
 * the table. */
#include "traffic/route_known.h"

#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

static const struct route **find_slot(const struct route_known *known, const uint8_t *id)
{
    uint64_t at;

    memcpy(&at, id, sizeof(at));
    for (;; at++) {
        const struct route **slot = &known->slots[at & (known->size - 1)];

        if (!*slot || memcmp((*slot)->text_id, id, ROUTE_TEXT_ID_BYTES) == 0)
            return slot;
    }
}

void route_known_init(struct route_known *known, const struct auth_key *key,
                      size_t destinations_max, const struct route_set *base, int64_t now)
{
    static const char word[] = "text of a route";
    uint64_t max = destinations_max;
    uint8_t all[sizeof(word) + sizeof(max)];
    size_t count = base ? base->count : 0;

    *known = (struct route_known){.now = now, .size = 2};
    memcpy(all, word, sizeof(word));
    memcpy(all + sizeof(word), &max, sizeof(max));
    tls_hmac_sha256(key->bytes, sizeof(key->bytes), all, sizeof(all), known->key);
    while (known->size < 2 * count)
        known->size *= 2;
    known->slots = must_alloc(known->size * sizeof(struct route *));
    for (size_t i = 0; i < count; i++)
        if (base->routes[i].has_text_id)
            *find_slot(known, base->routes[i].text_id) = &base->routes[i];
}

void route_known_fini(struct route_known *known)
{
    tls_wipe(known->key, sizeof(known->key));
    free(known->slots);
    known->slots = NULL;
}

void route_known_id(const struct route_known *known, const char *text, size_t n,
                    uint8_t id[ROUTE_TEXT_ID_BYTES])
{
    uint8_t mac[32];

    tls_hmac_sha256(known->key, sizeof(known->key), text, n, mac);
    memcpy(id, mac, ROUTE_TEXT_ID_BYTES);
}

/* No certificate of it is worth a warning by now. */
static bool is_valid(const struct route *route, int64_t now)
{
    const struct tls_cert *cert = route->cert->cert;

    for (unsigned i = 0; i < route->cert->count; i++)
        if (tls_cert_not_after(cert, i) < now || tls_cert_not_before(cert, i) > now)
            return false;
    return true;
}

const struct route *route_known_find(const struct route_known *known,
                                     const uint8_t id[ROUTE_TEXT_ID_BYTES])
{
    const struct route *route = *find_slot(known, id);

    return route && is_valid(route, known->now) ? route : NULL;
}

void route_known_keep(struct route *route, const uint8_t id[ROUTE_TEXT_ID_BYTES])
{
    if (route->options->tls)
        return;
    route->has_text_id = true;
    memcpy(route->text_id, id, ROUTE_TEXT_ID_BYTES);
}
