/* health - active checks of destinations (`healthCheck` of a route): GET on a connection of its own
 * each interval, by the control thread, for all workers.
 *
 *   set --health_take()--> watches (one for each destination, path, name) --mark--> workers
 *
 * A watch lives as long as sets name it: a new set keeps what it knew.  What workers read is a
 * mark: one flag, written by the control thread alone.  A destination begins as up, and changes
 * after so many answers of the other kind in a row; a kept or refused connection of a request tells
 * of its own (upstream_pool.h).
 *
 * WAITING --> CONNECTING --> HANDSHAKE (https) --> ASKING --> WAITING
 */
#ifndef TRAFFIC_HEALTH_H
#define TRAFFIC_HEALTH_H

#include <stdatomic.h>

#include "base/list.h"
#include "loop/loop.h"
#include "traffic/route.h"

struct json_object;
struct metrics;

/* Of one destination of a route. */
struct health_mark {
    _Atomic unsigned refs;
    _Atomic bool is_down;
};

/* Whether the checks say that the i-th destination of the route is down.  Any thread. */
static inline bool health_is_down(const struct route *route, size_t i)
{
    return route->marks && route->marks[i] &&
           atomic_load_explicit(&route->marks[i]->is_down, memory_order_relaxed);
}

/* Gives the references back and frees the array; fine with NULL.  Any thread. */
void health_marks_free(struct health_mark **marks, size_t count);

/* Texts are borrowed for the call. */
struct health_change {
    const char *host, *target, *path;
    bool is_up;
};

struct health {
    struct loop *loop; /* borrowed: the control loop */
    /* The checks changed their mind, once per change; or NULL. */
    void (*on_change)(struct health *h, const struct health_change *change);
    struct list watches;           /* owned */
    struct health_watch **buckets; /* owned */
    unsigned count, down, watches_max;
    uint64_t generation;
    uint64_t good, bad; /* answers; all that is no good answer */
    uint64_t refused;   /* destinations not watched since watches_max were */
};

void health_init(struct health *h, struct loop *loop, unsigned watches_max,
                 void (*on_change)(struct health *h, const struct health_change *change));
void health_fini(struct health *h); /* fine with a zeroed one */
/* A set is about to be published: its routes get their marks, watches that it does not name end. */
void health_take(struct health *h, struct route_set *set);
/* [{host, target, path, isUp, since}], those that are down; the caller's. */
struct json_object *health_emit_down(const struct health *h);
void health_collect(const struct health *h, struct metrics *m);

#endif
