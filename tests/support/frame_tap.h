/* frame_tap - looks at the bytes of both directions of a lane as a stranger on the wire would, and
 * holds both sides to the protocol: an account of its own, that shares no code with lib/tunnel but
 * the reading of a header.
 *
 * It fails the test (ck_abort) when a side sends a frame that is not its to send, DATA past the
 * credit that has reached it, anything but credit or a reset after its FIN, anything after its
 * reset, an OPEN that does not rise or follows its DRAIN, a frame for a stream nobody opened, or
 * anything after its GOODBYE.  (api/tunnel.md)
 */
#ifndef SUPPORT_FRAME_TAP_H
#define SUPPORT_FRAME_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"

enum { TAP_EDGE, TAP_HUB, TAP_SIDES }; /* same numbers as enum lane_role */

struct tap_stream {
    bool is_open;
    bool has_fin[TAP_SIDES], has_reset[TAP_SIDES]; /* sent by that side */
    uint8_t reset_code[TAP_SIDES];
    uint64_t data[TAP_SIDES];   /* bytes that side has sent */
    uint64_t credit[TAP_SIDES]; /* what has reached that side */
};

struct tap_reader { /* one direction, at one place */
    uint8_t header[FRAME_HEADER_BYTES];
    uint32_t header_len, left;
    struct frame frame;
    uint8_t payload[8]; /* its beginning */
    uint32_t payload_len;
};

struct frame_tap {
    struct tap_reader sent[TAP_SIDES], got[TAP_SIDES];
    uint64_t count[TAP_SIDES][0x12]; /* frames sent, by type */
    uint64_t resets[TAP_SIDES];
    uint32_t highest_id;
    bool has_goodbye[TAP_SIDES], has_drain[TAP_SIDES];
    uint32_t initial_window;
    uint32_t base;              /* streams[0] has the id base + 1 */
    struct tap_stream *streams; /* owned */
    uint32_t size;
};

/* Ids begin at base + 1. */
void frame_tap_init(struct frame_tap *t, uint32_t initial_window, uint32_t base);
void frame_tap_fini(struct frame_tap *t);
/* `side` has put these bytes on the wire. */
void frame_tap_sent(struct frame_tap *t, unsigned side, const uint8_t *bytes, size_t n);
/* These bytes are about to be given to `side`. */
void frame_tap_got(struct frame_tap *t, unsigned side, const uint8_t *bytes, size_t n);
/* What is known of a stream; NULL: never opened. */
const struct tap_stream *frame_tap_stream(const struct frame_tap *t, uint32_t id);

#endif
