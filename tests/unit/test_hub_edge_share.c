/* Shares of two edges at a whole hub over real TLS: who is past its share is refused, or pays
 * itself, and the other goes on.  (edge_share.h) */
#include "hub/edge_share.h"
#include "hub_tunnel_fixture.h"
#include "loop/udp_socket.h"
#include "support/client_stream.h"
#include "support/suite.h"

#define SECRET_OF_E2 "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"
#define LIMIT        40
#define ALONE        36 /* 90 percent */

static struct {
    int fd;
    uint16_t port;
} target; /* its backlog takes them */

static struct test_lane loud, quiet;

static void setup(const char *percent)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    char ports[64];

    target.fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(target.fd, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(target.fd, 256), 0);
    ck_assert_int_eq(getsockname(target.fd, (struct sockaddr *)&at, &len), 0);
    snprintf(ports, sizeof(ports), "target.ports={\"80\":%u}", ntohs(at.sin_port));
    hub_up(
        (const char *const[]){"edges=[{\"id\":\"e1\",\"listenPorts\":[80],\"listenPortsUdp\":[53],"
                              "\"secret\":\"" SECRET_OF_E1 "\"},"
                              "{\"id\":\"e2\",\"listenPorts\":[80],\"listenPortsUdp\":[53],"
                              "\"secret\":\"" SECRET_OF_E2 "\"}]",
                              ports, "limits.streams=40", "limits.udpSessions=40", percent, NULL});
    loud = (struct test_lane){.acks = true};
    quiet = (struct test_lane){.acks = true, .edge_id = "e2", .secret = SECRET_OF_E2};
    ck_assert_int_eq(lane_up(&loud), ANSWER_OK);
    ck_assert_int_eq(lane_up(&quiet), ANSWER_OK);
}

static void teardown(void)
{
    lane_down(&loud);
    lane_down(&quiet);
    close(target.fd);
    hub_down();
}

static struct edge_share *share_of_edge(const char *id)
{
    return registry_find(&hub.registry, id)->share;
}

struct want {
    const struct edge_share *share;
    uint32_t forwards, udp_flows;
    uint64_t refused;
};

static bool is_so(void *arg)
{
    struct want *w = arg;

    return atomic_load(&w->share->forwards) == w->forwards &&
           atomic_load(&w->share->udp_flows) == w->udp_flows &&
           edge_share_refused(w->share) == w->refused;
}

/* --- streams ---------------------------------------------------------------------------------- */

static struct stream streams[2][2 * LIMIT];

static void on_change(struct stream *s)
{
    (void)s; /* the condition that is waited for looks */
}

static void streams_up(struct test_lane *t, struct stream *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct proxy_header client = client_header(PROXY_STREAM, (uint16_t)(5000 + i), 80);

        stream_init(&s[i], on_change);
        ck_assert_int_eq(link_open_stream(t->link, &s[i], &client), 0);
    }
}

static unsigned reset_of(const struct stream *s, unsigned count)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++)
        n += s[i].state == STREAM_RESET;
    return n;
}

static bool are_reset(void *arg)
{
    return reset_of(streams[0], 2 * LIMIT) == *(unsigned *)arg;
}

static void streams_down(void)
{
    for (unsigned i = 0; i < 2 * LIMIT; i++)
        for (unsigned j = 0; j < 2; j++)
            if (streams[j][i].on_change)
                stream_release(&streams[j][i]);
}

START_TEST(a_flood_of_streams_leaves_room)
{
    const struct hub_counters *c = &hub.shared.counters;

    setup(NULL);
    streams_up(&loud, streams[0], 0, 2 * LIMIT);
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), ALONE, 0, 2 * LIMIT - ALONE}));
    UNTIL(are_reset, &(unsigned){2 * LIMIT - ALONE});
    ck_assert_int_eq(streams[0][2 * LIMIT - 1].reset_code, RESET_BY_PEER);
    ck_assert_uint_eq(counted(&c->open_refusals[OPEN_SHARE]), 2 * LIMIT - ALONE);
    ck_assert_uint_eq(counted(&c->past_share[SHARED_STREAMS]), 2 * LIMIT - ALONE);
    streams_up(&quiet, streams[1], 0, 3);
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 3, 0, 0}));
    ck_assert_uint_eq(reset_of(streams[1], 3), 0);
    streams_down();
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), 0, 0, 2 * LIMIT - ALONE}));
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 0, 0, 0}));
    ck_assert_uint_eq(atomic_load(&share_of_edge("e1")->budget.streams), 0);
    ck_assert_uint_eq(atomic_load(&hub.shared.budget.streams), 0);
    teardown();
}
END_TEST

/* What the first one gives back goes to the second one until both have the same. */
START_TEST(two_that_flood_meet)
{
    setup(NULL);
    streams_up(&loud, streams[0], 0, ALONE);
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), ALONE, 0, 0}));
    for (unsigned i = 0; i < 18; i++)
        stream_abort(&streams[0][i], RESET_BY_PEER);
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), ALONE - 18, 0, 0}));
    streams_up(&quiet, streams[1], 0, LIMIT);
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 20, 0, 20}));
    streams_up(&loud, streams[0], ALONE, ALONE + 4); /* 18 of its own, 2 free: a share of 18 */
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), 18, 0, 4}));
    streams_down();
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 0, 0, 20}));
    teardown();
}
END_TEST

START_TEST(without_shares_the_limit_alone_counts)
{
    setup("limits.edgeShare=100");
    streams_up(&loud, streams[0], 0, LIMIT + 1);
    UNTIL(are_reset, &(unsigned){1});
    ck_assert_uint_eq(counted(&hub.shared.counters.open_refusals[OPEN_LIMIT_STREAMS]), 1);
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), LIMIT, 0, 0}));
    streams_down();
    teardown();
}
END_TEST

/* --- UDP sessions ----------------------------------------------------------------------------- */

static struct udp_session sessions[2][2 * LIMIT];

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    (void)u, (void)bytes, (void)n;
}

static void on_closed(struct udp_session *u)
{
    (void)u; /* the condition that is waited for looks */
}

static void sessions_up(struct test_lane *t, struct udp_session *u, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct proxy_header client = client_header(PROXY_DGRAM, (uint16_t)(5000 + i), 53);

        udp_session_init(&u[i], on_datagram, on_closed);
        ck_assert_int_eq(link_open_udp(t->link, &u[i], &client), 0);
    }
}

static unsigned open_of(const struct udp_session *u, unsigned from, unsigned to)
{
    unsigned n = 0;

    for (unsigned i = from; i < to; i++)
        n += u[i].state == UDP_OPEN;
    return n;
}

static bool its_oldest_are_gone(void *arg)
{
    return open_of(sessions[0], 0, 2 * LIMIT) == *(unsigned *)arg;
}

static void sessions_down(void)
{
    for (unsigned i = 0; i < 2 * LIMIT; i++)
        for (unsigned j = 0; j < 2; j++)
            udp_session_release(&sessions[j][i]);
}

/* 5 of the other: 32 and not 36 are a share.  On which worker a lane is makes no difference. */
START_TEST(a_flood_of_datagrams_costs_its_own)
{
    const unsigned share = 32;

    setup(NULL);
    sessions_up(&quiet, sessions[1], 0, 5);
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 0, 5, 0}));
    sessions_up(&loud, sessions[0], 0, 2 * LIMIT);
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), 0, share, 2 * LIMIT - share}));
    UNTIL(its_oldest_are_gone, &(unsigned){share});
    ck_assert_uint_eq(open_of(sessions[0], 2 * LIMIT - share, 2 * LIMIT), share); /* the newest */
    ck_assert_uint_eq(open_of(sessions[1], 0, 5), 5);
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_evicted), 2 * LIMIT - share);
    sessions_up(&quiet, sessions[1], 5, 8);
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 0, 8, 0}));
    ck_assert_uint_eq(open_of(sessions[1], 0, 8), 8);
    sessions_down();
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), 0, 0, 2 * LIMIT - share}));
    UNTIL(is_so, (&(struct want){share_of_edge("e2"), 0, 0, 0}));
    teardown();
}
END_TEST

/* An edge is removed while its flows wait for another lane: they hold their share until they go. */
START_TEST(a_share_outlives_its_edge)
{
    setup(NULL);
    sessions_up(&loud, sessions[0], 0, 3);
    UNTIL(is_so, (&(struct want){share_of_edge("e1"), 0, 3, 0}));
    desk_edge_removed(&hub.desk, registry_find(&hub.registry, "e1"));
    registry_remove(&hub.registry, registry_find(&hub.registry, "e1"));
    UNTIL(is_dead, &loud);
    ck_assert_uint_eq(atomic_load(&hub.shared.udp_flows), 3);
    sessions_down();
    teardown(); /* the last flows end with the hub */
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, a_flood_of_streams_leaves_room);
    tcase_add_test(tc, two_that_flood_meet);
    tcase_add_test(tc, without_shares_the_limit_alone_counts);
    tcase_add_test(tc, a_flood_of_datagrams_costs_its_own);
    tcase_add_test(tc, a_share_outlives_its_edge);
    return suite_run("edge_share", tc);
}
