/* udp_socket - UDP sockets: their options, and datagrams in, many in one call (out: udp_outbox.h).
 *
 * A udp_batch is a worker's: its buffers take the largest datagram each, and are made once.  What a
 * kernel with UDP_GRO gives in one piece is told as such: arrival.segment says how long each
 * datagram in it is.  Errors are those of one packet (ECONNREFUSED, EPERM, ENETUNREACH, EMSGSIZE,
 * ENOBUFS ...): the socket goes on.
 */
#ifndef LOOP_UDP_SOCKET_H
#define LOOP_UDP_SOCKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/must.h"
#include "loop/addr.h"

#define UDP_BATCH        16u
#define UDP_BUFFER_BYTES 65536u
#define UDP_SOCKET_BYTES (4 << 20) /* asked of the kernel, for what waits to be read */
#define UDP_ANSWER_BYTES (1 << 20) /* the same for one session's answers */
#define UDP_TURN_BYTES   131072u   /* read of one socket in a turn: less than a session's queue */

struct udp_batch;

struct udp_arrival {
    union addr peer;
    union addr local;     /* where it was sent to, without port; family 0: not known */
    const uint8_t *bytes; /* borrowed until the next receive */
    size_t len;
    size_t segment;   /* length of each datagram in it, the last may be shorter; at least 1 */
    bool is_cut;      /* the kernel had more of it than fits */
    uint32_t dropped; /* by the kernel on this socket so far (SO_RXQ_OVFL); 0: none, or not told */
};

/* NULL: no memory. */
struct udp_batch *udp_batch_new(void);
void udp_batch_free(struct udp_batch *b); /* NULL is fine */
/* How many arrived; 0: none waits; -errno: of one packet (an ICMP error that waited, or memory). */
MUST_USE int udp_batch_receive(struct udp_batch *b, int fd);
/* Arrival i of the last receive. */
void udp_batch_get(const struct udp_batch *b, unsigned i, struct udp_arrival *out);

/* For a public port: where datagrams were sent to, GRO, overflow count, a long queue.  What the
 * kernel has not is left out. */
void udp_socket_set_public(int fd, int family);
/* A connected, non-blocking socket, that counts what overflows; -errno. */
MUST_USE int udp_socket_connect(const union addr *to);
/* Room for the control data of one message that leaves. */
struct udp_control {
    _Alignas(struct cmsghdr)
        uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

/* Makes the message's control data: the address that it leaves from (`local`, or NULL or without a
 * family: the kernel's choice), and the length of each datagram in it (0: it is one). */
void udp_control_put(struct msghdr *m, struct udp_control *control, const union addr *local,
                     uint16_t segment);
/* At once: one datagram of several pieces; `peer` NULL on a connected socket; `local` (or NULL) is
 * the address that it leaves from.  0, -errno (-EAGAIN: the kernel's queue is full). */
MUST_USE int udp_socket_send(int fd, const union addr *peer, const union addr *local,
                             const struct iovec *pieces, size_t count);

#endif
