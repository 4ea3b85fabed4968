/* Connections that are over: what late packets get, and how many of them are remembered. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

static bool is_answered(struct quic_pair *p)
{
    return p->client.last == IO_EOF;
}

static unsigned lost;

static ssize_t lose_three(int fd, const struct msghdr *m, int flags)
{
    return lost++ < 3 ? (ssize_t)m->msg_iov->iov_len : sendmsg(fd, m, flags);
}

/* A slow machine may need more than the time that is right for a fast path. */
static void remember_for_long(struct quic_port *port)
{
    struct quic_ids *ids = container_of(port->late.next, struct quic_ids, node);

    ids->until_ns += 3600 * 1000 * QUIC_MS;
    deadline_set(&port->late_timer, 3600 * 1000);
}

/* The packet that closed it was lost: a late packet gets it again. */
START_TEST(a_lost_farewell)
{
    struct quic_pair p;

    quic_pair_start(&p);
    lost = 0;
    quic_port_set_send(p.server_port, lose_three);
    quic_pair_free_end(&p.server);
    ck_assert_uint_eq(lost, 1);
    ck_assert_uint_eq(p.server_port->late_count, 1);
    remember_for_long(p.server_port);
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, is_answered);
    ck_assert_uint_ge(lost, 4);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->resets_sent, 0);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->unknown, 0);
    quic_pair_close(&p);
}
END_TEST

static bool are_forgotten(struct quic_pair *p)
{
    return p->server_port->late_count == 0 && p->client_port->late_count == 0;
}

/* Both ends forget after a while, with all ids. */
START_TEST(forgotten)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_free_end(&p.server);
    quic_pair_until(&p, is_answered);
    quic_pair_free_end(&p.client);
    ck_assert_uint_eq(p.server_port->late_count, 1);
    ck_assert_uint_eq(p.client_port->late_count, 1);
    ck_assert_uint_gt(p.server_port->routes.count, 2);
    quic_pair_poll(&p, are_forgotten);
    ck_assert_uint_eq(p.server_port->routes.count, 0);
    ck_assert_uint_eq(p.client_port->routes.count, 0);
    quic_pair_close(&p);
}
END_TEST

/* 1, 2, 4, 8 ... are answered. */
START_TEST(answers_get_rarer)
{
    struct quic_datagram d = {.len = 100};
    struct quic_ids *ids;
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    ids = quic_ids_new(NULL);
    ids->farewell = malloc(50);
    memset(ids->farewell, 1, 50);
    ids->farewell_len = 50;
    d.sock = &p.server_port->sockets[0];
    d.peer = p.client_port->sockets[0].bound;
    d.local = p.server_at;
    for (unsigned i = 0; i < 64; i++)
        quic_ids_answer(p.server_port, ids, &d);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->sends, 7);
    /* a forged address gets no more than three times what was sent in its name */
    ids->late_packets = 0;
    d.len = 16;
    quic_ids_answer(p.server_port, ids, &d);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->sends, 7);
    quic_ids_free(p.server_port, ids);
    quic_pair_close(&p);
}
END_TEST

/* The oldest goes, with its ids. */
START_TEST(bounded)
{
    struct quic_pair p;
    uint32_t number;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    for (number = 0; number < QUIC_LATE_MAX + 10; number++) {
        struct quic_ids *ids = quic_ids_new(NULL);

        ck_assert(quic_ids_add(p.server_port, ids, ROUTE_ID, (uint8_t *)&number, sizeof(number)));
        quic_ids_retire(p.server_port, ids, 60u * NGTCP2_SECONDS);
    }
    ck_assert_uint_eq(p.server_port->late_count, QUIC_LATE_MAX);
    ck_assert_uint_eq(p.server_port->routes.count, QUIC_LATE_MAX);
    number = 9;
    ck_assert_ptr_null(
        quic_route_find(&p.server_port->routes, ROUTE_ID, (uint8_t *)&number, sizeof(number)));
    number = 10;
    ck_assert_ptr_nonnull(
        quic_route_find(&p.server_port->routes, ROUTE_ID, (uint8_t *)&number, sizeof(number)));
    quic_pair_close(&p);
}
END_TEST

/* A connection has room for so many ids. */
START_TEST(room)
{
    struct quic_pair p;
    struct quic_ids *ids;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    ids = quic_ids_new(NULL);
    for (uint32_t i = 0; i < QUIC_ROUTES_MAX; i++)
        ck_assert(quic_ids_add(p.server_port, ids, ROUTE_ID, (uint8_t *)&i, sizeof(i)));
    ck_assert(!quic_ids_add(p.server_port, ids, ROUTE_ID, (const uint8_t *)"x", 1));
    quic_ids_remove(p.server_port, ids, ROUTE_ID, (uint8_t *)&(uint32_t){3}, 4);
    ck_assert(quic_ids_add(p.server_port, ids, ROUTE_ID, (const uint8_t *)"x", 1));
    quic_ids_free(p.server_port, ids);
    ck_assert_uint_eq(p.server_port->routes.count, 0);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_ids");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, a_lost_farewell);
    tcase_add_test(all, forgotten);
    tcase_add_test(all, answers_get_rarer);
    tcase_add_test(all, bounded);
    tcase_add_test(all, room);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
