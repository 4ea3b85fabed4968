/* edge_api_json - the edge's part of the management API: status, and the tunnel's credentials. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "edge/edge.h"

static void add_str(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

static void add_int(struct json_object *o, const char *key, uint64_t value)
{
    json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

static void add_bool(struct json_object *o, const char *key, bool value)
{
    json_object_object_add(o, key, json_object_new_boolean(value));
}

/* What is configured of it. */
static struct json_object *describe_hub(const struct edge *e)
{
    const struct credentials *c = e->uplink.credentials;
    struct json_object *hub;

    if (!c)
        return NULL;
    hub = json_object_new_object();
    add_str(hub, "host", c->token.hub_host);
    add_int(hub, "port", c->token.hub_port);
    add_str(hub, "edgeId", c->token.edge_id);
    return hub;
}

static struct json_object *describe_hub_now(const struct edge *e)
{
    struct json_object *hub = describe_hub(e);
    char text[ADDR_TEXT_MAX];

    if (hub)
        add_str(hub, "address",
                uplink_is_connected(&e->uplink) ? addr_format(&e->uplink.hub, text) : NULL);
    return hub;
}

static void add_limits(struct json_object *o, const struct edge *e)
{
    struct json_object *limits = json_object_new_object();

    add_int(limits, "streams", e->shared.budget.limit_streams);
    add_int(limits, "heldClients", e->shared.held_max);
    add_int(limits, "udpSessions", e->shared.budget.udp.limit_sessions);
    add_int(limits, "udpMemory", e->shared.budget.udp.limit_bytes);
    add_int(limits, "udpMemoryTaken", e->shared.budget.udp.taken);
    add_int(limits, "memoryBudget", e->shared.budget.limit_bytes);
    add_int(limits, "memoryTaken", e->shared.budget.taken);
    json_object_object_add(o, "limits", limits);
}

static struct json_object *describe_listeners(const struct edge *e)
{
    struct json_object *listeners = json_object_new_object();

    admin_add_listeners(e->admin, listeners);
    return listeners;
}

static void get_status(void *service, struct admin_request *r)
{
    const struct edge *e = service;
    const struct uplink *u = &e->uplink;
    struct json_object *o = json_object_new_object();
    bool is_up = uplink_is_connected(u);
    struct edge_sums sums;

    edge_sum(e, &sums);
    add_bool(o, "running", !service_drain_is_begun(&e->drain));
    add_str(o, "version", PENSTOCK_VERSION);
    add_str(o, "instance", e->instance);
    json_object_object_add(o, "listeners", describe_listeners(e));
    add_bool(o, "connected", is_up);
    add_str(o, "phase", uplink_phase(u));
    add_str(o, "transport", is_up ? link_transport_name(uplink_transport(u)) : NULL);
    add_str(o, "transportReason", is_up ? transport_reason_name(u->choice.reason) : NULL);
    add_str(o, "hubVerified", is_up ? credentials_verified_by(u->credentials) : NULL);
    add_str(o, "publicIp", *u->assignment.stun.public_ip ? u->assignment.stun.public_ip : NULL);
    add_int(o, "lanes", u->lane_count);
    add_int(o, "activeStreams", e->shared.budget.streams);
    add_int(o, "udpSessions", e->shared.budget.udp.sessions);
    add_int(o, "heldClients", e->shared.held);
    add_int(o, "bytesIn", sums.bytes_in);
    add_int(o, "bytesOut", sums.bytes_out);
    add_int(o, "rttMs", sums.rtt_ms);
    public_ports_add_json(&u->assignment.ports, o);
    json_object_object_add(o, "configRevision",
                           u->assignment.has_config
                               ? json_object_new_int64((int64_t)u->assignment.config.revision)
                               : NULL);
    add_int(o, "connects", u->assignment.connects);
    add_str(o, "lastError", u->last_error[0] ? u->last_error : NULL);
    json_object_object_add(o, "hub", describe_hub_now(e));
    add_limits(o, e);
    admin_reply(r, 200, o, NULL);
}

static struct json_object *describe_tunnel(const struct edge *e)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "hub", describe_hub(e));
    add_bool(o, "isFixed", e->has_fixed_credentials);
    return o;
}

/* Of a random tag nobody can guess the secret, as of a digest of a weak one. */
static void renew_tag(struct edge *e)
{
    uint64_t random;

    tls_random(&random, sizeof(random));
    snprintf(e->tunnel_tag, sizeof(e->tunnel_tag), "%016llx", (unsigned long long)random);
}

static const char *tunnel_tag(struct edge *e)
{
    if (!e->tunnel_tag[0])
        renew_tag(e);
    return e->tunnel_tag;
}

static bool is_fixed(const struct edge *e, struct admin_request *r)
{
    if (!e->has_fixed_credentials)
        return false;
    admin_problem(r, 409, "fixedByConfiguration",
                  "the tunnel's credentials come from the configuration file or the environment");
    return true;
}

static void put_tunnel(void *service, struct admin_request *r)
{
    struct edge *e = service;
    struct credentials *c = NULL;
    struct json_check faults;

    if (is_fixed(e, r) || !admin_if_match(r, tunnel_tag(e)))
        return;
    json_check_init(&faults);
    if (credentials_from_json(&c, admin_body(r), &faults) != 0) {
        admin_problem_faults(r, &faults);
    } else if (admin_is_dry_run(r)) {
        admin_reply(r, 200, describe_tunnel(e), NULL);
    } else if (credentials_save(c, e->conf.service.state_dir) != 0) {
        admin_problem(r, 507, "stateNotWritten", "the state directory cannot be written");
    } else {
        uplink_set_credentials(&e->uplink, c);
        renew_tag(e);
        admin_reply(r, 200, describe_tunnel(e), tunnel_tag(e));
    }
    credentials_unref(c);
    json_check_fini(&faults);
}

static void delete_tunnel(void *service, struct admin_request *r)
{
    struct edge *e = service;

    if (is_fixed(e, r))
        return;
    if (!e->uplink.credentials) {
        admin_problem(r, 404, "notFound", "no tunnel is set");
        return;
    }
    if (!admin_if_match(r, tunnel_tag(e)))
        return;
    if (!admin_is_dry_run(r)) {
        if (credentials_forget(e->conf.service.state_dir) == -ERR_IO) {
            admin_problem(r, 507, "stateNotWritten",
                          "the credentials cannot be removed from the state directory; the tunnel "
                          "stays");
            return;
        }
        uplink_set_credentials(&e->uplink, NULL);
        renew_tag(e);
    }
    admin_reply_empty(r, 204);
}

static void get_tunnel(void *service, struct admin_request *r)
{
    struct edge *e = service;

    admin_reply(r, 200, describe_tunnel(e), tunnel_tag(e));
}

const struct admin_route edge_routes[] = {
    {.method = "GET", .pattern = "/v1/status", .access = ADMIN_READ, .handle = get_status},
    {.method = "GET", .pattern = "/v1/tunnel", .access = ADMIN_READ, .handle = get_tunnel},
    {.method = "PUT",
     .pattern = "/v1/tunnel",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .body_max = 16384,
     .queries = admin_dry_run_query,
     .handle = put_tunnel},
    {.method = "DELETE",
     .pattern = "/v1/tunnel",
     .access = ADMIN_WRITE,
     .queries = admin_dry_run_query,
     .handle = delete_tunnel},
    {.method = NULL},
};

bool edge_is_ready(void *service, char *why, size_t why_size)
{
    const struct edge *e = service;

    if (uplink_is_connected(&e->uplink) && e->uplink.assignment.has_config)
        return !public_ports_tell_failed(&e->uplink.assignment.ports, why, why_size);
    snprintf(why, why_size, "no tunnel: %s%s%s", uplink_phase(&e->uplink),
             e->uplink.last_error[0] ? ": " : "", e->uplink.last_error);
    return false;
}

struct json_object *edge_config(void *service)
{
    const struct edge *e = service;

    return conf_emit(&edge_conf_table, &e->conf);
}
