/* test_link_relay_reset - link/relay.h: resets, and what happens when the lane or the owner goes.
 */
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay_fixture.h"
#include "support/seeded.h"

/* --- conditions ------------------------------------------------------------------------------- */

static bool client_has_heard_all(void)
{
    return stand.pairs[0].client.heard == stand.pairs[0].target.to_say;
}

static bool target_is_reset(void)
{
    return talker_is_reset(&stand.pairs[0].target);
}

static bool client_is_reset(void)
{
    return talker_is_reset(&stand.pairs[0].client);
}

static bool edge_is_done(void)
{
    return stand.pairs[0].edge.done_count > 0;
}

static bool hub_is_done(void)
{
    return stand.pairs[0].hub.done_count > 0;
}

/* Resets do not wait for what nobody takes. */
static void set_rest_ms(struct pair *p, unsigned ms)
{
    p->edge.relay.rest_ms = p->hub.relay.rest_ms = ms;
}

/* --- resets ----------------------------------------------------------------------------------- */

START_TEST(a_reset_of_the_client_reaches_the_target)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 0, 0);
    UNTIL(target_has_heard_all);
    talker_close(&p->client, true);
    UNTIL(target_is_reset);
    UNTIL(all_done);
    ck_assert_int_eq(p->edge.relay.end, RELAY_SOCKET_RESET);
    ck_assert_int_eq(p->hub.relay.end, RELAY_STREAM_RESET);
    ck_assert_int_eq(p->hub.stream.reset_code, RESET_BY_PEER);
    stand_down();
}
END_TEST

START_TEST(a_reset_of_the_target_reaches_the_client)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 1000, 0);
    UNTIL(client_has_heard_all);
    talker_close(&p->target, true);
    UNTIL(client_is_reset);
    UNTIL(all_done);
    ck_assert_int_eq(p->hub.relay.end, RELAY_SOCKET_RESET);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    stand_down();
}
END_TEST

/* What still waited for the target is thrown away, and nobody waits for it. */
START_TEST(a_reset_overtakes_what_waits)
{
    struct pair *p;

    stand_up();
    p = stand_join(64u << 20, 0, 0);
    p->target.is_deaf = true;
    talker_go(&p->target);
    UNTIL(edge_is_out_of_room);
    talker_close(&p->target, true);
    UNTIL(all_done);
    ck_assert_int_eq(p->hub.relay.end, RELAY_SOCKET_RESET);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    ck_assert_uint_lt(p->client.said, p->client.to_say);
    UNTIL(client_is_reset);
    stand_down();
}
END_TEST

/* No room to read into and nothing to write: no watcher of the loop is on. */
START_TEST(a_reset_is_seen_without_a_watcher)
{
    struct pair *p;

    stand_up();
    p = stand_join(64u << 20, 0, 0);
    p->target.is_deaf = true;
    talker_go(&p->target);
    UNTIL(edge_is_out_of_room);
    set_rest_ms(p, 1);
    talker_close(&p->client, true);
    UNTIL(edge_is_done);
    UNTIL(all_done);
    ck_assert_int_eq(p->edge.relay.end, RELAY_SOCKET_RESET);
    stand_down();
}
END_TEST

/* The client's end was read: it would be readable for ever, so its watcher is off. */
START_TEST(a_reset_after_the_end_is_seen)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 0, 0);
    p->client.says_end = true;
    talker_go(&p->client);
    UNTIL(target_has_heard_end);
    UNTIL(edge_is_blind);
    talker_close(&p->client, true);
    UNTIL(edge_is_done);
    UNTIL(target_is_reset);
    UNTIL(all_done);
    ck_assert_int_eq(p->hub.relay.end, RELAY_STREAM_RESET);
    stand_down();
}
END_TEST

/* An end behind bytes that found no room yet is no reset: nothing is lost by looking at the socket.
 */
START_TEST(an_end_without_a_watcher_is_no_reset)
{
    struct pair *p;

    stand_up();
    p = stand_join(2u << 20, 0, 16384);
    p->client.says_end = true;
    p->target.is_deaf = true;
    talker_go(&p->client);
    talker_go(&p->target);
    p->target.says_end = true; /* now both sides of the client's socket are shut */
    talker_go(&p->target);
    UNTIL(client_has_heard_end);
    UNTIL(edge_is_out_of_room);
    ck_assert(!happens_within(edge_is_done, 2 * RELAY_LOOK_MS + RELAY_LOOK_MS / 2));
    p->target.is_deaf = false;
    talker_go(&p->target);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

/* --- the lane dies, the owner goes ------------------------------------------------------------ */

START_TEST(a_lost_lane_resets_both)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 1000, 0);
    UNTIL(target_has_heard_all);
    UNTIL(client_has_heard_all);
    stand_lose_lanes();
    UNTIL(client_is_reset);
    UNTIL(target_is_reset);
    UNTIL(all_done);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    ck_assert_int_eq(p->edge.stream.reset_code, RESET_LANE_LOST);
    ck_assert_int_eq(p->hub.stream.reset_code, RESET_LANE_LOST);
    stand_down();
}
END_TEST

START_TEST(a_lost_lane_after_the_sockets_end_resets)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 0, 0);
    p->client.says_end = true;
    talker_go(&p->client);
    UNTIL(target_has_heard_end);
    stand_lose_lanes();
    UNTIL(client_is_reset);
    UNTIL(target_is_reset);
    UNTIL(all_done);
    ck_assert_uint_eq(p->edge.done_count, 1);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    ck_assert_int_eq(p->hub.relay.end, RELAY_STREAM_RESET);
    stand_down();
}
END_TEST

/* Socket's end and lost lane in one turn of the loop. */
START_TEST(a_lost_lane_with_an_end_that_waits_resets_once)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 0, 0);
    UNTIL(target_has_heard_all);
    p->client.says_end = true;
    talker_go(&p->client); /* the FIN is with the relay's socket, and nobody has read it */
    stand_lose_lanes();
    UNTIL(all_done);
    ck_assert_uint_eq(p->edge.done_count, 1);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    stand_down();
}
END_TEST

static bool edge_has_written_all(void)
{
    return stand.pairs[0].edge.relay.write_ended;
}

/* Both sides have ended it, some of the answer is still with the edge's kernel: it is the client's,
 * whatever becomes of its end in the lane. */
START_TEST(a_lost_lane_does_not_reach_a_socket_that_both_sides_ended)
{
    int heard = 0;
    struct pair *p;

    stand_up();
    p = stand_join(0, 30000, 8192);
    p->client.is_deaf = true;
    p->target.says_end = true;
    talker_go(&p->client);
    talker_go(&p->target);
    UNTIL(edge_has_written_all);
    ck_assert_int_eq(ioctl(p->client.fd, FIONREAD, &heard), 0);
    ck_assert_int_lt(heard, 30000);
    stand_hold(true);
    p->client.says_end = true;
    talker_go(&p->client);
    UNTIL(edge_socket_is_closed);
    stand_lose_lanes();
    UNTIL(all_done);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    ck_assert_uint_eq(p->edge.done_count, 1);
    p->client.is_deaf = false;
    talker_go(&p->client);
    UNTIL(client_has_heard_end);
    ck_assert_uint_eq(p->client.heard, 30000);
    UNTIL(target_is_reset);
    stand_down();
}
END_TEST

static bool edge_has_written_all_so_far(void)
{
    return stand.pairs[0].edge.stream.recvq.len == 0;
}

static bool hub_stream_has_ended(void)
{
    return stand.pairs[0].hub.stream.state == STREAM_ENDED;
}

/* Both ends were said in order before the lane was lost: what waits for a slow target still gets
 * there. */
START_TEST(what_came_before_an_orderly_end_outlives_the_lane)
{
    struct pair *p;

    stand_up();
    p = stand_join(60000, 0, 1);
    p->target.is_deaf = true;
    p->client.says_end = p->target.says_end = true;
    talker_go(&p->client);
    talker_go(&p->target);
    UNTIL(hub_stream_has_ended);
    ck_assert_uint_gt(p->hub.stream.recvq.len, 0);
    stand_lose_lanes();
    p->target.is_deaf = false;
    talker_go(&p->target);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

static bool edge_can_only_write(void)
{
    return stand.pairs[0].edge.relay.write_blocked;
}

/* It waits for so long. */
START_TEST(a_reset_overtakes_what_a_deaf_client_did_not_take)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 64u << 20, 1);
    set_rest_ms(p, 1);
    p->client.is_deaf = true;
    talker_go(&p->client);
    UNTIL(edge_can_only_write);
    talker_close(&p->target, true);
    UNTIL(all_done);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    UNTIL(client_is_reset);
    stand_down();
}
END_TEST

/* --- what came before a reset -------------------------------------------------------------------
 */

/* The client has it, though its next write failed: then its talker reads no more. */
static void hear_rest(struct talker *t)
{
    uint8_t bytes[4096];
    ssize_t n;

    while ((n = read(t->fd, bytes, sizeof(bytes))) > 0)
        t->heard += (uint64_t)n;
}

/* A target that answers and closes while the request still comes; with a FIN behind the answer, or
 * not. */
START_TEST(an_answer_before_a_reset_is_heard)
{
    bool has_end = _i == 1;
    uint8_t answer[5000];
    struct pair *p;

    stand_up();
    p = stand_join(64u << 20, 0, 0);
    p->target.is_deaf = true;
    talker_go(&p->target);
    UNTIL(edge_is_out_of_room);
    for (unsigned i = 0; i < sizeof(answer); i++)
        answer[i] = seeded_byte(p->target.key, i);
    ck_assert_int_eq(send(p->target.fd, answer, sizeof(answer), 0), sizeof(answer));
    if (has_end)
        ck_assert_int_eq(shutdown(p->target.fd, SHUT_WR), 0);
    talker_close(&p->target, true);
    UNTIL(all_done);
    hear_rest(&p->client);
    ck_assert_uint_eq(p->client.heard, sizeof(answer));
    ck_assert_int_eq(p->hub.relay.end, RELAY_SOCKET_RESET);
    ck_assert_int_eq(p->edge.relay.end, RELAY_STREAM_RESET);
    ck_assert_int_eq(p->edge.stream.in, has_end ? HALF_ENDED : HALF_OPEN);
    stand_down();
}
END_TEST

static bool hub_has_read_all(void)
{
    return stand.pairs[0].hub.stream.sendq.end == stand.pairs[0].target.to_say;
}

static bool hub_is_sending(void)
{
    return stand.pairs[0].hub.relay.state == RELAY_SENDING;
}

START_TEST(a_reset_waits_behind_what_the_lane_still_has)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 0, 0);
    UNTIL(target_has_heard_all);
    stand_hold(true);
    p->target.to_say = 30000;
    talker_go(&p->target);
    UNTIL(hub_has_read_all);
    talker_close(&p->target, true);
    UNTIL(hub_is_sending);
    ck_assert_uint_eq(p->hub.done_count, 0);
    ck_assert_int_eq(p->hub.relay.fd, -1);
    stand_hold(false);
    UNTIL(all_done);
    UNTIL(client_is_reset);
    hear_rest(&p->client);
    ck_assert_uint_eq(p->client.heard, 30000);
    stand_down();
}
END_TEST

static bool edge_has_got_all(void)
{
    return stand.pairs[0].edge.stream.window.received == stand.pairs[0].target.to_say;
}

static bool edge_is_writing(void)
{
    return stand.pairs[0].edge.relay.state == RELAY_WRITING;
}

START_TEST(a_reset_waits_behind_what_the_socket_still_takes)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 60000, 1);
    p->client.is_deaf = true;
    talker_go(&p->client);
    UNTIL(edge_has_got_all);
    ck_assert_uint_gt(p->edge.stream.recvq.len, 0);
    talker_close(&p->target, true);
    UNTIL(edge_is_writing);
    ck_assert_uint_eq(p->edge.done_count, 0);
    p->client.is_deaf = false;
    talker_go(&p->client);
    UNTIL(all_done);
    UNTIL(client_is_reset);
    hear_rest(&p->client);
    ck_assert_uint_eq(p->client.heard, 60000);
    stand_down();
}
END_TEST

/* What the kernel of the socket has is thrown away by RST, too. */
START_TEST(a_reset_waits_behind_what_the_kernel_still_has)
{
    struct pair *p;
    int heard = 0;

    stand_up();
    p = stand_join(0, 30000, 8192);
    p->client.is_deaf = true;
    talker_go(&p->client);
    UNTIL(edge_has_got_all);
    UNTIL(edge_has_written_all_so_far);
    ck_assert_int_eq(ioctl(p->client.fd, FIONREAD, &heard), 0);
    ck_assert_int_lt(heard, 30000);
    talker_close(&p->target, true);
    UNTIL(edge_is_writing);
    p->client.is_deaf = false;
    talker_go(&p->client);
    UNTIL(all_done);
    hear_rest(&p->client);
    ck_assert_uint_eq(p->client.heard, 30000);
    stand_down();
}
END_TEST

static bool is_reset_by_close(const struct relay *r)
{
    struct linger linger = {0};
    socklen_t len = sizeof(linger);

    ck_assert_int_eq(getsockopt(r->fd, SOL_SOCKET, SO_LINGER, &linger, &len), 0);
    return linger.l_onoff == 1 && linger.l_linger == 0;
}

/* Its kernel closes for it.  (test_tunnel_tcp.py kills one.) */
START_TEST(a_process_that_dies_resets_its_sockets)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 1000, 0);
    UNTIL(target_has_heard_all);
    ck_assert(is_reset_by_close(&p->edge.relay));
    ck_assert(is_reset_by_close(&p->hub.relay));
    stand_down();
}
END_TEST

START_TEST(fini_resets_the_socket_and_says_nothing)
{
    struct pair *p;
    struct relay zeroed = {0};

    stand_up();
    p = stand_join(1000, 1000, 0);
    UNTIL(target_has_heard_all);
    relay_fini(&p->edge.relay);
    stream_release(&p->edge.stream);
    relay_fini(&p->edge.relay);
    relay_wake(&p->edge.relay);
    relay_fini(&zeroed);
    relay_wake(&zeroed);
    UNTIL(client_is_reset);
    UNTIL(target_is_reset);
    UNTIL(hub_is_done);
    ck_assert_uint_eq(p->edge.done_count, 0);
    ck_assert_int_eq(p->hub.relay.end, RELAY_STREAM_RESET);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_relay_reset");
    TCase *c = tcase_create("reset");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 150);
    tcase_add_test(c, a_reset_of_the_client_reaches_the_target);
    tcase_add_test(c, a_reset_of_the_target_reaches_the_client);
    tcase_add_test(c, a_reset_overtakes_what_waits);
    tcase_add_test(c, a_reset_is_seen_without_a_watcher);
    tcase_add_test(c, a_reset_after_the_end_is_seen);
    tcase_add_test(c, an_end_without_a_watcher_is_no_reset);
    tcase_add_test(c, a_lost_lane_resets_both);
    tcase_add_test(c, a_lost_lane_after_the_sockets_end_resets);
    tcase_add_test(c, a_lost_lane_with_an_end_that_waits_resets_once);
    tcase_add_test(c, a_lost_lane_does_not_reach_a_socket_that_both_sides_ended);
    tcase_add_test(c, what_came_before_an_orderly_end_outlives_the_lane);
    tcase_add_test(c, a_reset_overtakes_what_a_deaf_client_did_not_take);
    tcase_add_loop_test(c, an_answer_before_a_reset_is_heard, 0, 2);
    tcase_add_test(c, a_reset_waits_behind_what_the_lane_still_has);
    tcase_add_test(c, a_reset_waits_behind_what_the_socket_still_takes);
    tcase_add_test(c, a_reset_waits_behind_what_the_kernel_still_has);
    tcase_add_test(c, a_process_that_dies_resets_its_sockets);
    tcase_add_test(c, fini_resets_the_socket_and_says_nothing);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
