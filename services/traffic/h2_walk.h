/* h2_walk - goes over the bytes of a client from frame to frame, so that each frame can be judged
 * by its head before the library has it, also those that the library passes over in silence.
 *
 *   preface (24) | head (9) | payload | head (9) | payload | ...
 */
#ifndef TRAFFIC_H2_WALK_H
#define TRAFFIC_H2_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_PREFACE_BYTES    24u
#define H2_FRAME_HEAD_BYTES 9u

struct h2_walk {
    uint8_t preface_len, head_len; /* of them, read */
    uint8_t head[H2_FRAME_HEAD_BYTES];
    /* Of the frame whose head is whole. */
    uint8_t type, flags;
    uint32_t length, left; /* payload, and what of it has not come */
    int32_t stream_id;
    /* The first 4 bytes of payload: whom a PRIORITY frame makes it depend on, how long padding is.
     */
    uint32_t first;
};

enum h2_walk_step {
    H2_WALK_MORE, /* all n bytes are used */
    H2_WALK_HEAD, /* a frame's head is whole */
    H2_WALK_END,  /* its payload is: at once behind H2_WALK_HEAD when it has none */
};

/* Goes on with n bytes; *used of them are passed over.  Zeroed, it begins at the preface. */
enum h2_walk_step h2_walk_next(struct h2_walk *w, const uint8_t *p, size_t n, size_t *used);

#endif
