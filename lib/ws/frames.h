/* frames - the frames of an open WebSocket, the client's side (RFC 6455, sections 5 to 7): bytes of
 * the server in, messages and answers out.  wslay reads and writes them.
 *
 *   server's bytes --ws_frames_input--> on_data, on_message, on_pong
 *   our bytes      <--ws_frames_emit--  texts, pings, the pongs that answer pings, the close frame
 *
 * A message is handed on in pieces as they come in and held nowhere here; message_max bounds it
 * whatever its fragments are.  What breaks the rules queues a close frame with the code that RFC
 * 6455 has for it, and nothing more is read.  Pure but for the mask's randomness.
 */
#ifndef WS_FRAMES_H
#define WS_FRAMES_H

#include "buf/bufq.h"

enum ws_code {
    WS_CODE_NONE = 0,
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_UNSUPPORTED = 1003, /* a binary message */
    WS_CODE_BAD_DATA = 1007,    /* no UTF-8, or no JSON where there must be */
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_BIG = 1009,
};

#define WS_OUT_BYTES 65536u /* encoded and unsent; what is behind it waits as it came */

struct wslay_event_context;

struct ws_frames {
    struct wslay_event_context *wslay; /* owned */
    struct bufq out;                   /* encoded: the caller takes it to the socket */
    const uint8_t *in;                 /* borrowed from the caller of ws_frames_input() */
    size_t in_len;
    uint64_t message_len, message_max;
    bool is_in_message; /* begun, not ended */
    bool is_control;    /* the frame that is being read: wslay keeps its payload */
    bool is_cut;        /* `out` ends within a frame, as far as one can tell */
    unsigned code;      /* that we close with, or would have answered; WS_CODE_NONE */
    /* Pieces of one text message, checked UTF-8 but for a character that the end of one cuts; then
     * its end.  They may queue and close, but not free. */
    void (*on_data)(struct ws_frames *f, const uint8_t *bytes, size_t n);
    void (*on_message)(struct ws_frames *f);
    void (*on_pong)(struct ws_frames *f);
};

/* The callbacks are set by the caller.  0, -ERR_NOMEM. */
MUST_USE int ws_frames_init(struct ws_frames *f, struct chunk_pool *pool, uint64_t message_max);
void ws_frames_fini(struct ws_frames *f); /* fine on a zeroed one */

/* Takes all n bytes; what comes behind a close frame, either side's, is dropped.  0; -ERR_PROTO:
 * the server broke the rules, a close frame is queued; -ERR_NOMEM. */
MUST_USE int ws_frames_input(struct ws_frames *f, const uint8_t *bytes, size_t n);

/* Copies a text into the queue.  0, -ERR_CLOSED (a close frame is queued already), -ERR_NOMEM. */
MUST_USE int ws_frames_text(struct ws_frames *f, const char *text, size_t n);
MUST_USE int ws_frames_ping(struct ws_frames *f);
/* Queues a close frame, once; from then on nothing is handed on. */
void ws_frames_close(struct ws_frames *f, enum ws_code code, const char *why);

/* Encodes into `out` as far as it has room.  0, -ERR_NOMEM. */
MUST_USE int ws_frames_emit(struct ws_frames *f);
/* Messages, pongs and all, that are not encoded yet. */
size_t ws_frames_queued(const struct ws_frames *f);
bool ws_frames_is_idle(const struct ws_frames *f); /* nothing is queued, nothing waits in `out` */

bool ws_frames_got_close(const struct ws_frames *f);
unsigned ws_frames_close_code(const struct ws_frames *f); /* the server's: 1005 without one */

#endif
