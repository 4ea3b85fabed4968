/* test_edge_worker - edge/edge_worker.h, client.h: where clients go while lanes come, drain and
 * end.  The lanes themselves are in test_edge_lane.c. */
#include <arpa/inet.h>
#include <poll.h>

#include "edge/client.h"
#include "edge_worker_fixture.h"

/* `n` clients dial from there; the kernel deals them out to the workers. */
static void clients_come_from(const char *source, unsigned n)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(source)};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(t.port)};

    for (unsigned i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
        t.clients[t.client_count++] = fd;
    }
}

static void clients_come(unsigned n)
{
    clients_come_from("127.0.0.1", n);
}

/* --- conditions ------------------------------------------------------------------------------- */

static bool streams_are_open(unsigned n)
{
    return t.stream_count == n;
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)counter, memory_order_relaxed);
}

static uint64_t refused(enum edge_refusal why)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < WORKERS; i++)
        n += counted(&t.workers[i].stats.refused[why]);
    return n;
}

static bool are_expired(unsigned n)
{
    return refused(EDGE_REFUSED_HOLD_EXPIRED) == n;
}

static bool are_over_the_limit(unsigned n)
{
    return refused(EDGE_REFUSED_LIMIT_HELD) == n;
}

static bool are_too_many_of_an_address(unsigned n)
{
    return refused(EDGE_REFUSED_LIMIT_ADDRESS) == n;
}

static bool are_held(unsigned n)
{
    return atomic_load(&t.shared.held) == n;
}

static bool clients_are_reset(unsigned n)
{
    unsigned count = 0;

    for (unsigned i = 0; i < t.client_count; i++) {
        struct pollfd at = {.fd = t.clients[i]};

        count += poll(&at, 1, 0) > 0 && (at.revents & POLLERR);
    }
    return count == n;
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(a_worker_without_lane_hands_its_clients_over)
{
    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    clients_come(CLIENTS_MAX);
    UNTIL(streams_are_open, CLIENTS_MAX);
    ck_assert_uint_gt(counted(&t.workers[1].stats.accepted), 0);
    ck_assert_uint_eq(counted(&t.workers[0].stats.accepted) + counted(&t.workers[1].stats.accepted),
                      CLIENTS_MAX);
    ck_assert_uint_eq(counted(&t.workers[0].stats.opened), CLIENTS_MAX);
    stand_down();
}
END_TEST

START_TEST(held_clients_are_opened_when_a_lane_comes)
{
    stand_up(PATIENCE_MS);
    clients_come(10);
    UNTIL(are_held, 10);
    dial(1);
    UNTIL(streams_are_open, 10); /* without a word of the control thread: each tick looks */
    ck_assert_uint_eq(t.shared.held, 0);
    stand_down();
}
END_TEST

START_TEST(more_than_may_wait_are_turned_away)
{
    stand_up(PATIENCE_MS);
    clients_come(CLIENTS_MAX / 2 + 3);
    UNTIL(are_over_the_limit, 3);
    UNTIL(clients_are_reset, 3);
    ck_assert(are_held(CLIENTS_MAX / 2));
    stand_down();
}
END_TEST

/* Whether its worker has a lane or hands them over: and who comes from elsewhere is none the worse.
 */
START_TEST(an_address_has_so_many_and_no_more)
{
    stand_up(PATIENCE_MS);
    t.shared.per_address_max = 4;
    clients_come(6);
    UNTIL(are_too_many_of_an_address, 2);
    ck_assert(are_held(4)); /* those that wait count as well */
    clients_come_from("127.0.0.2", 3);
    UNTIL(are_held, 7);
    dial(0);
    UNTIL(streams_are_open, 7);
    ck_assert_uint_eq(refused(EDGE_REFUSED_LIMIT_ADDRESS), 2);
    clients_come(1);
    UNTIL(are_too_many_of_an_address, 3);
    edge_worker_close_lane(&t.workers[0], 1);
    UNTIL(lanes_are_dead, 1);
    dial(0);
    UNTIL(lanes_are_up, 2);
    clients_come(4); /* those before are gone */
    UNTIL(streams_are_open, 11);
    stand_down();
}
END_TEST

/* Both lanes are up, the hub's deadline to drain has passed, and no successor comes: each worker
 * takes the other for one that has a lane. */
START_TEST(lanes_that_take_no_streams_do_not_keep_clients_for_ever)
{
    stand_up(600);
    dial(0);
    dial(1);
    UNTIL(lanes_are_up, 2);
    for (unsigned i = 0; i < 2; i++)
        link_send_drain(t.lanes[i].link, 0);
    UNTIL(lanes_drain, 2);
    clients_come(8);
    UNTIL(are_expired, 8);
    UNTIL(clients_are_reset, 8);
    ck_assert_uint_eq(t.stream_count, 0);
    ck_assert_uint_eq(t.shared.held, 0);
    stand_down();
}
END_TEST

START_TEST(a_lane_told_to_close_is_gone_and_its_clients_with_it)
{
    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    clients_come(5);
    UNTIL(streams_are_open, 5);
    edge_worker_close_lane(&t.workers[0], 12345); /* nobody's */
    edge_worker_close_lane(&t.workers[0], 1);
    UNTIL(lanes_are_dead, 1);
    UNTIL(clients_are_reset, 5);
    clients_come(1);
    UNTIL(are_held, 1);
    edge_worker_flush_held(&t.workers[0], true);
    edge_worker_flush_held(&t.workers[1], true);
    UNTIL(clients_are_reset, 6);
    stand_down();
}
END_TEST

/* Clients that wait and clients that relay, lanes that are up and one that is dialled, messages
 * under way. */
START_TEST(the_end_gives_everything_back)
{
    stand_up(PATIENCE_MS);
    clients_come(4);
    UNTIL(are_held, 4);
    dial(0);
    UNTIL(streams_are_open, 4);
    t.lanes[0].stream_count = 4;
    dial(1);
    clients_come(4);
    edge_worker_close_port(&t.workers[1], PORT_TCP, t.port);
    edge_worker_send_config_ack(&t.workers[0], 1, "{}");
    workers_down();
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_worker");
    TCase *c = tcase_create("worker");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_worker_without_lane_hands_its_clients_over);
    tcase_add_test(c, held_clients_are_opened_when_a_lane_comes);
    tcase_add_test(c, more_than_may_wait_are_turned_away);
    tcase_add_test(c, an_address_has_so_many_and_no_more);
    tcase_add_test(c, lanes_that_take_no_streams_do_not_keep_clients_for_ever);
    tcase_add_test(c, a_lane_told_to_close_is_gone_and_its_clients_with_it);
    tcase_add_test(c, the_end_gives_everything_back);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
