/* How large packets get, and that they get small again where large ones vanish. */
#include <check.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

#define BULK 1000000u

static size_t path_mtu;
static bool is_silent; /* what is too large vanishes; else the interface refuses it */
static bool was_probed;
static unsigned lost_beside; /* packets that shared a bundle with what is too large */

/* What arrives of a message on a path of that MTU: in the kernel's eyes all of it. */
static ssize_t send_narrow(int fd, const struct msghdr *m, int flags)
{
    struct msghdr copy = *m;
    size_t segment = m->msg_iov->iov_len;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
            uint16_t size;

            memcpy(&size, CMSG_DATA(c), sizeof(size));
            segment = size;
        }
    if (segment <= path_mtu)
        return sendmsg(fd, m, flags);
    was_probed = true;
    lost_beside += (unsigned)((m->msg_iov->iov_len - 1) / segment);
    if (is_silent)
        return (ssize_t)m->msg_iov->iov_len;
    errno = EMSGSIZE;
    return -1;
}

static uint32_t mtu_of(const struct quic_pair *p)
{
    struct quic_stats stats;

    quic_stats(p->client.q, &stats);
    return stats.mtu;
}

static bool is_whole(struct quic_pair *p)
{
    return p->server.streams[0].is_fin && p->client.streams[0].acked == BULK;
}

static bool is_large(struct quic_pair *p)
{
    return mtu_of(p) == QUIC_PACKET_BYTES;
}

START_TEST(grows_to_what_loopback_has)
{
    struct quic_pair p;

    quic_pair_start(&p);
    quic_pair_until(&p, is_large);
    quic_pair_close(&p);
}
END_TEST

static const size_t paths[] = {1200, 1360, 1410, 1452, 9000};
static const uint32_t found[] = {1200, 1350, 1404, 1452, 8900};

static uint32_t wanted;

static bool is_wanted(struct quic_pair *p)
{
    return mtu_of(p) == wanted && was_probed && is_whole(p);
}

/* Ethernet, tunnels, jumbo frames: never above, whichever way the path says no. */
START_TEST(stops_at_the_path)
{
    struct quic_pair p;

    path_mtu = paths[_i / 2];
    wanted = found[_i / 2];
    is_silent = _i % 2 == 0;
    was_probed = false;
    lost_beside = 0;
    quic_pair_begin(&p);
    quic_pair_open(&p);
    quic_port_set_send(p.client_port, send_narrow);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_pair_send(&p.client, BULK, true);
    quic_pair_until(&p, is_wanted);
    ck_assert_uint_eq(p.server.streams[0].bad, 0);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->mtu_lost, 0);
    ck_assert_uint_eq(lost_beside, 0); /* or it would look like congestion */
    quic_pair_close(&p);
}
END_TEST

static bool is_started(struct quic_pair *p)
{
    return is_large(p) && p->server.streams[0].got > 0;
}

/* The path gets narrow under a running transfer, and nobody says so.  The server's small packets
 * come all the while. */
START_TEST(a_path_that_shrinks)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.keep_alive_ms = 50;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_large);
    quic_pair_send(&p.client, BULK, false);
    quic_pair_until(&p, is_started);
    path_mtu = 1400;
    is_silent = true;
    quic_port_set_send(p.client_port, send_narrow);
    p.client.streams[0].has_fin = true;
    quic_pair_wake(&p.client);
    quic_pair_until(&p, is_whole);
    ck_assert_uint_eq(mtu_of(&p), 1200);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->mtu_lost, 1);
    ck_assert_uint_eq(p.server.streams[0].bad, 0);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_mtu");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, grows_to_what_loopback_has);
    tcase_add_test(all, a_path_that_shrinks);
    tcase_add_loop_test(all, stops_at_the_path, 0, 2 * ARRAY_LEN(paths));
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
