/* upstream_internal - what the two halves of a connection to an origin see of each other: its life
 * (upstream.c), and what goes through it for an exchange (upstream_pump.c).
 */
#ifndef TRAFFIC_UPSTREAM_INTERNAL_H
#define TRAFFIC_UPSTREAM_INTERNAL_H

#include "traffic/traffic_reason.h"
#include "traffic/upstream.h"

/* --- upstream.c ------------------------------------------------------------------------------ */

void upstream_enter(struct upstream *u, enum upstream_state to);
/* Something moved: the origin's time begins anew. */
void upstream_touch(struct upstream *u);
/* The connection broke, or is not to be trusted any more: the exchange hears of it. */
void upstream_lose(struct upstream *u, enum traffic_reason reason);

/* --- upstream_pump.c: in ACTIVE and RELAY ---------------------------------------------------- */

/* What the exchange has for the origin, as far as the socket takes it. */
void upstream_write(struct upstream *u);
/* The answer, as far as the client has room. */
void upstream_read(struct upstream *u);

#endif
