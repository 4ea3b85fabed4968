/* edge - see edge.h. */
#include "edge/edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/edge_events.h"
#include "edge/edge_lane.h"
#include "tunnel/lane_quic.h"

#define POOL_KEEP 1024 /* chunks that a worker keeps: 16 MiB */

static void log_faults(const struct json_check *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        log_err("edge", "credentials", LOG_S("pointer", faults->faults[i].pointer),
                LOG_S("why", faults->faults[i].detail));
}

struct quic_params edge_quic_params(const struct edge_conf *conf)
{
    return (struct quic_params){
        .congestion = (enum quic_congestion)conf->quic_congestion,
        .stream_window = BUDGET_STREAM_FREE,
        .connection_window = 4 * (uint64_t)conf->max_window,
        .unproven_window = BUDGET_STREAM_FREE,
        .streams_uni = LANE_SIDES_MAX,
        .idle_ms = QUIC_IDLE_MS,
        .keep_alive_ms = QUIC_KEEP_ALIVE_MS,
        .handshake_ms = EDGE_DIAL_MS,
        .qlog_dir = conf->qlog_dir,
    };
}

static int start_workers(struct edge *e)
{
    const struct edge_conf *conf = &e->conf;
    uint64_t key[2];

    e->workers_count =
        conf->service.workers ? (unsigned)conf->service.workers : worker_default_count();
    e->threads = must_alloc(e->workers_count * sizeof(*e->threads));
    e->workers = must_alloc(e->workers_count * sizeof(*e->workers));
    budget_init(&e->shared.budget, (uint64_t)conf->memory_budget, (uint32_t)conf->limits.streams,
                (uint32_t)conf->max_window);
    budget_set_udp(&e->shared.budget, (uint32_t)conf->limits.udp_sessions,
                   (uint32_t)conf->limits.udp_queue_bytes, (uint64_t)conf->limits.udp_memory);
    e->shared.udp_idle_ms = (uint64_t)conf->limits.udp_idle_secs * 1000;
    e->shared.flush_ms = (uint64_t)conf->limits.flush_secs * 1000;
    e->shared.workers = e->workers;
    e->shared.count = e->workers_count;
    e->shared.control = e->loop;
    e->shared.events = e->events;
    congestion_init(&e->shared.lane_congestion, conf->tls_congestion);
    congestion_init(&e->shared.client_congestion, NULL);
    e->shared.instance = e->instance;
    e->shared.quic = edge_quic_params(conf);
    e->shared.hold_ms = (uint64_t)conf->hold_secs * 1000;
    e->shared.held_max = (uint32_t)conf->limits.held_clients;
    e->shared.per_address_max = (uint32_t)conf->limits.connections_per_address;
    tls_random(key, sizeof(key));
    address_count_init(&e->shared.addresses, key);
    e->shared.on_report = uplink_on_report;
    e->shared.arg = &e->uplink;
    if (workers_start(e->threads, e->workers_count, "edge", POOL_KEEP,
                      (size_t)conf->limits.pool_chunks) != 0)
        return service_start_failed("edge", -ERR_SYS, "workers", "a thread cannot be started");
    e->are_threads_started = true;
    for (unsigned i = 0; i < e->workers_count; i++)
        if (edge_worker_init(&e->workers[i], &e->threads[i], &e->shared) != 0)
            return service_start_failed("edge", -ERR_SYS, "workers",
                                        "the resolver cannot be started");
    return 0;
}

/* File and environment first; else what the API left in the state directory. */
static int find_credentials(struct edge *e, struct credentials **out)
{
    struct json_check faults;
    int err;

    json_check_init(&faults);
    err = credentials_from_conf(out, &e->conf, &faults);
    e->has_fixed_credentials = err == 0;
    if (err == -ERR_NOT_FOUND)
        err = credentials_load(out, e->conf.service.state_dir, &faults);
    log_faults(&faults);
    json_check_fini(&faults);
    return err == -ERR_NOT_FOUND ? 0 : err;
}

static int start_stun(struct edge *e)
{
    const struct stun_options options = {.server = e->conf.stun_server,
                                         .rto_ms = (unsigned)e->conf.stun_rto_ms,
                                         .tries = (unsigned)e->conf.stun_tries};

    if (stun_client_configure(&e->uplink.assignment.stun, &options) != 0)
        return service_start_failed("edge", -ERR_SYS, "stun", "the resolver cannot be started");
    return 0;
}

static int start_admin(struct edge *e)
{
    struct admin_options options = {
        .loop = e->loop,
        .service = "edge",
        .openapi = edge_openapi,
        .openapi_common = edge_openapi_common,
        .routes = edge_routes,
        .arg = e,
        .drain = &e->drain,
        .events = e->events,
        .is_ready = edge_is_ready,
        .collect = edge_collect,
        .config = edge_config,
        .crash_recoveries = e->crash.recovered,
    };
    char why[200] = "";

    if (service_tokens_load(&e->tokens, &e->conf.service, why, sizeof(why)) != 0)
        return service_start_failed("edge", -ERR_IO, "management.token", why);
    return service_admin_start(&e->admin, &options, &e->conf.service, &e->tokens);
}

/* --- the end of it: see service_drain.h */

static void drain_close(void *arg, unsigned secs)
{
    struct edge *e = arg;

    uplink_drain(&e->uplink, secs);
}

static bool drain_is_idle(const void *arg)
{
    const struct edge *e = arg;
    uint32_t open = 0; /* clients, and flows of UDP */

    for (unsigned i = 0; i < e->workers_count; i++) {
        const struct edge_stats *stats = &e->workers[i].stats;

        open += atomic_load_explicit(&stats->clients, memory_order_relaxed);
        open += atomic_load_explicit(&stats->udp.flows, memory_order_relaxed);
    }
    return open == 0;
}

static void drain_leave(void *arg)
{
    struct edge *e = arg;

    uplink_leave(&e->uplink);
}

static bool drain_is_gone(const void *arg)
{
    const struct edge *e = arg;

    return !uplink_is_connected(&e->uplink);
}

static const struct service_drain_ops drain_ops = {drain_close, drain_is_idle, drain_leave,
                                                   drain_is_gone};

int edge_start(struct edge *e)
{
    struct credentials *credentials = NULL;
    int err;

    if (*e->conf.instance)
        snprintf(e->instance, sizeof(e->instance), "%s", e->conf.instance);
    else if (gethostname(e->instance, sizeof(e->instance) - 1) != 0 || !*e->instance)
        snprintf(e->instance, sizeof(e->instance), "edge");
    e->loop = loop_new("edge-control", 64, 0);
    e->events = service_events_new(&e->conf.service, e->loop, edge_event_types);
    service_drain_init(&e->drain, e->loop, "edge", &e->conf.service, &drain_ops, e);
    err = find_credentials(e, &credentials);
    if (!err)
        err = start_workers(e);
    if (!err) {
        uplink_init(&e->uplink, &e->shared, e->conf.bind_address,
                    (enum transport_mode)e->conf.transport_mode,
                    (uint64_t)e->conf.quic_retry_secs * 1000);
        err = start_stun(e);
    }
    if (!err)
        err = start_admin(e);
    if (!err)
        service_tell_crash("edge", &e->crash, e->events, EDGE_EVENT_CRASH_RECOVERED);
    if (!err && credentials)
        uplink_set_credentials(&e->uplink, credentials);
    else if (!err)
        log_warn("edge", "no_credentials",
                 LOG_S("hint", "set token in the configuration, or PUT /v1/tunnel"));
    credentials_unref(credentials);
    return err;
}

void edge_stop(struct edge *e)
{
    admin_stop(e->admin);
    e->admin = NULL;
    service_drain_fini(&e->drain);
    if (e->are_threads_started)
        workers_stop(e->threads, e->workers_count);
    for (unsigned i = 0; e->workers && i < e->workers_count; i++)
        edge_worker_fini(&e->workers[i]);
    if (e->are_threads_started)
        workers_free(e->threads, e->workers_count);
    uplink_fini(&e->uplink);
    loop_free(e->loop);
    events_free(e->events);
    free(e->workers);
    free(e->threads);
    service_tokens_fini(&e->tokens);
}

int edge_reload(struct edge *e, struct edge_conf *next)
{
    int err = service_reload("edge", e->admin, &e->tokens, &e->conf.service, &next->service);

    if (err)
        return err;
    e->conf.hold_secs = next->hold_secs;
    atomic_store(&e->shared.hold_ms, (uint64_t)next->hold_secs * 1000);
    return 0;
}

static uint64_t load(const _Atomic uint64_t *from)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)from, memory_order_relaxed);
}

static void sum_udp(struct edge_udp_sums *out, const struct edge_udp_stats *s)
{
    out->opened += load(&s->opened);
    out->closed += load(&s->closed);
    for (unsigned i = 0; i < UDP_EVICTION_COUNT; i++)
        out->evicted[i] += load(&s->evicted[i]);
    out->idle += load(&s->idle);
    out->errors += load(&s->errors);
    out->handed_over += load(&s->handed_over);
    out->datagrams_in += load(&s->datagrams_in);
    out->datagrams_out += load(&s->datagrams_out);
    out->bytes_in += load(&s->bytes_in);
    out->bytes_out += load(&s->bytes_out);
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        out->dropped[i] += load(&s->dropped[i]);
    out->flows += s->flows;
}

static void sum_sent(struct edge_udp_sums *out, const struct udp_out_counters *s)
{
    out->send_calls += load(&s->calls);
    out->bundles += load(&s->bundles);
    out->bundles_refused += load(&s->refused);
}

void edge_sum(const struct edge *e, struct edge_sums *out)
{
    *out = (struct edge_sums){0};
    for (unsigned i = 0; i < e->workers_count; i++) {
        const struct edge_stats *s = &e->workers[i].stats;

        out->accepted += load(&s->accepted);
        for (unsigned k = 0; k < EDGE_REFUSAL_COUNT; k++)
            out->refused[k] += load(&s->refused[k]);
        for (unsigned k = 0; k < ARRAY_LEN(out->reset_by_hub); k++)
            out->reset_by_hub[k] += load(&s->reset_by_hub[k]);
        out->exhausted += load(&s->exhausted);
        out->bytes_in += load(&s->bytes_in);
        out->bytes_out += load(&s->bytes_out);
        out->opened += load(&s->opened);
        out->ended += load(&s->ended);
        out->reset += load(&s->reset);
        out->flush_timeouts += load(&s->flush_timeouts);
        out->window_stalls += load(&s->window_stalls);
        out->ahead_waits += load(&s->ahead_waits);
        out->pool_chunks += load(&s->pool_chunks);
        out->pool_refused += load(&s->pool_refused);
        out->clients += s->clients;
        out->rtt_ms = MAX(out->rtt_ms, s->rtt_ms);
        out->depth_normal += s->depth_normal;
        out->depth_sustained += s->depth_sustained;
        out->depth_udp += s->depth_udp;
        sum_udp(&out->udp, &s->udp);
        sum_sent(&out->udp, &e->workers[i].udp.sent);
    }
}
