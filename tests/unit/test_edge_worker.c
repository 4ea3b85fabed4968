/* test_edge_worker - edge/edge_worker.h, edge_lane.h, client.h: two workers on threads of their
 * own, a hub made of one link a lane, and clients that dial a public port.  The test is the control
 * thread: what uplink.h would decide it says by hand, what a lane reports it keeps. */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/client.h"
#include "edge/edge_lane.h"
#include "edge/edge_worker.h"
#include "loop/listener.h"
#include "support/tls_pair.h"
#include "json/json.h"

#define WORKERS     2
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

static void on_secure(struct link *link)
{
    (void)link;
}

static void answer(struct link *link, const struct hello *hello)
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
    a.config.revision = 1;
    line = answer_emit(&a, &n);
    link_send_line(link, line, n);
    free(line);
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
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

static void on_change(struct stream *s)
{
    (void)s;
}

static struct stream *on_open(struct link *link, const struct proxy_header *client,
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
    t.over_count++;
}

static const struct link_ops hub_ops = {.on_secure = on_secure,
                                        .on_line = on_line,
                                        .on_open = on_open,
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

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
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

/* One public port on all workers. */
static void port_up(void)
{
    union addr at, bound;
    int fds[WORKERS];

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, WORKERS, fds, &bound), 0);
    t.port = addr_port(&bound);
    for (unsigned i = 0; i < WORKERS; i++)
        edge_worker_open_port(&t.workers[i], PORT_TCP, t.port, &fds[i], 1);
}

static void stand_up(uint64_t hold_ms)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    memset(&t, 0, sizeof(t));
    tls_random(&t.serial, 1); /* GnuTLS opens what it keeps */
    t.serial = 0;
    t.loop = loop_new("control", 64, 0);
    t.fds_before = count_fds();
    hub_up();
    t.shared = (struct edge_shared){.workers = t.workers,
                                    .count = WORKERS,
                                    .control = t.loop,
                                    .congestion = "",
                                    .instance = "here",
                                    .hold_ms = hold_ms,
                                    .held_max = CLIENTS_MAX / 2,
                                    .is_holding = true,
                                    .on_report = on_report};
    budget_init(&t.shared.budget, 64u << 20, 1000, 4u << 20);
    ck_assert_int_eq(workers_start(t.threads, WORKERS, "edge", 64, 0), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_int_eq(edge_worker_init(&t.workers[i], &t.threads[i], &t.shared), 0);
    port_up();
}

static void workers_down(void)
{
    workers_stop(t.threads, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        edge_worker_fini(&t.workers[i]);
    workers_free(t.threads, WORKERS);
    t.are_stopped = true;
}

/* Nothing is held any more: streams, budget, chunks, descriptors. */
static void stand_down(void)
{
    if (!t.are_stopped)
        workers_down();
    ck_assert_uint_eq(t.shared.budget.streams, 0);
    ck_assert_uint_eq(t.shared.budget.taken, 0);
    ck_assert_uint_eq(t.shared.held, 0);
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

static bool happens_within(bool (*is_true)(unsigned n), unsigned n, uint64_t ms)
{
    struct deadline poll;

    awaited = is_true;
    awaited_n = n;
    until_ms = clock_now_us() / 1000 + ms;
    deadline_init(&poll, t.loop, on_poll);
    deadline_set(&poll, 1);
    loop_run(t.loop);
    deadline_off(&poll);
    return was_true;
}

#define UNTIL(is_true, n)                                                                          \
    ck_assert_msg(happens_within(is_true, n, PATIENCE_MS), "never: " #is_true " " #n)

static void dial(unsigned worker)
{
    struct lane_order *order = must_alloc(sizeof(*order));

    order->credentials = credentials_ref(t.credentials);
    order->dial_ms = EDGE_DIAL_MS;
    order->serial = ++t.serial;
    order->number = (uint32_t)t.serial - 1;
    order->has_session = t.serial > 1;
    edge_worker_dial(&t.workers[worker], order);
}

/* Clients come until `n` more have dialled; the kernel deals them out to the workers. */
static void clients_come(unsigned n)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(t.port)};

    for (unsigned i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
        t.clients[t.client_count++] = fd;
    }
}

/* --- conditions ------------------------------------------------------------------------------- */

static bool lanes_are_up(unsigned n)
{
    return t.ups == n;
}

static bool lanes_are_dead(unsigned n)
{
    return t.deads == n;
}

static bool lanes_drain(unsigned n)
{
    return t.drains == n;
}

static bool streams_are_open(unsigned n)
{
    return t.stream_count == n;
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)counter, memory_order_relaxed);
}

static uint64_t refused(enum edge_refusal why)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < WORKERS; i++)
        n += counted(&t.workers[i].stats.refused[why]);
    return n;
}

static bool are_expired(unsigned n)
{
    return refused(EDGE_REFUSED_HOLD_EXPIRED) == n;
}

static bool are_over_the_limit(unsigned n)
{
    return refused(EDGE_REFUSED_LIMIT_HELD) == n;
}

static bool are_held(unsigned n)
{
    return atomic_load(&t.shared.held) == n;
}

static bool clients_are_reset(unsigned n)
{
    unsigned count = 0;

    for (unsigned i = 0; i < t.client_count; i++) {
        struct pollfd at = {.fd = t.clients[i]};

        count += poll(&at, 1, 0) > 0 && (at.revents & POLLERR);
    }
    return count == n;
}

static bool configs_are_here(unsigned n)
{
    return t.config_count == n;
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(a_worker_without_lane_hands_its_clients_over)
{
    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    clients_come(CLIENTS_MAX);
    UNTIL(streams_are_open, CLIENTS_MAX);
    ck_assert_uint_gt(counted(&t.workers[1].stats.accepted), 0);
    ck_assert_uint_eq(counted(&t.workers[0].stats.accepted) + counted(&t.workers[1].stats.accepted),
                      CLIENTS_MAX);
    ck_assert_uint_eq(counted(&t.workers[0].stats.opened), CLIENTS_MAX);
    stand_down();
}
END_TEST

START_TEST(held_clients_are_opened_when_a_lane_comes)
{
    stand_up(PATIENCE_MS);
    clients_come(10);
    UNTIL(are_held, 10);
    dial(1);
    UNTIL(streams_are_open, 10); /* without a word of the control thread: each tick looks */
    ck_assert_uint_eq(t.shared.held, 0);
    stand_down();
}
END_TEST

START_TEST(more_than_may_wait_are_turned_away)
{
    stand_up(PATIENCE_MS);
    clients_come(CLIENTS_MAX / 2 + 3);
    UNTIL(are_over_the_limit, 3);
    UNTIL(clients_are_reset, 3);
    ck_assert(are_held(CLIENTS_MAX / 2));
    stand_down();
}
END_TEST

/* Both lanes are up, the hub's deadline to drain has passed, and no successor comes: each worker
 * takes the other for one that has a lane. */
START_TEST(lanes_that_take_no_streams_do_not_keep_clients_for_ever)
{
    stand_up(600);
    dial(0);
    dial(1);
    UNTIL(lanes_are_up, 2);
    for (unsigned i = 0; i < 2; i++)
        link_send_drain(t.lanes[i].link, 0);
    UNTIL(lanes_drain, 2);
    clients_come(8);
    UNTIL(are_expired, 8);
    UNTIL(clients_are_reset, 8);
    ck_assert_uint_eq(t.stream_count, 0);
    ck_assert_uint_eq(t.shared.held, 0);
    stand_down();
}
END_TEST

START_TEST(lanes_are_not_gathered_without_end)
{
    stand_up(PATIENCE_MS);
    for (unsigned i = 0; i < EDGE_LANES_MAX + 4; i++) {
        dial(0);
        UNTIL(lanes_are_up, i + 1);
    }
    UNTIL(lanes_are_dead, 4);
    for (unsigned i = 0; i < 4; i++) /* the oldest */
        ck_assert(t.lanes[i].is_over);
    stand_down();
}
END_TEST

/* Only the newest of many waits for the control thread. */
START_TEST(one_config_is_under_way_and_one_waits)
{
    struct link *link;

    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    link = t.lanes[0].link;
    for (unsigned revision = 2; revision < 12; revision++) {
        struct wire_config config = {.revision = revision};
        uint64_t sent = link_lane(link)->stats.records_out;
        char *json = wire_config_emit(&config, NULL);

        link_send_config(link, json);
        free(json);
        while (link_lane(link)->stats.records_out == sent)
            happens_within(configs_are_here, LANES_MAX, 1);
    }
    UNTIL(configs_are_here, 1);
    link_send_drain(link, 3600); /* has come behind all of them */
    UNTIL(lanes_drain, 1);
    ck_assert_uint_eq(t.config_count, 1);
    ck_assert_uint_eq(t.configs[0]->config.revision, 2);
    edge_worker_config_taken(t.configs[0]->worker, t.configs[0]->serial);
    UNTIL(configs_are_here, 2);
    ck_assert_uint_eq(t.configs[1]->config.revision, 11);
    edge_worker_config_taken(t.configs[1]->worker, t.configs[1]->serial);
    edge_worker_config_taken(&t.workers[0], 12345); /* of a lane that is gone */
    stand_down();
}
END_TEST

START_TEST(a_hub_without_the_secret_is_no_hub)
{
    stand_up(PATIENCE_MS);
    t.wrong_secret = "3210123456789012345678901234567890123456789";
    dial(0);
    UNTIL(lanes_are_dead, 1);
    ck_assert_uint_eq(t.ups, 0);
    ck_assert_ptr_nonnull(strstr(t.why, "not our hub"));
    ck_assert(!t.is_path_fault);
    stand_down();
}
END_TEST

/* Only then another transport may do better. */
START_TEST(what_a_peer_or_this_process_does_wrong_is_not_the_paths_fault)
{
    static const int paths[] = {ERR_TIMEOUT, ERR_CONNECT, ERR_RESET, ERR_CLOSED, ERR_IO, ERR_SYS};
    static const int others[] = {ERR_NONE,   ERR_NOMEM,  ERR_LIMIT,   ERR_AUTH,   ERR_CERT,
                                 ERR_DENIED, ERR_SYNTAX, ERR_TOO_BIG, ERR_RESOLVE};
    static const int early[] = {ERR_TLS, ERR_PROTO};

    for (unsigned i = 0; i < ARRAY_LEN(paths); i++)
        for (unsigned k = 0; k < 2; k++)
            ck_assert(edge_lane_is_path_fault(-paths[i], k));
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        for (unsigned k = 0; k < 2; k++)
            ck_assert(!edge_lane_is_path_fault(-others[i], k));
    for (unsigned i = 0; i < ARRAY_LEN(early); i++) {
        ck_assert(edge_lane_is_path_fault(-early[i], false));
        ck_assert(!edge_lane_is_path_fault(-early[i], true));
    }
    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    link_send_config(t.lanes[0].link, "no JSON");
    UNTIL(lanes_are_dead, 1);
    ck_assert(!t.is_path_fault);
    dial(0);
    UNTIL(lanes_are_up, 2);
    link_free(t.lanes[1].link); /* without a word */
    t.lanes[1].link = NULL;
    UNTIL(lanes_are_dead, 2);
    ck_assert(t.is_path_fault);
    stand_down();
}
END_TEST

START_TEST(a_lane_told_to_close_is_gone_and_its_clients_with_it)
{
    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    clients_come(5);
    UNTIL(streams_are_open, 5);
    edge_worker_close_lane(&t.workers[0], 12345); /* nobody's */
    edge_worker_close_lane(&t.workers[0], 1);
    UNTIL(lanes_are_dead, 1);
    UNTIL(clients_are_reset, 5);
    clients_come(1);
    UNTIL(are_held, 1);
    edge_worker_flush_held(&t.workers[0], true);
    edge_worker_flush_held(&t.workers[1], true);
    UNTIL(clients_are_reset, 6);
    stand_down();
}
END_TEST

/* Clients that wait and clients that relay, lanes that are up and one that is dialled, messages
 * under way. */
START_TEST(the_end_gives_everything_back)
{
    stand_up(PATIENCE_MS);
    clients_come(4);
    UNTIL(are_held, 4);
    dial(0);
    UNTIL(streams_are_open, 4);
    t.lanes[0].stream_count = 4;
    edge_worker_close_port(&t.workers[1], PORT_TCP, t.port);
    dial(1);
    clients_come(4);
    edge_worker_send_config_ack(&t.workers[0], 1, "{}");
    workers_down();
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_worker");
    TCase *c = tcase_create("worker");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 30);
    tcase_add_test(c, a_worker_without_lane_hands_its_clients_over);
    tcase_add_test(c, held_clients_are_opened_when_a_lane_comes);
    tcase_add_test(c, more_than_may_wait_are_turned_away);
    tcase_add_test(c, lanes_that_take_no_streams_do_not_keep_clients_for_ever);
    tcase_add_test(c, lanes_are_not_gathered_without_end);
    tcase_add_test(c, one_config_is_under_way_and_one_waits);
    tcase_add_test(c, a_hub_without_the_secret_is_no_hub);
    tcase_add_test(c, what_a_peer_or_this_process_does_wrong_is_not_the_paths_fault);
    tcase_add_test(c, a_lane_told_to_close_is_gone_and_its_clients_with_it);
    tcase_add_test(c, the_end_gives_everything_back);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
