/* udp_socket - datagrams in and out of UDP sockets, many in one call.
 *
 * A udp_batch is a worker's: its buffers take the largest datagram each, and are made once.  What a
 * kernel with UDP_GRO gives in one piece is told as such: arrival.segment says how long each
 * datagram in it is.  Errors are those of one packet (ECONNREFUSED, EPERM, ENETUNREACH, EMSGSIZE,
 * ENOBUFS ...): the socket goes on.
 */
#ifndef LOOP_UDP_SOCKET_H
#define LOOP_UDP_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

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
/* At once: one datagram of several pieces; `peer` NULL on a connected socket; `local` (or NULL) is
 * the address that it leaves from.  0, -errno (-EAGAIN: the kernel's queue is full). */
MUST_USE int udp_socket_send(int fd, const union addr *peer, const union addr *local,
                             const struct iovec *pieces, size_t count);

/* What a worker is about to send: datagrams of one size to one peer, in a row, leave in one call
 * (UDP_SEGMENT), which costs a fraction of many.  Another peer, socket or size, or the end of the
 * turn (udp_outbox_flush()), sends what is there. */
struct udp_outbox {
    int fd; /* borrowed; -1: empty */
    bool has_peer;
    union addr peer, local;
    size_t len, segment, count;
    bool is_closed;      /* its last datagram is shorter: nothing may follow */
    unsigned plain_left; /* after a kernel or device refused segments: so many go one by one */
    uint64_t bundles, refused;                         /* sent in segments; refused by the kernel */
    void (*on_error)(struct udp_outbox *box, int err); /* -errno of one datagram that is lost */
    void *owner;                                       /* borrowed */
    uint8_t bytes[UDP_BUFFER_BYTES];
};

void udp_outbox_init(struct udp_outbox *box, void *owner,
                     void (*on_error)(struct udp_outbox *box, int err));
/* Copies the datagram; arguments as udp_socket_send(). */
void udp_outbox_add(struct udp_outbox *box, int fd, const union addr *peer, const union addr *local,
                    const struct iovec *pieces, size_t count);
void udp_outbox_flush(struct udp_outbox *box);
/* The socket is about to be closed: what is for it leaves first. */
void udp_outbox_forget(struct udp_outbox *box, int fd);

#endif
