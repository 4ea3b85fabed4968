/* client_patience - how long what is sent to a client may wait for it to be read.
 *
 * Who reads slowly lets the kernel's buffer fill, and from then on what leaves is what it reads:
 * that must be limits.readRate on the whole.  Only time in which bytes wait counts; each byte that
 * leaves buys its time, and no more than timeouts.bodyIdleSecs is ever in hand.  While the worker's
 * buffers have run out (worker_pressure.h) it is PRESSURE_PATIENCE_MS without a byte that leaves.
 */
#ifndef TRAFFIC_CLIENT_PATIENCE_H
#define TRAFFIC_CLIENT_PATIENCE_H

#include <stddef.h>
#include <stdint.h>

#include "traffic/traffic_reason.h"

struct client;

/* `moved` bytes left for the kernel; of the client itself, whenever it has flushed. */
void client_pay_write(struct client *c, size_t moved);
/* When what waits for the client must have moved on, by limits.readRate or bodyIdleSecs; 0: nothing
 * waits. */
uint64_t client_write_due_ms(const struct client *c);
/* What waits is upgraded connections': they have a time of their own, this one begins anew. */
void client_forgive_write(struct client *c);
/* `ms`, or less when what waits for the client must have moved on before. */
uint64_t client_clip_patience(const struct client *c, uint64_t ms);
/* Why it is given up on while bytes wait: it takes nothing, or less than limits.readRate. */
enum traffic_reason client_write_reason(const struct client *c);

#endif
