/* route_hold - see route_hold.h. */
#include "traffic/route_hold.h"

#include <stdlib.h>

#include "base/must.h"
#include "traffic/traffic_worker_internal.h"

struct route_hold *route_hold_new(struct traffic_worker *w, struct route_set *set)
{
    struct route_hold *hold = must_alloc(sizeof(*hold));

    hold->users = 1;
    hold->worker = w;
    hold->set = route_set_ref(set);
    hold->slots = must_alloc(set->count * sizeof(*hold->slots));
    return hold;
}

struct route_hold *route_hold_ref(struct route_hold *hold)
{
    must(hold->users > 0);
    hold->users++;
    return hold;
}

void route_hold_unref(struct route_hold *hold)
{
    if (!hold)
        return;
    must(hold->users > 0);
    if (--hold->users > 0)
        return;
    for (size_t i = 0; i < hold->set->count; i++) {
        struct route_slot *slot = &hold->slots[i];

        for (size_t d = 0; slot->pools && d < hold->set->routes[i].destination_count; d++)
            upstream_pool_unref(slot->pools[d]);
        free(slot->pools);
    }
    route_set_unref(hold->set);
    free(hold->slots);
    free(hold);
}

/* A pool for each destination, counted; NULL: no memory. */
static struct upstream_pool **find_pools(struct traffic_worker *w, const struct route *route)
{
    struct upstream_pool **pools = calloc(route->destination_count, sizeof(struct upstream_pool *));

    for (size_t i = 0; pools && i < route->destination_count; i++) {
        pools[i] = upstream_pool_ref(&w->pools, &route->destinations[i], route->options->tls);
        if (pools[i])
            continue;
        while (i-- > 0)
            upstream_pool_unref(pools[i]);
        free(pools);
        return NULL;
    }
    return pools;
}

struct route_slot *route_hold_slot(struct route_hold *hold, const struct route *route)
{
    struct route_slot *slot = &hold->slots[route - hold->set->routes];

    must(route >= hold->set->routes && route < hold->set->routes + hold->set->count);
    must(route->destination_count > 0);
    if (!slot->pools) {
        slot->pools = find_pools(hold->worker, route);
        /* So that the workers together don't begin at the same destination. */
        slot->next = hold->worker->index % (unsigned)route->destination_count;
    }
    return slot->pools ? slot : NULL;
}
