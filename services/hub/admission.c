/* admission - see admission.h: a hash table of the sources that have a connection now. */
#include "hub/admission.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

struct admission_slot {
    struct admission_slot *next; /* owned */
    struct admission_source source;
    unsigned count;
};

void admission_init(struct admission *a, unsigned cap, unsigned cap_per_source, uint64_t seed)
{
    *a = (struct admission){
        .seed = seed, .cap = cap, .cap_per_source = cap_per_source, .bucket_count = 16};
    while (a->bucket_count < cap)
        a->bucket_count *= 2;
    a->buckets = must_alloc(a->bucket_count * sizeof(struct admission_slot *));
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
    *a = (struct admission){0};
}

static struct admission_source source_of(const union addr *from)
{
    struct admission_source source = {0};
    union addr plain = *from;

    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET6) {
        source.is_v6 = true;
        memcpy(&source.prefix, &plain.in6.sin6_addr, sizeof(source.prefix));
    } else if (plain.sa.sa_family == AF_INET) {
        source.prefix = plain.in.sin_addr.s_addr;
    }
    return source;
}

/* The pointer that points to the source's slot, or to the end of its bucket.  The seed keeps peers
 * from choosing addresses that share a bucket. */
static struct admission_slot **find(struct admission *a, const struct admission_source *source)
{
    uint64_t hash = (source->prefix ^ a->seed ^ source->is_v6) * 0x9e3779b97f4a7c15u;
    struct admission_slot **at = &a->buckets[(hash >> 32) & (a->bucket_count - 1)];

    while (*at && !((*at)->source.prefix == source->prefix && (*at)->source.is_v6 == source->is_v6))
        at = &(*at)->next;
    return at;
}

enum admission_verdict admission_enter(struct admission *a, const union addr *from,
                                       struct admission_source *source)
{
    struct admission_slot **at;

    *source = source_of(from);
    at = find(a, source);
    if (*at && (*at)->count >= a->cap_per_source)
        return ADMISSION_SOURCE_FULL;
    if (a->count >= a->cap)
        return ADMISSION_FULL;
    if (!*at) {
        *at = must_alloc(sizeof(**at));
        **at = (struct admission_slot){.source = *source};
    }
    (*at)->count++;
    a->count++;
    return ADMISSION_OK;
}

void admission_leave(struct admission *a, const struct admission_source *source)
{
    struct admission_slot **at = find(a, source), *slot = *at;

    must(slot && slot->count > 0 && a->count > 0);
    a->count--;
    if (--slot->count > 0)
        return;
    *at = slot->next;
    free(slot);
}
