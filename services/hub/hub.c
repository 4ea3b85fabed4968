/* hub - see hub.h. */
#include "hub/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "admin/cert_time.h"
#include "base/err.h"
#include "base/log.h"
#include "hub/hub_cert.h"
#include "hub/hub_events.h"
#include "hub/registry_store.h"
#include "hub/unix_time.h"
#include "wire/token.h"

#define POOL_KEEP         1024 /* chunks that a worker keeps: 16 MiB */
#define HUB_QUIC_RETRY_MS 1000
#define HUB_QUIC_TOLD_MS  60000 /* why it fails still */
#define BIND_TRIES        16    /* for a port that TCP and UDP have free, where any will do */

static int tell_faults(const struct json_check *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        (void)service_start_failed("hub", -ERR_SYNTAX, faults->faults[i].pointer,
                                   faults->faults[i].detail);
    return -ERR_SYNTAX;
}

/* --- start
 * ------------------------------------------------------------------------------------------ */

static int start_tls(struct hub *h)
{
    static const char *const alpn[] = {WIRE_ALPN, NULL};
    char why[200] = "";
    int err = hub_cert_load(&h->cert, &h->conf, why, sizeof(why));

    if (err)
        return service_start_failed("hub", err, "tunnel.certFile", why);
    if (*h->conf.tunnel_cert_file) /* one of our own is known by its pin */
        cert_time_warn("hub", "tunnel.certFile", h->cert, unix_time_now());
    err = tls_ctx_new_server(
        &h->shared.tls,
        &(struct tls_server_options){.versions = TLS_ONLY_13, .alpn = alpn, .cert = h->cert});
    return err ? service_start_failed("hub", err, "tunnel", "GnuTLS lacks what the tunnel needs")
               : 0;
}

/* From the entry itself, from its file, or from one that is made in the state directory. */
static int find_secret(const struct hub *h, struct edge_spec *spec, char *why, size_t why_size)
{
    char *path, *secret = NULL;
    int err;

    if (spec->secret[0])
        return 0;
    path = spec->secret_file
               ? must_strdup(spec->secret_file)
               : must_printf("%s/edges/%s.secret", h->conf.service.state_dir, spec->id);
    err = admin_secret_file(path, &secret, why, why_size);
    if (!err && !secret_is_valid(secret)) {
        snprintf(why, why_size, "%s: must hold %d to %d characters of A-Za-z0-9-_.~", path,
                 SECRET_MIN, SECRET_MAX);
        err = -ERR_SYNTAX;
    }
    if (!err)
        snprintf(spec->secret, sizeof(spec->secret), "%s", secret);
    if (secret)
        tls_wipe(secret, strlen(secret));
    free(secret);
    free(path);
    return err;
}

/* Early: a hub that another one's store keeps from starting has not listened to anyone. */
static int open_store(struct hub *h)
{
    const char *what = NULL;
    char why[STORE_WHY_BYTES] = "";
    int err =
        registry_store_open(&h->store, &h->registry, h->loop, &h->conf, &what, why, sizeof(why));

    if (err == -ERR_SYNTAX) /* a file that is no registry: not the configuration's fault */
        err = -ERR_IO;
    return err ? service_start_failed("hub", err, what, why) : 0;
}

/* The configuration's, over those of the store (registry_store.h has the rule).  With targets and
 * listeners known: no edge's port may lead to a listener of the hub. */
static int load_edges(struct hub *h)
{
    struct spec_rules rules = {h->shared.targets, h->shared.targets_udp, &h->shared.own};
    struct json_check faults;
    struct edge_spec *specs = NULL;
    size_t count = 0;
    char why[STORE_WHY_BYTES] = "";
    int err;

    json_check_init(&faults);
    target_map_check_own(h->shared.targets, &h->shared.own, &faults, "/target/ports");
    target_map_check_own(h->shared.targets_udp, &h->shared.own, &faults, "/target/portsUdp");
    err = edge_specs_parse(&specs, &count, h->conf.edges, (size_t)h->conf.limits.edges,
                           SPEC_FROM_CONF, &rules, &faults, "/edges");
    if (json_check_failed(&faults))
        err = tell_faults(&faults);
    json_check_fini(&faults);
    for (size_t i = 0; i < count && !err; i++)
        if ((err = find_secret(h, &specs[i], why, sizeof(why))) != 0)
            (void)service_start_failed("hub", err, specs[i].id, why);
    if (!err && (err = registry_store_fill(h->store, &h->registry, specs, count,
                                           &h->changes.unwritten, why, sizeof(why))) != 0)
        (void)service_start_failed("hub", err, "edges", why);
    if (!err && (err = store_start(h->store)) != 0)
        (void)service_start_failed("hub", err, "store", "a thread cannot be started");
    for (size_t i = 0; i < count; i++)
        edge_spec_fini(&specs[i]);
    free(specs);
    return err;
}

/* Each needs a descriptor, which streams need too, and a source port towards its target. */
static uint32_t udp_sessions_possible(int64_t wanted)
{
    struct rlimit files;
    unsigned first = 0, last = 0;
    int64_t most = wanted;
    FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (range && fscanf(range, "%u %u", &first, &last) == 2 && last > first)
        most = MIN(most, (int64_t)(last - first));
    if (range)
        fclose(range);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        most = MIN(most, (int64_t)(files.rlim_cur / 2));
    if (most < wanted)
        log_warn("hub", "udp_sessions_limited", LOG_U("configured", (uint64_t)wanted),
                 LOG_U("possible", (uint64_t)most));
    return (uint32_t)MAX(most, 1);
}

static void fill_shared(struct hub *h)
{
    const struct hub_conf *conf = &h->conf;
    struct hub_shared *s = &h->shared;

    s->control = h->loop;
    s->events = h->events;
    s->desk = &h->desk;
    congestion_init(&s->lane_congestion, conf->tls_congestion);
    congestion_init(&s->target_congestion, NULL);
    s->connect_ms = (unsigned)conf->limits.connect_secs * 1000;
    s->flush_ms = (unsigned)conf->limits.flush_secs * 1000;
    s->forwards_max = (uint32_t)conf->limits.streams;
    s->connects_max = (uint32_t)conf->limits.connects;
    s->udp_lookups_max = (uint32_t)conf->limits.udp_lookups;
    s->share_percent = (unsigned)conf->limits.edge_share;
    s->handshakes_max = (unsigned)conf->limits.handshakes;
    s->retry_at = (unsigned)MIN(conf->limits.handshakes_per_source / QUIC_DOOR_SOURCE_PARTS,
                                conf->limits.handshakes / QUIC_DOOR_TOTAL_PARTS);
    s->worker_count = h->worker_count;
    budget_init(&s->budget, (uint64_t)conf->memory_budget, (uint32_t)conf->limits.streams,
                (uint32_t)conf->max_window);
    budget_set_udp(&s->budget, udp_sessions_possible(conf->limits.udp_sessions),
                   (uint32_t)conf->limits.udp_queue_bytes, (uint64_t)conf->limits.udp_memory);
    tls_random(&s->udp_seed, sizeof(s->udp_seed));
    s->udp_idle_ms = (uint64_t)conf->limits.udp_idle_secs * 1000;
    own_listeners_init(&s->own);
}

static void start_desk(struct hub *h)
{
    const struct hub_limits *l = &h->conf.limits;

    desk_init(&h->desk, &(struct desk_options){
                            .loop = h->loop,
                            .shared = &h->shared,
                            .registry = &h->registry,
                            .handshakes = (unsigned)l->handshakes,
                            .handshakes_per_source = (unsigned)l->handshakes_per_source,
                            .max_waiting = (unsigned)l->waiting_refusals,
                            .max_lanes = (unsigned)h->conf.max_lanes,
                            .max_sessions = (size_t)l->sessions,
                        });
}

static int start_workers(struct hub *h)
{
    h->threads = must_alloc(h->worker_count * sizeof(*h->threads));
    h->workers = must_alloc(h->worker_count * sizeof(*h->workers));
    h->shared.workers = h->workers;
    if (workers_start(h->threads, h->worker_count, "hub", POOL_KEEP,
                      (size_t)h->conf.limits.pool_chunks) != 0)
        return service_start_failed("hub", -ERR_SYS, "workers", "a thread cannot be started");
    h->are_threads_started = true;
    for (unsigned i = 0; i < h->worker_count; i++)
        if (hub_worker_init(&h->workers[i], h->threads[i].loop, &h->shared) != 0)
            return service_start_failed("hub", -ERR_SYS, "workers",
                                        "the resolver cannot be started");
    return 0;
}

static struct json_object *masked_conf(void *service)
{
    const struct hub *h = service;

    return conf_emit(&hub_conf_table, &h->conf);
}

static void add_own(struct hub *h, const char *address, const char *name)
{
    union addr at;

    if (address && addr_parse(&at, address) == 0)
        own_listeners_add(&h->shared.own, &at, name);
}

static int start_admin(struct hub *h)
{
    struct admin_options options = {
        .loop = h->loop,
        .service = "hub",
        .openapi = hub_openapi,
        .openapi_common = hub_openapi_common,
        .routes = hub_routes,
        .arg = h,
        .drain = &h->drain,
        .events = h->events,
        .collect = hub_collect,
        .config = masked_conf,
        .crash_recoveries = h->crash.recovered,
    };
    char why[200] = "";
    int err;

    if (service_tokens_load(&h->tokens, &h->conf.service, why, sizeof(why)) != 0)
        return service_start_failed("hub", -ERR_IO, "management.token", why);
    err = service_admin_start(&h->admin, &options, &h->conf.service, &h->tokens);
    if (err)
        return err;
    own_listeners_add(&h->shared.own, &h->tunnel_at, "tunnel");
    add_own(h, admin_address(h->admin), "management");
    add_own(h, admin_metrics_address(h->admin), "metrics");
    return 0;
}

/* --- the end of it: see service_drain.h
 * ------------------------------------------------------------- */

static void drain_close(void *arg, unsigned secs)
{
    struct hub *h = arg;

    tunnel_port_fini(&h->port);
    deadline_off(&h->quic_retry);
    atomic_store_explicit(&h->shared.is_closing, true, memory_order_relaxed);
    h->closing_ms = loop_now_ms(h->loop);
    desk_drain(&h->desk, secs);
}

/* An edge goes on opening streams here until it has a lane to another hub, which it says GOODBYE
 * for; where there is no other hub, a moment without streams is as good as any to leave it.  What
 * an edge that has gone left for a slow target is the hub's alone: the client has its word for it.
 */
static bool drain_is_idle(const void *arg)
{
    const struct hub *h = arg;

    if (atomic_load_explicit(&h->shared.forwards, memory_order_relaxed) > 0)
        return false;
    if (h->desk.record_count == 0)
        return true;
    return atomic_load_explicit(&h->shared.budget.udp.sessions, memory_order_relaxed) == 0 &&
           loop_now_ms(h->loop) - h->closing_ms >= HUB_SUCCESSOR_MS;
}

static void drain_leave(void *arg)
{
    struct hub *h = arg;

    desk_leave(&h->desk);
}

static bool drain_is_gone(const void *arg)
{
    const struct hub *h = arg;

    return h->desk.record_count == 0;
}

static const struct service_drain_ops drain_ops = {drain_close, drain_is_idle, drain_leave,
                                                   drain_is_gone};

/* One number for both transports.  Port 0 takes one that is free on TCP; should it be taken on UDP,
 * another one. */
static int bind_once(struct hub *h, char *why, size_t why_size)
{
    int err = 0;

    if (addr_parse(&h->tunnel_at, h->conf.tunnel_listen) != 0) {
        snprintf(why, why_size, "\"%s\" is no address", h->conf.tunnel_listen);
        return -ERR_SYNTAX;
    }
    if (hub_conf_has_transport(&h->conf, "tls")) {
        err = tunnel_port_bind(&h->port, h->loop, h->conf.tunnel_listen, &h->shared.lane_congestion,
                               why, why_size);
        h->tunnel_at = h->port.bound;
    }
    if (!err && hub_conf_has_transport(&h->conf, "quic"))
        err = quic_door_bind(&h->quic, &h->tunnel_at, h->worker_count, why, why_size);
    return err;
}

/* A hub that drains keeps its UDP port for the edges that it still has: its successor begins with
 * TLS and has QUIC when the port is free. */
static bool can_wait_for_quic(const struct hub *h)
{
    return h->port.door_count > 0 && hub_conf_has_transport(&h->conf, "quic");
}

static int open_quic(struct hub *h, char *why, size_t why_size)
{
    char text[ADDR_TEXT_MAX];
    int err = quic_door_start(&h->quic, h->workers, &h->conf, why, why_size);

    if (err)
        return err;
    h->has_quic = true;
    log_info("hub", "listening", LOG_S("name", "tunnel-quic"),
             LOG_S("address", addr_format(&h->tunnel_at, text)));
    return 0;
}

static void on_quic_retry(struct deadline *deadline)
{
    struct hub *h = container_of(deadline, struct hub, quic_retry);
    char why[200] = "";

    if (quic_door_bind(&h->quic, &h->tunnel_at, h->worker_count, why, sizeof(why)) == 0) {
        if (open_quic(h, why, sizeof(why)) == 0)
            return;
        quic_door_fini(&h->quic); /* nobody would read what comes there */
        if (log_limit_pass(&h->quic_log, loop_now_ms(h->loop))) {
            log_err("hub", "quic_failed", LOG_S("why", why), LOG_U("held", h->quic_log.held));
            h->quic_log.held = 0;
        }
    }
    deadline_set(deadline, HUB_QUIC_RETRY_MS);
}

static int bind_tunnel(struct hub *h)
{
    bool is_any_port = false;
    char why[200] = "";
    union addr wanted;
    int err = -ERR_SYS;

    if (addr_parse(&wanted, h->conf.tunnel_listen) == 0)
        is_any_port = addr_port(&wanted) == 0;
    for (unsigned tries = is_any_port ? BIND_TRIES : 1; err && tries > 0; tries--) {
        tunnel_port_fini(&h->port);
        err = bind_once(h, why, sizeof(why));
    }
    if (err && !is_any_port && can_wait_for_quic(h)) {
        log_warn("hub", "quic_waits", LOG_S("why", why));
        deadline_set(&h->quic_retry, HUB_QUIC_RETRY_MS);
        return 0;
    }
    return err ? service_start_failed("hub", err, "tunnel.listen", why) : 0;
}

int hub_start(struct hub *h)
{
    struct json_check none;
    char why[200] = "", text[ADDR_TEXT_MAX];
    int err;

    h->loop = loop_new("hub-control", 64, 0);
    h->started_unix = unix_time_now();
    h->worker_count =
        h->conf.service.workers ? (unsigned)h->conf.service.workers : worker_default_count();
    deadline_init(&h->quic_retry, h->loop, on_quic_retry);
    h->quic_log = (struct log_limit){.burst = 1, .every_ms = HUB_QUIC_TOLD_MS};
    service_drain_init(&h->drain, h->loop, "hub", &h->conf.service, &drain_ops, h);
    registry_init(&h->registry, (size_t)h->conf.limits.edges);
    change_queue_init(&h->changes, (unsigned)h->conf.limits.waiting_changes);
    h->events = service_events_new(&h->conf.service, h->loop, hub_event_types);
    fill_shared(h);
    start_desk(h);
    json_check_init(&none); /* conf_load() has checked it already */
    err = target_map_parse(&h->shared.targets, h->conf.target_host,
                           target_mode(TARGET_TCP, (unsigned)h->conf.target_proxy_protocol),
                           h->conf.target_ports, &none, "/target/ports");
    if (!err)
        err = target_map_parse_udp(
            &h->shared.targets_udp, h->conf.target_host,
            target_mode(TARGET_UDP, (unsigned)h->conf.target_proxy_protocol_udp),
            h->conf.target_ports_udp, &none, "/target/portsUdp");
    json_check_fini(&none);
    if (err || (err = open_store(h)) != 0 || (err = start_tls(h)) != 0)
        return err;
    if ((err = bind_tunnel(h)) != 0)
        return err;
    if ((err = start_admin(h)) != 0 || (err = load_edges(h)) != 0 || (err = start_workers(h)) != 0)
        return err;
    tunnel_port_start(&h->port, &h->desk, h->workers, h->worker_count);
    if (h->quic.fds && (err = open_quic(h, why, sizeof(why))) != 0)
        return service_start_failed("hub", err, "stateDir", why);
    log_info("hub", "listening", LOG_S("name", "tunnel"),
             LOG_S("address", addr_format(&h->tunnel_at, text)));
    service_tell_crash("hub", &h->crash, h->events, HUB_EVENT_CRASH_RECOVERED);
    log_info("hub", "started", LOG_S("version", PENSTOCK_VERSION),
             LOG_U("workers", h->worker_count), LOG_U("edges", h->registry.count));
    return 0;
}

/* --- stop
 * ------------------------------------------------------------------------------------------- */

/* Messages that are still on their way hold memory, and run while the loops are freed: first the
 * lanes give up what they have, then the loops go, then what the messages point to. */
void hub_stop(struct hub *h)
{
    change_queue_close(&h->changes);
    store_close(h->store);
    h->store = NULL;
    loop_settle(h->loop); /* the change that the store was at: it is in force, and has its answer */
    admin_stop(h->admin); /* those that waited are told that nothing has changed */
    tunnel_port_fini(&h->port);
    quic_door_fini(&h->quic);
    deadline_off(&h->quic_retry);
    if (h->are_threads_started)
        workers_stop(h->threads, h->worker_count);
    for (unsigned i = 0; h->workers && i < h->worker_count; i++)
        hub_worker_close(&h->workers[i]);
    desk_close(&h->desk);
    service_drain_fini(&h->drain);
    if (h->are_threads_started)
        workers_free(h->threads, h->worker_count);
    loop_free(h->loop);
    for (unsigned i = 0; h->workers && i < h->worker_count; i++)
        hub_worker_fini(&h->workers[i]);
    desk_fini(&h->desk);
    events_free(h->events);
    change_queue_fini(&h->changes);
    registry_fini(&h->registry);
    tls_ctx_unref(h->shared.tls);
    tls_cert_unref(h->cert);
    target_map_free(h->shared.targets);
    target_map_free(h->shared.targets_udp);
    free(h->workers);
    free(h->threads);
    service_tokens_fini(&h->tokens);
}

/* --- reload
 */

int hub_reload(struct hub *h, struct hub_conf *next)
{
    return service_reload("hub", h->admin, &h->tokens, &h->conf.service, &next->service);
}

/* --- edges
 * ------------------------------------------------------------------------------------------ */

int hub_put_edge(struct hub *h, struct edge_spec *spec, unsigned *change)
{
    int err = registry_put(&h->registry, spec, change);
    struct edge *edge;

    if (err)
        return err;
    edge = registry_find(&h->registry, spec->id);
    if (*change & EDGE_NOW_DISABLED)
        desk_end_edge(&h->desk, edge, GOODBYE_EDGE_DISABLED);
    if (*change & EDGE_NEW_SECRET)
        desk_end_edge(&h->desk, edge, GOODBYE_SECRET_CHANGED);
    if (*change & EDGE_NEW_CONFIG)
        desk_config_changed(&h->desk, edge);
    return 0;
}

void hub_remove_edge(struct hub *h, struct edge *edge)
{
    desk_edge_removed(&h->desk, edge);
    registry_remove(&h->registry, edge);
}

void hub_renew_secret(struct hub *h, struct edge *edge, const char *secret,
                      struct secret_grace grace)
{
    registry_renew_secret(&h->registry, edge, secret, grace);
    if (grace.until_ms == 0)
        desk_end_edge(&h->desk, edge, GOODBYE_SECRET_CHANGED);
    else
        desk_watch_secrets(&h->desk, edge);
}

uint16_t hub_public_port(const struct hub *h)
{
    return h->conf.public_port ? (uint16_t)h->conf.public_port : addr_port(&h->tunnel_at);
}

/* A configured certificate may be renewed with another key: the token then names no pin, and the
 * edge's CA bundle, or the hub's proof, tells that it is the hub. */
char *hub_make_token(const struct hub *h, const struct edge *edge, const char *host, uint16_t port)
{
    struct token token = {.hub_port = port};
    char *text;

    snprintf(token.hub_host, sizeof(token.hub_host), "%s", host);
    memcpy(token.edge_id, edge->id, sizeof(token.edge_id));
    memcpy(token.secret, edge->secret, sizeof(token.secret));
    token.has_pin = !*h->conf.tunnel_cert_file;
    if (token.has_pin)
        tls_cert_pin(h->cert, token.pin);
    text = token_emit(&token);
    token_fini(&token);
    return text;
}

/* --- sums
 * ------------------------------------------------------------------------------------------- */

void hub_sum_lanes(const struct hub *h, struct lane_sums *out)
{
    const struct desk *d = &h->desk;

    *out = (struct lane_sums){.bytes_in = d->past_in,
                              .bytes_out = d->past_out,
                              .opened = d->past_opened,
                              .window_stalls = d->past_stalls,
                              .ahead_waits = d->past_waits,
                              .udp = d->past_udp};
    LIST_EACH (&d->records, node, after) {
        const struct lane_record *record = container_of(node, struct lane_record, node);
        const struct lane_gauges *g = record->lane ? &record->lane->gauges : NULL;

        if (!g)
            continue;
        out->bytes_in += counted(&g->bytes_in);
        out->bytes_out += counted(&g->bytes_out);
        out->opened += counted(&g->opened);
        out->window_stalls += counted(&g->window_stalls);
        out->ahead_waits += counted(&g->ahead_waits);
        out->streams += atomic_load_explicit(&g->streams, memory_order_relaxed);
        out->udp.opened += counted(&g->udp_opened);
        out->udp.datagrams_from_clients += counted(&g->udp_datagrams_in);
        out->udp.datagrams_to_clients += counted(&g->udp_datagrams_out);
        out->udp.bytes_from_clients += counted(&g->udp_bytes_in);
        out->udp.bytes_to_clients += counted(&g->udp_bytes_out);
        for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
            out->udp.dropped[i] += counted(&g->udp_dropped[i]);
        out->queue_udp += atomic_load_explicit(&g->queue_udp, memory_order_relaxed);
        out->queue_data += atomic_load_explicit(&g->queue_data, memory_order_relaxed);
        out->queue_sustained += atomic_load_explicit(&g->queue_sustained, memory_order_relaxed);
    }
}
