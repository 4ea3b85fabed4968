/* udp_fixture - bound UDP sockets on loopback, and what came to them. */
#ifndef TESTS_UNIT_UDP_FIXTURE_H
#define TESTS_UNIT_UDP_FIXTURE_H

#include <check.h>
#include <poll.h>

#include "loop/listener.h"
#include "loop/udp_socket.h"

static uint8_t content[UDP_BUFFER_BYTES];

static inline int bound(const char *host, unsigned count, int *fds, union addr *at)
{
    unsigned sets;

    ck_assert_int_eq(addr_parse_host(at, host, 0), 0);
    return listen_bind_udp(at, count, fds, &sets, at);
}

/* Until n datagrams have come, counted by their segments. */
static inline unsigned receive(struct udp_batch *b, int fd, unsigned n, struct udp_arrival *last)
{
    unsigned got = 0;

    while (got < n) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int count;

        ck_assert_int_eq(poll(&wait, 1, 10000), 1);
        count = udp_batch_receive(b, fd);
        ck_assert_int_ge(count, 0);
        for (int i = 0; i < count; i++) {
            udp_batch_get(b, (unsigned)i, last);
            got += last->len == 0 ? 1 : (unsigned)((last->len + last->segment - 1) / last->segment);
        }
    }
    return got;
}

#endif
