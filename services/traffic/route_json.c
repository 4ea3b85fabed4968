/* route_json - see route_json.h.
 *
 * A whole set is read in three passes: each route by itself, then the names against each other,
 * then it is sealed.  Faults are collected throughout, so that one answer names them all. */
#include "traffic/route_json.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "tls/tls.h"
#include "traffic/route_auth_json.h"
#include "traffic/route_cert_json.h"
#include "traffic/route_known.h"

static const char *const route_keys[] = {
    "hostName",
    "destinationIps",
    "destinationPorts",
    "destinationIp",
    "destinationPort",
    "privateKey",
    "publicKey",
    "authentication",
    "moreKeys",
    "balance",
    "explain",
    "headers",
    "forwardAuthorization",
    "healthCheck",
    "hsts",
    "maxBodyBytes",
    "timeouts",
    "upstreamTls",
    NULL,
};

const struct route_shape route_shape_rest = {
    .key = "routes",
    .path = (const char *const[]){"routes", NULL},
};

void route_build_init(struct route_build *b, const struct auth_key *key,
                      const struct route_set *base)
{
    *b = (struct route_build){
        .shape = &route_shape_rest,
        .auth_key = key,
        .base = base,
        .routes_max = SIZE_MAX,
        .destinations_max = SIZE_MAX,
        .now = (int64_t)time(NULL),
    };
    json_check_init(&b->faults);
    json_check_init(&b->warnings);
    json_check_init(&b->left_out);
    for (size_t i = 0; base && i < base->count; i++)
        if (base->routes[i].options->tls)
            origin_tls_cache_add(&b->origin_tls, base->routes[i].options->tls);
}

void route_build_fini(struct route_build *b)
{
    json_check_fini(&b->faults);
    json_check_fini(&b->warnings);
    json_check_fini(&b->left_out);
    origin_tls_cache_fini(&b->origin_tls);
}

/* --- the parts of one route ------------------------------------------------------------------ */

static void parse_host(struct route_build *b, const char *base, struct json_object *obj,
                       const char *expected, struct route *route)
{
    char host[ROUTE_HOST_MAX + 1];
    const char *text = json_str(&b->faults, base, obj, "hostName",
                                expected ? JSON_OPTIONAL : JSON_REQUIRED, 1, ROUTE_HOST_MAX + 1);
    const char *fault;

    if (!text) {
        if (expected)
            route->host = must_strdup(expected);
        return;
    }
    fault = route_host_fault(text, host);
    if (fault) {
        json_fault_at(&b->faults, base, "hostName", "invalid", "%s", fault);
        return;
    }
    if (expected && strcmp(host, expected) != 0)
        json_fault_at(&b->faults, base, "hostName", "conflict", "differs from the path's, \"%s\"",
                      expected);
    route->host = must_strdup(host);
}

/* An address that a connection can go to; port 0 for now.  NULL, or what is wrong with it. */
static const char *parse_ip(const char *text, union addr *out)
{
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &out->in.sin_addr) == 1) {
        out->in.sin_family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &out->in6.sin6_addr) == 1) {
        out->in6.sin6_family = AF_INET6;
        addr_unmap(out);
    } else {
        return "is no IPv4 or IPv6 address";
    }
    bool is_v4 = out->sa.sa_family == AF_INET;
    uint32_t v4 = is_v4 ? ntohl(out->in.sin_addr.s_addr) : 0;
    if (is_v4 ? v4 == 0 || v4 >= 0xe0000000u
              : IN6_IS_ADDR_UNSPECIFIED(&out->in6.sin6_addr) ||
                    IN6_IS_ADDR_MULTICAST(&out->in6.sin6_addr))
        return "is no address of one machine";
    return NULL;
}

/* The values of a list, or of its older single form. */
struct values {
    struct json_object *list;   /* borrowed: an array, or NULL */
    struct json_object *single; /* borrowed: the older form, or NULL */
    size_t count;
    const char *base, *plural, *singular; /* borrowed: the route's pointer, and the keys */
};

static void find_values(struct route_build *b, const char *base, struct json_object *obj,
                        const char *plural, const char *singular, struct values *out)
{
    *out = (struct values){.base = base, .plural = plural, .singular = singular};
    if (json_has(obj, singular)) {
        if (json_has(obj, plural))
            json_fault_at(&b->faults, base, singular, "conflict",
                          "stands beside \"%s\": give one of them", plural);
        json_object_object_get_ex(obj, singular, &out->single);
        out->count = 1;
        return;
    }
    out->list = json_array(&b->faults, base, obj, plural, JSON_REQUIRED, 1, b->destinations_max);
    out->count = out->list ? json_object_array_length(out->list) : 0;
}

static struct json_object *value_at(const struct values *v, size_t i)
{
    return v->list ? json_object_array_get_idx(v->list, i) : v->single;
}

/* What is wrong, or odd, with the i-th. */
static void value_fault(struct json_check *c, const struct values *v, size_t i, const char *code,
                        const char *what)
{
    char pointer[ROUTE_POINTER_MAX + 64];

    if (v->list)
        snprintf(pointer, sizeof(pointer), "%s/%s/%zu", v->base, v->plural, i);
    else
        snprintf(pointer, sizeof(pointer), "%s/%s", v->base, v->singular);
    json_fault(c, pointer, code, "%s", what);
}

static void value_type_fault(struct json_check *c, const struct values *v, size_t i,
                             const char *wanted)
{
    char what[64];

    snprintf(what, sizeof(what), "must be %s, is %s", wanted, json_type_of(value_at(v, i)));
    value_fault(c, v, i, "type", what);
}

static size_t parse_ips(struct route_build *b, const struct values *v, union addr *out)
{
    size_t count = 0;

    for (size_t i = 0; i < v->count; i++) {
        struct json_object *value = value_at(v, i);
        const char *fault;
        size_t same = 0;

        if (!json_object_is_type(value, json_type_string)) {
            value_type_fault(&b->faults, v, i, "a string");
            continue;
        }
        fault = parse_ip(json_object_get_string(value), &out[count]);
        if (fault) {
            value_fault(&b->faults, v, i, "invalid", fault);
            continue;
        }
        while (same < count && !addr_is_same_host(&out[same], &out[count]))
            same++;
        if (same < count)
            value_fault(&b->warnings, v, i, "duplicateDestination",
                        "stands in the list twice; used once");
        else
            count++;
    }
    return count;
}

static size_t parse_ports(struct route_build *b, const struct values *v, uint16_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < v->count; i++) {
        struct json_object *value = value_at(v, i);
        int64_t port;
        size_t same = 0;

        if (!json_object_is_type(value, json_type_int)) {
            value_type_fault(&b->faults, v, i, "an integer");
            continue;
        }
        port = json_object_get_int64(value);
        if (port < 1 || port > 65535) {
            value_fault(&b->faults, v, i, "range", "must be 1 to 65535");
            continue;
        }
        while (same < count && out[same] != (uint16_t)port)
            same++;
        if (same < count)
            value_fault(&b->warnings, v, i, "duplicateDestination",
                        "stands in the list twice; used once");
        else
            out[count++] = (uint16_t)port;
    }
    return count;
}

static void parse_destinations(struct route_build *b, const char *base, struct json_object *obj,
                               struct route *route)
{
    struct values ips, ports;

    find_values(b, base, obj, "destinationIps", "destinationIp", &ips);
    find_values(b, base, obj, "destinationPorts", "destinationPort", &ports);
    union addr *ip = must_alloc(ips.count * sizeof(*ip));
    uint16_t *port = must_alloc(ports.count * sizeof(*port));
    size_t ip_count = parse_ips(b, &ips, ip);
    size_t port_count = parse_ports(b, &ports, port);

    if (port_count > 0 && ip_count > b->destinations_max / port_count) {
        json_fault_at(&b->faults, base, ips.list ? "destinationIps" : "destinationIp", "range",
                      "%zu addresses x %zu ports are more than %zu destinations", ip_count,
                      port_count, b->destinations_max);
    } else if (ip_count > 0 && port_count > 0) {
        route->destinations = must_alloc(ip_count * port_count * sizeof(*route->destinations));
        route->port_count = port_count;
        for (size_t i = 0; i < ip_count; i++)
            for (size_t p = 0; p < port_count; p++) {
                struct destination *d = &route->destinations[route->destination_count++];

                d->addr = ip[i];
                addr_set_port(&d->addr, port[p]);
                addr_format(&d->addr, d->key);
            }
    }
    free(ip);
    free(port);
}

/* --- one route ------------------------------------------------------------------------------- */

/* Reads one route; whatever is wrong is among the faults.  `host`: the path's (or NULL), `present`:
 * the route that it takes the place of (or NULL). */
static void parse_route(struct route_build *b, struct route_certs *certs, const char *base,
                        struct json_object *obj, const char *host, const struct route *present,
                        struct route *route)
{
    if (!json_object_is_type(obj, json_type_object)) {
        json_fault(&b->faults, base, "type", "must be an object, is %s", json_type_of(obj));
        return;
    }
    json_only(b->shape->takes_unknown ? &b->warnings : &b->faults, base, obj, route_keys);
    parse_host(b, base, obj, host, route);
    parse_destinations(b, base, obj, route);
    route_cert_json_parse(b, certs, base, obj, present, route);
    route_auth_json_parse(b, base, obj, present ? present->auth : NULL, route);
    route->options = route_options_parse(&b->faults, base, obj, route->host, &b->origin_tls);
}

/* --- a set ----------------------------------------------------------------------------------- */

static int compare_hosts(const void *a, const void *b)
{
    const struct route *const *x = a, *const *y = b;
    int order = strcmp((*x)->host, (*y)->host);

    if (order != 0)
        return order;
    return *x < *y ? -1 : 1; /* of one array: by place */
}

/* Where the list stands: "/routes", or "" where it is all there is. */
static void list_pointer(const struct route_build *b, char out[ROUTE_POINTER_MAX])
{
    snprintf(out, ROUTE_POINTER_MAX, "%s%s", b->is_bare_list ? "" : "/",
             b->is_bare_list ? "" : b->shape->key);
}

/* "/routes/3", or "/3". */
static void route_pointer(const struct route_build *b, size_t i, char out[ROUTE_POINTER_MAX])
{
    char list[ROUTE_POINTER_MAX];

    list_pointer(b, list);
    snprintf(out, ROUTE_POINTER_MAX, "%.40s/%zu", list, i);
}

static void find_duplicates(struct route_build *b, const struct route_set *set)
{
    const struct route **sorted = must_alloc(set->count * sizeof(*sorted));
    size_t count = 0, first = 0;

    for (size_t i = 0; i < set->count; i++)
        if (set->routes[i].host)
            sorted[count++] = &set->routes[i];
    qsort(sorted, count, sizeof(*sorted), compare_hosts);
    for (size_t i = 1; i < count; i++) {
        char base[ROUTE_POINTER_MAX], other[ROUTE_POINTER_MAX];

        if (strcmp(sorted[i]->host, sorted[first]->host) != 0) {
            first = i;
            continue;
        }
        route_pointer(b, (size_t)(sorted[i] - set->routes), base);
        route_pointer(b, (size_t)(sorted[first] - set->routes), other);
        json_fault_at(&b->faults, base, "hostName", "duplicate", "\"%s\" is %s already",
                      sorted[i]->host, other);
    }
    free(sorted);
}

/* The routes of a body, one by one: out of the document, or of what was left out of it. */
struct elements {
    struct json_object *array; /* borrowed */
    struct json_list *list;    /* borrowed; or NULL */
    size_t count;
};

/* The list inside the body; false with a fault. */
static bool find_list(struct route_build *b, struct json_object *body, struct json_list *list,
                      struct elements *out)
{
    const char *const keys[] = {b->shape->key, NULL};
    struct json_object *array = body;
    char pointer[ROUTE_POINTER_MAX];

    b->is_bare_list =
        json_object_is_type(body, json_type_array) && !b->shape->find && !b->is_stored;
    if (json_object_is_type(body, json_type_object)) {
        if (!b->shape->takes_unknown)
            json_only(&b->faults, "", body, keys);
        array = json_array(&b->faults, "", body, b->shape->key, JSON_REQUIRED, 0, SIZE_MAX);
    } else if (!json_object_is_type(body, json_type_array)) {
        json_fault(&b->faults, "", "type", "must be an array or {\"%s\": [...]}, is %s",
                   b->shape->key, json_type_of(body));
        return false;
    }
    if (!array)
        return false;
    *out = (struct elements){.array = array, .list = list && list->from ? list : NULL};
    out->count = out->list ? list->count : json_object_array_length(array);
    if (out->count <= b->routes_max)
        return true;
    list_pointer(b, pointer);
    json_fault(&b->faults, pointer, "range", "%zu routes are more than %zu (limits.routes)",
               out->count, b->routes_max);
    return false;
}

/* Where the set stands in the document, or NULL with a fault. */
static struct json_object *find_body(struct route_build *b, struct json_object *document)
{
    return b->shape->find ? b->shape->find(document, &b->faults) : document;
}

/* A route that is still text. */
static void read_route(struct route_build *b, struct route_certs *certs, const char *base,
                       struct json_list *list, size_t i, struct route *route)
{
    struct json_syntax why;
    struct json_object *obj;

    if (json_list_read(list, i, &obj, &why) != 0) { /* json-c refuses what the scan let pass */
        json_fault(&b->faults, base, why.code, "%s", why.reason);
        return;
    }
    parse_route(b, certs, base, obj, NULL, NULL, route);
    route_json_wipe(obj);
    json_object_put(obj);
}

/* The same, or what was read from the same text before. */
static void take_route(struct route_build *b, struct route_certs *certs,
                       const struct route_known *known, struct json_list *list, size_t i,
                       struct route *route)
{
    size_t words = b->faults.total + b->warnings.total;
    uint8_t id[ROUTE_TEXT_ID_BYTES];
    const struct route *before;
    char base[ROUTE_POINTER_MAX];

    route_known_id(known, list->parts[i].text, list->parts[i].n, id);
    before = route_known_find(known, id);
    if (before) {
        route_copy(route, before);
        b->kept++;
        return;
    }
    route_pointer(b, i, base);
    read_route(b, certs, base, list, i, route);
    if (b->faults.total + b->warnings.total == words)
        route_known_keep(route, id);
}

/* A stored route; false, and `route` is zeroed: it is left out. */
static bool take_stored(struct route_build *b, struct route_certs *certs, struct json_list *list,
                        size_t i, struct route *route)
{
    struct json_check of_set = b->faults;
    const struct json_fault *first;
    char base[ROUTE_POINTER_MAX];
    bool is_usable;

    json_check_init(&b->faults);
    route_pointer(b, i, base);
    read_route(b, certs, base, list, i, route);
    is_usable = !json_check_failed(&b->faults);
    if (!is_usable) {
        first = &b->faults.faults[0];
        json_fault(&b->left_out, first->pointer, first->code, "%s: %s",
                   route->host ? route->host : "?", first->detail);
        route_fini(route);
    }
    json_check_fini(&b->faults);
    b->faults = of_set;
    return is_usable;
}

static void fill_stored(struct route_build *b, const struct elements *from, struct route_set *set)
{
    struct route_certs certs;
    size_t usable = 0;

    route_certs_init(&certs, b->base, set->count);
    for (size_t i = 0; i < set->count; i++)
        usable += take_stored(b, &certs, from->list, i, &set->routes[usable]);
    set->count = usable;
    b->parsed = certs.parsed;
    b->reused = certs.reused;
    route_certs_fini(&certs);
}

static void fill_set(struct route_build *b, const struct elements *from, struct route_set *set)
{
    struct route_known known;
    struct route_certs certs;

    route_certs_init(&certs, b->base, set->count);
    route_known_init(&known, b->auth_key, b->destinations_max, b->base, b->now);
    for (size_t i = 0; i < set->count; i++) {
        char base[ROUTE_POINTER_MAX];

        if (from->list) {
            take_route(b, &certs, &known, from->list, i, &set->routes[i]);
            continue;
        }
        route_pointer(b, i, base);
        parse_route(b, &certs, base, json_object_array_get_idx(from->array, i), NULL, NULL,
                    &set->routes[i]);
    }
    b->parsed = certs.parsed;
    b->reused = certs.reused + b->kept;
    route_known_fini(&known);
    route_certs_fini(&certs);
}

struct route_set *route_json_parse_list(struct route_build *b, struct json_object *body,
                                        struct json_list *list)
{
    struct json_object *part = find_body(b, body);
    struct elements elements;
    struct route_set *set;

    if (json_check_failed(&b->faults) || !find_list(b, part, list, &elements))
        return NULL;
    set = route_set_new(elements.count);
    if (b->is_stored && elements.list)
        fill_stored(b, &elements, set);
    else
        fill_set(b, &elements, set);
    if (json_check_failed(&b->faults) || !route_set_index(set))
        find_duplicates(b, set);
    if (json_check_failed(&b->faults)) {
        route_set_unref(set);
        return NULL;
    }
    route_set_seal(set);
    return set;
}

struct route_set *route_json_parse(struct route_build *b, struct json_object *body)
{
    return route_json_parse_list(b, body, NULL);
}

struct route_set *route_json_put(struct route_build *b, const char *host, struct json_object *body)
{
    const struct route *present = route_set_entry(b->base, host);
    struct route_certs certs;
    struct route route = {.host = NULL};

    if (!present && b->base->count >= b->routes_max) {
        json_fault(&b->faults, "", "range", "there are %zu routes already (limits.routes)",
                   b->base->count);
        return NULL;
    }
    route_certs_init(&certs, b->base, 1);
    parse_route(b, &certs, "", body, host, present, &route);
    b->parsed = certs.parsed;
    b->reused = certs.reused;
    route_certs_fini(&certs);
    if (json_check_failed(&b->faults)) {
        route_fini(&route);
        return NULL;
    }
    return route_set_with(b->base, &route);
}

/* --- wiping ---------------------------------------------------------------------------------- */

static void wipe_text(struct json_object *value)
{
    /* json-c hands out its own memory of the string; the length stays. */
    char *text = (char *)(uintptr_t)json_object_get_string(value);
    tls_wipe(text, (size_t)json_object_get_string_len(value));
}

/* All strings: a key may stand under a misspelled name, or where no text belongs. */
void route_json_wipe(struct json_object *body)
{
    if (json_object_is_type(body, json_type_string)) {
        wipe_text(body);
    } else if (json_object_is_type(body, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(body); i++)
            route_json_wipe(json_object_array_get_idx(body, i));
    } else if (json_object_is_type(body, json_type_object)) {
        json_object_object_foreach(body, key, value)
        {
            (void)key;
            route_json_wipe(value); /* as deep as json_read() lets it be */
        }
    }
}
