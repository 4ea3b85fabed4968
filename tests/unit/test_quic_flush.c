/* Streams and datagrams: all of what quic_flush() makes packets of, and what the other end gets. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

#define BULK 10000000u

static bool is_all_closed(struct quic_pair *p)
{
    bool is_any = false;

    for (unsigned i = 0; i < QUIC_PAIR_STREAMS; i++) {
        if (p->client.streams[i].is_used != p->server.streams[i].is_used)
            return false;
        if (!p->client.streams[i].is_used)
            continue;
        is_any = true;
        if (!p->client.streams[i].is_closed || !p->server.streams[i].is_closed)
            return false;
    }
    return is_any;
}

static void check_whole(const struct quic_pair_stream *from, const struct quic_pair_stream *to)
{
    ck_assert_uint_eq(from->sent, from->want);
    ck_assert_uint_eq(from->acked, from->want);
    ck_assert_uint_eq(to->got, from->want);
    ck_assert_uint_eq(to->bad, 0);
    ck_assert(to->is_fin && !to->is_reset);
}

START_TEST(ten_megabytes_each_way)
{
    struct quic_pair_stream *up, *down;
    struct quic_pair p;

    quic_pair_start(&p);
    up = quic_pair_send(&p.client, BULK, true);
    down = quic_pair_stream(&p.server, up->id);
    down->want = BULK;
    down->has_fin = true;
    quic_pair_until(&p, is_all_closed);
    check_whole(up, down);
    check_whole(down, up);
    quic_pair_close(&p);
}
END_TEST

static bool has_server_fin(struct quic_pair *p)
{
    return p->server.streams[0].is_fin;
}

/* The client's half ends; the server still answers. */
START_TEST(half_close)
{
    struct quic_pair_stream *c, *s;
    struct quic_pair p;

    quic_pair_start(&p);
    c = quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, has_server_fin);
    s = &p.server.streams[0];
    ck_assert_uint_eq(s->got, 1000);
    ck_assert(!c->is_closed && !s->is_closed);
    s->want = 70000;
    quic_pair_wake(&p.server);
    s->has_fin = true;
    quic_pair_until(&p, is_all_closed);
    check_whole(c, s);
    check_whole(s, c);
    quic_pair_close(&p);
}
END_TEST

/* An empty stream is one too. */
START_TEST(empty_with_fin)
{
    struct quic_pair_stream *s;
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_send(&p.client, 0, true);
    quic_pair_until(&p, has_server_fin);
    s = &p.server.streams[0];
    s->has_fin = true;
    quic_pair_wake(&p.server);
    quic_pair_until(&p, is_all_closed);
    ck_assert_uint_eq(s->got, 0);
    quic_pair_close(&p);
}
END_TEST

static bool is_server_started(struct quic_pair *p)
{
    return p->server.streams[0].got > 0;
}

static bool is_first_closed(struct quic_pair *p)
{
    return p->client.streams[0].is_closed && p->server.streams[0].is_closed;
}

/* The opener gives up, both directions: the other end hears it with its code. */
START_TEST(client_shuts_down)
{
    struct quic_pair_stream *c, *s;
    struct quic_pair p;

    quic_pair_start(&p);
    c = quic_pair_send(&p.client, 500000, false);
    quic_pair_until(&p, is_server_started);
    s = &p.server.streams[0];
    s->want = BULK; /* the server is sending as well */
    quic_pair_wake(&p.server);
    quic_shutdown(p.client.q, c->id, 1);
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_first_closed);
    ck_assert(s->is_reset);
    ck_assert_uint_eq(s->reset_code, 1);
    ck_assert(s->is_stopped);
    ck_assert_uint_eq(s->stop_code, 1);
    ck_assert_uint_lt(s->acked, BULK);
    ck_assert_uint_eq(s->bad, 0);
    ck_assert_int_eq(quic_error(p.server.q), 0);
    quic_pair_close(&p);
}
END_TEST

START_TEST(server_shuts_down)
{
    struct quic_pair_stream *c;
    struct quic_pair p;

    quic_pair_start(&p);
    c = quic_pair_send(&p.client, BULK, true);
    quic_pair_until(&p, is_server_started);
    quic_shutdown(p.server.q, c->id, 3);
    quic_pair_wake(&p.server);
    quic_pair_until(&p, is_first_closed);
    ck_assert(c->is_reset && c->is_stopped && c->is_gone);
    ck_assert_uint_eq(c->reset_code, 3);
    ck_assert_uint_eq(c->stop_code, 3);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    quic_shutdown(p.server.q, c->id, 3); /* gone: nothing happens */
    quic_credit(p.server.q, c->id, 3);
    quic_set_user(p.server.q, c->id, NULL);
    quic_pair_close(&p);
}
END_TEST

/* Only STOP_SENDING is left to say for an end that has sent its FIN. */
START_TEST(stop_after_fin)
{
    struct quic_pair_stream *c, *s;
    struct quic_pair p;

    quic_pair_start(&p);
    c = quic_pair_send(&p.client, 100, true);
    quic_pair_until(&p, has_server_fin);
    s = &p.server.streams[0];
    s->want = BULK;
    p.client.is_withholding = true;
    quic_pair_wake(&p.server);
    quic_shutdown(p.client.q, c->id, 1);
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_first_closed);
    ck_assert(!s->is_reset);
    ck_assert(s->is_stopped);
    ck_assert_uint_eq(s->stop_code, 1);
    quic_pair_close(&p);
}
END_TEST

static bool is_client_blocked(struct quic_pair *p)
{
    return p->client.streams[0].is_blocked && p->server.streams[0].got == p->params.stream_window;
}

static bool is_second_acked(struct quic_pair *p)
{
    return p->client.streams[1].acked == p->client.streams[1].want;
}

static bool is_all_acked(struct quic_pair *p)
{
    return p->client.streams[0].acked == p->client.streams[0].want;
}

/* A reader that takes nothing holds its own stream and no other. */
START_TEST(credit_stops_the_sender)
{
    struct quic_pair_stream *c, *other;
    struct quic_pair p;

    quic_pair_start(&p);
    p.server.is_withholding = true;
    c = quic_pair_send(&p.client, 1000000, true);
    quic_pair_until(&p, is_client_blocked);
    ck_assert_uint_eq(c->sent, p.params.stream_window);
    other = quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, is_second_acked);
    ck_assert_uint_eq(other->acked, 1000);
    ck_assert_uint_eq(c->sent, p.params.stream_window);
    p.server.is_withholding = false;
    quic_credit(p.server.q, c->id, p.params.stream_window);
    quic_pair_wake(&p.server);
    quic_pair_until(&p, is_all_acked);
    ck_assert_uint_gt(c->credit_upto, p.params.stream_window);
    ck_assert_uint_eq(p.server.streams[0].got, 1000000);
    ck_assert_uint_eq(p.server.streams[0].bad, 0);
    quic_pair_close(&p);
}
END_TEST

static bool are_datagrams_there(struct quic_pair *p)
{
    return p->server.datagrams_got > 0 && p->client.datagrams_got > 0 &&
           p->client.datagrams_sent + p->client.datagrams_too_big == p->client.datagrams_to_send &&
           p->server.datagrams_sent == p->server.datagrams_to_send;
}

START_TEST(datagrams_both_ways)
{
    struct quic_pair p;

    quic_pair_start(&p);
    ck_assert_uint_ge(quic_datagram_max(p.client.q), 1100);
    p.client.datagrams_to_send = 2000;
    p.server.datagrams_to_send = 1500;
    quic_pair_wake(&p.client);
    quic_pair_wake(&p.server);
    quic_pair_until(&p, are_datagrams_there);
    ck_assert_uint_eq(p.client.datagrams_bad + p.server.datagrams_bad, 0);
    ck_assert_uint_eq(p.client.datagrams_too_big, 0);
    quic_pair_close(&p);
}
END_TEST

static bool is_one_datagram_there(struct quic_pair *p)
{
    return p->server.datagrams_got == 1;
}

/* The largest goes through, a byte more is refused, and what comes behind it is not held up. */
START_TEST(largest_datagram)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_pair_dial(&p);
    ck_assert_uint_eq(quic_datagram_max(p.client.q), 0);
    quic_pair_until(&p, quic_pair_is_secure);
    p.client.datagram_len = quic_datagram_max(p.client.q);
    p.client.datagrams_to_send = 1;
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_one_datagram_there);
    ck_assert_uint_eq(p.client.datagrams_too_big, 0);
    p.client.datagram_len = 65500;
    p.client.datagrams_to_send = 2;
    p.server.datagrams_got = 0;
    quic_pair_send(&p.client, 10, true);
    quic_pair_until(&p, has_server_fin);
    ck_assert_uint_eq(p.client.datagrams_too_big, 1);
    ck_assert_uint_eq(p.server.datagrams_got, 0);
    quic_pair_close(&p);
}
END_TEST

static bool is_path_large(struct quic_pair *p)
{
    return quic_datagram_max(p->client.q) > 60000;
}

/* And when path MTU discovery has found a large path. */
START_TEST(largest_datagram_of_a_large_path)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_until(&p, is_path_large);
    p.client.datagram_len = quic_datagram_max(p.client.q);
    p.client.datagrams_to_send = 1;
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_one_datagram_there);
    ck_assert_uint_eq(p.server.datagrams_bad, 0);
    quic_pair_close(&p);
}
END_TEST

static bool has_uni_fin(struct quic_pair *p)
{
    return p->server.streams[0].is_fin && p->client.streams[0].acked == 300000;
}

START_TEST(one_way)
{
    struct quic_pair_stream *c;
    struct quic_pair p;
    int64_t id;

    quic_pair_start(&p);
    ck_assert_int_eq(quic_open_uni(p.client.q, &id, NULL), 0);
    c = quic_pair_stream(&p.client, id);
    quic_set_user(p.client.q, id, c);
    c->is_there = true;
    c->want = 300000;
    c->has_fin = true;
    quic_pair_wake(&p.client);
    quic_pair_until(&p, has_uni_fin);
    check_whole(c, &p.server.streams[0]);
    quic_pair_close(&p);
}
END_TEST

/* What a closed stream leaves is room for another: more streams than the limit, one by one. */
START_TEST(streams_are_replenished)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.streams_bidi = 3;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    for (unsigned i = 0; i < 40; i++) {
        struct quic_pair_stream *c = quic_pair_send(&p.client, 100 + i, true), *s;

        s = quic_pair_stream(&p.server, c->id);
        s->has_fin = true;
        quic_pair_until(&p, is_all_closed);
        check_whole(c, s);
        c->is_used = s->is_used = false;
    }
    quic_pair_close(&p);
}
END_TEST

static bool is_server_closed_by(struct quic_pair *p)
{
    return p->server.last == IO_FAIL && p->client.last == IO_EOF;
}

/* The owner says that the bytes are nonsense. */
START_TEST(bytes_refused)
{
    struct quic_pair p;

    quic_pair_start(&p);
    p.server.is_picky = true;
    quic_pair_send(&p.client, 10, false);
    quic_pair_until(&p, is_server_closed_by);
    ck_assert_int_eq(quic_error(p.server.q), -ERR_PROTO);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_CLOSED);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "code 1"));
    quic_pair_close(&p);
}
END_TEST

START_TEST(bbr_moves_as_well)
{
    struct quic_pair_stream *up, *down;
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.congestion = QUIC_BBR;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    up = quic_pair_send(&p.client, BULK, true);
    down = quic_pair_stream(&p.server, up->id);
    down->has_fin = true;
    quic_pair_until(&p, is_all_closed);
    check_whole(up, down);
    quic_pair_close(&p);
}
END_TEST

/* Every tenth packet is lost, either way: what arrives is whole all the same. */
static unsigned lossy_count;

static ssize_t send_lossy(int fd, const struct msghdr *m, int flags)
{
    size_t n = m->msg_iov->iov_len;

    return ++lossy_count % 10 == 0 ? (ssize_t)n : sendmsg(fd, m, flags);
}

START_TEST(loss)
{
    struct quic_pair_stream *up, *down;
    struct quic_stats stats;
    struct quic_pair p;

    quic_pair_start(&p);
    quic_port_set_send(p.client_port, send_lossy);
    quic_port_set_send(p.server_port, send_lossy);
    up = quic_pair_send(&p.client, 1000000, true);
    down = quic_pair_stream(&p.server, up->id);
    down->want = 1000000;
    down->has_fin = true;
    quic_pair_until(&p, is_all_closed);
    check_whole(up, down);
    check_whole(down, up);
    quic_stats(p.client.q, &stats);
    ck_assert_uint_gt(stats.packets_lost, 0);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_flush");
    TCase *streams = tcase_create("streams");
    TCase *datagrams = tcase_create("datagrams");
    SRunner *runner;
    int failed;

    tcase_add_test(streams, ten_megabytes_each_way);
    tcase_add_test(streams, half_close);
    tcase_add_test(streams, empty_with_fin);
    tcase_add_test(streams, client_shuts_down);
    tcase_add_test(streams, server_shuts_down);
    tcase_add_test(streams, stop_after_fin);
    tcase_add_test(streams, credit_stops_the_sender);
    tcase_add_test(streams, one_way);
    tcase_add_test(streams, streams_are_replenished);
    tcase_add_test(streams, bytes_refused);
    tcase_add_test(streams, bbr_moves_as_well);
    tcase_add_test(streams, loss);
    tcase_add_test(datagrams, datagrams_both_ways);
    tcase_add_test(datagrams, largest_datagram);
    tcase_add_test(datagrams, largest_datagram_of_a_large_path);
    suite_add_tcase(suite, streams);
    suite_add_tcase(suite, datagrams);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
