/* id_table - what is open in a lane by its id: open addressing, grown by doubling, no tombstones.
 * Look-up, add and remove are O(1).  It holds where the id stands in its owner (a stream, a UDP
 * session), which container_of() leads to. */
#ifndef TUNNEL_ID_TABLE_H
#define TUNNEL_ID_TABLE_H

#include <stdint.h>

#include "base/must.h"

struct id_table {
    uint32_t **slots; /* owned; each borrowed from its owner */
    uint32_t size;    /* a power of two, or 0 */
    uint32_t count;
};

void id_table_fini(struct id_table *t);
/* The id must not be there.  0, -ERR_NOMEM. */
MUST_USE int id_table_add(struct id_table *t, uint32_t *id);
/* Where the id stands, or NULL. */
uint32_t *id_table_find(const struct id_table *t, uint32_t id);
void id_table_remove(struct id_table *t, uint32_t *id); /* must be there */

#endif
