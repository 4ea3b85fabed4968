/* object_json - see object_json.h. */
#include "wire/object_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "json/json.h"

int object_read(struct json_object **out, const uint8_t *src, size_t n, struct wire_why *why)
{
    struct json_syntax syntax;

    if (json_read(out, (const char *)src, n, &syntax) != 0) {
        snprintf(why->text, sizeof(why->text), "at byte %zu: %s", syntax.offset, syntax.reason);
        return -ERR_PROTO;
    }
    if (json_object_is_type(*out, json_type_object))
        return 0;
    snprintf(why->text, sizeof(why->text), "must be an object, is %s", json_type_of(*out));
    json_object_put(*out);
    *out = NULL;
    return -ERR_PROTO;
}

int object_end_check(struct json_check *c, struct wire_why *why)
{
    int rc = 0;

    if (json_check_failed(c)) {
        const char *pointer = c->faults[0].pointer;
        snprintf(why->text, sizeof(why->text), "%s: %s", *pointer == '/' ? pointer + 1 : pointer,
                 c->faults[0].detail);
        rc = -ERR_PROTO;
    }
    json_check_fini(c);
    return rc;
}

void text_cut(char *s, size_t n)
{
    if (strlen(s) <= n)
        return;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    s[n] = '\0';
}

/* The value when it is there and a string; else a fault is added. */
static struct json_object *required_string(struct json_check *c, const char *base,
                                           struct json_object *obj, const char *key)
{
    struct json_object *value;

    if (!json_object_object_get_ex(obj, key, &value))
        json_fault_at(c, base, key, "required", "is missing");
    else if (!json_object_is_type(value, json_type_string))
        json_fault_at(c, base, key, "type", "must be a string, is %s", json_type_of(value));
    else
        return value;
    return NULL;
}

void object_read_text(struct json_check *c, const char *base, struct json_object *obj,
                      const char *key, char *out, size_t cap)
{
    struct json_object *value = required_string(c, base, obj, key);

    out[0] = '\0';
    if (!value)
        return;
    const char *s = json_object_get_string(value);
    size_t n = MIN((size_t)json_object_get_string_len(value), cap - 1);
    /* One byte more than is kept, if there is one, tells text_cut() where a character ends. */
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? ' ' : s[i];
    out[n] = '\0';
}

uint32_t object_read_secs(struct json_check *c, const char *base, struct json_object *obj,
                          const char *key, bool is_required, uint32_t max)
{
    int64_t secs =
        json_int(c, base, obj, key, is_required ? JSON_REQUIRED : JSON_OPTIONAL, 0, INT64_MAX, 0);

    return secs > max ? max : (uint32_t)secs;
}

void object_read_ports(struct json_check *c, const char *base, struct json_object *obj,
                       const char *key, struct port_list *out)
{
    struct json_object *list = json_array(c, base, obj, key, JSON_REQUIRED, 0, CONFIG_PORTS_MAX);
    size_t n = list ? json_object_array_length(list) : 0;
    int64_t last = 0;

    *out = (struct port_list){.ports = NULL};
    if (n == 0)
        return;
    out->ports = must_alloc(n * sizeof(*out->ports));
    for (size_t i = 0; i < n; i++) {
        struct json_object *one = json_object_array_get_idx(list, i);
        int64_t port = json_object_get_int64(one);
        if (!json_object_is_type(one, json_type_int)) {
            json_fault_at(c, base, key, "type", "entry %zu must be an integer", i);
            return;
        }
        if (port < 1 || port > 65535) {
            json_fault_at(c, base, key, "range", "entry %zu must be 1 to 65535", i);
            return;
        }
        if (port <= last) {
            json_fault_at(c, base, key, "invalid", "entry %zu is not above the one before", i);
            return;
        }
        last = port;
        out->ports[out->count++] = (uint16_t)port;
    }
}

void object_read_config(struct json_check *c, const char *base, struct json_object *obj,
                        struct wire_config *out)
{
    *out = (struct wire_config){
        .revision =
            (uint64_t)json_int(c, base, obj, "revision", JSON_REQUIRED, 0, CONFIG_REVISION_MAX, 0),
        .stun_interval_secs =
            (uint32_t)json_int(c, base, obj, "stunIntervalSecs", JSON_REQUIRED, 0, UINT32_MAX, 0)};
    object_read_ports(c, base, obj, "listenPorts", &out->ports);
    object_read_ports(c, base, obj, "listenPortsUdp", &out->ports_udp);
    if (out->ports.count + out->ports_udp.count > CONFIG_PORTS_MAX)
        json_fault(c, base, "range", "more than %d ports", CONFIG_PORTS_MAX);
}

struct json_object *object_new(void)
{
    struct json_object *obj = json_object_new_object();

    must(obj != NULL);
    return obj;
}

void object_add(struct json_object *obj, const char *key, struct json_object *value)
{
    int rc = json_object_object_add(obj, key, value);

    must(rc == 0);
}

void object_add_str(struct json_object *obj, const char *key, const char *value)
{
    struct json_object *s = json_object_new_string(value);

    must(s != NULL);
    object_add(obj, key, s);
}

void object_add_int(struct json_object *obj, const char *key, uint64_t value)
{
    must(value <= INT64_MAX);
    struct json_object *n = json_object_new_int64((int64_t)value);
    must(n != NULL);
    object_add(obj, key, n);
}

void object_add_ports(struct json_object *obj, const char *key, const struct port_list *l)
{
    struct json_object *list = json_object_new_array();

    must(list != NULL);
    for (size_t i = 0; i < l->count; i++) {
        must(l->ports[i] > (i > 0 ? l->ports[i - 1] : 0));
        struct json_object *port = json_object_new_int(l->ports[i]);
        must(port != NULL);
        int rc = json_object_array_add(list, port);
        must(rc == 0);
    }
    object_add(obj, key, list);
}

struct json_object *object_of_config(const struct wire_config *c)
{
    struct json_object *obj = object_new();

    must(c->ports.count + c->ports_udp.count <= CONFIG_PORTS_MAX);
    object_add_int(obj, "revision", c->revision);
    object_add_ports(obj, "listenPorts", &c->ports);
    object_add_ports(obj, "listenPortsUdp", &c->ports_udp);
    object_add_int(obj, "stunIntervalSecs", c->stun_interval_secs);
    return obj;
}

char *object_emit(struct json_object *obj, const char *end, size_t *len)
{
    size_t n, end_len = strlen(end);
    const char *text = json_object_to_json_string_length(
        obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

    must(text != NULL);
    char *out = must_alloc(n + end_len + 1);
    memcpy(out, text, n);
    memcpy(out + n, end, end_len);
    if (len)
        *len = n + end_len;
    json_object_put(obj);
    return out;
}
