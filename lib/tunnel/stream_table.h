/* stream_table - the open streams of a lane by id. */
#ifndef TUNNEL_STREAM_TABLE_H
#define TUNNEL_STREAM_TABLE_H

#include "tunnel/id_table.h"
#include "tunnel/stream.h"

static inline MUST_USE int stream_table_add(struct id_table *t, struct stream *s)
{
    return id_table_add(t, &s->id);
}

static inline struct stream *stream_table_find(const struct id_table *t, uint32_t id)
{
    uint32_t *found = id_table_find(t, id);

    return found ? container_of(found, struct stream, id) : NULL;
}

static inline void stream_table_remove(struct id_table *t, struct stream *s)
{
    id_table_remove(t, &s->id);
}

#endif
