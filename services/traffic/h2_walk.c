/* h2_walk - see h2_walk.h.  RFC 9113 sections 3.4 and 4.1. */
#include "traffic/h2_walk.h"

#include <string.h>

#include "base/must.h"

#define FIRST_BYTES 4u

static void read_head(struct h2_walk *w)
{
    const uint8_t *h = w->head;

    w->length = w->left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    w->type = h[3];
    w->flags = h[4];
    w->stream_id =
        (int32_t)(((uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8]) &
                  INT32_MAX);
    w->first = 0;
}

enum h2_walk_step h2_walk_next(struct h2_walk *w, const uint8_t *p, size_t n, size_t *used)
{
    size_t skip = MIN(n, (size_t)(H2_PREFACE_BYTES - w->preface_len)), part;

    w->preface_len = (uint8_t)(w->preface_len + skip);
    *used = skip;
    p += skip;
    n -= skip;
    if (w->head_len < H2_FRAME_HEAD_BYTES) {
        part = MIN(n, (size_t)(H2_FRAME_HEAD_BYTES - w->head_len));
        memcpy(w->head + w->head_len, p, part);
        w->head_len = (uint8_t)(w->head_len + part);
        *used += part;
        if (w->head_len < H2_FRAME_HEAD_BYTES)
            return H2_WALK_MORE;
        read_head(w);
        return H2_WALK_HEAD;
    }
    part = MIN(n, (size_t)w->left);
    for (size_t at = w->length - w->left, i = 0; at < FIRST_BYTES && i < part; at++, i++)
        w->first |= (uint32_t)p[i] << (24 - 8 * at);
    w->left -= (uint32_t)part;
    *used += part;
    if (w->left > 0)
        return H2_WALK_MORE;
    w->head_len = 0;
    return H2_WALK_END;
}
