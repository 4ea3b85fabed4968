/* route_emit - routes and their certificates as the management API shows them: see route_json.h.
 * No private key is kept as text, and no password at all, so none can get out here. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"
#include "traffic/route_json.h"

static struct json_object *text(const char *s)
{
    struct json_object *value = json_object_new_string(s);

    must(value != NULL);
    return value;
}

static struct json_object *emit_auth(const struct route_auth *auth)
{
    struct json_object *obj = json_object_new_object();

    json_object_object_add(obj, "type", text("Basic"));
    json_object_object_add(obj, "user", text(auth->user));
    return obj;
}

static void emit_chains(struct json_object *obj, const struct route_cert *cert)
{
    struct json_object *list;

    json_object_object_add(obj, "publicKey", text(cert->texts[0].chain_pem));
    if (cert->count == 1)
        return;
    list = json_object_new_array();
    for (unsigned i = 1; i < cert->count; i++) {
        struct json_object *pair = json_object_new_object();

        json_object_object_add(pair, "publicKey", text(cert->texts[i].chain_pem));
        json_object_array_add(list, pair);
    }
    json_object_object_add(obj, "moreKeys", list);
}

static void emit_options(struct json_object *obj, const struct route_options *options)
{
    struct json_object *all;

    if (!options->text[0])
        return;
    all = json_tokener_parse(options->text);
    must(all != NULL);
    json_object_object_foreach(all, key, value)
        json_object_object_add(obj, key, json_object_get(value));
    json_object_put(all);
}

struct json_object *route_json_emit(const struct route *route)
{
    struct json_object *obj = json_object_new_object();
    struct json_object *ips = json_object_new_array(), *ports = json_object_new_array();
    char host[ADDR_TEXT_MAX];

    must(obj != NULL && ips != NULL && ports != NULL);
    for (size_t i = 0; i < route->destination_count; i += route->port_count)
        json_object_array_add(ips, text(addr_format_host(&route->destinations[i].addr, host)));
    for (size_t i = 0; i < route->port_count; i++)
        json_object_array_add(ports, json_object_new_int(addr_port(&route->destinations[i].addr)));
    json_object_object_add(obj, "hostName", text(route->host));
    json_object_object_add(obj, "destinationIps", ips);
    json_object_object_add(obj, "destinationPorts", ports);
    emit_chains(obj, route->cert);
    if (route->auth)
        json_object_object_add(obj, "authentication", emit_auth(route->auth));
    emit_options(obj, route->options);
    return obj;
}

struct json_object *route_json_emit_set(const struct route_set *set)
{
    struct json_object *obj = json_object_new_object(), *list = json_object_new_array();

    must(obj != NULL && list != NULL);
    for (size_t i = 0; i < set->count; i++)
        json_object_array_add(list, route_json_emit(&set->routes[i]));
    json_object_object_add(obj, "routes", list);
    return obj;
}

static struct json_object *emit_time(int64_t seconds)
{
    char out[40];
    time_t at = (time_t)seconds;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return text(out);
}

static void on_name(const char *name, void *arg)
{
    json_object_array_add(arg, text(name));
}

static struct json_object *emit_certificate(const struct route *route, unsigned i, int64_t now)
{
    struct json_object *obj = json_object_new_object(), *names = json_object_new_array();
    const struct tls_cert *cert = route->cert->cert;
    int64_t left = tls_cert_not_after(cert, i) - now;
    uint8_t print[32];
    char hex[2 * sizeof(print) + 1];

    must(obj != NULL && names != NULL);
    tls_cert_each_name(cert, i, on_name, names);
    tls_cert_fingerprint(cert, i, print);
    for (size_t at = 0; at < sizeof(print); at++)
        snprintf(hex + 2 * at, 3, "%02x", print[at]);
    json_object_object_add(obj, "host", text(route->host));
    json_object_object_add(obj, "names", names);
    json_object_object_add(obj, "key", text(tls_cert_key_kind(cert, i)));
    json_object_object_add(obj, "notBefore", emit_time(tls_cert_not_before(cert, i)));
    json_object_object_add(obj, "notAfter", emit_time(tls_cert_not_after(cert, i)));
    json_object_object_add(obj, "fingerprint", text(hex));
    /* Whole days, rounded down: -1 from the second on in which it expired. */
    json_object_object_add(
        obj, "daysLeft",
        json_object_new_int64(left >= 0 ? left / 86400 : -((-left + 86399) / 86400)));
    return obj;
}

struct json_object *route_json_emit_certificates(const struct route_set *set, int64_t now)
{
    struct json_object *obj = json_object_new_object(), *list = json_object_new_array();

    must(obj != NULL && list != NULL);
    for (size_t i = 0; i < set->count; i++)
        for (unsigned pair = 0; pair < set->routes[i].cert->count; pair++)
            json_object_array_add(list, emit_certificate(&set->routes[i], pair, now));
    json_object_object_add(obj, "certificates", list);
    return obj;
}
