/* upstream_pool - the destinations of one worker: for each its kept connections and its health.
 *
 * A pool belongs to an address ("192.0.2.1:80") and to how it is spoken to (origin_tls.h), whatever
 * routes name it, so kept connections and health outlive a change of routes.  Health is passive: a
 * connection that fails marks the destination down for 5 s, then 10, ... up to 60; one that
 * succeeds marks it up.
 */
#ifndef TRAFFIC_UPSTREAM_POOL_H
#define TRAFFIC_UPSTREAM_POOL_H

#include "base/list.h"
#include "loop/addr.h"
#include "traffic/route.h"

#define POOL_BUCKETS     256u
#define POOL_DOWN_MS     5000u
#define POOL_DOWN_MAX_MS 60000u

struct traffic_worker;
struct upstream;

struct upstream_pool {
    struct upstream_pool *next; /* in its bucket */
    char key[ADDR_TEXT_MAX];
    struct origin_tls *tls; /* counted; NULL: plain */
    union addr addr;
    unsigned users;   /* slots of routes that name it */
    unsigned open;    /* connections, idle or not */
    struct list idle; /* kept connections, the last used first */
    unsigned idle_count;
    unsigned failures;      /* in a row */
    uint64_t down_until_ms; /* 0: up; in the past: down, to be tried again */
};

struct upstream_pools {
    struct upstream_pool *buckets[POOL_BUCKETS]; /* owned */
};

/* Finds or makes the pool of a destination and counts one user.  NULL: no memory. */
struct upstream_pool *upstream_pool_ref(struct upstream_pools *pools, const struct destination *d,
                                        struct origin_tls *tls);
void upstream_pool_unref(struct upstream_pool *pool);
/* Frees the pools that nobody uses; those that are down are kept while they are.  Returns how many
 * are down. */
unsigned upstream_pools_sweep(struct upstream_pools *pools, uint64_t now_ms);
void upstream_pools_fini(struct upstream_pools *pools); /* every connection is closed before */

bool upstream_pool_is_down(const struct upstream_pool *pool, uint64_t now_ms);
/* True when that changed its health. */
bool upstream_pool_failed(struct upstream_pool *pool, uint64_t now_ms);
bool upstream_pool_succeeded(struct upstream_pool *pool);

#endif
