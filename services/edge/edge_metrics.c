/* edge_metrics - what GET /metrics says of the edge, beside what admin says of every process. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/metrics.h"
#include "edge/edge.h"

static void one(struct metrics *m, const char *name, enum metric_type type, const char *help,
                uint64_t value)
{
    metrics_family(m, name, type, help);
    metrics_value(m, (double)value, NULL);
}

static void streams(struct metrics *m, const struct edge *e, const struct edge_sums *s)
{
    one(m, "penstock_edge_streams_open", METRIC_GAUGE, "Client connections in the tunnel.",
        e->shared.budget.streams);
    one(m, "penstock_edge_streams_opened_total", METRIC_COUNTER, "Streams opened.", s->opened);
    metrics_family(
        m, "penstock_edge_streams_closed_total", METRIC_COUNTER,
        "Streams that ended in order, by a reset of either side, or by limits.flushSecs.");
    metrics_value(m, (double)s->ended, "result", "ended", NULL);
    metrics_value(m, (double)s->reset, "result", "reset", NULL);
    metrics_value(m, (double)s->flush_timeouts, "result", "flush_timeout", NULL);
    metrics_family(m, "penstock_edge_streams_reset_by_hub_total", METRIC_COUNTER,
                   "Streams that the hub reset, by what it said.");
    metrics_value(m, (double)s->reset_by_hub[1], "reason", "reset", NULL);
    metrics_value(m, (double)s->reset_by_hub[2], "reason", "unreachable", NULL);
    metrics_value(m, (double)s->reset_by_hub[3], "reason", "not_allowed", NULL);
}

static void clients(struct metrics *m, const struct edge *e, const struct edge_sums *s)
{
    one(m, "penstock_edge_connections_accepted_total", METRIC_COUNTER,
        "Connections accepted at public ports.", s->accepted);
    one(m, "penstock_edge_connections_open", METRIC_GAUGE, "Clients connected now, held ones too.",
        s->clients);
    one(m, "penstock_edge_connections_held", METRIC_GAUGE, "Clients that wait for the tunnel.",
        e->shared.held);
    one(m, "penstock_edge_accept_exhausted_total", METRIC_COUNTER,
        "Pauses of accepting for want of descriptors or memory.", s->exhausted);
    metrics_family(m, "penstock_edge_refused_total", METRIC_COUNTER, "Clients turned away.");
    for (unsigned i = 0; i < EDGE_REFUSAL_COUNT; i++)
        metrics_value(m, (double)s->refused[i], "reason", edge_refusal_name((enum edge_refusal)i),
                      NULL);
}

static void tunnel(struct metrics *m, const struct edge *e, const struct edge_sums *s)
{
    one(m, "penstock_edge_tunnel_connected", METRIC_GAUGE, "1 while a lane is up.",
        uplink_is_connected(&e->uplink));
    one(m, "penstock_edge_tunnel_connects_total", METRIC_COUNTER, "How often the tunnel came up.",
        e->uplink.assignment.connects);
    one(m, "penstock_edge_lanes", METRIC_GAUGE, "Lanes that are up.", e->uplink.lane_count);
    metrics_family(m, "penstock_edge_bytes_total", METRIC_COUNTER,
                   "Payload: in comes from clients, out goes to them.");
    metrics_value(m, (double)s->bytes_in, "direction", "in", NULL);
    metrics_value(m, (double)s->bytes_out, "direction", "out", NULL);
    metrics_family(m, "penstock_edge_rtt_seconds", METRIC_GAUGE,
                   "Round trip of the newest heartbeat.");
    metrics_value(m, (double)s->rtt_ms / 1000.0, NULL);
    metrics_family(m, "penstock_edge_queue_depth", METRIC_GAUGE,
                   "Streams that wait for their turn to send, by tier.");
    metrics_value(m, (double)s->depth_normal, "tier", "data", NULL);
    metrics_value(m, (double)s->depth_sustained, "tier", "sustained", NULL);
    metrics_value(m, (double)s->depth_udp, "tier", "udp", NULL);
    one(m, "penstock_edge_window_stalls_total", METRIC_COUNTER,
        "Times that a stream had to wait for credit.", s->window_stalls);
    one(m, "penstock_edge_read_ahead_waits_total", METRIC_COUNTER,
        "Times that a stream had to wait, since its connection to the hub had enough to send.",
        s->ahead_waits);
}

static void transport(struct metrics *m, const struct edge *e)
{
    const struct transport_choice *c = &e->uplink.choice;
    char name[64];

    metrics_family(m, "penstock_edge_transport_info", METRIC_GAUGE,
                   "1 with the transport that new streams use, and why.");
    metrics_value(m, 1, "transport", link_transport_name(uplink_transport(&e->uplink)), "reason",
                  transport_reason_name(c->reason), NULL);
    metrics_family(m, "penstock_edge_transport_switches_total", METRIC_COUNTER,
                   "Changes of the transport that is dialled, by reason.");
    for (unsigned i = 0; i < TRANSPORT_REASON_COUNT; i++)
        metrics_value(m, (double)c->switches[i], "reason",
                      transport_reason_name((enum transport_reason)i), NULL);
    for (const struct quic_gauge_rule *r = quic_gauge_rules; r->name; r++) {
        uint64_t sum =
            quic_gauges_sum(r, &e->workers[0].quic_gauges, sizeof(*e->workers), e->workers_count);

        snprintf(name, sizeof(name), "penstock_edge_%s", r->name);
        if (*r->help)
            metrics_family(m, name, r->kind == QUIC_COUNTER ? METRIC_COUNTER : METRIC_GAUGE,
                           r->help);
        metrics_value(m, (double)sum, r->label, r->value, NULL);
    }
}

static void udp(struct metrics *m, const struct edge *e, const struct edge_udp_sums *s)
{
    one(m, "penstock_edge_udp_sessions_open", METRIC_GAUGE, "UDP sessions in the tunnel.",
        e->shared.budget.udp.sessions);
    one(m, "penstock_edge_udp_flows", METRIC_GAUGE,
        "Clients of UDP ports, those included that have no session now.", s->flows);
    one(m, "penstock_edge_udp_sessions_opened_total", METRIC_COUNTER, "UDP sessions opened.",
        s->opened);
    metrics_family(
        m, "penstock_edge_udp_evicted_total", METRIC_COUNTER,
        "Clients of UDP ports that went for want of room (limits.udpSessions), by which: "
        "the least recently used of an address that had more than its share, or of the worker's.");
    for (unsigned i = 0; i < UDP_EVICTION_COUNT; i++)
        metrics_value(m, (double)s->evicted[i], "reason", udp_eviction_name((enum udp_eviction)i),
                      NULL);
    one(m, "penstock_edge_udp_idle_total", METRIC_COUNTER,
        "Clients of UDP ports that went by limits.udpIdleSecs.", s->idle);
    one(m, "penstock_edge_udp_errors_total", METRIC_COUNTER,
        "Errors of single packets that a UDP socket told (ICMP).", s->errors);
    one(m, "penstock_edge_udp_handed_over_total", METRIC_COUNTER,
        "Datagrams that went to another worker, since the one that they came to had no lane.",
        s->handed_over);
    metrics_family(m, "penstock_edge_udp_datagrams_total", METRIC_COUNTER,
                   "Datagrams carried: in comes from clients, out goes to them.");
    metrics_value(m, (double)s->datagrams_in, "direction", "in", NULL);
    metrics_value(m, (double)s->datagrams_out, "direction", "out", NULL);
    metrics_family(m, "penstock_edge_udp_bytes_total", METRIC_COUNTER, "Their payload.");
    metrics_value(m, (double)s->bytes_in, "direction", "in", NULL);
    metrics_value(m, (double)s->bytes_out, "direction", "out", NULL);
    metrics_family(m, "penstock_edge_udp_dropped_total", METRIC_COUNTER,
                   "Datagrams dropped, by why.");
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        metrics_value(m, (double)s->dropped[i], "reason", udp_drop_name((enum udp_drop)i), NULL);
    one(m, "penstock_edge_udp_send_calls_total", METRIC_COUNTER,
        "Calls of the kernel that sent datagrams to clients.", s->send_calls);
    one(m, "penstock_edge_udp_bundles_total", METRIC_COUNTER,
        "Messages of several datagrams that the kernel cut (UDP_SEGMENT).", s->bundles);
    one(m, "penstock_edge_udp_bundles_refused_total", METRIC_COUNTER,
        "Those that a device or the path's MTU refused: they left one by one.", s->bundles_refused);
    one(m, "penstock_edge_udp_memory_bytes", METRIC_GAUGE, "Taken of limits.udpMemory.",
        e->shared.budget.udp.taken);
}

static void stun(struct metrics *m, const struct stun_client *c)
{
    metrics_family(m, "penstock_edge_stun_requests_total", METRIC_COUNTER,
                   "Questions for the public address, by what came of them.");
    for (unsigned i = 0; i < STUN_RESULT_COUNT; i++)
        metrics_value(m, (double)c->results[i], "result", stun_result_name((enum stun_result)i),
                      NULL);
    one(m, "penstock_edge_stun_ignored_total", METRIC_COUNTER,
        "Datagrams to an open question that do not answer it.", c->ignored);
}

static void memory(struct metrics *m, const struct edge *e, const struct edge_sums *s)
{
    const struct budget *b = &e->shared.budget;

    one(m, "penstock_edge_budget_bytes", METRIC_GAUGE, "Taken of tunnel.memoryBudget.", b->taken);
    one(m, "penstock_edge_budget_limit_bytes", METRIC_GAUGE, "tunnel.memoryBudget.",
        b->limit_bytes);
    one(m, "penstock_edge_budget_denied_total", METRIC_COUNTER,
        "Times that a window or a queue could not grow.", b->denied);
    one(m, "penstock_edge_pool_chunks", METRIC_GAUGE, "Chunks of 16 KiB in use.", s->pool_chunks);
    one(m, "penstock_edge_pool_refused_total", METRIC_COUNTER,
        "Chunks refused by limits.poolChunks or by the heap.", s->pool_refused);
}

static void ports(struct metrics *m, const struct public_ports *p)
{
    one(m, "penstock_edge_ports_assigned", METRIC_GAUGE, "Public ports that the hub assigned.",
        p->count);
    one(m, "penstock_edge_ports_open", METRIC_GAUGE,
        "Those that are bound; none while the tunnel is away for longer than holdSecs.",
        public_ports_open_count(p));
    one(m, "penstock_edge_ports_failed", METRIC_GAUGE,
        "Those that could not be bound; each is tried again every 5 s.",
        public_ports_failed_count(p));
}

void edge_collect(void *service, struct metrics *m)
{
    const struct edge *e = service;
    struct edge_sums sums;

    edge_sum(e, &sums);
    tunnel(m, e, &sums);
    streams(m, e, &sums);
    clients(m, e, &sums);
    transport(m, e);
    udp(m, e, &sums.udp);
    stun(m, &e->uplink.assignment.stun);
    memory(m, e, &sums);
    ports(m, &e->uplink.assignment.ports);
}
