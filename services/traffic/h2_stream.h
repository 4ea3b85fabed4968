/* h2_stream - one request over HTTP/2 and its answer: between nghttp2's callbacks and an exchange.
 *
 *   HEAD -> EXCHANGE -> ANSWERED [-> LINGERING] -> CLOSED      EXCHANGE -> PARTING -> CLOSED
 *   any -> CLOSED
 *
 * state     what                                     deadline
 * HEAD      its first section of fields comes        the session's
 * EXCHANGE  one exchange is in flight                bodyIdleSecs without movement where the client
 *                                                    owes it: 408, or reset; relayed:
 *                                                    upgradeIdleSecs
 * ANSWERED  all that is left is to be sent           bodyIdleSecs without movement: reset
 * LINGERING the answer went, the client still sends   1 s: reset without an error
 *           its body: dropped
 * PARTING   both sides of a relay have ended; the    bodyIdleSecs without movement
 *           origin still has to take the last bytes
 * CLOSED    over, logged                             freed behind this turn
 *
 * An answer's bytes are read from the origin only as the client's windows and the connection's
 * buffer have room for them (room()), so next to nothing is held here.  A large piece is not even
 * copied: it goes from where it was read into the client's next TLS record.
 */
#ifndef TRAFFIC_H2_STREAM_H
#define TRAFFIC_H2_STREAM_H

#include "buf/bufq.h"
#include "loop/loop.h"
#include "traffic/exchange.h"
#include "traffic/h1_gather.h"
#include "traffic/own_answer.h"

struct h2_session;

#define H2_DIRECT_MIN      8192u  /* shorter pieces are gathered */
#define H2_LINGER_MS       1000u  /* for the client to read an answer and to stop its body */
#define H2_BODY_RATE       250u   /* bytes a second: a request's body, on the whole */
#define H2_UNASKED_STREAMS 4u     /* whose answers are read though no window is open */
#define H2_FRAME_BYTES     16375u /* of a DATA frame: with its head it fills a TLS record */
/* Frames of a connection that wait: no interim answer goes behind them. */
#define H2_INTERIMS_QUEUED 32u

#define H2_STREAM_STATES(X)                                                                        \
    X(HEAD, BIT(H2_STREAM_EXCHANGE) | BIT(H2_STREAM_ANSWERED) | BIT(H2_STREAM_CLOSED))             \
    X(EXCHANGE, BIT(H2_STREAM_ANSWERED) | BIT(H2_STREAM_PARTING) | BIT(H2_STREAM_CLOSED))          \
    X(ANSWERED, BIT(H2_STREAM_LINGERING) | BIT(H2_STREAM_CLOSED))                                  \
    X(LINGERING, BIT(H2_STREAM_CLOSED))                                                            \
    X(PARTING, BIT(H2_STREAM_CLOSED))                                                              \
    X(CLOSED, 0)

#define X(name, next) H2_STREAM_##name,
enum h2_stream_state { H2_STREAM_STATES(X) H2_STREAM_STATE_COUNT };
#undef X

struct h2_stream {
    enum h2_stream_state state;
    int32_t id;
    struct h2_session *session; /* borrowed */
    struct exchange exchange;
    struct list node, attention;
    struct reap reap;
    /* The request. */
    size_t held;       /* taken of the session's h2_held until it ends */
    size_t head_bytes; /* of them, until the answer begins */
    bool has_request_ended;
    uint64_t body_due_ms; /* when the client's body must have come further, or to its end */
    /* The answer. */
    struct bufq out;       /* payload that waits for a window */
    const uint8_t *direct; /* borrowed for one call: payload behind `out` that is not copied */
    size_t direct_len;
    uint8_t own[OWN_ANSWER_BODY_MAX]; /* the body of an answer of our own, where `direct` points */
    struct h1_gather trailers;        /* as lines of HTTP/1, until their turn comes */
    bool has_head, has_answer_ended, has_end_sent;
    bool is_deferred; /* nghttp2 waits for payload */
    bool is_starved;  /* the origin is not read: the client takes nothing */
    bool is_reset;    /* by us */
    uint64_t moved_ms;
    uint64_t shut_since_ms; /* since when its window keeps back what waits; 0: it does not */
    uint64_t take_left_ms;  /* how long that may last: bytes buy time, by limits.readRate */
    unsigned status;
    enum traffic_reason reason; /* why it ends early */
};

/* NULL: no memory. */
struct h2_stream *h2_stream_new(struct h2_session *s, int32_t id);

/* --- what nghttp2 tells --------------------------------------------------------------------- */

/* The section of fields in s->head is whole.  `ended`: with END_STREAM. */
void h2_stream_on_request(struct h2_stream *st, bool ended);
void h2_stream_on_trailers(struct h2_stream *st);
void h2_stream_on_data(struct h2_stream *st, const uint8_t *bytes, size_t n);
void h2_stream_on_end(struct h2_stream *st); /* END_STREAM on DATA */
/* A frame with END_STREAM went out. */
void h2_stream_on_end_sent(struct h2_stream *st);
/* nghttp2 forgets it; `code`: of the reset, 0 without one. */
void h2_stream_on_closed(struct h2_stream *st, uint32_t code);
/* Writes a DATA frame of n bytes, head in front, into the client's next record. */
void h2_stream_put_data(struct h2_stream *st, const uint8_t head[9], size_t n);
/* How much payload a frame of at most `max` bytes has; *ended: it is the last of the stream.  0 and
 * not ended: there is none now. */
size_t h2_stream_next_data(struct h2_stream *st, size_t max, bool *ended);
/* Behind the last payload: sends the trailers.  False: there are none. */
bool h2_stream_put_trailers(struct h2_stream *st);

/* --- what the session tells ----------------------------------------------------------------- */

/* Its exchange has failed, or its relay is over. */
void h2_stream_attend(struct h2_stream *st);
/* Room came back. */
void h2_stream_resume(struct h2_stream *st);
/* Its time may be up; returns when it is to be looked at next. */
uint64_t h2_stream_check(struct h2_stream *st, uint64_t now_ms);
/* It is an upgraded connection, or what is left of one. */
bool h2_stream_is_relay(const struct h2_stream *st);
/* The connection is over. */
void h2_stream_end(struct h2_stream *st, enum traffic_reason reason);

#endif
