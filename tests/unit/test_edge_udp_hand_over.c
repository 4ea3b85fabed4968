/* test_edge_udp_hand_over - edge/udp_hand_over.h: a worker whose loop does not run yet, so that all
 * waits; it has no port, so that what comes is dropped and counted. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "edge/edge_worker.h"
#include "edge/udp_hand_over.h"
#include "loop/udp_socket.h"

static struct edge_worker to;
static uint8_t bytes[65507];

static void stand_up(void)
{
    memset(&to, 0, sizeof(to));
    to.loop = loop_new("edge", 4, 0);
    udp_flows_init(&to.udp, &to);
}

static void on_last(struct task *task)
{
    (void)task;
    loop_stop(to.loop);
}

static void run_what_waits(void)
{
    struct task last = {.run = on_last};

    loop_post(to.loop, &last);
    loop_run(to.loop);
}

static unsigned hand_over_until_full(const struct udp_arrival *a)
{
    unsigned count = 0;

    while (udp_hand_over(&to, 53, a))
        ck_assert_uint_lt(++count, UDP_HANDED_BYTES);
    return count;
}

START_TEST(only_so_much_waits)
{
    struct udp_arrival a = {.bytes = bytes, .len = sizeof(bytes), .segment = sizeof(bytes)};

    stand_up();
    ck_assert_uint_eq(hand_over_until_full(&a), UDP_HANDED_BYTES / (sizeof(bytes) + 200));
    ck_assert_uint_le(to.handed_bytes, UDP_HANDED_BYTES);
    run_what_waits();
    ck_assert_uint_eq(to.handed_bytes, 0);
    ck_assert_uint_eq(to.udp.dropped[UDP_DROP_CLOSED], 15);
    ck_assert(udp_hand_over(&to, 53, &a));
    loop_free(to.loop);
    ck_assert_uint_eq(to.udp.dropped[UDP_DROP_CLOSED], 16);
}
END_TEST

START_TEST(empty_ones_wait_in_bounds_too)
{
    struct udp_arrival a = {.bytes = bytes, .len = 0, .segment = 1};

    stand_up();
    ck_assert_uint_lt(hand_over_until_full(&a), UDP_HANDED_BYTES / 64);
    loop_free(to.loop);
    ck_assert_uint_eq(to.handed_bytes, 0);
}
END_TEST

START_TEST(a_bundle_is_counted_by_its_datagrams)
{
    struct udp_arrival a = {.bytes = bytes, .len = 1000, .segment = 300};

    stand_up();
    ck_assert(udp_hand_over(&to, 53, &a));
    loop_free(to.loop);
    ck_assert_uint_eq(to.udp.dropped[UDP_DROP_CLOSED], 4);
}
END_TEST

START_TEST(a_worker_that_has_ended_takes_nothing)
{
    struct udp_arrival a = {.bytes = bytes, .len = 1, .segment = 1};

    stand_up();
    ck_assert(udp_hand_over(&to, 53, &a));
    to.is_closed = true;
    loop_free(to.loop);
    ck_assert_uint_eq(to.udp.dropped[UDP_DROP_CLOSED], 0);
    ck_assert_uint_eq(to.handed_bytes, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("udp_hand_over");
    TCase *c = tcase_create("all");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_test(c, only_so_much_waits);
    tcase_add_test(c, empty_ones_wait_in_bounds_too);
    tcase_add_test(c, a_bundle_is_counted_by_its_datagrams);
    tcase_add_test(c, a_worker_that_has_ended_takes_nothing);
    suite_add_tcase(s, c);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
