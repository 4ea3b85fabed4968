/* upstream_pool - see upstream_pool.h. */
#include "traffic/upstream_pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

static struct upstream_pool **bucket_of(struct upstream_pools *pools, const char *key)
{
    uint32_t hash = 2166136261u;

    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619u;
    return &pools->buckets[(hash ^ hash >> 16) % POOL_BUCKETS];
}

static bool is_spoken_to_alike(const struct origin_tls *a, const struct origin_tls *b)
{
    if (!a || !b)
        return a == b;
    return memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

static void pool_free(struct upstream_pool *pool)
{
    origin_tls_unref(pool->tls);
    free(pool);
}

struct upstream_pool *upstream_pool_ref(struct upstream_pools *pools, const struct destination *d,
                                        struct origin_tls *tls)
{
    struct upstream_pool **bucket = bucket_of(pools, d->key), *pool;

    for (pool = *bucket; pool; pool = pool->next)
        if (strcmp(pool->key, d->key) == 0 && is_spoken_to_alike(pool->tls, tls))
            break;
    if (!pool) {
        pool = calloc(1, sizeof(*pool));
        if (!pool)
            return NULL;
        memcpy(pool->key, d->key, sizeof(pool->key));
        pool->addr = d->addr;
        pool->tls = tls ? origin_tls_ref(tls) : NULL;
        list_init(&pool->idle);
        pool->next = *bucket;
        *bucket = pool;
    }
    pool->users++;
    return pool;
}

void upstream_pool_unref(struct upstream_pool *pool)
{
    must(pool->users > 0);
    pool->users--;
}

unsigned upstream_pools_sweep(struct upstream_pools *pools, uint64_t now_ms)
{
    unsigned down = 0;

    for (size_t i = 0; i < POOL_BUCKETS; i++) {
        struct upstream_pool **at = &pools->buckets[i];

        while (*at) {
            struct upstream_pool *pool = *at;

            down += pool->down_until_ms != 0;
            if (pool->users > 0 || pool->open > 0 || upstream_pool_is_down(pool, now_ms)) {
                at = &pool->next;
                continue;
            }
            down -= pool->down_until_ms != 0;
            *at = pool->next;
            pool_free(pool);
        }
    }
    return down;
}

void upstream_pools_fini(struct upstream_pools *pools)
{
    for (size_t i = 0; i < POOL_BUCKETS; i++)
        while (pools->buckets[i]) {
            struct upstream_pool *pool = pools->buckets[i];

            must(pool->users == 0 && pool->open == 0);
            pools->buckets[i] = pool->next;
            pool_free(pool);
        }
}

bool upstream_pool_is_down(const struct upstream_pool *pool, uint64_t now_ms)
{
    return pool->down_until_ms > now_ms;
}

bool upstream_pool_failed(struct upstream_pool *pool, uint64_t now_ms)
{
    bool was_up = pool->down_until_ms == 0;
    unsigned doublings = MIN(pool->failures, 4u);

    /* Attempts that began before the first failure tell nothing new. */
    if (upstream_pool_is_down(pool, now_ms))
        return false;
    pool->failures++;
    pool->down_until_ms = now_ms + MIN(POOL_DOWN_MS << doublings, POOL_DOWN_MAX_MS);
    return was_up;
}

bool upstream_pool_succeeded(struct upstream_pool *pool)
{
    bool was_down = pool->down_until_ms != 0;

    pool->down_until_ms = 0;
    pool->failures = 0;
    return was_down;
}
