/* A connection's life: handshake, what both ends then know, errors, closing, time. */
#include "quic/quic.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/quic_pair.h"
#include "support/tls_pair.h"

START_TEST(both_ends_agree)
{
    uint8_t a[TLS_EXPORTER_BYTES], b[TLS_EXPORTER_BYTES];
    struct quic_pair p;

    quic_pair_start(&p);
    ck_assert_int_eq(quic_exporter(p.client.q, a), 0);
    ck_assert_int_eq(quic_exporter(p.server.q, b), 0);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert_str_eq(quic_alpn(p.client.q), QUIC_PAIR_ALPN);
    ck_assert_str_eq(quic_alpn(p.server.q), QUIC_PAIR_ALPN);
    ck_assert_str_eq(quic_cipher(p.client.q), "AES-128-GCM");
    ck_assert(addr_is_same(quic_peer(p.client.q), &p.server_at));
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    quic_pair_close(&p);
}
END_TEST

static bool is_client_over(struct quic_pair *p)
{
    return p->client.last == IO_FAIL || p->client.last == IO_EOF;
}

static bool is_server_over(struct quic_pair *p)
{
    return p->server.last == IO_FAIL || p->server.last == IO_EOF;
}

START_TEST(client_closes)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_close(p.client.q, QUIC_CODE_NONE, "enough");
    ck_assert_int_eq(quic_flush(p.client.q), IO_FAIL);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    quic_pair_until(&p, is_server_over);
    ck_assert_int_eq(p.server.last, IO_EOF);
    ck_assert_int_eq(quic_error(p.server.q), -ERR_CLOSED);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.server.q), "enough"));
    quic_pair_close(&p);
}
END_TEST

START_TEST(server_refuses_with_a_code)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_close(p.server.q, QUIC_CODE_REFUSED, "not you");
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(p.client.last, IO_EOF);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "code 2: not you"));
    quic_pair_close(&p);
}
END_TEST

/* Freeing closes: the peer need not wait for its idle timeout. */
START_TEST(freeing_closes)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_free_end(&p.server);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(p.client.last, IO_EOF);
    quic_pair_close(&p);
}
END_TEST

/* Before the handshake is done there is nobody to tell the reason to, but an end it is. */
START_TEST(closing_early)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_close(p.client.q, QUIC_CODE_NONE, "");
    ck_assert_int_eq(quic_flush(p.client.q), IO_FAIL);
    quic_pair_close(&p);
}
END_TEST

#define IDLE_MS 4000u /* a test that is held up for less is not idle */

/* The other machine is gone: no packet of it comes any more, not even an ICMP. */
static ssize_t send_nothing(int fd, const struct msghdr *m, int flags)
{
    (void)fd;
    (void)flags;
    return (ssize_t)m->msg_iov->iov_len;
}

START_TEST(peer_vanishes)
{
    struct quic_pair p;
    uint64_t begin_ms;

    quic_pair_begin(&p);
    p.params.idle_ms = IDLE_MS;
    p.params.keep_alive_ms = 200;
    begin_ms = clock_now_us() / 1000;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_port_set_send(p.server_port, send_nothing);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(p.client.last, IO_FAIL);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_TIMEOUT);
    ck_assert_uint_ge(clock_now_us() / 1000 - begin_ms, IDLE_MS - 200);
    quic_pair_close(&p);
}
END_TEST

static bool is_old(struct quic_pair *p)
{
    return p->client.wakes + p->server.wakes > 30;
}

/* Keep-alives hold an idle connection well beyond its timeout. */
START_TEST(keep_alive)
{
    struct quic_pair p;
    uint64_t begin_ms;

    quic_pair_begin(&p);
    p.params.idle_ms = IDLE_MS;
    p.params.keep_alive_ms = 100;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    begin_ms = clock_now_us() / 1000;
    do {
        p.client.wakes = p.server.wakes = 0;
        quic_pair_until(&p, is_old);
    } while (clock_now_us() / 1000 - begin_ms < 2 * IDLE_MS);
    ck_assert(quic_pair_is_secure(&p));
    quic_pair_close(&p);
}
END_TEST

/* Nobody answers: the handshake has a time of its own. */
START_TEST(handshake_times_out)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.handshake_ms = 300;
    quic_pair_open(&p);
    quic_port_set_send(p.server_port, send_nothing);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "handshake"));
    quic_pair_until(&p, is_server_over);
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    quic_pair_close(&p);
}
END_TEST

static bool is_accepted(struct quic_pair *p)
{
    return p->accepted > 0;
}

START_TEST(unvalidated_are_counted)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_port_set_send(p.server_port, send_nothing);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_accepted);
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 1);
    quic_pair_free_end(&p.server);
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    quic_pair_close(&p);
}
END_TEST

static bool has_server_got_all(struct quic_pair *p)
{
    return p->server.streams[0].is_fin;
}

static bool has_migrated(struct quic_pair *p)
{
    struct quic_stats stats;

    quic_stats(p->server.q, &stats);
    return stats.migrations > 0 && has_server_got_all(p);
}

static void move_socket(struct quic_socket *s, int fd)
{
    loop_io_arm(&s->io, 0);
    close(s->fd);
    s->fd = fd;
    loop_io_init(&s->io, s->port->loop, fd, s->io.on_event);
    loop_io_arm(&s->io, LOOP_READ);
}

/* The client's address changes under it, as a NAT would do: the server checks and follows. */
START_TEST(client_moves)
{
    struct quic_pair_stream *s;
    union addr before, bound;
    struct quic_pair p;
    int fd;

    quic_pair_start(&p);
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, has_server_got_all);
    before = *quic_peer(p.server.q);
    bound = p.client_port->sockets[0].bound;
    addr_set_port(&bound, 0);
    ck_assert_int_eq(quic_bind(&bound, 1, &fd, NULL), 0);
    move_socket(&p.client_port->sockets[0], fd);
    s = quic_pair_send(&p.client, 3000000, true);
    p.server.streams[0].is_used = false;
    p.client.streams[0].is_used = false;
    quic_pair_until(&p, has_migrated);
    ck_assert(!addr_is_same(&before, quic_peer(p.server.q)));
    ck_assert_uint_eq(p.server.streams[0].got, s->want);
    ck_assert_uint_eq(p.server.streams[0].bad, 0);
    quic_pair_close(&p);
}
END_TEST

static bool is_mtu_found(struct quic_pair *p)
{
    struct quic_stats stats;

    quic_stats(p->client.q, &stats);
    return stats.mtu == QUIC_PACKET_BYTES && has_server_got_all(p);
}

START_TEST(stats_tell)
{
    struct quic_stats stats;
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_send(&p.client, 2000000, true);
    quic_pair_until(&p, is_mtu_found);
    quic_stats(p.client.q, &stats);
    ck_assert_uint_gt(stats.bytes_out, 2000000);
    ck_assert_uint_gt(stats.packets_out, 30);
    ck_assert_uint_gt(stats.packets_in, 5);
    ck_assert_uint_gt(stats.rtt_us, 0);
    ck_assert_uint_le(stats.min_rtt_us, stats.rtt_us);
    ck_assert_uint_gt(stats.cwnd, 10000);
    ck_assert(stats.has_gso);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_conn");
    TCase *life = tcase_create("life");
    SRunner *runner;
    int failed;

    tcase_add_test(life, both_ends_agree);
    tcase_add_test(life, client_closes);
    tcase_add_test(life, server_refuses_with_a_code);
    tcase_add_test(life, freeing_closes);
    tcase_add_test(life, closing_early);
    tcase_add_test(life, peer_vanishes);
    tcase_add_test(life, keep_alive);
    tcase_add_test(life, handshake_times_out);
    tcase_add_test(life, unvalidated_are_counted);
    tcase_add_test(life, client_moves);
    tcase_add_test(life, stats_tell);
    suite_add_tcase(suite, life);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
