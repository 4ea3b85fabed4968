/* route - see route.h.  The look-up table is open addressing with linear probing over FNV-1a: the
 * names in it come from the control plane, not from clients, so no one can aim at its collisions.
 */
#include "traffic/route.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"
#include "traffic/health.h"

/* What a route is made of, for all its copies. */
struct route_body {
    _Atomic unsigned refs;
    char *host;
    struct route_cert *cert;
    struct route_options *options;
    struct destination *destinations;
    struct route_auth *auth;
};

static uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

struct route_set *route_set_new(size_t count)
{
    struct route_set *set = must_alloc(sizeof(*set));

    atomic_init(&set->refs, 1);
    set->count = count;
    set->routes = count > 0 ? must_alloc(count * sizeof(*set->routes)) : NULL;
    return set;
}

struct route_set *route_set_ref(struct route_set *set)
{
    unsigned before = atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);

    must(before > 0);
    return set;
}

/* --- the end of a set --------------------------------------------------------------------------
 */

struct route_bin {
    _Atomic unsigned refs;
    pthread_mutex_t lock;
    struct route_set *sets; /* owned: linked by `next` */
    bool is_open;
    void (*wake)(void *arg);
    void *arg;
};

struct route_bin *route_bin_new(void (*wake)(void *arg), void *arg)
{
    struct route_bin *bin = must_alloc(sizeof(*bin));
    int rc = pthread_mutex_init(&bin->lock, NULL);

    must(rc == 0);
    atomic_init(&bin->refs, 1);
    bin->is_open = true;
    bin->wake = wake;
    bin->arg = arg;
    return bin;
}

void route_bin_unref(struct route_bin *bin)
{
    if (!bin || atomic_fetch_sub_explicit(&bin->refs, 1, memory_order_acq_rel) > 1)
        return;
    must(!bin->sets);
    pthread_mutex_destroy(&bin->lock);
    free(bin);
}

static void destroy(struct route_set *set)
{
    route_bin_unref(set->bin);
    for (size_t i = 0; i < set->count; i++)
        route_fini(&set->routes[i]);
    free(set->routes);
    free(set->table);
    free(set);
}

void route_bin_empty(struct route_bin *bin)
{
    struct route_set *set, *next;

    pthread_mutex_lock(&bin->lock);
    set = bin->sets;
    bin->sets = NULL;
    pthread_mutex_unlock(&bin->lock);
    for (; set; set = next) {
        next = set->next;
        destroy(set);
    }
}

void route_bin_close(struct route_bin *bin)
{
    pthread_mutex_lock(&bin->lock);
    bin->is_open = false;
    pthread_mutex_unlock(&bin->lock);
    route_bin_empty(bin);
}

/* False: it is closed. */
static bool throw_in(struct route_bin *bin, struct route_set *set)
{
    bool is_open;

    pthread_mutex_lock(&bin->lock);
    is_open = bin->is_open;
    if (is_open) {
        set->next = bin->sets;
        bin->sets = set;
        bin->wake(bin->arg);
    }
    pthread_mutex_unlock(&bin->lock);
    return is_open;
}

void route_set_end_in(struct route_set *set, struct route_bin *bin)
{
    must(!set->bin);
    atomic_fetch_add_explicit(&bin->refs, 1, memory_order_relaxed);
    set->bin = bin;
}

void route_set_unref(struct route_set *set)
{
    if (!set)
        return;
    /* Release, so that what this thread read is read before another one frees it. */
    unsigned before = atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel);

    must(before > 0);
    if (before == 1 && !(set->bin && throw_in(set->bin, set)))
        destroy(set);
}

static const struct route *probe(const struct route_set *set, const char *host)
{
    size_t mask = set->table_size - 1;

    if (set->table_size == 0)
        return NULL;
    for (size_t at = name_hash(host) & mask; set->table[at] != 0; at = (at + 1) & mask) {
        const struct route *route = &set->routes[set->table[at] - 1];

        if (strcmp(route->host, host) == 0)
            return route;
    }
    return NULL;
}

bool route_set_index(struct route_set *set)
{
    size_t size = 2;

    while (size < 2 * set->count)
        size *= 2;
    must(set->count < UINT32_MAX && !set->table);
    set->table = must_alloc(size * sizeof(*set->table));
    set->table_size = size;
    for (size_t i = 0; i < set->count; i++) {
        const char *host = set->routes[i].host;
        size_t at = name_hash(host) & (size - 1);

        while (set->table[at] != 0 && strcmp(set->routes[set->table[at] - 1].host, host) != 0)
            at = (at + 1) & (size - 1);
        if (set->table[at] != 0) {
            free(set->table);
            set->table = NULL;
            set->table_size = 0;
            return false;
        }
        set->table[at] = (uint32_t)i + 1;
    }
    return true;
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, ROUTE_DIGEST_BYTES);
}

/* The order of the routes changes nothing in what is served, so it does not count. */
static void digest_set(struct route_set *set)
{
    uint8_t *all = must_alloc(set->count * ROUTE_DIGEST_BYTES + 1);

    for (size_t i = 0; i < set->count; i++)
        memcpy(all + i * ROUTE_DIGEST_BYTES, set->routes[i].digest, ROUTE_DIGEST_BYTES);
    qsort(all, set->count, ROUTE_DIGEST_BYTES, compare_digests);
    tls_sha256(all, set->count * ROUTE_DIGEST_BYTES, set->digest);
    free(all);
}

/* Puts n bytes and a zero, so that no two different routes give the same text. */
static char *put(char *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    at[n] = '\0';
    return at + n + 1;
}

/* Everything a client or the origin could notice goes in. */
static void digest_route(struct route *route)
{
    const struct route_options *options = route->options;
    size_t host = strlen(route->host), text = strlen(options->text);
    size_t room = host + text + 2 + 3 * (ROUTE_DIGEST_BYTES + 1) + 2 * (AUTH_MAC_BYTES + 1) +
                  (route->destination_count + 1) * (ADDR_TEXT_MAX + 1);
    char *all = must_alloc(room), *at = all;

    at = put(at, route->host, host);
    at = put(at, options->text, text);
    at = put(at, &route->port_count, sizeof(route->port_count));
    for (size_t i = 0; i < route->destination_count; i++)
        at = put(at, route->destinations[i].key, strlen(route->destinations[i].key));
    if (route->cert)
        at = put(at, route->cert->id, sizeof(route->cert->id));
    if (options->tls) /* a CA file may say something else behind the same name */
        at = put(at, options->tls->id, sizeof(options->tls->id));
    if (route->auth) {
        at = put(at, route->auth->user_mac, AUTH_MAC_BYTES);
        at = put(at, route->auth->pass_mac, AUTH_MAC_BYTES);
    }
    must((size_t)(at - all) <= room);
    tls_sha256(all, (size_t)(at - all), route->digest);
    tls_wipe(all, room);
    free(all);
}

/* From now on the route's parts are its body's. */
static void make_body(struct route *route)
{
    route->body = must_alloc(sizeof(*route->body));
    atomic_init(&route->body->refs, 1);
    route->body->host = route->host;
    route->body->cert = route->cert;
    route->body->options = route->options;
    route->body->destinations = route->destinations;
    route->body->auth = route->auth;
}

static void seal_route(struct route *route)
{
    route->is_wildcard = route->host[0] == '*';
    if (!route->options)
        route->options = route_options_new();
    digest_route(route);
    make_body(route);
}

void route_set_seal(struct route_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (!set->routes[i].body)
            seal_route(&set->routes[i]);
    if (!set->table)
        must(route_set_index(set));
    digest_set(set);
}

void route_set_number(struct route_set *set, uint64_t revision)
{
    must(set->table != NULL);
    set->revision = revision;
    snprintf(set->etag, sizeof(set->etag), "%" PRIu64 "-%02x%02x%02x%02x", revision, set->digest[0],
             set->digest[1], set->digest[2], set->digest[3]);
}

const struct route *route_set_find(const struct route_set *set, const char *host)
{
    char wildcard[ROUTE_HOST_MAX + 2];
    const struct route *route;
    const char *dot;
    size_t n;

    if (host[0] == '*' || host[0] == '.')
        return NULL; /* "*.example.com" is an entry, never the name of a client's request */
    route = probe(set, host);
    if (route)
        return route;
    dot = strchr(host, '.');
    if (!dot || (n = strlen(dot)) > ROUTE_HOST_MAX)
        return NULL;
    wildcard[0] = '*';
    memcpy(wildcard + 1, dot, n + 1);
    return probe(set, wildcard);
}

const struct route *route_set_entry(const struct route_set *set, const char *host)
{
    return probe(set, host);
}

void route_copy(struct route *to, const struct route *from)
{
    unsigned before = atomic_fetch_add_explicit(&from->body->refs, 1, memory_order_relaxed);

    must(before > 0);
    *to = *from;
    to->marks = NULL; /* a set gets them when it is published */
}

static void body_unref(struct route_body *body)
{
    if (atomic_fetch_sub_explicit(&body->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(body->host);
    free(body->destinations);
    route_cert_unref(body->cert);
    route_options_unref(body->options);
    route_auth_free(body->auth);
    free(body);
}

void route_fini(struct route *route)
{
    health_marks_free(route->marks, route->destination_count);
    if (!route->body) /* never sealed: the parts end in the same way */
        make_body(route);
    body_unref(route->body);
    memset(route, 0, sizeof(*route));
}

struct route_set *route_set_with(const struct route_set *base, struct route *route)
{
    const struct route *present = route_set_entry(base, route->host);
    struct route_set *set = route_set_new(base->count + (present ? 0 : 1));
    struct route *slot = present ? &set->routes[present - base->routes] : &set->routes[base->count];

    for (size_t i = 0; i < base->count; i++)
        if (&set->routes[i] != slot)
            route_copy(&set->routes[i], &base->routes[i]);
    *slot = *route;
    memset(route, 0, sizeof(*route));
    route_set_seal(set);
    return set;
}

struct route_set *route_set_without(const struct route_set *base, const struct route *gone)
{
    struct route_set *set;
    size_t at = 0;

    must(gone >= base->routes && gone < base->routes + base->count);
    set = route_set_new(base->count - 1);
    for (size_t i = 0; i < base->count; i++)
        if (&base->routes[i] != gone)
            route_copy(&set->routes[at++], &base->routes[i]);
    route_set_seal(set);
    return set;
}

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

int route_normalise_host(const char *in, size_t n, bool allow_wildcard,
                         char out[ROUTE_HOST_MAX + 1])
{
    size_t label = 0; /* where the present label begins */
    size_t at = 0;

    out[0] = '\0';
    if (n > 0 && in[n - 1] == '.')
        n--;
    if (n == 0 || n > ROUTE_HOST_MAX)
        return -ERR_SYNTAX;
    if (allow_wildcard && n > 2 && in[0] == '*' && in[1] == '.') {
        memcpy(out, "*.", 2);
        at = label = 2;
    }
    for (; at <= n; at++) {
        char c = '.';

        if (at < n)
            c = in[at] >= 'A' && in[at] <= 'Z' ? (char)(in[at] - 'A' + 'a') : in[at];
        if (c == '.') {
            if (at == label || at - label > 63 || out[label] == '-' || out[at - 1] == '-')
                break;
            label = at + 1;
        } else if (!is_label_char(c)) {
            break;
        }
        out[at] = at < n ? c : '\0';
    }
    if (at <= n) {
        out[0] = '\0';
        return -ERR_SYNTAX;
    }
    return 0;
}

static bool is_ip_literal(const char *text)
{
    struct in6_addr any;

    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80)
        text++;
    return *text == '\0';
}

const char *route_host_fault(const char *text, char host[ROUTE_HOST_MAX + 1])
{
    if (!is_ascii(text))
        return "is no host name: letters beyond ASCII are written as an A-label, xn--...";
    if (route_normalise_host(text, strlen(text), true, host) != 0)
        return "is no host name (labels of letters, digits and hyphens; \"*.\" may lead; names "
               "beyond ASCII as A-labels, xn--...)";
    return is_ip_literal(host) ? "is an address, and no host name" : NULL;
}
