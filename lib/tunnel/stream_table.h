/* stream_table - the open streams of a lane by id: open addressing, grown by doubling, no
 * tombstones.  Look-up, add and remove are O(1). */
#ifndef TUNNEL_STREAM_TABLE_H
#define TUNNEL_STREAM_TABLE_H

#include <stdint.h>

#include "base/must.h"

struct stream;

struct stream_table {
    struct stream **slots; /* owned; each borrowed from its owner */
    uint32_t size;         /* a power of two, or 0 */
    uint32_t count;
};

void stream_table_fini(struct stream_table *t);
/* The id must not be there.  0, -ERR_NOMEM. */
MUST_USE int stream_table_add(struct stream_table *t, struct stream *s);
struct stream *stream_table_find(const struct stream_table *t, uint32_t id);
void stream_table_remove(struct stream_table *t, struct stream *s); /* must be there */

#endif
