/* traffic - see traffic.h.
 *
 * Start: routes, apply thread, workers, management API, and the public listeners last of all: who
 * reaches a port is served.  The end is the same way back; whatever was not started is passed over,
 * so that a start that failed half way ends in order too. */
#include "traffic/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/listener.h"
#include "tls/tls.h"
#include "traffic/traffic_api_json.h"
#include "traffic/traffic_events.h"
#include "json/json.h"

#define CONTROL_POOL_KEEP 16 /* chunks: the control loop carries no connections of clients */
#define CONTROL_POOL_CAP  256
#define WORKER_POOL_KEEP  256

/* --- what the control thread hands on -------------------------------------------------------- */

static void on_publish(void *arg, struct route_set *set)
{
    struct traffic *t = arg;

    health_take(&t->health, set);
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_routes(t->workers[i], set);
    cert_watch_take(&t->certs, set, (int64_t)time(NULL));
    traffic_event_routes(t->events, set);
}

static void on_rejected(void *arg, uint64_t number, size_t faults)
{
    struct traffic *t = arg;

    traffic_event_rejected(t->events, number, faults);
}

static void on_certificate(struct cert_watch *w, const struct cert_notice *n)
{
    struct traffic *t = container_of(w, struct traffic, certs);

    traffic_event_certificate(t->events, n);
    LOG_AT(LOG_WARN, "traffic", n->is_expired ? "certificate_expired" : "certificate_expiring",
           LOG_S("host", n->host), LOG_I("days_left", n->days_left));
}

static void on_trust(struct trust_watch *w, struct proxy_trust *trust)
{
    struct traffic *t = container_of(w, struct traffic, trust);

    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_trust(t->workers[i], trust);
}

/* A fresh key for session tickets; a ticket lives as long as its key is kept in any case. */
static void rotate_tickets(struct traffic *t)
{
    const struct traffic_tickets *conf = &t->conf.tickets;
    unsigned keys = (unsigned)conf->keys;
    unsigned good_secs = (unsigned)conf->rotate_secs * (keys > 1 ? keys - 1 : 1);
    struct tls_tickets *next;

    if (keys == 0)
        return;
    next = tls_tickets_new(t->tickets, keys, good_secs);
    tls_tickets_unref(t->tickets);
    t->tickets = next;
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_tickets(t->workers[i], next);
    deadline_set(&t->rotation, (uint64_t)conf->rotate_secs * 1000);
}

static void on_rotation(struct deadline *d)
{
    rotate_tickets(container_of(d, struct traffic, rotation));
}

/* From a worker's thread. */
static void on_target(void *arg, const char *key, bool is_up)
{
    enum log_level level = is_up ? LOG_INFO : LOG_WARN;
    struct traffic *t = arg;

    traffic_event_target(t->events, key, "connection", NULL, is_up);
    LOG_AT(level, "traffic", is_up ? "target_up" : "target_down", LOG_S("target", key),
           LOG_S("by", "connection"));
}

static void on_health(struct health *h, const struct health_change *c)
{
    struct traffic *t = container_of(h, struct traffic, health);

    traffic_event_target(t->events, c->target, "healthCheck", c->host, c->is_up);
    LOG_AT(c->is_up ? LOG_INFO : LOG_WARN, "traffic", c->is_up ? "target_up" : "target_down",
           LOG_S("target", c->target), LOG_S("host", c->host), LOG_S("path", c->path),
           LOG_S("by", "healthCheck"));
}

bool traffic_has_routes(const struct traffic *t)
{
    const struct route_apply_stats *s = route_apply_stats(t->apply);

    if (s->fates[ROUTE_APPLIED] + s->fates[ROUTE_UNCHANGED] > 0)
        return true;
    switch (t->state.first) {
    case FIRST_STORED:
    case FIRST_FILE:
        return true;
    case FIRST_NONE:
        return !t->conf.coreflow_url[0];
    case FIRST_LOST:
        break;
    }
    return false;
}

uint64_t traffic_routes_left_out(const struct traffic *t)
{
    return route_apply_stats(t->apply)->sets > 0 ? 0 : t->state.routes_left_out;
}

void traffic_sum(const struct traffic *t, struct traffic_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_stats(t->workers[i], out);
}

/* --- start ----------------------------------------------------------------------------------- */

static int store_routes(void *arg, const struct route_set *set, char *why, size_t why_size)
{
    const struct traffic *t = arg;

    return state_folder_store(&t->state, set, why, why_size);
}

static int start_routes(struct traffic *t)
{
    struct route_apply_options options = {
        .loop = t->loop,
        .auth_key = &t->state.auth_key,
        .routes_max = (size_t)t->conf.limits.routes,
        .destinations_max = (size_t)t->conf.limits.route_destinations,
        .waiting_max = (unsigned)t->conf.limits.waiting_updates,
        .on_publish = on_publish,
        .on_rejected = on_rejected,
        .store = store_routes,
        .arg = t,
    };
    struct route_set *first = state_folder_first(&t->state, &t->conf);
    int rc;

    options.is_first_stored = t->state.first == FIRST_STORED && t->state.routes_left_out == 0;
    if (!first)
        return service_start_failed("traffic", -ERR_SYNTAX, "routesFile", "its faults stand above");
    health_init(&t->health, t->loop, (unsigned)t->conf.limits.health_targets, on_health);
    health_take(&t->health, first);
    cert_watch_init(&t->certs, t->loop, t->conf.certificates_expiring_days, on_certificate);
    cert_watch_take(&t->certs, first, (int64_t)time(NULL));
    rc = route_apply_new(&t->apply, &options, first);
    if (rc == 0)
        log_info("routes", "loaded", LOG_U("revision", first->revision),
                 LOG_U("routes", first->count));
    else
        (void)service_start_failed("traffic", rc, "routes", "a thread cannot be started");
    route_set_unref(first);
    return rc;
}

static int start_workers(struct traffic *t)
{
    struct traffic_shared_options options = {
        .auth_threads = (unsigned)t->conf.auth.threads,
        .auth_waiting = (unsigned)t->conf.limits.auth_waiting,
        .on_target = on_target,
        .arg = t,
    };
    unsigned count =
        t->conf.service.workers > 0 ? (unsigned)t->conf.service.workers : worker_default_count();
    int rc = traffic_shared_new(&t->shared, &options);

    if (rc != 0)
        return service_start_failed("traffic", rc, "auth.threads", "a thread cannot be started");
    t->settings = traffic_settings_new(&t->conf, PENSTOCK_VERSION);
    t->threads = must_alloc(count * sizeof(*t->threads));
    t->workers = must_alloc(count * sizeof(struct traffic_worker *));
    rc = workers_start(t->threads, count, "worker", WORKER_POOL_KEEP,
                       (size_t)t->conf.limits.pool_chunks);
    if (rc != 0)
        return service_start_failed("traffic", rc, "workers", "a thread cannot be started");
    for (unsigned i = 0; i < count; i++)
        t->workers[i] = traffic_worker_new(t->threads[i].loop, i, t->shared, t->settings,
                                           route_apply_live(t->apply), t->trust.present);
    t->workers_count = count;
    rotate_tickets(t);
    return 0;
}

/* The sockets of one listener for all workers: sets x count, a set's sockets side by side. */
struct sockets {
    int *fds; /* owned; the descriptors too, until they are dealt out */
    unsigned sets, count;
};

static int bind_sockets(struct sockets *s, unsigned count, const char *key, const char *listen,
                        char address[ADDR_TEXT_MAX])
{
    char why[ADDR_TEXT_MAX + 100];
    union addr at, bound;
    int rc = addr_parse(&at, listen);

    s->fds = must_alloc(2 * count * sizeof(*s->fds));
    s->count = count;
    if (rc == 0)
        rc = listen_bind_any(&at, count, s->fds, &s->sets, &bound);
    if (rc != 0) {
        snprintf(why, sizeof(why), "%s: %s", listen, strerrordesc_np(-rc));
        s->sets = 0;
        return service_start_failed("traffic", -ERR_SYS, key, why);
    }
    addr_format(&bound, address);
    return 0;
}

static void close_sockets(struct sockets *s)
{
    for (unsigned i = 0; i < s->sets * s->count; i++)
        close(s->fds[i]);
    free(s->fds);
}

/* Each worker gets its socket of each set. */
static void deal_sockets(struct traffic *t, struct sockets *http, struct sockets *https)
{
    for (unsigned i = 0; i < t->workers_count; i++) {
        int http_fds[2], https_fds[2];

        for (unsigned s = 0; s < http->sets; s++)
            http_fds[s] = http->fds[s * http->count + i];
        for (unsigned s = 0; s < https->sets; s++)
            https_fds[s] = https->fds[s * https->count + i];
        traffic_worker_start(t->workers[i], https_fds, https->sets, http_fds, http->sets);
    }
    http->sets = https->sets = 0; /* the workers' now */
}

static int start_listeners(struct traffic *t)
{
    struct sockets http = {.fds = NULL}, https = {.fds = NULL};
    int rc =
        bind_sockets(&http, t->workers_count, "http.listen", t->conf.http_listen, t->http_address);

    if (rc == 0)
        rc = bind_sockets(&https, t->workers_count, "https.listen", t->conf.https_listen,
                          t->https_address);
    if (rc == 0)
        deal_sockets(t, &http, &https);
    close_sockets(&http);
    close_sockets(&https);
    return rc;
}

static void log_listening(const char *name, const char *address)
{
    log_info("traffic", "listening", LOG_S("name", name), LOG_S("address", address));
}

/* --- the end of it: see service_drain.h ------------------------------------------------------- */

static void drain_close(void *arg, unsigned secs)
{
    struct traffic *t = arg;

    (void)secs;
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_drain(t->workers[i]);
}

static bool drain_is_idle(const void *arg)
{
    struct traffic_stats sums;

    traffic_sum(arg, &sums);
    return sums.clients_open == 0;
}

static const struct service_drain_ops drain_ops = {.close = drain_close, .is_idle = drain_is_idle};

int traffic_start(struct traffic *t)
{
    int rc;

    t->started_us = clock_now_us();
    rc = state_folder_open(&t->state, t->conf.service.state_dir);
    if (rc != 0)
        return rc;
    t->loop = loop_new("control", CONTROL_POOL_KEEP, CONTROL_POOL_CAP);
    t->events = service_events_new(&t->conf.service, t->loop, traffic_event_types);
    service_drain_init(&t->drain, t->loop, "traffic", &t->conf.service, &drain_ops, t);
    t->resolver = resolver_new(t->loop);
    if (!t->resolver)
        return service_start_failed("traffic", -ERR_SYS, "resolver", "it cannot be started");
    trust_watch_init(&t->trust, t->loop, t->resolver, t->conf.proxy_trusted, on_trust);
    deadline_init(&t->rotation, t->loop, on_rotation);
    rc = start_routes(t);
    if (rc == 0)
        rc = start_workers(t);
    if (rc == 0)
        rc = traffic_api_start(t);
    if (rc == 0)
        rc = start_listeners(t);
    if (rc != 0)
        return rc;
    service_tell_crash("traffic", &t->crash, t->events, TRAFFIC_EVENT_CRASH_RECOVERED);
    route_watch_start(&t->routes_file, t->loop, t->apply, t->conf.routes_file,
                      (size_t)t->conf.limits.routes_bytes,
                      (uint64_t)t->conf.routes_file_secs * 1000);
    coreflow_start(&t->coreflow, t->loop, t->resolver, t->apply, &t->conf);
    log_info("traffic", "started", LOG_S("version", PENSTOCK_VERSION),
             LOG_U("workers", t->workers_count));
    log_listening("http", t->http_address);
    log_listening("https", t->https_address);
    return 0;
}

/* --- reload and end -------------------------------------------------------------------------- */

/* Everything but what service_reload() has put into force. */
static void take_conf(struct traffic *t, struct traffic_conf *next)
{
    struct traffic_conf before = t->conf;

    t->conf = *next;
    t->conf.service = before.service;
    before.service = next->service;
    *next = before;
}

int traffic_reload(struct traffic *t, struct traffic_conf *next)
{
    int err = service_reload("traffic", t->admin, &t->tokens, &t->conf.service, &next->service);

    if (err)
        return err;
    take_conf(t, next);
    t->certs.warn_days = t->conf.certificates_expiring_days;
    traffic_settings_unref(t->settings);
    t->settings = traffic_settings_new(&t->conf, PENSTOCK_VERSION);
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_settings(t->workers[i], t->settings);
    trust_watch_take(&t->trust, t->conf.proxy_trusted);
    return 0;
}

static void stop_workers(struct traffic *t)
{
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_stop(t->workers[i]);
    workers_stop(t->threads, t->workers_count);
    traffic_shared_stop(t->shared);
    for (unsigned i = 0; i < t->workers_count; i++)
        loop_settle(t->threads[i].loop); /* messages that came after it had stopped */
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_free(t->workers[i]);
    workers_free(t->threads, t->workers_count);
    t->workers_count = 0;
    free(t->workers);
    free(t->threads);
    traffic_shared_free(t->shared);
    traffic_settings_unref(t->settings);
}

void traffic_stop(struct traffic *t)
{
    route_apply_stop(t->apply); /* first: it answers through the API and the link */
    route_watch_stop(&t->routes_file);
    coreflow_stop(&t->coreflow);
    traffic_api_stop(t);
    service_drain_fini(&t->drain);
    trust_watch_fini(&t->trust);
    deadline_off(&t->rotation);
    health_fini(&t->health);
    cert_watch_fini(&t->certs);
    stop_workers(t);
    tls_tickets_unref(t->tickets);
    resolver_free(t->resolver);
    if (t->loop)
        loop_free(t->loop);
    events_free(t->events);
    route_apply_free(t->apply);
    state_folder_close(&t->state);
    struct traffic_conf conf = t->conf; /* the caller's */
    memset(t, 0, sizeof(*t));
    t->conf = conf;
}
