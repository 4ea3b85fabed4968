/* worker_pressure - how near a worker is to limits.poolChunks, and what is given up for it: new
 * work first, then speed, and of what has begun nothing but what its own client does not take.
 *
 * SHEDDING  an eighth is left: no new connection, no new request (503 no_memory); of an answer or a
 *           body under way one record at a time is held
 * STALLED   a thirty-second part is left: no answer is read on until buffers come back, and who
 * takes nothing of what waits for him for PRESSURE_PATIENCE_MS is given up on (slow_read)
 *
 * Worker's thread.
 */
#ifndef TRAFFIC_WORKER_PRESSURE_H
#define TRAFFIC_WORKER_PRESSURE_H

#include "loop/loop.h"

struct client;
struct traffic_worker;

enum worker_pressure { PRESSURE_NONE, PRESSURE_SHEDDING, PRESSURE_STALLED };

#define PRESSURE_LOOK_MS     50u   /* between two looks whether those that are stalled may go on */
#define PRESSURE_PATIENCE_MS 5000u /* a client that reads at all has taken something by then */
#define PRESSURE_SHED_PARTS  8u
#define PRESSURE_SHED_MIN    24u /* chunks: what a few turns of one client take */
#define PRESSURE_STALL_PARTS 32u
#define PRESSURE_STALL_MIN   8u

enum worker_pressure worker_pressure(const struct traffic_worker *w);
/* Runs the client again when buffers have come back. */
void worker_stall(struct traffic_worker *w, struct client *c);
/* Looks whether they have: the worker's deadline `relief`. */
void worker_relieve(struct deadline *d);

#endif
