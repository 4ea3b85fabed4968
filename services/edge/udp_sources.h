/* udp_sources - the client addresses that the UDP flows of one worker come from, and how many each
 * has: so that one with many ports does not take everyone's place.  An IPv6 client counts by its
 * /64.
 *
 * Where there is no room for one more flow, somebody pays with the least recently used of his:
 *
 *   the address that asks, when it has more than its share;
 *   else the one that has most, when that is more than its share;
 *   else nobody in particular: the least recently used of all goes.
 *
 * A share is what each had if all had the same, but never less than 1 / UDP_SHARE_PARTS of all: the
 * source of a datagram is easily forged, and a flood from ever new addresses must not cost the many
 * users behind one address more than it costs others.
 *
 * To find an address costs O(1), one flow more or less O(log n) of the addresses.  What flows do
 * between costs nothing here but a step in their own list.  Pure; one worker's.
 */
#ifndef EDGE_UDP_SOURCES_H
#define EDGE_UDP_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/must.h"

struct proxy_header;

#define UDP_SOURCE_BUCKETS 4096u /* a power of two */
#define UDP_SHARE_PARTS    64u

/* One address that has flows. */
struct udp_source {
    struct list in_bucket;
    struct list flows; /* of the owner: the least recently used first */
    uint64_t prefix;   /* the IPv4 address, or the upper half of the IPv6 one */
    bool is_v6;
    uint32_t count; /* of its flows */
    size_t at;      /* in the heap */
};

struct udp_sources {
    struct list *buckets;     /* owned */
    struct udp_source **heap; /* owned; whoever has most is first */
    size_t count, size;       /* of the heap: addresses there are, and for how many it has room */
    uint64_t seed;            /* clients choose their addresses */
    uint64_t flows;           /* all of them */
};

void udp_sources_init(struct udp_sources *s, uint64_t seed);
void udp_sources_fini(struct udp_sources *s); /* no flow is left; fine on a zeroed one */

/* One more flow of the client, at the end of its source's list; NULL: no memory. */
MUST_USE struct udp_source *udp_sources_add(struct udp_sources *s,
                                            const struct proxy_header *client, struct list *flow);
/* The flow is the most recently used of its source. */
void udp_source_touch(struct udp_source *source, struct list *flow);
/* The flow goes; with the last one its source does. */
void udp_sources_remove(struct udp_sources *s, struct udp_source *source, struct list *flow);

/* Who pays for one more flow of the client; NULL: nobody has more than its share then.  It has a
 * flow. */
struct udp_source *udp_sources_payer(const struct udp_sources *s,
                                     const struct proxy_header *client);

#endif
