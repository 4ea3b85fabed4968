/* What a server's port makes of packets that are for none of its connections, and of nonsense. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"
#include "support/seeded.h"

#define GARBAGE 3000u

static bool is_quiet(struct quic_pair *p)
{
    return p->server.streams[0].is_fin;
}

/* A connection that was there before still works behind all of it. */
static void check_alive(struct quic_pair *p)
{
    ck_assert(quic_pair_is_secure(p));
    memset(p->server.streams, 0, sizeof(p->server.streams));
    memset(p->client.streams, 0, sizeof(p->client.streams));
    quic_pair_send(&p->client, 20000, true);
    quic_pair_until(p, is_quiet);
    ck_assert_uint_eq(p->server.streams[0].got, 20000);
    ck_assert_uint_eq(p->server.streams[0].bad, 0);
}

START_TEST(garbage)
{
    const struct quic_port_stats *stats;
    uint8_t bytes[1500], answer[2000];
    uint64_t dice = 5;
    struct quic_pair p;

    quic_pair_start(&p);
    for (unsigned i = 0; i < GARBAGE; i++) {
        size_t n = seeded_below(&dice, sizeof(bytes) + 1), got;

        for (size_t k = 0; k < n; k++)
            bytes[k] = (uint8_t)seeded_next(&dice);
        if (n > 5 && i % 3 == 0)
            memcpy(bytes, (uint8_t[]){0xc0, 0, 0, 0, 1}, 5); /* an Initial, it says */
        quic_pair_raw_send(&p, bytes, n);
        got = quic_pair_raw_recv(&p, answer, sizeof(answer));
        ck_assert_uint_le(got, n); /* no answer is larger than what asked for it */
    }
    stats = quic_port_stats(p.server_port);
    ck_assert_uint_gt(stats->malformed, 0);
    ck_assert_uint_gt(stats->unknown, 0);
    ck_assert_uint_eq(p.accepted, 1);
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    check_alive(&p);
    quic_pair_close(&p);
}
END_TEST

/* --- a real client's packets, bent --- */

static uint8_t kept[8][2048];
static size_t kept_len[8];
static unsigned kept_count;

static ssize_t send_and_keep(int fd, const struct msghdr *m, int flags)
{
    if (kept_count < ARRAY_LEN(kept) && m->msg_iov->iov_len <= sizeof(kept[0])) {
        kept_len[kept_count] = m->msg_iov->iov_len;
        memcpy(kept[kept_count++], m->msg_iov->iov_base, m->msg_iov->iov_len);
    }
    return sendmsg(fd, m, flags);
}

/* Packets of the connection itself, from another address: each length, each bit. */
START_TEST(bent_packets)
{
    uint8_t bytes[2048], answer[2048];
    struct quic_pair p;

    kept_count = 0;
    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_port_set_send(p.client_port, send_and_keep);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_pair_send(&p.client, 300, false);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_uint_ge(kept_count, 2);
    for (unsigned i = 0; i < kept_count; i++) {
        for (size_t n = 0; n < kept_len[i]; n += n < 60 ? 1 : 53) {
            quic_pair_raw_send(&p, kept[i], n);
            quic_pair_raw_recv(&p, answer, sizeof(answer));
        }
        for (size_t bit = 0; bit < 8 * kept_len[i]; bit += bit < 400 ? 3 : 211) {
            memcpy(bytes, kept[i], kept_len[i]);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            quic_pair_raw_send(&p, bytes, kept_len[i]);
            quic_pair_raw_recv(&p, answer, sizeof(answer));
        }
    }
    ck_assert_int_eq(quic_error(p.server.q), 0);
    check_alive(&p);
    quic_pair_close(&p);
}
END_TEST

/* The first packet again, from anywhere: no second connection. */
START_TEST(replayed_initial)
{
    uint8_t answer[2048];
    struct quic_pair p;

    kept_count = 0;
    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_port_set_send(p.client_port, send_and_keep);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_pair_raw_send(&p, kept[0], kept_len[0]);
    quic_pair_raw_recv(&p, answer, sizeof(answer));
    ck_assert_uint_eq(p.accepted, 1);
    /* also when the connection is gone: its ids are still known */
    quic_pair_free_end(&p.server);
    quic_pair_raw_send(&p, kept[0], kept_len[0]);
    quic_pair_raw_recv(&p, answer, sizeof(answer));
    ck_assert_uint_eq(p.accepted, 1);
    quic_pair_close(&p);
}
END_TEST

/* Looks at the end of each turn of the loop. */
struct turns {
    struct ready ready;
    struct quic_pair *pair;
    uint64_t taken, most; /* so far, and in one turn */
};

static uint64_t taken_so_far(const struct quic_pair *p)
{
    const struct quic_port_stats *stats = quic_port_stats(p->server_port);

    return stats->unknown + stats->malformed;
}

static void on_turn(struct ready *ready)
{
    struct turns *t = container_of(ready, struct turns, ready);
    uint64_t now = taken_so_far(t->pair);

    t->most = MAX(t->most, now - t->taken);
    t->taken = now;
    loop_again(t->pair->loop, &t->ready);
}

static uint64_t until_taken;

static bool is_taken(struct quic_pair *p)
{
    return taken_so_far(p) >= until_taken;
}

/* How many of `count` datagrams of n bytes a turn of the loop takes at most. */
static uint64_t taken_in_a_turn(struct quic_pair *p, unsigned count, size_t n)
{
    static const uint8_t bytes[10000] = {0x40};
    struct turns t = {.pair = p, .taken = taken_so_far(p)};

    ready_init(&t.ready, on_turn);
    loop_again(p->loop, &t.ready);
    until_taken = t.taken + count;
    for (unsigned i = 0; i < count; i++)
        quic_pair_raw_send(p, bytes, n);
    quic_pair_poll(p, is_taken);
    on_turn(&t.ready); /* the last one */
    ready_cancel(&t.ready);
    return t.most;
}

/* Eight of any size, eight times as many small ones.  A busy kernel may hand them over in parts,
 * and two turns may pass between two looks. */
START_TEST(a_turn_has_a_measure)
{
    uint64_t of_small = 0, of_large = 0;
    struct quic_pair p;

    quic_pair_start(&p);
    for (unsigned i = 0; i < 20; i++) {
        of_small = MAX(of_small, taken_in_a_turn(&p, 200, 100));
        of_large = MAX(of_large, taken_in_a_turn(&p, 20, 9000));
    }
    ck_assert_uint_gt(of_small, 2 * 8);
    ck_assert_uint_le(of_small, 2 * 64);
    ck_assert_uint_le(of_large, 2 * 8);
    check_alive(&p);
    quic_pair_close(&p);
}
END_TEST

START_TEST(another_version)
{
    uint8_t bytes[1200] = {0xc0, 0x0a, 0x0a, 0x0a, 0x0a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 8, 7, 6};
    uint8_t answer[2000];
    struct quic_pair p;
    size_t n;

    quic_pair_start(&p);
    quic_pair_raw_send(&p, bytes, sizeof(bytes));
    n = quic_pair_raw_recv(&p, answer, sizeof(answer));
    ck_assert_uint_eq(n, 7 + 4 + 8 + 8);
    ck_assert(answer[0] & 0x80);
    ck_assert_mem_eq(answer + 1, "\0\0\0\0", 4); /* version negotiation */
    ck_assert_mem_eq(answer + 6, "\x09\x08\x07\x06", 4);
    ck_assert_mem_eq(answer + n - 4, "\0\0\0\1", 4);
    /* what is shorter than a first packet must be gets nothing */
    quic_pair_raw_send(&p, bytes, sizeof(bytes) - 1);
    ck_assert_uint_eq(quic_pair_raw_recv(&p, answer, sizeof(answer)), 0);
    ck_assert_uint_eq(p.accepted, 1);
    check_alive(&p);
    quic_pair_close(&p);
}
END_TEST

/* A client that meets a server of another version ends at once. */
static ssize_t send_other_version(int fd, const struct msghdr *m, int flags)
{
    uint8_t *bytes = m->msg_iov->iov_base;

    bytes[1] = bytes[2] = bytes[3] = bytes[4] = 0x0a;
    return sendmsg(fd, m, flags);
}

/* And a server that speaks only that one. */
static ssize_t send_only_other_version(int fd, const struct msghdr *m, int flags)
{
    uint8_t *bytes = m->msg_iov->iov_base;

    memset(bytes + m->msg_iov->iov_len - 4, 0x0a, 4);
    return sendmsg(fd, m, flags);
}

static bool is_client_over(struct quic_pair *p)
{
    return p->client.last == IO_FAIL;
}

START_TEST(client_of_another_version)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_port_set_send(p.client_port, send_other_version);
    quic_port_set_send(p.server_port, send_only_other_version);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "version"));
    quic_pair_close(&p);
}
END_TEST

static bool is_refused(struct quic_pair *p)
{
    return quic_port_stats(p->server_port)->refused > 0;
}

START_TEST(refused_without_an_answer)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.verdict = QUIC_REFUSE;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_poll(&p, is_refused);
    ck_assert_uint_eq(p.accepted, 0);
    ck_assert_uint_eq(quic_port_stats(p.server_port)->sends, 0);
    quic_pair_close(&p);
}
END_TEST

/* Many connections of one port to another, one loop. */
static bool are_all_secure(struct quic_pair *p)
{
    for (unsigned i = 0; i < p->accepted; i++)
        if (!quic_is_secure(i == 0 ? p->server.q : p->more[i - 1].q))
            return false;
    return p->accepted == 20;
}

START_TEST(many_connections)
{
    struct quic_pair_end ends[20];
    struct quic_pair p;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        struct quic_dial_options o = {
            .tls = p.client_tls, .peer = &p.server_at, .ops = &quic_pair_ops, .owner = &ends[i]};

        ends[i] = (struct quic_pair_end){.pair = &p};
        ready_init(&ends[i].run, p.client.run.run);
        ck_assert_int_eq(quic_dial(&ends[i].q, p.client_port, &o), 0);
        quic_pair_wake(&ends[i]);
    }
    quic_pair_until(&p, are_all_secure);
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++)
        quic_pair_free_end(&ends[i]);
    quic_pair_close(&p);
}
END_TEST

/* One port with a socket of each family: a connection over either, and answers leave from the
 * address that was asked. */
START_TEST(both_families)
{
    struct quic_port_options o = {.fd_count = 2, .count = 1};
    union addr four, six, at;
    struct quic_pair p;
    int fds[2];

    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_port_free(p.client_port);
    p.client_port = NULL;
    ck_assert_int_eq(addr_parse(&four, "0.0.0.0:0"), 0);
    ck_assert_int_eq(addr_parse(&six, "[::]:0"), 0);
    ck_assert_int_eq(quic_bind(&four, 1, &fds[0], NULL), 0);
    if (quic_bind(&six, 1, &fds[1], NULL) != 0)
        o.fd_count = 1; /* a machine without IPv6 */
    o.loop = p.loop;
    o.fds = fds;
    o.params = p.params;
    ck_assert_int_eq(quic_port_new(&p.client_port, &o), 0);
    for (unsigned family = 0; family < o.fd_count; family++) {
        quic_port_free(p.server_port);
        ck_assert_int_eq(addr_parse(&at, family == 0 ? "0.0.0.0:0" : "[::]:0"), 0);
        p.server_port = quic_pair_new_server_port(&p, &at);
        /* two addresses of one machine */
        ck_assert_int_eq(
            addr_parse_host(&at, family == 0 ? "127.0.0.2" : "::1", addr_port(&p.server_at)), 0);
        p.server_at = at;
        quic_pair_dial(&p);
        quic_pair_until(&p, quic_pair_is_secure);
        check_alive(&p);
        ck_assert_int_eq(quic_peer(p.server.q)->sa.sa_family, at.sa.sa_family);
        quic_pair_free_end(&p.client);
        quic_pair_free_end(&p.server);
    }
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_port");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, garbage);
    tcase_add_test(all, bent_packets);
    tcase_add_test(all, replayed_initial);
    tcase_add_test(all, a_turn_has_a_measure);
    tcase_add_test(all, another_version);
    tcase_add_test(all, client_of_another_version);
    tcase_add_test(all, refused_without_an_answer);
    tcase_add_test(all, many_connections);
    tcase_add_test(all, both_families);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
