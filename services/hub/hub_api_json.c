/* hub_api_json - see hub_api_json.h: the table of routes, the status. */
#include "hub/hub_api_json.h"

#include <string.h>

#include "base/err.h"
#include "hub/edge_share.h"
#include "hub/unix_time.h"
#include "json/json.h"

void api_add_str(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

void api_add_int(struct json_object *o, const char *key, uint64_t value)
{
    json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

struct json_object *api_ports(const struct port_list *l)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < l->count; i++)
        json_object_array_add(list, json_object_new_int(l->ports[i]));
    return list;
}

struct edge *api_find_edge(const struct hub *h, struct admin_request *r)
{
    struct edge *edge = registry_find(&h->registry, admin_param(r, "id"));

    if (!edge)
        admin_problem(r, 404, "notFound", "no edge has this id");
    return edge;
}

/* --- GET /v1/status
 * --------------------------------------------------------------------------------- */

static struct json_object *port_errors(const struct config_ack *ack)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < ack->fault_count; i++) {
        const struct port_fault *fault = &ack->faults[i];
        struct json_object *o = json_object_new_object();

        api_add_int(o, "port", fault->port);
        api_add_str(o, "protocol", fault->protocol == PORT_UDP ? "udp" : "tcp");
        api_add_str(o, "error", fault->error);
        json_object_array_add(list, o);
    }
    return list;
}

struct session_sums {
    uint64_t in, out, streams, udp_sessions, udp_dropped, rtt_ms;
};

static struct session_sums sum_session(const struct session *s)
{
    const struct edge_session *es = s->user;
    struct session_sums sums = {
        .in = es->past_in, .out = es->past_out, .udp_dropped = es->past_udp_dropped};

    LIST_EACH (&s->lanes, node, after) {
        const struct lane_record *record = container_of(node, struct session_lane, node)->link;
        const struct lane_gauges *g = &record->lane->gauges;
        uint32_t rtt_ms = atomic_load_explicit(&g->rtt_ms, memory_order_relaxed);

        sums.in += counted(&g->bytes_in);
        sums.out += counted(&g->bytes_out);
        sums.streams += atomic_load_explicit(&g->streams, memory_order_relaxed);
        sums.udp_sessions += atomic_load_explicit(&g->udp_sessions, memory_order_relaxed);
        for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
            sums.udp_dropped += counted(&g->udp_dropped[i]);
        sums.rtt_ms = MAX(sums.rtt_ms, rtt_ms);
    }
    return sums;
}

/* What new streams use: while a session moves from one to the other, the one that it moves to. */
static enum link_transport transport_of(const struct session *s)
{
    enum link_transport transport = LINK_TLS;

    LIST_EACH (&s->lanes, node, after) {
        const struct session_lane *at = container_of(node, struct session_lane, node);
        const struct lane_record *record = at->link;

        if (!at->is_draining || node->next == &s->lanes)
            transport = record->lane->transport;
    }
    return transport;
}

/* What the edge has of the limits that all share, all its instances together. */
static struct json_object *share_of(const struct edge_share *s)
{
    struct json_object *o = json_object_new_object();

    api_add_int(o, "streams", atomic_load_explicit(&s->forwards, memory_order_relaxed));
    api_add_int(o, "connects", atomic_load_explicit(&s->connects, memory_order_relaxed));
    api_add_int(o, "udpSessions", atomic_load_explicit(&s->udp_flows, memory_order_relaxed));
    api_add_int(o, "memoryTaken", counted(&s->budget.taken));
    api_add_int(o, "udpMemoryTaken", counted(&s->budget.udp.taken));
    api_add_int(o, "refused", edge_share_refused(s));
    return o;
}

static struct json_object *connected_edge(const struct session *s)
{
    const struct edge_session *es = s->user;
    struct session_sums sums = sum_session(s);
    struct json_object *o = json_object_new_object();
    char remote[ADDR_TEXT_MAX];

    api_add_str(o, "edgeId", s->edge_id);
    api_add_str(o, "instance", s->instance);
    api_add_str(o, "transport", link_transport_name(transport_of(s)));
    api_add_int(o, "lanes", s->lane_count);
    api_add_str(o, "remoteAddress", addr_format_host(&es->remote, remote));
    api_add_str(o, "publicIp", es->ack.public_ip[0] ? es->ack.public_ip : NULL);
    json_object_object_add(o, "connectedAt", unix_time_json(es->connected_unix));
    api_add_int(o, "rttMs", sums.rtt_ms);
    api_add_int(o, "activeStreams", sums.streams);
    api_add_int(o, "udpSessions", sums.udp_sessions);
    api_add_int(o, "udpDropped", sums.udp_dropped);
    json_object_object_add(o, "share", share_of(es->edge->share));
    api_add_int(o, "bytesIn", sums.in);
    api_add_int(o, "bytesOut", sums.out);
    json_object_object_add(o, "listenPorts", api_ports(&es->ack.ports));
    json_object_object_add(o, "listenPortsUdp", api_ports(&es->ack.ports_udp));
    json_object_object_add(o, "portErrors", port_errors(&es->ack));
    json_object_object_add(o, "assignedPorts", api_ports(&es->edge->ports));
    json_object_object_add(o, "assignedPortsUdp", api_ports(&es->edge->ports_udp));
    api_add_int(o, "revision", es->revision);
    api_add_int(o, "acknowledgedRevision", es->acked_revision);
    return o;
}

static struct json_object *totals(const struct hub *h)
{
    struct json_object *o = json_object_new_object();
    struct lane_sums sums;

    hub_sum_lanes(h, &sums);
    api_add_int(o, "edges", h->registry.count);
    api_add_int(o, "sessions", h->desk.book.count);
    api_add_int(o, "lanes", h->desk.open_count);
    api_add_int(o, "activeStreams", sums.streams);
    api_add_int(o, "streamsOpened", sums.opened);
    api_add_int(o, "udpSessions",
                atomic_load_explicit(&h->shared.budget.udp.sessions, memory_order_relaxed));
    api_add_int(o, "udpSessionsOpened", sums.udp.opened);
    api_add_int(o, "udpMemoryTaken",
                atomic_load_explicit(&h->shared.budget.udp.taken, memory_order_relaxed));
    api_add_int(o, "bytesIn", sums.bytes_in);
    api_add_int(o, "bytesOut", sums.bytes_out);
    api_add_int(o, "memoryTaken",
                atomic_load_explicit(&h->shared.budget.taken, memory_order_relaxed));
    api_add_int(o, "handshakes", h->desk.admission.count);
    return o;
}

static struct json_object *limits(const struct hub *h)
{
    const struct hub_conf *conf = &h->conf;
    struct json_object *o = json_object_new_object();

    api_add_int(o, "streams", (uint64_t)conf->limits.streams);
    api_add_int(o, "udpSessions", h->shared.budget.udp.limit_sessions);
    api_add_int(o, "udpMemory", (uint64_t)conf->limits.udp_memory);
    api_add_int(o, "edges", (uint64_t)conf->limits.edges);
    api_add_int(o, "sessions", (uint64_t)conf->limits.sessions);
    api_add_int(o, "lanes", (uint64_t)conf->max_lanes);
    api_add_int(o, "handshakes", (uint64_t)conf->limits.handshakes);
    api_add_int(o, "handshakesPerSource", (uint64_t)conf->limits.handshakes_per_source);
    api_add_int(o, "connects", (uint64_t)conf->limits.connects);
    api_add_int(o, "edgeShare", (uint64_t)conf->limits.edge_share);
    api_add_int(o, "memoryBudget", (uint64_t)conf->memory_budget);
    api_add_int(o, "maxWindow", (uint64_t)conf->max_window);
    return o;
}

static struct json_object *listeners(const struct hub *h)
{
    struct json_object *o = json_object_new_object();
    char text[ADDR_TEXT_MAX];

    addr_format(&h->tunnel_at, text);
    if (h->port.door_count > 0)
        api_add_str(o, "tunnel", text);
    if (h->has_quic)
        api_add_str(o, "tunnelQuic", text);
    admin_add_listeners(h->admin, o);
    return o;
}

static void get_status(void *service, struct admin_request *r)
{
    const struct hub *h = service;
    struct json_object *o = json_object_new_object(), *edges = json_object_new_array();

    LIST_EACH (&h->desk.book.sessions, node, after)
        json_object_array_add(edges, connected_edge(container_of(node, struct session, node)));
    json_object_object_add(o, "running",
                           json_object_new_boolean(!service_drain_is_begun(&h->drain)));
    api_add_str(o, "version", PENSTOCK_VERSION);
    json_object_object_add(o, "startedAt", unix_time_json(h->started_unix));
    api_add_int(o, "workers", h->worker_count);
    api_add_int(o, "tunnelPort", addr_port(&h->tunnel_at));
    json_object_object_add(o, "listeners", listeners(h));
    json_object_object_add(o, "connectedEdges", edges);
    json_object_object_add(o, "totals", totals(h));
    json_object_object_add(o, "limits", limits(h));
    admin_reply(r, 200, o, NULL);
}

/* --- the table
 * -------------------------------------------------------------------------------------- */

#define READ(method_, pattern_, handle_)                                                           \
    {                                                                                              \
        .method = method_, .pattern = pattern_, .access = ADMIN_READ, .handle = handle_            \
    }
#define CHANGE(method_, pattern_, body_, optional_, handle_)                                       \
    {                                                                                              \
        .method = method_, .pattern = pattern_, .access = ADMIN_WRITE, .takes_body = body_,        \
        .body_is_optional = optional_, .queries = admin_dry_run_query, .handle = handle_           \
    }

const struct admin_route hub_routes[] = {
    {.method = "GET", .pattern = "/", .access = ADMIN_PUBLIC, .handle = api_get_dashboard},
    {.method = "GET",
     .pattern = "/dashboard/{file}",
     .access = ADMIN_PUBLIC,
     .handle = api_get_dashboard_file},
    READ("GET", "/v1/status", get_status),
    READ("GET", "/v1/edges", api_get_edges),
    CHANGE("POST", "/v1/edges", true, false, api_post_edges),
    CHANGE("PUT", "/v1/edges", true, false, api_put_edges),
    READ("GET", "/v1/edges/{id}", api_get_edge),
    CHANGE("PATCH", "/v1/edges/{id}", true, false, api_patch_edge),
    CHANGE("DELETE", "/v1/edges/{id}", false, false, api_delete_edge),
    CHANGE("POST", "/v1/edges/{id}/token", true, true, api_post_token),
    CHANGE("POST", "/v1/edges/{id}/secret", true, true, api_post_secret),
    CHANGE("DELETE", "/v1/edges/{id}/connection", false, false, api_delete_connection),
    READ("GET", "/v1/edges/{id}/streams", api_get_streams),
    {.method = NULL},
};
