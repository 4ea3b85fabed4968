/* lane_script - what the owner of a lane does with its streams in the fuzz targets of lanes.
 * Corpora were found with these meanings of `what`: to change one is to throw them away. */
#ifndef FUZZ_LANE_SCRIPT_H
#define FUZZ_LANE_SCRIPT_H

#include <string.h>

#include "fuzz/script.h"
#include "tunnel/stream.h"

static inline void write_stream(struct stream *s, size_t n)
{
    struct iovec piece[16];
    size_t count = stream_reserve(s, piece, ARRAY_LEN(piece)), put = 0;

    for (size_t i = 0; i < count && put < n; i++) {
        size_t part = MIN(piece[i].iov_len, n - put);

        memset(piece[i].iov_base, 'w', part);
        put += part;
    }
    if (count > 0)
        stream_commit(s, put);
}

/* One step with a stream, which may never have been one. */
static inline void own_stream(struct stream *s, uint8_t what, size_t n, uint64_t now_ms)
{
    if (!s->on_change)
        return;
    switch (what % 8) {
    case 0:
    case 1:
    case 2:
        stream_taken(s, MIN(n, s->recvq.len), now_ms);
        break;
    case 3:
    case 4:
        write_stream(s, n);
        break;
    case 5:
        if (s->out == HALF_OPEN)
            stream_finish(s);
        break;
    case 6:
        stream_abort(s, what & 8 ? RESET_UNREACHABLE : RESET_BY_PEER);
        break;
    default:
        stream_release(s);
        break;
    }
}

#endif
