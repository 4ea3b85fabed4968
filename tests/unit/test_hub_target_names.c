/* Targets whose names are looked up: a whole hub, its workers' resolvers at a DNS server of the
 * test whose answers rotate and change, and services at some of the addresses.  (forward.h, dial.h,
 * udp_flow.h, udp_answerers.h) */
#include "hub_tunnel_fixture.h"
#include "loop/udp_socket.h"
#include "support/client_stream.h"
#include "support/dns_server.h"
#include "support/errand.h"

#define NAME      "svc.test"
#define PLACES    3 /* nobody answers at the first, one does at each of the others */
#define PEERS_MAX 64

static const char *const hosts[PLACES] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};

/* A service at one address: by TCP it says its number, by UDP it answers with it. */
struct service {
    struct loop_io tcp_io, udp_io;
    int tcp, udp; /* owned; the first one's refuse */
    int taken[PEERS_MAX];
    unsigned taken_count, asked;
    union addr peers[PEERS_MAX];
};

static struct service services[PLACES];
static struct dns_server dns;
static char conf_path[96];

static char number_of(const struct service *s)
{
    return (char)('1' + (s - services));
}

static void on_connection(struct loop_io *io, unsigned events)
{
    struct service *s = container_of(io, struct service, tcp_io);
    char number = number_of(s);
    int fd = accept(s->tcp, NULL, NULL);

    (void)events;
    if (fd < 0)
        return;
    ck_assert_uint_lt(s->taken_count, PEERS_MAX);
    s->taken[s->taken_count++] = fd;
    ck_assert_int_eq(send(fd, &number, 1, MSG_NOSIGNAL), 1);
}

static void on_question(struct loop_io *io, unsigned events)
{
    struct service *s = container_of(io, struct service, udp_io);
    union addr peer = {0};
    socklen_t len = sizeof(peer);
    char number = number_of(s), bytes[64];

    (void)events;
    if (recvfrom(s->udp, bytes, sizeof(bytes), MSG_DONTWAIT, &peer.sa, &len) < 0)
        return;
    ck_assert_uint_lt(s->asked, PEERS_MAX);
    s->peers[s->asked++] = peer;
    ck_assert_int_eq(sendto(s->udp, &number, 1, 0, &peer.sa, len), 1);
}

static bool bind_at(int *fd, int type, const char *host, uint16_t port)
{
    union addr at;

    ck_assert_int_eq(addr_parse_host(&at, host, port), 0);
    *fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(*fd, 0);
    return bind(*fd, &at.sa, addr_len(&at)) == 0;
}

static uint16_t port_of(int fd)
{
    union addr at = {0};
    socklen_t len = sizeof(at);

    ck_assert_int_eq(getsockname(fd, &at.sa, &len), 0);
    return addr_port(&at);
}

/* All of them have one port, which the kernel chooses; false: somebody else has it somewhere. */
static bool take_port(uint16_t *port)
{
    *port = 0;
    for (unsigned i = 0; i < PLACES; i++)
        services[i].tcp = services[i].udp = -1;
    for (unsigned i = 0; i < PLACES; i++) {
        if (!bind_at(&services[i].tcp, SOCK_STREAM, hosts[i], *port))
            return false;
        *port = port_of(services[i].tcp);
        if (!bind_at(&services[i].udp, SOCK_DGRAM, hosts[i], *port))
            return false;
    }
    return true;
}

static void close_services(void)
{
    for (unsigned i = 0; i < PLACES; i++) {
        struct service *s = &services[i];

        loop_io_arm(&s->tcp_io, 0);
        loop_io_arm(&s->udp_io, 0);
        if (s->tcp >= 0)
            close(s->tcp);
        if (s->udp >= 0)
            close(s->udp);
        for (unsigned k = 0; k < s->taken_count; k++)
            close(s->taken[k]);
    }
    memset(services, 0, sizeof(services));
}

/* The first one's ports are taken, so that nobody else gets them, and refuse: one socket does not
 * listen, the other hears nobody but itself. */
static uint16_t services_bound(void)
{
    union addr at;
    uint16_t port;
    unsigned tries = 0;

    while (!take_port(&port)) {
        ck_assert_uint_lt(++tries, 100);
        close_services();
    }
    ck_assert_int_eq(addr_parse_host(&at, hosts[0], port), 0);
    ck_assert_int_eq(connect(services[0].udp, &at.sa, addr_len(&at)), 0);
    for (unsigned i = 1; i < PLACES; i++)
        ck_assert_int_eq(listen(services[i].tcp, PEERS_MAX), 0);
    return port;
}

static void services_up(void)
{
    for (unsigned i = 1; i < PLACES; i++) {
        struct service *s = &services[i];

        loop_io_init(&s->tcp_io, hub.loop, s->tcp, on_connection);
        loop_io_init(&s->udp_io, hub.loop, s->udp, on_question);
        loop_io_arm(&s->tcp_io, LOOP_READ);
        loop_io_arm(&s->udp_io, LOOP_READ);
    }
}

/* --- the names --------------------------------------------------------------------------------
 */

/* The answer from now on: services by their numbers, in this order. */
static void name_has(const char *numbers)
{
    dns.record_count = 0;
    for (; *numbers; numbers++)
        dns_server_add(&dns, NAME, hosts[*numbers - '1']);
}

struct resolver_order {
    struct hub_worker *worker;
    struct resolver_options options;
};

static void take_resolver(void *arg)
{
    const struct resolver_order *o = arg;

    resolver_free(o->worker->resolver);
    o->worker->resolver = resolver_new_with(o->worker->loop, &o->options);
}

static void names_up(void)
{
    struct resolver_order order;
    FILE *file;

    dns_server_start(&dns, hub.loop, "127.0.0.1", 0);
    snprintf(conf_path, sizeof(conf_path), "%s/resolv.conf", state_dir);
    file = fopen(conf_path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("nameserver 127.0.0.1\n", file);
    fclose(file);
    order.options = (struct resolver_options){conf_path, dns.port};
    for (unsigned i = 0; i < hub.worker_count; i++) {
        order.worker = &hub.workers[i];
        errand_run(hub.loop, order.worker->loop, take_resolver, &order);
        ck_assert_ptr_nonnull(order.worker->resolver);
    }
}

static void setup(void)
{
    char tcp[80], udp[80];
    uint16_t port = services_bound();

    snprintf(tcp, sizeof(tcp), "target.ports={\"80\":{\"host\":\"" NAME "\",\"port\":%u}}", port);
    snprintf(udp, sizeof(udp), "target.portsUdp={\"53\":{\"host\":\"" NAME "\",\"port\":%u}}",
             port);
    hub_up((const char *const[]){
        "edges=[{\"id\":\"e1\",\"listenPorts\":[80],\"listenPortsUdp\":[53],"
        "\"secret\":\"" SECRET_OF_E1 "\"}]",
        tcp, udp, "target.proxyProtocol=off", "target.proxyProtocolUdp=off", NULL});
    names_up();
    services_up();
}

static void teardown(void)
{
    close_services();
    dns_server_stop(&dns);
    hub_down();
}

/* --- by TCP -----------------------------------------------------------------------------------
 */

static size_t want; /* bytes */

static bool has_got(void *arg)
{
    client_stream_take(arg);
    return ((struct client_stream *)arg)->got_len >= want;
}

static char who_takes(struct test_lane *t, struct client_stream *s)
{
    client_stream_open(s, t->link, 5000, 80);
    want = 1;
    UNTIL(has_got, s);
    return s->got[0];
}

START_TEST(a_connection_goes_where_the_name_points_now)
{
    struct client_stream first = {0}, second = {0};
    struct test_lane t = {0};

    edge_up(&t);
    name_has("2");
    ck_assert_int_eq(who_takes(&t, &first), '2');
    name_has("3");
    ck_assert_int_eq(who_takes(&t, &second), '3');
    want = 2; /* what is open stays where it is */
    ck_assert_int_eq(send(services[1].taken[0], "!", 1, MSG_NOSIGNAL), 1);
    UNTIL(has_got, &first);
    ck_assert_int_eq(first.got[1], '!');
    name_has("2");
    ck_assert_int_eq(who_takes(&t, &second), '2');
    stream_release(&first.stream);
    stream_release(&second.stream);
    lane_down(&t);
}
END_TEST

START_TEST(an_address_that_refuses_costs_no_connection_wherever_it_stands)
{
    static const char *const orders[] = {"12", "21", "132", "213", "1"};
    struct client_stream s = {0};
    struct test_lane t = {0};
    const _Atomic uint64_t *faults = hub.shared.counters.connect_faults;

    edge_up(&t);
    for (unsigned i = 0; i + 1 < ARRAY_LEN(orders); i++) {
        name_has(orders[i]);
        ck_assert_int_ne(who_takes(&t, &s), '1');
    }
    ck_assert_uint_eq(counted(&faults[CONNECT_REFUSED]), 0);
    name_has(orders[ARRAY_LEN(orders) - 1]);
    client_stream_open(&s, t.link, 5000, 80);
    UNTIL(client_stream_is_reset, &s);
    ck_assert_uint_eq(counted(&faults[CONNECT_REFUSED]), 1);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

START_TEST(a_name_that_is_gone_comes_back)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    name_has("");
    client_stream_open(&s, t.link, 5000, 80);
    UNTIL(client_stream_is_reset, &s);
    ck_assert_uint_eq(counted(&hub.shared.counters.connect_faults[CONNECT_RESOLVE]), 1);
    name_has("2");
    ck_assert_int_eq(who_takes(&t, &s), '2');
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

/* --- by UDP -----------------------------------------------------------------------------------
 */

struct test_session {
    struct udp_session session;
    struct test_lane *lane; /* borrowed */
    char answer;
    uint64_t sent_ms, too_old;
};

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct test_session *s = container_of(u, struct test_session, session);

    ck_assert_uint_eq(n, 1);
    s->answer = (char)bytes[0];
}

static void on_closed(struct udp_session *u)
{
    (void)u; /* the condition that is waited for looks */
}

static void session_up(struct test_lane *t, struct test_session *s, uint16_t client)
{
    struct proxy_header header = client_header(PROXY_DGRAM, client, 53);

    udp_session_release(&s->session);
    *s = (struct test_session){.lane = t};
    udp_session_init(&s->session, on_datagram, on_closed);
    ck_assert_int_eq(link_open_udp(t->link, &s->session, &header), 0);
}

/* What our own end did not send: it waited for longer than UDP_FRAME_AGE_MS. */
static uint64_t too_old(const struct test_session *s)
{
    return link_lane(s->lane->link)->stats.udp.dropped[UDP_DROP_TOO_OLD];
}

static void say(struct test_session *s)
{
    s->too_old = too_old(s);
    s->sent_ms = loop_now_ms(hub.loop);
    udp_session_send(&s->session, "?", 1, s->sent_ms);
}

static bool is_answered_once(void *arg)
{
    struct test_session *s = arg;

    if (s->answer == 0 && too_old(s) != s->too_old)
        say(s);
    return s->answer != 0;
}

/* As clients do: asks again when nothing comes. */
static bool is_answered_at_last(void *arg)
{
    struct test_session *s = arg;

    if (s->answer == 0 && loop_now_ms(hub.loop) - s->sent_ms >= 50)
        say(s);
    return s->answer != 0;
}

static char who_answers(struct test_session *s, bool (*how)(void *arg))
{
    s->answer = 0;
    say(s);
    UNTIL(how, s);
    return s->answer;
}

START_TEST(a_new_flow_goes_where_the_name_points_now)
{
    struct test_session first = {0}, second = {0};
    struct test_lane t = {0};

    edge_up(&t);
    name_has("2");
    session_up(&t, &first, 5000);
    ck_assert_int_eq(who_answers(&first, is_answered_once), '2');
    name_has("3");
    session_up(&t, &second, 5001);
    ck_assert_int_eq(who_answers(&second, is_answered_once), '3');
    ck_assert_int_eq(who_answers(&first, is_answered_once), '2');
    ck_assert(addr_is_same(&services[1].peers[0], &services[1].peers[1]));
    udp_session_release(&first.session);
    udp_session_release(&second.session);
    lane_down(&t);
}
END_TEST

/* What was sent to an address that refuses is lost; so who answered once is asked first, wherever
 * it stands in the answers that follow, for as long as it is in them. */
START_TEST(who_has_answered_is_asked_first_in_whichever_order)
{
    static const char *const orders[] = {"21", "12", "132", "312"};
    struct test_session s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    name_has("12");
    session_up(&t, &s, 5000);
    ck_assert_int_eq(who_answers(&s, is_answered_at_last), '2');
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        name_has(orders[i]);
        session_up(&t, &s, (uint16_t)(5001 + i));
        ck_assert_int_eq(who_answers(&s, is_answered_once), '2');
    }
    name_has("13");
    session_up(&t, &s, 6000);
    ck_assert_int_eq(who_answers(&s, is_answered_at_last), '3');
    udp_session_release(&s.session);
    lane_down(&t);
}
END_TEST

START_TEST(a_flow_finds_the_one_that_answers_though_the_order_changes_meanwhile)
{
    static const char *const orders[] = {"132", "213", "321"};
    struct test_session s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    name_has(orders[_i]);
    session_up(&t, &s, 5000);
    ck_assert_int_ne(who_answers(&s, is_answered_at_last), '1');
    udp_session_release(&s.session);
    lane_down(&t);
}
END_TEST

static bool is_refused(void *arg)
{
    (void)arg;
    return counted(&hub.shared.counters.udp_target_errors) > 0;
}

/* The socket of a flow that was refused does not go to the other worker, where nobody would know
 * the other addresses: the flow begins anew there. */
START_TEST(a_refused_socket_is_not_handed_to_another_worker)
{
    struct test_session first = {0}, second = {0};
    struct test_lane a = {0}, b = {0};

    edge_up(&a);
    lane_joins(&b, &a, 1);
    edge_up(&b); /* on the other worker */
    name_has("12");
    session_up(&a, &first, 5000);
    say(&first);
    UNTIL(is_refused, NULL);
    session_up(&b, &second, 5000);
    ck_assert_int_eq(who_answers(&second, is_answered_at_last), '2');
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_moved), 1);
    session_up(&a, &first, 5000); /* one that was answered takes its socket along */
    ck_assert_int_eq(who_answers(&first, is_answered_once), '2');
    for (unsigned i = 1; i < services[1].asked; i++)
        ck_assert(addr_is_same(&services[1].peers[i], &services[1].peers[0]));
    udp_session_release(&first.session);
    udp_session_release(&second.session);
    lane_down(&a);
    lane_down(&b);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_connection_goes_where_the_name_points_now);
    tcase_add_test(tc, an_address_that_refuses_costs_no_connection_wherever_it_stands);
    tcase_add_test(tc, a_name_that_is_gone_comes_back);
    tcase_add_test(tc, a_new_flow_goes_where_the_name_points_now);
    tcase_add_test(tc, who_has_answered_is_asked_first_in_whichever_order);
    tcase_add_loop_test(tc, a_flow_finds_the_one_that_answers_though_the_order_changes_meanwhile, 0,
                        3);
    tcase_add_test(tc, a_refused_socket_is_not_handed_to_another_worker);
    return suite_run("target_names", tc);
}
