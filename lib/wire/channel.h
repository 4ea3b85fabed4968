/* channel - the header in front of every message on the control stream of a QUIC lane.
 *
 *     0      1        5                             big-endian; api/tunnel.md "QUIC transport"
 *     | type | length | payload ...                 CONFIG, CONFIG_ACK, PING, PONG, DRAIN, GOODBYE
 *     | type | length | session | payload ...       UDP_OPEN, UDP_CLOSE: the id is part of the
 * length
 *
 * The messages are frames of these types (wire/frame.h) and nothing else of them differs: streams,
 * their ends and their credit are QUIC's own there.
 */
#ifndef WIRE_CHANNEL_H
#define WIRE_CHANNEL_H

#include "wire/frame.h"

#define CHANNEL_HEADER_MIN 5u
#define CHANNEL_HEADER_MAX 9

/* The header of a message, as long as this returns.  `id` is 0 but for UDP_OPEN and UDP_CLOSE. */
size_t channel_emit(uint8_t out[CHANNEL_HEADER_MAX], uint32_t id, enum frame_type type,
                    uint32_t len);
/* How long the header is when a legal one begins at src (out->len is then the payload without the
 * id), 0: more bytes must come, or -ERR_PROTO: channel_fault() says why. */
MUST_USE int channel_parse(struct frame *out, const uint8_t *src, size_t n);
/* NULL: legal.  Else what frame_fault() says, or "not_on_channel". */
const char *channel_fault(const struct frame *f);

#endif
