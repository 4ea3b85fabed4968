/* edge_share - what one edge has of the limits that all edges share, so that none can starve the
 * others: streams, target connects, UDP sessions, and the memory that both lend.
 *
 * The rule is that of tunnel/budget.h with limits.edgeShare percent: an edge that is alone gets
 * nearly all of a limit, those that compete get the same each, and something stays free for the
 * next one that comes.  100 percent: no shares.
 *
 * One for each edge, from its first session on; the registry's edge, its lanes and its UDP flows
 * hold it.  Its counters are relaxed: an edge may pass its share by what several workers admit in
 * the same moment.
 */
#ifndef HUB_EDGE_SHARE_H
#define HUB_EDGE_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hub/hub_counters.h"
#include "tunnel/budget.h"

struct hub_lane;
struct hub_shared;

struct edge_share {
    struct budget budget;                           /* of its lanes: a part of the process's */
    _Atomic uint32_t forwards, connects, udp_flows; /* present */
    _Atomic uint64_t refused[SHARED_LIMIT_COUNT];   /* the memories count in `budget` */
    _Atomic unsigned refs;
};

struct edge_share *edge_share_new(struct hub_shared *shared);
struct edge_share *edge_share_ref(struct edge_share *share);
void edge_share_unref(struct edge_share *share); /* any thread; fine with NULL */

enum share_verdict {
    SHARE_OK,
    SHARE_LIMIT, /* all edges together are at the limit, and this one has next to nothing */
    SHARE_PAST,  /* this edge has its share: counted and logged */
};

/* May the lane's edge have one more of `which` (STREAMS, CONNECTS, UDP_SESSIONS)? */
enum share_verdict edge_share_ask(struct hub_lane *lane, enum shared_limit which);
/* All that it was refused, of all limits. */
uint64_t edge_share_refused(const struct edge_share *share);

#endif
