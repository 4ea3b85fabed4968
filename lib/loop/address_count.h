/* address_count - how many connections each client address has open, for all workers together,
 * without a lock: an array of relaxed counters, and a keyed hash of the address chooses one.
 *
 * Two addresses may share a counter; with 65,536 of them that costs an honest client something only
 * when it meets one that is close to the limit, and nobody can aim at it, since the key is random.
 * An IPv6 client counts by its /64.
 */
#ifndef LOOP_ADDRESS_COUNT_H
#define LOOP_ADDRESS_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include "loop/addr.h"

#define ADDRESS_SLOTS 65536u

struct address_count {
    uint64_t key[2];
    _Atomic uint32_t open[ADDRESS_SLOTS];
};

void address_count_init(struct address_count *c, const uint64_t key[2]); /* random */
/* Counts one more, unless `limit` are open: then false. */
bool address_count_add(struct address_count *c, const union addr *client, uint32_t limit,
                       uint32_t *slot);
void address_count_remove(struct address_count *c, uint32_t slot);

#endif
