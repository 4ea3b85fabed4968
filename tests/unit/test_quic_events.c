/* What an owner may do from within the callbacks: give credit, shut streams down, close. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

static struct quic_ops ops; /* the pair's, with some of them replaced */
static unsigned calls;

static bool is_client_over(struct quic_pair *p)
{
    return p->client.last == IO_EOF || p->client.last == IO_FAIL;
}

static bool is_server_over(struct quic_pair *p)
{
    return is_client_over(p) && (p->server.last == IO_FAIL || p->server.last == IO_EOF);
}

/* Nothing comes behind it, though the packet has more. */
static int close_on_data(struct quic *q, int64_t id, void *user, const uint8_t *bytes, size_t n,
                         bool is_fin)
{
    (void)id;
    (void)user;
    (void)bytes;
    (void)n;
    (void)is_fin;
    ck_assert_uint_eq(calls++, 0);
    quic_close(q, QUIC_CODE_REFUSED, "no");
    quic_close(q, QUIC_CODE_NONE, "a second time");
    return 0;
}

START_TEST(closing_inside)
{
    struct quic_pair p;

    quic_pair_start(&p);
    ops = quic_pair_ops;
    ops.on_data = close_on_data;
    calls = 0;
    quic_own(p.server.q, &ops, &p.server);
    for (unsigned i = 0; i < 5; i++) /* one packet with frames of five streams */
        quic_pair_send(&p.client, 10, true);
    quic_pair_until(&p, is_server_over);
    ck_assert_uint_eq(calls, 1);
    ck_assert_int_eq(p.server.last, IO_FAIL);
    ck_assert_int_eq(quic_error(p.server.q), 0);
    ck_assert_int_eq(p.client.last, IO_EOF);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "code 2: no"));
    quic_pair_close(&p);
}
END_TEST

static void close_on_datagram(struct quic *q, const uint8_t *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    calls++;
    quic_close(q, QUIC_CODE_NONE, "");
}

START_TEST(closing_on_a_datagram)
{
    struct quic_pair p;

    quic_pair_start(&p);
    ops = quic_pair_ops;
    ops.on_datagram = close_on_datagram;
    calls = 0;
    quic_own(p.server.q, &ops, &p.server);
    p.client.datagram_len = 20;
    p.client.datagrams_to_send = 10;
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_client_over);
    ck_assert_uint_eq(calls, 1);
    ck_assert_int_eq(p.client.last, IO_EOF);
    quic_pair_close(&p);
}
END_TEST

/* From within the asking for pieces too. */
static bool close_on_next(struct quic *q, struct quic_piece *piece)
{
    (void)piece;
    calls++;
    quic_close(q, QUIC_CODE_REFUSED, "no more");
    return false;
}

START_TEST(closing_while_writing)
{
    struct quic_pair p;

    quic_pair_start(&p);
    ops = quic_pair_ops;
    ops.next = close_on_next;
    calls = 0;
    quic_own(p.server.q, &ops, &p.server);
    quic_pair_wake(&p.server);
    quic_pair_until(&p, is_client_over);
    ck_assert_uint_eq(calls, 1);
    ck_assert_int_eq(quic_flush(p.server.q), IO_FAIL);
    ck_assert_int_eq(p.client.last, IO_EOF);
    quic_pair_close(&p);
}
END_TEST

static bool is_opened(struct quic_pair *p)
{
    return p->server.opened == 2;
}

/* Both kinds are told of before there is any byte of them. */
START_TEST(a_stream_is_told_of_by_its_first_frame)
{
    struct quic_pair p;
    int64_t bidi, uni;

    quic_pair_start(&p);
    ck_assert_int_eq(quic_open(p.client.q, &bidi, quic_pair_stream(&p.client, 0)), 0);
    ck_assert_int_eq(quic_open_uni(p.client.q, &uni, quic_pair_stream(&p.client, 2)), 0);
    quic_credit(p.client.q, bidi, 256u << 10);
    quic_shutdown(p.client.q, uni, 1);
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_opened);
    ck_assert_uint_eq(p.server.streams[0].got + p.server.streams[1].got, 0);
    ck_assert_uint_eq(p.client.opened, 0);
    quic_pair_close(&p);
}
END_TEST

static void shut_on_open(struct quic *q, int64_t id)
{
    calls++;
    quic_shutdown(q, id, 3);
}

static bool is_refused(struct quic_pair *p)
{
    return p->client.streams[0].is_closed && p->client.streams[1].is_closed;
}

/* Then none of its bytes comes. */
START_TEST(shutting_down_what_was_opened_just_now)
{
    struct quic_pair p;

    quic_pair_start(&p);
    ops = quic_pair_ops;
    ops.on_open = shut_on_open;
    calls = 0;
    quic_own(p.server.q, &ops, &p.server);
    quic_pair_send(&p.client, 1000000, true);
    quic_pair_send(&p.client, 10, true);
    quic_pair_until(&p, is_refused);
    ck_assert_uint_eq(calls, 2);
    ck_assert_uint_eq(p.client.streams[0].reset_code, 3);
    ck_assert_uint_eq(p.server.streams[0].got + p.server.streams[1].got, 0);
    quic_pair_close(&p);
}
END_TEST

static int shut_on_data(struct quic *q, int64_t id, void *user, const uint8_t *bytes, size_t n,
                        bool is_fin)
{
    (void)user;
    (void)bytes;
    (void)is_fin;
    calls++;
    quic_credit(q, id, n);
    quic_shutdown(q, id, 3);
    return 0;
}

static bool is_stopped(struct quic_pair *p)
{
    return p->client.streams[0].is_closed;
}

static bool is_second_whole(struct quic_pair *p)
{
    return p->client.streams[1].acked == 1000;
}

START_TEST(shutting_down_inside)
{
    struct quic_pair_stream *c;
    struct quic_pair p;

    quic_pair_start(&p);
    ops = quic_pair_ops;
    ops.on_data = shut_on_data;
    calls = 0;
    quic_own(p.server.q, &ops, &p.server);
    c = quic_pair_send(&p.client, 1000000, true);
    quic_pair_until(&p, is_stopped);
    ck_assert(c->is_reset && c->is_stopped);
    ck_assert_uint_eq(c->stop_code, 3);
    ck_assert_uint_lt(c->acked, 1000000);
    quic_own(p.server.q, &quic_pair_ops, &p.server);
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, is_second_whole);
    quic_pair_close(&p);
}
END_TEST

/* The ids of a live connection are known, as many as the peer may use; closing takes them back. */
START_TEST(ids_come_and_go)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_uint_ge(p.server_port->routes.count, 3);
    ck_assert_uint_le(p.server_port->routes.count, QUIC_ROUTES_MAX);
    quic_pair_free_end(&p.server);
    quic_pair_free_end(&p.client);
    quic_ids_fini(p.server_port);
    quic_ids_fini(p.client_port);
    ck_assert_uint_eq(p.server_port->routes.count, 0);
    ck_assert_uint_eq(p.client_port->routes.count, 0);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_events");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, closing_inside);
    tcase_add_test(all, closing_on_a_datagram);
    tcase_add_test(all, closing_while_writing);
    tcase_add_test(all, a_stream_is_told_of_by_its_first_frame);
    tcase_add_test(all, shutting_down_what_was_opened_just_now);
    tcase_add_test(all, shutting_down_inside);
    tcase_add_test(all, ids_come_and_go);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
