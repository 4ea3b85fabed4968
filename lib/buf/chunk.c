/* chunk - see chunk.h. */
#include "buf/chunk.h"

#include <stdlib.h>

/* A chunk in the pool is poison: whoever still reads it is found by AddressSanitizer. */
#ifdef __SANITIZE_ADDRESS__
#define POOL_IS_POISONED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_IS_POISONED 1
#endif
#endif
#ifdef POOL_IS_POISONED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n)   ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

#define GIVEN UINT32_MAX /* tail of a chunk in the pool */

void chunk_pool_init(struct chunk_pool *pool, size_t keep, size_t cap)
{
    *pool = (struct chunk_pool){.keep = keep, .cap = cap};
}

void chunk_pool_fini(struct chunk_pool *pool)
{
    must(pool->out_count == 0);
    while (pool->free) {
        struct chunk *chunk = pool->free;

        pool->free = chunk->next;
        free(chunk);
    }
    pool->free_count = 0;
}

struct chunk *chunk_take(struct chunk_pool *pool)
{
    struct chunk *chunk = pool->free;

    if (chunk) {
        pool->free = chunk->next;
        pool->free_count--;
        ASAN_UNPOISON_MEMORY_REGION(chunk->bytes, sizeof(chunk->bytes));
    } else {
        if (pool->cap == 0 || pool->out_count < pool->cap)
            chunk = malloc(sizeof(*chunk));
        if (!chunk) {
            pool->refused++;
            return NULL;
        }
    }
    chunk->next = NULL;
    chunk->head = chunk->tail = CHUNK_HEADROOM;
    if (++pool->out_count > pool->out_peak)
        pool->out_peak = pool->out_count;
    return chunk;
}

void chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
    must(pool->out_count > 0);
    must(chunk->tail <= CHUNK_BYTES); /* not given already */
    chunk->tail = GIVEN;
    pool->out_count--;
    if (pool->free_count >= pool->keep) {
        free(chunk);
        return;
    }
    chunk->next = pool->free;
    pool->free = chunk;
    pool->free_count++;
    ASAN_POISON_MEMORY_REGION(chunk->bytes, sizeof(chunk->bytes));
}
