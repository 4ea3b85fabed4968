/* test_link_relay - link/relay.h: bytes, ends, resets, back-pressure, and what happens when the
 * lane or the owner goes.  The stand is in tests/support/relay_stand.h. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "buf/chunk.h"
#include "support/relay_stand.h"
#include "support/seeded.h"

/* --- conditions
 * ----------------------------------------------------------------------------------- */

static bool all_done(void)
{
    for (unsigned i = 0; i < stand.pair_count; i++)
        if (!stand.pairs[i].edge.done_count || !stand.pairs[i].hub.done_count)
            return false;
    return true;
}

static bool all_ended(void)
{
    for (unsigned i = 0; i < stand.pair_count; i++)
        if (!stand.pairs[i].client.has_heard_end || !stand.pairs[i].target.has_heard_end)
            return false;
    return all_done();
}

static bool target_has_heard_all(void)
{
    return stand.pairs[0].target.heard ==
           stand.pairs[0].target.first_len + stand.pairs[0].client.to_say;
}

static bool client_has_heard_all(void)
{
    return stand.pairs[0].client.heard == stand.pairs[0].target.to_say;
}

static bool target_has_heard_end(void)
{
    return stand.pairs[0].target.has_heard_end;
}

static bool client_has_heard_end(void)
{
    return stand.pairs[0].client.has_heard_end;
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

/* The edge's relay waits for nothing but room, or nothing but the other side: its watcher is off.
 */
static bool edge_is_blind(void)
{
    const struct relay *r = &stand.pairs[0].edge.relay;

    return r->state == RELAY_MOVING && !ev_is_active(&r->io.ev) && list_is_empty(&r->ready.node);
}

/* For good: nobody takes anything at the other end. */
static bool edge_is_out_of_room(void)
{
    const struct pair *p = &stand.pairs[0];

    return edge_is_blind() && p->edge.stream.is_starved && p->edge.stream.credit == 0 &&
           p->hub.relay.write_blocked;
}

static void check_exact(const struct pair *p)
{
    ck_assert_uint_eq(p->target.heard, p->target.first_len + p->client.to_say);
    ck_assert_uint_eq(p->client.heard, p->target.to_say);
    ck_assert_uint_eq(p->edge.done_count, 1);
    ck_assert_uint_eq(p->hub.done_count, 1);
    ck_assert_int_eq(p->edge.relay.end, RELAY_ENDED);
    ck_assert_int_eq(p->hub.relay.end, RELAY_ENDED);
    ck_assert_int_eq(p->edge.stream.state, STREAM_ENDED);
    ck_assert_int_eq(p->hub.stream.state, STREAM_ENDED);
}

/* --- bytes
 * ------------------------------------------------------------------------------------------ */

static void both_ways(uint64_t from_client, uint64_t from_target, int buffer_bytes)
{
    struct pair *p = stand_join(from_client, from_target, buffer_bytes);

    p->client.says_end = p->target.says_end = true;
    talker_go(&p->client);
    talker_go(&p->target);
    UNTIL(all_ended);
    check_exact(p);
}

START_TEST(bytes_are_exact)
{
    stand_up();
    both_ways(3u << 20, 5u << 20, 0);
    stand_down();
}
END_TEST

START_TEST(bytes_are_exact_in_tiny_buffers)
{
    stand_up();
    both_ways(50000, 50000, 1);
    stand_down();
}
END_TEST

START_TEST(nothing_at_all_ends_in_order)
{
    stand_up();
    both_ways(0, 0, 0);
    stand_down();
}
END_TEST

START_TEST(many_at_once_are_exact)
{
    stand_up();
    for (unsigned i = 0; i < STAND_PAIRS_MAX; i++) {
        struct pair *p = stand_join(seeded_below(&stand.seed, 30000),
                                    seeded_below(&stand.seed, 30000), i % 3 ? 0 : 1);

        p->client.says_end = p->target.says_end = true;
        talker_go(&p->client);
        talker_go(&p->target);
    }
    UNTIL(all_ended);
    for (unsigned i = 0; i < STAND_PAIRS_MAX; i++)
        check_exact(&stand.pairs[i]);
    stand_down();
}
END_TEST

START_TEST(the_prefix_comes_first)
{
    stand_up();
    stand.prefix = "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n";
    both_ways(50000, 1000, 1);
    stand_down();
}
END_TEST

/* A client that says nothing: the header goes all the same. */
START_TEST(the_prefix_waits_for_no_byte)
{
    struct pair *p;

    stand_up();
    stand.prefix = "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n";
    p = stand_join(0, 0, 0);
    UNTIL(target_has_heard_all);
    ck_assert_uint_eq(p->target.heard, strlen(stand.prefix));
    ck_assert(!p->target.has_heard_end);
    stand_down();
}
END_TEST

/* --- half-close
 * ----------------------------------------------------------------------------------- */

START_TEST(a_client_that_ended_gets_the_whole_answer)
{
    struct pair *p;

    stand_up();
    p = stand_join(1000, 0, 0);
    p->client.says_end = true;
    talker_go(&p->client);
    UNTIL(target_has_heard_end);
    ck_assert_uint_eq(p->target.heard, 1000);
    ck_assert_uint_eq(p->edge.done_count + p->hub.done_count, 0);
    p->target.to_say = 3u << 20;
    p->target.says_end = true;
    talker_go(&p->target);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

START_TEST(a_target_that_ended_gets_the_whole_request)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 1000, 0);
    p->target.says_end = true;
    talker_go(&p->target);
    UNTIL(client_has_heard_end);
    ck_assert_uint_eq(p->edge.done_count + p->hub.done_count, 0);
    p->client.to_say = 3u << 20;
    p->client.says_end = true;
    talker_go(&p->client);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

/* --- resets
 * ----------------------------------------------------------------------------------------- */

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
    talker_close(&p->client, true);
    ck_assert(happens_within(edge_is_done, 3 * RELAY_LOOK_MS));
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
    ck_assert(happens_within(edge_is_done, 3 * RELAY_LOOK_MS));
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

/* --- back-pressure
 * ---------------------------------------------------------------------------------- */

START_TEST(a_deaf_target_stops_the_client)
{
    struct pair *p;
    uint64_t said;

    stand_up();
    p = stand_join(64u << 20, 0, 0);
    p->client.says_end = p->target.says_end = true;
    p->target.is_deaf = true;
    talker_go(&p->client);
    talker_go(&p->target);
    UNTIL(edge_is_out_of_room);
    ck_assert_uint_le(p->hub.stream.recvq.len, 4u << 20);
    ck_assert_uint_le(loop_pool(stand.loop)->out_count, (4u << 20) / CHUNK_ROOM + 40);
    said = p->client.said;
    ck_assert_uint_lt(said, p->client.to_say);
    p->target.is_deaf = false;
    talker_go(&p->target);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

START_TEST(a_deaf_client_stops_the_target_and_not_its_own_way)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 64u << 20, 0);
    p->client.is_deaf = true;
    talker_go(&p->client);
    UNTIL(target_has_heard_all); /* nothing, yet */
    p->client.to_say = 1u << 20;
    talker_go(&p->client);
    UNTIL(target_has_heard_all);
    p->client.is_deaf = false;
    p->client.says_end = p->target.says_end = true;
    talker_go(&p->client);
    talker_go(&p->target);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

/* The budget is used up: every stream has its free part, and nobody is forgotten. */
START_TEST(without_budget_all_goes_on)
{
    stand_up_with(1, 0);
    for (unsigned i = 0; i < 8; i++) {
        struct pair *p = stand_join(1u << 20, 1u << 20, 0);

        p->client.says_end = p->target.says_end = true;
        talker_go(&p->client);
        talker_go(&p->target);
    }
    UNTIL(all_ended);
    for (unsigned i = 0; i < 8; i++)
        check_exact(&stand.pairs[i]);
    ck_assert_uint_gt(stand.budget[EDGE].denied, 0);
    stand_down();
}
END_TEST

static bool edge_is_starved(void)
{
    return stand.pairs[0].edge.stream.is_starved;
}

/* The loop's pool is used up by somebody else, and comes back. */
START_TEST(without_chunks_it_waits_and_goes_on)
{
    enum { CAP = 256 };
    struct chunk *taken[CAP + 1];
    unsigned n = 0;
    struct pair *p;

    stand_up_with(200u << 20, CAP);
    while ((taken[n] = chunk_take(loop_pool(stand.loop))))
        n++;
    ck_assert_uint_eq(n, CAP);
    p = stand_join(1u << 20, 1u << 20, 0);
    p->client.says_end = p->target.says_end = true;
    talker_go(&p->client);
    talker_go(&p->target);
    UNTIL(edge_is_starved);
    ck_assert_uint_eq(p->edge.stream.sendq.end, 0);
    while (n > 0)
        chunk_give(loop_pool(stand.loop), taken[--n]);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

/* --- the lane dies, the owner goes
 * ------------------------------------------------------------------ */

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

START_TEST(a_reset_overtakes_what_a_deaf_client_did_not_take)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 64u << 20, 1);
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

START_TEST(ends_have_names)
{
    ck_assert_str_eq(relay_end_name(RELAY_ENDED), "ended");
    ck_assert_str_eq(relay_end_name(RELAY_SOCKET_RESET), "socket_reset");
    ck_assert_str_eq(relay_end_name(RELAY_STREAM_RESET), "stream_reset");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_relay");
    TCase *c = tcase_create("relay");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 60);
    tcase_add_test(c, bytes_are_exact);
    tcase_add_test(c, bytes_are_exact_in_tiny_buffers);
    tcase_add_test(c, nothing_at_all_ends_in_order);
    tcase_add_test(c, many_at_once_are_exact);
    tcase_add_test(c, the_prefix_comes_first);
    tcase_add_test(c, the_prefix_waits_for_no_byte);
    tcase_add_test(c, a_client_that_ended_gets_the_whole_answer);
    tcase_add_test(c, a_target_that_ended_gets_the_whole_request);
    tcase_add_test(c, a_reset_of_the_client_reaches_the_target);
    tcase_add_test(c, a_reset_of_the_target_reaches_the_client);
    tcase_add_test(c, a_reset_overtakes_what_waits);
    tcase_add_test(c, a_reset_is_seen_without_a_watcher);
    tcase_add_test(c, a_reset_after_the_end_is_seen);
    tcase_add_test(c, an_end_without_a_watcher_is_no_reset);
    tcase_add_test(c, a_deaf_target_stops_the_client);
    tcase_add_test(c, a_deaf_client_stops_the_target_and_not_its_own_way);
    tcase_add_test(c, without_budget_all_goes_on);
    tcase_add_test(c, without_chunks_it_waits_and_goes_on);
    tcase_add_test(c, a_lost_lane_resets_both);
    tcase_add_test(c, a_lost_lane_after_the_sockets_end_resets);
    tcase_add_test(c, a_lost_lane_with_an_end_that_waits_resets_once);
    tcase_add_test(c, what_came_before_an_orderly_end_outlives_the_lane);
    tcase_add_test(c, a_reset_overtakes_what_a_deaf_client_did_not_take);
    tcase_add_test(c, fini_resets_the_socket_and_says_nothing);
    tcase_add_test(c, ends_have_names);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
