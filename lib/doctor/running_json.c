/* running - see running.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/client.h"
#include "admin/service.h"
#include "doctor/running.h"
#include "loop/addr.h"
#include "tls/tls.h"
#include "json/json.h"

#define UDP_LISTENER "tunnelQuic" /* the one name that means UDP */

static void fail(struct running *r, const char *why)
{
    snprintf(r->why, sizeof(r->why), "%s", why);
}

static void take_status(struct running *r, const struct client_answer *answer)
{
    struct json_object *status = NULL, *listeners = NULL;
    struct json_syntax syntax;

    if (answer->status != 200) {
        snprintf(r->why, sizeof(r->why), "it answers the token of this configuration with %u",
                 answer->status);
    } else if (json_read(&status, answer->body, answer->len, &syntax) != 0 ||
               !json_object_object_get_ex(status, "listeners", &listeners) ||
               !json_object_is_type(listeners, json_type_object)) {
        fail(r, "its status names no listeners");
    } else {
        r->listeners = json_object_get(listeners);
    }
    json_object_put(status);
}

static void ask_status(struct running *r, struct client_where *where,
                       const struct service_conf *conf)
{
    struct client_answer answer;
    char *token = service_read_token(conf);
    const char *fault;

    if (!token) {
        fail(r, "there is no read token that this user may read");
        return;
    }
    where->token = token;
    fault = client_get(&answer, where, "/v1/status", 0);
    if (fault) {
        fail(r, fault);
    } else {
        take_status(r, &answer);
        client_answer_fini(&answer);
    }
    tls_wipe(token, strlen(token));
    free(token);
}

void running_ask(struct running *out, const struct service_conf *conf)
{
    struct client_where where = {.listen = conf->management_listen,
                                 .is_tls = *conf->management_cert_file != '\0'};
    struct client_answer answer;

    *out = (struct running){.is_there = false};
    if (client_get(&answer, &where, "/healthz", 0))
        return;
    out->is_there = answer.status == 200;
    client_answer_fini(&answer);
    if (out->is_there)
        ask_status(out, &where, conf);
}

void running_fini(struct running *r)
{
    json_object_put(r->listeners);
    r->listeners = NULL;
}

/* One socket keeps the other from being bound. */
static bool is_in_the_way(const union addr *wanted, const char *text)
{
    union addr held;

    if (!text || addr_parse(&held, text) != 0 || addr_port(&held) != addr_port(wanted))
        return false;
    return addr_is_any(&held) || addr_is_any(wanted) || addr_is_same_host(&held, wanted);
}

enum machine_holder running_holder(const struct running *r, const char *listen,
                                   enum machine_port kind)
{
    union addr wanted;

    if (!r->is_there)
        return MACHINE_STRANGER;
    if (!r->listeners)
        return MACHINE_UNTOLD;
    must(addr_parse(&wanted, listen) == 0); /* the configuration was checked */
    json_object_object_foreach(r->listeners, name, address)
    {
        bool is_udp = strcmp(name, UDP_LISTENER) == 0;

        if (is_udp == (kind == MACHINE_UDP) &&
            is_in_the_way(&wanted, json_object_get_string(address)))
            return MACHINE_SERVICE;
    }
    return MACHINE_STRANGER;
}
