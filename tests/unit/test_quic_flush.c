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

int main(void)
{
    Suite *suite = suite_create("quic_flush");
    TCase *streams = tcase_create("streams");
    SRunner *runner;
    int failed;

    tcase_add_test(streams, ten_megabytes_each_way);
    tcase_add_test(streams, half_close);
    tcase_add_test(streams, empty_with_fin);
    suite_add_tcase(suite, streams);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
