/* Sockets: what they are bound to, and that the kernel gives each packet to the worker that its
 * connection id names. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quic/quic.h"
#include "support/quic_pair.h"

#define WORKERS 3u
#define WAIT_MS 20000

static void parse(union addr *at, const char *text)
{
    ck_assert_int_eq(addr_parse(at, text), 0);
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

START_TEST(one)
{
    union addr at, bound;
    int fd, value;
    socklen_t n = sizeof(value);

    parse(&at, "127.0.0.1:0");
    ck_assert_int_eq(quic_bind(&at, 1, &fd, &bound), 0);
    ck_assert_uint_ne(addr_port(&bound), 0);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &value, &n), 0);
    ck_assert_int_eq(value, IP_PMTUDISC_PROBE);
    close(fd);
}
END_TEST

/* All or none, and nobody joins strangers. */
START_TEST(a_port_in_use)
{
    union addr at, bound;
    int fd, fds[WORKERS];

    parse(&at, "127.0.0.1:0");
    ck_assert_int_eq(quic_bind(&at, WORKERS, fds, &bound), 0);
    ck_assert_int_eq(quic_bind(&bound, 1, &fd, NULL), -EADDRINUSE);
    ck_assert_int_eq(quic_bind(&bound, WORKERS, (int[WORKERS]){0}, NULL), -EADDRINUSE);
    close_all(fds, WORKERS);
    ck_assert_int_eq(quic_bind(&bound, WORKERS, fds, NULL), 0);
    close_all(fds, WORKERS);
    memset(&at, 0, sizeof(at));
    ck_assert_int_eq(quic_bind(&at, 1, &fd, NULL), -EAFNOSUPPORT);
}
END_TEST

/* Which of the sockets has a datagram. */
static unsigned who_got(const int *fds)
{
    struct pollfd p[WORKERS];
    unsigned who = WORKERS;
    uint8_t byte;

    for (unsigned i = 0; i < WORKERS; i++)
        p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    ck_assert_int_eq(poll(p, WORKERS, WAIT_MS), 1);
    for (unsigned i = 0; i < WORKERS; i++)
        if (p[i].revents) {
            who = i;
            ck_assert_int_ge(recv(fds[i], &byte, 1, 0), 0);
        }
    return who;
}

/* Each first byte of an id, in each kind of packet, from one address. */
START_TEST(packets_are_steered)
{
    static const char *const places[] = {"127.0.0.1:0", "[::1]:0"};
    uint8_t longer[64] = {0xc3, 0, 0, 0, 1, 12}, shorter[64] = {0x43};
    int fds[WORKERS], from;
    union addr at, bound;

    parse(&at, places[_i]);
    if (quic_bind(&at, WORKERS, fds, &bound) == -EADDRNOTAVAIL)
        return; /* a machine without IPv6 */
    from = socket(at.sa.sa_family, SOCK_DGRAM, 0);
    for (unsigned first = 0; first < 256; first++) {
        longer[6] = shorter[1] = (uint8_t)first;
        ck_assert_int_eq(sendto(from, longer, sizeof(longer), 0, &bound.sa, addr_len(&bound)),
                         sizeof(longer));
        ck_assert_uint_eq(who_got(fds), first % WORKERS);
        ck_assert_int_eq(sendto(from, shorter, sizeof(shorter), 0, &bound.sa, addr_len(&bound)),
                         sizeof(shorter));
        ck_assert_uint_eq(who_got(fds), first % WORKERS);
    }
    /* one that has no id falls to somebody, and harms nobody */
    ck_assert_int_eq(sendto(from, shorter, 1, 0, &bound.sa, addr_len(&bound)), 1);
    ck_assert_uint_lt(who_got(fds), WORKERS);
    close(from);
    close_all(fds, WORKERS);
}
END_TEST

/* Every id that a port makes names it. */
START_TEST(ids_name_their_worker)
{
    static const unsigned counts[] = {1, 2, 3, 7, 100, 255, 256};
    struct quic_port port = {0};
    ngtcp2_cid id;

    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        for (unsigned step = 0; step < 2000; step++) {
            port.count = counts[i];
            port.index = step % counts[i];
            quic_port_make_id(&port, &id);
            ck_assert_uint_eq(id.datalen, QUIC_ID_BYTES);
            ck_assert_uint_eq(id.data[0] % port.count, port.index);
        }
}
END_TEST

/* --- whole connections --- */

struct worker {
    struct quic_pair *pair;
    struct quic_port *port;
    unsigned accepted;
    struct quic_pair_end ends[QUIC_PAIR_ENDS];
};

static struct worker workers[WORKERS];

static enum quic_verdict on_initial(void *arg, const union addr *peer, bool is_validated)
{
    (void)arg;
    (void)peer;
    (void)is_validated;
    return QUIC_ACCEPT;
}

static bool on_accept(void *arg, struct quic *q)
{
    struct worker *w = arg;
    struct quic_pair_end *end = &w->ends[w->accepted];

    end->pair = w->pair;
    end->run = w->pair->server.run;
    list_init(&end->run.node);
    end->q = q;
    w->accepted++;
    quic_own(q, &quic_pair_ops, end);
    return true;
}

static bool is_client_secure(struct quic_pair *p)
{
    return quic_is_secure(p->client.q);
}

static bool is_bulk_there(struct quic_pair *p)
{
    return p->client.streams[0].acked == 200000;
}

/* A dialler says by the first byte of its first id which worker takes it, and stays there. */
START_TEST(connections_land_on_their_worker)
{
    static const struct quic_port_ops ops = {on_initial, on_accept};
    union addr at, bound;
    struct quic_pair p;
    int fds[WORKERS];

    quic_pair_begin(&p);
    p.client_port = quic_pair_new_client_port(&p);
    parse(&at, "127.0.0.1:0");
    ck_assert_int_eq(quic_bind(&at, WORKERS, fds, &bound), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct quic_port_options o = {.loop = p.loop,
                                      .fds = &fds[i],
                                      .fd_count = 1,
                                      .tls = p.server_tls,
                                      .index = i,
                                      .count = WORKERS,
                                      .params = p.params,
                                      .ops = &ops,
                                      .arg = &workers[i]};

        workers[i] = (struct worker){.pair = &p};
        ck_assert_int_eq(quic_port_new(&workers[i].port, &o), 0);
    }
    for (unsigned step = 0; step < 2 * WORKERS; step++) {
        struct quic_dial_options o = {.tls = p.client_tls,
                                      .peer = &bound,
                                      .ops = &quic_pair_ops,
                                      .owner = &p.client,
                                      .first_byte = (uint8_t)(step * 41)};
        unsigned before = workers[step * 41 % WORKERS].accepted;

        ck_assert_int_eq(quic_dial(&p.client.q, p.client_port, &o), 0);
        quic_pair_wake(&p.client);

        quic_pair_until(&p, is_client_secure);
        quic_pair_send(&p.client, 200000, true);
        quic_pair_until(&p, is_bulk_there);
        ck_assert_uint_eq(workers[step * 41 % WORKERS].accepted, before + 1);
        quic_pair_free_end(&p.client);
        p.client.streams[0].is_used = false;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        ck_assert_uint_eq(quic_port_stats(workers[i].port)->unknown, 0);
        for (unsigned k = 0; k < workers[i].accepted; k++)
            quic_pair_free_end(&workers[i].ends[k]);
        quic_port_free(workers[i].port);
    }
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_bind");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, one);
    tcase_add_test(all, a_port_in_use);
    tcase_add_test(all, ids_name_their_worker);
    tcase_add_test(all, connections_land_on_their_worker);
    tcase_add_loop_test(all, packets_are_steered, 0, 2);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
