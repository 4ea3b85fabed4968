/* udp_sources - see udp_sources.h.  The heap is a binary one in an array: the sources of i are 2i +
 * 1 and 2i + 2, and have no more than it.
 */
#include "edge/udp_sources.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "wire/proxy.h"

void udp_sources_init(struct udp_sources *s, uint64_t seed)
{
    *s = (struct udp_sources){.seed = seed};
    s->buckets = must_alloc(UDP_SOURCE_BUCKETS * sizeof(*s->buckets));
    for (unsigned i = 0; i < UDP_SOURCE_BUCKETS; i++)
        list_init(&s->buckets[i]);
}

void udp_sources_fini(struct udp_sources *s)
{
    must(s->count == 0);
    free(s->buckets);
    free(s->heap);
    *s = (struct udp_sources){0};
}

/* --- the heap --------------------------------------------------------------------------------- */

static void put(struct udp_sources *s, size_t at, struct udp_source *source)
{
    s->heap[at] = source;
    source->at = at;
}

static void rise(struct udp_sources *s, struct udp_source *source)
{
    size_t at = source->at;

    for (; at > 0 && s->heap[(at - 1) / 2]->count < source->count; at = (at - 1) / 2)
        put(s, at, s->heap[(at - 1) / 2]);
    put(s, at, source);
}

static void sink(struct udp_sources *s, struct udp_source *source)
{
    size_t at = source->at;

    for (;;) {
        size_t below = 2 * at + 1;

        if (below + 1 < s->count && s->heap[below + 1]->count > s->heap[below]->count)
            below++;
        if (below >= s->count || s->heap[below]->count <= source->count)
            break;
        put(s, at, s->heap[below]);
        at = below;
    }
    put(s, at, source);
}

static bool make_room(struct udp_sources *s)
{
    size_t size = s->size ? 2 * s->size : 64;
    struct udp_source **heap;

    if (s->count < s->size)
        return true;
    heap = realloc(s->heap, size * sizeof(*heap));
    if (!heap)
        return false;
    s->heap = heap;
    s->size = size;
    return true;
}

/* --- the addresses ---------------------------------------------------------------------------- */

static uint64_t prefix_of(const struct proxy_header *client)
{
    uint64_t prefix = 0;

    memcpy(&prefix, client->src, client->family == PROXY_INET6 ? 8 : 4);
    return prefix;
}

static struct list *bucket_of(const struct udp_sources *s, const struct proxy_header *client)
{
    uint64_t hash = hash_add(hash_add(s->seed, prefix_of(client)), client->family == PROXY_INET6);

    return &s->buckets[hash & (UDP_SOURCE_BUCKETS - 1)];
}

static struct udp_source *find(const struct udp_sources *s, const struct proxy_header *client)
{
    LIST_EACH (bucket_of(s, client), node, after) {
        struct udp_source *source = container_of(node, struct udp_source, in_bucket);

        if (source->prefix == prefix_of(client) && source->is_v6 == (client->family == PROXY_INET6))
            return source;
    }
    return NULL;
}

static struct udp_source *source_new(struct udp_sources *s, const struct proxy_header *client)
{
    struct udp_source *source = make_room(s) ? calloc(1, sizeof(*source)) : NULL;

    if (!source)
        return NULL;
    source->prefix = prefix_of(client);
    source->is_v6 = client->family == PROXY_INET6;
    list_init(&source->flows);
    list_push(bucket_of(s, client), &source->in_bucket);
    put(s, s->count++, source); /* it has no flow yet: the last place is right */
    return source;
}

static struct udp_source *find_or_new(struct udp_sources *s, const struct proxy_header *client)
{
    struct udp_source *source = find(s, client);

    return source ? source : source_new(s, client);
}

struct udp_source *udp_sources_add(struct udp_sources *s, const struct proxy_header *client,
                                   struct list *flow)
{
    struct udp_source *source = find_or_new(s, client);

    if (!source)
        return NULL;
    source->count++;
    s->flows++;
    rise(s, source);
    list_push(&source->flows, flow);
    return source;
}

void udp_source_touch(struct udp_source *source, struct list *flow)
{
    if (flow->next == &source->flows) /* it is already: no other memory is touched, in most cases */
        return;
    list_remove(flow);
    list_push(&source->flows, flow);
}

void udp_sources_remove(struct udp_sources *s, struct udp_source *source, struct list *flow)
{
    struct udp_source *last;

    list_remove(flow);
    source->count--;
    s->flows--;
    sink(s, source);
    if (source->count > 0)
        return;
    must(list_is_empty(&source->flows));
    last = s->heap[--s->count]; /* it takes the empty place; one flow at least: more than nothing */
    if (last != source) {
        put(s, source->at, last);
        rise(s, last);
    }
    list_remove(&source->in_bucket);
    free(source);
}

struct udp_source *udp_sources_payer(const struct udp_sources *s, const struct proxy_header *client)
{
    struct udp_source *asks = find(s, client);
    size_t addresses = s->count + (asks ? 0 : 1);
    uint64_t share = MAX((s->flows + 1) / MIN(addresses, UDP_SHARE_PARTS), 1u);

    if (asks && asks->count + 1 > share)
        return asks;
    return s->count > 0 && s->heap[0]->count > share ? s->heap[0] : NULL;
}
