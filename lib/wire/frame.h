/* frame - the nine bytes in front of every payload on a TLS lane, and the table of frame types.
 *
 *     0        4      5        9
 *     | stream | type | length | payload ...      big-endian; api/tunnel.md "Frames"
 *
 * Knows a frame by itself only: whether a stream exists, or a peer may send it now, is the
 * tunnel's to say.  No payload is held here.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "wire/proxy.h"

#define FRAME_HEADER_BYTES 9
#define FRAME_PAYLOAD_MAX  65536
#define FRAME_PING_BYTES   8
#define FRAME_CREDIT_BYTES 4
#define FRAME_CREDIT_MAX   0x7fffffffu /* unused credit of a stream never passes it */
#define FRAME_UDP_OPEN_MIN 28          /* PROXY v2, IPv4 */

/* Who may send it. */
enum frame_from { FRAME_FROM_EDGE, FRAME_FROM_HUB, FRAME_FROM_EITHER };

/* What its id names. */
enum frame_kind {
    FRAME_OF_CONNECTION, /* id 0 */
    FRAME_OF_STREAM,     /* a TCP stream */
    FRAME_OF_UDP,        /* a UDP session; same id space as the streams */
};

/* name, value, who sends it, what its id names, shortest and longest payload */
#define FRAME_TYPES(X)                                                                             \
    X(OPEN, 0x01, FROM_EDGE, STREAM, 1, PROXY_V1_MAX)                                              \
    X(DATA, 0x02, FROM_EDGE, STREAM, 0, FRAME_PAYLOAD_MAX)                                         \
    X(CLOSE, 0x03, FROM_EDGE, STREAM, 0, 1)                                                        \
    X(DATA_BACK, 0x04, FROM_HUB, STREAM, 0, FRAME_PAYLOAD_MAX)                                     \
    X(CLOSE_BACK, 0x05, FROM_HUB, STREAM, 0, 1)                                                    \
    X(CONFIG, 0x06, FROM_HUB, CONNECTION, 2, FRAME_PAYLOAD_MAX)                                    \
    X(PING, 0x07, FROM_HUB, CONNECTION, FRAME_PING_BYTES, FRAME_PING_BYTES)                        \
    X(PONG, 0x08, FROM_EDGE, CONNECTION, FRAME_PING_BYTES, FRAME_PING_BYTES)                       \
    X(WINDOW_UPDATE, 0x09, FROM_EDGE, STREAM, FRAME_CREDIT_BYTES, FRAME_CREDIT_BYTES)              \
    X(WINDOW_UPDATE_BACK, 0x0a, FROM_HUB, STREAM, FRAME_CREDIT_BYTES, FRAME_CREDIT_BYTES)          \
    X(UDP_OPEN, 0x0b, FROM_EDGE, UDP, FRAME_UDP_OPEN_MIN, FRAME_PAYLOAD_MAX)                       \
    X(UDP_DATA, 0x0c, FROM_EDGE, UDP, 0, FRAME_PAYLOAD_MAX)                                        \
    X(UDP_DATA_BACK, 0x0d, FROM_HUB, UDP, 0, FRAME_PAYLOAD_MAX)                                    \
    X(UDP_CLOSE, 0x0e, FROM_EITHER, UDP, 0, 1)                                                     \
    X(CONFIG_ACK, 0x0f, FROM_EDGE, CONNECTION, 2, FRAME_PAYLOAD_MAX)                               \
    X(DRAIN, 0x10, FROM_EITHER, CONNECTION, 2, FRAME_PAYLOAD_MAX)                                  \
    X(GOODBYE, 0x11, FROM_EITHER, CONNECTION, 2, FRAME_PAYLOAD_MAX)

enum frame_type {
#define X(name, value, from, kind, min, max) FRAME_##name = value,
    FRAME_TYPES(X)
#undef X
};

struct frame {
    uint32_t stream;
    uint8_t type; /* an enum frame_type, once parsed without a fault */
    uint32_t len; /* of the payload */
};

/* The header of a frame; what it says must be legal (frame_fault() is NULL). */
void frame_emit(uint8_t out[FRAME_HEADER_BYTES], uint32_t stream, enum frame_type type,
                uint32_t len);

/* FRAME_HEADER_BYTES when a legal header begins at src, 0: fewer than nine bytes, or -ERR_PROTO: an
 * unknown type, a payload too long or too short for its type, an id that its type can't have.
 * *out is what stands there in both cases, frame_fault() says what is wrong with it. */
MUST_USE int frame_parse(struct frame *out, const uint8_t *src, size_t n);

/* NULL: legal.  Else a static name for the log: "unknown_type", "oversized", "bad_length",
 * "stream_frame_on_0", "connection_frame_on_stream". */
const char *frame_fault(const struct frame *f);

/* "WINDOW_UPDATE"; "unknown" for a number that is none. */
const char *frame_name(uint8_t type);
bool frame_is_known(uint8_t type);
/* These three: `type` must be known. */
enum frame_kind frame_kind(uint8_t type);
bool frame_is_from_edge(uint8_t type);
bool frame_is_from_hub(uint8_t type);

/* Why a stream's direction, or a UDP session, ended.  CLOSE_FIN is the empty payload. */
enum close_code {
    CLOSE_FIN = 0x00,
    CLOSE_RESET = 0x01,
    CLOSE_UNREACHABLE = 0x02, /* CLOSE_BACK only */
    CLOSE_NOT_ALLOWED = 0x03, /* CLOSE_BACK and UDP_CLOSE only */
};

/* "fin", "reset", "unreachable", "not_allowed". */
const char *close_name(enum close_code code);
/* The payload of CLOSE, CLOSE_BACK or UDP_CLOSE: how many bytes (0 or 1). */
size_t frame_close_emit(uint8_t out[1], enum close_code code);
/* Of a frame of one of these types; 0, or -ERR_PROTO: a byte that is not listed for its type. */
MUST_USE int frame_close_parse(enum close_code *out, const struct frame *f, const uint8_t *payload);

/* The payload of WINDOW_UPDATE and WINDOW_UPDATE_BACK: 1 to FRAME_CREDIT_MAX. */
void frame_credit_emit(uint8_t out[FRAME_CREDIT_BYTES], uint32_t credit);
/* 0, or -ERR_PROTO: 0, or more than any stream can hold. */
MUST_USE int frame_credit_parse(uint32_t *out, const uint8_t payload[FRAME_CREDIT_BYTES]);

#endif
