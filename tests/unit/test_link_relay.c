/* test_link_relay - link/relay.h: bytes, ends and back-pressure.  What cuts a relay short is in
 * test_link_relay_reset.c. */
#include <string.h>

#include "buf/chunk.h"
#include "relay_fixture.h"
#include "support/seeded.h"

/* --- bytes ------------------------------------------------------------------------------------ */

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
    both_ways(20000, 20000, 1);
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

/* --- half-close ------------------------------------------------------------------------------- */

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

/* It cannot tell more, and costs a descriptor and a place in epoll until the stream is through. */
START_TEST(a_socket_that_both_sides_ended_does_not_wait_for_the_stream)
{
    struct pair *p;

    stand_up();
    p = stand_join(0, 1000, 0);
    p->target.says_end = true;
    talker_go(&p->target);
    UNTIL(client_has_heard_end);
    stand_hold(true);
    p->client.says_end = true;
    talker_go(&p->client);
    UNTIL(edge_socket_is_closed);
    ck_assert_int_eq(p->edge.relay.state, RELAY_MOVING);
    ck_assert_int_eq(p->edge.stream.out, HALF_ENDING);
    stand_hold(false);
    UNTIL(all_ended);
    check_exact(p);
    stand_down();
}
END_TEST

/* --- back-pressure ---------------------------------------------------------------------------- */

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
    return stand.pairs[0].edge.stream.feed == FEED_STARVED;
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

static bool client_has_heard_all(void)
{
    return stand.pairs[0].client.heard == stand.pairs[0].target.to_say;
}

static void target_says(struct pair *p, uint64_t n)
{
    p->target.to_say += n;
    talker_go(&p->target);
    UNTIL(client_has_heard_all);
}

/* What is left of an answer says nothing about the next one; small ones in a row do. */
START_TEST(one_small_read_does_not_make_the_next_ones_small)
{
    struct relay *r;
    struct pair *p;

    stand_up();
    p = stand_join(0, 0, 0);
    r = &p->hub.relay;
    target_says(p, 1u << 20);
    r->read_pieces = 8; /* whatever its last part was */
    r->small_reads = 0;
    for (unsigned i = 1; i < RELAY_SMALL_READS; i++)
        target_says(p, 100);
    ck_assert_uint_eq(r->read_pieces, 8);
    target_says(p, 100);
    ck_assert_uint_eq(r->read_pieces, 1);
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

    tcase_set_timeout(c, 150);
    tcase_add_test(c, bytes_are_exact);
    tcase_add_test(c, bytes_are_exact_in_tiny_buffers);
    tcase_add_test(c, nothing_at_all_ends_in_order);
    tcase_add_test(c, many_at_once_are_exact);
    tcase_add_test(c, the_prefix_comes_first);
    tcase_add_test(c, the_prefix_waits_for_no_byte);
    tcase_add_test(c, a_client_that_ended_gets_the_whole_answer);
    tcase_add_test(c, a_target_that_ended_gets_the_whole_request);
    tcase_add_test(c, a_socket_that_both_sides_ended_does_not_wait_for_the_stream);
    tcase_add_test(c, a_deaf_target_stops_the_client);
    tcase_add_test(c, a_deaf_client_stops_the_target_and_not_its_own_way);
    tcase_add_test(c, without_budget_all_goes_on);
    tcase_add_test(c, without_chunks_it_waits_and_goes_on);
    tcase_add_test(c, one_small_read_does_not_make_the_next_ones_small);
    tcase_add_test(c, ends_have_names);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
