/* edge_worker_fixture - workers on threads of their own, a hub made of one link a lane, and clients
 * that dial a public port (of UDP: edge_udp_fixture.h).  The test is the control thread: what
 * uplink.h would decide it says by hand, what a lane reports it keeps. */
#ifndef TESTS_UNIT_EDGE_WORKER_FIXTURE_H
#define TESTS_UNIT_EDGE_WORKER_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "edge/edge_lane.h"
#include "edge/edge_worker.h"
#include "loop/listener.h"
#include "support/await.h"
#include "support/descriptors.h"
#include "support/tls_pair.h"
#include "json/json.h"

#define WORKERS     2 /* at most */
#define LANES_MAX   32
#define CLIENTS_MAX 32
#define PATIENCE_MS 10000
#define SECRET      "0123456789012345678901234567890123456789012"

/* The hub's end of a lane. */
struct hub_end {
    struct link *link;
    uint32_t number;
    bool is_over;
    struct stream streams[CLIENTS_MAX];
    unsigned stream_count;
};

static struct {
    struct loop *loop;
    unsigned worker_count;
    struct worker threads[WORKERS];
    struct edge_worker workers[WORKERS];
    struct edge_shared shared;
    bool are_stopped;
    struct credentials *credentials;
    uint64_t serial;
    uint16_t port;
    /* the hub */
    struct acceptor acceptor;
    struct tls_ctx *tls;
    struct budget budget;
    struct hub_end lanes[LANES_MAX];
    unsigned lane_count, over_count, stream_count;
    const char *wrong_secret; /* the hub's, or NULL */
    uint8_t session;          /* all bytes of the one that it answers with */
    /* reports */
    unsigned ups, deads, drains;
    struct lane_report *configs[LANES_MAX];
    unsigned config_count;
    char why[200];
    bool is_path_fault; /* of the last that died */
    int clients[CLIENTS_MAX];
    unsigned client_count;
    unsigned fds_before;
} t;

/* --- the hub ---------------------------------------------------------------------------------- */

static inline void on_secure(struct link *link)
{
    (void)link;
}

static inline void answer(struct link *link, const struct hello *hello)
{
    uint8_t message[PROOF_MESSAGE_MAX], exporter[TLS_EXPORTER_BYTES];
    const char *secret = t.wrong_secret ? t.wrong_secret : SECRET;
    struct answer a = {.is_proof_formed = true, .initial_window = INITIAL_WINDOW};
    char *line;
    size_t n;

    strcpy(a.edge_id, hello->edge_id);
    ck_assert_int_eq(link_exporter(link, exporter), 0);
    n = proof_message_emit(message, PROOF_HUB, exporter, hello->edge_id);
    tls_hmac_sha256(secret, strlen(secret), message, n, a.proof);
    memset(a.session, t.session, sizeof(a.session));
    a.config.revision = 1;
    line = answer_emit(&a, &n);
    link_send_line(link, line, n);
    free(line);
}

static inline int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct hub_end *end = link_owner(link);
    struct wire_why why;
    struct hello hello;
    int used = hello_parse(&hello, bytes, n, &why);

    if (used <= 0)
        return used;
    end->number = hello.lane;
    answer(link, &hello);
    link_open(link, INITIAL_WINDOW);
    return used;
}

static inline void on_change(struct stream *s)
{
    (void)s;
}

static inline struct stream *on_open(struct link *link, const struct proxy_header *client,
                                     enum stream_reset *refuse)
{
    struct hub_end *end = link_owner(link);
    struct stream *s = &end->streams[end->stream_count++];

    (void)refuse;
    ck_assert_uint_eq(client->dst_port, t.port);
    stream_init(s, on_change);
    t.stream_count++;
    return s;
}

static inline int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                             struct wire_why *why)
{
    (void)link, (void)type, (void)json, (void)n, (void)why;
    return 0;
}

static inline void on_drain(struct link *link)
{
    (void)link;
}

static inline void on_dead(struct link *link)
{
    struct hub_end *end = link_owner(link);

    end->is_over = true;
    t.over_count++;
}

static struct link_ops hub_ops = {.on_secure = on_secure,
                                  .on_line = on_line,
                                  .on_open = on_open,
                                  .on_control = on_control,
                                  .on_drain = on_drain,
                                  .on_dead = on_dead};

static inline void on_accept(struct acceptor *a, int fd, const union addr *peer)
{
    struct hub_end *end = &t.lanes[t.lane_count++];

    (void)a, (void)peer;
    ck_assert_int_eq(link_new(&end->link, fd,
                              &(struct link_options){.side = LINK_HUB,
                                                     .loop = t.loop,
                                                     .tls = t.tls,
                                                     .budget = &t.budget,
                                                     .ops = &hub_ops,
                                                     .owner = end,
                                                     .handshake_ms = PATIENCE_MS}),
                     0);
}

/* --- the stand -------------------------------------------------------------------------------- */

static inline void on_report(void *arg, struct lane_report *report)
{
    (void)arg;
    switch (report->kind) {
    case LANE_REPORT_UP:
        t.ups++;
        break;
    case LANE_REPORT_CONFIG:
        t.configs[t.config_count++] = report;
        return;
    case LANE_REPORT_DRAINING:
        t.drains++;
        break;
    case LANE_REPORT_COLLAPSED: /* nothing here moves enough for that */
        ck_abort();
    case LANE_REPORT_DEAD:
        t.deads++;
        strcpy(t.why, report->why);
        t.is_path_fault = report->is_path_fault;
        break;
    }
    lane_report_free(report);
}

static inline struct credentials *credentials_for(uint16_t port)
{
    struct json_object *body = json_object_new_object();
    struct credentials *c = NULL;
    struct json_check faults;

    json_check_init(&faults);
    json_object_object_add(body, "hubHost", json_object_new_string("127.0.0.1"));
    json_object_object_add(body, "hubPort", json_object_new_int(port));
    json_object_object_add(body, "edgeId", json_object_new_string("e1"));
    json_object_object_add(body, "secret", json_object_new_string(SECRET));
    ck_assert_int_eq(credentials_from_json(&c, body, &faults), 0);
    json_check_fini(&faults);
    json_object_put(body);
    return c;
}

static inline void hub_up(void)
{
    static const char *const alpn[] = {WIRE_ALPN, NULL};
    union addr at, bound;
    int fd;

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &fd, &bound), 0);
    acceptor_init(&t.acceptor, t.loop, fd, on_accept);
    acceptor_start(&t.acceptor);
    t.tls = tls_pair_server_ctx(TLS_ONLY_13, alpn, "hub.test");
    t.credentials = credentials_for(addr_port(&bound));
    budget_init(&t.budget, 64u << 20, 1000, 4u << 20);
}

/* One public port on all workers. */
static inline void port_up(void)
{
    union addr at, bound;
    int fds[WORKERS];

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, WORKERS, fds, &bound), 0);
    t.port = addr_port(&bound);
    for (unsigned i = 0; i < WORKERS; i++)
        edge_worker_open_port(&t.workers[i], PORT_TCP, t.port, &fds[i], 1);
}

/* Workers without a port. */
static inline void workers_up(unsigned count, struct edge_shared shared, uint32_t udp_limit)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    memset(&t, 0, sizeof(t));
    tls_random(&t.serial, 1); /* GnuTLS opens what it keeps */
    t.serial = 0;
    t.loop = loop_new("control", 64, 0);
    t.fds_before = count_fds();
    hub_up();
    t.worker_count = count;
    t.shared = shared;
    t.shared.workers = t.workers;
    t.shared.count = count;
    t.shared.control = t.loop;
    t.shared.instance = "here";
    t.shared.on_report = on_report;
    t.shared.per_address_max = t.shared.per_address_max ? t.shared.per_address_max : CLIENTS_MAX;
    address_count_init(&t.shared.addresses,
                       (const uint64_t[]){0x0123456789abcdef, 0xfedcba9876543210});
    budget_init(&t.shared.budget, 64u << 20, 1000, 4u << 20);
    budget_set_udp(&t.shared.budget, udp_limit, BUDGET_UDP_QUEUE_BYTES, BUDGET_UDP_MEMORY);
    ck_assert_int_eq(workers_start(t.threads, count, "edge", 64, 0), 0);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(edge_worker_init(&t.workers[i], &t.threads[i], &t.shared), 0);
}

static inline void stand_up(uint64_t hold_ms)
{
    workers_up(
        WORKERS,
        (struct edge_shared){.hold_ms = hold_ms, .held_max = CLIENTS_MAX / 2, .is_holding = true},
        0);
    port_up();
}

static inline void workers_down(void)
{
    workers_stop(t.threads, t.worker_count);
    for (unsigned i = 0; i < t.worker_count; i++)
        edge_worker_fini(&t.workers[i]);
    workers_free(t.threads, t.worker_count);
    t.are_stopped = true;
}

/* Nothing is held any more: streams, budget, chunks, descriptors. */
static inline void stand_down(void)
{
    if (!t.are_stopped)
        workers_down();
    ck_assert_uint_eq(t.shared.budget.streams, 0);
    ck_assert_uint_eq(t.shared.budget.taken, 0);
    ck_assert_uint_eq(t.shared.budget.udp.sessions, 0);
    ck_assert_uint_eq(t.shared.budget.udp.taken, 0);
    ck_assert_uint_eq(t.shared.held, 0);
    for (unsigned i = 0; i < ADDRESS_SLOTS; i++)
        must(t.shared.addresses.open[i] == 0);
    acceptor_fini(&t.acceptor);
    for (unsigned i = 0; i < t.lane_count; i++)
        link_free(t.lanes[i].link);
    for (unsigned i = 0; i < t.config_count; i++)
        lane_report_free(t.configs[i]);
    for (unsigned i = 0; i < t.client_count; i++)
        close(t.clients[i]);
    credentials_unref(t.credentials);
    tls_ctx_unref(t.tls);
    ck_assert_uint_eq(count_fds(), t.fds_before);
    loop_free(t.loop);
    for (unsigned i = 0; i < t.lane_count; i++)
        for (unsigned k = 0; k < t.lanes[i].stream_count; k++)
            stream_release(&t.lanes[i].streams[k]);
}

struct numbered {
    bool (*is_true)(unsigned n);
    unsigned n;
};

static inline bool is_numbered_true(void *arg)
{
    const struct numbered *c = arg;

    return c->is_true(c->n);
}

static inline bool happens_within(bool (*is_true)(unsigned n), unsigned n, uint64_t ms)
{
    return await_within(t.loop, is_numbered_true, &(struct numbered){is_true, n}, ms);
}

#define UNTIL(is_true, n)                                                                          \
    ck_assert_msg(happens_within(is_true, n, PATIENCE_MS), "never: " #is_true " " #n)

static inline void dial(unsigned worker)
{
    struct lane_order *order = must_alloc(sizeof(*order));

    order->credentials = credentials_ref(t.credentials);
    order->dial_ms = EDGE_DIAL_MS;
    order->serial = ++t.serial;
    order->number = (uint32_t)t.serial - 1;
    order->has_session = t.serial > 1;
    edge_worker_dial(&t.workers[worker], order);
}

/* --- conditions ------------------------------------------------------------------------------- */

static inline bool lanes_are_up(unsigned n)
{
    return t.ups == n;
}

static inline bool lanes_are_dead(unsigned n)
{
    return t.deads == n;
}

static inline bool lanes_drain(unsigned n)
{
    return t.drains == n;
}

#endif
