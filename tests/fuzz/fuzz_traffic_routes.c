/* Routes out of bytes: whatever is refused is refused with a fault, whatever is taken can be found,
 * shown without its secrets, and put back unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"
#include "traffic/route_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct auth_key key;

static void put_back(const struct route_set *set, const struct route *route)
{
    struct json_object *shown = route_json_emit(route);
    struct route_build b;
    struct route_set *again;

    route_build_init(&b, &key, set);
    again = route_json_put(&b, route->host, shown);
    must(again != NULL);
    must(memcmp(set->digest, again->digest, ROUTE_DIGEST_BYTES) == 0);
    must(b.parsed == 0);
    route_build_fini(&b);
    route_set_unref(again);
    json_object_put(shown);
}

static void check_set(struct route_set *set)
{
    struct json_object *shown = route_json_emit_set(set);
    struct json_object *certificates = route_json_emit_certificates(set, 0);

    must(strstr(json_object_to_json_string(shown), "\"privateKey\"") == NULL);
    must(strstr(json_object_to_json_string(shown), "\"pass\"") == NULL);
    for (size_t i = 0; i < set->count; i++) {
        must(route_set_entry(set, set->routes[i].host) == &set->routes[i]);
        must(set->routes[i].destination_count > 0 && set->routes[i].cert != NULL);
        put_back(set, &set->routes[i]);
    }
    json_object_put(shown);
    json_object_put(certificates);
}

/* The same set route by route, and again on top of it. */
static void check_list(const struct route_set *set, const char *text, size_t n)
{
    const struct route_set *base = NULL;
    struct route_set *first = NULL, *again = NULL;

    for (struct route_set **out = &first; out; out = out == &first ? &again : NULL) {
        struct json_object *rest;
        struct json_syntax why;
        struct json_list list;
        struct route_build b;

        must(json_read_list(&rest, &list, route_shape_rest.path, text, n, &why) == 0);
        route_build_init(&b, &key, base);
        b.destinations_max = 64;
        b.routes_max = 64;
        *out = route_json_parse_list(&b, rest, &list);
        must((*out != NULL) == (set != NULL) && (b.kept == 0 || base));
        if (set)
            must(memcmp(set->digest, (*out)->digest, ROUTE_DIGEST_BYTES) == 0);
        route_build_fini(&b);
        json_list_fini(&list);
        json_object_put(rest);
        base = first;
    }
    route_set_unref(first);
    route_set_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char host[ROUTE_HOST_MAX + 1];
    struct json_object *body;
    struct json_syntax why;
    struct route_set *empty, *set;
    struct route_build b;
    struct route_auth *auth;

    auth_key_init(&key);
    auth = route_auth_new(&key, "u", "p", 1);
    must(route_auth_check(auth, (const char *)data, size) <= AUTH_WRONG);
    route_auth_free(auth);
    if (route_normalise_host((const char *)data, size, true, host) == 0)
        must(strlen(host) <= size && strlen(host) > 0);
    if (json_read(&body, (const char *)data, size, &why) != 0)
        return 0;
    empty = route_set_new(0);
    route_set_seal(empty);
    route_build_init(&b, &key, empty);
    b.destinations_max = 64;
    b.routes_max = 64;
    set = route_json_parse(&b, body);
    must((set != NULL) != json_check_failed(&b.faults));
    if (set)
        check_set(set);
    check_list(set, (const char *)data, size);
    route_json_wipe(body);
    route_build_fini(&b);
    route_set_unref(set);
    route_set_unref(empty);
    json_object_put(body);
    return 0;
}
