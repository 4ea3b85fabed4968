/* route_cert_json - see route_cert_json.h.
 *
 * Certificates are looked up by content in the base set and in this one before they are parsed: an
 * update that changes one route of thousands parses one certificate. */
#include "traffic/route_cert_json.h"

#include <stdio.h>
#include <string.h>

#define PEM_MAX (256 * 1024)

/* A wildcard is covered by what covers any one name below it. */
static bool covers(const struct tls_cert *cert, unsigned i, const char *host)
{
    char probe[ROUTE_HOST_MAX + 32];

    if (host[0] != '*')
        return tls_cert_covers(cert, i, host);
    snprintf(probe, sizeof(probe), "penstock-probe%s", host + 1);
    return tls_cert_covers(cert, i, probe);
}

/* The i-th pair of the route's certificate: what is no fault, but hardly meant. */
static void warn_pair(struct route_build *b, const char *base, const struct route *route,
                      unsigned i)
{
    const struct tls_cert *cert = route->cert->cert;

    if (tls_cert_not_after(cert, i) < b->now)
        json_fault_at(&b->warnings, base, "publicKey", "certificateExpired",
                      "the certificate has expired");
    if (tls_cert_not_before(cert, i) > b->now)
        json_fault_at(&b->warnings, base, "publicKey", "certificateNotYetValid",
                      "the certificate is not valid yet");
    if (!route->is_covered && route->host && !covers(cert, i, route->host))
        json_fault_at(&b->warnings, base, "publicKey", "certificateNameMismatch",
                      "no name in the certificate covers \"%s\"", route->host);
}

/* Whether every pair is for the host.  What the set before knows is not looked up again. */
static bool is_covered(const struct route *before, const struct route *route)
{
    bool all = route->host != NULL;

    if (before && before->cert == route->cert)
        return before->is_covered;
    for (unsigned i = 0; all && i < route->cert->count; i++)
        all = covers(route->cert->cert, i, route->host);
    return all;
}

/* The pairs of a route's object: the first of the route itself, then those of moreKeys. */
struct pairs {
    struct route_pair list[TLS_CERT_PAIRS_MAX]; /* NULL where a text is absent or at fault */
    const char *bases[TLS_CERT_PAIRS_MAX];      /* the route's own, then of `more` */
    char more[TLS_CERT_PAIRS_MAX][ROUTE_POINTER_MAX + 32];
    unsigned count;
};

static void add_pair(struct route_build *b, struct pairs *pairs, const char *base,
                     struct json_object *obj, enum json_need chain, enum json_need key)
{
    unsigned i = pairs->count++;

    pairs->bases[i] = base;
    pairs->list[i].chain_pem = json_text(&b->faults, base, obj, "publicKey", chain, 1, PEM_MAX);
    pairs->list[i].key_pem = json_text(&b->faults, base, obj, "privateKey", key, 1, PEM_MAX);
}

static void find_pairs(struct route_build *b, const char *base, struct json_object *obj,
                       const struct route *present, struct pairs *pairs)
{
    static const char *const keys[] = {"publicKey", "privateKey", NULL};
    struct json_object *more =
        json_array(&b->faults, base, obj, "moreKeys", JSON_OPTIONAL, 0, TLS_CERT_PAIRS_MAX - 1);
    enum json_need key = present ? JSON_OPTIONAL : JSON_REQUIRED;
    size_t count = more ? json_object_array_length(more) : 0;

    pairs->count = 0;
    add_pair(b, pairs, base, obj, key, key);
    for (size_t i = 0; i < count; i++) {
        struct json_object *pair = json_object_array_get_idx(more, i);
        char *at = pairs->more[i];

        snprintf(at, sizeof(pairs->more[i]), "%s/moreKeys/%zu", base, i);
        json_only(&b->faults, at, pair, keys);
        add_pair(b, pairs, at, pair, JSON_REQUIRED, key);
    }
}

/* Nothing but what is there already: no key, and no chain but the present ones. */
static bool is_as_before(const struct pairs *pairs, const struct route_cert *present, bool has_more)
{
    bool says_nothing = !pairs->list[0].chain_pem && !has_more;

    if (!says_nothing && pairs->count != present->count)
        return false;
    for (unsigned i = 0; i < pairs->count; i++)
        if (pairs->list[i].key_pem ||
            (pairs->list[i].chain_pem &&
             strcmp(pairs->list[i].chain_pem, present->texts[i].chain_pem) != 0))
            return false;
    return true;
}

static bool require_pairs(struct route_build *b, const struct pairs *pairs)
{
    bool is_whole = true;

    for (unsigned i = 0; i < pairs->count; i++) {
        if (!pairs->list[i].chain_pem)
            json_fault_at(&b->faults, pairs->bases[i], "publicKey", "required", "is missing");
        if (!pairs->list[i].key_pem)
            json_fault_at(&b->faults, pairs->bases[i], "privateKey", "required", "is missing");
        is_whole &= pairs->list[i].chain_pem && pairs->list[i].key_pem;
    }
    return is_whole;
}

/* What the host had before, byte for byte: so much as to look at what it is made of is too much. */
static bool has_same_texts(const struct pairs *pairs, const struct route_cert *cert)
{
    bool all = pairs->count == cert->count;

    for (unsigned i = 0; all && i < pairs->count; i++)
        all = strcmp(pairs->list[i].chain_pem, cert->texts[i].chain_pem) == 0 &&
              strcmp(pairs->list[i].key_pem, cert->texts[i].key_pem) == 0;
    return all;
}

static struct route_cert *get_cert(struct route_build *b, struct route_certs *certs,
                                   const struct route *before, const struct pairs *pairs)
{
    if (!before || !has_same_texts(pairs, before->cert))
        return route_certs_get(certs, &b->faults, pairs->bases, pairs->list, pairs->count);
    certs->reused++;
    return route_cert_ref(before->cert);
}

void route_cert_json_parse(struct route_build *b, struct route_certs *certs, const char *base,
                           struct json_object *obj, const struct route *present,
                           struct route *route)
{
    const struct route *before =
        route->host && b->base ? route_set_entry(b->base, route->host) : NULL;
    size_t faults = b->faults.total;
    struct pairs pairs;

    find_pairs(b, base, obj, present, &pairs);
    if (b->faults.total != faults)
        return;
    if (present && is_as_before(&pairs, present->cert, json_has(obj, "moreKeys")))
        route->cert = route_cert_ref(present->cert);
    else if (require_pairs(b, &pairs))
        route->cert = get_cert(b, certs, before, &pairs);
    if (route->cert)
        route->is_covered = is_covered(before, route);
    for (unsigned i = 0; route->cert && i < route->cert->count; i++)
        warn_pair(b, i < pairs.count ? pairs.bases[i] : base, route, i);
}
