/* chunk - see chunk.h. */
#include "buf/chunk.h"

#include <stdlib.h>

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
    pool->out_count--;
    if (pool->free_count >= pool->keep) {
        free(chunk);
        return;
    }
    chunk->next = pool->free;
    pool->free = chunk;
    pool->free_count++;
}
