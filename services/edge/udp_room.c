/* udp_room - see udp_room.h. */
#include "edge/udp_room.h"

const char *udp_eviction_name(enum udp_eviction why)
{
    static const char *const names[] = {
#define X(name, text) text,
        UDP_EVICTIONS(X)
#undef X
    };

    return names[why];
}

void udp_room_init(struct udp_room *r, uint64_t seed)
{
    list_init(&r->lru);
    udp_sources_init(&r->sources, seed);
}

void udp_room_fini(struct udp_room *r)
{
    udp_sources_fini(&r->sources);
}

bool udp_room_enter(struct udp_room *r, struct udp_place *p, const struct proxy_header *client)
{
    if (p->source)
        return true;
    p->source = udp_sources_add(&r->sources, client, &p->in_source);
    if (!p->source)
        return false;
    list_push(&r->lru, &p->in_lru);
    return true;
}

void udp_room_touch(struct udp_room *r, struct udp_place *p)
{
    must(p->source != NULL);
    udp_source_touch(p->source, &p->in_source);
    if (p->in_lru.next == &r->lru)
        return;
    list_remove(&p->in_lru);
    list_push(&r->lru, &p->in_lru);
}

void udp_room_leave(struct udp_room *r, struct udp_place *p)
{
    if (!p->source)
        return;
    list_remove(&p->in_lru);
    udp_sources_remove(&r->sources, p->source, &p->in_source);
    p->source = NULL;
}

struct udp_place *udp_room_victim(const struct udp_room *r, const struct proxy_header *client,
                                  enum udp_eviction *why)
{
    struct udp_source *payer = udp_sources_payer(&r->sources, client);

    *why = payer ? UDP_EVICTED_ADDRESS_SHARE : UDP_EVICTED_LEAST_RECENT;
    if (payer)
        return container_of(payer->flows.next, struct udp_place, in_source);
    return list_is_empty(&r->lru) ? NULL : container_of(r->lru.next, struct udp_place, in_lru);
}
