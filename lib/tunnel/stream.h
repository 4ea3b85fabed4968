/* stream - one client's TCP connection inside a tunnel, as hub and edge see it.
 *
 * It lives inside its owner (a relay) and belongs to one lane from its OPEN until it ended:
 *
 *   IDLE -> OPEN -> ENDED     both FINs were sent and received
 *             \---> RESET     by either side, or the lane was lost
 *
 * Each direction ends by itself (half-close): `out` is OPEN, ENDING (a FIN waits behind the data)
 * or ENDED; `in` is OPEN or ENDED (the FIN came; bytes may still wait here).  Bytes that came
 * before an orderly end, or before the peer's reset, stay readable after the lane has let go of the
 * stream, and count against the budget until they are taken; our own reset, and the loss of the
 * lane, throw them away.
 *
 * The lane tells the owner by on_change() that something moved: bytes came, room came, an end or a
 * reset.  on_change() only takes note (loop_again); it calls nothing here.  All functions are for
 * the loop of the lane.  (api/tunnel.md, Streams)
 */
#ifndef TUNNEL_STREAM_H
#define TUNNEL_STREAM_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/list.h"
#include "buf/bufq.h"
#include "buf/sendq.h"
#include "tunnel/stream_feed.h"
#include "tunnel/window.h"
#include "wire/proxy.h"

struct lane;

#define STREAM_SEND_CAP (16u * CHUNK_ROOM) /* on its way out at most, on TLS */

enum stream_state { STREAM_IDLE, STREAM_OPEN, STREAM_ENDED, STREAM_RESET };
enum stream_half { HALF_OPEN, HALF_ENDING, HALF_ENDED };

/* Why a stream was reset; the first four travel as the byte of CLOSE and CLOSE_BACK. */
enum stream_reset {
    RESET_NONE = 0,
    RESET_BY_PEER = 0x01,
    RESET_UNREACHABLE = 0x02,
    RESET_NOT_ALLOWED = 0x03,
    RESET_LANE_LOST = 0x100, /* told to the owner only */
    RESET_NO_MEMORY = 0x101,
};

struct stream {
    struct lane *lane;     /* borrowed; NULL when IDLE, ENDED or RESET */
    struct budget *budget; /* borrowed from the process; NULL: the stream holds nothing of it */
    uint32_t id;
    enum stream_state state; /* written by stream_enter() only */
    enum stream_half in, out;
    enum stream_reset reset_code;
    struct list in_lane;    /* all streams of the lane */
    struct list in_control; /* has an OPEN or credit to send */
    struct list in_ring;    /* has data or a FIN to send */
    uint64_t turn;          /* its place in the ring (lane_sched.h) */
    uint32_t turn_sent;     /* bytes in this turn */
    uint64_t rest_end;      /* of sendq: it goes on so far though its turn is over; 0: it is not */
    struct list in_quiet;   /* its queue ran empty: credit leaves by quiet_due_ms */
    uint64_t opened_ms, quiet_due_ms;
    uint64_t credit; /* bytes that may still be sent beyond sendq.end */
    uint32_t grant;  /* credit that waits to be told to the peer */
    bool is_sustained;
    bool is_flushing;      /* its owner waits for stream_is_flushed() */
    enum stream_feed feed; /* written by stream_feed.c only, as the next five are */
    bool is_free;          /* what it puts in next does not count for the lane */
    bool had_small_read;   /* its owner put less than a chunk in, the last time */
    struct list in_line;
    uint32_t ahead;            /* of the unsent bytes those that count for the lane */
    uint32_t given, turn_left; /* room that the owner was given, and may have while DUE */
    uint8_t open_line_len;     /* an OPEN waits to be sent while this is not 0 */
    uint8_t head_in, head_out; /* bytes of the PROXY line in front of the payload: QUIC */
    char open_line[PROXY_V1_MAX];
    uint64_t send_charged; /* taken from the budget for what is in `sendq` */
    struct bufq recvq;     /* came in, not taken yet */
    struct sendq sendq;    /* going out */
    struct window window;
    void (*on_change)(struct stream *s);
};

const char *stream_reset_name(enum stream_reset code);

/* A zeroed stream may be released; stream_init() makes it IDLE. */
void stream_init(struct stream *s, void (*on_change)(struct stream *s));
/* Lets go of everything: an OPEN stream is reset (0x01) first.  No on_change() comes after it. */
void stream_release(struct stream *s);
void stream_check(const struct stream *s);

/* --- going out --- */

/* How many bytes credit and queue allow to be put in now.  When it is 0, on_change() comes once
 * there is room, and the owner must ask again then: on QUIC the last bytes before may wait for what
 * follows them. */
size_t stream_room(struct stream *s);
/* Room to read into: at most `max` (> 0) pieces, in sum at most stream_room(), what the budget
 * allows and how far one may read ahead of the lane (stream_feed.h).  0 pieces: on_change() comes
 * once there is room, and the owner must ask again then.  Else stream_commit() must follow at once,
 * if only with 0. */
MUST_USE size_t stream_reserve(struct stream *s, struct iovec *out, size_t max);
void stream_commit(struct stream *s, size_t n);
/* No more bytes come from our side: a FIN follows the data.  Once. */
void stream_finish(struct stream *s);
/* No more bytes come from our side, and no FIN beyond one that waits already: on_change() comes
 * when stream_is_flushed().  Nothing happens unless OPEN. */
void stream_flush(struct stream *s);
/* Nothing waits to go out: it is with the transport (QUIC: with the peer), or the stream is over.
 */
bool stream_is_flushed(const struct stream *s);
/* Throws away what waits and tells the peer `code`.  Nothing happens unless OPEN. */
void stream_abort(struct stream *s, enum stream_reset code);

/* --- coming in --- */

MUST_USE size_t stream_peek(const struct stream *s, struct iovec *out, size_t max);
/* Our socket took n of the bytes: credit goes back to the sender. */
void stream_taken(struct stream *s, size_t n, uint64_t now_ms);
/* The peer's FIN came and everything before it was taken; or will be with n more bytes. */
bool stream_is_at_end(const struct stream *s);
bool stream_ends_after(const struct stream *s, size_t n);

/* Bytes so far: from the peer, and handed to the transport. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);

#endif
