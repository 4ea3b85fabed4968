/* control_json - see control.h: the payloads of CONFIG, CONFIG_ACK, DRAIN and GOODBYE.
 * api/tunnel.md "Payloads in JSON". */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/object_json.h"
#include "json/json.h"

int wire_config_parse(struct wire_config *out, const uint8_t *src, size_t n, struct wire_why *why)
{
    struct json_object *obj;
    struct json_check c;

    *out = (struct wire_config){.revision = 0};
    if (object_read(&obj, src, n, why) != 0)
        return -ERR_PROTO;
    json_check_init(&c);
    object_read_config(&c, "", obj, out);
    json_object_put(obj);
    int rc = object_end_check(&c, why);
    if (rc != 0)
        wire_config_fini(out);
    return rc;
}

char *wire_config_emit(const struct wire_config *c, size_t *len)
{
    return object_emit(object_of_config(c), "", len);
}

static int compare_faults(const void *a, const void *b)
{
    const struct port_fault *x = a, *y = b;

    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    return (x->protocol > y->protocol) - (x->protocol < y->protocol);
}

static void read_fault(struct json_check *c, const char *base, struct json_object *obj,
                       struct port_fault *out)
{
    out->port = (uint16_t)json_int(c, base, obj, "port", JSON_REQUIRED, 1, 65535, 0);
    const char *protocol = json_str(c, base, obj, "protocol", JSON_REQUIRED, 3, 3);
    if (!protocol)
        return;
    if (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)
        json_fault_at(c, base, "protocol", "invalid", "must be tcp or udp");
    out->protocol = strcmp(protocol, "udp") == 0 ? PORT_UDP : PORT_TCP;
    object_read_text(c, base, obj, "error", out->error, sizeof(out->error));
}

static void read_faults(struct json_check *c, struct json_object *obj, struct config_ack *out)
{
    struct json_object *list = json_array(c, "", obj, "errors", JSON_REQUIRED, 0, CONFIG_PORTS_MAX);
    size_t n = list ? json_object_array_length(list) : 0;

    if (n == 0)
        return;
    out->faults = must_alloc(n * sizeof(*out->faults));
    for (size_t i = 0; i < n && !json_check_failed(c); i++) {
        struct port_fault *f = &out->faults[i];
        char base[32];
        snprintf(base, sizeof(base), "/errors/%zu", i);
        read_fault(c, base, json_object_array_get_idx(list, i), f);
        if (i > 0 && compare_faults(f - 1, f) >= 0)
            json_fault(c, base, "invalid", "is not behind the one before");
        out->fault_count = i + 1;
    }
}

static void read_public_ip(struct json_check *c, struct json_object *obj, struct config_ack *out)
{
    struct json_object *value;
    uint8_t addr[16];

    if (json_object_object_get_ex(obj, "publicIp", &value) && !value)
        return; /* null: not known yet */
    const char *ip = json_str(c, "", obj, "publicIp", JSON_REQUIRED, 2, sizeof(out->public_ip) - 1);
    if (!ip)
        return;
    if (inet_pton(AF_INET, ip, addr) != 1 && inet_pton(AF_INET6, ip, addr) != 1)
        json_fault_at(c, "", "publicIp", "invalid", "must be an address or null");
    else
        snprintf(out->public_ip, sizeof(out->public_ip), "%s", ip);
}

int config_ack_parse(struct config_ack *out, const uint8_t *src, size_t n, struct wire_why *why)
{
    struct json_object *obj;
    struct json_check c;

    *out = (struct config_ack){.revision = 0};
    if (object_read(&obj, src, n, why) != 0)
        return -ERR_PROTO;
    json_check_init(&c);
    out->revision =
        (uint64_t)json_int(&c, "", obj, "revision", JSON_REQUIRED, 0, CONFIG_REVISION_MAX, 0);
    object_read_ports(&c, "", obj, "listenPorts", &out->ports);
    object_read_ports(&c, "", obj, "listenPortsUdp", &out->ports_udp);
    if (out->ports.count + out->ports_udp.count > CONFIG_PORTS_MAX)
        json_fault(&c, "", "range", "more than %d ports", CONFIG_PORTS_MAX);
    read_faults(&c, obj, out);
    read_public_ip(&c, obj, out);
    json_object_put(obj);
    int rc = object_end_check(&c, why);
    if (rc != 0)
        config_ack_fini(out);
    return rc;
}

static struct json_object *object_of_fault(const struct port_fault *f, size_t text_max)
{
    struct json_object *obj = object_new();
    char text[PORT_ERROR_MAX + 1];

    snprintf(text, sizeof(text), "%s", f->error);
    text_cut(text, text_max);
    object_add_int(obj, "port", f->port);
    object_add_str(obj, "protocol", f->protocol == PORT_UDP ? "udp" : "tcp");
    object_add_str(obj, "error", text);
    return obj;
}

static struct json_object *array_of_faults(const struct config_ack *a, size_t text_max)
{
    struct json_object *list = json_object_new_array();
    struct port_fault *sorted = must_alloc((a->fault_count + 1) * sizeof(*sorted));

    must(list != NULL);
    if (a->fault_count > 0)
        memcpy(sorted, a->faults, a->fault_count * sizeof(*sorted));
    qsort(sorted, a->fault_count, sizeof(*sorted), compare_faults);
    for (size_t i = 0; i < a->fault_count; i++) {
        if (i > 0 && compare_faults(&sorted[i - 1], &sorted[i]) == 0)
            continue;
        int rc = json_object_array_add(list, object_of_fault(&sorted[i], text_max));
        must(rc == 0);
    }
    free(sorted);
    return list;
}

static char *emit_ack(const struct config_ack *a, size_t text_max, size_t *len)
{
    struct json_object *obj = object_new();

    object_add_int(obj, "revision", a->revision);
    object_add_ports(obj, "listenPorts", &a->ports);
    object_add_ports(obj, "listenPortsUdp", &a->ports_udp);
    object_add(obj, "errors", array_of_faults(a, text_max));
    if (a->public_ip[0])
        object_add_str(obj, "publicIp", a->public_ip);
    else
        object_add(obj, "publicIp", NULL);
    return object_emit(obj, "", len);
}

char *config_ack_emit(const struct config_ack *a, size_t *len)
{
    size_t n;

    must(a->ports.count + a->ports_udp.count <= CONFIG_PORTS_MAX);
    must(a->fault_count <= CONFIG_PORTS_MAX);
    /* 1,024 faults with long texts are more than a frame holds; without texts they always fit:
     * 1,024 times 44 bytes and as many ports. */
    for (size_t text_max = PORT_ERROR_MAX;; text_max /= 4) {
        char *text = emit_ack(a, text_max, &n);
        if (n <= FRAME_PAYLOAD_MAX) {
            if (len)
                *len = n;
            return text;
        }
        must(text_max > 0);
        free(text);
    }
}

int drain_parse(struct drain *out, const uint8_t *src, size_t n, struct wire_why *why)
{
    struct json_object *obj;
    struct json_check c;

    *out = (struct drain){0};
    if (object_read(&obj, src, n, why) != 0)
        return -ERR_PROTO;
    json_check_init(&c);
    out->deadline_secs = object_read_secs(&c, "", obj, "deadlineSecs", true, UINT32_MAX);
    json_str(&c, "", obj, "reason", JSON_OPTIONAL, 0, SIZE_MAX); /* for people */
    json_object_put(obj);
    return object_end_check(&c, why);
}

char *drain_emit(const struct drain *d, size_t *len)
{
    struct json_object *obj = object_new();

    object_add_int(obj, "deadlineSecs", d->deadline_secs);
    return object_emit(obj, "", len);
}

static enum goodbye_code goodbye_of(const char *name)
{
    enum goodbye_code code = 0;

    while (code != GOODBYE_OTHER && strcmp(goodbye_name(code), name) != 0)
        code++;
    return code;
}

int goodbye_parse(struct goodbye *out, const uint8_t *src, size_t n, struct wire_why *why)
{
    struct json_object *obj;
    struct json_check c;

    *out = (struct goodbye){.code = GOODBYE_OTHER};
    if (object_read(&obj, src, n, why) != 0)
        return -ERR_PROTO;
    json_check_init(&c);
    const char *code = json_str(&c, "", obj, "code", JSON_REQUIRED, 1, SIZE_MAX);
    if (code)
        out->code = goodbye_of(code);
    object_read_text(&c, "", obj, "message", out->message, sizeof(out->message));
    out->retry_after_secs = object_read_secs(&c, "", obj, "retryAfterSecs", false, RETRY_MAX_SECS);
    json_object_put(obj);
    return object_end_check(&c, why);
}

char *goodbye_emit(const struct goodbye *g, size_t *len)
{
    struct json_object *obj = object_new();

    must(g->code != GOODBYE_OTHER);
    object_add_str(obj, "code", goodbye_name(g->code));
    object_add_str(obj, "message", g->message);
    if (g->retry_after_secs > 0)
        object_add_int(obj, "retryAfterSecs", g->retry_after_secs);
    return object_emit(obj, "", len);
}
