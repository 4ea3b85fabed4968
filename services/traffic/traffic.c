/* traffic - see traffic.h.
 *
 * Start: routes, apply thread, workers, management API, and the public listeners last of all: who
 * reaches a port is served.  The end is the same way back; whatever was not started is passed over,
 * so that a start that failed half way ends in order too. */
#include "traffic/traffic.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/listener.h"
#include "traffic/route_file.h"
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

    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_routes(t->workers[i], set);
    traffic_event_routes(t->events, set);
}

static void on_rejected(void *arg, uint64_t number, size_t faults)
{
    struct traffic *t = arg;

    traffic_event_rejected(t->events, number, faults);
}

static void on_trust(struct trust_watch *w, struct proxy_trust *trust)
{
    struct traffic *t = container_of(w, struct traffic, trust);

    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_trust(t->workers[i], trust);
}

/* From a worker's thread. */
static void on_target(void *arg, const char *key, bool is_up)
{
    enum log_level level = is_up ? LOG_INFO : LOG_WARN;
    struct traffic *t = arg;

    traffic_event_target(t->events, key, is_up);
    LOG_AT(level, "traffic", is_up ? "target_up" : "target_down", LOG_S("target", key));
}

void traffic_sum(const struct traffic *t, struct traffic_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_stats(t->workers[i], out);
}

/* --- start ----------------------------------------------------------------------------------- */

static int start_routes(struct traffic *t)
{
    struct route_apply_options options = {
        .loop = t->loop,
        .auth_key = &t->auth_key,
        .routes_max = (size_t)t->conf.limits.routes,
        .destinations_max = (size_t)t->conf.limits.route_destinations,
        .waiting_max = (unsigned)t->conf.limits.waiting_updates,
        .on_publish = on_publish,
        .on_rejected = on_rejected,
        .arg = t,
    };
    struct route_set *first =
        route_file_load(t->conf.routes_file, &t->conf.limits, &t->auth_key, stderr);
    int rc;

    if (!first)
        return -ERR_SYNTAX;
    rc = route_apply_new(&t->apply, &options, first);
    if (rc == 0)
        log_info("routes", "loaded", LOG_U("revision", first->revision),
                 LOG_U("routes", first->count));
    route_set_unref(first);
    return rc;
}

static int start_workers(struct traffic *t)
{
    struct traffic_shared_options options = {.on_target = on_target, .arg = t};
    unsigned count =
        t->conf.service.workers > 0 ? (unsigned)t->conf.service.workers : worker_default_count();
    int rc = traffic_shared_new(&t->shared, &options);

    if (rc != 0)
        return rc;
    t->settings = traffic_settings_new(&t->conf, PENSTOCK_VERSION);
    t->threads = must_alloc(count * sizeof(*t->threads));
    t->workers = must_alloc(count * sizeof(struct traffic_worker *));
    rc = workers_start(t->threads, count, "worker", WORKER_POOL_KEEP,
                       (size_t)t->conf.limits.pool_chunks);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < count; i++)
        t->workers[i] = traffic_worker_new(t->threads[i].loop, i, t->shared, t->settings,
                                           route_apply_live(t->apply), t->trust.present);
    t->workers_count = count;
    return 0;
}

/* The sockets of one listener for all workers: sets x count, a set's sockets side by side. */
struct sockets {
    int *fds; /* owned; the descriptors too, until they are dealt out */
    unsigned sets, count;
};

static int bind_sockets(struct sockets *s, unsigned count, const char *name, const char *listen,
                        char address[ADDR_TEXT_MAX])
{
    union addr at, bound;
    int rc = addr_parse(&at, listen);

    s->fds = must_alloc(2 * count * sizeof(*s->fds));
    s->count = count;
    if (rc == 0)
        rc = listen_bind_any(&at, count, s->fds, &s->sets, &bound);
    if (rc != 0) {
        log_err("traffic", "bind_failed", LOG_S("name", name), LOG_S("listen", listen),
                LOG_S("error", strerrordesc_np(-rc)));
        s->sets = 0;
        return -ERR_SYS;
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
    int rc = bind_sockets(&http, t->workers_count, "http", t->conf.http_listen, t->http_address);

    if (rc == 0)
        rc =
            bind_sockets(&https, t->workers_count, "https", t->conf.https_listen, t->https_address);
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
    auth_key_init(&t->auth_key);
    rlimit_raise_files();
    t->loop = loop_new("control", CONTROL_POOL_KEEP, CONTROL_POOL_CAP);
    t->events = service_events_new(&t->conf.service, t->loop, traffic_event_types);
    service_drain_init(&t->drain, t->loop, "traffic", &t->conf.service, &drain_ops, t);
    t->resolver = resolver_new(t->loop);
    if (!t->resolver) {
        log_err("traffic", "resolver_failed");
        return -ERR_SYS;
    }
    trust_watch_init(&t->trust, t->loop, t->resolver, t->conf.proxy_trusted, on_trust);
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

const char *traffic_cold_difference(const struct traffic *t, const struct traffic_conf *next)
{
    struct traffic_conf probe = *next; /* a view: it owns nothing */

    service_view_as(&probe.service, &t->conf.service);
    return conf_cold_difference(&traffic_conf_table, &t->conf, &probe);
}

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
    traffic_settings_unref(t->settings);
    t->settings = traffic_settings_new(&t->conf, PENSTOCK_VERSION);
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_publish_settings(t->workers[i], t->settings);
    /* Begun anew only when it must: a watch that begins knows no address of a name yet. */
    if (json_object_equal(t->conf.proxy_trusted, next->proxy_trusted))
        return 0;
    trust_watch_fini(&t->trust);
    trust_watch_init(&t->trust, t->loop, t->resolver, t->conf.proxy_trusted, on_trust);
    on_trust(&t->trust, t->trust.present);
    return 0;
}

static void stop_workers(struct traffic *t)
{
    for (unsigned i = 0; i < t->workers_count; i++)
        traffic_worker_stop(t->workers[i]);
    workers_stop(t->threads, t->workers_count);
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
    stop_workers(t);
    resolver_free(t->resolver);
    if (t->loop)
        loop_free(t->loop);
    events_free(t->events);
    route_apply_free(t->apply);
    auth_key_fini(&t->auth_key);
    struct traffic_conf conf = t->conf; /* the caller's */
    memset(t, 0, sizeof(*t));
    t->conf = conf;
}
