/* sendq - bytes on their way to one peer, kept until the peer has them.
 *
 *   acked             sent               end             acked + cap
 *     |<-- in flight -->|<--- unsent ---->|<---- room ---->|
 *
 * Invariant: acked <= sent <= end <= acked + cap.                        (sendq_check)
 * Chunks never move: a transport may point into [acked, sent) until it reports the ack.
 * Offsets count from the start of the stream and never go back.  One loop, no locks.
 */
#ifndef BUF_SENDQ_H
#define BUF_SENDQ_H

#include <stdbool.h>
#include <sys/uio.h>

#include "buf/chunk.h"

#define SENDQ_PUSH_PIECES 18

struct sendq {
    struct chunk *head, *tail; /* owned: [acked, end) */
    struct chunk *at;          /* the chunk that holds `sent`, or NULL when nothing is unsent */
    uint32_t at_pos;           /* where in it */
    struct chunk *spare;       /* owned: reserved, not committed */
    struct chunk_pool *pool;   /* borrowed from the loop */
    uint64_t acked, sent, end;
    size_t cap;
};

void sendq_init(struct sendq *q, struct chunk_pool *pool, size_t cap);
void sendq_fini(struct sendq *q); /* fine on a zeroed one */
void sendq_check(const struct sendq *q);

/* Copies n bytes in, all or nothing; at most SENDQ_PUSH_PIECES - 1 chunks' worth in one call.
 * 0, -ERR_FULL (room < n), -ERR_NOMEM. */
MUST_USE int sendq_push(struct sendq *q, const void *src, size_t n);
/* The same for pieces, all of them or nothing. */
MUST_USE int sendq_push_pieces(struct sendq *q, const struct iovec *src, size_t count);
/* Room to read into, at most `limit` bytes in up to `max` pieces; how many pieces (0: none). */
MUST_USE size_t sendq_reserve(struct sendq *q, size_t limit, struct iovec *out, size_t max);
void sendq_commit(struct sendq *q, size_t n);

/* The unsent bytes at the front that lie in one chunk, at most `max`; returns how many (0: none).
 * In front of *out are CHUNK_HEADROOM bytes that may be written while acked == sent. */
size_t sendq_peek(const struct sendq *q, uint8_t **out, size_t max);
/* All unsent bytes from the front on, in up to `max` pieces; how many pieces. */
size_t sendq_peek_pieces(const struct sendq *q, struct iovec *out, size_t max);

void sendq_sent(struct sendq *q, size_t n);       /* the transport took n bytes */
void sendq_acked(struct sendq *q, uint64_t upto); /* the peer has them; TCP: upto = q->sent */
bool sendq_is_idle(const struct sendq *q);        /* nothing unsent */
size_t sendq_unsent(const struct sendq *q);
size_t sendq_held(const struct sendq *q); /* unsent or in flight */
size_t sendq_room(const struct sendq *q); /* 0: stop reading the other side */
void sendq_clear(struct sendq *q);        /* a reset: drops all, what is in flight too */

#endif
