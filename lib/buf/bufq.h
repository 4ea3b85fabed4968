/* bufq - a queue of bytes in chunks: what came in and is not used yet, or is on its way to a
 * socket.  Bytes go in at the tail and out at the head, in order.
 *
 * The cap is in bytes.  It bounds what push and reserve accept, so len <= cap always.
 * Pointers from peek and reserve are valid until the next non-const call on the same queue.
 * A queue without bytes holds no chunk (but one that is reserved and not committed yet).
 */
#ifndef BUF_BUFQ_H
#define BUF_BUFQ_H

#include <stdbool.h>
#include <sys/uio.h>

#include "buf/chunk.h"

struct bufq {
    struct chunk *head, *tail; /* owned */
    struct chunk *spare;       /* owned: reserved behind the tail, not committed */
    struct chunk_pool *pool;   /* borrowed from the loop */
    size_t len, cap;
};

void bufq_init(struct bufq *q, struct chunk_pool *pool, size_t cap);
void bufq_fini(struct bufq *q); /* fine on a zeroed one; gives every chunk back */
void bufq_check(const struct bufq *q);

size_t bufq_room(const struct bufq *q); /* cap - len */

/* Copies n bytes in, all or nothing.  0, -ERR_FULL (room < n), -ERR_NOMEM (no chunk). */
MUST_USE int bufq_push(struct bufq *q, const void *src, size_t n);
/* The same with the bytes of several pieces, one behind the other. */
MUST_USE int bufq_push_pieces(struct bufq *q, const struct iovec *src, size_t count);

/* Room to read into: up to `max` pieces, in sum at most bufq_room(); returns how many pieces
 * (0: no room or no chunk).  bufq_commit() then says how many bytes were put there. */
MUST_USE size_t bufq_reserve(struct bufq *q, struct iovec *out, size_t max);
void bufq_commit(struct bufq *q, size_t n);

/* Borrows up to `max` pieces from the head on; returns how many. */
size_t bufq_peek(const struct bufq *q, struct iovec *out, size_t max);
/* Drops n bytes from the head; n <= len. */
void bufq_skip(struct bufq *q, size_t n);
/* Copies up to n bytes from the head on without taking them; returns how many. */
size_t bufq_copy(const struct bufq *q, void *dst, size_t n);
/* Drops everything. */
void bufq_clear(struct bufq *q);

#endif
