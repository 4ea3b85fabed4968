/* target - see target.h: a sorted array of the ports that are named. */
#include "hub/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hub/own_listeners.h"
#include "wire/identity.h"
#include "wire/proxy.h"
#include "json/json.h"

#define TARGETS_MAX 1024

struct named_port {
    uint16_t public_port, port;
    enum proxy_mode mode;
    char *host; /* owned */
};

struct target_map {
    enum target_kind kind;
    char *host; /* owned: of every port that names none */
    enum proxy_mode mode;
    struct named_port *named; /* owned, by public_port */
    size_t count;
};

/* A port as a key: plain decimal.  0: none. */
static uint16_t read_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    unsigned long value;

    if (n == 0 || n > 5 || text[n] || text[0] == '0')
        return 0;
    value = strtoul(text, NULL, 10);
    return value <= 65535 ? (uint16_t)value : 0;
}

const char *const target_mode_names[2][TARGET_MODES + 1] = {
    [TARGET_TCP] = {"v1", "v2", "off", NULL},
    [TARGET_UDP] = {"first", "each", "off", NULL},
};

enum proxy_mode target_mode(enum target_kind kind, unsigned choice)
{
    static const enum proxy_mode modes[2][TARGET_MODES] = {
        [TARGET_TCP] = {PROXY_MODE_V1, PROXY_MODE_V2, PROXY_MODE_OFF},
        [TARGET_UDP] = {PROXY_MODE_FIRST, PROXY_MODE_EACH, PROXY_MODE_OFF},
    };

    must(choice < TARGET_MODES);
    return modes[kind][choice];
}

static enum proxy_mode read_mode(struct json_check *faults, const char *base,
                                 struct json_object *obj, const struct target_map *map)
{
    const char *const *names = target_mode_names[map->kind];
    const char *text = json_str(faults, base, obj, "proxyProtocol", JSON_OPTIONAL, 1, 8);

    for (unsigned i = 0; text && i < TARGET_MODES; i++)
        if (strcmp(text, names[i]) == 0)
            return target_mode(map->kind, i);
    if (text)
        json_fault_at(faults, base, "proxyProtocol", "invalid", "must be %s, %s or %s", names[0],
                      names[1], names[2]);
    return map->mode;
}

/* {host, port, proxyProtocol}, each of them optional but the port. */
static void read_entry(struct named_port *entry, const struct target_map *map,
                       struct json_check *faults, const char *base, struct json_object *obj)
{
    const char *host;

    json_only(faults, base, obj, (const char *const[]){"host", "port", "proxyProtocol", NULL});
    entry->port = (uint16_t)json_int(faults, base, obj, "port", JSON_REQUIRED, 1, 65535, 0);
    entry->mode = read_mode(faults, base, obj, map);
    host = json_str(faults, base, obj, "host", JSON_OPTIONAL, 1, HOST_MAX);
    if (host && !host_is_valid(host))
        json_fault_at(faults, base, "host", "invalid", "must be a host name or an address");
    entry->host = must_strdup(host ? host : map->host);
}

static void read_value(struct named_port *entry, const struct target_map *map,
                       struct json_check *faults, const char *base, const char *key,
                       struct json_object *value)
{
    int64_t port;
    char *pointer;

    if (json_object_is_type(value, json_type_object)) {
        pointer = must_printf("%s/%s", base, key); /* a key that is a port needs no escapes */
        read_entry(entry, map, faults, pointer, value);
        free(pointer);
        return;
    }
    if (!json_object_is_type(value, json_type_int)) {
        json_fault_at(faults, base, key, "type",
                      "must be a port number or {host, port, proxyProtocol}, is %s",
                      json_type_of(value));
        return;
    }
    port = json_object_get_int64(value);
    if (port < 1 || port > 65535)
        json_fault_at(faults, base, key, "range", "must be 1 to 65535");
    entry->port = (uint16_t)port;
    entry->mode = map->mode;
    entry->host = must_strdup(map->host);
}

static int by_port(const void *a, const void *b)
{
    const struct named_port *x = a, *y = b;

    return (x->public_port > y->public_port) - (x->public_port < y->public_port);
}

static void read_ports(struct target_map *map, struct json_object *ports, struct json_check *faults,
                       const char *base)
{
    map->named = must_alloc(sizeof(*map->named) * TARGETS_MAX);
    json_object_object_foreach(ports, key, value)
    {
        struct named_port entry = {.public_port = read_port(key)};

        if (entry.public_port == 0) {
            json_fault_at(faults, base, key, "invalid", "must be a port, 1 to 65535");
            continue;
        }
        if (map->count == TARGETS_MAX) {
            json_fault(faults, base, "range", "must have at most %d ports", TARGETS_MAX);
            break;
        }
        read_value(&entry, map, faults, base, key, value);
        map->named[map->count++] = entry;
    }
    qsort(map->named, map->count, sizeof(*map->named), by_port);
}

static int parse(struct target_map **out, enum target_kind kind, const char *host,
                 enum proxy_mode mode, struct json_object *ports, struct json_check *faults,
                 const char *base)
{
    size_t before = faults->total;
    struct target_map *map = must_alloc(sizeof(*map));

    *map = (struct target_map){.kind = kind, .host = must_strdup(host), .mode = mode};
    if (json_object_is_type(ports, json_type_object))
        read_ports(map, ports, faults, base);
    else
        json_fault(faults, base, "type", "must be an object, is %s", json_type_of(ports));
    if (faults->total > before) {
        target_map_free(map);
        return -ERR_SYNTAX;
    }
    *out = map;
    return 0;
}

int target_map_parse(struct target_map **out, const char *host, enum proxy_mode mode,
                     struct json_object *ports, struct json_check *faults, const char *base)
{
    return parse(out, TARGET_TCP, host, mode, ports, faults, base);
}

int target_map_parse_udp(struct target_map **out, const char *host, enum proxy_mode mode,
                         struct json_object *ports, struct json_check *faults, const char *base)
{
    return parse(out, TARGET_UDP, host, mode, ports, faults, base);
}

void target_map_free(struct target_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->count; i++)
        free(map->named[i].host);
    free(map->named);
    free(map->host);
    free(map);
}

size_t target_map_count(const struct target_map *map)
{
    return map->count;
}

struct target target_map_at(const struct target_map *map, size_t i, uint16_t *public_port)
{
    const struct named_port *entry = &map->named[i];

    must(i < map->count);
    *public_port = entry->public_port;
    return (struct target){entry->host, entry->port, entry->mode};
}

bool target_has_name(const struct target *t)
{
    union addr literal;

    return addr_parse_host(&literal, t->host, 0) != 0;
}

struct target target_map_find(const struct target_map *map, uint16_t port)
{
    struct named_port key = {.public_port = port};
    const struct named_port *found =
        map->count ? bsearch(&key, map->named, map->count, sizeof(key), by_port) : NULL;

    if (!found)
        return (struct target){map->host, port, map->mode};
    return (struct target){found->host, found->port, found->mode};
}

void target_map_check_own(const struct target_map *map, const struct own_listeners *own,
                          struct json_check *faults, const char *base)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct named_port *entry = &map->named[i];
        const char *name = own_listeners_find(own, entry->host, entry->port);
        char key[8];

        snprintf(key, sizeof(key), "%u", entry->public_port);
        if (name)
            json_fault_at(faults, base, key, "conflict", "%s:%u is the hub's own %s listener",
                          entry->host, entry->port, name);
    }
}

size_t target_emit_header(uint8_t *out, enum proxy_mode mode, const struct proxy_header *client)
{
    switch (mode) {
    case PROXY_MODE_V1:
        return proxy_emit_v1((char *)out, client);
    case PROXY_MODE_V2:
    case PROXY_MODE_FIRST:
    case PROXY_MODE_EACH:
        return proxy_emit_v2(out, client);
    case PROXY_MODE_OFF:
        break;
    }
    return 0;
}
