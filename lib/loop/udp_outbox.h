/* udp_outbox - what a worker is about to send from its UDP sockets, in as few calls as may be.
 *
 * Datagrams of one size to one peer, in a row, are one message (UDP_SEGMENT); messages of one
 * socket leave in one call (sendmmsg).  Another socket, a full outbox, or the end of the turn
 * (udp_outbox_flush()) sends what is there.  Order stays.  A device that refuses segments gets its
 * datagrams one by one for a while.  One loop, its own thread.
 */
#ifndef LOOP_UDP_OUTBOX_H
#define LOOP_UDP_OUTBOX_H

#include "loop/udp_socket.h"

#define UDP_OUT_MESSAGES 64u
#define UDP_OUT_BYTES    131072u /* two of the largest datagrams */

/* Written by the worker, read by whoever shows them. */
struct udp_out_counters {
    _Atomic uint64_t calls;   /* of the kernel */
    _Atomic uint64_t bundles; /* messages of several datagrams that left */
    _Atomic uint64_t refused; /* those that a device or the path's MTU refused */
};

/* The datagrams of one size to one peer. */
struct udp_message {
    union addr peer, local; /* family 0: none */
    size_t at, len;         /* of box->bytes */
    size_t segment, count;
    bool is_closed; /* its last datagram is shorter: nothing may follow */
};

struct udp_outbox {
    int fd;              /* borrowed; -1: empty */
    unsigned used;       /* of messages */
    size_t len;          /* of bytes */
    unsigned plain_left; /* after segments were refused: so many messages go one by one */
    struct udp_out_counters *counters;                 /* borrowed */
    void (*on_error)(struct udp_outbox *box, int err); /* -errno of one datagram that is lost */
    /* An error that waited on box->fd told of an earlier datagram (ICMP); nothing more is lost by
     * it.  NULL: nobody asks. */
    void (*on_pending)(struct udp_outbox *box, int err);
    void *owner; /* borrowed */
    struct udp_message messages[UDP_OUT_MESSAGES];
    struct mmsghdr headers[UDP_OUT_MESSAGES];
    struct iovec pieces[UDP_OUT_MESSAGES];
    struct udp_control controls[UDP_OUT_MESSAGES];
    uint8_t bytes[UDP_OUT_BYTES];
};

/* The caller's; never fails. */
struct udp_outbox *udp_outbox_new(struct udp_out_counters *counters, void *owner,
                                  void (*on_error)(struct udp_outbox *box, int err));
void udp_outbox_free(struct udp_outbox *box); /* empty, or it is lost; NULL is fine */
/* Copies the datagram (at most UDP_BUFFER_BYTES); arguments as udp_socket_send(). */
void udp_outbox_add(struct udp_outbox *box, int fd, const union addr *peer, const union addr *local,
                    const struct iovec *pieces, size_t count);
void udp_outbox_flush(struct udp_outbox *box);
/* The socket is about to be closed: what is for it leaves first. */
void udp_outbox_forget(struct udp_outbox *box, int fd);

#endif
