/* traffic_h2_fixture - an h2_session on memory buffers: the worker, the routes and the client are
 * real, only TLS is not there; what the session sends is taken from the client's record buffer, and
 * the test says what the origin does. */
#ifndef UNIT_TRAFFIC_H2_FIXTURE_H
#define UNIT_TRAFFIC_H2_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf/chunk.h"
#include "loop/listener.h"
#include "traffic/client.h"
#include "traffic/h2_stream.h"
#include "traffic/traffic_worker_internal.h"

struct h2_rig {
    struct loop *loop;
    struct traffic_shared *shared;
    struct route_set *routes;
    struct traffic_worker *worker;
    struct client client;
    int listener; /* whom the exchanges connect to; nobody accepts */
};

static inline void h2_rig_nothing(struct ready *r)
{
    (void)r;
}

static inline void h2_rig_no_time(struct deadline *d)
{
    (void)d;
}

static inline void h2_rig_routes(struct h2_rig *rig)
{
    union addr any, bound;
    unsigned sets;

    must(addr_parse(&any, "127.0.0.1:0") == 0);
    must(listen_bind_any(&any, 1, &rig->listener, &sets, &bound) == 0);
    rig->routes = route_set_new(1);
    rig->routes->routes[0].host = must_strdup("a.test");
    rig->routes->routes[0].destinations = must_alloc(sizeof(struct destination));
    rig->routes->routes[0].destination_count = rig->routes->routes[0].port_count = 1;
    rig->routes->routes[0].destinations[0].addr = bound;
    addr_format(&bound, rig->routes->routes[0].destinations[0].key);
    route_set_seal(rig->routes);
}

static inline struct traffic_conf h2_rig_conf(void)
{
    static char version_header[] = "version";
    struct traffic_conf conf = {.version_header = version_header};

    conf.timeouts.connect_secs = conf.timeouts.body_idle_secs = 60;
    conf.timeouts.idle_secs = conf.timeouts.header_secs = 60;
    conf.limits.buffer_bytes = 65536;
    conf.limits.upstream_connections = 64;
    conf.limits.header_bytes = 16384;
    conf.limits.header_fields = 100;
    conf.limits.request_line_bytes = 8192;
    conf.limits.requests_per_connection = 10000;
    conf.limits.h2_streams = 100;
    conf.limits.h2_window_bytes = 1 << 20;
    conf.limits.h2_heads_bytes = 1 << 20;
    conf.limits.h2_shared_bytes = 8 << 20;
    conf.limits.h2_resets = 50;
    conf.limits.h2_control_frames = 100;
    conf.limits.h2_continuations = 8;
    return conf;
}

/* A new connection on the same worker. */
static inline void h2_rig_open(struct h2_rig *rig)
{
    struct client *c = &rig->client;

    memset(c, 0, sizeof(*c));
    c->state = CLIENT_OPEN;
    c->fd = -1;
    c->worker = c->requester.worker = rig->worker;
    c->requester.sni = "a.test";
    c->requester.tls_version = "TLS1.3";
    forward_client_set(&c->requester.forward, &(union addr){.in = {.sin_family = AF_INET}});
    deadline_init(&c->deadline, rig->loop, h2_rig_no_time);
    ready_init(&c->ready, h2_rig_nothing);
    c->session = &h2_session_of_client;
    must(c->session->start(c) == 0);
}

static inline void h2_rig_close(struct h2_rig *rig)
{
    struct client *c = &rig->client;

    c->session->fini(c);
    requester_forget_route(&c->requester);
    deadline_off(&c->deadline);
    ready_cancel(&c->ready);
    if (c->stage)
        chunk_give(loop_pool(rig->loop), c->stage);
    c->stage = NULL;
    loop_settle(rig->loop);
}

static inline void h2_rig_init(struct h2_rig *rig, const struct traffic_conf *conf)
{
    struct traffic_settings *settings = traffic_settings_new(conf, "1");
    struct proxy_trust *trust = proxy_trust_new();

    memset(rig, 0, sizeof(*rig));
    rig->loop = loop_new("test", 4, 0);
    must(traffic_shared_new(&rig->shared, NULL) == 0);
    h2_rig_routes(rig);
    rig->worker = traffic_worker_new(rig->loop, 0, rig->shared, settings, rig->routes, trust);
    traffic_settings_unref(settings);
    proxy_trust_unref(trust);
    h2_rig_open(rig);
}

static inline void h2_rig_fini(struct h2_rig *rig)
{
    h2_rig_close(rig);
    traffic_worker_free(rig->worker);
    route_set_unref(rig->routes);
    traffic_shared_free(rig->shared);
    loop_free(rig->loop);
    close(rig->listener);
}

/* Gives the session n bytes, as one record. */
static inline void h2_rig_feed(struct h2_rig *rig, const uint8_t *bytes, size_t n)
{
    rig->client.in = bytes;
    rig->client.in_len = n;
    if (n > 0 && !h2_session_of_client.is_over(&rig->client))
        h2_session_of_client.step(&rig->client);
}

/* Moves what waits to be sent to `out` (a record's worth at least); returns how much it is. */
static inline size_t h2_rig_drain(struct h2_rig *rig, uint8_t *out)
{
    struct client *c = &rig->client;
    size_t n;

    h2_session_send(&c->h2);
    n = c->stage_len;
    if (n > 0)
        memcpy(out, c->stage->bytes, n);
    c->stage_len = 0;
    return n;
}

static inline struct h2_stream *h2_rig_stream(struct h2_rig *rig)
{
    must(!list_is_empty(&rig->client.h2.streams));
    return container_of(rig->client.h2.streams.prev, struct h2_stream, node);
}

#endif
