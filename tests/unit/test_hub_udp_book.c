/* UDP flows against a whole hub with two workers over real TLS: where a flow is found again, what
 * is refused, what goes when there is no room.  (udp_book.h, udp_flow.h) */
#include "hub_tunnel_fixture.h"
#include "loop/udp_socket.h"
#include "support/client_stream.h"
#include "support/suite.h"
#include "wire/proxy.h"

/* --- a target: sends back what is no bare header, and remembers who asked -----------------------
 */

static struct {
    struct loop_io io;
    int fd;
    union addr at, peers[64];
    unsigned count;
} target;

static void on_target(struct loop_io *io, unsigned events)
{
    uint8_t bytes[2048];
    union addr peer = {0};
    socklen_t len = sizeof(peer);
    ssize_t n = recvfrom(target.fd, bytes, sizeof(bytes), 0, &peer.sa, &len);

    (void)io, (void)events;
    if (n < 0 || target.count == ARRAY_LEN(target.peers))
        return;
    target.peers[target.count++] = peer;
    ck_assert_int_eq(sendto(target.fd, bytes, (size_t)n, 0, &peer.sa, len), n);
}

static void setup_with(const char *limit)
{
    unsigned sets;
    char ports[64];

    memset(&target, 0, sizeof(target));
    ck_assert_int_eq(addr_parse_host(&target.at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind_udp(&target.at, 1, &target.fd, &sets, &target.at), 0);
    snprintf(ports, sizeof(ports), "target.portsUdp={\"53\":%u}", addr_port(&target.at));
    hub_up((const char *const[]){
        "edges=[{\"id\":\"e1\",\"listenPortsUdp\":[53,54],\"secret\":\"" SECRET_OF_E1 "\"}]", ports,
        "target.proxyProtocolUdp=off", limit, NULL});
    loop_io_init(&target.io, hub.loop, target.fd, on_target);
    loop_io_arm(&target.io, LOOP_READ);
}

static void teardown(void)
{
    loop_io_arm(&target.io, 0);
    close(target.fd);
    hub_down();
}

/* --- a client's session on the edge's side ------------------------------------------------------
 */

struct test_session {
    struct udp_session session;
    unsigned got;
    uint8_t newest[2048];
    size_t newest_len;
    const char *asked;
    uint64_t asked_ms;
};

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct test_session *s = container_of(u, struct test_session, session);

    s->got++;
    s->newest_len = n;
    if (n > 0)
        memcpy(s->newest, bytes, n);
}

static void on_closed(struct udp_session *u)
{
    (void)u; /* the condition that is waited for looks */
}

static void session_up(struct test_lane *t, struct test_session *s, uint16_t client, uint16_t port)
{
    struct proxy_header header = client_header(PROXY_DGRAM, client, port);

    udp_session_release(&s->session);
    *s = (struct test_session){.got = 0};
    udp_session_init(&s->session, on_datagram, on_closed);
    ck_assert_int_eq(link_open_udp(t->link, &s->session, &header), 0);
}

static void say(struct test_session *s)
{
    s->asked_ms = loop_now_ms(hub.loop);
    udp_session_send(&s->session, s->asked, strlen(s->asked), s->asked_ms);
}

/* Asked again when nothing comes: what waits for longer than UDP_FRAME_AGE_MS is not sent. */
static bool is_echoed(void *arg)
{
    struct test_session *s = arg;

    if (s->newest_len == strlen(s->asked) && memcmp(s->newest, s->asked, s->newest_len) == 0)
        return true;
    if (loop_now_ms(hub.loop) - s->asked_ms > 2 * UDP_FRAME_AGE_MS)
        say(s);
    return false;
}

static bool is_closed(void *arg)
{
    return ((struct test_session *)arg)->session.state == UDP_CLOSED;
}

static void ask(struct test_session *s, const char *text)
{
    s->newest_len = 0;
    s->asked = text;
    say(s);
    UNTIL(is_echoed, s);
}

static bool flows_are(void *arg)
{
    return atomic_load(&hub.shared.udp_flows) == *(unsigned *)arg;
}

START_TEST(a_flow_is_the_same_on_every_lane)
{
    static const unsigned one = 1;
    struct test_lane a = {0}, b = {0};
    struct test_session first = {0}, second = {0};

    setup_with(NULL);
    edge_up(&a);
    lane_joins(&b, &a, 1);
    edge_up(&b); /* on the other worker */
    session_up(&a, &first, 5000, 53);
    ask(&first, "one");
    for (unsigned i = 0; i < 6; i++) { /* to and fro; the lane that is left is told */
        struct test_session *from = i % 2 ? &second : &first, *to = i % 2 ? &first : &second;

        session_up(i % 2 ? &a : &b, to, 5000, 53);
        ask(to, "two");
        UNTIL(is_closed, from);
        ck_assert_int_eq(from->session.end, UDP_END_ORDERLY);
    }
    session_up(&a, &second, 5000, 53); /* and on the same lane */
    ask(&second, "three");
    UNTIL(is_closed, &first);
    for (unsigned i = 1; i < target.count; i++)
        ck_assert(addr_is_same(&target.peers[i], &target.peers[0]));
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_moved), 7);
    UNTIL(flows_are, (void *)(uintptr_t)&one);
    udp_session_release(&first.session);
    udp_session_release(&second.session);
    lane_down(&a);
    lane_down(&b);
    teardown();
}
END_TEST

START_TEST(a_flow_outlives_its_lane)
{
    static const unsigned none = 0;
    struct test_lane a = {0}, b = {0}, c = {0};
    struct test_session s = {0}, last = {0};

    setup_with(NULL);
    edge_up(&a);
    lane_joins(&b, &a, 1);
    edge_up(&b);
    session_up(&a, &s, 5000, 53);
    ask(&s, "one");
    link_free(a.link);
    a.link = NULL;
    ck_assert_int_eq(s.session.end, UDP_END_LANE_LOST);
    lane_joins(&c, &a, 2);
    edge_up(&c);
    session_up(&b, &s, 5000, 53);
    ask(&s, "two");
    session_up(&c, &last, 5000, 53);
    ask(&last, "three");
    ck_assert(addr_is_same(&target.peers[1], &target.peers[0]));
    ck_assert(addr_is_same(&target.peers[2], &target.peers[0]));
    UNTIL(is_closed, &s);
    udp_session_release(&s.session);
    udp_session_release(&last.session);
    UNTIL(flows_are, (void *)(uintptr_t)&none);
    lane_down(&a);
    lane_down(&b);
    lane_down(&c);
    teardown();
}
END_TEST

START_TEST(what_is_not_allowed_is_refused)
{
    struct test_session s = {0}, good = {0};
    struct test_lane t = {0};

    setup_with(NULL);
    edge_up(&t);
    session_up(&t, &s, 5000, 55);
    UNTIL(is_closed, &s);
    ck_assert_int_eq(s.session.end, UDP_END_NOT_ALLOWED);
    session_up(&t, &good, 5001, 53);
    ask(&good, "fine");
    ck_assert_uint_eq(counted(&hub.shared.counters.open_refusals[OPEN_PORT]), 1);
    udp_session_release(&s.session);
    udp_session_release(&good.session);
    lane_down(&t);
    teardown();
}
END_TEST

START_TEST(past_the_limit_the_least_recently_used_goes)
{
    struct test_session s[3] = {0};
    struct test_lane t = {0};

    setup_with("limits.udpSessions=2");
    edge_up(&t);
    for (uint16_t i = 0; i < 3; i++) {
        session_up(&t, &s[i], (uint16_t)(5000 + i), 53);
        ask(&s[i], "here");
        if (i == 1)
            ask(&s[0], "still here");
    }
    UNTIL(is_closed, &s[1]);
    ask(&s[0], "and now");
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_evicted), 1);
    for (unsigned i = 0; i < 3; i++)
        udp_session_release(&s[i].session);
    lane_down(&t);
    teardown();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, a_flow_is_the_same_on_every_lane);
    tcase_add_test(tc, a_flow_outlives_its_lane);
    tcase_add_test(tc, what_is_not_allowed_is_refused);
    tcase_add_test(tc, past_the_limit_the_least_recently_used_goes);
    return suite_run("udp_book", tc);
}
