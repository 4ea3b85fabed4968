/* quic_route - see quic_route.h: buckets of short chains, doubled when there are more routes than
 * buckets.  When there is no memory to grow, the chains get longer. */
#include "quic/quic_route.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define SIZE_FIRST 64u

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static uint64_t hash(const struct route_table *t, enum route_kind kind, const uint8_t *key,
                     size_t key_len)
{
    uint64_t sum = t->seed[0] ^ ((uint64_t)kind << 8 | key_len);

    for (size_t at = 0; at < key_len; at += sizeof(uint64_t)) {
        uint64_t word = 0;

        memcpy(&word, key + at, MIN(sizeof(word), key_len - at));
        sum = mix(sum ^ word) + t->seed[1];
    }
    return mix(sum);
}

static struct route **bucket_of(const struct route_table *t, const struct route *r)
{
    return &t->buckets[hash(t, r->kind, r->key, r->key_len) & (t->size - 1)];
}

int quic_route_table_init(struct route_table *t, const uint64_t seed[2])
{
    *t = (struct route_table){.size = SIZE_FIRST, .seed = {seed[0], seed[1]}};
    t->buckets = calloc(t->size, sizeof(struct route *));
    return t->buckets ? 0 : -ERR_NOMEM;
}

void quic_route_table_fini(struct route_table *t)
{
    must(t->count == 0);
    free(t->buckets);
    *t = (struct route_table){0};
}

static void grow(struct route_table *t)
{
    struct route_table larger = *t;

    larger.size = t->size * 2;
    larger.buckets = calloc(larger.size, sizeof(struct route *));
    if (!larger.buckets)
        return;
    for (size_t i = 0; i < t->size; i++) {
        struct route *r, *next;

        for (r = t->buckets[i]; r; r = next) {
            struct route **to = bucket_of(&larger, r);

            next = r->next;
            r->next = *to;
            *to = r;
        }
    }
    free(t->buckets);
    *t = larger;
}

static bool is_it(const struct route *r, enum route_kind kind, const uint8_t *key, size_t key_len)
{
    return r->kind == kind && r->key_len == key_len && memcmp(r->key, key, key_len) == 0;
}

static const struct route *find(const struct route_table *t, enum route_kind kind,
                                const uint8_t *key, size_t key_len)
{
    const struct route *r = t->buckets[hash(t, kind, key, key_len) & (t->size - 1)];

    while (r && !is_it(r, kind, key, key_len))
        r = r->next;
    return r;
}

bool quic_route_add(struct route_table *t, struct route *r, enum route_kind kind,
                    const uint8_t *key, size_t key_len, void *owner)
{
    struct route **at;

    must(r->kind == ROUTE_NONE && kind != ROUTE_NONE && owner && key_len <= ROUTE_KEY_MAX);
    if (find(t, kind, key, key_len))
        return false;
    if (t->count >= t->size)
        grow(t);
    r->kind = kind;
    r->owner = owner;
    r->key_len = (uint8_t)key_len;
    memcpy(r->key, key, key_len);
    at = bucket_of(t, r);
    r->next = *at;
    *at = r;
    t->count++;
    return true;
}

void quic_route_remove(struct route_table *t, struct route *r)
{
    struct route **at;

    if (r->kind == ROUTE_NONE)
        return;
    for (at = bucket_of(t, r); *at != r; at = &(*at)->next)
        must(*at);
    *at = r->next;
    if (t->last == r)
        t->last = NULL;
    t->count--;
    *r = (struct route){0};
}

void *quic_route_find(struct route_table *t, enum route_kind kind, const uint8_t *key,
                      size_t key_len)
{
    const struct route *r;

    if (t->last && is_it(t->last, kind, key, key_len))
        return t->last->owner;
    r = key_len <= ROUTE_KEY_MAX ? find(t, kind, key, key_len) : NULL;
    if (!r)
        return NULL;
    t->last = r;
    return r->owner;
}
