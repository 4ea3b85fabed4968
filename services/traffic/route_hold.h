/* route_hold - a route set as one worker holds it: counted once in the set, many times here without
 * atomics, with the worker's own state of each route.
 *
 * Worker's thread.
 */
#ifndef TRAFFIC_ROUTE_HOLD_H
#define TRAFFIC_ROUTE_HOLD_H

#include "traffic/route.h"

struct traffic_worker;
struct upstream_pool;

struct route_slot {
    struct upstream_pool **pools; /* owned array, each counted; NULL until the route is used */
    unsigned next;                /* round robin */
};

struct route_hold {
    unsigned users;
    struct traffic_worker *worker; /* borrowed */
    struct route_set *set;         /* counted */
    struct route_slot *slots;      /* owned, one a route */
};

/* One reference; takes one of the set. */
struct route_hold *route_hold_new(struct traffic_worker *w, struct route_set *set);
struct route_hold *route_hold_ref(struct route_hold *hold);
void route_hold_unref(struct route_hold *hold); /* fine with NULL */
/* The worker's state of a route of this set; its pools are found (or made) at the first use.
 * NULL: no memory for them. */
struct route_slot *route_hold_slot(struct route_hold *hold, const struct route *route);

#endif
