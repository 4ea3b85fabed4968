/* Retry and its tokens, stateless resets. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

START_TEST(a_client_comes_back)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.verdict = QUIC_RETRY;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_uint_eq(p.initials, 2);
    ck_assert_uint_eq(p.validated, 1);
    ck_assert_uint_eq(p.accepted, 1);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->retries, 1);
    quic_pair_close(&p);
}
END_TEST

static bool is_client_over(struct quic_pair *p)
{
    return p->client.last == IO_FAIL || p->client.last == IO_EOF;
}

/* A Retry for one that has proved its address is no answer: it is taken. */
START_TEST(never_twice)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.verdict = p.validated_verdict = QUIC_RETRY;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->retries, 1);
    quic_pair_close(&p);
}
END_TEST

/* Between the two Initials the key changes, as with a server that has another one. */
static struct quic_port *bent_port;

static ssize_t send_and_change_key(int fd, const struct msghdr *m, int flags)
{
    bent_port->retry_key[0] ^= 1;
    return sendmsg(fd, m, flags);
}

START_TEST(a_token_of_somebody_else)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.verdict = QUIC_RETRY;
    quic_pair_open(&p);
    bent_port = p.server_port;
    quic_port_set_send(p.server_port, send_and_change_key);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "0xb")); /* INVALID_TOKEN */
    ck_assert_uint_eq(p.accepted, 0);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->refused, 1);
    quic_pair_close(&p);
}
END_TEST

/* The server's process is started again on its address, with the keys that it keeps. */
START_TEST(a_server_that_forgot)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_port_set_send(p.server_port, NULL);
    /* it dies without a word */
    p.server.q->state = CONN_OVER;
    quic_ids_free(p.server_port, p.server.q->ids);
    p.server.q->ids = NULL;
    quic_pair_free_end(&p.server);
    quic_port_free(p.server_port);
    p.server_port = quic_pair_new_server_port(&p, &p.server_at);
    quic_pair_send(&p.client, 5000, true);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_RESET);
    ck_assert_uint_ge(quic_port_stats(p.server_port)->resets_sent, 1);
    quic_pair_close(&p);
}
END_TEST

/* The client's last packets were small ones: it looks for no larger MTU any more. */
static bool is_client_idle(struct quic_pair *p)
{
    static uint64_t packets, bytes, small;
    const struct quic_stats *s = &p->client.q->stats;

    if (s->packets_out != packets) {
        bool are_small = s->bytes_out - bytes <= 40 * (s->packets_out - packets);

        small = are_small ? small + 1 : 0;
        packets = s->packets_out;
        bytes = s->bytes_out;
    }
    return small >= 8;
}

/* Nothing but the PING that keeps an idle connection alive comes to the new process. */
START_TEST(an_idle_client_is_told)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.keep_alive_ms = 100;
    p.params.idle_ms = 60000;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_pair_poll(&p, is_client_idle);
    p.server.q->state = CONN_OVER;
    quic_ids_free(p.server_port, p.server.q->ids);
    p.server.q->ids = NULL;
    quic_pair_free_end(&p.server);
    quic_port_free(p.server_port);
    p.server_port = quic_pair_new_server_port(&p, &p.server_at);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_RESET);
    quic_pair_close(&p);
}
END_TEST

/* The second has no reset left: nothing is sent.  Anew where the second was over meanwhile. */
static void use_up_resets(struct quic_pair *p, const uint8_t *packet, size_t n)
{
    const struct quic_port_stats *stats = quic_port_stats(p->server_port);
    uint64_t sent, unknown, began_us;
    uint8_t answer[300];
    unsigned tries = 0;

    do {
        sent = stats->resets_sent;
        unknown = stats->unknown;
        began_us = clock_now_us();
        p->server_port->resets_since_ns = quic_now(p->server_port);
        p->server_port->resets_count = QUIC_RESETS_PER_SEC;
        quic_pair_raw_send(p, packet, n);
        (void)quic_pair_raw_recv(p, answer, sizeof(answer));
        ck_assert_uint_eq(stats->unknown, unknown + 1);
    } while (stats->resets_sent != sent && clock_now_us() - began_us > 900000 && ++tries < 10);
    ck_assert_uint_eq(stats->resets_sent, sent);
}

/* Shorter than what it answers, down to nothing; and not without end. */
START_TEST(resets_are_bounded)
{
    uint8_t packet[200] = {0x40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, answer[300];
    struct quic_pair p;
    unsigned answers = 0;
    uint64_t sent;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    for (size_t n = 13; n <= sizeof(packet); n++) {
        size_t got;

        quic_pair_raw_send(&p, packet, n);
        got = quic_pair_raw_recv(&p, answer, sizeof(answer));
        ck_assert(got == 0 || (got < n && got >= 21));
        ck_assert_int_eq(got > 0, n >= 23);
        answers += got > 0;
    }
    ck_assert_uint_gt(answers, 100);
    sent = quic_port_stats(p.server_port)->resets_sent;
    ck_assert_uint_eq(sent, answers);
    use_up_resets(&p, packet, sizeof(packet));
    p.server_port->resets_since_ns -= 1000000000u; /* the next second */
    quic_pair_raw_send(&p, packet, sizeof(packet));
    ck_assert_uint_gt(quic_pair_raw_recv(&p, answer, sizeof(answer)), 0);
    quic_pair_close(&p);
}
END_TEST

/* RFC 9000, 21.11: another worker may know it well. */
START_TEST(no_reset_for_an_id_of_another_worker)
{
    uint8_t packet[100] = {0x40, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, answer[300];
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    p.server_port->count = 2;
    quic_pair_raw_send(&p, packet, sizeof(packet));
    ck_assert_uint_gt(quic_pair_raw_recv(&p, answer, sizeof(answer)), 0);
    packet[1] = 1;
    quic_pair_raw_send(&p, packet, sizeof(packet));
    ck_assert_uint_eq(quic_pair_raw_recv(&p, answer, sizeof(answer)), 0);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->unknown, 2);
    p.server_port->count = 1;
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_retry");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, a_client_comes_back);
    tcase_add_test(all, never_twice);
    tcase_add_test(all, a_token_of_somebody_else);
    tcase_add_test(all, a_server_that_forgot);
    tcase_add_test(all, an_idle_client_is_told);
    tcase_add_test(all, resets_are_bounded);
    tcase_add_test(all, no_reset_for_an_id_of_another_worker);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
