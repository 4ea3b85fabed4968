/* upstream_choice - which destination of its route a request goes to, and which comes next when
 * that one cannot be reached.
 *
 * Destinations that are up come first, in the order of the route's `balance`; then those that are
 * down and did not fail this request yet: they may be back, and an attempt is better than a
 * refusal. What is counted for leastConnections and p2c are the requests in flight of this worker.
 */
#ifndef TRAFFIC_UPSTREAM_CHOICE_H
#define TRAFFIC_UPSTREAM_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

struct route;
struct route_slot;
struct upstream_pool;

#define UPSTREAM_ATTEMPTS_MAX 8u /* destinations tried for one request */

struct upstream_choice {
    unsigned first; /* where round robin begins */
    unsigned attempts;
    const struct upstream_pool *tried[UPSTREAM_ATTEMPTS_MAX]; /* borrowed from the slot */
};

/* For a new request.  `slot` is the worker's state of the route. */
void upstream_choice_start(struct upstream_choice *c, struct route_slot *slot,
                           const struct route *route);
/* The next destination, each once; NULL: all were tried, or as many as may be.  `dice` is a random
 * state that is changed. */
struct upstream_pool *upstream_choice_next(struct upstream_choice *c, const struct route_slot *slot,
                                           const struct route *route, uint64_t now_ms,
                                           uint64_t *dice);

#endif
