/* credentials_api_json - what an edge proves itself with, and its connection: tokens, new secrets,
 * the kick.  A secret leaves the hub in a token only. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hub/hub_api_json.h"
#include "hub/unix_time.h"
#include "json/json.h"

#define GRACE_SECS_DEFAULT 86400

static void add_token(struct json_object *o, const struct hub *h, const struct edge *edge,
                      const char *host, uint16_t port)
{
    char *token = hub_make_token(h, edge, host, port);

    api_add_str(o, "token", token);
    tls_wipe(token, strlen(token));
    free(token);
}

void api_post_token(void *service, struct admin_request *r)
{
    const struct hub *h = service;
    const struct edge *edge = api_find_edge(h, r);
    struct json_object *body = admin_body(r), *o;
    const char *host = h->conf.public_host;
    uint16_t port = hub_public_port(h);
    struct json_check faults;
    bool is_host_read = true;

    if (!edge)
        return;
    json_check_init(&faults);
    if (body) {
        const char *named;
        size_t before;

        json_only(&faults, "", body, (const char *const[]){"hubHost", "hubPort", NULL});
        before = faults.total;
        named = json_str(&faults, "", body, "hubHost", JSON_OPTIONAL, 1, HOST_MAX);
        is_host_read = faults.total == before;
        host = named ? named : host;
        port = (uint16_t)json_int(&faults, "", body, "hubPort", JSON_OPTIONAL, 1, 65535, port);
    }
    if (is_host_read && !*host)
        json_fault(&faults, "/hubHost", "required", "tunnel.publicHost is not set: name the host");
    else if (is_host_read && !host_is_valid(host))
        json_fault(&faults, "/hubHost", "invalid", "must be a host name or an address");
    if (json_check_failed(&faults)) {
        admin_problem_faults(r, &faults);
    } else {
        o = json_object_new_object();
        api_add_str(o, "edgeId", edge->id);
        api_add_str(o, "hubHost", host);
        api_add_int(o, "hubPort", port);
        add_token(o, h, edge, host, port);
        admin_reply(r, 200, o, NULL);
    }
    json_check_fini(&faults);
}

static void answer_renewed(struct hub *h, struct admin_request *r, const char *id,
                           struct json_object *body)
{
    const struct edge *edge = registry_find(&h->registry, id);
    char etag[REGISTRY_ETAG_MAX];

    if (*h->conf.public_host && !admin_is_dry_run(r))
        add_token(body, h, edge, h->conf.public_host, hub_public_port(h));
    admin_reply(r, 200, body, registry_etag(&h->registry, edge, etag));
}

static void renew(struct hub *h, struct change *c, struct admin_request *r, const struct edge *edge,
                  uint64_t grace_secs)
{
    struct secret_grace grace =
        secret_grace_of(grace_secs * 1000, loop_now_ms(h->loop), unix_time_now());
    struct json_object *o = json_object_new_object();

    api_add_str(o, "edgeId", edge->id);
    secret_grace_emit(o, grace);
    if (admin_is_dry_run(r)) {
        answer_renewed(h, r, edge->id, o);
        return;
    }
    change_renew(c, edge->id, grace);
    change_commit(h, c, edge->id, o, answer_renewed);
}

static void check_secret(struct hub *h, struct change *c, struct admin_request *r)
{
    const struct edge *edge = api_find_edge(h, r);
    struct json_object *body = admin_body(r);
    int64_t grace_secs = GRACE_SECS_DEFAULT;
    char etag[REGISTRY_ETAG_MAX];
    struct json_check faults;

    if (!edge || !admin_if_match(r, registry_etag(&h->registry, edge, etag)))
        return;
    json_check_init(&faults);
    if (body) {
        json_only(&faults, "", body, (const char *const[]){"graceSecs", NULL});
        grace_secs =
            json_int(&faults, "", body, "graceSecs", JSON_OPTIONAL, 0, GRACE_SECS_MAX, grace_secs);
    }
    if (json_check_failed(&faults))
        admin_problem_faults(r, &faults);
    else
        renew(h, c, r, edge, (uint64_t)grace_secs);
    json_check_fini(&faults);
}

void api_post_secret(void *service, struct admin_request *r)
{
    change_begin(service, r, check_secret);
}

void api_delete_connection(void *service, struct admin_request *r)
{
    struct hub *h = service;
    struct edge *edge = api_find_edge(h, r);

    if (!edge)
        return;
    if (!admin_is_dry_run(r)) {
        log_info("hub", "edge_kicked", LOG_S("edge", edge->id), LOG_S("by", admin_peer(r)),
                 LOG_S("request", admin_request_id(r)));
        desk_end_edge(&h->desk, edge, GOODBYE_KICKED);
    }
    admin_reply_empty(r, 204);
}
