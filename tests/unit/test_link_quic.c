/* test_link_quic - link/link.h on QUIC: an edge's link and a hub's, and a hub's against a peer that
 * does what no edge does. */
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

int main(void)
{
    TCase *tcase = tcase_create("quic");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, both_open_and_a_stream_goes_through);
    tcase_add_test(tcase, a_goodbye_reaches_the_other_end);
    tcase_add_test(tcase, a_control_stream_that_is_blocked_and_reset);
    return suite_run("link_quic", tcase);
}
