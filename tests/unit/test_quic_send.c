/* What the kernel may say to a bundle, and what becomes of the packets: a stream arrives whole
 * whatever it says. */
#include <check.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

#define BULK 3000000u

/* --- a kernel with moods --- */

static struct {
    unsigned calls, segmented, refused, singles;
    int no_segments; /* errno for many segments; 0: fine */
    int once, every; /* errno of one call in `every` */
    unsigned every_n;
} kernel;

static size_t segment_of(const struct msghdr *m)
{
    struct msghdr copy = *m;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
            uint16_t size;

            memcpy(&size, CMSG_DATA(c), sizeof(size));
            return size;
        }
    return 0;
}

static ssize_t send_moody(int fd, const struct msghdr *m, int flags)
{
    size_t segment = segment_of(m), n = m->msg_iov->iov_len;

    kernel.calls++;
    /* what a bundle must be */
    if (segment > 0) {
        ck_assert_uint_gt(n, segment);
        ck_assert_uint_le(n, QUIC_BUNDLE_BYTES);
        ck_assert_uint_le((n + segment - 1) / segment, QUIC_SEGMENTS_MAX);
        kernel.segmented++;
        if (kernel.no_segments) {
            kernel.refused++;
            errno = kernel.no_segments;
            return -1;
        }
    } else {
        kernel.singles++;
    }
    if (kernel.every && kernel.calls % kernel.every_n == 0) {
        kernel.refused++;
        errno = kernel.every;
        return -1;
    }
    if (kernel.once) {
        errno = kernel.once;
        kernel.once = 0;
        kernel.refused++;
        return -1;
    }
    return sendmsg(fd, m, flags);
}

static bool is_whole(struct quic_pair *p)
{
    return p->server.streams[0].is_fin && p->client.streams[0].acked == BULK;
}

static void send_whole(struct quic_pair *p)
{
    quic_port_set_send(p->client_port, send_moody);
    quic_pair_send(&p->client, BULK, true);
    quic_pair_until(p, is_whole);
    ck_assert_uint_eq(p->server.streams[0].got, BULK);
    ck_assert_uint_eq(p->server.streams[0].bad, 0);
}

START_TEST(bundles)
{
    const struct quic_port_stats *stats;
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    quic_pair_start(&p);
    send_whole(&p);
    stats = quic_port_stats(p.client_port);
    ck_assert_uint_gt(kernel.segmented, 0);
    ck_assert_uint_eq(stats->gso_off, 0);
    ck_assert_uint_eq(stats->dropped, 0);
    ck_assert_uint_gt(stats->datagrams_out, stats->sends);
    ck_assert_uint_gt(stats->bytes_out, BULK);
    ck_assert_uint_gt(stats->send_buffer, 100000);
    quic_pair_close(&p);
}
END_TEST

/* EIO comes from an interface without checksums, EINVAL from an old kernel. */
static const int no_segments[] = {EIO, EINVAL};

START_TEST(segments_refused)
{
    struct quic_stats stats;
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    kernel.no_segments = no_segments[_i];
    quic_pair_start(&p);
    send_whole(&p);
    ck_assert_uint_eq(kernel.segmented, 1);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->gso_off, 1);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->dropped, 0);
    quic_stats(p.client.q, &stats);
    ck_assert(!stats.has_gso);
    ck_assert_uint_eq(stats.packets_lost, 0);
    quic_pair_close(&p);
}
END_TEST

/* A firewall that learns a flow refuses its first packet; an ICMP error that came for an earlier
 * packet is told once. */
static const int tried_again[] = {EPERM, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EACCES};

START_TEST(refused_once)
{
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    kernel.once = tried_again[_i];
    quic_pair_start(&p);
    send_whole(&p);
    ck_assert_uint_eq(kernel.refused, 1);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->dropped, 0);
    quic_pair_close(&p);
}
END_TEST

START_TEST(eintr)
{
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    kernel.every = EINTR;
    kernel.every_n = 3;
    quic_pair_start(&p);
    send_whole(&p);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->dropped, 0);
    quic_pair_close(&p);
}
END_TEST

/* A full socket: the bundle waits, nothing is lost.  The real socket is writable, so the loop comes
 * back at once. */
START_TEST(eagain)
{
    struct quic_stats stats;
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    kernel.every = EAGAIN;
    kernel.every_n = 2;
    quic_pair_start(&p);
    send_whole(&p);
    ck_assert_uint_gt(kernel.refused, 3);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->dropped, 0);
    quic_stats(p.client.q, &stats);
    ck_assert_uint_eq(stats.packets_lost, 0);
    quic_pair_close(&p);
}
END_TEST

/* Both at once: what is sent one by one waits where it was. */
START_TEST(eagain_without_segments)
{
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    kernel.every = EAGAIN;
    kernel.every_n = 3;
    kernel.no_segments = EIO;
    quic_pair_start(&p);
    send_whole(&p);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->dropped, 0);
    quic_pair_close(&p);
}
END_TEST

static const struct {
    int err;
    bool is_tried_again; /* and then it passes */
} never_fatal[] = {{ENOBUFS, false},    {EMSGSIZE, false}, {ECONNREFUSED, true},
                   {ENETUNREACH, true}, {EPERM, true},     {EACCES, true}};

START_TEST(errors_are_counted)
{
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    kernel.every = never_fatal[_i].err;
    kernel.every_n = 7;
    quic_pair_start(&p);
    send_whole(&p);
    ck_assert_uint_gt(kernel.refused, 0);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->send_errors,
                      never_fatal[_i].is_tried_again ? 0 : kernel.refused);
    quic_pair_close(&p);
}
END_TEST

/* The close packet of one connection must not disturb what waits of another. */
START_TEST(closing_while_blocked)
{
    struct quic_pair p;

    memset(&kernel, 0, sizeof(kernel));
    quic_pair_start(&p);
    quic_port_set_send(p.client_port, send_moody);
    kernel.every = EAGAIN;
    kernel.every_n = 1;
    quic_pair_send(&p.client, BULK, true);
    ck_assert_int_eq(quic_flush(p.client.q), IO_WAIT);
    ck_assert_int_eq(quic_flush(p.client.q), IO_WAIT);
    quic_pair_free_end(&p.client);
    ck_assert_uint_gt(quic_port_stats(p.client_port)->dropped, 0);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_send");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, bundles);
    tcase_add_loop_test(all, refused_once, 0, (int)ARRAY_LEN(tried_again));
    tcase_add_test(all, eintr);
    tcase_add_test(all, eagain);
    tcase_add_test(all, eagain_without_segments);
    tcase_add_test(all, closing_while_blocked);
    tcase_add_loop_test(all, segments_refused, 0, ARRAY_LEN(no_segments));
    tcase_add_loop_test(all, errors_are_counted, 0, ARRAY_LEN(never_fatal));
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
