/* test_link_quic - link/link.h on QUIC: an edge's link and a hub's, and a hub's against a peer that
 * does what no edge does. */
#include "link/link_internal.h"
#include "link_quic_fixture.h"
#include "support/suite.h"
#include "wire/channel.h"

static bool hub_is_over(void)
{
    return hub.is_over;
}

/* --- both ends are links --- */

START_TEST(both_open_and_a_stream_goes_through)
{
    quic_stand_up(WINDOW);
    edge_dials();
    UNTIL(both_are_open);
    ck_assert_str_eq(hub.line, HELLO_LINE);
    ck_assert_str_eq(edge.line, ANSWER_LINE);
    ck_assert_int_eq(link_transport(hub.link), LINK_QUIC);
    edge_opens_stream();
    UNTIL(stream_is_there);
    quic_stand_down();
}
END_TEST

START_TEST(a_goodbye_reaches_the_other_end)
{
    quic_stand_up(WINDOW);
    edge_dials();
    UNTIL(both_are_open);
    link_goodbye(hub.link, GOODBYE_KICKED, "go away", 0);
    UNTIL(both_are_over);
    ck_assert(edge.has_goodbye);
    ck_assert_int_eq(edge.goodbye, GOODBYE_KICKED);
    quic_stand_down();
}
END_TEST

/* --- a peer by hand --- */

#define OPENS 8000u

/* UDP_OPENs for a port that nobody has: each is answered with a UDP_CLOSE. */
static size_t udp_opens(char *out)
{
    struct proxy_header client = {
        .family = PROXY_INET, .transport = PROXY_DGRAM, .src_port = 1, .dst_port = 53};
    size_t n = 0;

    for (uint32_t id = 1; id <= OPENS; id++) {
        uint8_t body[PROXY_V2_EMIT_MAX];
        size_t len = proxy_emit_v2(body, &client);

        n += channel_emit((uint8_t *)out + n, id, FRAME_UDP_OPEN, (uint32_t)len);
        memcpy(out + n, body, len);
        n += len;
    }
    return n;
}

static uint64_t to_be_acked;

static bool all_is_acked(void)
{
    return hand.acked == to_be_acked;
}

/* It lends the hub next to nothing for its answers, and then takes the control stream away: there
 * is no way for a last word, and none is waited for. */
START_TEST(a_control_stream_that_is_blocked_and_reset)
{
    static char much[OPENS * (CHANNEL_HEADER_MAX + PROXY_V2_EMIT_MAX)];
    size_t n = udp_opens(much);

    quic_stand_up(1000);
    hand_up();
    hand_sends(HAND_CONTROL, much, n);
    to_be_acked = strlen(HELLO_LINE) + n;
    UNTIL(all_is_acked);
    ck_assert(!hub.is_over);
    quic_shutdown(hand.q, HAND_CONTROL, 1);
    hand_wake();
    UNTIL(hub_is_over);
    ck_assert_int_eq(hub.error, -ERR_PROTO);
    ck_assert_str_eq(hub.why, "the control stream was reset");
    quic_stand_down();
}
END_TEST

/* Streams that are nothing but a frame of credit.  Who holds so many of them is refused the next,
 * and is heard all the same. */
static bool more_are_allowed(void)
{
    int64_t stream;

    if (quic_open(hand.q, &stream, &hand) != 0)
        return false;
    quic_credit(hand.q, stream, WINDOW);
    return true;
}

static unsigned to_be_reset;

static bool they_are_reset(void)
{
    return hand.resets == to_be_reset;
}

START_TEST(silent_streams_are_bounded)
{
    enum { CHARGED = 1000, SILENT = STREAMS_MAX - 1 };

    quic_stand_up(WINDOW);
    budget.limit_bytes = CHARGED * LANE_SILENT_COST;
    hand_up();
    UNTIL(more_are_allowed);
    for (unsigned i = 1; i < SILENT; i++)
        ck_assert(more_are_allowed());
    hand_wake();
    to_be_reset = SILENT - LANE_SILENT_FREE - CHARGED - 1;
    UNTIL(they_are_reset);
    ck_assert_uint_eq(budget.taken, CHARGED * LANE_SILENT_COST);
    ck_assert_uint_eq(link_lane(hub.link)->stats.refused_limit, to_be_reset);
    hand_sends(hand_opens(), CLIENT_LINE, strlen(CLIENT_LINE));
    UNTIL(stream_is_there);
    ck_assert_uint_eq(hub.stream.reset_code, RESET_NONE);
    quic_stand_down();
}
END_TEST

/* --- a burst whose first packets are lost, and what follows them is not --- */

enum { BURST = 1000 };
static struct stream burst[BURST];
static unsigned burst_begun;

static void on_burst_change(struct stream *s)
{
    (void)s;
}

static struct stream *on_burst(struct link *link, const struct proxy_header *client,
                               enum stream_reset *refuse)
{
    (void)link, (void)client, (void)refuse;
    ck_assert_uint_lt(burst_begun, BURST);
    stream_init(&burst[burst_begun], on_burst_change);
    return &burst[burst_begun++];
}

static bool burst_is_there(void)
{
    return burst_begun == BURST;
}

START_TEST(a_burst_whose_first_packets_were_lost)
{
    static char much[OPENS * (CHANNEL_HEADER_MAX + PROXY_V2_EMIT_MAX)];
    struct link_ops its = ops;
    int64_t stream[BURST];

    its.on_open = on_burst;
    hub_ops = &its;
    quic_stand_up(1u << 20);
    hand_up();
    to_be_acked = strlen(HELLO_LINE) + udp_opens(much);
    hand_sends(HAND_CONTROL, much, udp_opens(much)); /* or the window of the path is too small */
    UNTIL(all_is_acked);
    for (unsigned i = 0; i < BURST; i++)
        stream[i] = hand_opens();
    is_edge_lost = true;
    for (unsigned i = 0; i < BURST; i++)
        hand_sends(stream[i], CLIENT_LINE, strlen(CLIENT_LINE));
    UNTIL(hand_has_sent);
    is_edge_lost = false;
    is_hub_lost = true; /* it cannot tell what it misses */
    for (unsigned i = 0; i < BURST; i++)
        hand_sends(stream[i], "GET /", 5);
    UNTIL(hand_has_sent);
    is_hub_lost = false;
    UNTIL(burst_is_there);
    for (unsigned i = 0; i < BURST; i++)
        ck_assert_int_eq(burst[i].state, STREAM_OPEN);
    ck_assert_uint_eq(hand.resets, 0);
    quic_stand_down();
    for (unsigned i = 0; i < BURST; i++)
        stream_release(&burst[i]);
}
END_TEST

/* --- what QUIC holds for a lane is part of what the lane may hold --- */

#define BLOCK_BYTES 8192u /* of a stream with a gap */

enum { MANY = 400, FEW = 40 };
static int64_t gappy[MANY];
static unsigned gappy_count;

static struct quic_memory *hub_memory(void)
{
    return &hub.link->quic.quic->memory;
}

static bool gappy_are_there(void)
{
    return burst_begun == gappy_count;
}

/* Streams that are open; and a hub that cannot tell from now on what it misses. */
static void gappy_up(struct link_ops *its, unsigned count)
{
    static char much[OPENS * (CHANNEL_HEADER_MAX + PROXY_V2_EMIT_MAX)];

    *its = ops;
    its->on_open = on_burst;
    hub_ops = its;
    burst_begun = 0;
    quic_stand_up(1u << 20);
    hand_up();
    hand_sends(HAND_CONTROL, much, udp_opens(much)); /* or the window of the path is too small */
    to_be_acked = strlen(HELLO_LINE) + udp_opens(much);
    UNTIL(all_is_acked);
    gappy_count = count;
    for (unsigned i = 0; i < count; i++) {
        gappy[i] = hand_opens();
        hand_sends(gappy[i], CLIENT_LINE, strlen(CLIENT_LINE));
    }
    UNTIL(gappy_are_there);
    is_hub_lost = true;
}

static void gappy_down(void)
{
    quic_stand_down();
    for (unsigned i = 0; i < gappy_count; i++)
        stream_release(&burst[i]);
    ck_assert_uint_eq(budget.taken, 0);
}

/* One more gap in each, unless the hand sends it again just then: it waits twice as long for that
 * each time. */
static void make_gaps(void)
{
    is_edge_lost = true;
    for (unsigned n = 0; n < 2; n++) {
        for (unsigned i = 0; i < gappy_count; i++)
            hand_sends(gappy[i], "x", 1);
        UNTIL(hand_has_sent);
        is_edge_lost = false;
    }
}

static bool is_given_back(void)
{
    return hub_memory()->lent <= 2 * QUIC_MEMORY_STEP;
}

START_TEST(what_quic_holds_is_lent_by_the_budget)
{
    struct link_ops its;

    gappy_up(&its, MANY);
    quic_memory_set_allowance(hub_memory(), hub_memory()->held, 0);
    while (hub_memory()->lent < MANY * BLOCK_BYTES)
        make_gaps();
    ck_assert_uint_ge(budget.taken, hub_memory()->lent);
    is_hub_lost = false;
    for (unsigned i = 0; i < gappy_count; i++)
        quic_shutdown(hand.q, gappy[i], RESET_BY_PEER);
    hand_wake();
    UNTIL(is_given_back);
    ck_assert_int_eq(link_state(hub.link), LINK_OPEN);
    ck_assert_uint_eq(quic_port_stats(hub_port)->starved, 0);
    gappy_down();
}
END_TEST

START_TEST(a_budget_that_has_no_more_ends_the_lane)
{
    struct link_ops its;

    gappy_up(&its, MANY);
    quic_memory_set_allowance(hub_memory(), hub_memory()->held, 0);
    budget.limit_bytes = budget.taken + MANY * BLOCK_BYTES / 2;
    while (!hub.is_over)
        make_gaps();
    ck_assert_int_eq(hub.error, -ERR_NOMEM);
    ck_assert_ptr_nonnull(strstr(hub.why, "refused more memory for QUIC"));
    ck_assert_uint_eq(quic_port_stats(hub_port)->starved, 1);
    ck_assert_uint_ge(budget.denied, 1);
    gappy_down();
}
END_TEST

/* One block, and not what many gaps take. */
START_TEST(a_stream_has_its_block_for_nothing)
{
    struct link_ops its;

    gappy_up(&its, FEW);
    quic_memory_set_allowance(hub_memory(), hub_memory()->held, QUIC_MEMORY_STREAM);
    budget.limit_bytes = budget.taken;
    for (unsigned n = 0; n < 5; n++)
        make_gaps();
    ck_assert(!hub.is_over);
    while (!hub.is_over)
        make_gaps();
    ck_assert_int_eq(hub.error, -ERR_NOMEM);
    gappy_down();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("quic");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, both_open_and_a_stream_goes_through);
    tcase_add_test(tcase, a_goodbye_reaches_the_other_end);
    tcase_add_test(tcase, a_control_stream_that_is_blocked_and_reset);
    tcase_add_test(tcase, silent_streams_are_bounded);
    tcase_add_test(tcase, a_burst_whose_first_packets_were_lost);
    tcase_add_test(tcase, what_quic_holds_is_lent_by_the_budget);
    tcase_add_test(tcase, a_budget_that_has_no_more_ends_the_lane);
    tcase_add_test(tcase, a_stream_has_its_block_for_nothing);
    return suite_run("link_quic", tcase);
}
