/* traffic_worker - see traffic_worker.h.
 *
 * What control asks for travels as a task with its snapshot to the worker's loop; a worker changes
 * its own fields only there.  After workers_stop() the control thread is the only one left and
 * frees.
 */
#include "traffic/traffic_worker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "buf/chunk.h"
#include "loop/address_count.h"
#include "loop/socket.h"
#include "tls/tls.h"
#include "traffic/client.h"
#include "traffic/redirect.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream.h"

#define TICK_MS 500u

const double traffic_duration_bounds[TRAFFIC_DURATION_BUCKETS] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};

/* --- settings ----------------------------------------------------------------------------- */

struct traffic_settings *traffic_settings_new(const struct traffic_conf *conf, const char *version)
{
    struct traffic_settings *s = must_alloc(sizeof(*s));

    atomic_init(&s->refs, 1);
    s->timeouts = conf->timeouts;
    s->limits = conf->limits;
    s->auth = conf->auth;
    s->version_header = *conf->version_header ? must_strdup(conf->version_header) : NULL;
    s->version = must_strdup(version);
    s->redirect_port = (uint16_t)conf->http_redirect_port;
    s->generate_request_id = conf->generate_request_id;
    s->log_access = conf->log_access;
    s->access_format = (enum access_format)conf->log_access_format;
    return s;
}

struct traffic_settings *traffic_settings_ref(struct traffic_settings *s)
{
    unsigned before = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);

    must(before > 0);
    return s;
}

void traffic_settings_unref(struct traffic_settings *s)
{
    unsigned before;

    if (!s)
        return;
    before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    must(before > 0);
    if (before > 1)
        return;
    free(s->version_header);
    free(s->version);
    free(s);
}

/* --- what workers share -------------------------------------------------------------------- */

struct traffic_shared {
    struct traffic_shared_options options;
    struct tls_ctx *tls_ctx;     /* counted */
    struct auth_pool *auth_pool; /* owned */
    struct congestion congestion;
    _Atomic uint64_t open, h2_lent;
    struct address_count addresses;
    _Atomic uint64_t h2_lent_to[ADDRESS_SLOTS]; /* of h2_lent, by the slot of `addresses` */
};

static struct tls_cert *select_cert(void *arg, const char *sni)
{
    struct client *c = arg;
    const struct route *route = sni ? route_set_find(c->worker->hold->set, sni) : NULL;

    return route ? route->cert->cert : NULL;
}

static const struct tls_tickets *get_tickets(void *arg)
{
    struct client *c = arg;

    return c->worker->tickets;
}

int traffic_shared_new(struct traffic_shared **out, const struct traffic_shared_options *options)
{
    static const char *const alpn[] = {"h2", "http/1.1", NULL};
    struct traffic_shared *shared = must_alloc(sizeof(*shared));
    uint64_t key[2];
    int rc =
        tls_ctx_new_server(&shared->tls_ctx, &(struct tls_server_options){.versions = TLS_12_AND_13,
                                                                          .alpn = alpn,
                                                                          .select = select_cert,
                                                                          .tickets = get_tickets});

    *out = NULL;
    if (rc != 0) {
        free(shared);
        return rc;
    }
    if (options)
        shared->options = *options;
    rc = auth_pool_new(&shared->auth_pool, MAX(shared->options.auth_threads, 1u),
                       MAX(shared->options.auth_waiting, 1u));
    if (rc != 0) {
        traffic_shared_free(shared);
        return rc;
    }
    tls_random(key, sizeof(key));
    address_count_init(&shared->addresses, key);
    congestion_init(&shared->congestion, NULL);
    *out = shared;
    return 0;
}

void traffic_shared_stop(struct traffic_shared *shared)
{
    if (!shared)
        return;
    auth_pool_free(shared->auth_pool);
    shared->auth_pool = NULL;
}

void traffic_shared_free(struct traffic_shared *shared)
{
    if (!shared)
        return;
    traffic_shared_stop(shared);
    tls_ctx_unref(shared->tls_ctx);
    free(shared);
}

/* --- admission -------------------------------------------------------------------------------- */

bool worker_admit(struct traffic_worker *w, enum traffic_reason *reason)
{
    uint64_t limit = (uint64_t)w->settings->limits.connections;

    if (worker_pressure(w) != PRESSURE_NONE) {
        *reason = REASON_NO_MEMORY;
        return false;
    }
    if (atomic_fetch_add_explicit(&w->shared->open, 1, memory_order_relaxed) < limit)
        return true;
    atomic_fetch_sub_explicit(&w->shared->open, 1, memory_order_relaxed);
    *reason = REASON_LIMIT_CONNECTIONS;
    return false;
}

void worker_dismiss(struct traffic_worker *w)
{
    uint64_t before = atomic_fetch_sub_explicit(&w->shared->open, 1, memory_order_relaxed);

    must(before > 0);
}

bool worker_admit_address(struct traffic_worker *w, const union addr *client, uint32_t *slot)
{
    uint64_t limit = (uint64_t)w->settings->limits.connections_per_address;

    return address_count_add(&w->shared->addresses, client, (uint32_t)MIN(limit, UINT32_MAX), slot);
}

void worker_dismiss_address(struct traffic_worker *w, uint32_t slot)
{
    address_count_remove(&w->shared->addresses, slot);
}

void worker_tell_target(struct traffic_worker *w, const char *key, bool is_up)
{
    if (is_up)
        COUNT_DOWN(w, targets_down);
    else
        COUNT(w, targets_down);
    if (w->shared->options.on_target)
        w->shared->options.on_target(w->shared->options.arg, key, is_up);
}

/* --- counting ------------------------------------------------------------------------------- */

void worker_count_reason(struct traffic_worker *w, enum traffic_reason reason)
{
    COUNT(w, reasons[reason]);
}

static size_t bucket_of(uint64_t us)
{
    double secs = (double)us / 1e6;
    size_t i = 0;

    while (i < TRAFFIC_DURATION_BUCKETS && secs > traffic_duration_bounds[i])
        i++;
    return i;
}

void worker_count_request(struct traffic_worker *w, unsigned status, uint64_t us)
{
    COUNT(w, statuses[status / 100 <= 5 ? status / 100 : 0]);
    COUNT(w, requests_buckets[bucket_of(us)]);
    COUNT_N(w, requests_us, us);
}

void worker_count_handshake(struct traffic_worker *w, uint64_t us)
{
    COUNT(w, handshakes);
    COUNT(w, handshakes_buckets[bucket_of(us)]);
    COUNT_N(w, handshakes_us, us);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void traffic_worker_stats(const struct traffic_worker *w, struct traffic_stats *out)
{
    const struct traffic_counters *c = &w->counters;

#define X(name, help) out->name += get(&c->name);
    TRAFFIC_COUNTERS(X)
    TRAFFIC_GAUGES(X)
#undef X
    for (size_t i = 0; i < ARRAY_LEN(c->statuses); i++)
        out->statuses[i] += get(&c->statuses[i]);
    for (size_t i = 0; i < REASON_COUNT; i++)
        out->reasons[i] += get(&c->reasons[i]);
    for (size_t i = 0; i <= TRAFFIC_DURATION_BUCKETS; i++) {
        out->requests_duration.counts[i] += get(&c->requests_buckets[i]);
        out->handshakes_duration.counts[i] += get(&c->handshakes_buckets[i]);
    }
    out->requests_duration.sum += (double)get(&c->requests_us) / 1e6;
    out->handshakes_duration.sum += (double)get(&c->handshakes_us) / 1e6;
    out->revision = get(&c->revision);
    if (w->index == 0) /* all workers' together */
        out->h2_lent_bytes += get(w->h2_lent);
    for (size_t i = 0; i < w->listener_count; i++)
        out->exhausted +=
            atomic_load_explicit(&w->listeners[i].acceptor.exhausted, memory_order_relaxed);
}

/* --- running -------------------------------------------------------------------------------- */

static void set_counter(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/* The date that answers and the log carry, and the gauges that nobody counts as they change. */
static void refresh(struct traffic_worker *w)
{
    time_t now = time(NULL);
    struct tm tm;
    size_t n;

    gmtime_r(&now, &tm);
    n = strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    must(n > 0);
    access_log_time(w->log_time, &tm);
    set_counter(&w->counters.chunks_out, loop_pool(w->loop)->out_count);
}

static void on_tick(struct deadline *d)
{
    struct traffic_worker *w = container_of(d, struct traffic_worker, tick);

    refresh(w);
    deadline_set(&w->tick, TICK_MS);
}

static void on_accept(struct acceptor *a, int fd, const union addr *peer)
{
    struct traffic_listener *listener = container_of(a, struct traffic_listener, acceptor);
    struct traffic_worker *w = listener->worker;
    enum traffic_reason reason;

    if (!worker_admit(w, &reason)) {
        worker_count_reason(w, reason);
        socket_set_reset_on_close(fd);
        close(fd);
        if (log_limit_pass(&w->refusals, loop_now_ms(w->loop)))
            log_warn("traffic", "connection_refused", LOG_S("reason", traffic_reason_word(reason)));
        return;
    }
    if (listener->is_tls)
        client_start(w, fd, peer);
    else
        redirect_start(w, fd, peer);
}

static void apply_limits(struct traffic_worker *w)
{
    const struct traffic_limits *l = &w->settings->limits;

    w->limits = (struct h1_limits){
        .head_bytes = (size_t)MIN(l->header_bytes, (int64_t)HEAD_BYTES_MAX),
        .request_line_bytes = (size_t)l->request_line_bytes,
        .fields = (unsigned)MIN(l->header_fields, (int64_t)HTTP_FIELDS_MAX),
    };
}

/* --- messages from control -------------------------------------------------------------------- */

enum message_kind { START, ROUTES, SETTINGS, TRUST, TICKETS, DRAIN, STOP };

struct message {
    struct task task;
    enum message_kind kind;
    struct traffic_worker *worker; /* borrowed */
    union {
        struct route_set *routes;          /* counted */
        struct traffic_settings *settings; /* counted */
        struct proxy_trust *trust;         /* counted */
        struct tls_tickets *tickets;       /* counted */
    };
};

static void take_routes(struct traffic_worker *w, struct route_set *set)
{
    struct route_hold *old = w->hold;

    w->hold = route_hold_new(w, set);
    set_counter(&w->counters.revision, set->revision);
    LIST_EACH (&w->clients, node, after)
        requester_forget_route(&container_of(node, struct client, node)->requester);
    route_hold_unref(old);
    route_set_unref(set); /* the message's */
    set_counter(&w->counters.targets_down, upstream_pools_sweep(&w->pools, loop_now_ms(w->loop)));
}

static void close_listeners(struct traffic_worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++)
        acceptor_fini(&w->listeners[i].acceptor);
}

static void drain(struct traffic_worker *w)
{
    w->is_draining = true;
    for (size_t i = 0; i < w->listener_count; i++)
        acceptor_finish(&w->listeners[i].acceptor);
    LIST_EACH (&w->clients, node, after)
        client_drain(container_of(node, struct client, node), false);
    LIST_EACH (&w->redirects, node, after)
        redirect_drain(container_of(node, struct redirect, node), false);
    upstream_close_all(w, false);
}

static void stop(struct traffic_worker *w)
{
    w->is_draining = w->is_stopped = true;
    close_listeners(w);
    LIST_EACH (&w->clients, node, after)
        client_drain(container_of(node, struct client, node), true);
    LIST_EACH (&w->redirects, node, after)
        redirect_drain(container_of(node, struct redirect, node), true);
    upstream_close_all(w, true);
    deadline_off(&w->tick);
    deadline_off(&w->relief);
}

static void on_message(struct task *task)
{
    struct message *m = container_of(task, struct message, task);
    struct traffic_worker *w = m->worker;

    switch (m->kind) {
    case START:
        for (size_t i = 0; i < w->listener_count && !w->is_draining; i++)
            acceptor_start(&w->listeners[i].acceptor);
        on_tick(&w->tick);
        break;
    case ROUTES:
        take_routes(w, m->routes);
        break;
    case SETTINGS:
        traffic_settings_unref(w->settings);
        w->settings = m->settings;
        apply_limits(w);
        break;
    case TRUST:
        proxy_trust_unref(w->trust);
        w->trust = m->trust;
        break;
    case TICKETS:
        tls_tickets_unref(w->tickets);
        w->tickets = m->tickets;
        break;
    case DRAIN:
        drain(w);
        break;
    case STOP:
        stop(w);
        break;
    }
    free(m);
}

static struct message *message_new(struct traffic_worker *w, enum message_kind kind)
{
    struct message *m = must_alloc(sizeof(*m));

    m->task.run = on_message;
    m->kind = kind;
    m->worker = w;
    return m;
}

static void post(struct message *m)
{
    loop_post(m->worker->loop, &m->task);
}

void traffic_worker_publish_routes(struct traffic_worker *w, struct route_set *routes)
{
    struct message *m = message_new(w, ROUTES);

    m->routes = route_set_ref(routes);
    post(m);
}

void traffic_worker_publish_settings(struct traffic_worker *w, struct traffic_settings *settings)
{
    struct message *m = message_new(w, SETTINGS);

    m->settings = traffic_settings_ref(settings);
    post(m);
}

void traffic_worker_publish_trust(struct traffic_worker *w, struct proxy_trust *trust)
{
    struct message *m = message_new(w, TRUST);

    m->trust = proxy_trust_ref(trust);
    post(m);
}

void traffic_worker_publish_tickets(struct traffic_worker *w, struct tls_tickets *tickets)
{
    struct message *m = message_new(w, TICKETS);

    m->tickets = tickets ? tls_tickets_ref(tickets) : NULL;
    post(m);
}

void traffic_worker_drain(struct traffic_worker *w)
{
    post(message_new(w, DRAIN));
}

void traffic_worker_stop(struct traffic_worker *w)
{
    post(message_new(w, STOP));
}

/* --- life ----------------------------------------------------------------------------------- */

struct traffic_worker *traffic_worker_new(struct loop *loop, unsigned index,
                                          struct traffic_shared *shared,
                                          struct traffic_settings *settings,
                                          struct route_set *routes, struct proxy_trust *trust)
{
    struct traffic_worker *w = must_alloc(sizeof(*w));

    w->loop = loop;
    w->index = index;
    w->shared = shared;
    w->tls_ctx = shared->tls_ctx;
    w->auth_pool = shared->auth_pool;
    w->congestion = &shared->congestion;
    w->h2_lent = &shared->h2_lent;
    w->h2_lent_to = shared->h2_lent_to;
    w->settings = traffic_settings_ref(settings);
    w->trust = proxy_trust_ref(trust);
    w->hold = route_hold_new(w, routes);
    set_counter(&w->counters.revision, routes->revision);
    tls_random(&w->dice, sizeof(w->dice));
    w->dice |= 1;
    list_init(&w->clients);
    list_init(&w->redirects);
    list_init(&w->upstreams);
    list_init(&w->stalled);
    deadline_init(&w->tick, loop, on_tick);
    deadline_init(&w->relief, loop, worker_relieve);
    apply_limits(w);
    refresh(w);
    return w;
}

void traffic_worker_start(struct traffic_worker *w, const int *https_fds, size_t https_count,
                          const int *http_fds, size_t http_count)
{
    must(!w->listeners);
    w->listener_count = https_count + http_count;
    w->listeners = must_alloc(w->listener_count * sizeof(*w->listeners));
    for (size_t i = 0; i < w->listener_count; i++) {
        struct traffic_listener *l = &w->listeners[i];

        l->worker = w;
        l->is_tls = i < https_count;
        acceptor_init(&l->acceptor, w->loop, l->is_tls ? https_fds[i] : http_fds[i - https_count],
                      on_accept);
        acceptor_set_congestion(&l->acceptor, w->congestion);
    }
    post(message_new(w, START));
}

void traffic_worker_free(struct traffic_worker *w)
{
    if (!w)
        return;
    stop(w);
    route_hold_unref(w->hold);
    upstream_pools_fini(&w->pools);
    traffic_settings_unref(w->settings);
    proxy_trust_unref(w->trust);
    tls_tickets_unref(w->tickets);
    auth_gate_fini(&w->auth);
    free(w->listeners);
    free(w);
}
