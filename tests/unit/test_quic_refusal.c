/* What the network says of a client's packets: an attempt ends by it, a connection only when its
 * peer is silent as well. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/quic_pair.h"

static bool is_client_over(struct quic_pair *p)
{
    return quic_error(p->client.q) != 0;
}

static bool was_told(struct quic_pair *p)
{
    return quic_port_stats(p->client_port)->refusals_ignored > 0;
}

/* A number that nobody has. */
static void close_server(struct quic_pair *p)
{
    quic_port_free(p->server_port);
    p->server_port = NULL;
}

START_TEST(an_attempt_ends_at_once)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    close_server(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_CONNECT); /* by its time it would be a timeout */
    ck_assert_uint_eq(quic_port_stats(p.client_port)->refusals, 1);
    quic_pair_close(&p);
}
END_TEST

static ssize_t swallow(int fd, const struct msghdr *m, int flags)
{
    (void)fd, (void)flags;
    return (ssize_t)m->msg_iov->iov_len;
}

/* The server's socket is gone: its number is nobody's, and it says no more. */
static void take_number(struct quic_pair *p)
{
    struct quic_socket *s = &p->server_port->sockets[0];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    ck_assert_int_ge(fd, 0);
    loop_io_arm(&s->io, 0);
    ck_assert_int_eq(dup2(fd, s->fd), s->fd);
    close(fd);
    quic_port_set_send(p->server_port, swallow);
}

static void give_number(struct quic_pair *p)
{
    struct quic_socket *s = &p->server_port->sockets[0];

    ck_assert_int_eq(bind(s->fd, &p->server_at.sa, addr_len(&p->server_at)), 0);
    quic_port_set_send(p->server_port, NULL);
    loop_io_arm(&s->io, LOOP_READ);
}

static void pair_up(struct quic_pair *p)
{
    quic_pair_begin(p);
    p->params.idle_ms = 60000; /* else it ends by that */
    quic_pair_open(p);
    quic_pair_dial(p);
    quic_pair_until(p, quic_pair_is_secure);
}

START_TEST(a_connection_ends_when_its_peer_is_silent_too)
{
    struct quic_pair p;
    uint64_t took_us;

    pair_up(&p);
    take_number(&p);
    took_us = clock_now_us();
    quic_pair_send(&p.client, 1000, false);
    quic_pair_poll(&p, was_told);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    ck_assert(quic_is_secure(p.client.q));
    quic_pair_until(&p, is_client_over);
    took_us = clock_now_us() - took_us;
    ck_assert_int_eq(quic_error(p.client.q), -ERR_CONNECT);
    ck_assert_uint_ge(took_us, 900000);
    ck_assert_uint_lt(took_us, 20000000);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->refusals, 1);
    quic_pair_close(&p);
}
END_TEST

static bool is_trusted(struct quic_pair *p)
{
    return p->client.q->suspicion.until_ns == 0;
}

static bool is_trusted_or_over(struct quic_pair *p)
{
    return is_trusted(p) || is_client_over(p);
}

/* False: this machine was held up for the second that a peer has to answer. */
static bool goes_on(struct quic_pair *p)
{
    uint64_t since_us;
    bool was_held_up;

    pair_up(p);
    since_us = clock_now_us();
    take_number(p);
    quic_pair_send(&p->client, 1000, false);
    quic_pair_poll(p, was_told);
    ck_assert(!is_trusted(p));
    give_number(p);
    quic_pair_poll(p, is_trusted_or_over);
    was_held_up = clock_now_us() - since_us > 900000;
    ck_assert(quic_error(p->client.q) == 0 || was_held_up);
    return quic_error(p->client.q) == 0;
}

START_TEST(a_connection_goes_on_when_its_peer_answers)
{
    struct quic_pair p;
    unsigned tries = 1;
    uint64_t pings;

    while (!goes_on(&p)) {
        ck_assert_uint_lt(tries++, 5);
        quic_pair_close(&p);
    }
    ck_assert_uint_eq(quic_port_stats(p.client_port)->refusals, 0);
    pings = p.client.q->stats.packets_out;
    ck_assert_uint_lt(pings, 60); /* it is asked, not flooded */
    quic_pair_close(&p);
}
END_TEST

/* The id that it went to is not in it, though the addresses are right. */
static ssize_t send_another_short_id(int fd, const struct msghdr *m, int flags)
{
    uint8_t *bytes = m->msg_iov->iov_base;

    memset(bytes + 1, 0, 8); /* what is sent again stays so */
    return sendmsg(fd, m, flags);
}

START_TEST(a_word_that_does_not_quote_it_raises_no_suspicion)
{
    struct quic_pair p;

    pair_up(&p);
    quic_port_set_send(p.client_port, send_another_short_id);
    take_number(&p);
    quic_pair_send(&p.client, 1000, false);
    quic_pair_poll(&p, was_told);
    ck_assert(is_trusted(&p));
    ck_assert_int_eq(quic_error(p.client.q), 0);
    quic_pair_close(&p);
}
END_TEST

/* The id that it went to is not in it: anybody could have sent it. */
static ssize_t send_another_id(int fd, const struct msghdr *m, int flags)
{
    uint8_t *bytes = m->msg_iov->iov_base;

    bytes[6] ^= 1;
    return sendmsg(fd, m, flags);
}

START_TEST(what_does_not_quote_it_ends_nothing)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    close_server(&p);
    quic_port_set_send(p.client_port, send_another_id);
    quic_pair_dial(&p);
    quic_pair_poll(&p, was_told);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->refusals, 0);
    quic_pair_close(&p);
}
END_TEST

/* One of two: the word is for one alone. */
static struct quic *lone;

static void on_lone_wake(struct quic *q)
{
    ck_assert_ptr_eq(q, lone);
}

static bool is_lone_over(struct quic_pair *p)
{
    (void)p;
    return quic_error(lone) != 0;
}

START_TEST(another_attempt_goes_on)
{
    static const struct quic_ops ops = {.on_wake = on_lone_wake};
    struct quic_dial_options options = {.ops = &ops};
    union addr nowhere;
    socklen_t n = sizeof(nowhere);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct quic_pair p;

    ck_assert_int_eq(addr_parse(&nowhere, "127.0.0.1:0"), 0);
    ck_assert_int_eq(bind(fd, &nowhere.sa, addr_len(&nowhere)), 0);
    ck_assert_int_eq(getsockname(fd, &nowhere.sa, &n), 0);
    close(fd);
    quic_pair_begin(&p);
    quic_pair_open(&p);
    options.tls = p.client_tls;
    options.peer = &nowhere;
    ck_assert_int_eq(quic_dial(&lone, p.client_port, &options), 0);
    ck_assert_int_eq(quic_flush(lone), IO_OK);
    quic_pair_dial(&p);
    quic_pair_poll(&p, is_lone_over);
    ck_assert_int_eq(quic_error(lone), -ERR_CONNECT);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    quic_free(lone);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_refusal");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, an_attempt_ends_at_once);
    tcase_add_test(tcase, a_connection_ends_when_its_peer_is_silent_too);
    tcase_add_test(tcase, a_connection_goes_on_when_its_peer_answers);
    tcase_add_test(tcase, a_word_that_does_not_quote_it_raises_no_suspicion);
    tcase_add_test(tcase, what_does_not_quote_it_ends_nothing);
    tcase_add_test(tcase, another_attempt_goes_on);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
