/* udp_charge - what a queue of datagrams holds of limits.udpMemory: the chunks that it took.
 *
 * How many they are is seen from the pool's own count before and after, since a chunk is shared by
 * short datagrams and a long one has several:
 *
 *   udp_charge_begin(), one or more calls on the queue, udp_charge_settle()
 */
#ifndef TUNNEL_UDP_CHARGE_H
#define TUNNEL_UDP_CHARGE_H

#include "buf/chunk.h"
#include "tunnel/budget.h"

struct udp_charge {
    struct budget *budget;         /* borrowed */
    const struct chunk_pool *pool; /* borrowed */
    uint64_t bytes;                /* of chunks, taken from the budget */
    uint64_t most;                 /* taken for what is under way */
    size_t before;                 /* chunks that the pool had out */
};

void udp_charge_init(struct udp_charge *c, struct budget *budget, const struct chunk_pool *pool);
/* At the most n bytes come to the queue.  False: there is no memory for them; n of 0 has always. */
MUST_USE bool udp_charge_begin(struct udp_charge *c, size_t n);
void udp_charge_settle(struct udp_charge *c);

#endif
