/* registry_json - edges as JSON: the configuration's list, the bodies of the API, its answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hub/own_listeners.h"
#include "hub/registry.h"
#include "hub/target.h"
#include "hub/unix_time.h"
#include "json/json.h"

static const char *const api_keys[] = {
    "id",           "listenPorts", "listenPortsUdp", "stunIntervalSecs",
    "maxInstances", "enabled",     "secret",         NULL};
static const char *const conf_keys[] = {"id",
                                        "listenPorts",
                                        "listenPortsUdp",
                                        "stunIntervalSecs",
                                        "maxInstances",
                                        "enabled",
                                        "secret",
                                        "secretFile",
                                        NULL};

/* One entry of listenPorts; 0 when it is at fault. */
static uint16_t read_port(struct json_object *value, const uint64_t *seen,
                          const struct target_map *targets, const struct own_listeners *own,
                          struct json_check *faults, const char *base, const char *key)
{
    int64_t number = json_object_get_int64(value);
    struct target to;
    const char *name;

    if (!json_object_is_type(value, json_type_int)) {
        json_fault_at(faults, base, key, "type", "must be an integer, is %s", json_type_of(value));
        return 0;
    }
    if (number < 1 || number > 65535) {
        json_fault_at(faults, base, key, "range", "must be 1 to 65535");
        return 0;
    }
    if (seen[number / 64] >> (number % 64) & 1) {
        json_fault_at(faults, base, key, "duplicate", "%d is there twice", (int)number);
        return 0;
    }
    if (!targets || !own)
        return (uint16_t)number;
    to = target_map_find(targets, (uint16_t)number);
    name = own_listeners_find(own, to.host, to.port);
    if (name) {
        json_fault_at(faults, base, key, "conflict",
                      "its target %s:%u is the hub's own %s listener", to.host, to.port, name);
        return 0;
    }
    return (uint16_t)number;
}

static void read_ports(struct port_list *out, struct json_object *obj, const char *name,
                       const struct target_map *targets, const struct own_listeners *own,
                       struct json_check *faults, const char *base)
{
    struct json_object *list =
        json_array(faults, base, obj, name, JSON_OPTIONAL, 0, CONFIG_PORTS_MAX);
    uint64_t seen[1024] = {0};
    uint16_t ports[CONFIG_PORTS_MAX];
    size_t count = 0;
    char *pointer;

    if (!list)
        return;
    pointer = must_printf("%s/%s", base, name);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        char key[24];
        uint16_t port;

        snprintf(key, sizeof(key), "%zu", i);
        port =
            read_port(json_object_array_get_idx(list, i), seen, targets, own, faults, pointer, key);
        if (port == 0)
            continue;
        seen[port / 64] |= (uint64_t)1 << (port % 64);
        ports[count++] = port;
    }
    free(pointer);
    port_list_fini(out);
    *out = (struct port_list){0};
    port_list_set(out, ports, count);
}

static void read_all_ports(struct edge_spec *spec, struct json_object *obj,
                           const struct spec_rules *rules, struct json_check *faults,
                           const char *base)
{
    const struct own_listeners *own = rules ? rules->own : NULL;

    read_ports(&spec->ports, obj, "listenPorts", rules ? rules->targets : NULL, own, faults, base);
    read_ports(&spec->ports_udp, obj, "listenPortsUdp", rules ? rules->targets_udp : NULL, own,
               faults, base);
    if (spec->ports.count + spec->ports_udp.count > CONFIG_PORTS_MAX)
        json_fault_at(faults, base, "listenPortsUdp", "range",
                      "TCP and UDP ports must be at most %d together", CONFIG_PORTS_MAX);
}

static void read_secret(struct edge_spec *spec, struct json_object *obj, enum spec_source source,
                        struct json_check *faults, const char *base)
{
    const char *secret =
        json_str(faults, base, obj, "secret", JSON_OPTIONAL, SECRET_MIN, SECRET_MAX);
    const char *file = NULL;

    if (secret && !secret_is_valid(secret))
        json_fault_at(faults, base, "secret", "invalid",
                      "must be %d to %d characters of A-Za-z0-9-_.~", SECRET_MIN, SECRET_MAX);
    else if (secret)
        snprintf(spec->secret, sizeof(spec->secret), "%s", secret);
    if (source == SPEC_FROM_CONF)
        file = json_str(faults, base, obj, "secretFile", JSON_OPTIONAL, 1, 4096);
    if (secret && file)
        json_fault_at(faults, base, "secretFile", "conflict",
                      "secret and secretFile exclude each other");
    else if (file)
        spec->secret_file = must_strdup(file);
}

void edge_spec_parse(struct edge_spec *spec, struct json_object *obj, enum spec_source source,
                     const struct spec_rules *rules, struct json_check *faults, const char *base)
{
    const char *id;

    if (!json_object_is_type(obj, json_type_object)) {
        json_fault(faults, base, "type", "must be an object, is %s", json_type_of(obj));
        return;
    }
    json_only(faults, base, obj, source == SPEC_FROM_CONF ? conf_keys : api_keys);
    id = json_str(faults, base, obj, "id", spec->id[0] ? JSON_OPTIONAL : JSON_REQUIRED, 1,
                  EDGE_ID_MAX);
    if (id && !edge_id_is_valid(id))
        json_fault_at(faults, base, "id", "invalid", "must be 1 to %d of A-Za-z0-9._-",
                      EDGE_ID_MAX);
    else if (id && spec->id[0] && strcmp(id, spec->id) != 0)
        json_fault_at(faults, base, "id", "conflict", "an edge keeps its id");
    else if (id)
        snprintf(spec->id, sizeof(spec->id), "%s", id);
    read_all_ports(spec, obj, rules, faults, base);
    spec->stun_interval_secs =
        (uint32_t)json_int(faults, base, obj, "stunIntervalSecs", JSON_OPTIONAL, 0, 86400,
                           (int64_t)spec->stun_interval_secs);
    spec->max_instances = (unsigned)json_int(faults, base, obj, "maxInstances", JSON_OPTIONAL, 1,
                                             EDGE_INSTANCES_MAX, (int64_t)spec->max_instances);
    spec->is_enabled = json_flag(faults, base, obj, "enabled", JSON_OPTIONAL, spec->is_enabled);
    read_secret(spec, obj, source, faults, base);
}

void edge_spec_of(struct edge_spec *spec, const struct edge *edge)
{
    *spec = (struct edge_spec){.stun_interval_secs = edge->stun_interval_secs,
                               .max_instances = edge->max_instances,
                               .is_enabled = edge->is_enabled};
    memcpy(spec->id, edge->id, sizeof(spec->id));
    port_list_copy(&spec->ports, &edge->ports);
    port_list_copy(&spec->ports_udp, &edge->ports_udp);
}

static int by_id(const void *a, const void *b)
{
    const struct edge_spec *const *x = a, *const *y = b;
    int order = strcmp((*x)->id, (*y)->id);

    return order ? order : (*x > *y) - (*x < *y);
}

/* The later of two with one id is at fault. */
static void check_twice(const struct edge_spec *specs, size_t count, struct json_check *faults,
                        const char *base)
{
    const struct edge_spec **sorted;

    if (count < 2)
        return;
    sorted = must_alloc(count * sizeof(*sorted));
    for (size_t i = 0; i < count; i++)
        sorted[i] = &specs[i];
    qsort(sorted, count, sizeof(*sorted), by_id);
    for (size_t i = 1; i < count; i++) {
        char pointer[64];

        if (!sorted[i]->id[0] || strcmp(sorted[i]->id, sorted[i - 1]->id) != 0)
            continue;
        snprintf(pointer, sizeof(pointer), "%s/%zu", base, (size_t)(sorted[i] - specs));
        json_fault_at(faults, pointer, "id", "duplicate", "\"%s\" is there twice", sorted[i]->id);
    }
    free(sorted);
}

int edge_specs_parse(struct edge_spec **out, size_t *count, struct json_object *list, size_t limit,
                     enum spec_source source, const struct spec_rules *rules,
                     struct json_check *faults, const char *base)
{
    size_t before = faults->total,
           n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    struct edge_spec *specs;

    if (!json_object_is_type(list, json_type_array))
        json_fault(faults, base, "type", "must be a list, is %s", json_type_of(list));
    if (n > limit) {
        json_fault(faults, base, "range", "must have at most %zu edges (limits.edges)", limit);
        n = 0;
    }
    specs = must_alloc(MAX(n, 1u) * sizeof(*specs));
    for (size_t i = 0; i < n; i++) {
        char pointer[64];

        snprintf(pointer, sizeof(pointer), "%s/%zu", base, i);
        edge_spec_init(&specs[i]);
        edge_spec_parse(&specs[i], json_object_array_get_idx(list, i), source, rules, faults,
                        pointer);
    }
    check_twice(specs, n, faults, base);
    if (faults->total == before) {
        *out = specs;
        *count = n;
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        edge_spec_fini(&specs[i]);
    free(specs);
    return -ERR_SYNTAX;
}

void registry_check_conf(struct json_check *faults, const char *base, struct json_object *list,
                         size_t limit)
{
    struct edge_spec *specs;
    size_t count;

    if (edge_specs_parse(&specs, &count, list, limit, SPEC_FROM_CONF, NULL, faults, base) != 0)
        return;
    for (size_t i = 0; i < count; i++)
        edge_spec_fini(&specs[i]);
    free(specs);
}

static struct json_object *emit_ports(const struct port_list *l)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < l->count; i++)
        json_object_array_add(list, json_object_new_int(l->ports[i]));
    return list;
}

void secret_grace_emit(struct json_object *obj, struct secret_grace grace)
{
    json_object_object_add(obj, "oldSecretGoodUntil",
                           grace.until_unix ? unix_time_json(grace.until_unix) : NULL);
}

struct json_object *edge_emit(const struct edge *edge)
{
    struct json_object *obj = json_object_new_object();

    json_object_object_add(obj, "id", json_object_new_string(edge->id));
    json_object_object_add(obj, "listenPorts", emit_ports(&edge->ports));
    json_object_object_add(obj, "listenPortsUdp", emit_ports(&edge->ports_udp));
    json_object_object_add(obj, "stunIntervalSecs",
                           json_object_new_int64(edge->stun_interval_secs));
    json_object_object_add(obj, "maxInstances", json_object_new_int64(edge->max_instances));
    json_object_object_add(obj, "enabled", json_object_new_boolean(edge->is_enabled));
    secret_grace_emit(obj, edge->old_until);
    return obj;
}
