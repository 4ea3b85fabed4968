/* test_edge_udp_flows - edge/udp_flows.h: one worker on a thread of its own, a hub made of one link
 * a lane in the test's loop, which sends every datagram back, and clients that are sockets. */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "edge/edge_lane.h"
#include "edge/edge_worker.h"
#include "loop/listener.h"
#include "support/tls_pair.h"
#include "json/json.h"

#define LANES_MAX    8
#define SESSIONS_MAX 64
#define PATIENCE_MS  10000
#define SECRET       "0123456789012345678901234567890123456789012"

struct hub_end {
    struct link *link;
    bool is_over;
};

struct hub_session {
    struct udp_session session;
    struct hub_end *end;
    uint16_t client_port;
    bool is_closed;
};

static struct {
    struct loop *loop;
    struct worker thread;
    struct edge_worker worker;
    struct edge_shared shared;
    struct credentials *credentials;
    uint64_t serial;
    uint16_t port;
    struct acceptor acceptor;
    struct tls_ctx *tls;
    struct budget budget;
    struct hub_end lanes[LANES_MAX];
    unsigned lane_count;
    struct hub_session sessions[SESSIONS_MAX];
    unsigned session_count;
    bool refuses;
    unsigned ups, drains;
} t;

/* --- the hub ---------------------------------------------------------------------------------- */

static void on_secure(struct link *link)
{
    (void)link;
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    uint8_t message[PROOF_MESSAGE_MAX], exporter[TLS_EXPORTER_BYTES];
    struct answer a = {.is_proof_formed = true, .initial_window = INITIAL_WINDOW};
    struct wire_why why;
    struct hello hello;
    int used = hello_parse(&hello, bytes, n, &why);
    size_t len;
    char *line;

    if (used <= 0)
        return used;
    strcpy(a.edge_id, hello.edge_id);
    ck_assert_int_eq(link_exporter(link, exporter), 0);
    len = proof_message_emit(message, PROOF_HUB, exporter, hello.edge_id);
    tls_hmac_sha256(SECRET, strlen(SECRET), message, len, a.proof);
    a.config.revision = 1;
    line = answer_emit(&a, &len);
    link_send_line(link, line, len);
    free(line);
    link_open(link, INITIAL_WINDOW);
    return used;
}

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    udp_session_send(u, bytes, n, loop_now_ms(t.loop));
}

static void on_closed(struct udp_session *u)
{
    container_of(u, struct hub_session, session)->is_closed = true;
}

static struct udp_session *on_udp_open(struct link *link, const struct proxy_header *client,
                                       enum udp_end *refuse)
{
    struct hub_session *s = &t.sessions[t.session_count];

    ck_assert_uint_eq(client->dst_port, t.port);
    ck_assert_mem_eq(client->src, ((uint8_t[]){127, 0, 0, 1}), 4);
    if (t.refuses) {
        *refuse = UDP_END_NOT_ALLOWED;
        return NULL;
    }
    ck_assert_uint_lt(t.session_count++, SESSIONS_MAX);
    s->end = link_owner(link);
    s->client_port = client->src_port;
    udp_session_init(&s->session, on_datagram, on_closed);
    return &s->session;
}

static struct stream *on_open(struct link *link, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    (void)link, (void)client;
    *refuse = RESET_NOT_ALLOWED;
    return NULL;
}

static int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    (void)link, (void)type, (void)json, (void)n, (void)why;
    return 0;
}

static void on_drain(struct link *link)
{
    (void)link;
}

static void on_dead(struct link *link)
{
    struct hub_end *end = link_owner(link);

    end->is_over = true;
}

static const struct link_ops hub_ops = {.on_secure = on_secure,
                                        .on_line = on_line,
                                        .on_open = on_open,
                                        .on_udp_open = on_udp_open,
                                        .on_control = on_control,
                                        .on_drain = on_drain,
                                        .on_dead = on_dead};

static void on_accept(struct acceptor *a, int fd, const union addr *peer)
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

static void on_report(void *arg, struct lane_report *report)
{
    (void)arg;
    t.ups += report->kind == LANE_REPORT_UP;
    t.drains += report->kind == LANE_REPORT_DRAINING;
    lane_report_free(report);
}

static struct credentials *credentials_for(uint16_t port)
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

static void hub_up(void)
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

static void stand_up(uint32_t limit, uint64_t idle_ms)
{
    union addr at;
    unsigned sets;
    int fd;

    log_init(LOG_TEXT, LOG_ERR, 2);
    memset(&t, 0, sizeof(t));
    t.loop = loop_new("control", 64, 0);
    hub_up();
    t.shared = (struct edge_shared){.workers = &t.worker,
                                    .count = 1,
                                    .control = t.loop,
                                    .congestion = "",
                                    .instance = "here",
                                    .udp_idle_ms = idle_ms,
                                    .on_report = on_report};
    budget_init(&t.shared.budget, 64u << 20, 1000, 4u << 20);
    budget_set_udp(&t.shared.budget, limit, BUDGET_UDP_QUEUE_BYTES, BUDGET_UDP_MEMORY);
    ck_assert_int_eq(workers_start(&t.thread, 1, "edge", 64, 0), 0);
    ck_assert_int_eq(edge_worker_init(&t.worker, &t.thread, &t.shared), 0);
    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind_udp(&at, 1, &fd, &sets, &at), 0);
    t.port = addr_port(&at);
    edge_worker_open_port(&t.worker, PORT_UDP, t.port, &fd, 1);
}

static void stand_down(void)
{
    workers_stop(&t.thread, 1);
    edge_worker_fini(&t.worker);
    workers_free(&t.thread, 1);
    ck_assert_uint_eq(t.shared.budget.udp.sessions, 0);
    ck_assert_uint_eq(t.shared.budget.udp.taken, 0);
    acceptor_fini(&t.acceptor);
    for (unsigned i = 0; i < t.session_count; i++)
        udp_session_release(&t.sessions[i].session);
    for (unsigned i = 0; i < t.lane_count; i++)
        link_free(t.lanes[i].link);
    credentials_unref(t.credentials);
    tls_ctx_unref(t.tls);
    loop_free(t.loop);
}

static bool (*awaited)(unsigned n);
static unsigned awaited_n;
static uint64_t until_ms;
static bool was_true;

static void on_poll(struct deadline *d)
{
    was_true = awaited(awaited_n);
    if (was_true || loop_now_ms(t.loop) >= until_ms)
        loop_stop(t.loop);
    else
        deadline_set(d, 1);
}

static bool happens(bool (*is_true)(unsigned n), unsigned n)
{
    struct deadline poll;

    awaited = is_true;
    awaited_n = n;
    until_ms = clock_now_us() / 1000 + PATIENCE_MS;
    deadline_init(&poll, t.loop, on_poll);
    deadline_set(&poll, 1);
    loop_run(t.loop);
    deadline_off(&poll);
    return was_true;
}

#define UNTIL(is_true, n) ck_assert_msg(happens(is_true, n), "never: " #is_true " " #n)

static bool lanes_are_up(unsigned n)
{
    return t.ups == n;
}

static bool lanes_drain(unsigned n)
{
    return t.drains == n;
}

static bool sessions_came(unsigned n)
{
    return t.session_count == n;
}

static bool session_is_closed(unsigned i)
{
    return t.sessions[i].is_closed;
}

static bool flows_are(unsigned n)
{
    return t.worker.stats.udp.flows == n;
}

static bool were_evicted(unsigned n)
{
    return t.worker.stats.udp.evicted == n;
}

static bool found_no_tunnel(unsigned n)
{
    return t.worker.stats.udp.dropped[UDP_DROP_NO_TUNNEL] == n;
}

static int pressing; /* a client that does not wait for answers */

static bool were_shut_out(unsigned n)
{
    ck_assert_int_eq(send(pressing, "again", 5, 0), 5);
    return t.worker.stats.udp.dropped[UDP_DROP_CLOSED] >= n;
}

static void dial(void)
{
    struct lane_order *order = must_alloc(sizeof(*order));

    order->credentials = credentials_ref(t.credentials);
    order->dial_ms = EDGE_DIAL_MS;
    order->serial = ++t.serial;
    order->number = (uint32_t)t.serial - 1;
    order->has_session = t.serial > 1;
    edge_worker_dial(&t.worker, order);
    UNTIL(lanes_are_up, (unsigned)t.serial);
}

/* --- clients ---------------------------------------------------------------------------------- */

static int asking; /* the client that waits */

static int client(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(t.port)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static bool is_answered(unsigned n)
{
    struct pollfd at = {.fd = asking, .events = POLLIN};

    (void)n;
    return poll(&at, 1, 0) == 1 && (at.revents & POLLIN);
}

static void ask(int fd, const char *text)
{
    char got[100];

    ck_assert_int_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    asking = fd;
    UNTIL(is_answered, 0);
    ck_assert_int_eq(recv(fd, got, sizeof(got), 0), (ssize_t)strlen(text));
    ck_assert_mem_eq(got, text, strlen(text));
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(a_client_is_a_session)
{
    int a, b;

    stand_up(100, 60000);
    a = client();
    ck_assert_int_eq(send(a, "early", 5, 0), 5);
    UNTIL(found_no_tunnel, 1);
    dial();
    b = client();
    ask(a, "one");
    ask(b, "two");
    ask(a, "three");
    ck_assert_uint_eq(t.session_count, 2);
    UNTIL(flows_are, 2);
    edge_worker_close_port(&t.worker, PORT_UDP, t.port);
    UNTIL(session_is_closed, 0);
    UNTIL(session_is_closed, 1);
    UNTIL(flows_are, 0);
    close(a);
    close(b);
    stand_down();
}
END_TEST

START_TEST(a_flow_opens_again_when_its_lane_is_lost)
{
    int a;

    stand_up(100, 60000);
    dial();
    a = client();
    ask(a, "one");
    link_free(t.lanes[0].link); /* closed without a word */
    t.lanes[0].link = NULL;
    dial();
    UNTIL(sessions_came, 2); /* though the client says nothing: its target may */
    ck_assert_uint_eq(t.sessions[1].client_port, t.sessions[0].client_port);
    udp_session_send(&t.sessions[1].session, "from the target", 15, loop_now_ms(t.loop));
    asking = a;
    UNTIL(is_answered, 0);
    close(a);
    stand_down();
}
END_TEST

START_TEST(a_flow_leaves_a_lane_that_drains)
{
    int a;

    stand_up(100, 60000);
    dial();
    a = client();
    ask(a, "one");
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    ask(a, "two"); /* there is no other lane yet */
    ck_assert_uint_eq(t.session_count, 1);
    dial();
    UNTIL(sessions_came, 2);
    ck_assert_ptr_eq(t.sessions[1].end, &t.lanes[1]);
    ck_assert(!t.sessions[0].is_closed); /* the hub does that, or the edge after a moment */
    udp_session_send(&t.sessions[0].session, "late", 4, loop_now_ms(t.loop));
    asking = a;
    UNTIL(is_answered, 0);
    ck_assert_int_eq(recv(a, (char[4]){0}, 4, 0), 4);
    udp_session_close(&t.sessions[0].session, UDP_END_ORDERLY);
    ask(a, "three");
    ck_assert_uint_eq(t.session_count, 2);
    close(a);
    stand_down();
}
END_TEST

/* Another hub: the one that was left never learns where the flow went. */
START_TEST(what_a_flow_has_left_is_closed_after_a_moment)
{
    int fds[3];

    stand_up(100, 60000);
    dial();
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client();
        ask(fds[i], "one");
    }
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    dial();
    UNTIL(sessions_came, 6);
    ck_assert(!t.sessions[1].is_closed);
    udp_session_send(&t.sessions[1].session, "late", 4, loop_now_ms(t.loop));
    asking = fds[1];
    UNTIL(is_answered, 0);
    ck_assert_int_eq(recv(fds[1], (char[4]){0}, 4, 0), 4);
    udp_session_close(&t.sessions[0].session, UDP_END_ORDERLY); /* one was moved by the hub */
    UNTIL(session_is_closed, 1);
    UNTIL(session_is_closed, 2);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        ask(fds[i], "two");
        ck_assert(!t.sessions[3 + i].is_closed);
        close(fds[i]);
    }
    ck_assert_uint_eq(t.session_count, 6);
    stand_down();
}
END_TEST

/* Each client holds two sessions while it moves: no other one goes for that. */
START_TEST(at_the_limit_a_lane_that_drains_costs_no_client)
{
    int fds[3];

    stand_up(2, 60000);
    dial();
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = client();
        ask(fds[i], "one");
    }
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    dial();
    UNTIL(sessions_came, 4);
    UNTIL(session_is_closed, 0);
    UNTIL(session_is_closed, 1);
    for (unsigned i = 0; i < 2; i++)
        ask(fds[i], "two");
    ck_assert_uint_eq(t.session_count, 4);
    UNTIL(flows_are, 2);
    ck_assert_uint_eq(t.worker.stats.udp.evicted, 0);
    fds[2] = client(); /* one too many is one too many */
    ask(fds[2], "three");
    UNTIL(were_evicted, 1);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    stand_down();
}
END_TEST

/* A session that was left goes before a client does. */
START_TEST(a_new_client_takes_the_place_of_what_was_left_behind)
{
    int a, b;

    stand_up(2, 60000);
    dial();
    a = client();
    ask(a, "one");
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    dial();
    UNTIL(sessions_came, 2);
    b = client();
    ask(b, "here");
    ask(a, "two");
    ck_assert_uint_eq(t.session_count, 3);
    UNTIL(flows_are, 2);
    ck_assert_uint_eq(t.worker.stats.udp.evicted, 0);
    close(a);
    close(b);
    stand_down();
}
END_TEST

START_TEST(past_the_limit_the_least_recently_used_goes)
{
    int fds[3];

    stand_up(2, 60000);
    dial();
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = client();
        ask(fds[i], "here");
        if (i == 1)
            ask(fds[0], "still here");
    }
    UNTIL(session_is_closed, 1);
    ck_assert(!t.sessions[0].is_closed);
    UNTIL(were_evicted, 1);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    stand_down();
}
END_TEST

START_TEST(what_is_idle_or_refused_goes)
{
    int a, b;

    stand_up(100, 300);
    dial();
    a = client();
    ask(a, "one");
    UNTIL(session_is_closed, 0);
    UNTIL(flows_are, 0);
    t.refuses = true;
    b = client();
    pressing = b;
    UNTIL(were_shut_out, 1); /* the first opens, and is refused; the next ones are not heard */
    ck_assert_uint_eq(t.session_count, 1);
    close(a);
    close(b);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("udp_flows");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, a_client_is_a_session);
    tcase_add_test(tc, a_flow_opens_again_when_its_lane_is_lost);
    tcase_add_test(tc, a_flow_leaves_a_lane_that_drains);
    tcase_add_test(tc, what_a_flow_has_left_is_closed_after_a_moment);
    tcase_add_test(tc, at_the_limit_a_lane_that_drains_costs_no_client);
    tcase_add_test(tc, a_new_client_takes_the_place_of_what_was_left_behind);
    tcase_add_test(tc, past_the_limit_the_least_recently_used_goes);
    tcase_add_test(tc, what_is_idle_or_refused_goes);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
