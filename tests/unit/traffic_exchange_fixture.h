/* traffic_exchange_fixture - one exchange towards one destination, where a listener takes
 * connections and nothing more: the worker, the routes and the connection are real, the test plays
 * the codec. */
#ifndef UNIT_TRAFFIC_EXCHANGE_FIXTURE_H
#define UNIT_TRAFFIC_EXCHANGE_FIXTURE_H

#include <unistd.h>

#include "loop/listener.h"
#include "traffic/exchange.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic_h1_fixture.h"

static struct loop *loop;
static struct traffic_shared *shared;
static struct traffic_worker *worker;
static struct route_set *routes;
static struct exchange exchange;
static struct requester requester;
static unsigned heads;
static size_t took;
static int listener;

static void on_message(struct exchange *x, const struct http_response *r)
{
    (void)x;
    heads += r->status == 101 || r->status >= 200;
}

static void on_body(struct exchange *x, const uint8_t *bytes, size_t n)
{
    (void)x;
    (void)bytes;
    (void)n;
}

static void on_end(struct exchange *x, const struct http_fields *trailers)
{
    (void)x;
    (void)trailers;
}

static size_t room(const struct exchange *x)
{
    (void)x;
    return 65536;
}

static void taken(struct exchange *x, size_t n)
{
    (void)x;
    took += n;
}

static void wake(struct exchange *x)
{
    (void)x;
}

static const struct exchange_codec codec = {on_message, on_message, on_body, on_end,
                                            room,       taken,      wake};

/* `tls` is taken over; NULL: plain. */
static void make_routes(struct origin_tls *tls)
{
    union addr any, bound;
    unsigned sets;

    ck_assert_int_eq(addr_parse(&any, "127.0.0.1:0"), 0);
    ck_assert_int_eq(listen_bind_any(&any, 1, &listener, &sets, &bound), 0);
    routes = route_set_new(1);
    routes->routes[0].host = must_strdup("a.test");
    routes->routes[0].destinations = must_alloc(sizeof(struct destination));
    routes->routes[0].destination_count = routes->routes[0].port_count = 1;
    routes->routes[0].destinations[0].addr = bound;
    addr_format(&bound, routes->routes[0].destinations[0].key);
    routes->routes[0].options = route_options_new();
    routes->routes[0].options->tls = tls;
    route_set_seal(routes);
}

static void exchange_setup(struct origin_tls *tls)
{
    static char version_header[] = "Version";
    struct traffic_conf conf = {.version_header = version_header};
    struct traffic_settings *settings;
    struct proxy_trust *trust = proxy_trust_new();

    conf.timeouts.connect_secs = conf.timeouts.body_idle_secs = 60;
    conf.limits.buffer_bytes = 65536;
    conf.limits.header_bytes = 16384;
    conf.limits.header_fields = 100;
    conf.limits.request_line_bytes = 8192;
    conf.limits.upstream_connections = 8;
    settings = traffic_settings_new(&conf, "test");
    heads = 0;
    took = 0;
    loop = loop_new("test", 4, 0);
    ck_assert_int_eq(traffic_shared_new(&shared, NULL), 0);
    make_routes(tls);
    worker = traffic_worker_new(loop, 0, shared, settings, routes, trust);
    traffic_settings_unref(settings);
    proxy_trust_unref(trust);
    requester = (struct requester){.worker = worker, .sni = "a.test", .tls_version = "TLS1.3"};
    forward_client_set(&requester.forward, &(union addr){.in = {.sin_family = AF_INET}});
    exchange_init(&exchange, &requester, &codec);
}

static void exchange_teardown(void)
{
    exchange_fini(&exchange);
    requester_forget_route(&requester);
    traffic_worker_free(worker);
    route_set_unref(routes);
    traffic_shared_free(shared);
    loop_free(loop);
    close(listener);
}

/* POST / with a body of that length; or without, to be upgraded. */
static enum traffic_reason ask(const char *upgrade, uint64_t length)
{
    static struct http_request request;

    request = (struct http_request){.method = {"POST", 4},
                                    .target = {"/", 1},
                                    .authority = {"a.test", 6},
                                    .minor = 1,
                                    .framing = upgrade ? HTTP_NO_BODY : HTTP_LENGTH,
                                    .length = upgrade ? 0 : length,
                                    .upgrade = {upgrade, upgrade ? strlen(upgrade) : 0}};
    ck_assert_int_eq(requester_check(&requester, request.authority), REASON_NONE);
    exchange_open(&exchange, "HTTP/1.1", &request);
    return exchange_start(&exchange, &request);
}

#endif
