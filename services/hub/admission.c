/* admission - see admission.h: a hash table of the sources that have a connection now, which stand
 * by how many they have in a list each. */
#include "hub/admission.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

/* What connections of one place have in common. */
struct source {
    uint64_t prefix; /* the IPv4 address, or the upper half of the IPv6 one */
    enum { SOURCE_UNVALIDATED, SOURCE_V4, SOURCE_V6 } kind;
};

struct admission_slot {
    struct admission_slot *next; /* owned */
    struct source source;
    struct list entries; /* struct admission_entry, borrowed, the oldest first */
    struct list node;    /* in by_count[count] */
    unsigned count;
};

void admission_init(struct admission *a, unsigned cap, unsigned cap_per_source, uint64_t seed)
{
    *a = (struct admission){
        .seed = seed, .cap = cap, .cap_per_source = cap_per_source, .bucket_count = 16};
    while (a->bucket_count < cap)
        a->bucket_count *= 2;
    a->buckets = must_alloc(a->bucket_count * sizeof(struct admission_slot *));
    a->by_count = must_alloc(((size_t)cap + 1) * sizeof(*a->by_count));
    for (size_t n = 0; n <= cap; n++)
        list_init(&a->by_count[n]);
}

void admission_fini(struct admission *a)
{
    for (size_t i = 0; i < a->bucket_count; i++)
        while (a->buckets[i]) {
            struct admission_slot *slot = a->buckets[i];

            a->buckets[i] = slot->next;
            free(slot);
        }
    free(a->buckets);
    free(a->by_count);
    *a = (struct admission){0};
}

static struct source source_of(const union addr *from)
{
    struct source source = {.kind = SOURCE_UNVALIDATED};
    union addr plain;

    if (!from)
        return source;
    plain = *from;
    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET6) {
        source.kind = SOURCE_V6;
        memcpy(&source.prefix, &plain.in6.sin6_addr, sizeof(source.prefix));
    } else if (plain.sa.sa_family == AF_INET) {
        source.kind = SOURCE_V4;
        source.prefix = plain.in.sin_addr.s_addr;
    }
    return source;
}

/* The pointer that points to the source's slot, or to the end of its bucket.  The seed keeps peers
 * from choosing addresses that share a bucket. */
static struct admission_slot **find(struct admission *a, const struct source *source)
{
    uint64_t hash = (source->prefix ^ a->seed ^ (uint64_t)source->kind) * 0x9e3779b97f4a7c15u;
    struct admission_slot **at = &a->buckets[(hash >> 32) & (a->bucket_count - 1)];

    while (*at && !((*at)->source.prefix == source->prefix && (*at)->source.kind == source->kind))
        at = &(*at)->next;
    return at;
}

/* The only writer of slot->count and of a->most. */
static void set_count(struct admission *a, struct admission_slot *slot, unsigned count)
{
    list_remove(&slot->node);
    slot->count = count;
    if (count > 0)
        list_push(&a->by_count[count], &slot->node);
    if (count > a->most)
        a->most = count;
    while (a->most > 0 && list_is_empty(&a->by_count[a->most]))
        a->most--;
}

void admission_leave(struct admission *a, struct admission_entry *entry)
{
    struct admission_slot *slot = entry->slot, **at;

    if (!slot)
        return;
    must(slot->count > 0 && a->count > 0);
    list_remove(&entry->node);
    entry->slot = NULL;
    a->count--;
    set_count(a, slot, slot->count - 1);
    if (slot->count > 0)
        return;
    at = find(a, &slot->source);
    must(*at == slot);
    *at = slot->next;
    free(slot);
}

/* Its oldest, where that one may be asked to go for a newcomer whose source has `others` already;
 * else NULL. */
static struct admission_entry *who_gives_way(const struct admission_slot *slot, unsigned others,
                                             uint64_t now_ms)
{
    struct admission_entry *oldest = container_of(slot->entries.next, struct admission_entry, node);

    if (now_ms - oldest->since_ms < ADMISSION_GRACE_MS && slot->count <= others + 1)
        return NULL;
    return oldest;
}

static void enter_slot(struct admission *a, const struct source *source,
                       struct admission_entry *entry, uint64_t now_ms)
{
    struct admission_slot **at = find(a, source);

    if (!*at) {
        *at = must_alloc(sizeof(**at));
        **at = (struct admission_slot){.source = *source};
        list_init(&(*at)->entries);
        list_init(&(*at)->node);
    }
    entry->slot = *at;
    entry->since_ms = now_ms;
    list_push(&(*at)->entries, &entry->node);
    a->count++;
    set_count(a, *at, (*at)->count + 1);
}

enum admission_verdict admission_enter(struct admission *a, struct admission_entry *entry,
                                       const union addr *from, uint64_t now_ms,
                                       struct admission_entry **displaced)
{
    struct source source = source_of(from);
    const struct admission_slot *own = *find(a, &source);
    unsigned others = own ? own->count : 0;

    must(!entry->slot);
    *displaced = NULL;
    if (from && others >= a->cap_per_source) {
        *displaced = who_gives_way(own, others, now_ms);
        if (!*displaced)
            return ADMISSION_SOURCE_FULL;
    } else if (a->count >= a->cap) {
        const struct list *fullest = a->by_count[a->most].next;

        *displaced =
            who_gives_way(container_of(fullest, struct admission_slot, node), others, now_ms);
        if (!*displaced)
            return ADMISSION_FULL;
    }
    if (*displaced)
        admission_leave(a, *displaced);
    enter_slot(a, &source, entry, now_ms);
    return ADMISSION_OK;
}
