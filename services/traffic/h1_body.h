/* h1_body - takes the body of a message out of HTTP/1 framing, as the bytes come.
 *
 *   NONE                                                        -> END
 *   LENGTH (left > 0) ------------------------------------------> END
 *   CLOSE ------------------------------ h1_body_eof() ---------> END
 *   SIZE -> [EXT] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                       `size 0`-> TRAILERS --------------------> END
 *
 * Chunk framing is read strictly (RFC 9112 7.1): 1 to 16 hex digits, then CRLF or an extension that
 * begins with ";" and a name; no blanks, no bare CR or LF; all extensions of a message together at
 * most 256 bytes.  Trailers are bounded by H1_TRAILER_BYTES.  Payload is never copied.
 */
#ifndef TRAFFIC_H1_BODY_H
#define TRAFFIC_H1_BODY_H

#include "buf/chunk.h"
#include "traffic/h1_scan.h"

#define H1_EXTENSION_BYTES 256u
#define H1_TRAILER_BYTES   4096u
#define H1_SIZE_DIGITS     16u

enum h1_body_state {
    H1_BODY_NONE,
    H1_BODY_LENGTH,
    H1_BODY_CLOSE,
    H1_BODY_SIZE,
    H1_BODY_EXT,
    H1_BODY_SIZE_LF,
    H1_BODY_DATA,
    H1_BODY_DATA_CR,
    H1_BODY_DATA_LF,
    H1_BODY_TRAILERS,
    H1_BODY_END,
};

struct h1_body {
    enum h1_body_state state;
    uint64_t left; /* of the length, or of the chunk */
    unsigned digits;
    unsigned ext_bytes;
    bool ext_needs_name;
    struct chunk_pool *pool; /* borrowed: for trailers that come in pieces */
    struct chunk *trailers;  /* owned */
    size_t trailers_len;
    struct h1_scan scan;
};

enum h1_body_step {
    H1_STEP_MORE, /* all n bytes are used */
    H1_STEP_DATA, /* a piece of payload; call again with the rest */
    H1_STEP_END,  /* the message ended behind *used; *trailers are valid until the next call */
    H1_STEP_BAD,  /* *reason */
};

struct h1_piece {
    size_t used;            /* of the n bytes */
    const uint8_t *payload; /* with H1_STEP_DATA; points into the bytes given */
    size_t payload_len;
    enum traffic_reason reason;
};

void h1_body_init(struct h1_body *b, struct chunk_pool *pool, enum http_framing framing,
                  uint64_t length);
void h1_body_fini(struct h1_body *b); /* fine on a zeroed one */
/* Goes on with n bytes (may be 0: a message without a body ends).  At most `payload_max` > 0
 * bytes of payload are taken.  `trailers` is filled with H1_STEP_END (count 0 without any). */
enum h1_body_step h1_body_run(struct h1_body *b, const uint8_t *p, size_t n, size_t payload_max,
                              struct http_fields *trailers, struct h1_piece *out);
/* The connection ended: true when that is the end of the message. */
bool h1_body_eof(struct h1_body *b);

#endif
