/* udp_room - UDP flows of one worker that share something of which there is only so much: in the
 * order of their use, and by the addresses of their clients.  Where it is used up, one of them goes
 * for one more: the least recently used of an address that has more than its share (udp_sources.h),
 * or, where none has, of all that are in the room.
 *
 * What a flow has here is a place.  To enter costs what udp_sources_add() does, to leave the same,
 * all else O(1).  Pure; one worker's.
 */
#ifndef EDGE_UDP_ROOM_H
#define EDGE_UDP_ROOM_H

#include "edge/udp_sources.h"

struct udp_flow;

/* Which flow went for want of room. */
#define UDP_EVICTIONS(X)                                                                           \
    X(LEAST_RECENT, "least_recent")   /* of the worker's */                                        \
    X(ADDRESS_SHARE, "address_share") /* of an address that had more than its share */
enum udp_eviction {
#define X(name, text) UDP_EVICTED_##name,
    UDP_EVICTIONS(X)
#undef X
        UDP_EVICTION_COUNT
};
const char *udp_eviction_name(enum udp_eviction why);

/* A zeroed one is in no room. */
struct udp_place {
    struct udp_flow *flow; /* borrowed: contains it */
    struct list in_lru, in_source;
    struct udp_source *source; /* borrowed from the room; NULL: in none */
};

struct udp_room {
    struct list lru; /* places; the least recently used first */
    struct udp_sources sources;
};

void udp_room_init(struct udp_room *r, uint64_t seed);
void udp_room_fini(struct udp_room *r); /* nobody is left; fine on a zeroed one */

/* As the most recently used one, if it is not in it yet.  False: no memory. */
MUST_USE bool udp_room_enter(struct udp_room *r, struct udp_place *p,
                             const struct proxy_header *client);
void udp_room_touch(struct udp_room *r, struct udp_place *p); /* it is in */
void udp_room_leave(struct udp_room *r, struct udp_place *p); /* if it is in */

/* Which one goes for one more of this client; NULL: nobody is in. */
struct udp_place *udp_room_victim(const struct udp_room *r, const struct proxy_header *client,
                                  enum udp_eviction *why);

#endif
