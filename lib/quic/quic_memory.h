/* quic_memory - what ngtcp2 allocates for one connection: counted, and bounded.
 *
 * A peer that has proved who it is may still make ngtcp2 hold much for it: a gap in a stream costs
 * some 70 bytes, and the first of a stream 8 KiB of reorder buffer, within a window that counts
 * neither.  So an allowance is free, and so much for each stream that is open; what goes beyond is
 * asked of a lender (quic.h) in steps, and given back as it falls.  Who is refused gets NULL, and
 * nothing more from then on: ngtcp2 says NGTCP2_ERR_NOMEM, or says nothing, and the connection ends
 * (quic_settle).
 *
 *   0           held              allowance, streams               + lent
 *   |-- in use ->|                        |<-- steps of the lender ->|
 *
 * Invariant: lent is a multiple of the step.  What is counted is what malloc gave, which may be a
 * little more than was asked for: by so much `held` may pass its bound.
 */
#ifndef QUIC_QUIC_MEMORY_H
#define QUIC_QUIC_MEMORY_H

#include <ngtcp2/ngtcp2.h>

#include "quic/quic.h"

#define QUIC_MEMORY_BESIDE   (16u << 20) /* free, beside the connection's window */
#define QUIC_MEMORY_UNPROVEN (1u << 20)  /* the same until quic_admit() */
/* For each open stream, as soon as the peer has proved who it is: a stream of which a packet was
 * ever lost keeps a block of 8 KiB until its offset has left that, and some tables for good, 10 KiB
 * together; with ACKs that were lost there are two more of those. */
#define QUIC_MEMORY_STREAM (12u * 1024)
#define QUIC_MEMORY_STEP   (1u << 20)

enum quic_memory_state {
    QUIC_MEMORY_GOOD,
    QUIC_MEMORY_REFUSED, /* by the lender, or there is none */
    QUIC_MEMORY_NONE,    /* the system has none */
};

struct quic_memory {
    ngtcp2_mem mem; /* ngtcp2 keeps its address: outlives the ngtcp2_conn */
    enum quic_memory_state state;
    uint64_t held;
    uint64_t allowance, per_stream; /* free */
    uint64_t streams;
    uint64_t lent;
    const struct quic_lender *lender; /* borrowed; NULL: the allowance is all there is */
    void *arg;                        /* borrowed: the lender's */
};

void quic_memory_init(struct quic_memory *m, uint64_t allowance, uint64_t per_stream);
/* After ngtcp2_conn_del(): gives back what is lent.  Fine with one that is zeroed. */
void quic_memory_fini(struct quic_memory *m);
/* Only what is asked for from now on is measured by it. */
void quic_memory_set_allowance(struct quic_memory *m, uint64_t allowance, uint64_t per_stream);
void quic_memory_stream_opened(struct quic_memory *m);
void quic_memory_stream_closed(struct quic_memory *m);
/* Another lender; the last one gets back all that it lent.  NULL: none. */
void quic_memory_set_lender(struct quic_memory *m, const struct quic_lender *lender, void *arg);

#endif
