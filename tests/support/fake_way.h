/* fake_way - one direction of a stream of fake_quic.h: its frames, from when they are sent until
 * they are acknowledged, and the signs that travel beside them.
 */
#ifndef SUPPORT_FAKE_WAY_H
#define SUPPORT_FAKE_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FAKE_PACKET 1200u
#define FAKE_SPANS  8u

struct fake_quic;

/* A STREAM frame: on its way, then waiting to be acknowledged. */
struct fake_frame {
    struct fake_frame *next;
    uint64_t due_ms; /* when it arrives; then when it is acknowledged */
    size_t n, acked;
    bool is_fin, has_arrived;
    unsigned span_count;
    struct iovec span[FAKE_SPANS]; /* borrowed: where the bytes must stay */
    uint8_t *bytes;                /* owned: what they were */
};

/* One direction of a QUIC stream. */
struct fake_way {
    struct fake_frame *head, *tail; /* owned: not acknowledged, in order */
    struct fake_frame *coming;      /* the first that has not arrived */
    uint64_t sent, limit;           /* the sender's: bytes so far, and how many it may send */
    uint64_t lent;                  /* the receiver's limit, as it was told last */
    uint64_t newest_due_ms, newest_ack_ms;
    uint64_t reset_due_ms, stop_due_ms, credit_due_ms; /* 0: none is on its way */
    uint64_t reset_code, stop_code;
    bool is_shut; /* the sender has reset it: nothing is sent again, or acknowledged */
    bool has_fin; /* its last frame was made */
    bool is_over; /* the receiver has seen its FIN or reset */
};

/* When what is sent now arrives; of one stream's frames none overtakes another (fake_way_send). */
uint64_t fake_way_due(struct fake_quic *net);
/* False also for 0: nothing is on its way. */
bool fake_way_is_due(const struct fake_quic *net, uint64_t due_ms);
/* n bytes from the front of the pieces into a frame. */
void fake_way_send(struct fake_quic *net, struct fake_way *way, const struct iovec *piece,
                   size_t count, size_t n, bool is_fin);
/* The bytes are not read again: but what is in a packet may still arrive. */
void fake_way_shut(struct fake_way *way);
/* Fails the test when bytes of the frame that are not acknowledged have moved or changed. */
void fake_way_verify(struct fake_quic *net, const struct fake_frame *frame);
/* Frees all frames. */
void fake_way_drop(struct fake_way *way);

#endif
