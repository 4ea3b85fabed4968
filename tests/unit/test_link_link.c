/* test_link_link - link/link.h: from the handshake to the last word, and freed at every moment.
 * Peers that misbehave are in test_link_bad_peer.c. */
#include <unistd.h>

#include "link_fixture.h"

static struct end *other(const struct end *e)
{
    return e == &edge ? &hub : &edge;
}

/* --- in order --------------------------------------------------------------------------------- */

static bool bytes_are_there(void)
{
    return hub.stream.recvq.len == 5;
}

static bool controls_are_there(void)
{
    return edge.controls == 1 && hub.controls == 1;
}

START_TEST(from_handshake_to_bytes)
{
    uint8_t of_edge[TLS_EXPORTER_BYTES], of_hub[TLS_EXPORTER_BYTES];
    struct iovec piece;
    int64_t from, until;

    stand_up();
    both_open();
    ck_assert_str_eq(hub.line, HELLO_LINE);
    ck_assert_str_eq(edge.line, ANSWER_LINE);
    ck_assert_int_eq(link_exporter(edge.link, of_edge), 0);
    ck_assert_int_eq(link_exporter(hub.link, of_hub), 0);
    ck_assert_mem_eq(of_edge, of_hub, sizeof(of_edge));
    ck_assert(link_takes_streams(edge.link));
    ck_assert_ptr_nonnull(link_lane(edge.link));
    ck_assert_str_eq(link_cipher(edge.link), "AES-128-GCM");
    ck_assert_int_eq(link_peer_times(edge.link, &from, &until), 0);
    ck_assert(from < until);
    link_send_config(hub.link, "{}");
    link_send_config(edge.link, "{}");
    edge_opens_stream();
    UNTIL(stream_is_there);
    UNTIL(controls_are_there);
    ck_assert_uint_ge(stream_reserve(&edge.stream, &piece, 1), 1);
    memcpy(piece.iov_base, "12345", 5);
    stream_commit(&edge.stream, 5);
    UNTIL(bytes_are_there);
    stand_down();
}
END_TEST

/* The hub's answer and its first frames may come in one record. */
START_TEST(frames_behind_the_line_are_frames)
{
    static const uint8_t pong[] = {0, 0, 0, 0, 0x08, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};

    stand_up();
    edge.behind = (const char *)pong; /* that nobody asked for */
    edge.behind_len = sizeof(pong);
    both_up();
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(hub.why, "PONG"));
    ck_assert(edge.has_goodbye);
    ck_assert_int_eq(edge.goodbye, GOODBYE_PROTOCOL_ERROR);
    stand_down();
}
END_TEST

START_TEST(a_verdict_may_come_later)
{
    stand_up();
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    hub_decides(hub.link, OPENS);
    UNTIL(both_are_open);
    stand_down();
}
END_TEST

static bool drains_are_there(void)
{
    return edge.drains == 1 && hub.drains == 1;
}

START_TEST(drains_are_told)
{
    stand_up();
    both_open();
    link_send_drain(hub.link, 30);
    link_send_drain(edge.link, 30);
    UNTIL(drains_are_there);
    ck_assert(!link_takes_streams(edge.link));
    stand_down();
}
END_TEST

/* --- the last word ---------------------------------------------------------------------------- */

static void one_says_goodbye(struct end *e)
{
    struct end *o = other(e);

    stand_up();
    both_open();
    edge_opens_stream();
    UNTIL(stream_is_there);
    link_goodbye(e->link, GOODBYE_KICKED, "enough", 0);
    UNTIL(both_are_over);
    ck_assert(o->has_goodbye && !e->has_goodbye);
    ck_assert_int_eq(o->goodbye, GOODBYE_KICKED);
    ck_assert_int_eq(o->error, -ERR_CLOSED);
    ck_assert_int_eq(e->error, 0);
    ck_assert_str_eq(e->why, "enough");
    ck_assert_int_eq(edge.stream.state, STREAM_RESET);
    ck_assert_int_eq(edge.stream.reset_code, RESET_LANE_LOST);
    ck_assert_int_eq(hub.stream.state, STREAM_RESET);
    ck_assert_uint_gt(edge.changes, 0);
    stand_down();
}

START_TEST(a_goodbye_of_the_hub)
{
    one_says_goodbye(&hub);
}
END_TEST

START_TEST(a_goodbye_of_the_edge)
{
    one_says_goodbye(&edge);
}
END_TEST

START_TEST(a_refusal_is_heard)
{
    stand_up();
    hub.verdict = REFUSES;
    both_up();
    UNTIL(both_are_over);
    ck_assert_str_eq(edge.line, SORRY_LINE);
    ck_assert_int_eq(edge.error, -ERR_DENIED);
    ck_assert_int_eq(hub.error, -ERR_DENIED);
    stand_down();
}
END_TEST

START_TEST(a_refusal_later_is_heard)
{
    stand_up();
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    hub_decides(hub.link, REFUSES);
    UNTIL(both_are_over);
    ck_assert_str_eq(edge.line, SORRY_LINE);
    stand_down();
}
END_TEST

START_TEST(a_drop_says_nothing)
{
    stand_up();
    hub.verdict = DROPS;
    both_up();
    UNTIL(both_are_over);
    ck_assert_str_eq(edge.line, "");
    ck_assert_int_eq(hub.error, -ERR_AUTH);
    stand_down();
}
END_TEST

/* --- freed at every moment -------------------------------------------------------------------- */

static bool one_is_over(void)
{
    return edge.is_over || hub.is_over;
}

/* Everything that can be on the way is: a stream, bytes, a CONFIG, a DRAIN, a GOODBYE. */
static void traffic(void)
{
    if (is_in(&edge, LINK_OPEN)) {
        edge_opens_stream();
        link_send_config(edge.link, "{}");
        link_send_drain(edge.link, 30);
    }
    if (is_in(&hub, LINK_OPEN)) {
        link_send_config(hub.link, "{}");
        link_send_drain(hub.link, 30);
        link_goodbye(hub.link, GOODBYE_KICKED, "enough", 0);
    }
}

static bool open_or_over(void)
{
    return both_are_open() || one_is_over();
}

START_TEST(freed_in_a_callback)
{
    struct end *e = _i % 2 ? &hub : &edge;

    stand_up();
    e->frees_at = (enum moment)(_i / 2 + 1);
    both_up();
    UNTIL(open_or_over);
    traffic();
    UNTIL(both_are_over);
    stand_down();
}
END_TEST

static enum link_state wanted;
static struct end *watched;

static bool is_wanted(void)
{
    return watched->is_over || is_in(watched, wanted);
}

START_TEST(freed_between_callbacks)
{
    wanted = (enum link_state)(_i / 2);
    watched = _i % 2 ? &hub : &edge;
    stand_up();
    if (watched == &edge && (wanted == LINK_VERDICT || wanted == LINK_LEAVING))
        wanted = LINK_LINE; /* states of the hub's side alone, here */
    edge.is_mute = watched == &hub && wanted == LINK_LINE;
    hub.verdict = wanted == LINK_LEAVING                          ? REFUSES
                  : wanted == LINK_VERDICT || wanted == LINK_LINE ? WAITS
                                                                  : OPENS;
    /* a verdict that nobody gives any more */
    both_up_within(wanted == LINK_DEAD ? PATIENCE_MS : 500);
    if (wanted == LINK_DEAD) {
        UNTIL(both_are_open);
        link_goodbye(other(watched)->link, GOODBYE_KICKED, "enough", 0);
    }
    UNTIL(is_wanted);
    link_free(watched->link);
    watched->link = NULL;
    watched->is_over = true;
    UNTIL(both_are_over);
    stand_down();
}
END_TEST

START_TEST(freed_before_the_first_turn_and_twice)
{
    struct link *link;
    int edge_fd, hub_fd;

    stand_up();
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link = hub.link;
    link_free(link);
    link_free(link);
    link_free(NULL);
    hub.link = NULL;
    close(edge_fd);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_link");
    TCase *c = tcase_create("link");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, from_handshake_to_bytes);
    tcase_add_test(c, frames_behind_the_line_are_frames);
    tcase_add_test(c, a_verdict_may_come_later);
    tcase_add_test(c, drains_are_told);
    tcase_add_test(c, a_goodbye_of_the_hub);
    tcase_add_test(c, a_goodbye_of_the_edge);
    tcase_add_test(c, a_refusal_is_heard);
    tcase_add_test(c, a_refusal_later_is_heard);
    tcase_add_test(c, a_drop_says_nothing);
    tcase_add_loop_test(c, freed_in_a_callback, 0, 2 * AT_DEAD);
    tcase_add_loop_test(c, freed_between_callbacks, 0, 2 * LINK_STATE_COUNT);
    tcase_add_test(c, freed_before_the_first_turn_and_twice);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
