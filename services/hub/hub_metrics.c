/* hub_metrics - what GET /metrics says of the hub, beside what admin says of every process. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/metrics.h"
#include "hub/hub.h"
#include "store/store.h"

static void one(struct metrics *m, const char *name, enum metric_type type, const char *help,
                uint64_t value)
{
    metrics_family(m, name, type, help);
    metrics_value(m, (double)value, NULL);
}

/* One family with a sample for each of the label's values. */
static void by_label(struct metrics *m, const char *name, const char *help, const char *label,
                     const _Atomic uint64_t *counters, const char *const *names, size_t n)
{
    metrics_family(m, name, METRIC_COUNTER, help);
    for (size_t i = 0; i < n; i++)
        metrics_value(m, (double)counted(&counters[i]), label, names[i], NULL);
}

static void durations(struct metrics *m, const char *name, const char *help,
                      const struct duration *d)
{
    uint64_t counts[DURATION_BOUNDS + 1];

    for (size_t i = 0; i <= DURATION_BOUNDS; i++)
        counts[i] = counted(&d->counts[i]);
    metrics_family(m, name, METRIC_HISTOGRAM, help);
    metrics_histogram(m, duration_bounds, counts, DURATION_BOUNDS,
                      (double)counted(&d->sum_us) / 1e6, NULL);
}

static void tunnels(struct metrics *m, const struct hub *h)
{
    const struct hub_counters *c = &h->shared.counters;
    uint64_t exhausted = 0;

    for (unsigned i = 0; i < h->port.door_count; i++)
        exhausted += counted(&h->port.doors[i].acceptor.exhausted);
    one(m, "penstock_hub_tunnel_connections_total", METRIC_COUNTER, "Tunnel connections accepted.",
        counted(&c->accepted));
    one(m, "penstock_hub_accept_exhausted_total", METRIC_COUNTER,
        "Pauses of accepting for want of descriptors or memory.", exhausted);
    one(m, "penstock_hub_handshakes_total", METRIC_COUNTER, "Tunnel connections opened.",
        counted(&c->handshakes));
    one(m, "penstock_hub_handshakes_pending", METRIC_GAUGE,
        "Tunnel connections that have not said hello yet.", h->desk.admission.count);
    one(m, "penstock_hub_refusals_waiting", METRIC_GAUGE,
        "Wrong proofs that wait out their second.", h->desk.waiting_count);
    by_label(m, "penstock_hub_handshake_failures_total", "Tunnel connections that never opened.",
             "reason", c->handshake_faults, handshake_fault_names, HANDSHAKE_FAULT_COUNT);
    durations(m, "penstock_hub_handshake_duration_seconds", "From accept to open.", &c->handshake);
    metrics_family(m, "penstock_hub_goodbyes_total", METRIC_COUNTER, "GOODBYE sent, by code.");
    for (unsigned i = 0; i < GOODBYE_OTHER; i++)
        metrics_value(m, (double)counted(&c->goodbyes[i]), "code",
                      goodbye_name((enum goodbye_code)i), NULL);
}

static void quic(struct metrics *m, const struct hub *h)
{
    char name[64];

    for (const struct quic_gauge_rule *r = quic_gauge_rules; r->name; r++) {
        uint64_t sum =
            quic_gauges_sum(r, &h->workers[0].quic_gauges, sizeof(*h->workers), h->worker_count);

        snprintf(name, sizeof(name), "penstock_hub_%s", r->name);
        if (*r->help)
            metrics_family(m, name, r->kind == QUIC_COUNTER ? METRIC_COUNTER : METRIC_GAUGE,
                           r->help);
        metrics_value(m, (double)sum, r->label, r->value, NULL);
    }
}

/* Open tunnel connections, by transport. */
static void lanes(struct metrics *m, const struct hub *h)
{
    unsigned by_transport[2] = {0};

    LIST_EACH (&h->desk.records, node, after) {
        const struct lane_record *record = container_of(node, struct lane_record, node);

        if (record->is_open)
            by_transport[record->lane->transport]++;
    }
    metrics_family(m, "penstock_hub_lanes", METRIC_GAUGE, "Tunnel connections that are open.");
    for (unsigned i = 0; i < ARRAY_LEN(by_transport); i++)
        metrics_value(m, by_transport[i], "transport", link_transport_name((enum link_transport)i),
                      NULL);
}

static uint64_t connected_edges(const struct hub *h)
{
    uint64_t count = 0;

    for (size_t i = 0; i < h->registry.count; i++)
        count += h->registry.edges[i]->sessions > 0;
    return count;
}

static void sessions(struct metrics *m, const struct hub *h)
{
    one(m, "penstock_hub_edges", METRIC_GAUGE, "Edges in the registry.", h->registry.count);
    one(m, "penstock_hub_paths_collapsed_total", METRIC_COUNTER,
        "Times that a lane by QUIC was seen to move next to nothing of what waited for it.",
        counted(&h->shared.counters.paths_collapsed));
    one(m, "penstock_hub_edges_refused_total", METRIC_COUNTER, "Changes refused by limits.edges.",
        counted(&h->shared.counters.edges_refused));
    one(m, "penstock_hub_edges_connected", METRIC_GAUGE, "Edges with a session.",
        connected_edges(h));
    one(m, "penstock_hub_sessions", METRIC_GAUGE, "Running edge instances.", h->desk.book.count);
    lanes(m, h);
}

static void streams(struct metrics *m, const struct hub *h, const struct lane_sums *sums)
{
    const struct hub_counters *c = &h->shared.counters;

    one(m, "penstock_hub_streams_open", METRIC_GAUGE, "Streams in the tunnels.",
        atomic_load_explicit(&h->shared.budget.streams, memory_order_relaxed));
    one(m, "penstock_hub_forwards_open", METRIC_GAUGE,
        "Target connections, those included whose stream is over.",
        atomic_load_explicit(&h->shared.forwards, memory_order_relaxed));
    one(m, "penstock_hub_connects_pending", METRIC_GAUGE, "Target connects under way.",
        atomic_load_explicit(&h->shared.connects, memory_order_relaxed));
    one(m, "penstock_hub_streams_opened_total", METRIC_COUNTER, "Streams opened by edges.",
        sums->opened);
    by_label(m, "penstock_hub_streams_total", "Streams that ended, by how.", "result",
             c->stream_results, stream_result_names, STREAM_RESULT_COUNT);
    by_label(m, "penstock_hub_streams_refused_total",
             "OPENs and UDP_OPENs that were refused at once.", "reason", c->open_refusals,
             open_refusal_names, OPEN_REFUSAL_COUNT);
    by_label(m, "penstock_hub_connect_failures_total", "Targets that could not be connected to.",
             "reason", c->connect_faults, connect_fault_names, CONNECT_FAULT_COUNT);
    one(m, "penstock_hub_streams_unlisted_total", METRIC_COUNTER,
        "Streams left out of a list (limits.streamsListed).", counted(&c->streams_unlisted));
    durations(m, "penstock_hub_connect_duration_seconds", "From OPEN to the target's connection.",
              &c->connect);
    one(m, "penstock_hub_window_stalls_total", METRIC_COUNTER,
        "How often a stream to an edge ran out of credit.", sums->window_stalls);
    one(m, "penstock_hub_read_ahead_waits_total", METRIC_COUNTER,
        "How often a stream had to wait, since its connection to the edge had enough to send.",
        sums->ahead_waits);
    metrics_family(m, "penstock_hub_queue_depth", METRIC_GAUGE,
                   "Streams that wait to send, by QoS tier.");
    metrics_value(m, (double)sums->queue_data, "tier", "data", NULL);
    metrics_value(m, (double)sums->queue_sustained, "tier", "sustained", NULL);
    metrics_value(m, (double)sums->queue_udp, "tier", "udp", NULL);
}

static void udp_sends(struct metrics *m, const struct hub *h)
{
    uint64_t calls = 0, bundles = 0, refused = 0;

    for (unsigned i = 0; i < h->worker_count; i++) {
        const struct udp_out_counters *sent = &h->workers[i].udp.sent;

        calls += counted(&sent->calls);
        bundles += counted(&sent->bundles);
        refused += counted(&sent->refused);
    }
    one(m, "penstock_hub_udp_send_calls_total", METRIC_COUNTER,
        "Calls of the kernel that sent datagrams to targets.", calls);
    one(m, "penstock_hub_udp_bundles_total", METRIC_COUNTER,
        "Messages of several datagrams that the kernel cut (UDP_SEGMENT).", bundles);
    one(m, "penstock_hub_udp_bundles_refused_total", METRIC_COUNTER,
        "Those that a device or the path's MTU refused: they left one by one.", refused);
}

static void udp(struct metrics *m, const struct hub *h, const struct lane_sums *sums)
{
    const struct hub_counters *c = &h->shared.counters;

    one(m, "penstock_hub_udp_sessions_open", METRIC_GAUGE, "UDP sessions in the tunnels.",
        atomic_load_explicit(&h->shared.budget.udp.sessions, memory_order_relaxed));
    one(m, "penstock_hub_udp_flows", METRIC_GAUGE,
        "Sockets to targets, those included whose session waits for another lane.",
        atomic_load_explicit(&h->shared.udp_flows, memory_order_relaxed));
    one(m, "penstock_hub_udp_sessions_opened_total", METRIC_COUNTER, "UDP sessions opened.",
        sums->udp.opened);
    one(m, "penstock_hub_udp_evicted_total", METRIC_COUNTER,
        "UDP sessions that went as the least recently used (limits.udpSessions).",
        counted(&c->udp_evicted));
    one(m, "penstock_hub_udp_idle_total", METRIC_COUNTER,
        "UDP sessions that went by limits.udpIdleSecs.", counted(&c->udp_idle));
    one(m, "penstock_hub_udp_moved_total", METRIC_COUNTER,
        "UDP sessions that moved to another lane with their socket.", counted(&c->udp_moved));
    one(m, "penstock_hub_udp_target_errors_total", METRIC_COUNTER,
        "Errors of single packets that a target's socket told (ICMP).",
        counted(&c->udp_target_errors));
    metrics_family(m, "penstock_hub_udp_datagrams_total", METRIC_COUNTER,
                   "Datagrams carried: in comes from clients, out goes to them.");
    metrics_value(m, (double)sums->udp.datagrams_from_clients, "direction", "in", NULL);
    metrics_value(m, (double)sums->udp.datagrams_to_clients, "direction", "out", NULL);
    metrics_family(m, "penstock_hub_udp_bytes_total", METRIC_COUNTER, "Their payload.");
    metrics_value(m, (double)sums->udp.bytes_from_clients, "direction", "in", NULL);
    metrics_value(m, (double)sums->udp.bytes_to_clients, "direction", "out", NULL);
    metrics_family(m, "penstock_hub_udp_dropped_total", METRIC_COUNTER,
                   "Datagrams dropped, by why.");
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        metrics_value(m, (double)(sums->udp.dropped[i] + counted(&c->udp_dropped[i])), "reason",
                      udp_drop_name((enum udp_drop)i), NULL);
    one(m, "penstock_hub_udp_memory_bytes", METRIC_GAUGE, "Taken of limits.udpMemory.",
        atomic_load_explicit(&h->shared.budget.udp.taken, memory_order_relaxed));
}

static void shares(struct metrics *m, const struct hub *h)
{
    const struct budget *b = &h->shared.budget;

    metrics_family(
        m, "penstock_hub_edge_share_refused_total", METRIC_COUNTER,
        "What an edge was refused since it had its share of a limit (limits.edgeShare).");
    for (unsigned i = 0; i < SHARED_LIMIT_COUNT; i++) {
        uint64_t n = i == SHARED_MEMORY       ? counted(&b->past_share)
                     : i == SHARED_UDP_MEMORY ? counted(&b->udp.past_share)
                                              : counted(&h->shared.counters.past_share[i]);

        metrics_value(m, (double)n, "limit", shared_limit_names[i], NULL);
    }
}

static void memory(struct metrics *m, const struct hub *h)
{
    const struct budget *b = &h->shared.budget;
    uint64_t out = 0, refused = 0;

    for (unsigned i = 0; i < h->worker_count; i++) {
        out += counted(&h->workers[i].pool_out);
        refused += counted(&h->workers[i].pool_refused);
    }
    one(m, "penstock_hub_budget_bytes", METRIC_GAUGE, "Taken of tunnel.memoryBudget.",
        atomic_load_explicit(&b->taken, memory_order_relaxed));
    one(m, "penstock_hub_budget_limit_bytes", METRIC_GAUGE, "tunnel.memoryBudget.", b->limit_bytes);
    one(m, "penstock_hub_budget_denied_total", METRIC_COUNTER, "Takes that found no budget.",
        atomic_load_explicit(&b->denied, memory_order_relaxed));
    one(m, "penstock_hub_pool_chunks", METRIC_GAUGE, "Buffers of 16 KiB in use.", out);
    one(m, "penstock_hub_pool_refused_total", METRIC_COUNTER,
        "Buffers refused (limits.poolChunks, or no memory).", refused);
}

static void durable(struct metrics *m, const struct hub *h)
{
    struct store_stats s;

    store_stats(h->store, &s);
    one(m, "penstock_hub_store_commits_total", METRIC_COUNTER, "Changes that were made durable.",
        s.commits);
    metrics_family(m, "penstock_hub_store_commit_seconds_total", METRIC_COUNTER,
                   "Time that all writes took.");
    metrics_value(m, (double)s.busy_us / 1e6, NULL);
    metrics_family(m, "penstock_hub_store_faults_total", METRIC_COUNTER,
                   "Writes that the disk did not take: those changes were refused.");
    for (size_t i = 0; i < STORE_FAULT_COUNT; i++)
        metrics_value(m, (double)s.faults[i], "reason", store_fault_names[i], NULL);
    one(m, "penstock_hub_store_read_only", METRIC_GAUGE,
        "1 while the store can be read and not written.", s.is_read_only);
    one(m, "penstock_hub_changes_waiting", METRIC_GAUGE, "Changes that are not durable yet.",
        h->changes.count);
    one(m, "penstock_hub_changes_refused_total", METRIC_COUNTER,
        "Changes refused, for too many waited (limits.waitingChanges).", h->changes.refused);
}

/* Each edge by its name while they are not too many; the rest together. */
static void bytes(struct metrics *m, const struct hub *h, const struct lane_sums *sums)
{
    size_t named = MIN(h->registry.count, (size_t)h->conf.limits.metrics_edges);
    uint64_t in = 0, out = 0;

    for (size_t i = 0; i < named; i++)
        h->registry.edges[i]->live_in = h->registry.edges[i]->live_out = 0;
    LIST_EACH (&h->desk.records, node, after) {
        const struct lane_record *record = container_of(node, struct lane_record, node);

        if (!record->lane || !record->edge)
            continue;
        record->edge->live_in += counted(&record->lane->gauges.bytes_in);
        record->edge->live_out += counted(&record->lane->gauges.bytes_out);
    }
    metrics_family(m, "penstock_hub_bytes_total", METRIC_COUNTER,
                   "Payload by edge: in comes from clients, out goes to them.");
    for (size_t i = 0; i < named; i++) {
        const struct edge *e = h->registry.edges[i];

        in += e->past_in + e->live_in;
        out += e->past_out + e->live_out;
        metrics_value(m, (double)(e->past_in + e->live_in), "direction", "in", "edge", e->id, NULL);
        metrics_value(m, (double)(e->past_out + e->live_out), "direction", "out", "edge", e->id,
                      NULL);
    }
    /* No edge may be called so: "*" is no character of an id. */
    metrics_value(m, (double)(sums->bytes_in - MIN(in, sums->bytes_in)), "direction", "in", "edge",
                  "*other", NULL);
    metrics_value(m, (double)(sums->bytes_out - MIN(out, sums->bytes_out)), "direction", "out",
                  "edge", "*other", NULL);
}

void hub_collect(void *service, struct metrics *m)
{
    const struct hub *h = service;
    struct lane_sums sums;

    hub_sum_lanes(h, &sums);
    tunnels(m, h);
    quic(m, h);
    sessions(m, h);
    streams(m, h, &sums);
    udp(m, h, &sums);
    udp_sends(m, h);
    memory(m, h);
    shares(m, h);
    durable(m, h);
    bytes(m, h, &sums);
}
