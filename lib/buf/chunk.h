/* chunk - fixed pieces of memory for bytes on their way, from one pool a loop.
 *
 *   bytes:  |<- headroom ->|.......|<== head..tail: data ==>|....... room .......|
 *           0              9                                                     CHUNK_BYTES
 *
 * A chunk holds CHUNK_BYTES = 16,384 bytes, one TLS record.  Data starts behind CHUNK_HEADROOM
 * bytes, so that a frame's header (9 bytes, api/tunnel.md) can be written in front of a full chunk
 * and both leave as one record without a copy.
 *
 * The pool keeps freed chunks for the next taker and gives back to the heap what is above its keep.
 * One loop, no locks.  An idle connection holds no chunk.
 */
#ifndef BUF_CHUNK_H
#define BUF_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define CHUNK_BYTES    16384u
#define CHUNK_HEADROOM 9u
#define CHUNK_ROOM     (CHUNK_BYTES - CHUNK_HEADROOM)

struct chunk {
    struct chunk *next; /* owned by the queue or pool that it is in */
    uint32_t head, tail;
    uint8_t bytes[CHUNK_BYTES];
};

struct chunk_pool {
    struct chunk *free; /* owned */
    size_t free_count;
    size_t keep;      /* at most so many stay in `free` */
    size_t cap;       /* at most so many exist; 0: no cap */
    size_t out_count; /* taken and not given back */
    size_t out_peak;
    uint64_t refused; /* takes refused by the cap or by the heap */
};

void chunk_pool_init(struct chunk_pool *pool, size_t keep, size_t cap);
/* Every chunk must have been given back. */
void chunk_pool_fini(struct chunk_pool *pool);

/* An empty chunk (head = tail = CHUNK_HEADROOM), or NULL: cap reached or no memory. */
MUST_USE struct chunk *chunk_take(struct chunk_pool *pool);
void chunk_give(struct chunk_pool *pool, struct chunk *chunk);

#endif
